//! A pod's containers and their states, for reading its logs. The API server has no default container for logs. A log
//! that ends or does not start does not say why, but the pod's status does.

use std::sync::Arc;

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::wire::client::{ReadClient, escape};
use crate::wire::error::ApiError;

/// The maximum length of a kubelet's message, in bytes.
const MESSAGE_CAP: usize = 300;

/// The list of the pod spec that contains a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the other containers start.
    Init,
    /// An init container that keeps running (a sidecar).
    Sidecar,
    #[default]
    Main,
    /// An ephemeral container, for debugging.
    Ephemeral,
}

/// The termination of a container's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    pub code: i64,
    pub reason: String,
    pub at: Option<Stamp>,
}

impl std::fmt::Display for Exit {
    /// Formats an exit as `exit 1 (Error) at 21:30:12`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        match self.at {
            Some(at) => write!(f, " at {}", at.clock_secs()),
            None => Ok(()),
        }
    }
}

/// The state of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The kubelet has not reported a state.
    #[default]
    Unknown,
    Waiting {
        reason: String,
        message: String,
    },
    Running,
    Ended(Exit),
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: Name,
    pub role: Role,
    pub restarts: u32,
    pub state: State,
    /// The end of the previous run.
    pub last: Option<Exit>,
    /// Whether the kubelet restarts the container after this exit.
    again: Again,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Again {
    #[default]
    Always,
    OnFailure,
    Never,
}

impl Again {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
}

impl Container {
    /// Whether the container is running or has run, so that it has a log.
    pub fn has_log(&self) -> bool {
        self.last.is_some() || self.restarts > 0 || matches!(self.state, State::Running | State::Ended(_))
    }

    /// Whether there was a run before the current or expected one.
    pub fn has_previous(&self) -> bool {
        self.last.is_some() || self.restarts > 0
    }

    /// Whether this is an init container that has completed successfully.
    pub fn is_done_init(&self) -> bool {
        self.role == Role::Init && matches!(&self.state, State::Ended(exit) if exit.code == 0)
    }

    /// Returns the end of the latest run, if the container is not running.
    pub fn ended(&self) -> Option<&Exit> {
        match &self.state {
            State::Ended(exit) => Some(exit),
            State::Waiting { .. } => self.last.as_ref(),
            State::Running | State::Unknown => None,
        }
    }
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    pub uid: Uid,
    /// The containers in the order in which they start.
    pub containers: Vec<Container>,
    /// Whether the pod has succeeded, failed or is being deleted, so that no container starts any more.
    pub over: bool,
    /// Whether the pod is not bound to a node, or the node's kubelet has not started it.
    pub pending: bool,
    /// The reason why the pod is pending: the message of the scheduler or of the pod.
    pub why: String,
}

impl PodState {
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// Whether the kubelet will restart the container.
    pub fn restarts(&self, container: &Container) -> bool {
        let failed = container.ended().is_none_or(|exit| exit.code != 0);
        !self.over
            && match container.again {
                Again::Always => true,
                Again::OnFailure => failed,
                Again::Never => false,
            }
    }

    /// Whether its log can be requested. A container without a reported state also counts, if the pod has a kubelet.
    pub fn has_log(&self, container: &Container) -> bool {
        container.has_log() || (container.state == State::Unknown && !self.pending)
    }

    /// Returns the reason why a container that has not started has no lines.
    pub fn waits(&self, container: &Container) -> String {
        let (reason, message) = match &container.state {
            State::Waiting { reason, message } => (reason.as_str(), message.as_str()),
            _ => ("", ""),
        };
        let mut out = String::from("has not started");
        for part in [reason, message] {
            if !part.is_empty() {
                out.push_str(": ");
                out.push_str(part);
            }
        }
        if reason.is_empty() && message.is_empty() && !self.why.is_empty() {
            out.push_str(": ");
            out.push_str(&self.why);
        }
        if matches!(container.role, Role::Main | Role::Sidecar | Role::Init)
            && let Some(first) = self.in_the_way(container)
        {
            let doing = match &first.state {
                State::Running => "runs".to_owned(),
                State::Waiting { reason, .. } if !reason.is_empty() => format!("waits: {reason}"),
                State::Ended(exit) => format!("ended, {exit}"),
                State::Waiting { .. } | State::Unknown => "waits".to_owned(),
            };
            out.push_str(&format!("; init container {} {doing}", first.name));
        }
        out
    }

    /// Returns the init container that must complete before this one starts.
    fn in_the_way(&self, container: &Container) -> Option<&Container> {
        self.containers
            .iter()
            .take_while(|c| c.name != container.name)
            .find(|c| c.role == Role::Init && !c.is_done_init())
    }

