//! The lines below a plot: its lines with their numbers, what happened, and remarks.

use pilothouse_core::policy::plots::{Mark, MarkKind, Unit};

use super::super::super::app::Grid;
use super::super::super::cell::{Cell, cell};
use super::super::super::theme::Role;
use super::super::super::widget::text;
use super::{Known, PanelView, number};

/// The most lines of a legend.
const LEGEND: usize = 6;

/// Builds the legend: the lines with their last, smallest and largest number, or with those under the crosshair; then the
/// marks and the remarks.
pub(super) fn legend(view: &PanelView, known: &Known, unit: Unit, grid: Grid) -> Vec<Vec<Cell>> {
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    let least = usize::from(grid.height.saturating_sub(8)).clamp(1, LEGEND);
    let shown = known.series.len().min(least);
    let widest = known.series.iter().take(shown).map(|one| text::width(&one.name)).max().unwrap_or(0);
    let name_cells = widest.min(usize::from(grid.width).saturating_sub(46)).max(8);
    for one in known.series.iter().take(shown) {
        let numbers = || one.values.iter().flatten().copied();
        let fold =
            |f: fn(f64, f64) -> f64| numbers().reduce(f).map_or_else(|| "–".into(), |v| number(v, unit));
        let last = numbers().last().map_or_else(|| "–".into(), |v| number(v, unit));
        let name = text::head(&one.name, name_cells);
        let pad = " ".repeat(name_cells.saturating_sub(text::width(&name)));
        let mut cells = vec![cell(one.role, one.glyph), cell(one.role, format!("{name}{pad}"))];
        if let Some(at) = view.cross {
            let value = one.at(at).map_or_else(|| "–".into(), |v| number(v, unit));
            cells.push(cell(Role::Strong, format!("{value:>7}")));
            cells.push(cell(Role::Dim, format!("at {}", at.clock_secs())));
        } else {
            cells.push(cell(Role::Dim, "last"));
            cells.push(cell(Role::Strong, format!("{last:>7}")));
            let (min, max) = (fold(f64::min), fold(f64::max));
            cells.push(cell(Role::Dim, format!("min {min:>7}  max {max:>7}")));
        }
        if one.is_beyond {
            cells.push(cell(Role::Info, "above the plot"));
        }
        lines.push(cells);
    }
    let more = known.series.len() - shown + known.left_out;
    if more > 0 {
        lines.push(vec![cell(Role::Info, format!("+{} of the same query", text::count(more, "line")))]);
    }
    lines.extend(marks(view));
    if known.is_own {
        let other =
            if known.is_waiting { "the Prometheus is asked" } else { "the Prometheus does not have them" };
        let why = known.failed.as_deref().unwrap_or(other);
        lines.push(vec![cell(Role::Warning, format!("the console's own last polls: {why}"))]);
    }
    for warning in known.warnings.iter().take(1) {
        lines.push(vec![cell(Role::Warning, format!("! {warning}"))]);
    }
    lines
}

/// Says what the mark nearest to the crosshair is, or the last one.
fn marks(view: &PanelView) -> Option<Vec<Cell>> {
    let near = |mark: &&Mark| view.cross.map_or(0, |at| (mark.at.0 - at.0).abs());
    let mark = match view.cross {
        Some(_) => view.marks.iter().min_by_key(near)?,
        None => view.marks.last()?,
    };
    let more = view.marks.len() - 1;
    let more = if more > 0 { format!("+{}", text::count(more, "mark")) } else { String::new() };
    Some(vec![
        cell(mark_role(mark.kind), mark.kind.letter()),
        cell(Role::Text, format!("{} {}", mark.at.clock_secs(), mark.words)),
        cell(Role::Dim, more),
    ])
}

/// Returns the role of a mark.
pub fn mark_role(kind: MarkKind) -> Role {
    match kind {
        MarkKind::Rollout | MarkKind::Alert => Role::Warning,
        MarkKind::Scaling | MarkKind::Change => Role::Info,
        MarkKind::Action => Role::Strong,
    }
}
