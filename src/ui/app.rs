//! The state of the screen: what is open, focused, selected, typed. Nothing of the cluster is kept here but what a
//! view was opened for.

mod reading;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef};
use pilothouse_core::domain::plan::Intent;
use pilothouse_core::domain::pod::Pod;
use pilothouse_core::domain::settings::UiSettings;
use pilothouse_core::domain::silence::Silence;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{
    Cluster, HpaRow, NodeRow, ServiceRow, Severity, TrafficRow, WorkloadRow, World,
};

use super::clipboard::Clipboard;
use super::command::Context;
use super::key::Key;
use super::keymap::{Fault, Keymap};
use super::list::{Base, List, ListId};
use super::mouse::Spots;
use super::request::{KindWords, Rehearsal, TableText, Ticket};
use super::widget::history::History;
use super::widget::input::InputLine;

pub use self::reading::{Below, Details, LOG_LINES, LogView, TextLine, TextSource, TextView};

/// What the screen shows below the header.
#[derive(Debug)]
pub enum Screen {
    /// NOW and the four panes.
    Panes,
    /// A list of its own.
    List(ListId),
    Text(Box<TextView>),
    Log(Box<LogView>),
}

/// Whose pods are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodScope {
    #[default]
    All,
    Owner {
        kind: Kind,
        namespace: Name,
        name: Name,
    },
    Node(Name),
}

/// What the confirmation dialog knows.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The plan is being made.
    Waiting,
    Ready(Rehearsal),
    Failed(String),
}

/// A rehearsal and its confirmation.
#[derive(Clone, Debug)]
pub struct Dialog {
    pub intent: Intent,
    pub ticket: Ticket,
    pub stage: Stage,
    pub typed: InputLine,
    /// Since when the plan that is to be confirmed has been on the screen, in [`Ui::clock_ms`]'s time.
    pub painted: Option<u64>,
    pub note: String,
    pub top: usize,
    pub rows: usize,
    pub page: usize,
    /// When it was asked for last.
    pub asked_ms: u64,
    /// A rehearsal was asked for and is not answered: no other is asked for meanwhile.
    pub in_flight: bool,
    pub read_only: bool,
    pub protected: bool,
    /// The choices are shown, and a number picks one.
    pub choosing: bool,
    /// The unfinished action that this goes on with.
    pub resumes: Option<Name>,
}

/// Something else than a plan that is asked: stopping an action, dismissing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `cordoned`: it has cordoned nodes, which can be uncordoned with it.
    CancelAction { id: Name, title: String, cordoned: bool },
    /// Nothing is taken back: the unfinished action is not told of any more.
    DismissAction { id: Name, title: String },
}

/// A line that is being typed.
#[derive(Clone, Debug)]
pub enum Prompt {
    Filter {
        list: ListId,
        before: super::list::Filter,
    },
    FindText,
    Palette {
        hits: Vec<super::present::palette::Hit>,
        at: usize,
    },
    Scale {
        targets: Vec<ObjectRef>,
        from: Option<i32>,
    },
    /// minReplicas and maxReplicas, as they are.
    Bounds {
        target: ObjectRef,
        min: i32,
        max: i32,
    },
    /// For how long these findings are silenced.
    Silence {
        title: String,
        silences: Vec<Silence>,
    },
    /// Which of the silenced findings are shown again.
    Tell,
}

/// What the lists were made from.
#[derive(Debug, Default)]
pub struct Bases {
    pub nodes: Base<NodeRow>,
    pub workloads: Base<WorkloadRow>,
    /// What NOW tells of the workloads, and how often that was something else.
    pub told: super::present::workloads::Told,
    pub told_turn: u64,
    pub pods: Base<Pod>,
    /// The dead nodes that the pods were ordered with, and how often they were others.
    pub dead: BTreeSet<Name>,
    pub dead_turn: u32,
    pub hpas: Base<HpaRow>,
    pub services: Option<pilothouse_core::facts::table::Table<ServiceRow>>,
    pub traffic: Option<Arc<[Arc<TrafficRow>]>>,
    /// Namespaces and names of the Services that NOW has findings about.
    pub found: Vec<(Name, Name, Severity)>,
    pub joined: Vec<super::present::traffic::Joined>,
    pub namespaces: Vec<super::present::namespaces::Place>,
    pub backends: Vec<super::present::backends::Backend>,
    /// What they were collected from.
    pub backends_of: Option<super::present::backends::Inputs>,
    pub changes: super::present::changes::Entries,
}

