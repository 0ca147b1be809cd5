//! The Kubernetes API server: one handler authenticates a request, applies the faults, authorizes the request, and
//! passes it to the file in `api/` that answers it.

mod change;
mod discovery;
mod evict;
mod impersonate;
mod inside;
mod log;
mod measure;
mod patch;
mod proto;
mod read;
mod reply;
mod review;
mod route;
mod scale;
mod table;
mod watch;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch as signal;

use crate::access::{Access, Persona, Wish};
use crate::audit::{Audit, Entry};
use crate::clock::Clock;
use crate::faults::{Fault, Faults};
use crate::listener::Peer;
use crate::logs::LogBook;
use crate::rng::Random;
use crate::status::Status;
use crate::store::Store;
use crate::usage::Usage;
use route::{Query, Target};

/// The largest request body (the real server's limit is 3 MiB).
const BODY_LIMIT: usize = 3 << 20;

/// The state that all requests share.
#[derive(Debug)]
pub struct Api {
    pub store: Store,
    pub clock: Arc<Clock>,
    pub random: Arc<Random>,
    pub access: Access,
    pub faults: Faults,
    pub audit: Audit,
    pub logs: Arc<dyn LogBook>,
    pub usage: Arc<dyn Usage>,
    /// API groups that this cluster does not serve.
    pub hidden: Vec<String>,
    /// Changes when every open watch and log stream has to end.
    pub cut: signal::Sender<u64>,
    /// Resources (plural names) whose open watches send nothing, not even bookmarks, as if the connection was lost.
    pub silent: signal::Sender<Vec<String>>,
    /// The servers in the cluster, behind `services/proxy`.
    pub inside: OnceLock<Router>,
    pages: read::Pages,
}

/// A request with all values that are known before it is executed.
#[derive(Debug)]
struct Call {
    target: Target,
    verb: &'static str,
    query: Query,
    raw_query: String,
    headers: HeaderMap,
    body: Bytes,
    persona: Persona,
    manager: String,
}

type Answer = Result<Response, Status>;

impl Call {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn dry_run(&self) -> bool {
        self.query.all("dryRun").any(|value| value == "All")
    }

    /// The body as JSON.
    fn json(&self) -> Result<Value, Status> {
        if proto::is_protobuf(&self.body) {
            return proto::document(&self.body).ok_or_else(Status::unsupported_media_type);
        }
        serde_json::from_slice(&self.body).map_err(|why| {
            let text = String::from_utf8_lossy(&self.body);
            let text: String = text.chars().take(200).collect();
            let what = format!("couldn't get version/kind; json parse error: {why} ({text})");
            Status::bad_request(format!("the object provided is unrecognized: {what}"))
        })
    }

    fn gzip(&self) -> bool {
        self.header(header::ACCEPT_ENCODING).contains("gzip")
    }

    fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }
}

impl Api {
    pub fn new(store: Store, access: Access, logs: Arc<dyn LogBook>, usage: Arc<dyn Usage>) -> Self {
        Self {
            clock: store.clock().clone(),
            random: store.random().clone(),
            store,
            access,
            faults: Faults::default(),
            audit: Audit::default(),
            logs,
            usage,
            hidden: Vec::new(),
            cut: signal::Sender::new(0),
            silent: signal::Sender::new(Vec::new()),
            inside: OnceLock::new(),
            pages: read::Pages::default(),
        }
    }

    fn serves(&self, group: &str) -> bool {
        !self.hidden.iter().any(|one| one == group)
    }

