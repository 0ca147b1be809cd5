//! The input line for filters, searches, the palette, a number of replicas and similar values.

use pilothouse_core::domain::haproxy::{MOST_WEIGHT, ServerChange};
use pilothouse_core::domain::plan::{Act, ScaleBy};
use pilothouse_core::facts::world::World;

use super::super::app::{Prompt, Screen, Target, Ui};
use super::super::command::{self, ChangeCmd, Cmd, Context};
use super::super::key::{Code, Key};
use super::super::list::{Filter, ListId};
use super::super::present::palette;
use super::super::request::Effect;
use super::super::targets;
use super::super::widget::input::{Edit, InputLine};
use super::{clusters, dialog, logs, open, plot, rows, scroll, silence, silencing, timeline, unfit};

/// Opens the filter of the active list.
pub(super) fn filter(ui: &mut Ui) {
    if let Some(list) = ui.active_list() {
        let before = ui.list(list).filter.clone();
        ui.input = InputLine::new(before.to_string());
        ui.prompt = Some(Prompt::Filter { list, before });
    }
}

/// Opens the palette.
pub(super) fn palette(ui: &mut Ui, world: &World, text: &str) {
    ui.input = InputLine::new(text);
    let hits = palette::search(ui, world, text);
    ui.prompt = Some(Prompt::Palette { hits, at: 0 });
}

/// Asks for the number of replicas.
pub(super) fn scale(ui: &mut Ui, world: &World) {
    let targets = targets::of(ui, world, Cmd::Change(ChangeCmd::Scale));
    if targets.is_empty() {
        return ui.say(unfit::target(ui, world, Cmd::Change(ChangeCmd::Scale)));
    }
    let from = match targets.as_slice() {
        [one] => {
            let cluster = world.cluster(one.cluster);
            cluster.and_then(|c| c.workload(&one.kind, &one.namespace, &one.name).map(|w| w.replicas))
        }
        _ => None,
    };
    ui.input.clear();
    ui.prompt = Some(Prompt::Scale { targets, from });
}

/// Asks for the minimum and maximum of an autoscaler.
pub(super) fn bounds(ui: &mut Ui, world: &World) {
    let target = targets::of(ui, world, Cmd::Change(ChangeCmd::Bounds)).into_iter().next();
    let hpa = target.as_ref().and_then(|t| world.cluster(t.cluster)?.hpas.by_uid(&t.uid).cloned());
    let (Some(target), Some(hpa)) = (target, hpa) else {
        return ui.say(unfit::target(ui, world, Cmd::Change(ChangeCmd::Bounds)));
    };
    ui.input.clear();
    ui.prompt = Some(Prompt::Bounds { target, min: hpa.min, max: hpa.max });
}

/// Asks for the weight of a server of a HAProxy.
pub(super) fn server_weight(ui: &mut Ui) {
    let found = targets::server(ui).and_then(|b| Some((b.server.clone()?, b.traffic.as_ref()?.weight)));
    let Some((target, now)) = found else { return };
    ui.input.clear();
    ui.prompt = Some(Prompt::ServerWeight { target, now });
}

/// Updates the palette with data that arrived while it was open.
pub(super) fn refresh(ui: &mut Ui, world: &World) {
    if matches!(ui.prompt, Some(Prompt::Palette { .. })) {
        let hits = palette::search(ui, world, ui.input.text());
        ui.prompt = Some(Prompt::Palette { hits, at: 0 });
    }
}

/// Reports that there are no failover plans, if the palette was opened for them.
pub(super) fn no_plans(ui: &mut Ui) {
    let Some(Prompt::Palette { hits, .. }) = &ui.prompt else { return };
    if hits.iter().any(|hit| matches!(hit.target, Target::Failover(..))) {
        return;
    }
    let about = ui.failovers_about.as_ref().map_or_else(String::new, |o| format!(" for {o}"));
    let why = match ui.input.text() {
        "weight " => {
            "there are no weights to change: no route of the cluster and no plan in the config has any"
        }
        "failover " => "no failover plan: the config has none, and none can be suggested for this cluster",
        _ => return,
    };
    cancel(ui);
    ui.say(format!("{why}{about}"));
}

/// Handles pasted text. It is inserted into an input line, but never into a confirmation.
pub(super) fn paste(ui: &mut Ui, world: &World, pasted: &str) {
    if let Some(dialog) = &mut ui.dialog {
        "pasted text never confirms: type it".clone_into(&mut dialog.note);
        return;
    }
    if ui.prompt.is_some() && ui.input.paste(pasted) == Edit::Changed {
        typed(ui, world);
    }
}

