//! Opens the plots of an object or of a query, asks for their numbers, and handles their keys.

use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::preset::Preset;
use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::plots::{self, Subject};

use super::super::app::{Answer, Grid, Metrics, Plots, Prompt, RANGES, Screen, Ui};
use super::super::command::Cmd;
use super::super::present::palette::prom;
use super::super::present::plot as present;
use super::super::request::{Effect, Reply, Request, Ticket};

/// Names of metrics are offered that had samples within this time, in seconds.
const NAMES_SECS: u32 = 3_600;

/// How long the selection has to rest before its plots are asked for.
const REST_MS: u64 = 400;

/// How often newer numbers are asked for at most.
const EVERY_MS: u64 = 10_000;

/// Opens the plots of an object.
pub(super) fn open(ui: &mut Ui, object: ObjectRef) {
    if !plots::has_plots(&object.kind) {
        return ui
            .say(format!("{object} has no plots: nodes, pods, workloads, services and autoscalers have"));
    }
    let plots = Plots::new(object.cluster, Subject::of(object));
    ui.screens.push(Screen::Plots(Box::new(plots)));
}

/// Opens the plot of a query.
pub(super) fn query(ui: &mut Ui, query: &str) {
    let plots = Plots::new(ui.cluster, Subject::Query(query.to_owned()));
    ui.screens.push(Screen::Plots(Box::new(plots)));
}

/// Returns the effects that cancel all requests of these plots.
pub(super) fn cancel(plots: &Plots) -> impl Iterator<Item = Effect> {
    plots.open().into_iter().map(Effect::Cancel)
}

/// Returns the plots on the screen, or those next to its list.
fn on_screen(ui: &mut Ui) -> Option<&mut Plots> {
    match ui.screens.last_mut() {
        Some(Screen::Plots(plots)) => Some(plots),
        _ => ui.beside.plots.as_deref_mut(),
    }
}

/// Changes the plots next to a list to those of the selected object.
fn follow(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let id = ui.active_list().filter(|id| present::has_place(ui, *id));
    let object = id.and_then(|_| super::object(ui, world)).filter(|object| plots::has_plots(&object.kind));
    if ui.beside.plots.as_deref().and_then(Plots::object) != object.as_ref() {
        if let Some(plots) = ui.beside.plots.take() {
            effects.extend(cancel(&plots));
        }
        ui.beside.plots = object.map(|object| Box::new(Plots::new(object.cluster, Subject::of(object))));
        ui.beside.since_ms = ui.clock_ms;
    }
    ui.beside.of = ui.beside.of.filter(|_| ui.beside.of == id);
}

/// Places the plots next to their list when they have something to show.
fn place(ui: &mut Ui, world: &World, grid: Grid) {
    let Some(id) = ui.active_list().filter(|id| ui.beside.of.is_none() && present::has_place(ui, *id)) else {
        return;
    };
    let plots = ui.beside.plots.as_deref();
    if plots.is_some_and(|plots| present::has_numbers(plots, world, ui.now, grid)) {
        ui.beside.of = Some(id);
    }
}

/// Asks for the names of the metrics when a query is typed.
fn ask_names(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let is_typed =
        matches!(ui.prompt, Some(Prompt::Palette { .. })) && prom::query(ui.input.text()).is_some();
    if !is_typed || ui.metrics.of.is_some_and(|(cluster, _)| cluster == ui.cluster) {
        return;
    }
    let (ticket, cluster) = (ui.ticket(), ui.cluster);
    ui.metrics = Metrics { of: Some((cluster, ticket)), ..Metrics::default() };
    let span = Span::until(ui.now, NAMES_SECS, 2);
    effects.push(Effect::Fetch(ticket, Request::MetricNames { cluster, span }));
}

