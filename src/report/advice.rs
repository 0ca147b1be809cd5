//! What to do about a finding, as the command to type: each command that a finding may suggest, and its words here.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cause, Cluster, Suggestion};
use pilothouse_core::policy::hpa;
use pilothouse_core::policy::kubectl::quote;

/// What a command needs besides its object.
#[derive(Clone, Copy, Debug)]
pub enum Rest {
    /// These words, the same for all.
    Words(&'static str),
    /// What else of the object's kind the finding is about: the other nodes of a zone that is lost.
    Besides,
    /// What the cluster and the finding say; None = it is not known.
    Known(fn(&Cluster, &Cause, &ObjectRef, Stamp) -> Option<String>),
}

/// The ids of commands that findings suggest, with the subcommand that does the same, and what it needs besides the object.
pub const TYPED: [(&str, &str, Rest); 9] = [
    ("cordon", "cordon", Rest::Words("")),
    ("drain", "drain", Rest::Words(" --ignore-daemonsets")),
    ("out-of-service", "out-of-service", Rest::Besides),
    ("restart", "restart", Rest::Words("")),
    ("rollback", "rollback", Rest::Words("")),
    ("bounds", "bounds", Rest::Known(new_maximum)),
    ("rotation", "out-of-rotation", Rest::Known(service)),
    ("rotation", "into-rotation", Rest::Known(others)),
    ("evict", "evict", Rest::Words("")),
];

/// What the metrics ask for, which is more than the maximum.
fn new_maximum(cluster: &Cluster, _: &Cause, on: &ObjectRef, now: Stamp) -> Option<String> {
    let hpa = cluster.hpas.iter().find(|hpa| hpa.namespace == on.namespace && hpa.name == on.name)?;
    let wants = hpa::judge(hpa, now).wants.filter(|wants| *wants > hpa.max)?;
    Some(format!(" --max {wants}"))
}

/// The Service that the finding is about.
fn service(_: &Cluster, cause: &Cause, _: &ObjectRef, _: Stamp) -> Option<String> {
    let service = cause.objects.iter().find(|object| object.kind == Kind::Service)?;
    Some(format!(" --service {}", quote(&service.name)))
}

/// What a finding is about beside one object, of its kind, as more arguments of a command.
fn besides(cause: &Cause, on: &ObjectRef) -> String {
    let others = cause.objects.iter().filter(|object| object.kind == on.kind && *object != on);
    others.flat_map(|object| [" ".to_owned(), typed(object)]).collect()
}

/// The other pods that are out of rotation. With a Service the finding is about one that is in it.
fn others(_: &Cluster, cause: &Cause, on: &ObjectRef, _: Stamp) -> Option<String> {
    if cause.objects.iter().any(|object| object.kind == Kind::Service) {
        return None;
    }
    Some(besides(cause, on))
}

/// The object as a subcommand takes it.
fn typed(object: &ObjectRef) -> String {
    match object.kind {
        Kind::Node => quote(&object.name),
        _ => quote(&object.to_string()),
    }
}

/// `pilothouse rollback shop/deploy/checkout --context prod`; `reach` is what leads to this cluster.
pub fn command(
    cluster: &Cluster,
    cause: &Cause,
    suggestion: &Suggestion,
    reach: &str,
    now: Stamp,
) -> Option<String> {
    let mut ways = TYPED.iter().filter(|(id, ..)| *id == suggestion.command);
    let (word, rest) = ways.find_map(|(_, word, rest)| {
        let rest = match rest {
            Rest::Words(words) => Some((*words).to_owned()),
            Rest::Besides => Some(besides(cause, &suggestion.on)),
            Rest::Known(say) => say(cluster, cause, &suggestion.on, now),
        };
        rest.map(|rest| (word, rest))
    })?;
    let reach = if reach.is_empty() { String::new() } else { format!(" {reach}") };
    Some(format!("pilothouse {word} {}{rest}{reach}", typed(&suggestion.on)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser as _;
    use pilothouse_core::domain::autoscaler::{Hpa, Metric, Target};
    use pilothouse_core::domain::id::{Name, Uid};
    use pilothouse_core::facts::event::{Batch, Fact};
    use pilothouse_core::facts::world::{ClusterInfo, Course, Kin, Reach, Severity};
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

    fn said(command: &'static str, kind: Kind, name: &str, in_service: bool) -> String {
        let namespace = if kind.is_namespaced() { Name::from("shop") } else { Name::default() };
        let on = ObjectRef::new(kind, &namespace, &name.into(), &Uid::default());
        let service = ObjectRef::new(Kind::Service, &namespace, &"cart".into(), &Uid::default());
        let other = ObjectRef::new(Kind::Pod, &namespace, &"y".into(), &Uid::default());
        let suggestion = Suggestion { command, title: String::new(), on: on.clone() };
        let cause = Cause {
            rule: "any",
            severity: Severity::Warning,
            title: String::new(),
            objects: if in_service { vec![service] } else { vec![on.clone(), other] },
            since: None,
            evidence: Vec::new(),
            action: Some(suggestion.clone()),
            reach: Reach::default(),
            kin: Kin::default(),
            course: Course::default(),
        };
        super::command(&cluster(), &cause, &suggestion, "--context prod", Stamp(0)).unwrap()
    }

    #[test]
    fn every_suggestion_is_a_command_that_can_be_typed() {
        let objects = [
            ("cordon", Kind::Node, "pilothouse cordon x --context prod"),
            ("drain", Kind::Node, "pilothouse drain x --ignore-daemonsets --context prod"),
            ("out-of-service", Kind::Node, "pilothouse out-of-service x --context prod"),
            ("restart", Kind::StatefulSet, "pilothouse restart shop/sts/x --context prod"),
            ("rollback", Kind::Deployment, "pilothouse rollback shop/deploy/x --context prod"),
            (
                "bounds",
                Kind::HorizontalPodAutoscaler,
                "pilothouse bounds shop/hpa/cart --max 12 --context prod",
            ),
            ("rotation", Kind::Pod, "pilothouse out-of-rotation shop/pod/x --service cart --context prod"),
            ("rotation", Kind::Pod, "pilothouse into-rotation shop/pod/x shop/pod/y --context prod"),
            ("evict", Kind::Pod, "pilothouse evict shop/pod/x --context prod"),
        ];
        for ((id, word, _), (command, kind, want)) in TYPED.iter().zip(objects) {
            assert_eq!(*id, command);
            let name = if command == "bounds" { "cart" } else { "x" };
            let line = said(command, kind, name, *word != "into-rotation");
            assert_eq!(line, want);
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{word}: {line}");
        }
    }
}