/// Handles a key while the input line is open.
pub(super) fn press(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) {
    if log_press(ui, key, effects) || clusters_press(ui, world, key, effects) {
        return;
    }
    let chooses = matches!(ui.prompt, Some(Prompt::Palette { .. }));
    if let (Some(Prompt::SilenceAlerts(asks)), Code::Up | Code::BackTab) = (&ui.prompt, key.code) {
        let asks = asks.clone();
        return silencing::back(ui, *asks);
    }
    match (key.code, key.ctrl) {
        (Code::Esc, _) => return cancel(ui),
        (Code::Enter, _) => return accept(ui, world, effects),
        (Code::Down | Code::Tab, _) if chooses => return choose(ui, 1),
        (Code::Up | Code::BackTab, _) if chooses => return choose(ui, -1),
        (Code::Down, _) => return recall(ui, world, false),
        (Code::Up, _) => return recall(ui, world, true),
        (Code::Char('n' | 'j'), true) if chooses => return choose(ui, 1),
        (Code::Char('p' | 'k'), true) if chooses => return choose(ui, -1),
        (Code::Backspace, _) | (Code::Char('h'), true) if ui.input.is_empty() => return cancel(ui),
        _ => {}
    }
    if ui.input.press(key) == Some(Edit::Changed) {
        typed(ui, world);
    }
}

/// Handles the keys that only the prompts of a log have. Returns whether it was one.
fn log_press(ui: &mut Ui, key: Key, effects: &mut Vec<Effect>) -> bool {
    match (&ui.prompt, key.code) {
        (Some(Prompt::LogSince), Code::Char(digit)) => {
            if let Some(choice) = digit.to_digit(10).filter(|_| !key.ctrl && !key.alt) {
                ui.prompt = None;
                logs::since(ui, choice as usize, effects);
            }
            true
        }
        (Some(Prompt::LogFilter(_)), Code::Tab) => {
            logs::complete(ui);
            true
        }
        (Some(Prompt::LogFilter(open)), Code::Enter) if open.at.is_some() => {
            logs::complete(ui);
            true
        }
        (Some(Prompt::LogFilter(_) | Prompt::LogContainer { .. }), Code::Down | Code::Tab) => {
            logs::choose(ui, 1)
        }
        (Some(Prompt::LogFilter(_) | Prompt::LogContainer { .. }), Code::Up | Code::BackTab) => {
            logs::choose(ui, -1)
        }
        (Some(Prompt::LogContainer { .. }), Code::Char('j')) => logs::choose(ui, 1),
        (Some(Prompt::LogContainer { .. }), Code::Char('k')) => logs::choose(ui, -1),
        // there is nothing to type
        (Some(Prompt::LogContainer { .. }), Code::Char(_)) => true,
        _ => false,
    }
}

/// Handles the keys that only the list of clusters has while it is filtered. Returns whether it was one.
fn clusters_press(ui: &mut Ui, world: &World, key: Key, effects: &mut Vec<Effect>) -> bool {
    if !matches!(ui.prompt, Some(Prompt::Filter { list: ListId::Clusters, .. })) {
        return false;
    }
    let step = match (key.code, key.ctrl) {
        (Code::Down | Code::Tab, _) | (Code::Char('n' | 'j'), true) => 1,
        (Code::Up | Code::BackTab, _) | (Code::Char('p' | 'k'), true) => -1,
        (Code::Esc, _) => {
            cancel(ui);
            clusters::leave(ui, effects);
            return true;
        }
        (Code::Backspace, _) if ui.input.is_empty() => {
            cancel(ui);
            clusters::leave(ui, effects);
            return true;
        }
        _ => {
            let cmd = ui.keymap.lookup(&[Context::Clusters, Context::Everywhere], key);
            match cmd.filter(|_| key.typed().is_none()) {
                Some(Cmd::CloseCluster) => clusters::close(ui, world, effects),
                // the key that opened the list
                Some(Cmd::Open(ListId::Clusters)) => {
                    cancel(ui);
                    clusters::leave(ui, effects);
                }
                _ => return false,
            }
            return true;
        }
    };
    scroll::rows(ui, world, step);
    true
}

/// Recalls an earlier filter or search. Both share one history, because people type the same names into both.
fn recall(ui: &mut Ui, world: &World, older: bool) {
    if !matches!(ui.prompt, Some(Prompt::Filter { .. } | Prompt::FindText | Prompt::LogFilter(_))) {
        return;
    }
    if let Some(text) = ui.history.recall(ui.input.text(), older) {
        ui.input = InputLine::new(text);
        typed(ui, world);
    }
}

/// Moves to another line of the palette.
pub(super) fn choose(ui: &mut Ui, by: isize) {
    if let Some(Prompt::Palette { hits, at }) = &mut ui.prompt {
        *at = at.saturating_add_signed(by).min(hits.len().saturating_sub(1));
    }
}