/// Asks for the numbers of the panels on the screen that are not known yet, and for newer ones when the span has moved.
pub(super) fn ask(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    ask_names(ui, effects);
    follow(ui, world, effects);
    let (now, now_ms) = (ui.now, ui.clock_ms);
    let presets = ui.presets.clone();
    let Some(plots) = on_screen(ui) else { return };
    let Some(cluster) = world.cluster(plots.cluster) else { return };
    let count = match plots.panels.len() {
        0 => plots::panels(cluster, &presets, &plots.subject, 15).len(),
        count => count,
    };
    let grid = present::grid(ui, count);
    let Some(plots) = on_screen(ui) else { return };
    let asked = renew(plots, cluster, &presets, grid, now, now_ms);
    let wanted = requests(plots, grid.page(), asked);
    let is_full = matches!(ui.screen(), Screen::Plots(_));
    if is_full || now_ms.saturating_sub(ui.beside.since_ms) >= REST_MS {
        send(ui, world, wanted, effects);
    }
    place(ui, world, grid);
}

/// A line that is asked for: the panel, the line and its query.
type Wanted = (usize, usize, String);

/// Moves the span of the plots to now, if it is time. Returns whether it moved.
fn renew(
    plots: &mut Plots,
    cluster: &Cluster,
    presets: &[Preset],
    grid: Grid,
    now: Stamp,
    now_ms: u64,
) -> bool {
    let (_, secs) = plots.range();
    let span = Span::until(now, secs, usize::from(grid.cells()) * 2);
    let due = now_ms.saturating_sub(plots.asked_ms) >= EVERY_MS && plots.open().is_empty();
    let other = plots.span.step_secs != span.step_secs || plots.span.count != span.count;
    if plots.panels.is_empty() || other || (due && plots.span != span) {
        plots.renew(plots::panels(cluster, presets, &plots.subject, span.step_secs), span);
        plots.asked_ms = now_ms;
        return true;
    }
    false
}

/// Returns the lines on the screen that have to be asked for: those that were never, or all of them.
fn requests(plots: &Plots, page: usize, all: bool) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (at, panel) in plots.panels.iter().enumerate().skip(plots.first).take(page) {
        for (line, of) in panel.lines.iter().enumerate().filter(|(_, of)| !of.promql.is_empty()) {
            let curve = plots.curves.get(at).and_then(|curves| curves.get(line));
            let is_new = curve.is_none_or(|curve| matches!(curve.answer, Answer::Nothing));
            if all || is_new {
                wanted.push((at, line, of.promql.clone()));
            }
        }
    }
    wanted
}

/// Sends the requests.
fn send(ui: &mut Ui, world: &World, wanted: Vec<Wanted>, effects: &mut Vec<Effect>) {
    if wanted.is_empty() {
        return;
    }
    let tickets: Vec<Ticket> = wanted.iter().map(|_| ui.ticket()).collect();
    let Some(plots) = on_screen(ui) else { return };
    let (cluster, span) = (plots.cluster, plots.span);
    let without = present::without(world, cluster);
    for ((panel, line, query), ticket) in wanted.into_iter().zip(tickets) {
        let Some(curve) = plots.curves.get_mut(panel).and_then(|curves| curves.get_mut(line)) else {
            continue;
        };
        if let Some(why) = &without {
            curve.answer = Answer::Failed(why.clone());
            continue;
        }
        // an older request is for an older span
        effects.extend(curve.open().map(Effect::Cancel));
        if let Answer::Ready(_) = curve.answer {
            curve.again = Some(ticket);
        } else {
            (curve.answer, curve.again) = (Answer::Asked(ticket), None);
        }
        effects.push(Effect::Fetch(ticket, Request::Range { cluster, query, span }));
    }
}

/// Takes an answer that plots asked for. Returns any other one.
pub(super) fn take(ui: &mut Ui, ticket: Ticket, reply: Reply) -> Option<Reply> {
    let screens = ui.screens.iter_mut().filter_map(|screen| match screen {
        Screen::Plots(plots) => Some(plots),
        _ => None,
    });
    let curve = screens.chain(&mut ui.beside.plots).find_map(|plots| plots.curve(ticket));
    let Some(curve) = curve else { return Some(reply) };
    curve.take(match reply {
        Reply::Range(ranged) => Ok(ranged),
        Reply::Failed(why) => Err(text::clean(&why).into_owned()),
        _ => Err("another answer than was asked for".into()),
    });
    None
}

