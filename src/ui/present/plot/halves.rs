//! The time before and after a rollout, side by side.

use pilothouse_core::domain::range::Span;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::World;
use pilothouse_core::policy::plots::MarkKind;

use super::super::super::app::Plots;
use super::super::super::cell::cell;
use super::super::super::theme::Role;
use super::{PanelView, SeriesView, marks, shown};

/// Which part of the span a panel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Whole,
    Before { from: Stamp, rollout: Stamp },
    After { rollout: Stamp, to: Stamp },
}

impl Half {
    /// Limits a panel to this part: its numbers, its marks and its times.
    pub(super) fn narrow(self, view: &mut PanelView, series: &mut [SeriesView]) {
        let (from, to, words) = match self {
            Self::Whole => return,
            Self::Before { from, rollout } => (from, rollout, "before the rollout"),
            Self::After { rollout, to } => (rollout, to, "after the rollout"),
        };
        (view.from, view.to) = (from, to);
        view.notes.push(cell(Role::Info, words));
        view.marks.retain(|mark| (from..=to).contains(&mark.at));
        for one in series {
            let span = one.span;
            for (index, value) in one.values.iter_mut().enumerate() {
                *value = value.filter(|_| (from..=to).contains(&span.at(index)));
            }
        }
    }
}

/// Returns the two parts, which have the same length: what the shorter side of the rollout has, and at least a fifth of
/// the span.
pub(super) fn of(rollout: Stamp, span: Span) -> [Half; 2] {
    let (before, after) = (rollout.since(span.from), span.to().since(rollout));
    let least = span.to().since(span.from) / 5;
    let length = i64::try_from(before.min(after).max(least)).unwrap_or(0);
    [
        Half::Before { from: Stamp(rollout.0 - length), rollout },
        Half::After { rollout, to: Stamp(rollout.0 + length) },
    ]
}

/// Returns the time of the last rollout of the object within the span.
pub fn last_rollout(plots: &Plots, world: &World, now: Stamp) -> Option<Stamp> {
    let span = shown(plots, now);
    let marks = marks(plots, world, span, now);
    let is_one = |at: &Stamp| (span.from..=span.to()).contains(at);
    marks.iter().rev().filter(|mark| mark.kind == MarkKind::Rollout).map(|mark| mark.at).find(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_equally_long() {
        let span = Span { from: Stamp::from_secs(0), step_secs: 10, count: 91 };
        let secs = |rollout: i64| {
            of(Stamp::from_secs(rollout), span).map(|half| match half {
                Half::Before { from, rollout } => (from.0 / 1_000, rollout.0 / 1_000),
                Half::After { rollout, to } => (rollout.0 / 1_000, to.0 / 1_000),
                Half::Whole => panic!("not a part"),
            })
        };
        assert_eq!(secs(600), [(300, 600), (600, 900)]);
        assert_eq!(secs(300), [(0, 300), (300, 600)]);
        assert_eq!(secs(890), [(710, 890), (890, 1_070)], "what is not measured yet is blank");
    }
}
