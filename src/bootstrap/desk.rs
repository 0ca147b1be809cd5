//! The desk performs the effects of the screen, each in its own task. The screen never waits for it. A request about
//! an object is sent to the cluster of that object.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};
use pilothouse_core::domain::plan::{Intent, Plan};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::event::{Event, Fact};
use pilothouse_core::facts::world::{ActionView, Outcome, World};
use pilothouse_core::policy::failover;
use tokio::sync::{mpsc, watch};

use super::cluster::{ClusterHandle, Handles};
use super::fetch::{error_lines, kinds, routes, table, yaml};
use super::logs::follow;
use super::opening::{Opened, Opener};
use crate::action::journal::How;
use crate::action::resume::Remaining;
use crate::action::runner::{Confirmed, Consent, Runner};
use crate::clock::Clock;
use crate::config::Home;
use crate::report::incident;
use crate::source::supervise::Supervisor;
use crate::ui::request::{Effect, LogRequest, Order, Rehearsal, Reply, Request, Ticket};
use crate::ui::run::Input;

/// The parts that effects need.
pub struct Desk {
    pub clusters: Handles,
    pub runner: Runner,
    pub clock: Clock,
    pub world: watch::Receiver<Arc<World>>,
    pub inbox: SyncSender<Input>,
    pub control: mpsc::Sender<Event>,
    pub supervisor: Supervisor,
    pub opener: Opener,
    /// The file of the recording, which has only the clusters of the start.
    pub recorded: Option<PathBuf>,
    pub home: Home,
    /// The open logs.
    pub logs: HashMap<Ticket, Supervisor>,
    /// The requests that may not be answered yet.
    pub asked: HashMap<Ticket, Supervisor>,
}