/// Runs a command on the plots on the screen. Returns `false` for a command that is not about plots.
pub(super) fn run(ui: &mut Ui, world: &World, cmd: Cmd, effects: &mut Vec<Effect>) -> bool {
    let now = ui.now;
    let Screen::Plots(plots) = ui.screen() else { return false };
    let page = present::grid(ui, plots.panels.len()).page();
    let Some(Screen::Plots(plots)) = ui.screens.last_mut() else { return false };
    match cmd {
        Cmd::PlotLater => cross(plots, now, 1),
        Cmd::PlotEarlier => cross(plots, now, -1),
        Cmd::PageDown => cross(plots, now, 10),
        Cmd::PageUp => cross(plots, now, -10),
        Cmd::Top => plots.cross = Some(present::shown(plots, now).from),
        Cmd::Bottom => plots.cross = Some(present::shown(plots, now).to()),
        // the first Esc removes the crosshair
        Cmd::Back if plots.cross.is_some() => plots.cross = None,
        Cmd::Down | Cmd::NextPane => {
            plots.first = (plots.first + 1).min(plots.panels.len().saturating_sub(page));
        }
        Cmd::Up | Cmd::PreviousPane => plots.first = plots.first.saturating_sub(1),
        Cmd::PlotLonger | Cmd::PlotShorter => {
            let longer = plots.range.saturating_add(1).min(RANGES.len() - 1);
            let range = if cmd == Cmd::PlotLonger { longer } else { plots.range.saturating_sub(1) };
            if range != plots.range {
                plots.range = range;
                effects.extend(plots.forget().into_iter().map(Effect::Cancel));
            }
        }
        Cmd::PlotContainer => container(ui, world, effects),
        Cmd::PlotSplit => match present::last_rollout(plots, world, now) {
            _ if plots.is_split => plots.is_split = false,
            Some(_) => plots.is_split = true,
            None => ui.say("there was no rollout of this object in this time: - plots a longer one"),
        },
        Cmd::PlotQuery => {
            if let Some(text) = present::queries(plots) {
                effects.push(Effect::Copy(text));
                let caveat = ui.clipboard.caveat();
                ui.say(format!("sent the PromQL of the panel to the clipboard ({caveat})"));
            }
        }
        Cmd::PlotLink => match present::link(plots, &ui.graph_url) {
            Some(url) => {
                ui.say(format!("sent {url} to the clipboard ({})", ui.clipboard.caveat()));
                effects.push(Effect::Copy(url));
            }
            None => ui.say("no URL is configured: graph_url in [prometheus]; x copies the PromQL"),
        },
        _ => return false,
    }
    true
}

/// Moves the crosshair by points. It starts at the last point.
fn cross(plots: &mut Plots, now: Stamp, by: i64) {
    let span = present::shown(plots, now);
    let step = i64::from(span.step_secs.max(1)) * 1_000;
    let at = match plots.cross {
        Some(at) => at.0 + by * step,
        None if by > 0 => span.from.0,
        None => span.to().0,
    };
    plots.cross = Some(Stamp(at.clamp(span.from.0, span.to().0)));
}

/// Shows the usage of the next container of the pod, or of all containers after the last one.
fn container(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    let Some(plots) = on_screen(ui) else { return };
    let Some(cluster) = world.cluster(plots.cluster) else { return };
    let Subject::Object { object, container } = &mut plots.subject else { return };
    let names = plots::containers(cluster, object);
    let next = match container {
        None => names.first(),
        Some(name) => names.iter().skip_while(|one| *one != name).nth(1),
    };
    match (next.cloned(), names.len()) {
        (_, 0 | 1) => ui.say("there are no other containers here"),
        (next, _) => {
            *container = next;
            effects.extend(plots.forget().into_iter().map(Effect::Cancel));
        }
    }
}
