//! Advice about a finding, as a command to type.

use std::sync::Arc;

use pilothouse_core::domain::cause::{Remediation, Suggestion};
use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::facts::world::{Cause, Cluster, HpaRow};
use pilothouse_core::policy::kubectl::quote;

/// Returns the number of replicas that the metrics ask for, which exceeds the maximum.
fn new_maximum(cluster: &Cluster, on: &ObjectRef) -> Option<String> {
    let is = |row: &&Arc<HpaRow>| row.hpa.namespace == on.namespace && row.hpa.name == on.name;
    let row = cluster.derived.hpas.iter().find(is)?;
    let wants = row.verdict.wants.filter(|wants| *wants > row.hpa.max)?;
    Some(format!(" --max {wants}"))
}

/// Returns the other objects of a finding with the same kind, as more arguments of a command.
fn besides(cause: &Cause, on: &ObjectRef) -> String {
    let others = cause.objects.iter().filter(|object| object.kind == on.kind && *object != on);
    others.flat_map(|object| [" ".to_owned(), typed(object)]).collect()
}

/// Formats the object as a subcommand accepts it.
fn typed(object: &ObjectRef) -> String {
    match object.kind {
        Kind::Node => quote(&object.name),
        _ => quote(&object.to_string()),
    }
}

/// Returns a command such as `pilothouse rollback shop/deploy/checkout --context prod`. `reach` contains the flags
/// that select this cluster.
pub fn command(cluster: &Cluster, cause: &Cause, suggestion: &Suggestion, reach: &str) -> Option<String> {
    let on = &suggestion.on;
    let (word, rest) = match &suggestion.what {
        Remediation::Bounds => ("bounds", new_maximum(cluster, on)?),
        Remediation::Cordon => ("cordon", String::new()),
        Remediation::OutOfService { .. } => ("out-of-service", besides(cause, on)),
        Remediation::Restart => ("restart", String::new()),
        Remediation::RollBack => ("rollback", String::new()),
        Remediation::OutOfRotation { service } => {
            ("out-of-rotation", format!(" --service {}", quote(service)))
        }
        Remediation::IntoRotation { .. } => ("into-rotation", besides(cause, on)),
        // The command line has only the plans of the config.
        Remediation::ShiftWeight => return None,
    };
    let reach = if reach.is_empty() { String::new() } else { format!(" {reach}") };
    Some(format!("pilothouse {word} {}{rest}{reach}", typed(on)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use pilothouse_core::domain::autoscaler::{Hpa, Metric, Target};
    use pilothouse_core::domain::cause::Finding;
    use pilothouse_core::domain::id::{ClusterId, Name, Uid};
    use pilothouse_core::domain::time::Stamp;
    use pilothouse_core::facts::event::{Batch, Fact};
    use pilothouse_core::facts::world::{ClusterInfo, Severity};
    use pilothouse_core::state::ClusterState;

    use super::*;
    use crate::cli::Cli;

    fn cluster() -> Arc<Cluster> {
        let mut state = ClusterState::new(ClusterInfo::default());
        let cpu = Metric {
            kind: "Resource".into(),
            name: "cpu".into(),
            current: Some(90),
            target: Target::Utilization(60),
        };
        let hpa = Hpa {
            namespace: "shop".into(),
            name: "cart".into(),
            uid: Uid::parse("h"),
            current: Some(8),
            max: 8,
            metrics: [cpu].into(),
            ..Hpa::default()
        };
        state.apply(Fact::Hpas(Batch::Upsert(vec![hpa])), Stamp(0));
        state.publish(Stamp(0), true).unwrap()
    }

    fn said(what: Remediation, kind: Kind, name: &str) -> String {
        let namespace = if kind.is_namespaced() { Name::from("shop") } else { Name::default() };
        let on = ObjectRef::new(ClusterId(0), kind, &namespace, &name.into(), &Uid::default());
        let objects = match what {
            Remediation::OutOfRotation { .. } => {
                vec![ObjectRef::new(ClusterId(0), Kind::Service, &namespace, &"cart".into(), &Uid::default())]
            }
            _ => vec![
                on.clone(),
                ObjectRef::new(ClusterId(0), Kind::Pod, &namespace, &"y".into(), &Uid::default()),
            ],
        };
        let suggestion = Suggestion { what, on };
        let finding = Finding::Evicted { pods: 1 };
        let cause = Cause::new(finding, Severity::Warning, objects);
        super::command(&cluster(), &cause, &suggestion, "--context prod").unwrap()
    }

    #[test]
    fn every_suggestion_is_a_command_that_can_be_typed() {
        let service = Name::from("cart");
        for (what, kind, want) in [
            (Remediation::Cordon, Kind::Node, "pilothouse cordon x --context prod"),
            (
                Remediation::OutOfService { zone: None },
                Kind::Node,
                "pilothouse out-of-service x --context prod",
            ),
            (Remediation::Restart, Kind::StatefulSet, "pilothouse restart shop/sts/x --context prod"),
            (Remediation::RollBack, Kind::Deployment, "pilothouse rollback shop/deploy/x --context prod"),
            (
                Remediation::Bounds,
                Kind::HorizontalPodAutoscaler,
                "pilothouse bounds shop/hpa/cart --max 12 --context prod",
            ),
            (
                Remediation::OutOfRotation { service },
                Kind::Pod,
                "pilothouse out-of-rotation shop/pod/x --service cart --context prod",
            ),
            (
                Remediation::IntoRotation { pods: 2 },
                Kind::Pod,
                "pilothouse into-rotation shop/pod/x shop/pod/y --context prod",
            ),
        ] {
            let name = if what == Remediation::Bounds { "cart" } else { "x" };
            let line = said(what, kind, name);
            assert_eq!(line, want);
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
