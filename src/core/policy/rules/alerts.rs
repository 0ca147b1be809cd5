//! Alerts that fire. An alert about an object that has a finding is evidence of that finding. The other alerts are
//! findings of their own. Silenced, inhibited and pending alerts are none, and neither are those that are no trouble.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::alert::AlertRow;
use crate::domain::cause::{
    Cause, Evidence, Finding, FindingCode as Code, FiringAlert, Impact, Severity, Shared,
};
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::text::brief;
use crate::domain::time::Stamp;
use crate::facts::world::ServiceRow;

use super::RuleContext;

/// Finds the alerts that fire. Those about one object share a finding.
pub(super) fn firing(context: &RuleContext<'_, '_>) -> Vec<Cause> {
    let mut by_object: BTreeMap<(Option<&ObjectRef>, Name), Vec<&Arc<AlertRow>>> = BTreeMap::new();
    for row in context.cluster.derived.alerts.iter().filter(|row| row.alert.is_trouble()) {
        // without an object, the name is all that alerts have in common
        let name = row.object().map_or_else(|| Name::from(row.alert.name()), |_| Name::default());
        by_object.entry((row.object(), name)).or_default().push(row);
    }
    by_object.into_values().filter_map(|rows| cause(context, rows)).collect()
}

/// Returns true if the object is a pod that does not exist any more. Its alerts end when their expressions have
/// forgotten it.
fn is_gone(context: &RuleContext<'_, '_>, object: &ObjectRef) -> bool {
    object.kind == Kind::Pod && object.uid == Uid::default() && context.cluster.pods.cover.is_read()
}

/// Returns the finding of several alerts about one object.
fn cause(context: &RuleContext<'_, '_>, mut rows: Vec<&Arc<AlertRow>>) -> Option<Cause> {
    rows.sort_by(|a, b| {
        let rank = |row: &AlertRow| (std::cmp::Reverse(row.alert.severity), row.alert.since);
        rank(a).cmp(&rank(b)).then_with(|| a.alert.fingerprint.cmp(&b.alert.fingerprint))
    });
    let first = rows.first()?;
    let name = Name::from(first.alert.name());
    let mut objects: Vec<ObjectRef> = Vec::new();
    for object in rows.iter().flat_map(|row| row.objects.iter()) {
        if !objects.contains(object) {
            objects.push(object.clone());
        }
    }
    let of_kind = |kind: &Kind| u32::from(objects.first().is_some_and(|object| object.kind == *kind));
    let impact = Impact {
        services: of_kind(&Kind::Service),
        pods: of_kind(&Kind::Pod),
        nodes: of_kind(&Kind::Node),
        error_ratio: None,
    };
    let shared = Shared::Message { reason: name.clone(), template: String::new(), namespace: None };
    let finding = Finding::AlertFiring {
        name,
        summary: Name::from(brief(summary(first)).as_ref()),
        more: rows.len().saturating_sub(1),
    };
    let mut evidence: Vec<Evidence> = rows.iter().map(|row| Evidence::Alert(told(row))).collect();
    let mut severity = first.alert.severity.unwrap_or(Severity::Warning);
    if let Some(pod) = objects.first().filter(|object| is_gone(context, object)) {
        evidence.push(format!("the pod {} does not exist any more, so the alert will end", pod.name).into());
        severity = Severity::Info;
    }
    // an alert without a time of its own is as old as the finding
    let since = rows.iter().map(|row| row.alert.since).filter(|at| *at > Stamp::default()).min();
    Some(Cause { since, evidence, impact, shared: vec![shared], ..Cause::new(finding, severity, objects) })
}

fn summary(row: &AlertRow) -> &str {
    row.alert.summary().lines().next().unwrap_or_default()
}

fn told(row: &AlertRow) -> FiringAlert {
    FiringAlert {
        fingerprint: row.alert.fingerprint.clone(),
        name: row.alert.name().into(),
        severity: row.alert.severity.unwrap_or(Severity::Warning),
        since: row.alert.since,
        summary: summary(row).into(),
    }
}

/// Makes alerts evidence of the findings about the same objects. `gone` marks the findings of these alerts.
pub(super) fn join(context: &RuleContext<'_, '_>, causes: &mut [Cause], gone: &mut [bool]) {
    for i in 0..causes.len() {
        let Some(alert) = causes.get(i).filter(|cause| cause.code() == Code::AlertFiring) else { continue };
        let objects = &alert.objects;
        let same = parent(causes, gone, |own| objects.iter().any(|object| is_same(own, object)));
        let parent = same.or_else(|| {
            let near = related(context, objects);
            parent(causes, gone, |own| near.iter().any(|object| is_same(own, object)))
        });
        let Some(parent) = parent else { continue };
        let alert = alert.clone();
        if let Some(parent) = causes.get_mut(parent) {
            parent.includes.extend(alert.included());
            // While a remedy takes effect, the alert fires for some more time. It fires for as long as a node that was
            // taken out of service waits for its repair.
            if parent.progress.remedy.is_none() && !parent.finding.is_intended() {
                parent.severity = parent.severity.max(alert.severity);
            }
            parent.evidence.extend(alert.evidence);
        }
        gone.get_mut(i).into_iter().for_each(|g| *g = true);
    }
}

