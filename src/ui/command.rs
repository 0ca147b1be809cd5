//! The table of commands. Dispatch, the hint bar, help, the palette, `pilothouse keys`, the README's table, the
//! keymap and the config's key section all derive from it.

/// Where a command can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    Everywhere,
    /// Anything with rows.
    Lists,
    /// Rows that are objects of the cluster.
    Objects,
    Now,
    Nodes,
    Traffic,
    Errors,
    Autoscalers,
    Workloads,
    Pods,
    Backends,
    Actions,
    /// Read-only text: describe, YAML, events, why.
    Text,
    Log,
    Dialog,
}

impl Context {
    /// All, in the order of help and of the README.
    pub const ALL: [Self; 15] = [
        Self::Everywhere,
        Self::Lists,
        Self::Objects,
        Self::Now,
        Self::Nodes,
        Self::Traffic,
        Self::Errors,
        Self::Autoscalers,
        Self::Workloads,
        Self::Pods,
        Self::Backends,
        Self::Actions,
        Self::Text,
        Self::Log,
        Self::Dialog,
    ];

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Lists => "lists",
            Self::Objects => "any selected object",
            Self::Now => "NOW",
            Self::Nodes => "Nodes",
            Self::Traffic => "Traffic",
            Self::Errors => "Errors",
            Self::Autoscalers => "Autoscalers",
            Self::Workloads => "Workloads",
            Self::Pods => "Pods",
            Self::Backends => "backends of a service",
            Self::Actions => "Actions",
            Self::Text => "text",
            Self::Log => "log text",
            Self::Dialog => "dialogs",
        }
    }
}

/// What a command can do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Looks only.
    None,
    /// Opens a rehearsal, whose plan says how much the confirmation asks.
    Rehearsed,
}

/// What a command is, for dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cmd {
    FocusNodes,
    FocusTraffic,
    FocusErrors,
    FocusAutoscalers,
    NextPane,
    PreviousPane,
    Zoom,
    WorkloadsView,
    ActionsView,
    Find,
    Help,
    Back,
    Quit,
    Interrupt,
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    AllNamespaces,
    Namespaces,
    ScreenDump,
    Redraw,
    Filter,
    Order,
    Mark,
    MarkRange,
    Why,
    Describe,
    Yaml,
    Events,
    Logs,
    PreviousLogs,
    Copy,
    Hint,
    Drain,
    Cordon,
    OutOfService,
    Restart,
    Rollback,
    PauseRollout,
    Scale,
    Bounds,
    Evict,
    Rotation,
    Weight,
    Failover,
    Undo,
    UndoThis,
    PauseAction,
    ResumeAction,
    TogglePods,
    CancelAction,
    FindText,
    NextMatch,
    PreviousMatch,
    Wrap,
    Follow,
    Timestamps,
    Save,
    NextError,
    PreviousError,
    Confirm,
    Cancel,
    CopyKubectl,
    Options,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub cmd: Cmd,
    /// As in the config and the palette.
    pub id: &'static str,
    /// For the hint bar: a word or two.
    pub title: &'static str,
    pub doc: &'static str,
    pub contexts: &'static [Context],
    /// Defaults, in [`super::key::Key::parse`]'s form; the first is the one that is shown.
    pub keys: &'static [&'static str],
    pub risk: Risk,
    /// Place in the hint bar, 1 first; 0 = not there.
    pub hint: u8,
}

const fn look(
    cmd: Cmd,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    contexts: &'static [Context],
    keys: &'static [&'static str],
    hint: u8,
) -> Command {
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::None, hint }
}

const fn act(
    cmd: Cmd,
    id: &'static str,
    title: &'static str,
    doc: &'static str,
    contexts: &'static [Context],
    keys: &'static [&'static str],
) -> Command {
    Command { cmd, id, title, doc, contexts, keys, risk: Risk::Rehearsed, hint: 1 }
}

use Context::{
    Actions, Autoscalers, Backends, Dialog, Everywhere, Lists, Log, Nodes, Now, Objects, Pods, Text, Traffic,
    Workloads,
};

