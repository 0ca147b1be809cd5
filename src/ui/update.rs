//! Applies a message to the state of the screen and returns the resulting effects. This module does not wait, read
//! the clock or use the terminal.

mod actions;
mod alerts;
mod clusters;
mod dialog;
mod keys;
mod leave;
mod logs;
mod mouse;
mod open;
mod plot;
mod prompt;
mod reply;
mod rows;
mod scroll;
mod sheet;
mod silence;
mod silencing;
mod timeline;
mod unfit;

use pilothouse_core::domain::haproxy::{ServerChange, ServerState};
use pilothouse_core::domain::id::{Kind, ObjectRef, Uid};
use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::text;
use pilothouse_core::facts::world::World;
use pilothouse_core::logs::filter::Filter;
use pilothouse_core::policy::links;

use super::app::{PodScope, Prompt, Screen, TextSource, TextView, Ui};
use super::command::{ChangeCmd, Cmd};
use super::list::ListId;
use super::pane::{self, orders};
use super::request::{Effect, LogLine, Msg, Request};
use super::targets;

pub use self::rows::{on_screen, refresh};

/// Handles one message. While the clock is moved, keys apply to the world of that moment.
pub fn update(ui: &mut Ui, world: &World, msg: Msg) -> Vec<Effect> {
    let then = ui.enter_past(world);
    let effects = handle(ui, then.as_deref().unwrap_or(world), msg);
    ui.leave_past();
    effects
}

fn handle(ui: &mut Ui, world: &World, msg: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    let now = ui.now;
    match msg {
        Msg::Key(key) => {
            keys::press(ui, world, key, &mut effects);
            open::ask_lines(ui, world, &mut effects);
        }
        Msg::Mouse(gesture) => {
            mouse::take(ui, world, gesture, &mut effects);
            open::ask_lines(ui, world, &mut effects);
        }
        Msg::Paste(pasted) => prompt::paste(ui, world, &pasted),
        Msg::Resize(width, height) => ui.size = (width, height),
        Msg::WorldChanged | Msg::Tick => {
            clusters::follow(ui, world, &mut effects);
            if !ui.touched {
                keys::start_focus(ui, world);
            }
            dialog::renew(ui, &mut effects);
            open::ask_lines(ui, world, &mut effects);
        }
        Msg::Reply(ticket, reply) => reply::take(ui, world, ticket, reply, &mut effects),
        Msg::LogLines(ticket, lines) => {
            if let Some(view) = reply::logs_of(ui, ticket) {
                logs::add(view, world, lines, now);
            }
        }
        Msg::LogNotes(ticket, notes) => {
            if let Some(view) = reply::logs_of(ui, ticket) {
                logs::note(view, notes);
            }
        }
        Msg::LogEnded(ticket) => {
            if let Some(view) = reply::logs_of(ui, ticket) {
                view.ended = true;
            }
        }
        Msg::Notice(words) => ui.say(text::clean(&words).into_owned()),
        Msg::NotOpened(context, why) => clusters::not_opened(ui, &context, &why),
        Msg::Problem(words) => {
            let words = text::clean(&words).into_owned();
            // a failover plan is checked again when one of its clusters is opened again
            if !ui.problems.contains(&words) {
                ui.problems.push(words);
            }
        }
        Msg::Unrecorded(why) => {
            ui.is_recorded = false;
            ui.problems.push(text::clean(&why).into_owned());
        }
        Msg::Hangup => effects.push(Effect::Quit),
    }
    plot::ask(ui, world, &mut effects);
    if ui.note.as_ref().is_some_and(|(_, until)| *until <= ui.clock_ms) {
        ui.note = None;
    }
    effects
}

