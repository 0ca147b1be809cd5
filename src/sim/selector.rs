//! Label and field selectors, as texts and as objects have them.

use serde_json::Value;

use crate::resources::Res;
use crate::status::Status;

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq)]
enum Need {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Above(String, i64),
    Below(String, i64),
}

/// A label selector. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    needs: Vec<Need>,
    /// No selector matches nothing (Services, PDBs without one).
    nothing: bool,
}

fn label<'a>(labels: &'a Value, key: &str) -> Option<&'a str> {
    labels.get(key)?.as_str()
}

impl Need {
    fn holds(&self, labels: &Value) -> bool {
        match self {
            Self::In(key, values) => {
                label(labels, key).is_some_and(|have| values.iter().any(|one| one == have))
            }
            Self::NotIn(key, values) => {
                label(labels, key).is_none_or(|have| values.iter().all(|one| one != have))
            }
            Self::Exists(key) => label(labels, key).is_some(),
            Self::Absent(key) => label(labels, key).is_none(),
            Self::Above(key, than) => number(labels, key).is_some_and(|have| have > *than),
            Self::Below(key, than) => number(labels, key).is_some_and(|have| have < *than),
        }
    }
}

fn number(labels: &Value, key: &str) -> Option<i64> {
    label(labels, key)?.parse().ok()
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, need) in self.needs.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match need {
                Need::In(key, values) => match values.as_slice() {
                    [one] => write!(f, "{key}={one}")?,
                    many => write!(f, "{key} in ({})", many.join(","))?,
                },
                Need::NotIn(key, values) => match values.as_slice() {
                    [one] => write!(f, "{key}!={one}")?,
                    many => write!(f, "{key} notin ({})", many.join(","))?,
                },
                Need::Exists(key) => f.write_str(key)?,
                Need::Absent(key) => write!(f, "!{key}")?,
                Need::Above(key, than) => write!(f, "{key}>{than}")?,
                Need::Below(key, than) => write!(f, "{key}<{than}")?,
            }
        }
        Ok(())
    }
}

/// Splits at commas outside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|term| !term.is_empty())
    .collect()
}

fn name_like(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
}

impl Labels {
    pub fn all() -> Self {
        Self::default()
    }

    /// Matches nothing.
    pub fn none() -> Self {
        Self { needs: Vec::new(), nothing: true }
    }

    pub fn is_all(&self) -> bool {
        self.needs.is_empty() && !self.nothing
    }

    /// A `key=value` that all matching objects have, if there is one, for a lookup in the index.
    pub fn anchor(&self) -> Option<String> {
        self.needs.iter().find_map(|need| match need {
            Need::In(key, values) if values.len() == 1 => Some(format!("{key}={}", values.first()?)),
            _ => None,
        })
    }

    pub fn matches(&self, labels: &Value) -> bool {
        !self.nothing && self.needs.iter().all(|need| need.holds(labels))
    }

    /// From a query: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let bad = |term: &str| {
            let what = format!("unable to parse requirement: found '{term}', expected: identifier");
            Status::bad_request(what)
        };
        let mut needs = Vec::new();
        for term in terms(text) {
            let need = if let Some((key, rest)) = term.split_once('(') {
                let words: Vec<&str> = key.split_whitespace().collect();
                let values: Vec<String> =
                    rest.trim_end_matches(')').split(',').map(|one| one.trim().to_owned()).collect();
                match words.as_slice() {
                    [key, "in"] => Need::In((*key).to_owned(), values),
                    [key, "notin"] => Need::NotIn((*key).to_owned(), values),
                    _ => return Err(bad(term)),
                }
            } else if let Some((key, value)) = term.split_once("!=") {
                Need::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
            } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                if !value.trim().is_empty() && !name_like(value.trim()) {
                    return Err(bad(value.trim()));
                }
                Need::In(key.trim().to_owned(), vec![value.trim().to_owned()])
            } else if let Some((key, value)) = term.split_once('>') {
                Need::Above(key.trim().to_owned(), value.trim().parse().map_err(|_| bad(term))?)
            } else if let Some((key, value)) = term.split_once('<') {
                Need::Below(key.trim().to_owned(), value.trim().parse().map_err(|_| bad(term))?)
            } else if let Some(key) = term.strip_prefix('!') {
                Need::Absent(key.trim().to_owned())
            } else {
                Need::Exists(term.to_owned())
            };
            let (Need::In(key, _)
            | Need::NotIn(key, _)
            | Need::Exists(key)
            | Need::Absent(key)
            | Need::Above(key, _)
            | Need::Below(key, _)) = &need;
            if !name_like(key) {
                return Err(bad(term));
            }
            needs.push(need);
        }
        Ok(Self { needs, nothing: false })
    }

    /// From a plain map of labels (Services, ReplicationControllers). No map or an empty one matches nothing.
    pub fn of_map(map: &Value) -> Self {
        let Some(map) = map.as_object().filter(|map| !map.is_empty()) else { return Self::none() };
        let needs = map
            .iter()
            .map(|(key, value)| Need::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()]));
        Self { needs: needs.collect(), nothing: false }
    }

    /// From a `metav1.LabelSelector`: null matches nothing, an empty one everything.
    pub fn of(selector: &Value) -> Self {
        if selector.is_null() {
            return Self::none();
        }
        let mut needs = Vec::new();
        if let Some(map) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in map {
                needs.push(Need::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()]));
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for one in expressions.map(Vec::as_slice).unwrap_or_default() {
            let text = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let list = one.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let values: Vec<String> = list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
            needs.push(match text("operator").as_str() {
                "In" => Need::In(text("key"), values),
                "NotIn" => Need::NotIn(text("key"), values),
                "Exists" => Need::Exists(text("key")),
                "DoesNotExist" => Need::Absent(text("key")),
                // Validation refuses unknown operators; here they must not match by accident.
                _ => return Self::none(),
            });
        }
        Self { needs, nothing: false }
    }
}

