//! The line that the user is typing, and what it is for.

use pilothouse_core::domain::alert::NewSilence;
use pilothouse_core::domain::id::{ClusterId, Name, ObjectRef};
use pilothouse_core::domain::silence::Silence;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::filter;

use super::super::list::{Filter, ListId};
use super::super::widget::input::InputLine;
use super::hit::Hit;

/// The purpose of the line that the user is typing.
#[derive(Clone, Debug)]
pub enum Prompt {
    Filter {
        list: ListId,
        before: Filter,
    },
    FindText,
    /// The filter of the log on the screen, with what can complete it.
    LogFilter(Box<LogFilter>),
    /// The container whose lines are shown. The first choice is all of them.
    LogContainer {
        names: Vec<Name>,
        at: usize,
    },
    /// Asks how far back the log is read.
    LogSince,
    Palette {
        hits: Vec<Hit>,
        at: usize,
    },
    Scale {
        targets: Vec<ObjectRef>,
        from: Option<i32>,
    },
    /// The current minReplicas and maxReplicas of an autoscaler.
    Bounds {
        target: ObjectRef,
        min: i32,
        max: i32,
    },
    /// The weight of a server of a HAProxy.
    ServerWeight {
        target: ObjectRef,
        now: Option<f64>,
    },
    /// Asks how long to silence these findings.
    Silence {
        title: String,
        silences: Vec<Silence>,
    },
    /// Asks which of the silenced findings to show again.
    Tell,
    /// Asks for a silence of an Alertmanager.
    SilenceAlerts(Box<SilencePrompt>),
    /// Asks for a note about a moment.
    Note {
        at: Stamp,
        object: Option<ObjectRef>,
    },
}

/// A silence of an Alertmanager that the user is typing, one part after the other.
#[derive(Clone, Debug)]
pub struct SilencePrompt {
    pub cluster: ClusterId,
    pub new: NewSilence,
    pub part: SilencePart,
}

/// The part of a silence that the prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilencePart {
    Matchers,
    Lasts,
    Comment,
}

/// A filter of a log that the user is typing.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// The filter before, which Esc restores.
    pub before: filter::Filter,
    /// The last text of whole terms, and its filter. It is in force while the text cannot be parsed.
    pub whole: (String, filter::Filter),
    pub known: filter::Known,
    pub found: filter::Completion,
    /// The chosen candidate.
    pub at: Option<usize>,
    /// What is wrong with the text.
    pub problem: Option<filter::Problem>,
    /// Whether Enter was pressed on the text, although something is wrong with it.
    pub refused: bool,
}

impl LogFilter {
    /// Determines what can stand at the cursor.
    pub fn complete(&mut self, input: &InputLine) {
        self.found = filter::complete(input.text(), input.cursor(), &self.known);
        (self.at, self.refused) = (None, false);
    }

    /// Returns the problem to be shown. While a candidate can be chosen, the text is not complete, unless Enter was
    /// pressed on it.
    pub fn shown_problem(&self) -> Option<&filter::Problem> {
        self.problem.as_ref().filter(|_| self.refused || self.found.candidates.is_empty())
    }

    /// Returns the filter that is in force while this text cannot be parsed: that of its terms before, or the filter
    /// that was there before.
    pub fn last_valid(&self, text: &str) -> &filter::Filter {
        let (whole, filter) = &self.whole;
        if whole.is_empty() || !text.starts_with(whole.as_str()) { &self.before } else { filter }
    }
}