/// Applies the consequences of the new text immediately.
fn typed(ui: &mut Ui, world: &World) {
    // the error was about the previous text
    ui.note = None;
    match &ui.prompt {
        Some(Prompt::Filter { list, .. }) => {
            let (id, filter) = (*list, Filter::new(ui.input.text()));
            let list = ui.list_mut(id);
            list.filter = filter;
            list.top = 0;
            if id == ListId::Clusters {
                // Enter goes to the first one that matches
                list.to_top();
                rows::refresh(ui, world, id, true);
            }
        }
        Some(Prompt::Palette { .. }) => refresh(ui, world),
        Some(Prompt::LogFilter(_)) => logs::typed(ui),
        _ => {}
    }
}

fn cancel(ui: &mut Ui) {
    match ui.prompt.take() {
        Some(Prompt::Filter { list, before }) => ui.list_mut(list).filter = before,
        Some(Prompt::LogFilter(open)) => logs::restore(ui, open.before),
        _ => {}
    }
    ui.input.clear();
    ui.history.rest();
}

/// Keeps the prompt open with the typed text, and shows the error.
fn keep(ui: &mut Ui, prompt: Prompt, input: String, why: impl Into<String>) {
    ui.prompt = Some(prompt);
    ui.input = InputLine::new(input);
    ui.say(why);
}

fn accept(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(prompt) = ui.prompt.take() else { return };
    let input = ui.input.take();
    let again = prompt.clone();
    match prompt {
        Prompt::Filter { list: ListId::Clusters, .. } => {
            rows::refresh(ui, world, ListId::Clusters, true);
            open::enter(ui, world, effects);
            ui.list_mut(ListId::Clusters).filter = Filter::default();
        }
        Prompt::Filter { .. } => ui.history.remember(&input),
        Prompt::FindText => {
            ui.history.remember(&input);
            match ui.screens.last_mut() {
                Some(Screen::Text(view)) => view.find = input,
                Some(Screen::Log(view)) => {
                    view.find = input;
                    // an empty text ends the search
                    if !view.find.is_empty() {
                        scroll::find(ui, scroll::To::Nearest);
                    }
                    return;
                }
                _ => return,
            }
            scroll::find(ui, scroll::To::Next);
        }
        Prompt::LogFilter(mut open) => {
            if open.problem.is_some() {
                open.refused = true;
                ui.prompt = Some(Prompt::LogFilter(open));
                ui.input = InputLine::new(input);
            } else {
                ui.history.remember(input.trim());
            }
        }
        Prompt::LogContainer { names, at } => {
            if let Some(name) = names.get(at) {
                logs::container(ui, name);
            }
        }
        Prompt::LogSince => {}
        Prompt::Palette { hits, at } => match hits.into_iter().nth(at).map(|h| h.target) {
            Some(Target::Quit) => effects.push(Effect::Quit),
            Some(Target::Query(query)) => plot::query(ui, &query),
            Some(Target::Complete(text)) => palette(ui, world, &text),
            Some(Target::Command(id)) => {
                if let Some(command) = command::by_id(id) {
                    let here = ui.contexts();
                    let works =
                        |cmd| command::of(cmd).is_some_and(|c| c.contexts.iter().any(|c| here.contains(c)));
                    let own = Some(command.cmd).filter(|cmd| works(*cmd));
                    if let Some(cmd) =
                        own.or_else(|| command::stands_in(command.cmd).filter(|cmd| works(*cmd)))
                    {
                        if rows::choose(ui, world, cmd) {
                            super::run(ui, world, cmd, effects);
                        }
                    } else {
                        ui.say(format!("{id} works in: {}", command::places(command)));
                    }
                }
            }
            Some(Target::Object(object)) => open::object(ui, &object, effects),
            Some(Target::Context(name)) => clusters::go(ui, world, &name, effects),
            Some(Target::View(id, namespace)) => open::view(ui, world, id, namespace, effects),
            Some(Target::Contexts) => clusters::list(ui, world, effects),
            Some(Target::Act(cmd, object)) => {
                if let Some(id) = open::select(ui, &object, effects) {
                    // an action applies to the rows of a list, so the list must be up to date
                    rows::refresh(ui, world, id, true);
                    // it is this object and no neighbour of it
                    if ui.list(id).chosen() == Some(&object.uid) {
                        super::run(ui, world, cmd, effects);
                    } else {
                        ui.say(format!("nothing was done: {object} is not in the list"));
                    }
                }
            }
            Some(Target::Resource(word, namespace)) => open::table(ui, &word, namespace, effects),
            Some(Target::Failover(at, revert)) => {
                if let Some(plan) = ui.failovers.get(at).cloned() {
                    let act = Act::Failover { plan: Box::new(plan), revert };
                    dialog::open_in(ui, world, ui.failovers_in, act, Vec::new(), effects);
                }
            }
            None if input.trim().is_empty() => {}
            None => keep(ui, again, input, "No match."),
        },
        Prompt::Scale { targets, from } => match replicas(&input, from) {
            Ok(replicas) => {
                let act = Act::Scale(ScaleBy { replicas, current_replicas: from });
                dialog::open(ui, world, act, targets, effects);
            }
            Err(why) => keep(ui, again, input, why),
        },
        Prompt::Bounds { target, min, max } => match bounds_of(&input, min, max) {
            Ok((min, max)) => {
                let act = Act::Bounds { min: Some(min), max: Some(max) };
                dialog::open(ui, world, act, vec![target], effects);
            }
            Err(why) => keep(ui, again, input, why),
        },
        Prompt::ServerWeight { target, .. } => {
            match input.trim().parse().ok().filter(|n| *n <= MOST_WEIGHT) {
                Some(weight) => {
                    dialog::open(ui, world, Act::Server(ServerChange::Weight(weight)), vec![target], effects);
                }
                None => {
                    keep(ui, again, input.clone(), format!("`{input}` is not a weight: 0 to {MOST_WEIGHT}"));
                }
            }
        }
        Prompt::Silence { silences, .. } => {
            if let Err(why) = silence::accept(ui, &input, silences, effects) {
                keep(ui, again, input, why);
            }
        }
        Prompt::SilenceAlerts(asks) => {
            if let Err(why) = silencing::accept(ui, world, &input, *asks, effects) {
                keep(ui, again, input, why);
            }
        }
        Prompt::Note { at, object } => timeline::note(ui, at, object, &input, effects),
        Prompt::Tell => {
            if let Err(why) = silence::tell(ui, world, &input, effects) {
                keep(ui, again, input, why);
            }
        }
    }
}