/// A field selector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Vec<(String, bool, String)>);

/// The fields that a resource can be selected by, in addition to name and namespace.
fn known(res: Res) -> &'static [&'static str] {
    match res {
        Res::Pods => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Res::Nodes => &["spec.unschedulable"],
        Res::Events => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Res::Namespaces => &["status.phase"],
        Res::Secrets => &["type"],
        Res::ReplicaSets | Res::ReplicationControllers => &["status.replicas"],
        Res::Jobs => &["status.successful"],
        Res::Services => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

impl Fields {
    pub fn parse(res: Res, text: &str) -> Result<Self, Status> {
        let mut out = Vec::new();
        for term in text.split(',').filter(|term| !term.is_empty()) {
            let (path, wanted, value) = if let Some((path, value)) = term.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (path, true, value)
            } else {
                let what = format!("invalid selector: '{term}'; can't understand '{term}'");
                return Err(Status::bad_request(what));
            };
            if !matches!(path, "metadata.name" | "metadata.namespace") && !known(res).contains(&path) {
                // Kinds with fields of their own have their own error messages.
                let what = if known(res).is_empty() {
                    format!(
                        "\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {path}")
                };
                return Err(Status::bad_request(what));
            }
            out.push((path.to_owned(), wanted, value.to_owned()));
        }
        Ok(Self(out))
    }

    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, wanted, value)| (field(object, path) == *value) == *wanted)
    }

    /// The node that the pods must be bound to, so that a list can use the index.
    pub fn node(&self) -> Option<&str> {
        self.exact("spec.nodeName").filter(|node| !node.is_empty())
    }

    pub fn exact(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(have, wanted, _)| have == path && *wanted).map(|(_, _, value)| value.as_str())
    }
}

fn field(object: &Value, path: &str) -> String {
    if path == "source" {
        return object.pointer("/source/component").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    let mut at = object;
    for part in path.split('.') {
        at = at.get(part).unwrap_or(&Value::Null);
    }
    match at {
        Value::String(text) => text.clone(),
        Value::Null if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_in_all_forms() {
        let labels = json!({"app": "web", "tier": "front", "n": "4"});
        for (text, want) in [
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("x!=1", true),
            ("app in (a, web)", true),
            ("app notin (a,web)", false),
            ("tier", true),
            ("!tier", false),
            ("n>3,n<5", true),
            ("", true),
            ("app in (web),tier=back", false),
            ("app=", false),
        ] {
            assert_eq!(Labels::parse(text).unwrap().matches(&labels), want, "{text}");
        }
        assert!(Labels::parse("a===").is_err());
        assert!(Labels::parse("a in b").is_err());
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions":
            [{"key": "tier", "operator": "In", "values": ["front", "back"]}]});
        let selector = Labels::of(&selector);
        assert!(selector.matches(&labels));
        assert_eq!(selector.to_string(), "app=web,tier in (front,back)");
        assert!(!Labels::of(&Value::Null).matches(&labels));
        assert!(Labels::of(&json!({})).matches(&labels));
    }

    #[test]
    fn fields_of_pods_and_events() {
        let pod =
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        let fields =
            Fields::parse(Res::Pods, "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed")
                .unwrap();
        assert!(fields.matches(&pod));
        assert_eq!(fields.node(), Some("n1"));
        assert!(!Fields::parse(Res::Pods, "spec.nodeName=").unwrap().matches(&pod));
        let refused = Fields::parse(Res::Deployments, "spec.foo=1").unwrap_err();
        assert_eq!(
            refused.message,
            r#""spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
    }
}
