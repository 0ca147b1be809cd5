//! Records NOW's lines and their times, as a text that is the same on every machine.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::incident::Incident;
use pilothouse_core::domain::plan::Act;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::{Cause, Cluster, Effect, Severity};
use pilothouse_core::policy::rules::glyph;

use super::table::Line;

/// How late an immediate effect may be …
const SOON: f64 = 4.0;
/// … and how late the effect of a poll may be: one poll, or a tenth.
const POLL: f64 = 12.0;
const PART: f64 = 0.1;

/// A line that is shown for a shorter time is left out, because nobody reads it.
const SHORT: f64 = 1.0;

/// One line of NOW.
#[derive(Clone, Debug)]
pub struct Shown {
    pub rule: &'static str,
    pub object: Option<ObjectRef>,
    pub severity: Severity,
    /// All findings that the line stands for.
    pub tells: Vec<(&'static str, ObjectRef)>,
    /// It shows that a fix is in progress, or helps.
    pub recovers: bool,
    /// The line with the action that it offers.
    pub text: String,
}

/// All lines from a time on, or an action.
#[derive(Clone, Debug)]
pub enum Entry {
    Lines(Vec<Shown>),
    Fix { of: Line, what: String },
}

#[derive(Debug)]
pub struct Record {
    scenario: &'static str,
    pub entries: Vec<(f64, Entry)>,
    /// When the last request failed, of the Services that fail in this story.
    pub last_failed: f64,
    /// The incidents at the end, and the time of the opening.
    pub incidents: Vec<Arc<Incident>>,
    pub opening: Stamp,
    /// A line that the person waits for never came.
    pub missed: bool,
}

impl Shown {
    fn of(cause: &Cause, server: &str) -> Self {
        let offer = cause
            .action
            .as_ref()
            .map_or_else(String::new, |a| format!(" [{} {}]", a.command().as_str(), a.on.name));
        let remedy = cause.progress.remedy.as_ref();
        let title = cause.to_string();
        let title = if server.is_empty() { title } else { title.replace(server, "SERVER") };
        Self {
            rule: cause.rule(),
            object: cause.objects.first().cloned(),
            severity: cause.severity,
            tells: cause.included().into_iter().map(|(code, object)| (code.as_str(), object)).collect(),
            recovers: remedy.is_some_and(|remedy| remedy.effect != Effect::None),
            text: format!("{} {}: {title}{offer}", glyph(cause.severity), cause.rule()),
        }
    }
}

impl Record {
    pub fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            entries: Vec::new(),
            last_failed: 0.0,
            incidents: Vec::new(),
            opening: Stamp::default(),
            missed: false,
        }
    }

    /// Records NOW's lines if they have changed.
    pub fn lines(&mut self, at: f64, cluster: &Cluster) {
        let causes = cluster.derived.causes.iter();
        let new: Vec<Shown> = causes.map(|cause| Shown::of(cause, &cluster.info.server)).collect();
        let masked = |lines: &[Shown]| lines.iter().map(|line| masked(&line.text)).collect::<Vec<_>>();
        let mut before = self.entries.iter().rev().filter_map(|(_, entry)| match entry {
            Entry::Lines(lines) => Some(lines.as_slice()),
            Entry::Fix { .. } => None,
        });
        if masked(before.next().unwrap_or_default()) != masked(&new) {
            self.entries.push((at, Entry::Lines(new)));
        }
    }

    pub fn fix(&mut self, at: f64, of: Line, act: &Act, targets: &[ObjectRef]) {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let what = format!("{} {}", act.as_str(), names.join(", "));
        self.entries.push((at, Entry::Fix { of, what }));
    }

    /// The actions, in order.
    pub fn fixes(&self) -> impl Iterator<Item = (f64, Line)> {
        self.entries.iter().filter_map(|(at, entry)| match entry {
            Entry::Fix { of, .. } => Some((*at, *of)),
            Entry::Lines(_) => None,
        })
    }

    /// The lines that were shown at any time within a span.
    pub fn shown(&self, from: f64, to: f64) -> impl Iterator<Item = (f64, &Shown)> {
        let states: Vec<(f64, &[Shown])> = self
            .entries
            .iter()
            .filter_map(|(at, entry)| match entry {
                Entry::Lines(lines) => Some((*at, lines.as_slice())),
                Entry::Fix { .. } => None,
            })
            .collect();
        let ends: Vec<f64> = states.iter().skip(1).map(|(at, _)| *at).chain([f64::INFINITY]).collect();
        let within = states.into_iter().zip(ends).filter(move |((at, _), end)| *at < to && *end > from);
        within.flat_map(|((at, lines), _)| lines.iter().map(move |line| (at, line)))
    }

    /// Fails if the file has another story.
    pub fn compare(&self, file: &str) {
        let (is, was) = (timed(&self.to_string()), timed(file));
        let alike = is.len() == was.len()
            && is.iter().zip(&was).all(|((at, text), (then, said))| text == said && is_near(*at, *then));
        assert!(alike, "{} is another story now:\n{self}\nit was:\n{file}", self.scenario);
    }

    /// Fails if a line of the file did not appear at its time; for stories with random draws.
    pub fn has(&self, file: &str) {
        for (at, line) in timed(file).iter().filter_map(|(at, line)| Some((*at, line.strip_prefix("  ")?))) {
            let told = self.shown(at - POLL, at + POLL).any(|(_, shown)| is_of(&masked(&shown.text), line));
            assert!(told, "at {at:.0} s NOW does not say {line:?}:\n{self}");
        }
    }
}