/// Sends an input to the screen. Waits if the queue is full, which lasts only a short time.
pub(super) async fn hand(inbox: &SyncSender<Input>, mut input: Input) {
    loop {
        match inbox.try_send(input) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            Err(TrySendError::Full(back)) => input = back,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Desk {
    pub async fn serve(mut self, mut effects: mpsc::Receiver<Effect>) {
        while let Some(effect) = effects.recv().await {
            match effect {
                Effect::Plan(ticket, intent, resumes) => self.plan(ticket, intent, resumes),
                Effect::Run { read, answer, resumes } => self.run(read, answer, resumes),
                Effect::Resume(ticket, id) => self.resume(ticket, id),
                Effect::Dismiss(id) => self.dismiss(id),
                Effect::Order(id, order) => {
                    if let Some(control) = self.runner.control(&id) {
                        match order {
                            Order::Cancel { uncordon } => control.cancel(uncordon),
                            Order::Pause(on) => control.pause(on),
                        }
                    }
                }
                Effect::Fetch(ticket, request) => self.fetch(ticket, request),
                Effect::Cancel(ticket) => {
                    if let Some(group) = self.asked.remove(&ticket) {
                        group.cancel();
                    }
                }
                Effect::FollowLogs(ticket, request) => self.follow_logs(ticket, request),
                Effect::StopLogs(ticket) => {
                    if let Some(group) = self.logs.remove(&ticket) {
                        group.cancel();
                    }
                }
                Effect::ScreenDump(text) => self.save("screens", "screen", &text).await,
                Effect::Save(None, text) => self.save("texts", "text", &text).await,
                Effect::Save(Some(object), text) => self.save("logs", &log_name(&object), &text).await,
                Effect::Silence(cluster, change) => {
                    let event = Event { at: self.now_in(cluster), cluster, fact: Fact::Silence(change) };
                    let _frozen = self.control.send(event).await;
                }
                Effect::Remark(cluster, remark) => {
                    let event = Event { at: self.now_in(cluster), cluster, fact: Fact::Remark(remark) };
                    let _frozen = self.control.send(event).await;
                }
                Effect::Report(cluster) => self.report(cluster).await,
                Effect::OpenCluster(context) => self.open(&context).await,
                Effect::CloseCluster(cluster) => self.close(cluster).await,
                Effect::Contexts(ticket) => self.contexts(ticket),
                Effect::Copy(_) | Effect::Redraw | Effect::Mouse | Effect::Suspend | Effect::Quit => {}
            }
        }
    }

    /// Returns the time by the server of a cluster.
    fn now_in(&self, cluster: ClusterId) -> Stamp {
        self.clusters.clients().now_in(cluster, &self.clock)
    }

    /// Saves the report of a cluster as Markdown and JSON, and says where.
    async fn report(&self, id: ClusterId) {
        let world = self.world.borrow().clone();
        let said = save_report(&self.home, &self.clock, &world, id);
        hand(&self.inbox, Input::Notice(said)).await;
    }

    /// Saves a text and says where.
    async fn save(&self, folder: &str, name: &str, text: &str) {
        let said = match save(&self.home, &self.clock, (folder, name), text) {
            Ok(path) => format!("written to {path}"),
            Err(e) => format!("nothing was written: {e}"),
        };
        hand(&self.inbox, Input::Notice(said)).await;
    }

    /// Starts to open the cluster of a context. What becomes of it is in the World.
    async fn open(&self, context: &Name) {
        let told = match (self.opener.open(context), &self.recorded) {
            (Err(why), _) => Input::NotOpened(context.clone(), why),
            (Ok(Opened::New(_)), Some(file)) => Input::Notice(format!(
                "{context} is not recorded: {} has only the clusters that were open at the start",
                file.display()
            )),
            (Ok(_), _) => return,
        };
        hand(&self.inbox, told).await;
    }

    /// Closes a cluster, unless an action runs there.
    async fn close(&self, id: ClusterId) {
        let context = self.world.borrow().cluster(id).map(|cluster| cluster.info.context.clone());
        let said = match self.runner.running_in(id, &context.unwrap_or_default()) {
            Some(plan) => {
                let (act, context) = (plan.intent.act.as_str(), &plan.intent.context);
                format!("not closed: an action runs there ({act} in {context})")
            }
            None => self.opener.close(id).map_or_else(|why| why, |context| format!("closed {context}")),
        };
        hand(&self.inbox, Input::Notice(said)).await;
    }

    /// Lists the contexts of the kubeconfig, which is read again.
    fn contexts(&self, ticket: Ticket) {
        let (inbox, opener) = (self.inbox.clone(), self.opener.clone());
        self.supervisor.spawn_once(async move {
            let found = tokio::task::spawn_blocking(move || opener.contexts()).await;
            let found = found.unwrap_or_else(|e| Err(e.to_string()));
            hand(&inbox, Input::Reply(ticket, found.map_or_else(Reply::Failed, Reply::Contexts))).await;
        });
    }

    fn plan(&self, ticket: Ticket, intent: Intent, resumes: Option<Name>) {
        let (inbox, runner) = (self.inbox.clone(), self.runner.clone());
        self.supervisor.spawn_once(async move {
            let reply = match runner.rehearse(&intent, resumes.as_ref()).await {
                Ok(plan) => Reply::Rehearsal(Rehearsal { plan: Arc::new(plan) }),
                Err(why) => Reply::Failed(why.to_string()),
            };
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }

    /// Runs the confirmed plan and reports the result.
    fn run(&self, read: Arc<Plan>, answer: String, resumes: Option<Name>) {
        let act = read.intent.act.as_str();
        let follows = resumes.map(|old| (old, How::Resumed));
        let started = self.runner.start(Confirmed { read, consent: Consent::Typed(answer), follows });
        let inbox = self.inbox.clone();
        self.supervisor.spawn_once(async move {
            let words = match started.done.await {
                Ok(done) => ended(act, &done),
                Err(_) => {
                    format!("internal error: {act} ended without a result; its journal says how far it got")
                }
            };
            hand(&inbox, Input::Notice(words)).await;
        });
    }

    /// Records that an unfinished action is dismissed, and shows this.
    fn dismiss(&self, id: Name) {
        let (inbox, runner) = (self.inbox.clone(), self.runner.clone());
        self.supervisor.spawn_once(async move {
            let words = match runner.close(&id, How::Dismissed).await {
                Ok(()) => format!("{id}: dismissed"),
                Err(why) => format!("not dismissed: {why}"),
            };
            hand(&inbox, Input::Notice(words)).await;
        });
    }

    /// Determines the remaining steps of an unfinished action from its journal and the state of the cluster.
    fn resume(&self, ticket: Ticket, id: Name) {
        let (inbox, runner) = (self.inbox.clone(), self.runner.clone());
        self.supervisor.spawn_once(async move {
            let reply = match runner.take_up(&id, Duration::ZERO, |_| ()).await {
                Err(why) => Reply::Failed(why.to_string()),
                Ok(taken) => match taken.remaining() {
                    Remaining::Intent(intent) => Reply::Resume(intent),
                    Remaining::Blocked(why) => Reply::Failed(format!(
                        "it cannot be resumed: {why}; check the cluster, then: pilothouse resume {id} --dismiss"
                    )),
                    Remaining::Nothing if taken.is_doubtful().is_some() => Reply::Failed(format!(
                        "nothing is left to do, if it is the same cluster: {}; to end the reminder, dismiss it",
                        taken.is_doubtful().unwrap_or_default()
                    )),
                    Remaining::Nothing => {
                        let closed = runner.close(&id, How::Resumed).await;
                        let note = closed.err().map_or_else(String::new, |e| format!(" ({e})"));
                        Reply::Failed(format!("nothing is left to do: {}{note}", taken.settled.summary))
                    }
                },
            };
            hand(&inbox, Input::Reply(ticket, reply)).await;
        });
    }

    fn follow_logs(&mut self, ticket: Ticket, request: LogRequest) {
        match self.clusters.get(request.object.cluster) {
            Ok(cluster) => {
                // it ends with the cluster
                let group = cluster.sources.child();
                follow(&group, cluster.reader(), ticket, request, self.world.clone(), &self.inbox);
                self.logs.insert(ticket, group);
            }
            Err(_) => {
                let _full = self.inbox.try_send(Input::LogEnded(ticket));
            }
        }
    }

    fn fetch(&mut self, ticket: Ticket, request: Request) {
        self.asked.retain(|_, group| !group.token().is_cancelled());
        let group = self.supervisor.child();
        let done = group.token();
        self.asked.insert(ticket, group.clone());
        let (inbox, world) = (self.inbox.clone(), self.world.borrow().clone());
        let cluster = self.clusters.get(request.cluster());
        group.spawn_once(async move {
            let reply = match cluster {
                Ok(cluster) => fetched(&cluster, request, &world).await,
                Err(why) => Err(why),
            };
            let reply = reply.unwrap_or_else(Reply::Failed);
            hand(&inbox, Input::Reply(ticket, reply)).await;
            // there is nothing left to cancel
            done.cancel();
        });
    }
}

/// Sends a request to its cluster and returns the answer.
async fn fetched(cluster: &ClusterHandle, request: Request, world: &World) -> Result<Reply, String> {
    let (reader, resources) = (cluster.reader(), &cluster.resources);
    match request {
        Request::Yaml(object) => yaml(reader, resources, &object).await,
        Request::Table { resource, namespace, .. } => table(reader, resources, &resource, namespace).await,
        Request::Kinds { .. } => kinds(reader, resources).await,
        Request::FailoverPlans { cluster: id } => match world.cluster(id) {
            Some(seen) => {
                let mut plans = cluster.failover.to_vec();
                plans.extend(failover::suggest(seen, &routes(reader).await));
                Ok(Reply::Plans(plans))
            }
            None => Err("pilothouse is not connected to that cluster".into()),
        },
        Request::ErrorLines { fingerprint, .. } => Ok(error_lines(&cluster.logs, fingerprint)),
        Request::Range { query, span, .. } => cluster.ranges.ask(&query, span).await.map(Reply::Range),
        Request::Moment { at, queries, .. } => cluster.ranges.moment(&queries, at).await.map(Reply::Moment),
        Request::MetricNames { span, .. } => cluster.ranges.names(span).await.map(Reply::MetricNames),
    }
}

/// Describes how an action ended.
fn ended(act: &str, done: &ActionView) -> String {
    match done.outcome {
        // if nothing was sent, the message is sufficient
        Some(Outcome::Refused) => done.message.clone(),
        outcome => format!("{act} {}: {}", outcome.map_or("unfinished", Outcome::as_str), done.message),
    }
}

/// The name of a saved log without its time: `log-pod-web-1`. Only characters that every file system allows are kept
/// of the object's name, and no more of them than fit.
fn log_name(object: &ObjectRef) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '-' };
    let name = format!("{}-{}", object.kind.short(), object.name);
    format!("log-{}", name.chars().map(plain).take(120).collect::<String>())
}

/// Saves the report of a cluster as Markdown and JSON, and says where.
pub(super) fn save_report(home: &Home, clock: &Clock, world: &World, id: ClusterId) -> String {
    let Some(cluster) = world.cluster(id) else { return "no cluster is shown".into() };
    let report = incident::report(world, cluster);
    let saved = serde_json::to_string_pretty(&report).map_err(std::io::Error::other).and_then(|json| {
        let place = ("reports", "report");
        save_as(home, clock, place, "json", &json)?;
        save_as(home, clock, place, "md", &incident::markdown(&report))
    });
    match saved {
        Ok(path) => format!("written to {path}, and as .json beside it"),
        Err(e) => format!("no report was written: {e}"),
    }
}

/// Writes a text to a new file, which is named with the time. Returns its path, with `~` for the home directory.
pub(super) fn save(home: &Home, clock: &Clock, place: (&str, &str), text: &str) -> std::io::Result<String> {
    save_as(home, clock, place, "txt", text)
}

/// The same with another ending of the file's name.
fn save_as(
    home: &Home,
    clock: &Clock,
    (folder, name): (&str, &str),
    ending: &str,
    text: &str,
) -> std::io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let saved = home.saved.as_ref().ok_or_else(|| std::io::Error::other("there is no home directory"))?;
    let folder = saved.join(folder);
    crate::telemetry::private_folder(&folder)?;
    let at = clock.now().to_string().replace(':', "");
    let path = folder.join(format!("{name}-{at}.{ending}"));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    let below = home.user.as_ref().and_then(|user| path.strip_prefix(user).ok());
    Ok(below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display())))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::{Kind, Uid};

    use super::*;

    #[test]
    fn a_saved_log_is_named_by_its_object_and_stays_below_its_folder() {
        let user = tempfile::tempdir().unwrap();
        let root = user.path().join(".local/state/pilothouse");
        let gone = tempfile::tempdir().unwrap();
        let home = Home {
            config: None,
            state: Some(gone.path().to_owned()),
            saved: Some(root.clone()),
            user: Some(user.path().to_owned()),
        };
        let object =
            |name: &str| ObjectRef::new(ClusterId(0), Kind::Pod, &"s".into(), &name.into(), &Uid::default());
        let name = log_name(&object("web-1"));
        assert_eq!(name, format!("log-{}-web-1", Kind::Pod.short()));
        let path = save(&home, &Clock::default(), ("logs", &name), "a line").unwrap();
        assert!(path.starts_with(&format!("~/.local/state/pilothouse/logs/{name}-")), "{path}");
        let path = user.path().join(path.trim_start_matches("~/"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a line");
        assert_eq!(std::fs::read_dir(gone.path()).unwrap().count(), 0, "a demo's folder is removed");
        let name = log_name(&object("../../x y"));
        assert!(!name.contains(['/', ' ']), "{name}");
        assert!(save(&Home::default(), &Clock::default(), ("logs", "log"), "").is_err());
    }
}