/// Runs a command from a key or from the palette.
pub fn run(ui: &mut Ui, world: &World, cmd: Cmd, effects: &mut Vec<Effect>) {
    if matches!(ui.screen(), Screen::Plots(_)) && plot::run(ui, world, cmd, effects) {
        return;
    }
    match cmd {
        Cmd::Open(ListId::Clusters) => clusters::list(ui, world, effects),
        Cmd::Open(id) => open::pane(ui, world, id, effects),
        Cmd::CloseCluster => clusters::close(ui, world, effects),
        Cmd::AllClusters => clusters::everywhere(ui, world),
        Cmd::Compare => open::compare(ui, world),
        Cmd::NextPane => cycle(ui, true),
        Cmd::PreviousPane => cycle(ui, false),
        Cmd::Zoom => match ui.screen() {
            Screen::Panes => open::zoom(ui, !ui.zoom),
            Screen::List(_) => ui.details.off = !ui.details.off,
            Screen::Text(_) | Screen::Log(_) | Screen::Plots(_) => ui.say("this is already full screen"),
        },
        Cmd::AllNamespaces => {
            ui.namespace = None;
            ui.say("all namespaces");
        }
        Cmd::Find => {
            open::ask_kinds(ui, effects);
            clusters::ask(ui, effects);
            prompt::palette(ui, world, "");
        }
        Cmd::Help => {
            if !matches!(ui.screen(), Screen::Text(v) if v.source == TextSource::Help) {
                ui.screens.push(Screen::Text(Box::new(TextView::new("Help", TextSource::Help, None))));
            }
        }
        Cmd::Back => back(ui, effects),
        Cmd::Quit => leave::quit(ui, world, effects),
        Cmd::Interrupt => leave::interrupt(ui, world, effects),
        Cmd::Down => scroll::rows(ui, world, 1),
        Cmd::Up => scroll::rows(ui, world, -1),
        Cmd::PageDown => scroll::page(ui, world, 1),
        Cmd::PageUp => scroll::page(ui, world, -1),
        Cmd::Top => scroll::ends(ui, world, false),
        Cmd::Bottom => scroll::ends(ui, world, true),
        Cmd::ScreenDump => effects.push(Effect::ScreenDump(String::new())),
        Cmd::Redraw => effects.push(Effect::Redraw),
        Cmd::Mouse => {
            ui.mouse = !ui.mouse;
            ui.say(if ui.mouse { "mouse on" } else { "mouse off: the terminal selects text again" });
            effects.push(Effect::Mouse);
        }
        Cmd::Suspend => leave::suspend(ui, world, effects),
        Cmd::Filter => prompt::filter(ui),
        Cmd::Order => order(ui, false),
        Cmd::Reverse => order(ui, true),
        Cmd::Mark => {
            if let Some(id) = ui.active_list() {
                ui.list_mut(id).mark();
                scroll::rows(ui, world, 1);
            }
        }
        Cmd::MarkRange => {
            if let Some(id) = ui.active_list() {
                let mut list = ui.take_list(id);
                list.mark_range(|row| pane::key(ui, world, id, row));
                ui.put_list(id, list);
            }
        }
        Cmd::TogglePods => toggle_pods(ui),
        Cmd::Split => sheet::split(ui, world),
        Cmd::WhatIf => sheet::what_if(ui, world),
        Cmd::Queries => sheet::queries(ui, world),
        Cmd::Why => open::enter(ui, world, effects),
        Cmd::Describe => with_object(ui, world, |ui, object| open::text(ui, format!("Describe {object}"), TextSource::Describe(object.clone()), &object)),
        Cmd::Events => with_object(ui, world, |ui, object| open::text(ui, format!("Events of {object}"), TextSource::Events(object.clone()), &object)),
        Cmd::Yaml => with_object(ui, world, |ui, object| open::yaml(ui, &object, effects)),
        Cmd::Plots => with_object(ui, world, plot::open),
        Cmd::Logs => with_object(ui, world, |ui, object| logs::open(ui, world, &object, false, effects)),
        Cmd::PreviousLogs => with_object(ui, world, |ui, object| logs::open(ui, world, &object, true, effects)),
        Cmd::Copy => with_object(ui, world, |ui, object| {
            // the description of a Service shows its dashboard
            let described = matches!(ui.screen(), Screen::Text(_)) && object.kind == Kind::Service;
            let link = world.cluster(object.cluster).filter(|_| described).and_then(|cluster| {
                links::dashboard(&cluster.info.dashboard, &object.namespace, &object.name)
            });
            let name = link.unwrap_or_else(|| object.name.to_string());
            let cordon = if object.kind == Kind::Node { "; to cordon press C" } else { "" };
            ui.say(format!("sent {name} to the clipboard{cordon} ({})", ui.clipboard.caveat()));
            effects.push(Effect::Copy(name));
        }),
        Cmd::CopyLink => alerts::copy_link(ui, world, effects),
        Cmd::GroupAlerts => alerts::group(ui),
        Cmd::Hint => ui.say("lower case changes nothing here: C cordons and uncordons, R restarts, S scales, D drains, K evicts"),
        Cmd::Change(what) => change(ui, world, what, effects),
        Cmd::Silence => silence::ask(ui, world),
        Cmd::Silenced => silence::show(ui),
        Cmd::CancelAction => actions::cancel(ui, world),
        Cmd::AllActions => ui.all_actions = !ui.all_actions,
        Cmd::FindText => {
            ui.input.clear();
            ui.prompt = Some(Prompt::FindText);
        }
        Cmd::NextMatch => scroll::find(ui, scroll::To::Next),
        Cmd::PreviousMatch => scroll::find(ui, scroll::To::Previous),
        Cmd::Wrap => match ui.screens.last_mut() {
            Some(Screen::Text(view)) => view.wrap = !view.wrap,
            Some(Screen::Log(view)) => view.wrap = !view.wrap,
            _ => {}
        },
        Cmd::Follow => logs::follow(ui),
        Cmd::Timestamps => {
            if let Some(view) = logs::on_screen(ui) {
                view.times = view.times.next();
            }
        }
        Cmd::LogColumns => {
            if let Some(view) = logs::on_screen(ui) {
                view.columns = view.columns.next();
            }
        }
        Cmd::FilterLog => logs::filter(ui),
        Cmd::Since => ui.prompt = Some(Prompt::LogSince),
        Cmd::Container => logs::containers_of(ui),
        Cmd::Fields => logs::fields(ui, world),
        Cmd::CopyLine => logs::copy(ui, effects),
        Cmd::DescribePod => logs::pod(ui, world),
        Cmd::Trace => logs::trace(ui, effects),
        Cmd::NewSince => {
            ui.new_since = if ui.new_since.is_some() { None } else { Some(ui.now) };
            ui.say(match ui.new_since {
                Some(at) => format!("NEW are the errors that are first seen after {} UTC", at.clock_secs()),
                None => "NEW are the errors that were first seen recently, or since the last rollout".to_owned(),
            });
        }
        Cmd::Moment => timeline::go_to(ui, world, effects),
        Cmd::Earlier => timeline::step(ui, world, false, effects),
        Cmd::Later => timeline::step(ui, world, true, effects),
        Cmd::LineKinds => {
            ui.kinds_of_lines = ui.kinds_of_lines.next();
            ui.list_mut(ListId::Timeline).to_top();
            ui.say(format!("the timeline shows {}", ui.kinds_of_lines.words()));
        }
        Cmd::Bookmark => timeline::bookmark(ui, effects),
        Cmd::WriteNote => timeline::ask_note(ui),
        Cmd::Incident => timeline::incident(ui, world, effects),
        Cmd::Acknowledge => timeline::acknowledge(ui, world, effects),
        Cmd::MarkCause => timeline::mark_cause(ui, world, effects),
        Cmd::Export => effects.push(Effect::Report(ui.cluster)),
        Cmd::Save => effects.extend(whole_text(ui).map(|(log, text)| Effect::Save(log, text))),
        Cmd::NextError => scroll::error(ui, scroll::To::Next),
        Cmd::PreviousError => scroll::error(ui, scroll::To::Previous),
        // these commands have a meaning only in a dialog or in a box
        Cmd::Confirm | Cmd::Cancel | Cmd::CopyKubectl | Cmd::Options => {}
        Cmd::More | Cmd::Less | Cmd::CopyText => {}
        Cmd::PlotEarlier | Cmd::PlotLater | Cmd::PlotLonger | Cmd::PlotShorter => {}
        Cmd::PlotContainer | Cmd::PlotSplit | Cmd::PlotQuery | Cmd::PlotLink => {}
    }
}

