//! Tests of resuming an action that shifts traffic in stages.

use serde_json::json;

use super::{cluster, here, make, refused, target};
use crate::domain::id::Kind;
use crate::domain::plan::{Act, Change, Confirm, DerivedPlan, FieldChange, Gate, Step, StepKind};

#[test]
fn the_stages_that_are_left_follow_each_other_and_only_the_first_is_compared_with_what_is_there() {
    let cluster = cluster();
    let route = target(Kind::Other("Ingress".into()), 70, "web");
    let stage = |from: i32, to: i32| {
        let field = FieldChange { pointer: "/spec/weight".into(), from: json!(from), to: json!(to) };
        let change = Change { words: format!("weight {from} to {to}"), fields: vec![field] };
        Step::new(StepKind::Change(change), route.clone())
    };
    let soak = Step::new(StepKind::Check(Gate::Soak { secs: 30, watched: None }), route.clone());
    let rest = DerivedPlan {
        of: "1".into(),
        title: "failover web".into(),
        steps: vec![stage(10, 50), soak, stage(50, 100)],
        not_restored: String::new(),
        confirm: Confirm::Context,
        watched: None,
        takes_back: false,
    };
    let at = |weight: i32| {
        let live = json!({ "metadata": { "uid": route.uid.to_string() }, "spec": { "weight": weight } });
        let found = vec![here(&route, live)];
        make(&cluster, Act::Resume(Box::new(rest.clone())), vec![route.clone()], found)
    };
    let p = at(10);
    assert_eq!((p.steps.len(), p.refusals.len()), (3, 0), "{:?}", refused(&p));
    let p = at(30);
    assert_eq!(refused(&p)[0], "changed-since");
}
