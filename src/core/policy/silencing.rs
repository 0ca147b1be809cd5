//! Which matchers silence an alert. A silence should outlast the pod that the alert names, and hide nothing else.

use std::sync::Arc;

use regex::escape;

use crate::domain::alert::{Alert, AlertRow, Matcher, NAME};
use crate::domain::id::{Kind, Name};

/// Labels with the name of a pod.
const PODS: [&str; 6] =
    ["pod", "exported_pod", "pod_name", "kubernetes_pod_name", "k8s_pod_name", "destination_pod"];
/// Labels that have another value after a pod was replaced.
const OF_POD: [&str; 7] = ["instance", "uid", "container_id", "id", "image_id", "pod_ip", "host_ip"];
/// Labels that name one of several Prometheuses with the same alerts.
const OF_REPLICA: [&str; 3] = ["prometheus_replica", "__replica__", "replica"];

/// Returns a matcher for each label that the alerts have in common, and whether a silence has it unless the person
/// decides otherwise.
///
/// Every label is matched, with five exceptions. The pod of a program that describes another object is left out. A pod of
/// a workload that gives its pods new names is matched by the names of all pods of the workload. Labels that a new pod has
/// with another value are left out if the alert is about a pod or its workload. Labels of the Prometheus that sent the
/// alert are left out. Labels whose value is not shown as it was sent have no matcher, because it would match nothing.
pub fn matchers(rows: &[Arc<AlertRow>]) -> Vec<(Matcher, bool)> {
    let Some((first, others)) = rows.split_first() else { return Vec::new() };
    let mut common = of_alert(first);
    for row in others {
        let all = of_alert(row);
        common.retain(|(matcher, _)| all.iter().any(|(other, _)| other == matcher));
    }
    // the name of the alert comes first
    common.sort_by_key(|(matcher, _)| matcher.name != NAME);
    common
}

fn of_alert(row: &AlertRow) -> Vec<(Matcher, bool)> {
    let Alert { labels, .. } = &*row.alert;
    let is_of_pod = row.objects.iter().any(|o| !matches!(o.kind, Kind::Node | Kind::Namespace));
    let names = pod_names(row);
    let of_label = |(name, value): &(Name, Name)| {
        let one = Matcher::equal(name, value);
        let label = name.as_str();
        match &names {
            Some(names) if PODS.contains(&label) && is_pod(row, value) => {
                (Matcher { value: names.clone(), is_regex: true, ..one }, true)
            }
            // the pod of a program that describes other objects
            _ if PODS.contains(&label) && !row.objects.is_empty() && !is_pod(row, value) => (one, false),
            _ if OF_REPLICA.contains(&label) => (one, false),
            _ if OF_POD.contains(&label) => (one, !is_of_pod),
            _ => (one, true),
        }
    };
    labels.iter().filter(|(name, value)| as_sent(name) && as_sent(value)).map(of_label).collect()
}

/// Whether a text of an alert is what was sent: cleaning and cutting for display leave one of these characters.
fn as_sent(text: &str) -> bool {
    !text.contains(|c: char| matches!(c, '\u{2400}'..='\u{243f}' | '\u{fffd}' | '¤' | '…'))
}

/// Returns true if the alert is about a pod of this name.
fn is_pod(row: &AlertRow, name: &Name) -> bool {
    row.objects.iter().any(|object| object.kind == Kind::Pod && object.name == *name)
}

/// Returns the regular expression for the names of all pods of the alert's workload. `None`: the workload gives a new
/// pod the name of the old one, or there is none.
fn pod_names(row: &AlertRow) -> Option<Name> {
    let workload = row.objects.iter().find(|object| object.kind != Kind::Pod)?;
    let name = escape(&workload.name);
    match workload.kind {
        Kind::Deployment => Some(format!("{name}-[a-z0-9]+-[a-z0-9]+").into()),
        Kind::ReplicaSet | Kind::DaemonSet | Kind::Job => Some(format!("{name}-[a-z0-9]+").into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ClusterId, ObjectRef, Uid};

    fn row(labels: &[(&str, &str)], objects: &[(Kind, &str)]) -> Arc<AlertRow> {
        let mut labels: Vec<(Name, Name)> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        labels.sort();
        let object = |(kind, name): &(Kind, &str)| {
            ObjectRef::new(ClusterId(0), kind.clone(), &"shop".into(), &(*name).into(), &Uid::default())
        };
        Arc::new(AlertRow {
            alert: Arc::new(Alert { labels: labels.into(), ..Alert::default() }),
            objects: objects.iter().map(object).collect(),
            namespace: "shop".into(),
        })
    }

    fn of(rows: &[Arc<AlertRow>]) -> String {
        let on = matchers(rows).into_iter().filter(|(_, on)| *on).map(|(m, _)| m.to_string());
        on.collect::<Vec<_>>().join(" ")
    }

    fn told(labels: &[(&str, &str)], objects: &[(Kind, &str)]) -> String {
        of(&[row(labels, objects)])
    }

    #[test]
    fn a_silence_outlasts_the_pod_and_stays_with_its_workload() {
        let pod = [
            ("alertname", "Crash"),
            ("namespace", "shop"),
            ("pod", "web-7c-x1"),
            ("instance", "10.1.1.1:80"),
        ];
        assert_eq!(
            told(&pod, &[(Kind::Pod, "web-7c-x1"), (Kind::Deployment, "web")]),
            r#"alertname="Crash" namespace="shop" pod=~"web-[a-z0-9]+-[a-z0-9]+""#
        );
        assert_eq!(
            told(
                &[("alertname", "Crash"), ("pod", "db-0")],
                &[(Kind::Pod, "db-0"), (Kind::StatefulSet, "db")]
            ),
            r#"alertname="Crash" pod="db-0""#,
            "another pod of the set is another problem"
        );
        assert_eq!(
            told(
                &[("alertname", "Full"), ("instance", "10.0.0.7:9100"), ("prometheus_replica", "a")],
                &[(Kind::Node, "n1")]
            ),
            r#"alertname="Full" instance="10.0.0.7:9100""#,
            "the instance is the node"
        );
        // the pod is that of an exporter
        assert_eq!(
            told(&[("deployment", "web"), ("pod", "ksm-0")], &[(Kind::Deployment, "web")]),
            r#"deployment="web""#
        );
    }

    #[test]
    fn several_alerts_share_the_labels_that_are_the_same() {
        let of_pod = |pod: &str, severity: &str| {
            let labels = [("alertname", "Crash"), ("app", "web"), ("pod", pod), ("severity", severity)];
            row(&labels, &[(Kind::Pod, pod), (Kind::Deployment, "web")])
        };
        assert_eq!(
            of(&[of_pod("web-7c-x1", "warning"), of_pod("web-7c-x2", "critical")]),
            r#"alertname="Crash" app="web" pod=~"web-[a-z0-9]+-[a-z0-9]+""#
        );
    }

    #[test]
    fn a_label_that_is_not_shown_as_it_was_sent_has_no_matcher() {
        let labels = [("alertname", "Full"), ("a", "x\u{241b}"), ("path", "/a/b… +17 bytes"), ("z", "1")];
        assert_eq!(told(&labels, &[]), r#"alertname="Full" z="1""#);
        assert_eq!(matchers(&[row(&labels, &[])]).len(), 2);
    }
}