    /// Parses the pod's JSON.
    pub fn read(json: &[u8]) -> Result<Self, ApiError> {
        // serde would accept an array for a struct without fields
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::Decode("no object where a pod was asked for".into()));
        }
        let doc: Doc = serde_json::from_slice(json)
            .map_err(|e| ApiError::Decode(text::clean(&e.to_string()).into_owned()))?;
        Ok(doc.into())
    }
}

/// Reads a pod, once for all of its containers that need it at the same time.
#[derive(Debug)]
pub struct PodWatch {
    read: ReadClient,
    path: String,
    /// The UID of the selected pod. Another pod with the same name is not accepted. An empty UID accepts any pod.
    uid: Uid,
    held: Mutex<Option<(Instant, Answer)>>,
}

type Answer = Result<Arc<PodState>, ApiError>;

impl PodWatch {
    pub fn new(read: &ReadClient, namespace: &str, name: &str, uid: Uid) -> Self {
        let path = format!("/api/v1/namespaces/{}/pods/{}", escape(namespace), escape(name));
        Self { read: read.clone(), path, uid, held: Mutex::default() }
    }

    /// Returns the pod as of that time or later. Returns `NotFound` also if another pod has its name now.
    pub async fn since(&self, moment: Instant) -> Answer {
        let mut held = self.held.lock().await;
        if let Some((at, answer)) = held.as_ref()
            && *at >= moment
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = self.ask().await;
        *held = Some((asked, answer.clone()));
        answer
    }

