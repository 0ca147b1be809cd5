//! The state of actions, as the executor reports it, the journal keeps it and the screen shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{ClusterId, Name, ObjectRef};
use crate::domain::plan::{Act, Plan, Step};
use crate::domain::time::Stamp;
use crate::facts::world::Cluster;

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Failed,
    Refused,
    Unknown,
    Cancelled,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    #[default]
    Waiting,
    /// The step is in the journal; its request may have been sent.
    Running,
    /// The server accepted it.
    Accepted,
    /// The change was seen in the cluster.
    Verified,
    Failed,
    /// The request was sent, and there was no answer.
    Unknown,
    Skipped,
    /// A budget refused it, so it was not applied; it is sent again when the budget allows it.
    Held,
}

impl StepState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Accepted => "accepted",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::Held => "held",
        }
    }
}

/// The cluster that an action belongs to, from the action's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The API server's URL; empty in older journals.
    pub server: Name,
    /// The UID of its namespace kube-system; empty if it could not be read.
    pub uid: Name,
}

/// An action with the fields that the screen shows. The executor sends a new one at every state change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionView {
    pub id: Name,
    pub cluster: ClusterId,
    pub plan: Arc<Plan>,
    pub steps: Vec<StepView>,
    pub started: Stamp,
    pub ended: Option<Stamp>,
    pub outcome: Option<Outcome>,
    /// The current activity, or the reason for the outcome.
    pub message: String,
    /// Another process ran the action; this one read it from that process's journal.
    pub foreign: bool,
    /// Nodes that were cordoned by the action that this one continues.
    #[serde(default)]
    pub inherited: Vec<ObjectRef>,
    /// Its process ended before the action was complete, so it can be resumed.
    #[serde(default)]
    pub unfinished: bool,
    /// The user has paused it: nothing more is started.
    #[serde(default)]
    pub paused: bool,
    /// The cluster of the action, if another process ran it.
    #[serde(default)]
    pub place: Place,
}

impl ActionView {
    /// An action that has just been confirmed.
    pub fn new(id: Name, plan: Arc<Plan>, started: Stamp) -> Self {
        let steps = plan.steps.iter().map(StepView::waiting).collect();
        Self {
            id,
            cluster: plan.intent.cluster,
            plan,
            steps,
            started,
            ended: None,
            outcome: None,
            message: String::new(),
            foreign: false,
            inherited: Vec::new(),
            unfinished: false,
            paused: false,
            place: Place::default(),
        }
    }

    /// Whether the action belongs to this cluster: by the UID of kube-system if both are known, otherwise by the
    /// server's URL. The context's name counts only if an older journal has nothing else, because it can be used for
    /// another cluster.
    pub fn is_of(&self, cluster: &Cluster) -> bool {
        if !self.foreign {
            // a cluster that was closed and opened again has another ID
            return self.cluster == cluster.info.id || self.plan.intent.context == cluster.info.context;
        }
        match &cluster.identity.uid {
            Some(uid) if !self.place.uid.is_empty() => self.place.uid == *uid,
            _ if !self.place.server.is_empty() => self.place.server == cluster.info.server,
            _ => self.plan.intent.context == cluster.info.context,
        }
    }
}

/// Returns the IDs of the actions that another action has undone. `actions` are sorted, the newest first.
pub fn undone(actions: &[Arc<ActionView>]) -> BTreeSet<Name> {
    let (mut undone, mut completed) = (BTreeSet::new(), BTreeSet::new());
    for action in actions {
        let is_done = action.outcome == Some(Outcome::Done) || completed.contains(&action.id);
        match &action.plan.intent.act {
            Act::Resume(rest) if is_done => {
                completed.insert(rest.of.clone());
            }
            // an undo that was undone itself takes nothing back
            Act::Undo(inverse) if is_done && !undone.contains(&action.id) => {
                undone.insert(inverse.of.clone());
            }
            _ => {}
        }
    }
    undone
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    pub what: String,
    pub on: String,
    pub state: StepState,
    pub at: Option<Stamp>,
    pub note: String,
}