    async fn carry_out(&self, call: &Call) -> Answer {
        let target = &call.target;
        match (target.group.as_str(), target.plural.as_str()) {
            ("authorization.k8s.io" | "authentication.k8s.io", _) => return Self::review(call),
            ("metrics.k8s.io", _) => return self.measure(call),
            _ => {}
        }
        let res = target.res.filter(|_| self.serves(&target.group)).ok_or_else(Status::unknown_path)?;
        if target.namespace.is_some() && !res.info().namespaced {
            return Err(Status::unknown_path());
        }
        if !target.subresource.is_empty() && !res.info().has(&target.subresource) {
            return Err(Status::unknown_path());
        }
        match (target.subresource.as_str(), call.verb) {
            ("log", "get") => self.log(call),
            ("proxy", _) => self.pass(call).await,
            ("eviction", "create") => self.evict(call),
            ("binding", "create") => self.bind(call),
            ("scale", _) => self.scale(call, res),
            ("" | "status" | "finalize", "get") => self.get(call, res),
            ("", "list") => self.list(call, res).await,
            ("", "watch") => self.watch(call, res),
            ("", "create") => self.create(call, res),
            ("" | "status" | "finalize", "update") => self.replace(call, res),
            ("" | "status", "patch") => self.patch(call, res),
            ("", "delete") => self.delete(call, res),
            ("", "deletecollection") => self.delete_collection(call, res),
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn authorize(call: &Call) -> Result<(), Status> {
        let target = &call.target;
        let resource = target.resource();
        let namespace = call.namespace();
        let wish = Wish { verb: call.verb, group: &target.group, resource: &resource, namespace };
        if call.persona.may(&wish) {
            return Ok(());
        }
        Err(refusal(&call.persona.user, &wish, &target.plural, &target.name))
    }
}

/// 403 with the authorizer's message.
fn refusal(user: &str, wish: &Wish<'_>, plural: &str, name: &str) -> Status {
    let Wish { verb, group, resource, namespace } = wish;
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    let why =
        format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}");
    Status::forbidden(plural, group, name, &why)
}

/// The verb of a request on a resource.
fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    let one = !target.name.is_empty();
    match method.as_str() {
        "GET" | "HEAD" if one => "get",
        "GET" | "HEAD" if query.flag("watch") => "watch",
        "GET" | "HEAD" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if one => "delete",
        "DELETE" => "deletecollection",
        _ => "",
    }
}

/// The field manager: as requested, or the first word of the user agent, as in the real server.
fn manager(query: &Query, headers: &HeaderMap) -> String {
    if let Some(name) = query.get("fieldManager").filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = agent.split(['/', ' ']).next().unwrap_or_default();
    if first.is_empty() { "unknown".to_owned() } else { first.to_owned() }
}

/// Splits `/as/NAME` off a path. A client that sends no token over plain HTTP identifies itself this way.
fn persona_in(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/as/") else { return (None, path) };
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    (Some(name), if rest.is_empty() { "/" } else { rest })
}

fn throttled(retry_after: u32) -> Response {
    let mut out = reply::plain(429, "Too many requests, please try again later.");
    out.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    out
}