/// All commands.
pub const COMMANDS: &[Command] = &[
    act(
        Cmd::Drain,
        "drain",
        "drain",
        "empty nodes; asks for the end of the name; undo uncordons, evicted pods do not move back",
        &[Nodes, Now, Text],
        &["D"],
    ),
    act(
        Cmd::Cordon,
        "cordon",
        "cordon",
        "cordon or uncordon; asks y; undo is the other one",
        &[Nodes, Now, Text],
        &["C"],
    ),
    Command {
        hint: 0,
        ..act(
            Cmd::OutOfService,
            "out-of-service",
            "machine is off",
            "say that a dead node's machine is off, so that its pods and volumes are let go; or take that back; asks for the context; undo removes the taint",
            &[Nodes, Now, Text],
            &["O"],
        )
    },
    act(
        Cmd::Restart,
        "restart",
        "restart",
        "restart the workload's pods (rollout restart); asks y, more if it is not healthy; cannot be undone",
        &[Workloads, Now, Text],
        &["R"],
    ),
    act(
        Cmd::Rollback,
        "rollback",
        "roll back",
        "put back an earlier template (o picks the revision); asks for the end of the name; undo rolls forward again",
        &[Workloads, Now, Text],
        &["B"],
    ),
    act(
        Cmd::Scale,
        "scale",
        "scale",
        "change the number of replicas; asks y up, the end of the name down, the context for 0; undo scales back",
        &[Workloads, Now, Text],
        &["S"],
    ),
    Command {
        hint: 0,
        ..act(
            Cmd::PauseRollout,
            "pause-rollout",
            "pause",
            "pause or resume a Deployment's rollout; asks y; undo is the other one",
            &[Workloads, Text],
            &["P"],
        )
    },
    act(
        Cmd::Bounds,
        "bounds",
        "bounds",
        "minReplicas and maxReplicas; asks y, the end of the name to lower; undo restores them",
        &[Autoscalers],
        &["S"],
    ),
    act(
        Cmd::Evict,
        "evict",
        "evict",
        "evict pods (o: delete instead); asks for the end of the name; cannot be undone",
        &[Pods, Backends, Text],
        &["K"],
    ),
    act(
        Cmd::Rotation,
        "rotation",
        "out/in rotation",
        "take a pod out of its Service by its labels, or put it back; asks for the end of the name, the context for the last one; undo is the other one",
        &[Backends, Pods, Now, Text],
        &["X"],
    ),
    act(
        Cmd::Failover,
        "failover",
        "failover",
        "the plans of the config and those that the cluster offers; asks for the context; undo goes back as far as it got",
        &[Traffic, Backends, Nodes, Now],
        &["F"],
    ),
    Command {
        hint: 0,
        ..act(
            Cmd::Weight,
            "weight",
            "weight",
            "shift the weights of a route's backends; asks for the context; undo restores them",
            &[Traffic, Backends],
            &["W"],
        )
    },
    act(
        Cmd::UndoThis,
        "undo",
        "undo",
        "the inverse of this action, where nobody changed it since; asks for the end of the name",
        &[Actions],
        &["U"],
    ),
    Command {
        hint: 0,
        ..act(
            Cmd::Undo,
            "undo-list",
            "undo",
            "the list of actions, to undo one of them",
            &[Everywhere],
            &["U"],
        )
    },
    act(
        Cmd::ResumeAction,
        "resume-action",
        "resume",
        "go on with an action whose process ended in the middle; asks as the action does",
        &[Actions],
        &["R"],
    ),
    act(
        Cmd::PauseAction,
        "pause-action",
        "pause",
        "start no further eviction or step until it is pressed again; asks nothing",
        &[Actions],
        &["P"],
    ),
    look(Cmd::FocusNodes, "focus-nodes", "nodes", "the Nodes pane", &[Everywhere], &["1"], 0),
    look(Cmd::FocusTraffic, "focus-traffic", "traffic", "the Traffic pane", &[Everywhere], &["2"], 0),
    look(Cmd::FocusErrors, "focus-errors", "errors", "the Errors pane", &[Everywhere], &["3"], 0),
    look(
        Cmd::FocusAutoscalers,
        "focus-autoscalers",
        "autoscalers",
        "the Autoscalers pane",
        &[Everywhere],
        &["4"],
        0,
    ),
    look(
        Cmd::WorkloadsView,
        "workloads-view",
        "workloads",
        "workloads and pods, full screen",
        &[Everywhere],
        &["5"],
        6,
    ),
    look(Cmd::ActionsView, "actions-view", "actions", "running and past actions", &[Everywhere], &["8"], 0),
    look(
        Cmd::NextPane,
        "next-pane",
        "pane",
        "the next pane (NOW is one of them)",
        &[Everywhere],
        &["tab"],
        7,
    ),
    look(Cmd::PreviousPane, "previous-pane", "pane back", "the pane before", &[Everywhere], &["back-tab"], 0),
    look(Cmd::Zoom, "zoom", "zoom", "the pane on the whole screen, and back", &[Everywhere], &["z"], 8),
    look(
        Cmd::Find,
        "find",
        "find/command",
        "find any object by name, run any command",
        &[Everywhere],
        &[":"],
        4,
    ),
    look(Cmd::Help, "help", "help", "all keys that work here", &[Everywhere], &["?", "f1"], 5),
    look(
        Cmd::Back,
        "back",
        "back",
        "one step back; never touches a running action",
        &[Everywhere],
        &["esc"],
        3,
    ),
    look(
        Cmd::Quit,
        "quit",
        "back/quit",
        "back; twice at the root quits (:q quits at once)",
        &[Everywhere],
        &["q"],
        0,
    ),
    look(
        Cmd::Interrupt,
        "interrupt",
        "quit",
        "quits; asks once if an action is running",
        &[Everywhere],
        &["ctrl-c"],
        0,
    ),
    look(Cmd::Down, "down", "down", "one row down", &[Everywhere], &["j", "down"], 0),
    look(Cmd::Up, "up", "up", "one row up", &[Everywhere], &["k", "up"], 0),
    look(
        Cmd::PageDown,
        "page-down",
        "page down",
        "half a page down",
        &[Everywhere],
        &["ctrl-d", "page-down", "ctrl-f"],
        0,
    ),
    look(
        Cmd::PageUp,
        "page-up",
        "page up",
        "half a page up",
        &[Everywhere],
        &["ctrl-u", "page-up", "ctrl-b"],
        0,
    ),
    look(Cmd::Top, "top", "top", "the first row", &[Everywhere], &["g", "home"], 0),
    look(Cmd::Bottom, "bottom", "bottom", "the last row", &[Everywhere], &["G", "end"], 0),
    look(
        Cmd::AllNamespaces,
        "all-namespaces",
        "all namespaces",
        "show all namespaces",
        &[Everywhere],
        &["0"],
        0,
    ),
    look(Cmd::Namespaces, "namespaces", "namespaces", "pick a namespace", &[Everywhere], &["n"], 0),
    look(
        Cmd::ScreenDump,
        "screen-dump",
        "dump",
        "write the screen as text to a file",
        &[Everywhere],
        &["ctrl-o"],
        0,
    ),
    look(Cmd::Redraw, "redraw", "redraw", "paint the whole screen again", &[Everywhere], &["ctrl-l"], 0),
    look(Cmd::Why, "why", "open", "why: the evidence; of a row, what is behind it", &[Lists], &["enter"], 2),
    look(
        Cmd::Filter,
        "filter",
        "filter",
        "show rows with a text; !text shows the others",
        &[Lists],
        &["/"],
        3,
    ),
    look(Cmd::Order, "order", "order", "the next order of the rows", &[Lists], &["o"], 8),
    look(
        Cmd::Mark,
        "mark",
        "mark",
        "mark the row for an action on several",
        &[Nodes, Workloads, Pods, Backends],
        &["space"],
        9,
    ),
    look(
        Cmd::MarkRange,
        "mark-range",
        "mark to here",
        "mark all rows from the last marked one to here",
        &[Nodes, Workloads, Pods, Backends],
        &["v"],
        0,
    ),
    look(
        Cmd::TogglePods,
        "toggle-pods",
        "pods/workloads",
        "all pods, or all workloads",
        &[Workloads, Pods],
        &["tab"],
        4,
    ),
    look(Cmd::Describe, "describe", "describe", "all that is known about the object", &[Objects], &["d"], 2),
    look(Cmd::Yaml, "yaml", "YAML", "the object as the server has it; secrets masked", &[Objects], &["y"], 6),
    look(Cmd::Events, "events", "events", "the object's events", &[Objects], &["e"], 5),
    look(
        Cmd::Logs,
        "logs",
        "logs",
        "follow the logs of the pod, or of all pods of the workload",
        &[Objects],
        &["l"],
        2,
    ),
    look(
        Cmd::PreviousLogs,
        "previous-logs",
        "previous logs",
        "logs of the containers before their last restart",
        &[Objects],
        &["p"],
        0,
    ),
    look(Cmd::Copy, "copy", "copy name", "copy the object's name to the clipboard", &[Objects], &["c"], 0),
    look(
        Cmd::Hint,
        "hint",
        "",
        "k9s habits: changes nothing, says which capital does it",
        &[Objects],
        &["r", "u"],
        0,
    ),
    look(
        Cmd::CancelAction,
        "cancel-action",
        "cancel",
        "stop the action before its next step; asks first",
        &[Actions],
        &["x"],
        1,
    ),
    look(Cmd::FindText, "find-text", "find", "find in the text", &[Text, Log], &["/"], 2),
    look(Cmd::NextMatch, "next-match", "next", "the next match", &[Text, Log], &["n"], 3),
    look(Cmd::PreviousMatch, "previous-match", "previous", "the match before", &[Text, Log], &["N"], 0),
    look(Cmd::Wrap, "wrap", "wrap", "wrap long lines, or cut them", &[Text, Log], &["w"], 4),
    look(Cmd::Follow, "follow", "follow", "follow the end", &[Log], &["f"], 1),
    look(Cmd::Timestamps, "timestamps", "times", "show the time of each line", &[Log], &["t"], 5),
    look(Cmd::Save, "save", "save", "write the whole text to a file", &[Text, Log], &["ctrl-s"], 0),
    look(
        Cmd::NextError,
        "next-error",
        "next error",
        "the next line of level error or worse",
        &[Log],
        &["e"],
        2,
    ),
    look(Cmd::PreviousError, "previous-error", "error before", "the error before", &[Log], &["E"], 0),
    look(
        Cmd::Confirm,
        "confirm",
        "do it",
        "confirm, where the plan asks no more than that",
        &[Dialog],
        &["y"],
        0,
    ),
    look(Cmd::Cancel, "cancel", "cancel", "close without doing anything", &[Dialog], &["esc", "n"], 0),
    look(
        Cmd::CopyKubectl,
        "copy-kubectl",
        "copy kubectl",
        "copy the equivalent kubectl command",
        &[Dialog],
        &["c"],
        0,
    ),
    look(
        Cmd::Options,
        "options",
        "options",
        "other ways to do it: switches, revisions; a number picks one",
        &[Dialog],
        &["o"],
        0,
    ),
];

