//! Filters the entries of `pilothouse logs` and prints them, or counts them by what they say.

use std::io::IsTerminal as _;

use pilothouse_core::domain::log::Mark;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::filter::{Filter, Subject};
use pilothouse_core::logs::fingerprint::Masks;
use serde_json::Value;

use super::super::{Start, exit, still_read};
use crate::cli::logs::LogFlags;
use crate::cli::{Color, Output};
use crate::clock::Clock;
use crate::report::headless::{Voice, tell};
use crate::report::logs::{self as report, Entry, Grouping, Groups, Style};
use crate::ui::widget::text::count;

/// The number of entries that are written together.
const BATCH: usize = 1000;

/// What the reading ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing more can arrive.
    Complete,
    /// Nobody reads the output any more.
    Unread,
    Interrupted,
    /// The output cannot be written.
    Unwritable,
}

/// Filters entries and prints them.
pub(super) struct Printer {
    filter: Filter,
    clock: Clock,
    style: Style,
    output: Output,
    groups: Option<Groups>,
    grouping: Grouping,
    /// The number of places where lines are missing, or may be missing.
    gaps: u64,
    /// The number of lines that were read, and of entries that passed the filter.
    lines: usize,
    passed: u64,
    /// The text to be written.
    out: String,
    voice: Voice,
}

impl Printer {
    pub(super) fn new(start: &Start, flags: &LogFlags) -> Result<Self, String> {
        let told = |what: &str, why: &dyn std::fmt::Display| format!("{what}: {why}");
        let mut filter = Filter::parse(flags.filter.as_deref().unwrap_or_default())
            .map_err(|problem| told("--filter", &problem))?;
        if let Some(level) = flags.level {
            filter = filter.at_least(level);
        }
        if let Some(pattern) = &flags.grep {
            filter = filter.matching(pattern).map_err(|problem| told("--grep", &problem.wrong))?;
        }
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = match start.global.color {
            Color::Auto => std::io::stdout().is_terminal() && !plain,
            Color::Never => false,
            Color::Ansi | Color::Indexed | Color::True => true,
        };
        Ok(Self {
            filter,
            clock: start.clock.clone(),
            style: Style { timestamps: flags.timestamps, colors },
            output: flags.look.output,
            groups: flags.group.then(Groups::default),
            grouping: Grouping::new(Masks::of(&start.settings.logs)),
            gaps: 0,
            lines: 0,
            passed: 0,
            out: String::new(),
            voice: start.voice.clone(),
        })
    }

    /// Adds what is said about a log. The filter does not matter, because nobody knows what is missing.
    fn mark(&mut self, entry: &Entry, mark: Mark) -> Option<End> {
        self.gaps += u64::from(mark == Mark::Gap);
        if self.groups.is_none() && self.output == Output::Json {
            report::json_mark(entry, mark, &mut self.out);
            return None;
        }
        let end = self.write();
        tell(&report::text_mark(entry, mark));
        end
    }

    fn take(&mut self, entry: &Entry, now: Stamp) {
        self.lines += 1 + entry.text.bytes().filter(|byte| *byte == b'\n').count();
        // the first error of a group gives it its fingerprint, whether it is printed or not
        let of_error = (self.is_grouped() && entry.fingerprint.is_some()).then(|| self.grouping.of(entry));
        let subject = Subject {
            at: entry.at,
            level: entry.level,
            namespace: &entry.namespace,
            pod: &entry.pod,
            container: &entry.container,
            node: &entry.node,
            text: &entry.text,
        };
        if !self.filter.passes(&subject, now) {
            return;
        }
        self.passed += 1;
        if !self.is_grouped() {
            return report::text(entry, self.style, &mut self.out);
        }
        let group = of_error.unwrap_or_else(|| self.grouping.of(entry));
        match &mut self.groups {
            Some(groups) => groups.add(entry, &group),
            None => report::json(entry, &group, &mut self.out),
        }
    }

    /// Whether the groups of the entries are needed.
    fn is_grouped(&self) -> bool {
        self.groups.is_some() || self.output == Output::Json
    }

    /// Prints entries. Returns how the reading ends, if it must.
    pub(super) fn print(&mut self, entries: &[Entry]) -> Option<End> {
        let now = self.clock.now();
        for part in entries.chunks(BATCH) {
            for entry in part {
                match entry.mark {
                    None => self.take(entry, now),
                    Some(mark) => {
                        if let Some(end) = self.mark(entry, mark) {
                            return Some(end);
                        }
                    }
                }
            }
            if let Some(end) = self.write() {
                return Some(end);
            }
        }
        None
    }

    fn write(&mut self) -> Option<End> {
        if self.out.is_empty() {
            return None;
        }
        let written = still_read(&self.out);
        self.out.clear();
        match written {
            Ok(true) => None,
            Ok(false) => Some(End::Unread),
            Err(_) => Some(End::Unwritable),
        }
    }

    /// Adds the context to a document about one of several clusters.
    fn of_cluster(&self, mut document: Value) -> Value {
        if let (Some(context), Some(fields)) = (self.voice.context(), document.as_object_mut()) {
            fields.insert("context".into(), Value::from(context.as_str()));
        }
        document
    }

    /// The number of lines that were read.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Prints the groups. Returns the exit status.
    pub(super) fn finish(&mut self, end: End, failed: bool) -> u8 {
        let mut end = end;
        if let Some(groups) = &self.groups {
            self.out = match self.output {
                Output::Json => self.of_cluster(groups.json()).to_string(),
                Output::Text => self.voice.headed(&groups.text()),
            };
            end = self.write().unwrap_or(end);
        }
        if self.gaps > 0 {
            let s = if self.gaps == 1 { "" } else { "s" };
            self.voice.tell(&format!("lines may be missing at {} place{s}", self.gaps));
        }
        if self.passed == 0 && self.lines > 0 && matches!(end, End::Complete | End::Interrupted) {
            self.voice.tell(&format!("no line passes the filter ({} read)", count(self.lines, "line")));
        }
        match end {
            End::Unwritable => exit::FAILED,
            _ if failed || self.gaps > 0 => exit::FAILED,
            End::Complete | End::Unread => exit::DONE,
            End::Interrupted => exit::INTERRUPTED,
        }
    }
}
