//! Leaving: for good, or to the shell for a while. While an action runs, both ask once.

use pilothouse_core::model::world::World;

use super::super::app::Ui;
use super::super::request::Effect;

/// For how long the second press counts.
const AGAIN_MS: u64 = 3_000;

fn acts(world: &World) -> bool {
    world.actions.iter().any(|a| a.outcome.is_none() && !a.foreign)
}

/// Back; twice at the root quits.
pub fn quit(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if ui.screens.len() > 1 || ui.zoom {
        return super::back(ui, effects);
    }
    if acts(world) {
        return interrupt(ui, world, effects);
    }
    match ui.quit_asked {
        Some(until) if ui.clock_ms <= until => effects.push(Effect::Quit),
        _ => {
            ui.quit_asked = Some(ui.clock_ms + AGAIN_MS);
            ui.say("q again quits");
        }
    }
}

/// Quits; asks once if an action is running.
pub fn interrupt(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let runs = acts(world);
    match ui.quit_asked {
        _ if !runs => effects.push(Effect::Quit),
        Some(until) if ui.clock_ms <= until => effects.push(Effect::Quit),
        _ => {
            ui.quit_asked = Some(ui.clock_ms + AGAIN_MS);
            ui.say("an action is running: press it again to stop that before its next step, and quit");
        }
    }
}

/// To the shell. A running action stands still meanwhile: what was sent goes on in the cluster, nothing more starts.
pub fn suspend(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    match ui.quit_asked {
        _ if !acts(world) => effects.push(Effect::Suspend),
        Some(until) if ui.clock_ms <= until => effects.push(Effect::Suspend),
        _ => {
            ui.quit_asked = Some(ui.clock_ms + AGAIN_MS);
            ui.say("an action is running and would stand still: press it again to suspend");
        }
    }
}
