//! The commands of the timeline: bookmarks, notes, incidents and the movable clock.

use pilothouse_core::domain::id::{Name, Uid};
use pilothouse_core::domain::incident::{Remark, RemarkKind};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::facts::world::{Cluster, World};
use pilothouse_core::policy::moment;
use pilothouse_core::state::past;
use pilothouse_core::state::timeline::{Line, What, lines};

use super::super::app::{PastMetrics, Prompt, Ui};
use super::super::list::ListId;
use super::super::pane::causes;
use super::super::present::plot as plots;
use super::super::request::{Effect, Reply, Request, Ticket};

/// The largest number of characters of a note.
const NOTE: usize = 500;
/// An incident that a person closed within this time is opened again by the key that opens one.
const AGAIN_MS: u64 = 3_600_000;

/// Why nothing can be changed while the clock is moved; `None` if it is not.
pub(super) fn refusal(ui: &Ui) -> Option<String> {
    let past = ui.past.as_ref()?;
    Some(format!(
        "the clock is at {} UTC, so nothing can be changed: Esc returns to now",
        past.at.clock_secs()
    ))
}

/// Returns the selected line.
fn selected(ui: &Ui) -> Option<&Line> {
    let key = ui.list(ListId::Timeline).chosen()?;
    ui.rows.timeline.list.iter().find(|line| line.key() == *key)
}

/// Moves the clock to the time of the selected line.
pub(super) fn go_to(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    match selected(ui).map(|line| line.at) {
        Some(at) => move_to(ui, world, at, effects),
        None => ui.say("no line is selected"),
    }
}

/// Moves the clock to the line before or after it.
pub(super) fn step(ui: &mut Ui, world: &World, later: bool, effects: &mut Vec<Effect>) {
    let Some((present, cluster)) = present(ui, world) else { return };
    let at = ui.past.as_ref().map(|past| past.at);
    let mut times: Vec<Stamp> = lines(&present, &cluster)
        .iter()
        .filter(|line| ui.kinds_of_lines.shows(line))
        .map(|line| line.at)
        .collect();
    times.sort();
    let from = at.unwrap_or(Stamp(i64::MAX));
    let to = if later {
        times.iter().find(|time| **time > from)
    } else {
        times.iter().rev().find(|time| **time < from)
    };
    match (to.copied(), later, at) {
        (Some(to), _, _) => move_to(ui, world, to, effects),
        (None, true, Some(_)) => {
            back(ui, effects);
        }
        (None, true, None) => ui.say("the clock is at now: < moves it back"),
        (None, false, _) => ui.say("nothing is known from before"),
    }
}

/// Returns the present world and cluster, whether the clock is moved or not.
fn present(
    ui: &Ui,
    world: &World,
) -> Option<(World, std::sync::Arc<pilothouse_core::facts::world::Cluster>)> {
    ui.present(ui.cluster).or_else(|| Some((world.clone(), ui.shown(world)?.clone())))
}

/// Returns the clock to now.
pub(super) fn back(ui: &mut Ui, effects: &mut Vec<Effect>) {
    effects.extend(cancelled(ui));
    ui.return_to_now();
    ui.say("now");
}

/// Cancels the queries about a moment that are not answered yet.
fn cancelled(ui: &Ui) -> Option<Effect> {
    match &ui.past.as_ref()?.metrics {
        PastMetrics::Asked(ticket, _) => Some(Effect::Cancel(*ticket)),
        PastMetrics::Unknown | PastMetrics::Known => None,
    }
}

/// Asks the Prometheus for the metrics of the moment.
fn ask(ui: &mut Ui, present: &World, cluster: &Cluster, at: Stamp, effects: &mut Vec<Effect>) {
    let is_read =
        cluster.source(moment::PROMETHEUS).is_some() && plots::without(present, cluster.id()).is_none();
    if !is_read {
        return;
    }
    let asked = moment::queries(cluster, &ui.presets);
    let queries = asked.iter().map(|one| one.promql.clone()).collect();
    let ticket = ui.ticket();
    if let Some(past) = &mut ui.past {
        past.metrics = PastMetrics::Asked(ticket, asked);
        effects.push(Effect::Fetch(ticket, Request::Moment { cluster: cluster.id(), at, queries }));
    }
}

/// Takes the answer about the moment. Returns any other reply.
pub(super) fn take(ui: &mut Ui, ticket: Ticket, reply: Reply) -> Option<Reply> {
    let Some(past) = &mut ui.past else { return Some(reply) };
    let asked = match std::mem::take(&mut past.metrics) {
        PastMetrics::Asked(of, asked) if of == ticket => asked,
        other => {
            past.metrics = other;
            return Some(reply);
        }
    };
    let (then, at) = (past.world.clone(), past.at);
    let now = past.present.cluster(ui.cluster).cloned();
    match (reply, then.cluster(ui.cluster), now) {
        (Reply::Moment(answers), Some(then), Some(now)) => {
            let mut then = Cluster::clone(then);
            moment::complete(&mut then, &now, &ui.presets, &asked, &answers, at);
            ui.complete_past(then);
        }
        (Reply::Failed(why), ..) => {
            let why = text::clean(&why).into_owned();
            ui.say(format!("the metrics of {} UTC are not known: {why}", at.clock_secs()));
        }
        _ => {}
    }
    None
}