/// The focused pane of the first screen.
pub const FOCUS: [ListId; 5] =
    [ListId::Now, ListId::Nodes, ListId::Traffic, ListId::Errors, ListId::Autoscalers];

/// Everything.
#[derive(Debug)]
pub struct Ui {
    pub keymap: Keymap,
    pub clipboard: Clipboard,
    pub cluster: ClusterId,
    pub namespace: Option<Name>,
    pub focus: ListId,
    /// A person has pressed a key: until then the focus is where the causes are.
    pub touched: bool,
    /// The key that was last said to do nothing: that is said once.
    pub unknown: Option<Key>,
    pub zoom: bool,
    pub details: Details,
    /// The screens, the one on top last; never empty.
    pub screens: Vec<Screen>,
    pub pod_scope: PodScope,
    pub service: (Name, Name),
    pub table: TableText,
    /// What the table is of, and its state when there are no rows yet.
    pub table_of: (String, Ticket, Option<String>),
    /// The failover plans that were asked for, for the palette.
    pub failovers: Vec<FailoverPlan>,
    pub failovers_of: Ticket,
    /// What they must be about to be listed, if they were asked for at a service.
    pub failovers_about: Option<ObjectRef>,
    /// The node that was selected when they were asked for: those that empty it, or its zone, come first.
    pub failovers_node: Option<Name>,
    /// The kinds of the server, once they are known, and whether they were asked for.
    pub kinds: Option<Vec<KindWords>>,
    pub kinds_of: Option<Ticket>,
    /// The list of actions shows those of other clusters too.
    pub all_actions: bool,
    lists: [List; ListId::COUNT],
    pub bases: Bases,
    pub dialog: Option<Dialog>,
    pub question: Option<Question>,
    pub prompt: Option<Prompt>,
    pub input: InputLine,
    /// Filters and searches that were used.
    pub history: History,
    /// A message, and until when it is shown.
    pub note: Option<(String, u64)>,
    /// What is wrong with the configuration: stays on the screen.
    pub problems: Vec<String>,
    /// Now, by the wall clock: for ages.
    pub now: Stamp,
    /// Milliseconds of a clock that never jumps: for what must not be confirmed too early.
    pub clock_ms: u64,
    /// The frame that is drawn next, and the last one that reached the terminal.
    pub frame: u64,
    /// The frame that first showed the dialog as it is.
    pub dialog_frame: Option<u64>,
    pub quit_asked: Option<u64>,
    pub size: (u16, u16),
    /// The mouse is ours; else the terminal selects text with it.
    pub mouse: bool,
    /// Where the last frame has what the mouse can act on.
    pub spots: Spots,
    next_ticket: u64,
}

impl Ui {
    /// The screen as it opens. Also returns what is wrong with the person's own keys.
    pub fn new(settings: &UiSettings) -> (Self, Vec<Fault>) {
        let (keymap, problems) = Keymap::new(&settings.keys);
        let ui = Self {
            keymap,
            clipboard: Clipboard::default(),
            cluster: ClusterId::default(),
            namespace: None,
            focus: ListId::Nodes,
            touched: false,
            unknown: None,
            zoom: false,
            details: Details::default(),
            screens: vec![Screen::Panes],
            pod_scope: PodScope::All,
            service: (Name::default(), Name::default()),
            table: TableText::default(),
            table_of: (String::new(), Ticket(0), None),
            failovers: Vec::new(),
            failovers_of: Ticket(0),
            failovers_about: None,
            failovers_node: None,
            kinds: None,
            kinds_of: None,
            all_actions: false,
            lists: std::array::from_fn(|_| List::default()),
            bases: Bases::default(),
            dialog: None,
            question: None,
            prompt: None,
            input: InputLine::default(),
            history: History::default(),
            note: None,
            problems: Vec::new(),
            now: Stamp::default(),
            clock_ms: 0,
            frame: 0,
            dialog_frame: None,
            quit_asked: None,
            size: (80, 24),
            mouse: settings.mouse,
            spots: Spots::new(),
            next_ticket: 0,
        };
        (ui, problems)
    }

