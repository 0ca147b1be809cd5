//! The state of the screen: the open screens, the focus, the selection and the typed text. The only cluster data here
//! is what a view was opened for.

mod clusters;
mod hit;
mod past;
mod plot;
mod prompt;
mod reading;
mod seen;
mod sheet;
mod tail;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef};
use pilothouse_core::domain::plan::Intent;
use pilothouse_core::domain::preset::{self, Preset};
use pilothouse_core::domain::settings::UiSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::slices::By;

use super::clipboard::Clipboard;
use super::key::Key;
use super::keymap::{Fault, Keymap};
use super::list::{List, ListId};
use super::mouse::Spots;
use super::request::{KindWords, Rehearsal, TableText, Ticket};
use super::rows::PaneRows;
use super::rows::timeline::Kinds;
use super::theme::Role;
use super::widget::history::History;
use super::widget::input::InputLine;

pub use self::clusters::{Fleet, OpenedBy};
pub use self::hit::{Hit, Target};
pub use self::past::{Metrics as PastMetrics, Past};
pub use self::plot::{Answer, Beside, Curve, Grid, KEYS, LABELS, Metrics, Plots, RANGES};
pub use self::prompt::{LogFilter, Prompt, SilencePart, SilencePrompt};
pub use self::reading::{Below, Details, TextLine, TextSource, TextView};
pub use self::seen::{MOVED_FOR_MS, Seen, SeenList, SeenRow, SeenText};
pub use self::sheet::{About, Sheet};
pub use self::tail::{Columns, LOG_LINES, LogView, Times};

/// What the screen shows below the header.
#[derive(Debug)]
pub enum Screen {
    /// NOW and the panes below it.
    Panes,
    /// A list that fills the screen.
    List(ListId),
    Text(Box<TextView>),
    Log(Box<LogView>),
    Plots(Box<Plots>),
}

/// The pods that the list contains: all pods, the pods of an owner, or the pods on a node.
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

/// The state of the plan in the confirmation dialog.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The plan is not complete yet.
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
    /// Whether characters were typed that do not count, because the plan was not shown yet or has changed since.
    pub dropped: bool,
    /// The time, in [`Ui::clock_ms`], at which the plan to confirm appeared on the screen.
    pub painted: Option<u64>,
    pub note: String,
    pub top: usize,
    pub rows: usize,
    pub page: usize,
    /// The time of the last request for the rehearsal.
    pub asked_ms: u64,
    /// Whether a rehearsal was requested and not answered yet. No other is requested meanwhile.
    pub in_flight: bool,
    pub read_only: bool,
    pub protected: bool,
    /// The role of the cluster's name.
    pub tint: Role,
    /// Whether the choices are shown, so that a number selects one.
    pub choosing: bool,
    /// The unfinished action that this one resumes.
    pub resumes: Option<Name>,
}

/// A question that is not about a plan: whether to cancel or dismiss an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `cordoned`: the action has cordoned nodes, which can be uncordoned when it is canceled.
    CancelAction { id: Name, title: String, cordoned: bool },
    /// Nothing is undone: the unfinished action is no longer reported.
    DismissAction { id: Name, title: String },
}

/// The whole state of the screen.
#[derive(Debug)]
pub struct Ui {
    pub keymap: Keymap,
    pub clipboard: Clipboard,
    pub cluster: ClusterId,
    pub namespace: Option<Name>,
    pub focus: ListId,
    /// Whether the user has pressed a key. Before that, the focus moves to the pane with causes.
    pub touched: bool,
    /// The last key that was reported as unknown. Each key is reported only once in a row.
    pub unknown: Option<Key>,
    pub zoom: bool,
    pub details: Details,
    /// The open screens, the top one last. The list is never empty.
    pub screens: Vec<Screen>,
    pub pod_scope: PodScope,
    pub service: (Name, Name),
    /// What the backends of the Service are grouped by.
    pub split: By,
    pub table: TableText,
    /// The resource of the table, the ticket of its request, and its state if there are no rows yet.
    pub table_of: (String, Ticket, Option<String>),
    /// The failover plans that were requested for the palette.
    pub failovers: Vec<FailoverPlan>,
    pub failovers_of: Ticket,
    /// The cluster of the plans.
    pub failovers_in: ClusterId,
    /// If the plans were requested for a Service, only plans about this object are listed.
    pub failovers_about: Option<ObjectRef>,
    /// The node that was selected when the plans were requested. Plans that evacuate it or its zone come first.
    pub failovers_node: Option<Name>,
    /// The kinds of the API server, if known, and the ticket of their request.
    pub kinds: Option<Vec<KindWords>>,
    pub kinds_of: Option<Ticket>,
    /// The plots next to a list.
    pub beside: Beside,
    /// The names of the metrics of a cluster's Prometheus.
    pub metrics: Metrics,
    /// Whether the list of actions includes actions of other clusters.
    pub all_actions: bool,
    /// Whether all alerts of one name are one row.
    pub alerts_by_name: bool,
    /// The alert whose link was copied last, and the number of the link.
    pub copied: (Name, usize),
    /// The columns that the user selected, by their index in the pane's table.
    pub columns: BTreeMap<ListId, Vec<usize>>,
    /// Error groups count as new if they were first seen after this moment. None: recently.
    pub new_since: Option<Stamp>,
    /// Which kinds of lines the timeline shows.
    pub kinds_of_lines: Kinds,
    /// The earlier moment that the panes show; None: now.
    pub past: Option<Past>,
    /// The offset of the local time from UTC in seconds, at a moment.
    pub zone: fn(Stamp) -> i32,
    /// The URL of a trace, with `{trace_id}`; empty: none.
    pub trace_url: String,
    /// The URL of the graph of a query, with `$query`, `$from`, `$to` and `$range`; empty: none.
    pub graph_url: String,
    /// Whether the facts are recorded to a file.
    pub is_recorded: bool,
    /// Whether plots are drawn with half blocks instead of braille.
    pub blocks: bool,
    /// The presets of the metrics, for the PromQL behind a number.
    pub presets: Arc<[Preset]>,
    lists: [List; ListId::COUNT],
    pub rows: PaneRows,
    pub dialog: Option<Dialog>,
    pub question: Option<Question>,
    pub sheet: Option<Sheet>,
    pub prompt: Option<Prompt>,
    pub input: InputLine,
    /// The filters and searches that were used.
    pub history: History,
    /// A message, and the time until which it is shown.
    pub note: Option<(String, u64)>,
    /// The errors in the configuration. They stay on the screen.
    pub problems: Vec<String>,
    /// The current time of the wall clock, from which ages are computed.
    pub now: Stamp,
    /// Milliseconds of a monotonic clock. It prevents a plan from being confirmed too early.
    pub clock_ms: u64,
    /// The number of the next frame.
    pub frame: u64,
    /// The number of the frame that first showed the current state of the dialog.
    pub dialog_frame: Option<u64>,
    /// The selected row of the last frame, until the terminal has shown it.
    seen_row: Option<SeenRow>,
    pub quit_asked: Option<u64>,
    pub size: (u16, u16),
    /// Whether the console handles the mouse. Otherwise, the terminal uses it to select text.
    pub mouse: bool,
    /// The areas of the last frame that the mouse can act on.
    pub spots: Spots,
    /// What is kept besides the cluster that is shown.
    pub fleet: Fleet,
    next_ticket: u64,
}

