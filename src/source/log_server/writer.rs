//! Who wrote a line, according to the labels of a log store. Collectors name the same thing differently: `pod`,
//! `k8s_pod_name`, `kubernetes.pod_name`.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::text;
use pilothouse_core::logs::level;

use super::Labels;

/// The labels of the namespace, in the order of preference. A dot counts as an underscore.
pub(super) const NAMESPACE: [&str; 9] = [
    "namespace",
    "k8s_namespace_name",
    "kubernetes_namespace_name",
    "kubernetes_pod_namespace",
    "kubernetes_namespace",
    "k8s_namespace",
    "namespace_name",
    "pod_namespace",
    "resource_k8s_namespace_name",
];
const POD: [&str; 8] = [
    "pod",
    "k8s_pod_name",
    "kubernetes_pod_name",
    "pod_name",
    "kubernetes_pod",
    "k8s_pod",
    "resource_k8s_pod_name",
    "kubernetes_pod_metadata_name",
];
const CONTAINER: [&str; 7] = [
    "container",
    "k8s_container_name",
    "kubernetes_container_name",
    "container_name",
    "kubernetes_container",
    "k8s_container",
    "resource_k8s_container_name",
];
const APP: [&str; 11] = [
    "k8s_deployment_name",
    "k8s_statefulset_name",
    "k8s_daemonset_name",
    "deployment",
    "app",
    "app_kubernetes_io_name",
    "kubernetes_labels_app",
    "kubernetes_pod_labels_app",
    "service_name",
    "service",
    "job",
];
const CLUSTER: [&str; 3] = ["cluster", "k8s_cluster_name", "cluster_name"];
const LEVEL: [&str; 8] =
    ["level", "severity", "detected_level", "severity_text", "log_level", "lvl", "loglevel", "log_severity"];

/// The writer of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Writer {
    pub namespace: Name,
    pub pod: Name,
    pub container: Name,
    pub app: Name,
    /// The cluster, if a label names it.
    pub cluster: Name,
}

/// Returns the label of the first of these names.
fn first<'a>(labels: &'a Labels, names: &[&str]) -> Option<&'a str> {
    let is = |key: &str, name: &str| {
        key.len() == name.len()
            && key
                .bytes()
                .zip(name.bytes())
                .all(|(a, b)| a == b || (b == b'_' && matches!(a, b'.' | b'/' | b'-')))
    };
    names
        .iter()
        .find_map(|name| labels.iter().find(|(key, value)| is(key, name) && !value.is_empty()))
        .map(|(_, value)| value.as_str())
}

/// Returns the first label of the store that names namespaces.
pub(super) fn is_namespace(label: &str) -> bool {
    NAMESPACE.contains(&label)
}

impl Writer {
    pub(super) fn of(labels: &Labels) -> Self {
        let name = |names: &[&str]| {
            Name::from(&*text::cap(&text::clean(first(labels, names).unwrap_or_default()), 253))
        };
        Self {
            namespace: name(&NAMESPACE),
            pod: name(&POD),
            container: name(&CONTAINER),
            app: name(&APP),
            cluster: name(&CLUSTER),
        }
    }

    /// `namespace/pod`, or "" if a label is missing.
    pub(super) fn pod_name(&self) -> Name {
        if self.namespace.is_empty() || self.pod.is_empty() {
            return Name::default();
        }
        Name::from(format!("{}/{}", self.namespace, self.pod))
    }

    /// The container, or another name if the line is of no container.
    pub(super) fn place(&self) -> Name {
        let names = [&self.container, &self.app, &self.pod];
        names.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_else(|| Name::from("unnamed"))
    }

    /// `namespace/workload`, as far as the labels tell.
    pub(super) fn workload(&self) -> Name {
        // the job of a scrape config has the namespace in front
        let app = self.app.rsplit('/').next().unwrap_or_default();
        let name =
            [app, self.container.as_str(), self.pod.as_str()].into_iter().find(|name| !name.is_empty());
        match (self.namespace.as_str(), name) {
            ("", name) => Name::from(name.unwrap_or_default()),
            (_, None) => Name::default(),
            (namespace, Some(name)) => Name::from(format!("{namespace}/{name}")),
        }
    }
}

/// Returns the level that the labels have.
pub(super) fn level_of(labels: &Labels) -> Option<Level> {
    let word = first(labels, &LEVEL)?;
    level::level(&format!("level={word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn collectors_name_the_writer_differently() {
        for (pairs, pod, place, workload) in [
            (
                &[
                    ("namespace", "shop"),
                    ("pod", "a-1"),
                    ("container", "app"),
                    ("app", "a"),
                    ("job", "shop/b"),
                ][..],
                "shop/a-1",
                "app",
                "shop/a",
            ),
            (
                &[
                    ("k8s_namespace_name", "shop"),
                    ("k8s_pod_name", "a-1"),
                    ("k8s_container_name", "app"),
                    ("k8s_deployment_name", "a"),
                    ("service_name", "other"),
                ],
                "shop/a-1",
                "app",
                "shop/a",
            ),
            (
                &[
                    ("kubernetes.pod_namespace", "shop"),
                    ("kubernetes.pod_name", "a-1"),
                    ("kubernetes.container_name", "app"),
                ],
                "shop/a-1",
                "app",
                "shop/app",
            ),
            (&[("job", "shop/b")], "", "shop/b", "b"),
            (&[("service_name", "unit"), ("namespace", "")], "", "unit", "unit"),
            (&[], "", "unnamed", ""),
        ] {
            let writer = Writer::of(&labels(pairs));
            assert_eq!(
                (writer.pod_name().as_str(), writer.place().as_str(), writer.workload().as_str()),
                (pod, place, workload),
                "{pairs:?}"
            );
        }
        let odd = Writer::of(&labels(&[("namespace", "a\u{1b}[31m"), ("pod", "p")]));
        assert!(!odd.pod_name().contains('\u{1b}'));
    }

    #[test]
    fn levels_of_labels() {
        assert_eq!(level_of(&labels(&[("detected_level", "error")])), Some(Level::Error));
        assert_eq!(level_of(&labels(&[("severity", "WARNING")])), Some(Level::Warn));
        assert_eq!(level_of(&labels(&[("detected_level", "unknown")])), None);
        assert_eq!(level_of(&labels(&[("app", "error")])), None);
    }
}
