//! One list of everything that happened in a cluster, by one clock: findings, changes, states, events, error groups,
//! alerts, actions, incidents, bookmarks and notes.
//!
//! What the console saw itself comes from the history. What happened before its start comes from the times in the
//! objects: events, conditions, and the changes that [`super::changes`] reads from ReplicaSets.

mod acts;
mod alerts;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::alert::AlertRow;
use crate::domain::autoscaler::HpaState;
use crate::domain::event::KubeEvent;
use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::incident::{IncidentStep, RemarkKind};
use crate::domain::node::{Condition, NodeState, Status};
use crate::domain::time::Stamp;
use crate::facts::history::{Happened, HpaThen, Moment, NodeThen, Step};
use crate::facts::table::Table;
use crate::facts::world::{ActionView, Cause, Change, ChangeKind, Cluster, Severity, World};

use self::acts::{actions, has_evicted, incidents};
use super::changes::{Told, WINDOW_SECS, fold_for_people};

/// How far back changes and conditions go, in hours.
pub const WINDOW_HOURS: i64 = WINDOW_SECS / 3600;

/// The largest number of lines. The oldest are left out.
pub const LINES: usize = 5_000;

/// A condition that became true soon after its object was made is part of the start, and no line of its own.
const STARTS_SECS: i64 = 300;

/// The kinds of lines, which the timeline can be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineKind {
    Finding,
    /// A rollout, a scaling, a change of a node or of an autoscaler's bounds.
    Change,
    /// A state or a condition of an object.
    State,
    Event,
    Error,
    /// An alert of an Alertmanager or of a Prometheus.
    Alert,
    Action,
    Incident,
    /// A bookmark or a note.
    Note,
}

impl LineKind {
    pub const ALL: [Self; 9] = [
        Self::Finding,
        Self::Change,
        Self::State,
        Self::Event,
        Self::Error,
        Self::Alert,
        Self::Action,
        Self::Incident,
        Self::Note,
    ];

    /// Returns the word of its column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Change => "change",
            Self::State => "state",
            Self::Event => "event",
            Self::Error => "error",
            Self::Alert => "alert",
            Self::Action => "action",
            Self::Incident => "incident",
            Self::Note => "note",
        }
    }

    /// Returns the words for several lines.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Finding => "findings",
            Self::Change => "changes",
            Self::State => "states",
            Self::Event => "events",
            Self::Error => "errors",
            Self::Alert => "alerts",
            Self::Action => "actions",
            Self::Incident => "incidents",
            Self::Note => "notes",
        }
    }
}

/// What a line says. Its `Display` is the words after the object.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Began(Arc<Cause>),
    /// `lasted_ms` is not known if it began before the history.
    Ended {
        cause: Arc<Cause>,
        lasted_ms: Option<u64>,
    },
    /// Its severity changed.
    Became {
        cause: Arc<Cause>,
        was: Severity,
    },
    Changed(Box<Told>),
    Node {
        was: NodeState,
        is: NodeState,
    },
    Ready {
        ready: i32,
        desired: i32,
    },
    Endpoints {
        ready: u32,
        total: u32,
    },
    Hpa(HpaThen),
    Condition {
        kind: Name,
        status: Status,
        reason: Name,
    },
    Event {
        reason: Name,
        message: Name,
        count: u64,
        last: Option<Stamp>,
    },
    Error {
        fingerprint: Name,
        template: Name,
        workloads: Arc<[Name]>,
    },
    AlertBegan(Arc<AlertRow>),
    AlertEnded(Arc<AlertRow>, u64),
    Started(Arc<ActionView>),
    Finished(Arc<ActionView>),
    Incident {
        id: u32,
        step: IncidentStep,
    },
    Bookmark,
    Note(Name),
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub at: Stamp,
    pub kind: LineKind,
    /// None: nothing is wrong.
    pub severity: Option<Severity>,
    /// The object that it is about; None: the cluster, or several objects.
    pub object: Option<ObjectRef>,
    /// The namespace of all objects that the line stands for; empty: of the cluster, or of several namespaces.
    pub namespace: Name,
    pub what: What,
    pub by: Option<Name>,
    /// It is usual, such as the normal events of pods that start: shown only on demand.
    pub usual: bool,
}