/// Parses `4-30`, `4-`, `-30`, and `30` for the maximum.
pub(super) fn bounds_of(input: &str, min: i32, max: i32) -> Result<(i32, i32), String> {
    let input = input.trim();
    let bad = || format!("`{input}`: use MIN-MAX, for example 4-30; 4- or -30 changes one of them");
    let number = |text: &str, old: i32| {
        if text.trim().is_empty() { Some(old) } else { text.trim().parse::<i32>().ok().filter(|n| *n >= 0) }
    };
    let (low, high) = match input.split_once('-') {
        Some((low, high)) => (number(low, min), number(high, max)),
        None if input.is_empty() => (None, None),
        None => (Some(min), number(input, max)),
    };
    let (low, high) = low.zip(high).ok_or_else(bad)?;
    if low > high {
        return Err(format!("{low} is more than {high}"));
    }
    Ok((low, high))
}

/// Parses `5`, `+2`, `-1` and `x2`.
pub(super) fn replicas(input: &str, from: Option<i32>) -> Result<i32, String> {
    let input = input.trim();
    let number = |text: &str| text.trim().parse::<i32>().ok().filter(|n| *n >= 0);
    let relative =
        || from.ok_or_else(|| "a relative number needs one workload whose replicas are known".to_owned());
    let bad = || format!("`{input}` is not a number of replicas: 5, +2, -1 or x2");
    let result = if let Some(more) = input.strip_prefix('+') {
        number(more).map(|n| relative().map(|from| from.saturating_add(n)))
    } else if let Some(less) = input.strip_prefix('-') {
        number(less).map(|n| relative().map(|from| from.saturating_sub(n)))
    } else if let Some(times) = input.strip_prefix(['x', '*']) {
        number(times).map(|n| relative().map(|from| from.saturating_mul(n)))
    } else {
        number(input).map(Ok)
    };
    let wanted = result.ok_or_else(bad)??;
    if wanted < 0 {
        return Err(format!("{wanted} replicas: the number cannot be negative"));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::{bounds_of, replicas};

    #[test]
    fn bounds() {
        for (text, want) in
            [("4-30", Some((4, 30))), ("-30", Some((2, 30))), ("4-", Some((4, 11))), ("30", Some((2, 30)))]
        {
            assert_eq!(bounds_of(text, 2, 11).ok(), want, "{text}");
        }
        for text in ["", "a", "4-x", "9-3", "1-2-3"] {
            assert!(bounds_of(text, 2, 11).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_replicas() {
        for (text, want) in
            [("5", Some(5)), ("+2", Some(6)), ("-1", Some(3)), ("x2", Some(8)), ("0", Some(0))]
        {
            assert_eq!(replicas(text, Some(4)).ok(), want, "{text}");
        }
        for text in ["", "five", "-9", "--1", "1.5", "x"] {
            assert!(replicas(text, Some(4)).is_err(), "{text}");
        }
        assert!(replicas("+1", None).is_err());
        assert_eq!(replicas("x9999999", Some(9999)).ok(), Some(i32::MAX));
    }
}
