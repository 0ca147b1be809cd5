//! Quits the console or suspends it to the shell. While an action runs, both ask for confirmation once.

use pilothouse_core::facts::world::World;
use pilothouse_core::plan::undo;

use super::super::app::Ui;
use super::super::command::Cmd;
use super::super::key::Key;
use super::super::request::Effect;

/// How long a second press counts as confirmation.
pub(super) const AGAIN_MS: u64 = 3_000;

/// Describes the first action that runs in this process.
fn acts(world: &World) -> Option<String> {
    let running = world.actions.iter().find(|a| a.outcome.is_none() && !a.foreign)?;
    Some(undo::title(&running.plan))
}

/// Whether the key was pressed a short time ago. If not, shows a message that explains the second press.
fn asked(ui: &mut Ui, words: &str, cmd: Cmd) -> bool {
    if ui.quit_asked.is_some_and(|until| ui.clock_ms <= until) {
        return true;
    }
    ui.quit_asked = Some(ui.clock_ms + AGAIN_MS);
    // ctrl-c always interrupts; the config cannot change it
    let key = if cmd == Cmd::Interrupt { Key::parse("ctrl-c") } else { ui.key(cmd) };
    let key = key.map_or_else(|| "the key".into(), |key| key.to_string());
    ui.say(words.replace("{key}", &key));
    false
}

/// Goes back. On the first screen, a second press quits.
pub(super) fn quit(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if ui.screens.len() > 1 || ui.zoom {
        return super::back(ui, effects);
    }
    leave(ui, world, Cmd::Quit, effects);
}

/// Quits. Asks for confirmation once if an action is running.
pub(super) fn interrupt(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    leave(ui, world, Cmd::Interrupt, effects);
}

fn leave(ui: &mut Ui, world: &World, cmd: Cmd, effects: &mut Vec<Effect>) {
    let words = match acts(world) {
        Some(action) => {
            format!("{action} is running: {{key}} again stops it before its next step, and quits")
        }
        None if cmd == Cmd::Interrupt => return effects.push(Effect::Quit),
        None => "{key} again quits".into(),
    };
    if asked(ui, &words, cmd) {
        effects.push(Effect::Quit);
    }
}

/// Suspends to the shell. A running action is suspended too: the cluster processes the requests that were sent, but
/// nothing new is sent.
pub(super) fn suspend(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let sure = acts(world).is_none_or(|action| {
        let words = format!("{action} is running and would stop until fg: {{key}} again suspends it");
        asked(ui, &words, Cmd::Suspend)
    });
    if sure {
        effects.push(Effect::Suspend);
    }
}
