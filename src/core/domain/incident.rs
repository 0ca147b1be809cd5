//! Incidents, and what a person says about the time: bookmarks, notes, and the steps of an incident.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::{FindingCode, Severity};
use super::id::{Name, ObjectRef};
use super::time::{Stamp, age_of_running};

/// What a person says about a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The moment that it is about.
    pub at: Stamp,
    /// Who says it.
    pub by: Name,
    pub kind: RemarkKind,
    /// The object that it is about; None: the cluster.
    #[serde(default)]
    pub object: Option<ObjectRef>,
}

/// The kinds of remarks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemarkKind {
    Bookmark,
    /// Removes the bookmark of this moment.
    NoBookmark,
    Note(Name),
    /// Opens an incident.
    Open,
    /// Closes the open incident.
    Close,
    /// Opens the last incident again.
    Reopen,
    Acknowledge,
    /// A finding is the cause of the incident: its rule and its line.
    Cause {
        rule: Name,
        line: Name,
    },
}

/// Who opened an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenedBy {
    /// A critical finding.
    Rule,
    Person,
}

/// How the cause of an incident became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// A person marked a finding as the cause: its rule and its line.
    Marked { rule: Name, line: Name },
    /// The first action was started: its title.
    Action(Name),
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marked { rule, line } => write!(f, "{rule}: {line}"),
            Self::Action(what) => write!(f, "the first action: {what}"),
        }
    }
}

/// A finding that belongs to an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentFinding {
    pub code: FindingCode,
    pub object: Option<ObjectRef>,
    pub severity: Severity,
    /// Its line when it was last seen.
    pub line: Name,
    /// Since when the problem exists, by its evidence.
    pub began: Stamp,
    /// When the console first showed it.
    pub detected: Stamp,
    /// When it was gone; None: it lasts.
    pub ended: Option<Stamp>,
}

/// The use of an error budget during an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetUse {
    pub namespace: Name,
    pub service: Name,
    pub objective: Name,
    /// The share of the budget that was left at the first and at the last measurement; 1 is all of it.
    pub before: f64,
    pub after: f64,
}

/// An incident, with the times of its phases. All times are those of the API server's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// 1 for the first one of a cluster.
    pub id: u32,
    pub by: OpenedBy,
    /// The earliest evidence of its findings.
    pub began: Stamp,
    /// When the console first showed one of its findings, or when a person opened it.
    pub detected: Stamp,
    pub acknowledged: Option<(Stamp, Name)>,
    pub diagnosed: Option<(Stamp, Diagnosis)>,
    /// When its last finding was gone. Known only after that has lasted for a while.
    pub recovered: Option<Stamp>,
    /// When it was closed; None: it is open.
    pub closed: Option<Stamp>,
    /// When it was opened again.
    pub reopened: Option<Stamp>,
    pub findings: Vec<IncidentFinding>,
    /// The most findings at a time that it has no room for.
    pub left_out: usize,
    /// The Services that its findings are about, or that they affect.
    pub services: Vec<ObjectRef>,
    /// The ids of the actions that were started while it was open.
    pub actions: Vec<Name>,
    /// Of the objectives whose budget is measured.
    pub budgets: Vec<BudgetUse>,
}

impl Incident {
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// The time to detect it, in milliseconds: from its beginning.
    pub fn to_detect(&self) -> u64 {
        self.detected.since(self.began)
    }

    /// The time to acknowledge it, in milliseconds: from its detection.
    pub fn to_acknowledge(&self) -> Option<u64> {
        self.acknowledged.as_ref().map(|(at, _)| at.since(self.detected))
    }

    /// The time to recover from it, in milliseconds: from its beginning.
    pub fn to_recover(&self) -> Option<u64> {
        self.recovered.map(|at| at.since(self.began))
    }

    /// Whether it has this finding.
    pub fn has(&self, code: FindingCode, object: Option<&ObjectRef>) -> bool {
        self.findings.iter().any(|held| held.code == code && held.object.as_ref() == object)
    }

    /// The findings that last.
    pub fn lasting(&self) -> impl Iterator<Item = &IncidentFinding> {
        self.findings.iter().filter(|finding| finding.ended.is_none())
    }

    /// The worst finding, and the oldest of the worst.
    pub fn worst(&self) -> Option<&IncidentFinding> {
        self.findings.iter().min_by_key(|f| (std::cmp::Reverse(f.severity), f.detected, f.began))
    }
}

/// A step of an incident, as the timeline lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentStep {
    Began,
    Detected(OpenedBy),
    Acknowledged,
    Diagnosed(Diagnosis),
    Recovered,
    Closed,
    Reopened,
}

impl fmt::Display for IncidentStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began => f.write_str("began, by the earliest evidence"),
            Self::Detected(OpenedBy::Rule) => f.write_str("detected: opened by a critical finding"),
            Self::Detected(OpenedBy::Person) => f.write_str("opened by a person"),
            Self::Acknowledged => f.write_str("acknowledged"),
            Self::Diagnosed(how) => write!(f, "diagnosed, {how}"),
            Self::Recovered => f.write_str("recovered: all its findings are gone"),
            Self::Closed => f.write_str("closed"),
            Self::Reopened => f.write_str("opened again"),
        }
    }
}

/// A duration of an incident: `42s`, `12m`, `3h`; `–` if it is not known.
pub fn duration(millis: Option<u64>) -> String {
    match millis {
        None => "–".into(),
        Some(ms) if ms < 1_000 => "0s".into(),
        Some(ms) => match ms / 1_000 {
            secs @ 60..=7_199 if !secs.is_multiple_of(60) => format!("{}m{:02}s", secs / 60, secs % 60),
            _ => age_of_running(ms),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_below_two_hours() {
        for (ms, text) in [
            (None, "–"),
            (Some(0), "0s"),
            (Some(42_300), "42s"),
            (Some(60_000), "1m"),
            (Some(754_000), "12m34s"),
            (Some(7_300_000), "2h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