/// The table's row of a command.
pub fn of(cmd: Cmd) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.cmd == cmd)
}

/// By its id, as configs and suggestions name it.
pub fn by_id(id: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.id == id)
}

/// `pilothouse keys`: plain text, a section for each place.
pub fn keys_text() -> String {
    let mut out = String::new();
    for context in Context::ALL {
        let rows: Vec<_> = COMMANDS.iter().filter(|c| c.contexts.contains(&context)).collect();
        if rows.is_empty() {
            continue;
        }
        out += format!("{}\n", context.title()).as_str();
        for command in rows {
            out += format!("  {:<26} {:<18} {}\n", command.keys.join(" "), command.id, command.doc).as_str();
        }
    }
    out
}

/// The README's table: a row for each command, those that change the cluster first.
pub fn keys_table_markdown() -> String {
    let mut out = String::from("| key | where | command | what it does |\n|---|---|---|---|\n");
    for command in COMMANDS {
        let keys: Vec<String> = command.keys.iter().map(|k| format!("`{k}`")).collect();
        let places: Vec<&str> = command.contexts.iter().map(|c| c.title()).collect();
        out +=
            format!("| {} | {} | `{}` | {} |\n", keys.join(" "), places.join(", "), command.id, command.doc)
                .as_str();
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ui::key::Key;

    #[test]
    fn every_default_is_a_key_and_ids_are_unique() {
        let mut ids = HashSet::new();
        for command in COMMANDS {
            assert!(ids.insert(command.id), "{}", command.id);
            for key in command.keys {
                assert!(Key::parse(key).is_some(), "{} {key}", command.id);
            }
        }
    }

    #[test]
    fn capitals_change_the_cluster_and_nothing_else_does() {
        for command in COMMANDS {
            let capital =
                command.keys.iter().any(|k| k.len() == 1 && k.chars().all(|c| c.is_ascii_uppercase()));
            let exempt = matches!(command.cmd, Cmd::Bottom | Cmd::PreviousMatch | Cmd::PreviousError);
            assert_eq!(command.risk == Risk::Rehearsed, capital && !exempt, "{}", command.id);
        }
    }

    #[test]
    fn the_texts_name_every_command() {
        let (text, markdown) = (keys_text(), keys_table_markdown());
        for command in COMMANDS {
            assert!(text.contains(command.id) && markdown.contains(command.id));
        }
    }
}