impl Line {
    fn new(at: Stamp, kind: LineKind, object: Option<ObjectRef>, what: What) -> Self {
        let namespace = object.as_ref().map(|o| o.namespace.clone()).unwrap_or_default();
        Self { at, kind, severity: None, object, namespace, what, by: None, usual: false }
    }

    fn severe(mut self, severity: Option<Severity>) -> Self {
        self.severity = severity;
        self
    }

    /// The identity of the line, which stays the same while its words change.
    pub fn key(&self) -> Uid {
        let object = self.object.as_ref().map(ToString::to_string).unwrap_or_default();
        let more = match &self.what {
            What::Began(cause) | What::Ended { cause, .. } | What::Became { cause, .. } => {
                format!("{} {}", self.what.sign(), cause.rule())
            }
            What::Event { reason, .. } => format!("event {reason}"),
            What::Condition { kind, .. } => format!("condition {kind}"),
            What::Started(action) => format!("started {}", action.id),
            What::Finished(action) => format!("finished {}", action.id),
            What::Incident { id, step } => format!("incident {id} {step:?}"),
            What::Changed(told) => told.what(),
            What::Error { template, .. } => template.to_string(),
            What::AlertBegan(row) | What::AlertEnded(row, _) => {
                format!("{} {}", self.what.sign(), row.alert.fingerprint)
            }
            What::Note(text) => format!("note {text}"),
            other => other.sign().to_owned(),
        };
        Uid::Text(Name::from(format!("{} {object} {more}", self.at.0)))
    }
}

/// Returns all lines, the newest first.
pub fn lines(world: &World, cluster: &Cluster) -> Vec<Line> {
    let mut all = Vec::new();
    history(cluster, &mut all);
    changes(world, cluster, &mut all);
    conditions(cluster, cluster.at, &mut all);
    events(cluster, &mut all);
    alerts::alerts(cluster, cluster.at, &mut all);
    actions(world, cluster, &mut all);
    incidents(cluster, &mut all);
    for remark in cluster.derived.remarks.iter() {
        let what = match &remark.kind {
            RemarkKind::Note(text) => What::Note(text.clone()),
            _ => What::Bookmark,
        };
        let mut line = Line::new(remark.at, LineKind::Note, remark.object.clone(), what);
        line.by = Some(remark.by.clone());
        all.push(line);
    }
    // what happened in one moment keeps its order on the screen
    all.sort_by(|a, b| {
        b.at.cmp(&a.at).then_with(|| a.kind.cmp(&b.kind)).then_with(|| a.object.cmp(&b.object))
    });
    all.truncate(LINES);
    all
}

/// Since when the timeline knows what was displayed; before, it has only what the objects say.
pub fn seen_since(cluster: &Cluster) -> Option<Stamp> {
    cluster.derived.history.since()
}