/// Returns the whole text or log that is open, for saving it to a file, and the object of a log.
fn whole_text(ui: &Ui) -> Option<(Option<ObjectRef>, String)> {
    match ui.screens.last()? {
        Screen::Text(view) => {
            let lines: Vec<&str> = view.lines.iter().map(|line| line.text.as_str()).collect();
            Some((None, lines.join("\n")))
        }
        Screen::Log(view) => {
            let line = |line: &LogLine| {
                let at = line.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                format!("{at} {} {} {}", line.pod, line.container, line.text)
            };
            let lines: Vec<String> = view.from(0).map(line).collect();
            Some((Some(view.request.object.clone()), lines.join("\n")))
        }
        _ => None,
    }
}

/// Moves the focus to the next or previous pane of the first screen.
fn cycle(ui: &mut Ui, forward: bool) {
    if !matches!(ui.screen(), Screen::Panes) {
        return;
    }
    let panes: Vec<ListId> = pane::on_first_screen().map(|pane| pane.id).collect();
    let at = panes.iter().position(|id| *id == ui.focus).unwrap_or(0);
    let by = if forward { 1 } else { panes.len().saturating_sub(1) };
    ui.focuses(panes.get((at + by) % panes.len().max(1)).copied().unwrap_or(ListId::Nodes));
}

