//! services/proxy: requests to servers in the cluster, of which there are Prometheus and the Alertmanager.

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tower_service::Service as _;

use super::{Answer, Api, Call};
use crate::resources::Res;
use crate::scenario::cast::{ALERTMANAGER, PROMETHEUS};
use crate::status::Status;

/// `NAME:PORT` of `[https:]NAME:PORT`, or a name without a port.
fn service_and_port(text: &str) -> Option<(&str, &str)> {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [name] => Some((name, "")),
        [name, port] | ["http" | "https", name, port] => Some((name, port)),
        _ => None,
    }
}

fn unavailable(message: String) -> Status {
    Status::new(503, "ServiceUnavailable", message)
}

impl Api {
    pub(super) async fn pass(&self, call: &Call) -> Answer {
        let id = call.target.name.as_str();
        let invalid = || Status::bad_request(format!("invalid service request {id:?}"));
        let (name, port) = service_and_port(id).ok_or_else(invalid)?;
        let service = self.store.get(Res::Services, call.namespace(), name);
        let service = service.ok_or_else(|| Status::not_found(Res::Services, name))?;
        let ports = service.at("/spec/ports").as_array();
        let number = port.parse().ok();
        let is = |one: &serde_json::Value| {
            one.get("name").and_then(|v| v.as_str()).unwrap_or_default() == port
                || (number.is_some() && one.get("port").and_then(serde_json::Value::as_u64) == number)
        };
        let root = match (call.namespace(), name) {
            PROMETHEUS => Some("prometheus"),
            ALERTMANAGER => Some("alertmanager"),
            _ => None,
        };
        let router = root.and_then(|root| Some((self.inside.get()?, root)));
        let (Some((router, root)), true) = (router, ports.is_some_and(|ports| ports.iter().any(is))) else {
            return Err(unavailable(format!("no endpoints available for service {id:?}")));
        };
        let method = match call.verb {
            "get" => Method::GET,
            "create" => Method::POST,
            "update" => Method::PUT,
            "patch" => Method::PATCH,
            "delete" => Method::DELETE,
            _ => return Err(Status::method_not_allowed()),
        };
        let mut request = Request::new(Body::from(call.body.clone()));
        *request.method_mut() = method;
        if let Some(kind) = call.headers.get(CONTENT_TYPE) {
            request.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        let uri = format!("/{root}/{}?{}", call.target.path, call.raw_query);
        *request.uri_mut() = uri.parse().map_err(|_| invalid())?;
        let passed: Response = match router.clone().call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        Ok(passed)
    }
}
