//! Handles a key: looks it up in the contexts of the screen and runs its command. A key that does not work here
//! explains why.

use pilothouse_core::facts::world::World;

use super::super::app::Ui;
use super::super::command::{Cmd, Context};
use super::super::key::{Code, Key};
use super::super::list::{ListId, Spec};
use super::super::pane::causes;
use super::super::request::Effect;
use super::{dialog, prompt, rows, run, sheet, unfit};

/// Sets the initial focus: the causes, if there are any.
pub(super) fn start_focus(ui: &mut Ui, world: &World) {
    let Some(cluster) = ui.shown(world) else { return };
    let spec = Spec { namespace: ui.namespace.clone(), ..Spec::default() };
    let found = cluster.derived.causes.iter().any(|c| causes::passes(c, &spec));
    ui.focus = if found { ListId::Now } else { ListId::Nodes };
}

/// Handles a key press.
pub(super) fn press(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) {
    ui.touched = true;
    let interrupt = Key { code: Code::Char('c'), ctrl: true, alt: false };
    if key == interrupt {
        return run(ui, world, Cmd::Interrupt, effects);
    }
    // suspend works in a dialog too, unless the config has given its key to another command in this place
    let here = ui.keymap.lookup(ui.contexts(), key).or_else(|| ui.keymap.lookup(&[Context::Everywhere], key));
    if here == Some(Cmd::Suspend) && key.typed().is_none() {
        return run(ui, world, Cmd::Suspend, effects);
    }
    if ui.prompt.is_some() {
        return prompt::press(ui, world, key, effects);
    }
    if ui.dialog.is_some() || ui.question.is_some() {
        return dialog::press(ui, world, key, effects);
    }
    if ui.sheet.is_some() {
        return sheet::press(ui, world, key, effects);
    }
    let Some(cmd) = ui.keymap.lookup(ui.contexts(), key) else {
        if key.alt {
            // a terminal sends Esc and a key right after it as the key with Alt
            for key in [Key { code: Code::Esc, ctrl: false, alt: false }, Key { alt: false, ..key }] {
                press(ui, world, key, effects);
            }
            return;
        }
        // a key that works elsewhere explains why it does not work here
        if !unfit::goes_to_its_cause(ui, world, key, effects) && ui.unknown.replace(key) != Some(key) {
            ui.say(unfit::key(ui, key));
        }
        return;
    };
    ui.unknown = None;
    if !matches!(cmd, Cmd::Quit | Cmd::Suspend) {
        ui.quit_asked = None;
    }
    ui.note = None;
    if !rows::choose(ui, world, cmd) {
        return;
    }
    if unfit::is_about_nothing(ui, world, cmd) && unfit::goes_to_its_cause(ui, world, key, effects) {
        return;
    }
    run(ui, world, cmd, effects);
}