    /// The list's state.
    pub fn list(&self, id: ListId) -> &List {
        match self.lists.get(id as usize) {
            Some(list) => list,
            None => &self.lists[0],
        }
    }

    /// The list's state, to change.
    pub fn list_mut(&mut self, id: ListId) -> &mut List {
        let at = if (id as usize) < ListId::COUNT { id as usize } else { 0 };
        &mut self.lists[at]
    }

    /// Takes the list's state out to work on it; to be put back with [`Ui::put_list`].
    pub fn take_list(&mut self, id: ListId) -> List {
        std::mem::take(self.list_mut(id))
    }

    /// Puts it back.
    pub fn put_list(&mut self, id: ListId, list: List) {
        *self.list_mut(id) = list;
    }

    /// The screen on top.
    pub fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::Panes)
    }

    /// The list that keys act on, if the screen has one.
    pub fn active_list(&self) -> Option<ListId> {
        match self.screen() {
            Screen::Panes => Some(self.focus),
            Screen::List(id) => Some(*id),
            Screen::Text(_) | Screen::Log(_) => None,
        }
    }

    /// Where a key is looked up, the narrowest first.
    pub fn contexts(&self) -> &'static [Context] {
        if self.dialog.is_some() || self.question.is_some() {
            return &[Context::Dialog];
        }
        self.contexts_of(self.screen())
    }

    /// The same for the screen below the one on top: what help, which is a screen itself, is asked about.
    pub fn contexts_below(&self) -> &'static [Context] {
        self.screens.iter().rev().nth(1).map_or(&[Context::Everywhere], |below| self.contexts_of(below))
    }

    fn contexts_of(&self, screen: &Screen) -> &'static [Context] {
        use Context::{
            Actions, Autoscalers, Backends, Errors, Everywhere, Lists, Log, Nodes, Now, Objects, Pods, Text,
            Traffic, Workloads,
        };
        let list = match screen {
            Screen::Text(view) if matches!(view.source, TextSource::Action(_)) => {
                return &[Actions, Text, Everywhere];
            }
            Screen::Text(view) if view.about().is_some() => return &[Text, Objects, Everywhere],
            Screen::Text(_) => return &[Text, Everywhere],
            Screen::Log(_) => return &[Log, Everywhere],
            Screen::List(id) => *id,
            Screen::Panes => self.focus,
        };
        match list {
            ListId::Now => &[Now, Lists, Objects, Everywhere],
            ListId::Nodes => &[Nodes, Lists, Objects, Everywhere],
            ListId::Traffic => &[Traffic, Lists, Objects, Everywhere],
            ListId::Errors => &[Errors, Lists, Objects, Everywhere],
            ListId::Autoscalers => &[Autoscalers, Lists, Objects, Everywhere],
            ListId::Workloads => &[Workloads, Lists, Objects, Everywhere],
            ListId::Pods => &[Pods, Lists, Objects, Everywhere],
            ListId::Backends => &[Backends, Lists, Objects, Everywhere],
            ListId::Table | ListId::Changes => &[Lists, Objects, Everywhere],
            ListId::Actions => &[Actions, Lists, Everywhere],
            ListId::Namespaces => &[Lists, Everywhere],
        }
    }

    /// Whether NOW is one box among others, where many causes of a kind take one line.
    pub fn folds_now(&self) -> bool {
        !self.zoom && matches!(self.screen(), Screen::Panes)
    }

    /// The cluster that is shown.
    pub fn shown<'w>(&self, world: &'w World) -> Option<&'w Arc<Cluster>> {
        world.cluster(self.cluster)
    }

    /// A new ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Shows a message for a while.
    pub fn say(&mut self, text: impl Into<String>) {
        self.note = Some((text.into(), self.clock_ms + 6_000));
    }

    /// The terminal has shown the frame of that number.
    pub fn painted(&mut self, frame: u64) {
        let now = self.clock_ms;
        if let (Some(first), Some(dialog)) = (self.dialog_frame, &mut self.dialog)
            && frame >= first
            && dialog.painted.is_none()
        {
            dialog.painted = Some(now);
        }
    }
}
