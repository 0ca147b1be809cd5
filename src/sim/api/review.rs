//! Access reviews about the caller: one permission, all permissions, the user's name.

use serde_json::{Value, json};

use super::{Answer, Api, Call, reply};
use crate::access::Wish;
use crate::status::Status;

impl Api {
    pub(super) fn review(call: &Call) -> Answer {
        if call.verb != "create" {
            return Err(Status::method_not_allowed());
        }
        let mut review = call.json()?;
        let text =
            |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = match (call.target.group.as_str(), call.target.plural.as_str()) {
            ("authorization.k8s.io", "selfsubjectaccessreviews") => {
                let at = |field: &str| text(&format!("/spec/resourceAttributes/{field}"));
                let allowed = if review.pointer("/spec/nonResourceAttributes").is_some() {
                    // Discovery and health are open to every authenticated user.
                    text("/spec/nonResourceAttributes/verb") == "get"
                } else {
                    let (mut resource, subresource) = (at("resource"), at("subresource"));
                    if !subresource.is_empty() {
                        resource = format!("{resource}/{subresource}");
                    }
                    let (verb, group, namespace) = (at("verb"), at("group"), at("namespace"));
                    call.persona.may(&Wish {
                        verb: &verb,
                        group: &group,
                        resource: &resource,
                        namespace: &namespace,
                    })
                };
                json!({"allowed": allowed})
            }
            ("authorization.k8s.io", "selfsubjectrulesreviews") => {
                let open =
                    ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/readyz", "/version"];
                json!({"resourceRules": call.persona.rules(&text("/spec/namespace")), "incomplete": false,
                    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": open}]})
            }
            ("authentication.k8s.io", "selfsubjectreviews") => {
                json!({"userInfo": {"username": call.persona.user, "groups": call.persona.groups}})
            }
            _ => return Err(Status::unknown_path()),
        };
        if let Some(map) = review.as_object_mut() {
            map.insert("status".into(), status);
            map.entry("metadata").or_insert_with(|| json!({}));
        }
        Ok(reply::json(201, &review))
    }
}
