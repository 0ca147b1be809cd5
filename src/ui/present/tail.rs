//! A log on the screen: the lines from the first visible one on, the counts, and the fields of one line.

mod fields;
mod histogram;

use std::collections::BTreeSet;
use std::sync::Arc;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cluster, NodeRow, NodeState};

use super::super::app::{Columns, LogView, Times};
use super::super::cell::{Cell, ListView, cell};
use super::super::request::LogLine;
use super::super::theme::Role;
use super::super::widget::text::{self, grouped};

pub use self::fields::{fields, trace_link};

/// The minimum height of a log with bars above its lines, and of one with high bars.
const WITH_BARS: usize = 14;
const WITH_HIGH_BARS: usize = 26;
/// The minimum width at which the level has a column without being asked for.
const WITH_LEVELS: usize = 90;
/// The number of nodes that are named if they are not Ready.
const MOST_NODES: usize = 2;
/// The minimum width for whole names of pods.
const WIDE: usize = 150;
/// Maximum number of bytes of a line that are searched for matches to highlight.
const SEARCHED: usize = 4096;

/// One row: its parts, which follow each other without blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailRow {
    pub parts: Vec<Cell>,
    /// Whether it is part of the line under the cursor.
    pub selected: bool,
}

/// An open log as it is drawn.
#[derive(Clone, Debug, Default)]
pub struct TailView {
    /// The frame with its title and its counts. It has no rows.
    pub chrome: ListView,
    /// The number of lines over time, and its axis.
    pub bars: Vec<Vec<Cell>>,
    pub rows: Vec<TailRow>,
    /// The time that one bar stands for, in milliseconds. 0: there are no bars.
    pub step: i64,
    /// Notes about nodes and containers, below the lines.
    pub notes: Vec<String>,
    /// The number of rows for lines, and the position of the first visible line.
    pub page: usize,
    pub top: usize,
}

/// Builds the log for an area of this size, which does not include the frame. `cluster` is the cluster of the log.
pub fn view(
    view: &LogView,
    cluster: Option<&Cluster>,
    now: Stamp,
    zone: fn(Stamp) -> i32,
    (width, height): (usize, usize),
) -> TailView {
    let notes = notes(view, cluster, width, height);
    let bars = match height.saturating_sub(notes.len()) {
        WITH_HIGH_BARS.. => 3,
        WITH_BARS.. => 1,
        _ => 0,
    };
    let found = if bars > 0 { histogram::count(view, now, width.saturating_sub(2)) } else { None };
    let step = found.as_ref().map_or(0, |found| found.step);
    let bars = found.map_or_else(Vec::new, |found| histogram::draw(&found, view, zone, width, bars));
    let page = height.saturating_sub(notes.len() + bars.len());
    let heading = Heading::new(view, zone, width);
    let top = first(view, &heading, page);
    let rows = rows(view, &heading, top, page);
    TailView { chrome: chrome(view, zone), bars, step, rows, notes, page, top }
}

fn chrome(view: &LogView, zone: fn(Stamp) -> i32) -> ListView {
    let mut notes = Vec::new();
    if !view.filter.is_empty() {
        notes.push(cell(Role::Match, view.filter.to_string()));
    }
    if !view.find.is_empty() {
        notes.push(cell(Role::Match, format!("find: {}", view.find)));
    }
    if view.times == Times::Local {
        let last = view.lines.back().and_then(|line| line.at).unwrap_or_default();
        notes.push(cell(Role::Dim, format!("local times, UTC{}", offset(zone(last)))));
    }
    let words = if view.ended { "no lines" } else { "waiting for lines …" };
    let words = if view.hidden() > 0 { "no line matches the filter; Esc removes it" } else { words };
    ListView {
        title: view.title.clone(),
        notes,
        focused: true,
        empty: vec![cell(Role::Dim, words)],
        footer: counts(view),
        ..ListView::default()
    }
}

/// The state of the log, and how many lines are shown, hidden, dropped and cut. A count of 0 is left out.
fn counts(view: &LogView) -> Vec<Cell> {
    let lines = text::count(view.len(), "line");
    let place = || format!("line {} of {}", grouped(view.cursor() as u64 + 1), grouped(view.len() as u64));
    let mut cells = vec![match (view.ended, view.follow || view.is_empty()) {
        (true, true) => cell(Role::Stale, format!("ended, {lines}")),
        (true, false) => cell(Role::Stale, format!("ended, {}", place())),
        (false, true) if view.follow => cell(Role::Ok, format!("following, {lines}")),
        (false, true) => cell(Role::Info, format!("{lines}, f: follow")),
        (false, false) => cell(Role::Info, format!("{}, f: follow", place())),
    }];
    for (count, role, words) in [
        (view.hidden() as u64, Role::Info, "filtered"),
        (view.dropped, Role::Warning, "older dropped"),
        (view.missed, Role::Warning, "newer not kept"),
        (view.cut, Role::Warning, "cut"),
    ] {
        if count > 0 {
            cells.push(cell(role, format!("{} {words}", grouped(count))));
        }
    }
    if let Some(since) = view.request.since {
        let age = pilothouse_core::domain::time::age(u64::from(since) * 1000);
        cells.push(cell(Role::Info, format!("since {age}")));
    }
    cells
}

