//! Changes of the servers of a HAProxy: their weight, or whether they get requests.

use serde_json::Value;

use super::{PlanInput, live};
use crate::domain::haproxy::{STATE, ServerChange, ServerRef, ServerState, WEIGHT};
use crate::domain::plan::{
    Act, Change, Choice, Confirm, FieldChange, Plan, Refusal, Step, StepKind, Warning,
};
use crate::policy::kubectl::quote;

/// Plans the change of servers.
pub(super) fn change(input: PlanInput<'_>, plan: &mut Plan, change: ServerChange) {
    plan.confirm = Confirm::Suffix;
    let mut commands = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(server) = ServerRef::of(&target) else {
            plan.refusals.push(Refusal::TargetNotRead { target });
            continue;
        };
        let Some(found) = live(input, plan, &target) else { continue };
        let (pointer, to) = match change {
            ServerChange::Weight(weight) => (WEIGHT, Value::from(weight)),
            ServerChange::State(state) => (STATE, Value::from(state.as_str())),
        };
        let from = found.pointer(pointer).cloned().unwrap_or(Value::Null);
        let what = pointer.rsplit('/').next().unwrap_or_default();
        let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let named = format!("{}/{}", server.backend, server.server);
        if from == to {
            let what = format!("{what} {}", show(&to));
            plan.warnings.push(Warning::ServerAsItIs { server: named.into(), what });
            continue;
        }
        let takes_out = matches!(
            change,
            ServerChange::Weight(0) | ServerChange::State(ServerState::Drain | ServerState::Maintenance)
        );
        let others = found.pointer("/status/others").and_then(Value::as_u64);
        if takes_out && others == Some(0) {
            let (backend, server) = (server.backend.clone(), server.server.clone());
            plan.warnings.push(Warning::LastServer { backend, server });
            plan.confirm = Confirm::Context;
        }
        let address = found.pointer("/status/address").and_then(Value::as_str).unwrap_or_default();
        let line = format!("set server {named} {what} {}", show(&to));
        commands.push(format!("echo {} | socat stdio {}", quote(&line), quote(address)));
        let words = format!("{what} {} to {}", show(&from), show(&to));
        let fields = vec![FieldChange { pointer: pointer.into(), from, to }];
        plan.steps.push(Step::new(StepKind::Change(Change { words, fields }), target));
    }
    if let ServerChange::State(now) = change {
        plan.choices.extend(ServerState::ALL.into_iter().map(|state| Choice {
            words: said(state).into(),
            act: Act::Server(ServerChange::State(state)),
            on: state == now,
        }));
    }
    plan.undo = "the weight or the state that it had".into();
    plan.kubectl = commands.join(" && ");
}

fn said(state: ServerState) -> &'static str {
    match state {
        ServerState::Ready => "ready: it gets requests by its weight and its health",
        ServerState::Drain => "drain: it finishes its sessions and gets no new ones; it is still checked",
        ServerState::Maintenance => "maint: it gets no requests at all and is not checked",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{DataScope, lookups, plan};
    use super::*;
    use crate::domain::id::ClusterId;
    use crate::domain::plan::{Intent, LookupResult, Lookups};
    use crate::domain::settings::GuardSettings;
    use crate::domain::time::Stamp;
    use crate::facts::world::Cluster;

    #[allow(clippy::needless_pass_by_value, reason = "shorter for the tests")]
    fn planned(change: ServerChange, found: LookupResult, guards: &GuardSettings) -> Plan {
        let server = ServerRef { haproxy: "edge".into(), backend: "app".into(), server: "a1".into() };
        let intent = Intent {
            cluster: ClusterId(0),
            context: "test".into(),
            act: Act::Server(change),
            targets: vec![server.object(ClusterId(0), &"shop".into())],
        };
        let cluster = Cluster::default();
        let lookups = Lookups(lookups(&cluster, &intent).into_iter().map(|l| (l, found.clone())).collect());
        let scope = DataScope::FullCluster;
        plan(PlanInput { cluster: &cluster, guards, scope, lookups: &lookups, now: Stamp(0) }, &intent)
    }

    fn server(weight: u32, state: &str, others: u32) -> LookupResult {
        LookupResult::Objects(vec![json!({
            "metadata": { "uid": "haproxy edge/app/a1", "resourceVersion": "x" },
            "spec": { "weight": weight, "state": state },
            "status": { "up": true, "others": others, "address": "/run/h.sock" },
        })])
    }

    #[test]
    fn a_change_names_what_it_replaces() {
        let p = planned(ServerChange::Weight(50), server(100, "ready", 2), &GuardSettings::default());
        assert_eq!((p.refusals, p.warnings, p.confirm), (vec![], vec![], Confirm::Suffix));
        let StepKind::Change(change) = &p.steps[0].what else { panic!("{:?}", p.steps) };
        assert_eq!(change.words, "weight 100 to 50");
        assert_eq!((&change.fields[0].from, &change.fields[0].to), (&json!(100), &json!(50)));
        assert_eq!(p.kubectl, "echo 'set server app/a1 weight 50' | socat stdio /run/h.sock");
        let p = planned(ServerChange::Weight(100), server(100, "ready", 2), &GuardSettings::default());
        assert!(p.steps.is_empty() && matches!(&p.warnings[..], [Warning::ServerAsItIs { .. }]));
    }

    #[test]
    fn the_last_server_asks_for_the_context() {
        for (change, others, confirm) in [
            (ServerChange::State(ServerState::Drain), 1, Confirm::Suffix),
            (ServerChange::State(ServerState::Drain), 0, Confirm::Context),
            (ServerChange::State(ServerState::Maintenance), 0, Confirm::Context),
            (ServerChange::Weight(0), 0, Confirm::Context),
            (ServerChange::Weight(1), 0, Confirm::Suffix),
        ] {
            let p = planned(change, server(100, "ready", others), &GuardSettings::default());
            assert_eq!(
                (p.confirm, p.warnings.is_empty()),
                (confirm, confirm == Confirm::Suffix),
                "{change:?}"
            );
        }
        let p = planned(
            ServerChange::State(ServerState::Drain),
            server(1, "ready", 9),
            &GuardSettings::default(),
        );
        assert_eq!(p.choices.iter().filter(|c| c.on).count(), 1);
    }

    #[test]
    fn guards_and_what_cannot_be_read() {
        let drain = ServerChange::State(ServerState::Drain);
        let protected =
            GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
        assert!(planned(drain, server(1, "ready", 2), &protected).confirm > Confirm::Suffix);
        let read_only = GuardSettings { read_only: true, ..GuardSettings::default() };
        assert_eq!(planned(drain, server(1, "ready", 2), &read_only).refusals, [Refusal::ReadOnly]);
        let p = planned(drain, LookupResult::Unread("haproxy edge: gone".into()), &GuardSettings::default());
        assert_eq!(p.refusals, [Refusal::NotReadable { why: "haproxy edge: gone".into() }]);
        let p = planned(drain, LookupResult::Absent, &GuardSettings::default());
        assert!(matches!(&p.refusals[..], [Refusal::Gone { .. }]), "{:?}", p.refusals);
    }
}
