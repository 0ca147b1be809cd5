//! The evidence of a finding.

use std::fmt;
use std::sync::Arc;

use super::{Cause, Severity};
use crate::domain::id::Name;
use crate::domain::text::count;
use crate::domain::time::Stamp;

/// One observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Text for people only.
    Seen(String),
    /// An error that began after a rollout. A line shows it once, even if several of its findings refer to it.
    FirstSeen(FirstSeen),
    /// An alert that fires, about the object of the finding or about what belongs to it.
    Alert(FiringAlert),
    /// A finding that this one includes.
    Finding { relation: Relation, cause: Arc<Cause> },
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiringAlert {
    pub fingerprint: Name,
    pub name: Name,
    pub severity: Severity,
    pub since: Stamp,
    pub summary: Name,
}

/// When an error was first seen, and how often it occurs.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstSeen {
    pub after_secs: u64,
    /// Whether no older line of that log was read, so that the error can be older.
    pub or_earlier: bool,
    pub lines: u64,
    pub per_minute: f64,
    pub pods: u32,
    pub template: Name,
}

/// How an included finding is related to the finding that includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is about the same workload: its rollout, its pods or its Service.
    SameWorkload,
    /// It is about a Service that calls the failing one.
    Caller,
    /// It has the same cause.
    Consequence,
    /// It is one of several findings that a line stands for.
    Member,
}

impl Evidence {
    /// Appends the lines of this evidence.
    fn add_to(&self, lines: &mut Vec<String>) {
        match self {
            Self::Seen(words) => lines.push(words.clone()),
            Self::FirstSeen(seen) => lines.push(seen.to_string()),
            Self::Alert(alert) => lines.push(alert.to_string()),
            Self::Finding { relation: Relation::SameWorkload, cause } => {
                lines.push(format!("{}: {cause}", cause.code()));
                lines.extend(cause.lines());
            }
            Self::Finding { relation, cause } => {
                lines.push(match relation {
                    Relation::Caller => format!("its caller {cause}"),
                    _ => cause.to_string(),
                });
                lines.extend(cause.lines().into_iter().map(|line| format!("  {line}")));
            }
        }
    }
}

impl From<String> for Evidence {
    fn from(words: String) -> Self {
        Self::Seen(words)
    }
}

impl fmt::Display for FiringAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        write!(f, "alert {} ({severity}) fires since {} UTC", self.name, self.since.clock_secs())?;
        if self.summary.is_empty() { Ok(()) } else { write!(f, ": {}", self.summary) }
    }
}

impl fmt::Display for FirstSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error first seen {}s after it{}, {} lines, {:.0}/min, {}: {}",
            self.after_secs,
            if self.or_earlier { " or earlier (no older line was read)" } else { "" },
            self.lines,
            self.per_minute,
            count(self.pods, "pod"),
            self.template
        )
    }
}

impl Cause {
    /// Returns the lines of the evidence. The lines of included findings are indented.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for evidence in &self.evidence {
            evidence.add_to(&mut lines);
        }
        lines
    }
}