/// Answers all requests to the API.
pub async fn handle(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (named, path) = persona_in(parts.uri.path());
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        bearer.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
    let agent =
        parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut entry = Entry {
        id: api.random.uid(),
        verb: parts.method.as_str().to_ascii_lowercase(),
        uri: parts.uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")),
        group: String::new(),
        resource: path.chars().take(200).collect(),
        namespace: String::new(),
        name: String::new(),
        user: String::new(),
        acting: String::new(),
        agent: agent.to_owned(),
        code: 0,
        dry_run: false,
    };

    let mut response = async {
        if matches!(path, "/healthz" | "/livez" | "/readyz") {
            return reply::plain(200, "ok");
        }
        let Some(mut persona) = api.access.who(bearer.or(named)) else {
            return reply::status(&Status::unauthorized());
        };
        entry.user.clone_from(&persona.user);
        match api.impersonate(&persona, &parts.headers, &entry.uri) {
            Ok(None) => {}
            Ok(Some(acting)) => {
                entry.acting.clone_from(&acting.user);
                persona = acting;
            }
            Err(refused) => return *refused,
        }
        let Some(target) = Target::of(path) else {
            if let Some(stop) = suffer(&api, &peer, &entry.faulted(None)).await {
                return stop;
            }
            return match api.discover(path, &parts.headers) {
                Ok(document) => document,
                Err(None) => reply::plain(404, "404 page not found\n"),
                Err(Some(refused)) => reply::status(&refused),
            };
        };
        let verb = verb(&parts.method, &target, &query);
        verb.clone_into(&mut entry.verb);
        entry.resource = target.resource();
        entry.group.clone_from(&target.group);
        entry.namespace = target.namespace.clone().unwrap_or_default();
        entry.name.clone_from(&target.name);
        if let Some(stop) = suffer(&api, &peer, &entry.faulted(Some(&target))).await {
            return stop;
        }
        let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
            let refused =
                Status::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
            return reply::status(&refused);
        };
        let manager = manager(&query, &parts.headers);
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let headers = parts.headers.clone();
        let call = Call { target, verb, query, raw_query, headers, body, persona, manager };
        entry.dry_run = call.dry_run();
        let answer = match Api::authorize(&call) {
            Ok(()) => api.carry_out(&call).await,
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(|refused| reply::status(&refused))
    }
    .await;

    entry.code = response.status().as_u16();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&entry.id) {
        headers.insert("audit-id", id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    // As in the real server, the audit log has a start and an end of watches and logs, and only an end of the others.
    let long = entry.verb == "watch" || entry.resource == "pods/log";
    api.audit.write(&entry, if long { "ResponseStarted" } else { "ResponseComplete" });
    api.audit.note(entry.clone());
    if peer.is_lost() {
        // The listener closes the connection at the first byte of this response, so its body is not needed.
        *response.body_mut() = Body::empty();
    } else if long {
        let ending = Ending { api: api.clone(), entry };
        response = response.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |piece| {
                let _until_the_last = &ending;
                piece
            }))
        });
    }
    response
}

/// Writes the end of a long answer to the audit log when its stream is dropped, by either side.
struct Ending {
    api: Arc<Api>,
    entry: Entry,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.api.audit.write(&self.entry, "ResponseComplete");
    }
}

/// The values of a request that faults are matched against.
struct Faulted {
    verb: String,
    group: String,
    plural: String,
    subresource: String,
    namespace: String,
    name: String,
    user: String,
}

impl Entry {
    fn faulted(&self, target: Option<&Target>) -> Faulted {
        Faulted {
            verb: self.verb.clone(),
            group: target.map(|target| target.group.clone()).unwrap_or_default(),
            plural: target.map_or_else(|| self.resource.clone(), |target| target.plural.clone()),
            subresource: target.map(|target| target.subresource.clone()).unwrap_or_default(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            user: if self.acting.is_empty() { self.user.clone() } else { self.acting.clone() },
        }
    }
}

/// Applies the faults. `Some` ends the request here.
async fn suffer(api: &Api, peer: &Peer, about: &Faulted) -> Option<Response> {
    let request = crate::faults::Request {
        verb: &about.verb,
        group: &about.group,
        plural: &about.plural,
        subresource: &about.subresource,
        namespace: &about.namespace,
        name: &about.name,
        user: &about.user,
    };
    let verdict = api.faults.judge(&request, &api.random);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    match verdict.fault? {
        Fault::Throttle { retry_after } => Some(throttled(retry_after)),
        Fault::Status { code, message } => {
            Some(reply::status(&Status::new(code, known_reason(code), message)))
        }
        Fault::Plain { code, body } => Some(reply::plain(code, &body)),
        Fault::Delay { .. } => None,
        Fault::Disconnect => {
            peer.lose();
            Some(reply::plain(200, ""))
        }
        Fault::Lost => {
            peer.lose();
            None
        }
        // This future is dropped when the client gives up or its connection ends.
        Fault::Stall => std::future::pending().await,
    }
}

fn known_reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}