/// Returns the finding that is about one of these objects: as its main object, or else among those that it includes.
fn parent(causes: &[Cause], gone: &[bool], wanted: impl Fn(&ObjectRef) -> bool) -> Option<usize> {
    let there = causes
        .iter()
        .enumerate()
        .filter(|(i, cause)| cause.code() != Code::AlertFiring && !gone.get(*i).copied().unwrap_or(true));
    let main = there.clone().find(|(_, cause)| cause.object().is_some_and(&wanted));
    let any = |cause: &Cause| {
        cause.objects.iter().any(&wanted) || cause.includes.iter().any(|(_, object)| wanted(object))
    };
    main.or_else(|| there.clone().find(|(_, cause)| any(cause))).map(|(i, _)| i)
}

fn is_same(a: &ObjectRef, b: &ObjectRef) -> bool {
    // a namespace is no object that explains something
    a.kind == b.kind && a.name == b.name && a.namespace == b.namespace && a.kind != Kind::Namespace
}

/// Returns the objects that have the same problem: the workloads behind a Service, the Services of a workload, and the
/// dead node of a pod.
fn related(context: &RuleContext<'_, '_>, objects: &[ObjectRef]) -> Vec<ObjectRef> {
    let mut found = Vec::new();
    for object in objects {
        let namespace = object.namespace.as_str();
        match object.kind {
            Kind::Service => {
                let is = |row: &&&Arc<ServiceRow>| row.service.name == object.name;
                let row = context.services_in(namespace).iter().find(is);
                let Some(selector) = row.map(|row| &row.service.selector).filter(|s| !s.is_empty()) else {
                    continue;
                };
                let workloads = context.workloads_in(namespace).iter().map(|row| &row.workload);
                let behind = workloads.filter(|workload| workload.may_have_pods_for(selector));
                found.extend(behind.map(|workload| workload.reference(context.cluster.id())));
            }
            Kind::Pod => {
                let pod = context.pods_in(namespace).iter().find(|pod| pod.name == object.name);
                let Some(node) =
                    pod.filter(|pod| context.is_on_dead_node(pod)).and_then(|pod| pod.node.clone())
                else {
                    continue;
                };
                found.push(ObjectRef {
                    kind: Kind::Node,
                    namespace: Name::default(),
                    name: node,
                    ..object.clone()
                });
            }
            _ if context.cluster.workloads(&object.kind).is_some() => {
                let Some(row) = context.workload(&object.uid) else { continue };
                let services = context.services_in(namespace).iter().map(|row| &row.service);
                let of = services
                    .filter(|s| !s.selector.is_empty() && row.workload.may_have_pods_for(&s.selector));
                found.extend(of.map(|service| service.reference(context.cluster.id())));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::domain::alert::{Alert, AlertState, AlertsSeen, severity};
    use crate::domain::cause::Cause;
    use crate::domain::id::Name;
    use crate::domain::node::{Condition, Node, Status, Taint};
    use crate::domain::time::Stamp;
    use crate::facts::event::{Batch, Fact};
    use crate::facts::world::ClusterInfo;
    use crate::state::ClusterState;

    use super::*;

    fn alert(name: &str, label: &str, state: AlertState, labels: &[(&str, &str)]) -> Arc<Alert> {
        let mut pairs: Vec<(Name, Name)> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        pairs.extend([("alertname".into(), name.into()), ("severity".into(), label.into())]);
        pairs.sort();
        Arc::new(Alert {
            fingerprint: format!("{name}{labels:?}").into(),
            labels: pairs.into(),
            annotations: [("summary".into(), Name::from("It is bad."))].into(),
            severity: severity(name, Some(label)),
            state,
            since: Stamp::from_secs(60),
            ..Alert::default()
        })
    }

    fn seen(mut alerts: Vec<Arc<Alert>>) -> Fact {
        alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        Fact::Alerts(AlertsSeen {
            source: "alertmanager".into(),
            alerts: alerts.into(),
            ..AlertsSeen::default()
        })
    }

    fn node(ready: Status) -> Node {
        let condition = Condition {
            kind: "Ready".into(),
            status: ready,
            reason: "".into(),
            message: "".into(),
            since: Some(Stamp(0)),
        };
        Node { uid: Uid::parse("n"), name: "n1".into(), conditions: [condition].into(), ..Node::default() }
    }

    fn causes(alerts: Vec<Arc<Alert>>, ready: Status) -> Vec<Arc<Cause>> {
        causes_with(alerts, node(ready))
    }

    /// The findings of a cluster with this node and without pods.
    fn causes_with(alerts: Vec<Arc<Alert>>, node: Node) -> Vec<Arc<Cause>> {
        let mut state = ClusterState::new(ClusterInfo::default());
        let now = Stamp::from_secs(600);
        let version = crate::domain::id::Version(1);
        for fact in [
            Fact::Nodes(Batch::Begin { generation: 1 }),
            Fact::Nodes(Batch::Upsert(vec![node])),
            Fact::Nodes(Batch::End { generation: 1, version }),
            Fact::Pods(Batch::Begin { generation: 1 }),
            Fact::Pods(Batch::End { generation: 1, version }),
            seen(alerts),
        ] {
            state.apply(fact, now);
        }
        state.publish(now, true).unwrap().derived.causes.to_vec()
    }

    const NODE: &[(&str, &str)] = &[("node", "n1")];

    #[test]
    fn only_alerts_that_ask_for_somebody_are_findings() {
        use AlertState::{Firing, Inhibited, Pending, Silenced};
        let found = causes(
            vec![
                alert("Full", "page", Firing, NODE),
                alert("Slow", "warning", Firing, NODE),
                alert("Later", "page", Pending, &[("node", "n2")]),
                alert("Quiet", "page", Silenced, &[("node", "n3")]),
                alert("Behind", "page", Inhibited, &[("node", "n4")]),
                alert("Note", "info", Firing, &[("node", "n5")]),
                alert("Watchdog", "critical", Firing, &[]),
                alert("Nowhere", "odd", Firing, &[]),
            ],
            Status::True,
        );
        let told: Vec<_> =
            found.iter().map(|c| (c.rule(), c.severity, c.to_string(), c.lines().len())).collect();
        assert_eq!(
            told,
            [
                (
                    "alert-firing",
                    Severity::Critical,
                    "alert Full: n1: It is bad (and 1 more alert)".into(),
                    2
                ),
                ("alert-firing", Severity::Warning, "alert Nowhere: It is bad".into(), 1),
            ]
        );
    }

    #[test]
    fn an_alert_about_an_object_with_a_finding_is_its_evidence() {
        let found =
            causes(vec![alert("KubeNodeNotReady", "critical", AlertState::Firing, NODE)], Status::False);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code(), Code::NodeNotReady);
        let alerts = |cause: &Cause| {
            cause
                .evidence
                .iter()
                .filter(|e| matches!(e, Evidence::Alert(a) if a.name == "KubeNodeNotReady"))
                .count()
        };
        assert_eq!(alerts(&found[0]), 1);
        let line = "alert KubeNodeNotReady (critical) fires since 00:01:00 UTC: It is bad.";
        assert!(found[0].lines().iter().any(|l| l == line), "{:?}", found[0].lines());
    }

    #[test]
    fn an_alert_makes_no_emergency_of_a_node_that_was_taken_out_of_service() {
        let alerts = || vec![alert("KubeNodeNotReady", "critical", AlertState::Firing, NODE)];
        let taint =
            |key: &str| Taint { key: key.into(), value: "".into(), effect: "NoExecute".into(), added: None };
        let tainted =
            |key| causes_with(alerts(), Node { taints: [taint(key)].into(), ..node(Status::Unknown) });
        let severities = |key| tainted(key).iter().map(|c| (c.code(), c.severity)).collect::<Vec<_>>();
        assert_eq!(severities("node.kubernetes.io/out-of-service"), [(Code::NodeNotReady, Severity::Info)]);
        assert_eq!(severities("mine"), [(Code::NodeNotReady, Severity::Critical)]);
    }

    #[test]
    fn an_alert_about_a_pod_that_is_gone_will_end() {
        let of_pod = [("namespace", "shop"), ("pod", "web-1")];
        let found =
            causes(vec![alert("CrashLooping", "critical", AlertState::Firing, &of_pod)], Status::True);
        let told: Vec<_> = found.iter().map(|c| (c.severity, c.lines().pop())).collect();
        let last = "the pod web-1 does not exist any more, so the alert will end";
        assert_eq!(told, [(Severity::Info, Some(last.into()))]);
    }

    #[test]
    fn many_alerts_of_one_name_are_one_line() {
        let names: Vec<String> = (0..5).map(|n| format!("n-{n}")).collect();
        let alerts = names.iter().map(|name| alert("Full", "warning", AlertState::Firing, &[("node", name)]));
        let found = causes(alerts.collect(), Status::True);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["5 alerts Full: n-0, n-1, n-2 and 2 more"]);
    }
}