    async fn ask(&self) -> Answer {
        let state = PodState::read(&self.read.get_bytes(&self.path, 16 << 20).await?)?;
        if self.uid != Uid::default() && state.uid != self.uid {
            return Err(ApiError::NotFound {
                message: "another pod has taken its name".into(),
                status: true,
            });
        }
        Ok(Arc::new(state))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Doc {
    metadata: MetaDoc,
    spec: SpecDoc,
    status: Option<StatusDoc>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MetaDoc {
    uid: Option<String>,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecDoc {
    restart_policy: Option<String>,
    init_containers: Option<Vec<ContainerDoc>>,
    containers: Option<Vec<ContainerDoc>>,
    ephemeral_containers: Option<Vec<ContainerDoc>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerDoc {
    name: String,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusDoc {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    conditions: Option<Vec<ConditionDoc>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConditionDoc {
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    restart_count: Option<i64>,
    state: Option<StateDoc>,
    last_state: Option<StateDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StateDoc {
    waiting: Option<WaitingDoc>,
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<TerminatedDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WaitingDoc {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TerminatedDoc {
    exit_code: Option<i64>,
    reason: Option<String>,
    finished_at: Option<String>,
}

fn short(text: Option<&str>) -> String {
    text::cap(&text::clean(text.unwrap_or_default()), MESSAGE_CAP).into_owned()
}

impl TerminatedDoc {
    fn exit(&self) -> Exit {
        Exit {
            code: self.exit_code.unwrap_or(0),
            reason: short(self.reason.as_deref()),
            at: self.finished_at.as_deref().and_then(Stamp::parse),
        }
    }
}

impl From<Doc> for PodState {
    fn from(doc: Doc) -> Self {
        let status = doc.status.unwrap_or_default();
        let policy = doc.spec.restart_policy.as_deref().and_then(Again::parse).unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or_default();
        let lists = [
            (Role::Init, doc.spec.init_containers, status.init_container_statuses),
            (Role::Main, doc.spec.containers, status.container_statuses),
            (Role::Ephemeral, doc.spec.ephemeral_containers, status.ephemeral_container_statuses),
        ];
        let containers = lists.into_iter().flat_map(|(role, specs, statuses)| {
            let statuses = statuses.unwrap_or_default();
            specs.unwrap_or_default().into_iter().map(move |spec| {
                let own = spec.restart_policy.as_deref().and_then(Again::parse);
                let sidecar = role == Role::Init && own == Some(Again::Always);
                let again = match (role, own) {
                    (Role::Ephemeral, _) => Again::Never,
                    (_, Some(own)) => own,
                    (Role::Init, None) if policy != Again::Never => Again::OnFailure,
                    (_, None) => policy,
                };
                let found = statuses.iter().find(|s| s.name == spec.name);
                Container {
                    name: Name::from(&*text::clean(&spec.name)),
                    role: if sidecar { Role::Sidecar } else { role },
                    restarts: found
                        .and_then(|s| s.restart_count)
                        .and_then(|n| u32::try_from(n).ok())
                        .unwrap_or(0),
                    state: found.and_then(|s| s.state.as_ref()).map(state).unwrap_or_default(),
                    last: found
                        .and_then(|s| s.last_state.as_ref()?.terminated.as_ref())
                        .map(TerminatedDoc::exit),
                    again,
                }
            })
        });
        let unscheduled = status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.kind.as_deref() == Some("PodScheduled") && c.status.as_deref() == Some("False"));
        let why = unscheduled
            .and_then(|c| c.message.as_deref().filter(|m| !m.is_empty()).or(c.reason.as_deref()))
            .or(status.message.as_deref())
            .or(status.reason.as_deref());
        Self {
            uid: doc.metadata.uid.as_deref().map(Uid::parse).unwrap_or_default(),
            containers: containers.collect(),
            over: matches!(phase, "Succeeded" | "Failed") || doc.metadata.deletion_timestamp.is_some(),
            pending: phase == "Pending",
            why: short(why),
        }
    }
}

fn state(doc: &StateDoc) -> State {
    match doc {
        StateDoc { terminated: Some(ended), .. } => State::Ended(ended.exit()),
        StateDoc { running: Some(_), .. } => State::Running,
        StateDoc { waiting: Some(waiting), .. } => State::Waiting {
            reason: short(waiting.reason.as_deref()),
            message: short(waiting.message.as_deref()),
        },
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &str, status: &str) -> PodState {
        PodState::read(format!(r#"{{"metadata":{{"uid":"u"}},"spec":{spec},"status":{status}}}"#).as_bytes())
            .unwrap()
    }

    const SHOP: &str = r#"{"initContainers":[{"name":"migrate"},{"name":"proxy","restartPolicy":"Always"}],"containers":[{"name":"app"}],"ephemeralContainers":[{"name":"debug"}]}"#;

    #[test]
    fn all_containers_with_their_states() {
        let state = pod(
            SHOP,
            r#"{"phase":"Pending","initContainerStatuses":[{"name":"migrate","restartCount":5,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 2m40s"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error","finishedAt":"2026-01-01T21:30:12Z"}}}],"containerStatuses":[{"name":"app","state":{"waiting":{"reason":"PodInitializing"}}}]}"#,
        );
        let roles: Vec<_> = state.containers.iter().map(|c| (c.name.as_str(), c.role)).collect();
        assert_eq!(
            roles,
            [
                ("migrate", Role::Init),
                ("proxy", Role::Sidecar),
                ("app", Role::Main),
                ("debug", Role::Ephemeral)
            ]
        );
        let (migrate, app) = (state.container("migrate").unwrap(), state.container("app").unwrap());
        assert!(state.has_log(migrate) && migrate.has_previous() && state.restarts(migrate));
        assert_eq!(migrate.ended().unwrap().to_string(), "exit 1 (Error) at 21:30:12");
        assert!(!state.has_log(app) && !app.has_previous());
        assert_eq!(
            state.waits(app),
            "has not started: PodInitializing; init container migrate waits: CrashLoopBackOff"
        );
    }

    #[test]
    fn what_starts_again_after_its_end() {
        for (policy, code, over, init, main) in [
            ("Always", 0, false, false, true),
            ("Always", 1, false, true, true),
            ("OnFailure", 0, false, false, false),
            ("OnFailure", 1, false, true, true),
            ("Never", 1, false, false, false),
            ("Always", 1, true, false, false),
        ] {
            let ended = format!(r#"{{"state":{{"terminated":{{"exitCode":{code}}}}},"name":"#);
            let phase = if over { "Failed" } else { "Running" };
            let state = pod(
                &format!(
                    r#"{{"restartPolicy":"{policy}","initContainers":[{{"name":"i"}}],"containers":[{{"name":"m"}}],"ephemeralContainers":[{{"name":"e"}}]}}"#
                ),
                &format!(
                    r#"{{"phase":"{phase}","initContainerStatuses":[{ended}"i"}}],"containerStatuses":[{ended}"m"}}],"ephemeralContainerStatuses":[{ended}"e"}}]}}"#
                ),
            );
            let of = |name: &str| state.restarts(state.container(name).unwrap());
            assert_eq!((of("i"), of("m"), of("e")), (init, main, false), "{policy} {code} {over}");
        }
    }

    #[test]
    fn a_pod_that_no_node_has_says_why() {
        let state = pod(
            r#"{"containers":[{"name":"app"}]}"#,
            r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes are available"}]}"#,
        );
        let app = state.container("app").unwrap();
        assert!(!state.has_log(app));
        assert_eq!(state.waits(app), "has not started: 0/3 nodes are available");
        let silent = pod(r#"{"containers":[{"name":"app"}]}"#, r#"{"phase":"Running"}"#);
        assert!(silent.has_log(silent.container("app").unwrap()), "the kubelet knows more than the pod says");
        assert!(PodState::read(b"[]").is_err() && PodState::read(br#"{"metadata":{},"spec":{}}"#).is_ok());
    }
}
