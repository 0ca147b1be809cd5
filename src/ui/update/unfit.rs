//! Handles a key that acts on the cluster in a place where it does not work. In another pane, the key selects the
//! only cause in NOW that offers it. In NOW, the key applies to the selected row, so a message explains what the key
//! needs and where to go. The message is built from the table of commands.

use pilothouse_core::domain::cause::SuggestedCommand;
use pilothouse_core::domain::id::{Kind, Uid};
use pilothouse_core::domain::kinds::KINDS;
use pilothouse_core::facts::world::{Cluster, World};

use super::super::app::{Screen, Ui};
use super::super::command::{self, ChangeCmd, Cmd, Command, Context, Risk};
use super::super::key::Key;
use super::super::list::{ListId, Spec};
use super::super::pane::{self, causes};
use super::super::request::Effect;
use super::super::targets;

/// Runs the action that the only cause in NOW with this key offers, and selects that cause. Returns `false` if there
/// is no such cause or more than one, or if the key was pressed outside the other panes.
pub(super) fn goes_to_its_cause(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) -> bool {
    let Some(cmd) = ui.keymap.lookup(&[Context::Now], key) else { return false };
    let is_beside = matches!(ui.screen(), Screen::Panes) && !ui.zoom && ui.focus != ListId::Now;
    let Some(cluster) = ui.shown(world).filter(|_| is_beside) else { return false };
    if ui.active_list().is_some_and(|list| !ui.list(list).filter.is_empty()) {
        // a filter is active, and a cause that the filter hides must not be acted on
        return false;
    }
    let filter = ui.list(ListId::Now).filter.clone();
    let spec = Spec { namespace: ui.namespace.clone(), filter, ..Spec::default() };
    let runs = |offered: Cmd| offered == cmd || command::stands_in(offered) == Some(cmd);
    let offers = |suggested: SuggestedCommand| runs(suggested.into());
    let mut offering = cluster.derived.causes.iter().filter(|cause| {
        causes::passes(cause, &spec) && cause.action.as_ref().is_some_and(|a| offers(a.command()))
    });
    let (Some(cause), None) = (offering.next(), offering.next()) else { return false };
    let wanted: Uid = causes::key(cause);
    if !causes::is_drawn(ui, &wanted) {
        return false;
    }
    ui.focus = ListId::Now;
    let list = ui.list_mut(ListId::Now);
    list.choose(wanted);
    if list.ids.is_empty() {
        super::rows::refresh(ui, world, ListId::Now, true);
    }
    super::run(ui, world, cmd, effects);
    true
}

/// Whether a command that acts on an object does not fit the selected object.
pub(super) fn is_about_nothing(ui: &Ui, world: &World, cmd: Cmd) -> bool {
    let about = KINDS.iter().any(|kind| targets::fits(cmd, kind)) && !targets::fits(cmd, &Kind::Event);
    let bounds = || cmd == Cmd::Change(ChangeCmd::Scale) && targets::scales_bounds(ui, world);
    about && targets::of(ui, world, cmd).is_empty() && !bounds()
}

/// Explains, for a key that is not bound here, what it needs and where to go.
pub(super) fn key(ui: &Ui, key: Key) -> String {
    let elsewhere: Vec<&Command> =
        command::COMMANDS.iter().filter(|c| ui.keymap.keys(c.cmd).contains(&key)).collect();
    let acts: Vec<String> = elsewhere
        .iter()
        .filter(|c| c.risk == Risk::Rehearsed)
        .map(|c| format!("{}: {}", needs(c.cmd), go_to(ui, c)))
        .collect();
    if !acts.is_empty() {
        return acts.join("; ");
    }
    let help = ui.key(Cmd::Help).map_or_else(String::new, |k| format!(": {k} lists the keys"));
    match elsewhere.first() {
        Some(command) => {
            format!("{key} is '{}' in {}; not here{help}", command.title, command::places(command))
        }
        None => format!("{key} does nothing here{help}"),
    }
}

/// Explains, for a command that works here, why it does not fit the selection.
pub(super) fn target(ui: &Ui, world: &World, cmd: Cmd) -> String {
    let Some(command) = command::of(cmd) else { return String::new() };
    let title = command.title;
    match super::object(ui, world) {
        None if super::open::on_fold(ui, world) => {
            "this line stands for several causes: Enter lists them".into()
        }
        None => format!("nothing is selected here for '{title}'"),
        Some(object) if targets::fits(cmd, &object.kind) => {
            format!("{object} is not watched: no '{title}'")
        }
        Some(object) => {
            let elsewhere = world.cluster(object.cluster).filter(|cluster| cluster.id() != ui.cluster);
            let way = match elsewhere {
                None => go_to(ui, command),
                Some(cluster) => to_cluster(ui, cluster),
            };
            format!("{}, not {object}: {way}", needs(cmd))
        }
    }
}

/// Names the key that brings another cluster to the front: its lists are not those that the keys of this one open.
fn to_cluster(ui: &Ui, cluster: &Cluster) -> String {
    let is_line = ui.active_list() == Some(ListId::Now);
    let key = ui.key(if is_line { Cmd::Why } else { Cmd::Open(ListId::Clusters) });
    let key = key.map_or_else(String::new, |key| format!(" ({key})"));
    format!("first go to {}{key}", cluster.info.name())
}

/// Describes what a command needs, such as `'out of service' needs a node`.
fn needs(cmd: Cmd) -> String {
    let command = command::of(cmd);
    let title = command.map_or("", |c| c.title);
    let what = command.and_then(|c| c.on).map_or("an action", |on| on.words);
    format!("'{title}' needs {what}")
}