fn move_to(ui: &mut Ui, world: &World, at: Stamp, effects: &mut Vec<Effect>) {
    let Some((present, cluster)) = present(ui, world) else { return };
    if !past::is_known(&cluster, at) {
        let since = cluster.derived.history.since();
        let since = match since {
            Some(since) => format!("recorded since {} UTC", since.clock_secs()),
            None if cluster.info.history.is_off() => "no history is kept (history.memory_mib = 0)".into(),
            None => "nothing is recorded yet".into(),
        };
        return ui.say(format!("the cluster is not known at {} UTC: {since}", at.clock_secs()));
    }
    let now = ui.past.as_ref().map_or(ui.now, |past| past.now);
    effects.extend(cancelled(ui));
    ui.move_clock(&present, at);
    ask(ui, &present, &cluster, at, effects);
    ui.say(format!(
        "the panes show {} UTC, {} ago; < and > move on, Esc returns to now",
        at.clock_secs(),
        age(now.since(at))
    ));
}

/// Sets or removes a bookmark at the selected line.
pub(super) fn bookmark(ui: &mut Ui, effects: &mut Vec<Effect>) {
    let Some(line) = selected(ui) else { return ui.say("no line is selected") };
    let (at, is_one, object) = (line.at, line.what == What::Bookmark, line.object.clone());
    let kind = if is_one { RemarkKind::NoBookmark } else { RemarkKind::Bookmark };
    say(ui, at, kind, object, effects);
    ui.say(format!("bookmark {} at {} UTC", if is_one { "removed" } else { "set" }, at.clock_secs()));
}

/// Asks for a note.
pub(super) fn ask_note(ui: &mut Ui) {
    let line = selected(ui).map(|line| (line.at, line.object.clone()));
    let (at, object) = line.unwrap_or((ui.now, None));
    ui.input.clear();
    ui.prompt = Some(Prompt::Note { at, object });
}

/// Keeps a note that was typed.
pub(super) fn note(
    ui: &mut Ui,
    at: Stamp,
    object: Option<pilothouse_core::domain::id::ObjectRef>,
    input: &str,
    effects: &mut Vec<Effect>,
) {
    let words: String = text::clean(input.trim()).chars().take(NOTE).collect();
    if words.is_empty() {
        return ui.say("an empty note is not kept");
    }
    say(ui, at, RemarkKind::Note(words.into()), object, effects);
    ui.say(format!("note at {} UTC", at.clock_secs()));
}

/// Opens, closes or reopens an incident.
pub(super) fn incident(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if let Some(why) = refusal(ui) {
        return ui.say(why);
    }
    let Some(cluster) = ui.shown(world) else { return };
    let now = ui.now;
    let (kind, said) = match cluster.derived.incidents.first() {
        Some(last) if last.is_open() => (RemarkKind::Close, format!("incident {} closed", last.id)),
        Some(last) if last.recovered.is_none() && last.closed.is_some_and(|at| now.since(at) <= AGAIN_MS) => {
            (RemarkKind::Reopen, format!("incident {} opened again", last.id))
        }
        _ => (RemarkKind::Open, "incident opened".to_owned()),
    };
    say(ui, now, kind, None, effects);
    ui.say(said);
}

/// Acknowledges the open incident.
pub(super) fn acknowledge(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if let Some(why) = refusal(ui) {
        return ui.say(why);
    }
    if let Some(name) = super::clusters::far(ui, world) {
        return ui.say(format!("this is in {name}: Enter brings that cluster to the front"));
    }
    let open = ui.shown(world).and_then(|c| c.derived.incidents.first().filter(|i| i.is_open()).cloned());
    match open {
        None => ui.say("no incident is open"),
        Some(open) if open.acknowledged.is_some() => ui.say(format!("incident {} is acknowledged", open.id)),
        Some(open) => {
            let now = ui.now;
            say(ui, now, RemarkKind::Acknowledge, None, effects);
            ui.say(format!("incident {} acknowledged", open.id));
        }
    }
}

/// Marks the selected finding as the cause of the open incident.
pub(super) fn mark_cause(ui: &mut Ui, world: &World, effects: &mut Vec<Effect>) {
    if let Some(why) = refusal(ui) {
        return ui.say(why);
    }
    if let Some(name) = super::clusters::far(ui, world) {
        return ui.say(format!("this is in {name}: Enter brings that cluster to the front"));
    }
    let Some(cluster) = ui.shown(world).cloned() else { return };
    if !cluster.derived.incidents.first().is_some_and(|incident| incident.is_open()) {
        return ui.say("no incident is open");
    }
    let found: Option<(Name, Name)> = if ui.active_list() == Some(ListId::Now) {
        let key: Option<&Uid> = ui.list(ListId::Now).chosen();
        let cause = key.and_then(|key| cluster.derived.causes.iter().find(|c| causes::key(c) == *key));
        cause.map(|cause| (cause.rule().into(), cause.to_string().into()))
    } else {
        selected(ui).map(|line| match &line.what {
            What::Began(cause) | What::Ended { cause, .. } | What::Became { cause, .. } => {
                (cause.rule().into(), cause.to_string().into())
            }
            what => (line.kind.as_str().into(), format!("{} {what}", line.place()).into()),
        })
    };
    let Some((rule, line)) = found else { return ui.say("select one finding to mark it as the cause") };
    ui.say(format!("marked as the cause: {line}"));
    let now = ui.now;
    say(ui, now, RemarkKind::Cause { rule, line }, None, effects);
}

/// Passes a remark to the hub.
fn say(
    ui: &Ui,
    at: Stamp,
    kind: RemarkKind,
    object: Option<pilothouse_core::domain::id::ObjectRef>,
    effects: &mut Vec<Effect>,
) {
    let remark = Remark { at, by: "this console".into(), kind, object };
    effects.push(Effect::Remark(ui.cluster, remark));
}