impl StepView {
    /// A step that has not started.
    pub fn waiting(step: &Step) -> Self {
        Self {
            what: step.what.to_string(),
            on: step.on.to_string(),
            state: StepState::Waiting,
            at: None,
            note: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::{Confirm, DerivedPlan, Intent};
    use crate::facts::event::Identity;
    use crate::facts::world::ClusterInfo;

    #[test]
    fn an_action_belongs_to_the_cluster_that_it_was_done_in() {
        let cluster = |server: &str, uid: Option<&str>| Cluster {
            info: Arc::new(ClusterInfo {
                context: "prod".into(),
                server: server.into(),
                ..ClusterInfo::default()
            }),
            identity: Identity { uid: uid.map(Name::from), ..Identity::default() },
            ..Cluster::default()
        };
        let action = |context: &str, server: &str, uid: &str| {
            let intent = Intent {
                cluster: ClusterId(0),
                context: context.into(),
                act: Act::Cordon,
                targets: Vec::new(),
            };
            let plan = Arc::new(Plan::new(intent, Stamp(0)));
            let place = Place { server: server.into(), uid: uid.into() };
            ActionView { foreign: true, place, ..ActionView::new("1".into(), plan, Stamp(0)) }
        };
        for (action, here, is_of) in [
            (action("prod", "a", "1"), cluster("a", Some("1")), true),
            // the same cluster at another address, or in another context
            (action("test", "a", "1"), cluster("b", Some("1")), true),
            // another cluster with the same name and address
            (action("prod", "a", "1"), cluster("a", Some("2")), false),
            (action("prod", "a", ""), cluster("a", Some("1")), true),
            (action("prod", "a", "1"), cluster("b", None), false),
            (action("prod", "", ""), cluster("b", None), true),
            (action("test", "", ""), cluster("b", None), false),
        ] {
            assert_eq!(action.is_of(&here), is_of, "{:?} {:?}", action.place, here.info);
        }
        let ours = ActionView { foreign: false, ..action("test", "z", "9") };
        assert!(
            ours.is_of(&cluster("a", Some("1"))),
            "an action of this process belongs to the cluster with its ID"
        );
        // or to the cluster of its context, which was closed and opened again
        let mut opened = cluster("a", Some("1"));
        opened.info = Arc::new(ClusterInfo { id: ClusterId(3), ..ClusterInfo::clone(&opened.info) });
        assert!(!ours.is_of(&opened), "its context is test");
        let ours = ActionView { foreign: false, ..action("prod", "z", "9") };
        assert!(ours.is_of(&opened));
    }

    #[test]
    fn an_action_is_undone_while_its_undo_is_done_and_stands() {
        let act = |of: &str, act: fn(Box<DerivedPlan>) -> Act| {
            act(Box::new(DerivedPlan {
                of: of.into(),
                title: String::new(),
                steps: Vec::new(),
                not_restored: String::new(),
                confirm: Confirm::Yes,
                watched: None,
                takes_back: true,
            }))
        };
        let action = |id: &str, act: Act, outcome| {
            let intent = Intent { cluster: ClusterId(0), context: "prod".into(), act, targets: Vec::new() };
            let plan = Arc::new(Plan::new(intent, Stamp(0)));
            Arc::new(ActionView { outcome, ..ActionView::new(id.into(), plan, Stamp(0)) })
        };
        let done = Some(Outcome::Done);
        let first = action("1", Act::Cordon, done);
        let undo = |outcome| action("2", act("1", Act::Undo), outcome);
        let ids =
            |actions: &[Arc<ActionView>]| undone(actions).iter().map(Name::to_string).collect::<Vec<_>>();
        assert_eq!(ids(&[undo(done), first.clone()]), ["1"]);
        assert!(ids(&[undo(None), first.clone()]).is_empty(), "the undo still runs");
        assert!(ids(&[undo(Some(Outcome::Failed)), first.clone()]).is_empty());
        let again = action("3", act("2", Act::Undo), done);
        assert_eq!(ids(&[again, undo(done), first.clone()]), ["2"], "what it did is there again");
        let rest = action("3", act("2", Act::Resume), done);
        let unknown = Some(Outcome::Unknown);
        assert_eq!(ids(&[rest, undo(unknown), first.clone()]), ["1"], "the undo was resumed");
        let (last, rest) =
            (action("4", act("3", Act::Resume), done), action("3", act("2", Act::Resume), unknown));
        assert_eq!(ids(&[last, rest, undo(unknown), first]), ["1"], "and resumed again");
    }
}