fn history(cluster: &Cluster, all: &mut Vec<Line>) {
    let mut began: HashMap<(&'static str, Option<&ObjectRef>), Stamp> = HashMap::new();
    for moment in cluster.derived.history.iter() {
        if let Happened::Finding { step, .. } = &moment.what
            && let (None, Some(is)) = (&step.was, &step.is)
        {
            began.insert((is.rule(), is.object()), moment.at);
        }
        all.extend(of_moment(moment, &began));
    }
}

fn of_moment(moment: &Moment, began: &HashMap<(&'static str, Option<&ObjectRef>), Stamp>) -> Option<Line> {
    let at = moment.at;
    let line = |kind, object: Option<&ObjectRef>, what| Line::new(at, kind, object.cloned(), what);
    Some(match &moment.what {
        // alerts have their own times
        Happened::Finding { inside: true, .. }
        | Happened::Counts(_)
        | Happened::AlertSeen(_)
        | Happened::AlertEnded(_) => {
            return None;
        }
        Happened::Finding { step, .. } => match (&step.was, &step.is) {
            (None, Some(is)) => {
                line(LineKind::Finding, is.object(), What::Began(is.clone())).severe(Some(is.severity))
            }
            (Some(was), None) => {
                let since = began.get(&(was.rule(), was.object()));
                let lasted_ms = since.map(|since| at.since(*since));
                line(LineKind::Finding, was.object(), What::Ended { cause: was.clone(), lasted_ms })
            }
            (Some(was), Some(is)) if was.severity != is.severity => {
                let what = What::Became { cause: is.clone(), was: was.severity };
                line(LineKind::Finding, is.object(), what).severe(Some(is.severity))
            }
            _ => return None,
        },
        // the changes list has what the control plane says of a node
        Happened::Node(object, step) => {
            let (was, is) = suspected(step)?;
            let severity = (is == NodeState::Suspect).then_some(Severity::Warning);
            line(LineKind::State, Some(object), What::Node { was, is }).severe(severity)
        }
        Happened::Workload(object, step) => {
            let (was, is) = (step.was.as_ref()?, step.is.as_ref()?);
            if was.is_short() == is.is_short() {
                return None;
            }
            let severity = is.is_short().then_some(Severity::Info);
            let what = What::Ready { ready: is.ready, desired: is.desired };
            line(LineKind::State, Some(object), what).severe(severity)
        }
        Happened::Service(object, step) => {
            let (was, is) = (step.was?, step.is?);
            if (was.ready == 0) == (is.ready == 0) {
                return None;
            }
            let severity = (is.ready == 0).then_some(Severity::Critical);
            let what = What::Endpoints { ready: is.ready, total: is.total };
            line(LineKind::State, Some(object), what).severe(severity)
        }
        Happened::Hpa(object, step) => {
            let (was, is) = (step.was.as_ref()?, step.is.as_ref()?);
            let bad = |state| state >= HpaState::AtMax;
            if was.state == is.state || !(bad(was.state) || bad(is.state)) {
                return None;
            }
            let severity = bad(is.state).then_some(Severity::Warning);
            line(LineKind::State, Some(object), What::Hpa(is.clone())).severe(severity)
        }
        Happened::Error { first, fingerprint, template, workloads } => {
            let (fingerprint, template) = (fingerprint.clone(), template.clone());
            let what = What::Error { fingerprint, template, workloads: workloads.clone() };
            let line = line(LineKind::Error, None, what).severe(Some(Severity::Warning));
            let is_known = *first > Stamp::default();
            Line { at: if is_known { at.min(*first) } else { at }, ..line }
        }
    })
}

/// The states before and after, if one of them is Suspect.
fn suspected(step: &Step<NodeThen>) -> Option<(NodeState, NodeState)> {
    let (was, is) = (step.was.as_ref()?.state, step.is.as_ref()?.state);
    (was != is && (was == NodeState::Suspect || is == NodeState::Suspect)).then_some((was, is))
}

fn changes(world: &World, cluster: &Cluster, all: &mut Vec<Line>) {
    // evictions by an action are listed with the action
    let ours = |change: &Change| world.actions.iter().any(|a| a.is_of(cluster) && has_evicted(a, change));
    for told in fold_for_people(&cluster.derived.changes) {
        let change = &told.change;
        if ours(change) {
            continue;
        }
        let severity = match change.kind {
            ChangeKind::Ready { to: Status::False | Status::Unknown, .. } => Some(Severity::Critical),
            ChangeKind::Rollout { .. }
            | ChangeKind::Tainted { .. }
            | ChangeKind::Untainted { .. }
            | ChangeKind::Left => Some(Severity::Warning),
            ChangeKind::Autoscaled(_) | ChangeKind::Joined => None,
            _ => Some(Severity::Info),
        };
        let mut line = Line::new(change.at, LineKind::Change, told.object().cloned(), What::Bookmark);
        (line.severity, line.by) = (severity, change.by.clone());
        line.namespace = change.object.namespace.clone();
        line.what = What::Changed(Box::new(told));
        all.push(line);
    }
}

/// The conditions that changed before the console could see it, as far as the objects still say so.
fn conditions(cluster: &Cluster, now: Stamp, all: &mut Vec<Line>) {
    let seen = |at: Stamp, object: &ObjectRef| {
        cluster.derived.changes.iter().any(|change| {
            matches!(change.kind, ChangeKind::Ready { .. })
                && change.object.uid == object.uid
                && change.at.0.abs_diff(at.0) < 60_000
        })
    };
    let oldest = now.plus_secs(-WINDOW_SECS);
    let mut say = |object: ObjectRef, created: Stamp, condition: &Condition, bad: bool| {
        let Some(at) = condition.since.filter(|at| *at >= oldest) else { return };
        if !bad && at <= created.plus_secs(STARTS_SECS) || condition.kind == "Ready" && seen(at, &object) {
            return;
        }
        let what = What::Condition {
            kind: condition.kind.clone(),
            status: condition.status,
            reason: condition.reason.clone(),
        };
        let severity = bad.then_some(Severity::Warning);
        all.push(Line::new(at, LineKind::State, Some(object), what).severe(severity));
    };
    for node in cluster.nodes.iter() {
        for condition in node.conditions.iter() {
            let is_ready = condition.kind == "Ready";
            let bad = (condition.status == Status::True) != is_ready;
            if is_ready || bad {
                say(node.reference(cluster.id()), node.created, condition, bad);
            }
        }
    }
    for workload in [&cluster.deployments, &cluster.jobs].into_iter().flat_map(Table::iter) {
        for condition in workload.conditions.iter() {
            let is_false = condition.status == Status::False;
            let bad = match condition.kind.as_str() {
                "Available" | "Progressing" => is_false,
                "ReplicaFailure" | "Failed" => condition.status == Status::True,
                _ => false,
            };
            if bad {
                say(workload.reference(cluster.id()), workload.created, condition, true);
            }
        }
    }
}

/// The events of one object with one reason are one line, at the time of the first.
fn events(cluster: &Cluster, all: &mut Vec<Line>) {
    struct Group<'e> {
        newest: &'e KubeEvent,
        first: Stamp,
        count: u64,
        warning: bool,
    }
    let mut groups: HashMap<(&Kind, &Name, &Name, &Name), Group<'_>> = HashMap::new();
    for event in cluster.events.iter() {
        let Some(first) = event.first.or(event.last) else { continue };
        let about = &event.about;
        let group = groups
            .entry((&about.kind, &event.namespace, &about.name, &event.reason))
            .or_insert(Group { newest: event, first, count: 0, warning: false });
        group.count += u64::from(event.count.max(1));
        group.first = group.first.min(first);
        group.warning |= event.warning;
        if event.last > group.newest.last {
            group.newest = event;
        }
    }
    for group in groups.into_values() {
        let event = group.newest;
        let what = What::Event {
            reason: event.reason.clone(),
            message: event.message.clone(),
            count: group.count,
            last: event.last.filter(|last| *last > group.first),
        };
        let object = event.about.reference(cluster.id());
        let mut line = Line::new(group.first, LineKind::Event, Some(object), what);
        line.severity = group.warning.then_some(Severity::Warning);
        // a node that is not ready has a normal event
        line.usual = !group.warning && event.about.kind != Kind::Node;
        line.by = Some(event.component.clone()).filter(|by| !by.is_empty());
        all.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cause::Finding;
    use crate::domain::event::InvolvedObject;
    use crate::domain::id::{ClusterId, Version};
    use crate::domain::plan::{Act, Fate, Intent, Plan, PodFate};
    use crate::facts::history::{History, ServiceThen};
    use crate::facts::table::Rows;

    fn object(kind: Kind, name: &str) -> ObjectRef {
        ObjectRef::new(ClusterId(0), kind, &"shop".into(), &name.into(), &Uid::Text(name.into()))
    }

    fn texts(cluster: &Cluster, world: &World) -> Vec<String> {
        let text = |line: &Line| format!("{} {} {}", line.at.0 / 1000, line.kind.as_str(), line.what);
        lines(world, cluster).iter().map(text).collect()
    }

    #[test]
    fn findings_begin_and_end_and_those_inside_another_do_neither() {
        let cause = |severity| {
            Arc::new(Cause::new(
                Finding::Evicted { pods: 2 },
                severity,
                vec![object(Kind::Deployment, "web")],
            ))
        };
        let (warns, critical) = (cause(Severity::Warning), cause(Severity::Critical));
        let mut history = History::default();
        let mut say = |secs, was: Option<&Arc<Cause>>, is: Option<&Arc<Cause>>, inside| {
            let step = Step { was: was.cloned(), is: is.cloned() };
            history.add(Moment { at: Stamp::from_secs(secs), what: Happened::Finding { step, inside } });
        };
        say(100, None, Some(&warns), false);
        say(110, Some(&warns), Some(&critical), false);
        say(160, Some(&critical), None, false);
        say(170, None, Some(&warns), true);
        let mut cluster = Cluster::default();
        cluster.derived.history = Arc::new(history);
        let told = texts(&cluster, &World::default());
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("160 finding ended after 1m"), "{told:?}");
        assert!(told[1].contains("critical, was warning"), "{told:?}");
        assert!(told[2].starts_with("100 finding began"), "{told:?}");
        let keys: std::collections::HashSet<Uid> =
            lines(&World::default(), &cluster).iter().map(Line::key).collect();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn a_service_has_a_line_only_when_it_loses_or_gets_its_endpoints() {
        let mut history = History::default();
        for (secs, was, is) in [(1, 3, 2), (2, 2, 0), (3, 0, 1), (4, 1, 3)] {
            let then = |ready| Some(ServiceThen { ready, total: 3 });
            let step = Step { was: then(was), is: then(is) };
            let what = Happened::Service(object(Kind::Service, "web"), step);
            history.add(Moment { at: Stamp::from_secs(secs), what });
        }
        let mut cluster = Cluster::default();
        cluster.derived.history = Arc::new(history);
        let told = texts(&cluster, &World::default());
        assert_eq!(told, ["3 state 1 of 3 endpoints ready", "2 state no ready endpoints, 3 in all"]);
    }

    #[test]
    fn events_of_one_object_and_reason_are_one_line_at_the_first() {
        let mut rows = Rows::default();
        let event = |n: u32, name: &str, reason: &str, first: i64, last: i64| KubeEvent {
            uid: Uid::Uuid(u128::from(n)),
            version: Version(1),
            namespace: "shop".into(),
            name: "e".into(),
            about: InvolvedObject {
                kind: Kind::Pod,
                namespace: "shop".into(),
                name: name.into(),
                uid: Uid::default(),
            },
            warning: reason == "BackOff",
            reason: reason.into(),
            message: "m".into(),
            count: n,
            first: Some(Stamp::from_secs(first)),
            last: Some(Stamp::from_secs(last)),
            component: "kubelet".into(),
        };
        for one in [
            event(1, "a", "BackOff", 100, 100),
            event(2, "a", "BackOff", 50, 300),
            event(3, "b", "Pulled", 60, 60),
        ] {
            let _new = rows.upsert(one);
        }
        let mut cluster = Cluster::default();
        cluster.tables.events = rows.table().clone();
        let all = lines(&World::default(), &cluster);
        let told: Vec<_> =
            all.iter().map(|l| (l.at.0 / 1000, l.usual, l.severity.is_some(), l.what.to_string())).collect();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].0, told[0].1), (60, true));
        assert_eq!((told[1].0, told[1].1, told[1].2), (50, false, true));
        assert!(told[1].3.contains("3 times, last 00:05:00"), "{told:?}");
    }

    #[test]
    fn evictions_of_an_action_are_told_by_the_action() {
        let pod = object(Kind::Pod, "web");
        let intent = Intent {
            cluster: ClusterId(0),
            context: "test".into(),
            act: Act::Drain(crate::domain::plan::DrainOptions::default()),
            targets: Vec::new(),
        };
        let mut plan = Plan::new(intent, Stamp(0));
        let fate = |node: &str, fate| PodFate {
            pod: pod.clone(),
            node: node.into(),
            fate,
            reason: String::new(),
            owner: String::new(),
        };
        plan.pods = vec![fate("n1", Fate::Wait), fate("n2", Fate::Skip)];
        let mut drain = ActionView::new("a".into(), Arc::new(plan), Stamp::from_secs(100));
        let change = |node: &str, secs| Change {
            at: Stamp::from_secs(secs),
            kind: ChangeKind::Evicted { node: node.into(), pods: 3, cordoned_by: None },
            object: pod.clone(),
            by: None,
        };
        assert!(has_evicted(&drain, &change("n1", 101)));
        assert!(!has_evicted(&drain, &change("n1", 60)), "before it");
        assert!(!has_evicted(&drain, &change("n2", 101)), "nothing of that node goes");
        assert!(!has_evicted(&drain, &change("n3", 101)), "another node");
        drain.ended = Some(Stamp::from_secs(200));
        assert!(has_evicted(&drain, &change("n1", 230)), "its last one is seen a little later");
        assert!(!has_evicted(&drain, &change("n1", 900)), "somebody else, later");
    }
}