fn toggle_pods(ui: &mut Ui) {
    match ui.screens.last_mut() {
        Some(Screen::List(id @ ListId::Workloads)) => {
            ui.pod_scope = PodScope::All;
            *id = ListId::Pods;
        }
        Some(Screen::List(id @ ListId::Pods)) => *id = ListId::Workloads,
        _ => return,
    }
    // it can have other rows than when it was left
    if let Screen::List(id) = *ui.screen() {
        ui.list_mut(id).known.forgets();
    }
}

fn order(ui: &mut Ui, turn: bool) {
    let Some(id) = ui.active_list() else { return };
    let count = orders::count(ui, id);
    if count == 0 {
        return ui.say("this list has only one order");
    }
    if turn {
        let list = ui.list_mut(id);
        list.reverse = !list.reverse;
    } else {
        let next = orders::next(ui, id);
        let list = ui.list_mut(id);
        (list.order, list.reverse) = (next, false);
    }
    // a selection made in another order is rarely of interest in the new one
    ui.list_mut(id).to_top();
    ui.say(format!("order: {}", orders::words(ui, id)));
}

fn back(ui: &mut Ui, effects: &mut Vec<Effect>) {
    if let Some(id) = ui.active_list() {
        let list = ui.list_mut(id);
        if !list.marks.is_empty() {
            list.marks.clear();
            return;
        }
        if !list.filter.is_empty() {
            list.filter = super::list::Filter::default();
            return;
        }
    }
    if let Some(Screen::Log(view)) = ui.screens.last_mut() {
        if !view.find.is_empty() {
            return view.find.clear();
        }
        if !view.filter.is_empty() {
            return logs::restore(ui, Filter::default());
        }
    }
    if ui.past.is_some() {
        timeline::back(ui, effects);
    } else if ui.screens.len() > 1 {
        open::close(ui, effects);
    } else if ui.zoom {
        open::zoom(ui, false);
    }
}

/// Returns the object that the screen is about: the object of the selected row or of the text.
pub fn object(ui: &Ui, world: &World) -> Option<ObjectRef> {
    match ui.screen() {
        Screen::Text(view) => view.about().cloned(),
        Screen::Log(_) | Screen::Plots(_) => None,
        Screen::Panes | Screen::List(_) => {
            let id = ui.active_list()?;
            let selected = ui.list(id).chosen()?;
            pane::object(ui, world, id, selected)
        }
    }
}