/// Whether a text has the parts of a pattern in their order; `…` stands for any text.
fn is_of(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('…').map(str::trim);
    parts.next().is_some_and(|first| rest.starts_with(first))
        && parts.all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

fn is_near(at: f64, then: f64) -> bool {
    let most = if then <= SOON { SOON } else { POLL.max(then * PART) };
    (at - then).abs() <= most
}

/// Each line of a recorded story with its time.
fn timed(story: &str) -> Vec<(f64, String)> {
    let mut at = 0.0;
    let mut lines = Vec::new();
    for line in story.lines() {
        match line.strip_prefix('+').and_then(|rest| rest.strip_suffix(" s")) {
            Some(secs) => at = secs.parse().unwrap(),
            None => lines.push((at, line.to_owned())),
        }
    }
    lines
}

/// A line with its numbers as `#`; names and versions stay.
fn masked(text: &str) -> String {
    let mask = |word: &str| {
        if word.chars().filter(|c| c.is_alphabetic()).count() > 1 {
            return word.to_owned();
        }
        let mut out = String::new();
        for c in word.chars() {
            let goes_on = out.ends_with('#');
            match c {
                '.' | '0'..='9' if goes_on => {}
                '0'..='9' => out.push('#'),
                c => out.push(c),
            }
        }
        out
    };
    text.split(' ').map(mask).collect::<Vec<_>>().join(" ")
}

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "opening of {}", self.scenario)?;
        let (mut from, mut said) = (0.0, Vec::new());
        for (i, (at, entry)) in self.entries.iter().enumerate() {
            let next = self.entries.get(i + 1).filter(|(_, next)| matches!(next, Entry::Lines(_)));
            match entry {
                Entry::Lines(_) if next.is_some_and(|(next, _)| next - at < SHORT) => {}
                Entry::Fix { what, .. } => {
                    from = *at;
                    writeln!(f, "\n{what}")?;
                }
                Entry::Lines(lines) => {
                    let lines: Vec<String> = lines.iter().map(|line| masked(&line.text)).collect();
                    if lines == said {
                        continue;
                    }
                    writeln!(f, "+{:.0} s", at - from)?;
                    match lines.as_slice() {
                        [] => writeln!(f, "  nothing")?,
                        some => writeln!(f, "  {}", some.join("\n  "))?,
                    }
                    said = lines;
                }
            }
        }
        Ok(())
    }
}