/// The keys that lead to NOW: back to the first screen, and there from pane to pane the shorter way round.
fn to_now(ui: &Ui) -> Vec<Option<Key>> {
    let back = vec![ui.key(Cmd::Back); ui.screens.len() - 1];
    let panes: Vec<ListId> = pane::on_first_screen().map(|pane| pane.id).collect();
    let at = |id| panes.iter().position(|pane| *pane == id).unwrap_or(0);
    let forward = (panes.len() + at(ListId::Now) - at(ui.focus)) % panes.len().max(1);
    let backward = (panes.len() - forward) % panes.len().max(1);
    let (cmd, times) =
        if forward <= backward { (Cmd::NextPane, forward) } else { (Cmd::PreviousPane, backward) };
    let turn = vec![ui.keymap.key_in(&[Context::Lists, Context::Everywhere], cmd); times];
    [back, turn].concat()
}

/// Lists the panes where the command works, with their keys, such as `go to Nodes (1) or NOW (S-Tab)`.
fn go_to(ui: &Ui, command: &Command) -> String {
    let words = |key: Option<Key>| key.map_or_else(String::new, |key| key.to_string());
    let mut places: Vec<String> = Vec::new();
    let in_now = ui.focus == ListId::Now && matches!(ui.screen(), Screen::Panes);
    for context in command.contexts {
        let keys = match context {
            Context::Now if in_now => continue,
            Context::Now => to_now(ui).into_iter().map(words).collect::<Vec<_>>().join(" "),
            other => match pane::in_context(*other).map(|pane| (pane.contexts, pane.keys)) {
                None | Some((_, [])) => continue,
                // the first key is pressed here, the others where it leads, which has the keys of the pane
                Some((there, [first, rest @ ..])) => {
                    let rest = rest.iter().map(|cmd| ui.keymap.key_in(there, *cmd));
                    std::iter::once(ui.key(*first)).chain(rest).map(words).collect::<Vec<_>>().join(" ")
                }
            },
        };
        places.push(format!("{} ({keys})", context.title()));
    }
    match places.split_last() {
        Some((last, [])) => format!("go to {last}"),
        Some((last, rest)) => format!("go to {} or {last}", rest.join(", ")),
        None => format!("it works in {}", command::places(command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::command::COMMANDS;

    fn ui() -> Ui {
        Ui::new(&pilothouse_core::domain::settings::UiSettings::default()).0
    }

    #[test]
    fn every_capital_that_acts_says_what_it_needs_and_where_to_go() {
        let ui = ui();
        for command in COMMANDS.iter().filter(|c| c.risk == Risk::Rehearsed) {
            for pressed in command.keys.iter().filter_map(|k| Key::parse(k)) {
                let words = key(&ui, pressed);
                assert!(words.contains(&format!("'{}' needs ", command.title)), "{words}");
                let bound = COMMANDS
                    .iter()
                    .filter(|c| c.risk == Risk::Rehearsed && ui.keymap.keys(c.cmd).contains(&pressed));
                assert!(bound.count() > 1 || words.chars().count() <= 78, "cut on a narrow screen: {words}");
            }
        }
    }

    #[test]
    fn every_command_about_an_object_names_a_kind() {
        // a silence is about an alert, which is no object
        let of_alerts = Cmd::Change(ChangeCmd::SilenceAlerts);
        for command in COMMANDS.iter().filter(|c| c.contexts.contains(&Context::Text) && c.cmd != of_alerts) {
            let about = command.risk == Risk::Rehearsed;
            assert_eq!(about, KINDS.iter().any(|kind| targets::fits(command.cmd, kind)), "{}", command.id);
        }
    }

    #[test]
    fn each_command_fits_the_kinds_that_kubectl_has_it_for() {
        let fitting =
            |cmd| KINDS.iter().filter(|kind| targets::fits(Cmd::Change(cmd), kind)).collect::<Vec<_>>();
        let rolled_out = [&Kind::Deployment, &Kind::StatefulSet, &Kind::DaemonSet];
        for (cmd, kinds) in [
            (ChangeCmd::Drain, &[&Kind::Node] as &[&Kind]),
            (ChangeCmd::Cordon, &[&Kind::Node]),
            (ChangeCmd::OutOfService, &[&Kind::Node]),
            (ChangeCmd::Restart, &rolled_out),
            (ChangeCmd::Rollback, &rolled_out),
            (ChangeCmd::PauseRollout, &[&Kind::Deployment]),
            (ChangeCmd::Scale, &[&Kind::Deployment, &Kind::ReplicaSet, &Kind::StatefulSet]),
            (ChangeCmd::Bounds, &[&Kind::HorizontalPodAutoscaler]),
            (ChangeCmd::PauseAutoscaler, &[&Kind::HorizontalPodAutoscaler]),
            (ChangeCmd::Evict, &[&Kind::Pod]),
            (ChangeCmd::Rotation, &[&Kind::Pod]),
        ] {
            assert_eq!(fitting(cmd), kinds, "{cmd:?}");
        }
    }

    #[test]
    fn the_words() {
        let ui = ui();
        for (pressed, words) in [
            ("O", "'out of service' needs a node: go to Nodes (1) or NOW (S-Tab)"),
            ("B", "'roll back' needs a workload: go to Workloads (5) or NOW (S-Tab)"),
            ("K", "'evict' needs a pod: go to Pods (5 Tab) or NOW (S-Tab)"),
            ("Q", "Q does nothing here: ? lists the keys"),
            (
                "S",
                "'scale' needs a workload: go to Workloads (5) or NOW (S-Tab); 'bounds' needs an autoscaler: go to Autoscalers (4)",
            ),
            ("f", "f is 'follow' in log text; not here: ? lists the keys"),
        ] {
            assert_eq!(key(&ui, Key::parse(pressed).unwrap()), words);
        }
    }
}
