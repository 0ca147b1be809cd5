//! Tests of the error ratio that stops an action by itself.

use std::sync::Arc;

use serde_json::json;

use super::{cluster, here, make, refused, target, warned};
use crate::domain::failover::{FailoverKind, FailoverPlan, Pick, Watched};
use crate::domain::id::Kind;
use crate::domain::plan::{Act, Confirm, DerivedPlan, Plan, Refusal, ScaleBy, Step, StepKind};
use crate::domain::source::{Feed, SourceState, SourceStatus};
use crate::domain::time::Stamp;
use crate::domain::traffic::{ServiceTraffic, TrafficSeen};
use crate::facts::world::{Cluster, ClusterInfo};
use crate::plan::watch;

fn watched() -> Watched {
    Watched { namespace: "shop".into(), service: "web".into(), max_error_percent: 5.0 }
}

/// Returns the plan of the steps that are left of a watched action.
fn rest(cluster: &Cluster, watched: Option<Watched>) -> Plan {
    let on = target(Kind::Deployment, 30, "web");
    let rest = DerivedPlan {
        of: "7".into(),
        title: "failover web".into(),
        steps: vec![Step::new(StepKind::Scale { from: 3, to: 5 }, on.clone())],
        not_restored: String::new(),
        confirm: Confirm::Context,
        watched,
        takes_back: false,
    };
    let live = json!({ "metadata": { "uid": on.uid.to_string() }, "spec": { "replicas": 3 } });
    make(cluster, Act::Resume(Box::new(rest)), vec![on.clone()], vec![here(&on, live)])
}

/// Returns the plan of a watched evacuation, which is planned again when it is resumed.
fn evacuation(cluster: &Cluster, watched: Option<Watched>) -> Plan {
    let way = FailoverPlan {
        name: "way".into(),
        kind: FailoverKind::Evacuate(Pick::Nodes(vec!["up".into()])),
        watched,
        soak_secs: 5,
        suggested: false,
        in_context: String::new(),
    };
    make(cluster, Act::Failover { plan: Box::new(way), revert: false }, vec![], vec![])
}

fn is_told(plan: &Plan, code: &str) -> bool {
    warned(plan).contains(&code)
}

#[test]
fn a_watched_action_is_not_resumed_where_nothing_would_stop_it() {
    let here = cluster();
    let mut elsewhere = Cluster::clone(&here);
    elsewhere.info = Arc::new(ClusterInfo { is_unmeasured: true, ..ClusterInfo::clone(&here.info) });
    let mut measured = elsewhere.clone();
    let web = ServiceTraffic {
        namespace: "shop".into(),
        name: "web".into(),
        error_ratio: Some(0.01),
        ..ServiceTraffic::default()
    };
    measured.traffic = Arc::new(TrafficSeen { services: [Arc::new(web)].into(), ..TrafficSeen::default() });
    for made in [rest, evacuation] {
        let resumed = |cluster: &Cluster, watched: Option<Watched>| {
            let mut plan = made(cluster, watched);
            let before = plan.refusals.len();
            watch::resumed(cluster, &mut plan, &"7".into());
            let new = plan.refusals.split_off(before);
            (plan, new)
        };
        let (plan, new) = resumed(&elsewhere, Some(watched()));
        assert!(is_told(&plan, "watched-unknown"), "{:?}", plan.warnings);
        assert_eq!(
            new.iter().map(Refusal::words).collect::<Vec<_>>(),
            [
                "not enough is known: 7 must stop if shop/web has more than 5 % errors, and nothing measures them here: prometheus.url is only used for the first cluster; either name the Prometheus of test in [clusters.NAME] prometheus, or, if prometheus.url has the metrics of test too, run: pilothouse resume 7 --context test"
            ]
        );
        // a Prometheus that is late, or none at all, is a warning, as for a new action
        let (plan, new) = resumed(&here, Some(watched()));
        assert!(is_told(&plan, "watched-unknown") && new.is_empty(), "{new:?}");
        assert_eq!(plan.confirm, Confirm::Context);
        let (plan, new) = resumed(&measured, Some(watched()));
        assert!(is_told(&plan, "watched") && new.is_empty(), "its own Prometheus was found: {new:?}");
        let mut late = elsewhere.clone();
        let state = SourceState::Stale { since: Stamp(0) };
        late.sources = [SourceStatus { feed: Feed::Traffic, state, ..SourceStatus::default() }].into();
        let (plan, new) = resumed(&late, Some(watched()));
        assert!(is_told(&plan, "watched-unknown") && new.is_empty(), "its own Prometheus is late: {new:?}");
        assert_eq!(resumed(&elsewhere, None).1, [], "nothing is watched");
    }
    // a new action is planned with the warning
    assert_eq!(
        refused(&evacuation(&elsewhere, Some(watched()))),
        refused(&evacuation(&here, Some(watched())))
    );
    let scale = Act::Scale(ScaleBy { replicas: 5, current_replicas: None });
    let mut plan = make(&elsewhere, scale, vec![target(Kind::Deployment, 30, "web")], vec![]);
    watch::resumed(&elsewhere, &mut plan, &"7".into());
    assert_eq!(refused(&plan), [""; 0], "{:?}", plan.refusals);
}
