//! Whether a pod's spec accepts a node: taints and tolerations, node selector and node affinity.

use serde_json::Value;

use super::doc::{list, text};

/// Whether a toleration covers a taint.
pub(super) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
    if !effect.is_empty() && effect != text(taint, "effect") || !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    text(toleration, "operator") == "Exists"
        || !key.is_empty() && text(toleration, "value") == text(taint, "value")
}

/// The first taint with one of the effects that the pod's spec does not tolerate.
pub(super) fn untolerated<'a>(spec: &Value, taints: &'a [Value], effects: &[&str]) -> Option<&'a Value> {
    let tolerations = list(spec, "/tolerations");
    taints
        .iter()
        .filter(|taint| effects.contains(&text(taint, "effect")))
        .find(|taint| !tolerations.iter().any(|one| tolerates(one, taint)))
}

fn expression(need: &Value, have: Option<&str>) -> bool {
    let mut values = list(need, "/values").iter().filter_map(Value::as_str);
    let number = |text: &str| text.parse::<i64>().ok();
    match text(need, "operator") {
        "In" => have.is_some_and(|have| values.any(|one| one == have)),
        "NotIn" => have.is_none_or(|have| values.all(|one| one != have)),
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        "Gt" => have.and_then(number).zip(values.next().and_then(number)).is_some_and(|(a, b)| a > b),
        "Lt" => have.and_then(number).zip(values.next().and_then(number)).is_some_and(|(a, b)| a < b),
        _ => false,
    }
}

/// Whether one of the terms of a node selector matches.
pub(super) fn terms(terms: &[Value], name: &str, labels: &Value) -> bool {
    terms.iter().any(|term| {
        let (labelled, fields) = (list(term, "/matchExpressions"), list(term, "/matchFields"));
        !(labelled.is_empty() && fields.is_empty())
            && labelled
                .iter()
                .all(|need| expression(need, labels.get(text(need, "key")).and_then(Value::as_str)))
            && fields.iter().all(|need| expression(need, Some(name)))
    })
}

/// The path of a pod's required node affinity in its spec.
pub(super) const REQUIRED: &str =
    "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

/// Whether the pod's node selector and required node affinity accept the node.
pub(super) fn selects(spec: &Value, name: &str, labels: &Value) -> bool {
    let wanted = spec.get("nodeSelector").and_then(Value::as_object);
    if !wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let required = list(spec, REQUIRED);
    required.is_empty() || terms(required, name, labels)
}

/// The only node that the pod can go to, as for the pods of a DaemonSet.
pub(super) fn only_node(spec: &Value) -> Option<&str> {
    let [term] = list(spec, REQUIRED) else { return None };
    let [need] = list(term, "/matchFields") else { return None };
    match list(need, "/values") {
        [one] if text(need, "operator") == "In" => one.as_str(),
        _ => None,
    }
}