impl Ui {
    /// Creates the initial state. Also returns the errors in the keys that the user configured.
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
            split: By::default(),
            table: TableText::default(),
            table_of: (String::new(), Ticket(0), None),
            failovers: Vec::new(),
            failovers_of: Ticket(0),
            failovers_in: ClusterId::default(),
            failovers_about: None,
            failovers_node: None,
            kinds: None,
            kinds_of: None,
            beside: Beside::default(),
            metrics: Metrics::default(),
            all_actions: false,
            columns: BTreeMap::new(),
            alerts_by_name: false,
            copied: (Name::default(), 0),
            new_since: None,
            kinds_of_lines: Kinds::default(),
            past: None,
            trace_url: String::new(),
            graph_url: String::new(),
            is_recorded: false,
            blocks: settings.blocks,
            zone: |_| 0,
            presets: preset::all(&[]).into(),
            lists: std::array::from_fn(|_| List::default()),
            rows: PaneRows::default(),
            dialog: None,
            question: None,
            sheet: None,
            prompt: None,
            input: InputLine::default(),
            history: History::default(),
            note: None,
            problems: Vec::new(),
            now: Stamp::default(),
            clock_ms: 0,
            frame: 0,
            dialog_frame: None,
            seen_row: None,
            quit_asked: None,
            size: (80, 24),
            mouse: settings.mouse,
            spots: Spots::new(),
            fleet: Fleet::default(),
            next_ticket: 0,
        };
        (ui, problems)
    }

    /// Returns the state of a list.
    pub fn list(&self, id: ListId) -> &List {
        match self.lists.get(id as usize) {
            Some(list) => list,
            None => &self.lists[0],
        }
    }

    /// Returns the state of a list for changes.
    pub fn list_mut(&mut self, id: ListId) -> &mut List {
        let at = if (id as usize) < ListId::COUNT { id as usize } else { 0 };
        &mut self.lists[at]
    }

    /// Takes the state of a list out. [`Ui::put_list`] puts it back.
    pub fn take_list(&mut self, id: ListId) -> List {
        std::mem::take(self.list_mut(id))
    }

    /// Puts the state of a list back.
    pub fn put_list(&mut self, id: ListId, list: List) {
        *self.list_mut(id) = list;
    }

    /// Returns the top screen.
    pub fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::Panes)
    }

    /// Returns the list that keys apply to, if the screen has one.
    pub fn active_list(&self) -> Option<ListId> {
        match self.screen() {
            Screen::Panes => Some(self.focus),
            Screen::List(id) => Some(*id),
            Screen::Text(_) | Screen::Log(_) | Screen::Plots(_) => None,
        }
    }

    /// Whether NOW shares the screen with other boxes. In this case, many similar causes become one row.
    pub fn folds_now(&self) -> bool {
        !self.zoom && matches!(self.screen(), Screen::Panes)
    }

    /// Returns the cluster that is shown.
    pub fn shown<'w>(&self, world: &'w World) -> Option<&'w Arc<Cluster>> {
        world.cluster(self.cluster)
    }

    /// Returns a new ticket.
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Shows a message for a limited time.
    pub fn say(&mut self, text: impl Into<String>) {
        self.note = Some((text.into(), self.clock_ms + 6_000));
    }

    /// Records that the terminal has shown the frame with this number.
    pub fn painted(&mut self, frame: u64) {
        let now = self.clock_ms;
        if let (Some(first), Some(dialog)) = (self.dialog_frame, &mut self.dialog)
            && frame >= first
            && dialog.painted.is_none()
        {
            dialog.painted = Some(now);
        }
        self.shows_row(frame);
    }
}
