//! A controller of the Gateway API: it reports on Gateways of its class, and on HTTPRoutes that are attached to one of
//! these or to a Service. Traffic itself obeys the routes.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::doc::{list, text, write_status};
use super::feed::{Feed, News};
use crate::clock::stamp;
use crate::engine::Part;
use crate::resources::Res;
use crate::store::{Object, Store};

/// The class of the Gateways that it manages, and its own name.
const CLASS: &str = "sim";
const NAME: &str = "sim.pilothouse/gateway-controller";

#[derive(Debug)]
pub(super) struct Gateways {
    store: Store,
    feeds: [Feed; 3],
}

impl Gateways {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            feeds: Feed::each(store, [Res::Gateways, Res::HttpRoutes, Res::Services]),
        }
    }

    fn gateway(&self, gateway: &Object, at: DateTime<Utc>) {
        if gateway.text("/spec/gatewayClassName") != CLASS {
            return;
        }
        let report = Report { old: list(&gateway.value, "/status/conditions"), of: gateway, at };
        let conditions = [report.on("Accepted", Ok("Accepted")), report.on("Programmed", Ok("Programmed"))];
        let status =
            json!({"addresses": [{"type": "IPAddress", "value": "10.0.0.80"}], "conditions": conditions});
        write_status(&self.store, gateway, NAME, status);
    }

    /// Whether this controller is responsible for a parent of a route.
    fn is_ours(&self, route: &Object, parent: &Value) -> bool {
        let namespace = text(parent, "namespace");
        let namespace = if namespace.is_empty() { route.namespace() } else { namespace };
        let get = |res| self.store.get(res, namespace, text(parent, "name"));
        match text(parent, "kind") {
            "" | "Gateway" => {
                get(Res::Gateways).is_some_and(|one| one.text("/spec/gatewayClassName") == CLASS)
            }
            "Service" => get(Res::Services).is_some(),
            _ => false,
        }
    }

    fn route(&self, route: &Object, at: DateTime<Utc>) {
        let parents = list(&route.value, "/spec/parentRefs").iter();
        let ours: Vec<&Value> = parents.filter(|parent| self.is_ours(route, parent)).collect();
        let held = list(&route.value, "/status/parents");
        if ours.is_empty() && held.is_empty() {
            return;
        }
        let refs = list(&route.value, "/spec/rules").iter().flat_map(|rule| list(rule, "/backendRefs"));
        let missing = refs.into_iter().find(|one| {
            let namespace = text(one, "namespace");
            let namespace = if namespace.is_empty() { route.namespace() } else { namespace };
            self.store.get(Res::Services, namespace, text(one, "name")).is_none()
        });
        let resolved = match missing {
            None => Ok("ResolvedRefs"),
            Some(one) => Err(("BackendNotFound", format!("service {:?} not found", text(one, "name")))),
        };
        // The entries of other controllers stay.
        let mut out: Vec<Value> =
            held.iter().filter(|one| text(one, "controllerName") != NAME).cloned().collect();
        for parent in ours {
            let old = held.iter().find(|one| one.get("parentRef") == Some(parent));
            let old = old.map(|one| list(one, "/conditions")).unwrap_or_default();
            let report = Report { old, of: route, at };
            let conditions =
                [report.on("Accepted", Ok("Accepted")), report.on("ResolvedRefs", resolved.clone())];
            out.push(json!({"parentRef": parent, "controllerName": NAME, "conditions": conditions}));
        }
        write_status(&self.store, route, NAME, json!({"parents": out}));
    }
}

/// Conditions of an object. The time of the transition is kept while the status is the same.
struct Report<'a> {
    old: &'a [Value],
    of: &'a Object,
    at: DateTime<Utc>,
}

impl Report<'_> {
    /// A reason, or a reason and a message for a condition that is not met.
    fn on(&self, kind: &str, is: Result<&str, (&str, String)>) -> Value {
        let (status, reason, message) = match is {
            Ok(reason) => ("True", reason, String::new()),
            Err((reason, message)) => ("False", reason, message),
        };
        let old = self.old.iter().find(|one| text(one, "type") == kind && text(one, "status") == status);
        let since = old.map_or_else(|| stamp(self.at), |one| text(one, "lastTransitionTime").to_owned());
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
            "observedGeneration": self.of.generation()})
    }
}

impl Part for Gateways {
    fn name(&self) -> &'static str {
        "gateways"
    }

    fn step(&mut self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut changed = false;
        for feed in &mut self.feeds {
            for news in feed.read() {
                // A change of a Service's spec or status changes no report.
                changed |= !matches!(news, News::Now(object, Some(_)) if object.res == Res::Services);
            }
        }
        if changed {
            for gateway in self.store.list(Res::Gateways, None) {
                self.gateway(&gateway, at);
            }
            for route in self.store.list(Res::HttpRoutes, None) {
                self.route(&route, at);
            }
        }
        None
    }
}