/// `+02:00`.
fn offset(secs: i32) -> String {
    let minutes = secs.unsigned_abs() / 60;
    format!("{}{:02}:{:02}", if secs < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
}

/// A time as the clock of the zone shows it.
fn clock(at: Stamp, zone: fn(Stamp) -> i32, times: Times) -> String {
    let secs = if times == Times::Local { zone(at) } else { 0 };
    at.plus_secs(i64::from(secs)).clock_secs()
}

/// The columns before the texts, and the room for the texts.
struct Heading {
    zone: fn(Stamp) -> i32,
    times: Times,
    level: bool,
    /// The width of each column; 0: none.
    pod: usize,
    container: usize,
    node: usize,
    full_names: bool,
    /// The width of the texts.
    text: usize,
}

impl Heading {
    fn new(view: &LogView, zone: fn(Stamp) -> i32, width: usize) -> Self {
        let several = |several: bool, cells: usize| if several { cells } else { 0 };
        let wide = width >= WIDE;
        let (level, pod, container, node) = match view.columns {
            Columns::Needed => {
                let pod = several(view.several_pods, if wide { 28 } else { 14 });
                (width >= WITH_LEVELS, pod, several(view.several_containers, 10), 0)
            }
            Columns::All => (true, if wide { 40 } else { 20 }, 10, if wide { 20 } else { 8 }),
            Columns::Text => (false, 0, 0, 0),
        };
        let time = if view.times == Times::Off { 0 } else { 8 };
        let used: usize = [time, if level { 5 } else { 0 }, pod, container, node]
            .into_iter()
            .filter(|cells| *cells > 0)
            .map(|cells| cells + 1)
            .sum();
        let text = width.saturating_sub(used + 1).max(8);
        let full_names = view.columns == Columns::All;
        Self { zone, times: view.times, level, pod, container, node, full_names, text }
    }

    /// The cells before the text of a line.
    fn cells(&self, view: &LogView, line: &LogLine) -> Vec<Cell> {
        let mut out = Vec::new();
        if self.times != Times::Off {
            let time = line.at.map_or_else(|| "--:--:--".into(), |at| clock(at, self.zone, self.times));
            out.push(cell(Role::LogTime, format!("{time} ")));
        }
        if self.level {
            let word =
                if line.more || line.mark { String::new() } else { line.level.as_str().to_uppercase() };
            out.push(cell(role(line), format!("{word:<5} ")));
        }
        let node = view.nodes.get(&(line.namespace.clone(), line.pod.clone()));
        let pod = if self.full_names && !line.namespace.is_empty() {
            format!("{}/{}", line.namespace, line.pod)
        } else {
            line.pod.to_string()
        };
        let node = node.map_or("", |node| node.as_str());
        for (name, cells) in
            [(pod.as_str(), self.pod), (line.container.as_str(), self.container), (node, self.node)]
        {
            if cells > 0 {
                let name = text::tail(name, cells);
                let blanks = " ".repeat(cells.saturating_sub(text::width(&name)) + 1);
                out.push(cell(Role::LogSource, format!("{name}{blanks}")));
            }
        }
        out
    }
}

fn role(line: &LogLine) -> Role {
    if line.mark {
        return Role::Stale;
    }
    match line.level {
        Level::Fatal | Level::Error => Role::Critical,
        Level::Warn => Role::Warning,
        Level::Info => Role::Text,
        Level::Debug | Level::Trace => Role::Dim,
    }
}

/// The number of rows of a line.
fn height(view: &LogView, heading: &Heading, line: &LogLine) -> usize {
    if view.wrap { text::wrap(&line.text, heading.text).len() } else { 1 }
}

/// The position of the first visible line: the end while it is followed. Otherwise the lines stay in place as long as
/// the cursor is visible and no room is left over.
fn first(view: &LogView, heading: &Heading, page: usize) -> usize {
    let at = view.cursor();
    let lowest = first_before(view, heading, page, at);
    if view.follow {
        return lowest;
    }
    let end = first_before(view, heading, page, view.len().saturating_sub(1));
    view.top.min(end).clamp(lowest, at)
}

/// The position of the first line from which all lines up to this one fit.
fn first_before(view: &LogView, heading: &Heading, page: usize, last: usize) -> usize {
    let mut left = page;
    let mut first = last;
    for position in (0..=last).rev() {
        let Some(line) = view.line(position) else { break };
        match left.checked_sub(height(view, heading, line)) {
            Some(rest) => (left, first) = (rest, position),
            None => break,
        }
    }
    first
}

fn rows(view: &LogView, heading: &Heading, top: usize, page: usize) -> Vec<TailRow> {
    let needle = view.find.to_lowercase();
    let mut rows: Vec<TailRow> = Vec::new();
    for (position, line) in (top..).zip(view.from(top)) {
        if rows.len() >= page {
            break;
        }
        let selected = !view.follow && position == view.cursor();
        let whole: Vec<String> = if view.wrap {
            text::wrap(&line.text, heading.text)
        } else {
            vec![text::head(&line.text, heading.text)]
        };
        let found = !needle.is_empty() && text::contains_fold(&line.text, &needle);
        let mut before = vec![if found { cell(Role::Match, ">") } else { cell(Role::Text, " ") }];
        before.extend(heading.cells(view, line));
        let blanks = before.iter().map(|cell| text::width(&cell.text)).sum();
        for part in whole {
            let mut parts =
                if before.is_empty() { vec![cell(Role::Text, " ".repeat(blanks))] } else { before };
            before = Vec::new();
            marked(view, &needle, &part, role(line), &mut parts);
            rows.push(TailRow { parts, selected });
        }
    }
    rows.truncate(page);
    rows
}

/// Splits a text into the parts that the filter or the search found, and the rest.
fn marked(view: &LogView, needle: &str, text: &str, role: Role, out: &mut Vec<Cell>) {
    let end = (0..=SEARCHED.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let searched = text.get(..end).unwrap_or_default();
    let mut marks = view.filter.marks(searched);
    marks.extend(text::places_fold(searched, needle));
    marks.sort_by_key(|mark| mark.start);
    let mut done = 0;
    for mark in marks {
        let from = mark.start.max(done);
        if from >= mark.end {
            continue;
        }
        out.push(cell(role, text.get(done..from).unwrap_or_default()));
        out.push(cell(Role::Match, text.get(from..mark.end).unwrap_or_default()));
        done = mark.end;
    }
    out.push(cell(role, text.get(done..).unwrap_or_default()));
}

/// Returns the wrapped notes. They take at most a third of the rows, or all rows if the log has no lines.
fn notes(view: &LogView, cluster: Option<&Cluster>, width: usize, rows: usize) -> Vec<String> {
    let cells = width.saturating_sub(2).max(8);
    let most = if view.lines.is_empty() { rows } else { rows / 3 };
    let mut out = nodes(view, cluster);
    for (i, note) in view.notes.iter().enumerate() {
        let name = if note.container.is_empty() || !view.several_containers {
            note.pod.to_string()
        } else {
            format!("{}/{}", note.pod, note.container)
        };
        let part = text::wrap(&format!("! {name}: {}", note.words), cells);
        let left = view.notes.len() - i;
        if out.len() + part.len() + usize::from(left > 1) > most {
            if out.len() < most {
                out.push(format!("! {left} more containers have no lines, or ended"));
            }
            break;
        }
        out.extend(part);
    }
    out.truncate(most);
    out
}

/// Returns a note for each node that is not Ready, because the lines of its pods may not arrive.
fn nodes(view: &LogView, cluster: Option<&Cluster>) -> Vec<String> {
    let Some(cluster) = cluster.filter(|_| view.request.follow) else { return Vec::new() };
    let used: BTreeSet<&Name> = view.nodes.values().collect();
    let lost = |row: &&Arc<NodeRow>| row.state != NodeState::Ready && used.contains(&row.node.name);
    let mut lost: Vec<&Arc<NodeRow>> = cluster.derived.nodes.iter().filter(lost).collect();
    lost.sort_by(|a, b| a.node.name.cmp(&b.node.name));
    let mut out: Vec<String> = lost
        .iter()
        .take(MOST_NODES)
        .map(|row| format!("! node {} is {}: newer lines may be missing", row.node.name, row.state.as_str()))
        .collect();
    if let Some(more) = lost.len().checked_sub(MOST_NODES).filter(|more| *more > 0) {
        out.push(format!("! {} not Ready either", text::count(more, "more node")));
    }
    out
}
