//! Why a key that acts on the cluster does nothing where it was pressed: one sentence, from the table of commands.

use pilothouse_core::domain::id::Kind;
use pilothouse_core::model::world::World;

use super::super::app::Ui;
use super::super::command::{self, Cmd, Risk};
use super::super::key::Key;
use super::super::present::targets;

/// Of a key that is bound to nothing here: where it acts; None for keys that act nowhere.
pub fn key(ui: &Ui, key: Key) -> Option<String> {
    let elsewhere: Vec<String> = command::COMMANDS
        .iter()
        .filter(|c| c.risk == Risk::Rehearsed && ui.keymap.keys(c.cmd).contains(&key))
        .map(|c| format!("{} works in: {}", c.id, command::places(c)))
        .collect();
    (!elsewhere.is_empty()).then(|| format!("not here; {}", elsewhere.join("; ")))
}

/// Of a command that works here, but on nothing that is selected.
pub fn target(ui: &Ui, world: &World, cmd: Cmd) -> String {
    let id = command::of(cmd).map_or("", |c| c.id);
    match super::object(ui, world) {
        None if super::open::on_fold(ui, world) => "this line is of several causes: Enter lists them".into(),
        None => format!("there is nothing here for {id}"),
        Some(object) if targets::fits(cmd, &object.kind) => {
            format!("{object} is not among what is watched: nothing for {id}")
        }
        Some(object) => {
            let kinds: Vec<&str> = KINDS.iter().filter(|k| targets::fits(cmd, k)).map(Kind::as_str).collect();
            format!("{object} is a {}; {id} is for: {}", object.kind, kinds.join(", "))
        }
    }
}

/// The kinds that commands act on.
const KINDS: [Kind; 7] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::ReplicaSet,
    Kind::HorizontalPodAutoscaler,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::command::COMMANDS;

    #[test]
    fn every_command_about_an_object_names_a_kind() {
        let about = [
            Cmd::Drain,
            Cmd::Cordon,
            Cmd::OutOfService,
            Cmd::Restart,
            Cmd::Rollback,
            Cmd::PauseRollout,
            Cmd::Scale,
            Cmd::Bounds,
            Cmd::Evict,
            Cmd::Rotation,
        ];
        for cmd in about {
            assert!(KINDS.iter().any(|kind| targets::fits(cmd, kind)), "{cmd:?}");
        }
    }

    #[test]
    fn every_capital_that_acts_says_where_and_fits_a_narrow_line() {
        let (ui, _) = Ui::new(&pilothouse_core::domain::settings::UiSettings::default());
        for command in COMMANDS.iter().filter(|c| c.risk == Risk::Rehearsed) {
            for pressed in command.keys.iter().filter_map(|k| Key::parse(k)) {
                let words = key(&ui, pressed).unwrap();
                assert!(words.contains(command.id), "{words}");
                assert!(words.contains(command.contexts[0].title()), "{words}");
            }
        }
        assert_eq!(key(&ui, Key::char('G')), None, "it looks only");
        assert_eq!(key(&ui, Key::char('Q')), None, "it is nothing anywhere");
    }
}