fn with_object(ui: &mut Ui, world: &World, then: impl FnOnce(&mut Ui, ObjectRef)) {
    match object(ui, world) {
        Some(object) => then(ui, object),
        None => ui.say("no object is selected"),
    }
}

/// Opens the plan of a command that changes the cluster, or asks for what it needs first.
fn change(ui: &mut Ui, world: &World, what: ChangeCmd, effects: &mut Vec<Effect>) {
    if let Some(why) = timeline::refusal(ui) {
        return ui.say(why);
    }
    match what {
        ChangeCmd::Scale if targets::scales_bounds(ui, world) => prompt::bounds(ui, world),
        ChangeCmd::Scale => prompt::scale(ui, world),
        ChangeCmd::Bounds => prompt::bounds(ui, world),
        ChangeCmd::Rotation if targets::server(ui).is_some() => {
            let Some((server, up)) = targets::server(ui).and_then(|b| Some((b.server.clone()?, b.ready)))
            else {
                return;
            };
            let state = if up == Some(false) { ServerState::Ready } else { ServerState::Drain };
            dialog::open(ui, world, Act::Server(ServerChange::State(state)), vec![server], effects);
        }
        ChangeCmd::Weight if targets::server(ui).is_some() => prompt::server_weight(ui),
        ChangeCmd::Rotation => {
            let pods = targets::of(ui, world, Cmd::Change(what));
            let act = match targets::service_of(ui, world, &pods) {
                Some(service) => Act::OutOfRotation { service },
                None => Act::IntoRotation,
            };
            rehearse(ui, world, what, Some((act, pods)), effects);
        }
        ChangeCmd::SilenceAlerts => silencing::ask(ui, world, effects),
        ChangeCmd::Failover => failovers(ui, world, "failover ", effects),
        ChangeCmd::Weight => failovers(ui, world, "weight ", effects),
        ChangeCmd::Undo => open::pane(ui, world, ListId::Actions, effects),
        ChangeCmd::UndoThis => actions::undo(ui, world, effects),
        ChangeCmd::ResumeAction => actions::resume(ui, world, effects),
        ChangeCmd::PauseAction => actions::pause(ui, world, effects),
        _ => {
            let act = targets::act(ui, world, Cmd::Change(what));
            rehearse(ui, world, what, act, effects);
        }
    }
}

fn rehearse(
    ui: &mut Ui,
    world: &World,
    what: ChangeCmd,
    act: Option<(Act, Vec<ObjectRef>)>,
    effects: &mut Vec<Effect>,
) {
    match act {
        Some((act, targets)) if !targets.is_empty() => dialog::open(ui, world, act, targets, effects),
        _ => ui.say(unfit::target(ui, world, Cmd::Change(what))),
    }
}

/// Opens the palette with failover plans, and requests the plans of the cluster of the selected object.
fn failovers(ui: &mut Ui, world: &World, begin: &str, effects: &mut Vec<Effect>) {
    let ticket = ui.ticket();
    ui.failovers_of = ticket;
    ui.failovers.clear();
    ui.failovers_about = object(ui, world).filter(|o| o.kind == Kind::Service).or_else(|| {
        matches!(ui.active_list(), Some(ListId::Backends | ListId::Slices))
            .then(|| ObjectRef::new(ui.cluster, Kind::Service, &ui.service.0, &ui.service.1, &Uid::default()))
    });
    ui.failovers_node = object(ui, world).filter(|o| o.kind == Kind::Node).map(|node| node.name);
    // the object under the cursor can be in another cluster than the one in front
    ui.failovers_in = object(ui, world).map_or(ui.cluster, |object| object.cluster);
    effects.push(Effect::Fetch(ticket, Request::FailoverPlans { cluster: ui.failovers_in }));
    prompt::palette(ui, world, begin);
}
