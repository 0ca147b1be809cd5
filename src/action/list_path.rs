//! The path of a list: a kind from the table of kinds, one namespace or all, and selectors.

use pilothouse_core::domain::id::Kind;

use crate::wire::client::escape;

/// The path of a list, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPath {
    path: String,
    query: Vec<String>,
}

impl ListPath {
    /// Returns the path of all objects of a kind, in one namespace, or in the cluster if the namespace is empty. The
    /// server answers 404 for a kind that is not in the table.
    pub fn of(kind: &Kind, namespace: &str) -> Self {
        let path = match kind.info() {
            Some(info) if info.namespaced && !namespace.is_empty() => {
                format!("{}/namespaces/{}/{}", info.root(), escape(namespace), info.plural)
            }
            Some(info) => format!("{}/{}", info.root(), info.plural),
            None => format!("/{}", escape(kind.as_str())),
        };
        Self { path, query: Vec::new() }
    }

    /// Returns the path of the pods of a node.
    pub fn pods_on(node: &str) -> Self {
        Self::of(&Kind::Pod, "").field("spec.nodeName", node)
    }

    /// Selects only objects with this value of a field.
    #[must_use]
    pub fn field(self, field: &str, value: &str) -> Self {
        self.with(format!("fieldSelector={}", escape(&format!("{field}={value}"))))
    }

    /// Selects only objects that match a label selector.
    #[must_use]
    pub fn labels(self, selector: &str) -> Self {
        self.with(format!("labelSelector={}", escape(selector)))
    }

    /// Limits the number of objects in an answer.
    #[must_use]
    pub fn limit(self, most: u32) -> Self {
        self.with(format!("limit={most}"))
    }

    fn with(mut self, query: String) -> Self {
        self.query.push(query);
        self
    }
}

impl std::fmt::Display for ListPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)?;
        let mut before = '?';
        for query in &self.query {
            write!(f, "{before}{query}")?;
            before = '&';
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_where_the_table_of_kinds_says() {
        let labels = ListPath::of(&Kind::EndpointSlice, "shop").labels("kubernetes.io/service-name=web");
        for (list, path) in [
            (ListPath::of(&Kind::Node, ""), "/api/v1/nodes"),
            (ListPath::of(&Kind::Node, "shop"), "/api/v1/nodes"),
            (ListPath::of(&Kind::Pod, "shop").limit(1), "/api/v1/namespaces/shop/pods?limit=1"),
            (ListPath::pods_on("n1"), "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"),
            (
                labels.limit(2),
                "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb&limit=2",
            ),
            (
                ListPath::of(&Kind::HorizontalPodAutoscaler, "shop"),
                "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
            ),
            (ListPath::of(&Kind::PodDisruptionBudget, ""), "/apis/policy/v1/poddisruptionbudgets"),
        ] {
            assert_eq!(list.to_string(), path);
        }
    }
}
