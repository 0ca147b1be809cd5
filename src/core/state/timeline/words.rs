//! The words of the timeline's lines.

use std::fmt::{self, Display, Formatter};

use super::{Line, What};
use crate::domain::cause::Severity;
use crate::domain::incident::duration;
use crate::facts::world::{ActionView, Outcome};

impl Severity {
    /// Returns its name: `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl What {
    /// Returns a short sign of its kind, for identities.
    pub(super) fn sign(&self) -> &'static str {
        match self {
            Self::Began(_) => "began",
            Self::Ended { .. } => "ended",
            Self::Became { .. } => "became",
            Self::Changed(_) => "changed",
            Self::Node { .. } => "node",
            Self::Ready { .. } => "ready",
            Self::Endpoints { .. } => "endpoints",
            Self::Hpa(_) => "hpa",
            Self::Condition { .. } => "condition",
            Self::Event { .. } => "event",
            Self::Error { .. } => "error",
            Self::AlertBegan(_) => "alert began",
            Self::AlertEnded(..) => "alert ended",
            Self::Started(_) => "started",
            Self::Finished(_) => "finished",
            Self::Incident { .. } => "incident",
            Self::Bookmark => "bookmark",
            Self::Note(_) => "note",
        }
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(cause) => write!(f, "began: {cause}"),
            Self::Ended { cause, lasted_ms: Some(ms) } => {
                write!(f, "ended after {}: {}", duration(Some(*ms)), cause.rule())
            }
            Self::Ended { cause, lasted_ms: None } => write!(f, "ended: {}", cause.rule()),
            Self::Became { cause, was } => {
                write!(f, "{}, was {}: {cause}", cause.severity.as_str(), was.as_str())
            }
            Self::Changed(told) => f.write_str(&told.what()),
            Self::Node { was, is } => write!(f, "{}→{}", was.as_str(), is.as_str()),
            Self::Ready { ready, desired } => write!(f, "{ready} of {desired} pods ready"),
            Self::Endpoints { ready: 0, total } => write!(f, "no ready endpoints, {total} in all"),
            Self::Endpoints { ready, total } => write!(f, "{ready} of {total} endpoints ready"),
            Self::Hpa(hpa) => write!(f, "{}, {}-{}", hpa.why, hpa.min, hpa.max),
            Self::Condition { kind, status, reason } => {
                write!(f, "{kind} is {}", status.as_str())?;
                if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
            }
            Self::Event { reason, message, count, last } => {
                write!(f, "{reason}")?;
                if *count > 1 {
                    write!(f, ", {count} times")?;
                }
                if let Some(last) = last {
                    write!(f, ", last {}", last.clock_secs())?;
                }
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Error { template, workloads, .. } => match &**workloads {
                [] => write!(f, "new error: {template}"),
                [one] => write!(f, "new error of {one}: {template}"),
                [first, ..] => {
                    write!(f, "new error of {first} and {} more: {template}", workloads.len() - 1)
                }
            },
            Self::AlertBegan(row) => {
                let alert = &row.alert;
                write!(f, "{} fires", alert.name())?;
                if alert.summary().is_empty() { Ok(()) } else { write!(f, ": {}", alert.summary()) }
            }
            Self::AlertEnded(row, lasted_ms) => {
                write!(f, "{} ended after {}", row.alert.name(), duration(Some(*lasted_ms)))
            }
            Self::Started(action) => write!(f, "{} started", title(action)),
            Self::Finished(action) => {
                let outcome = action.outcome.map_or("ended", Outcome::as_str);
                write!(f, "{} {outcome}", title(action))?;
                if action.message.is_empty() { Ok(()) } else { write!(f, ": {}", action.message) }
            }
            Self::Incident { id, step } => write!(f, "incident {id} {step}"),
            Self::Bookmark => f.write_str("bookmark"),
            Self::Note(text) => f.write_str(text),
        }
    }
}

/// The act, with the number of its objects if they are several.
fn title(action: &ActionView) -> String {
    let act = action.plan.intent.act.as_str();
    match action.plan.intent.targets.len() {
        0 | 1 => act.to_owned(),
        many => format!("{act} of {many} objects"),
    }
}

impl Line {
    /// Returns where it happened, as the screen names it: `shop/deploy/web`, `node/n1`; empty: the cluster.
    pub fn place(&self) -> String {
        match (&self.object, &self.what) {
            (Some(object), _) => object.to_string(),
            // a change of several objects already contains their number
            (None, What::Changed(told)) if told.change.object.namespace.is_empty() => {
                format!("{}s", told.change.object.kind.as_str().to_lowercase())
            }
            _ => self.namespace.to_string(),
        }
    }
}
