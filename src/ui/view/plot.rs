//! Draws plots: panels in a grid, each with its axes, lines, marks, crosshair and legend. Lines are drawn with braille dots,
//! with half blocks, or, if only ASCII is shown, with one character for each line.

use pilothouse_core::domain::time::Stamp;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::canvas::{Context, Line, Points};

use super::super::app::{KEYS, LABELS};
use super::super::cell::{Cell, ListView, cell};
use super::super::present::plot::{PanelView, PlotsView, SeriesView, mark_role};
use super::super::theme::Role;
use super::super::widget::text;
use super::canvas::Canvas;
use super::list::{self, Chrome};

/// Every other dot of this many is drawn of a bound.
const BROKEN: usize = 3;

/// Draws the panels in their grid.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, view: &PlotsView) {
    let grid = view.grid;
    for (at, panel) in (0u16..).zip(&view.panels) {
        let (column, row) = (at % grid.columns.max(1), at / grid.columns.max(1));
        let is_last = row + 1 == grid.rows;
        let (x, y) = (area.x + column * grid.width, area.y + row * grid.height);
        // the last row takes what the others leave
        let height = if is_last { area.bottom().saturating_sub(y) } else { grid.height };
        let place = Rect::new(x, y, grid.width, height);
        let is_first = at == 0;
        let title = if is_first { view.title.as_str() } else { "" };
        one(canvas, place, panel, title, if is_first { &view.notes } else { &[] });
    }
}

/// Draws the panels one above the other. A panel without a plot takes only the lines for the reason.
pub(super) fn column(canvas: &mut Canvas<'_>, area: Rect, view: &PlotsView) {
    let lines = |panel: &PanelView| u16::try_from(panel.empty.len()).unwrap_or(u16::MAX).min(4) + 2;
    let (empty, drawn): (Vec<_>, Vec<_>) = view.panels.iter().partition(|panel| !panel.empty.is_empty());
    let free = area.height.saturating_sub(empty.iter().map(|panel| lines(panel)).sum());
    let each = free.checked_div(u16::try_from(drawn.len()).unwrap_or(u16::MAX)).unwrap_or(0);
    let mut y = area.y;
    for (at, panel) in view.panels.iter().enumerate() {
        let is_last = at + 1 == view.panels.len();
        let height = match panel.empty.is_empty() {
            // the last one takes what the others leave
            true if is_last => area.bottom().saturating_sub(y),
            true => each,
            false => lines(panel).min(area.bottom().saturating_sub(y)),
        };
        let (title, notes) =
            if at == 0 { (view.title.as_str(), view.notes.as_slice()) } else { ("", &[][..]) };
        one(canvas, Rect { y, height, ..area }, panel, title, notes);
        y += height;
    }
}

/// Draws a panel in its frame.
pub(super) fn one(canvas: &mut Canvas<'_>, area: Rect, panel: &PanelView, title: &str, notes: &[Cell]) {
    let mut heads = vec![cell(Role::Strong, panel.title.as_str())];
    heads.extend(notes.iter().cloned());
    heads.extend(panel.notes.iter().cloned());
    let chrome =
        ListView { title: title.to_owned(), notes: heads, empty: panel.empty.clone(), ..ListView::default() };
    list::draw(canvas, area, &chrome, Chrome::Frame, false);
    if !panel.empty.is_empty() {
        return;
    }
    let inner = list::inside(area, Chrome::Frame);
    canvas.clear(inner);
    let legend = u16::try_from(panel.legend.len()).unwrap_or(0).min(inner.height.saturating_sub(4));
    let height = inner.height.saturating_sub(legend + 1);
    let width = inner.width.saturating_sub(LABELS + KEYS);
    if height < 2 || width < 4 {
        return;
    }
    let plot = Rect::new(inner.x + LABELS, inner.y, width, height);
    axes(canvas, plot, panel);
    upright(canvas, plot, panel);
    lines(canvas, plot, panel);
    for (y, cells) in (plot.bottom() + 1..inner.bottom()).zip(&panel.legend) {
        canvas.cells(inner.x + 1, y, inner.right(), cells);
    }
}

/// The scale of a plot: where a time and a number are, from 0 to 1.
struct Scale {
    from: i64,
    to: i64,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(panel: &PanelView) -> Self {
        Self { from: panel.from.0, to: panel.to.0, low: panel.low, high: panel.high }
    }

    fn x(&self, at: Stamp) -> Option<f64> {
        let whole = (self.to - self.from).max(1) as f64;
        let x = (at.0 - self.from) as f64 / whole;
        (0.0..=1.0).contains(&x).then_some(x)
    }

    fn y(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }

    /// The cell of a time, from the left edge.
    fn column(&self, at: Stamp, width: u16) -> Option<u16> {
        Some((self.x(at)? * f64::from(width.saturating_sub(1))).round() as u16)
    }

    /// The cell of a number, from the upper edge.
    fn row(&self, value: f64, height: u16) -> u16 {
        ((1.0 - self.y(value)) * f64::from(height.saturating_sub(1))).round() as u16
    }
}

/// Draws the labels of both axes, and the line of the horizontal one.
fn axes(canvas: &mut Canvas<'_>, plot: Rect, panel: &PanelView) {
    let scale = Scale::of(panel);
    let left = plot.x - LABELS;
    for (value, words) in &panel.ticks {
        let y = plot.y + scale.row(*value, plot.height);
        let wide = u16::try_from(text::width(words)).unwrap_or(LABELS).min(LABELS - 1);
        canvas.put(left + LABELS - 1 - wide, y, LABELS - 1, Role::Dim, words);
    }
    let y = plot.bottom();
    canvas.put(plot.x, y, plot.width, Role::Border, &"─".repeat(usize::from(plot.width)));
    for (at, words) in &panel.times {
        let Some(column) = scale.column(*at, plot.width) else { continue };
        let wide = u16::try_from(text::width(words)).unwrap_or(5);
        // the label stands with its middle below its time, and within the axis
        let most = plot.width.saturating_sub(wide);
        canvas.put(plot.x + column.saturating_sub(wide / 2).min(most), y, wide, Role::LogTime, words);
    }
}

/// Draws the marks and the crosshair, behind the lines.
fn upright(canvas: &mut Canvas<'_>, plot: Rect, panel: &PanelView) {
    let scale = Scale::of(panel);
    for mark in &panel.marks {
        let Some(column) = scale.column(mark.at, plot.width) else { continue };
        let (x, role) = (plot.x + column, mark_role(mark.kind));
        canvas.put(x, plot.y, 1, role, mark.kind.letter());
        for y in plot.y + 1..plot.bottom() {
            canvas.put(x, y, 1, Role::Dim, "·");
        }
    }
    if let Some(column) = panel.cross.and_then(|at| scale.column(at, plot.width)) {
        for y in plot.y..plot.bottom() {
            canvas.put(plot.x + column, y, 1, Role::Strong, "│");
        }
    }
}

/// Draws the lines: bounds first, and the first line last, so that it is on top.
fn lines(canvas: &mut Canvas<'_>, plot: Rect, panel: &PanelView) {
    let scale = Scale::of(panel);
    let drawn = || panel.series.iter().filter(|one| !one.is_beyond);
    let ordered: Vec<&SeriesView> =
        drawn().filter(|one| one.is_bound).chain(drawn().filter(|one| !one.is_bound).rev()).collect();
    if canvas.ascii {
        for one in &ordered {
            characters(canvas, plot, &scale, one);
        }
    } else {
        let colours: Vec<Color> = ordered.iter().map(|one| canvas.colour(one.role)).collect();
        // the grid of dots has its own size, so points are given from 0 to 1
        canvas.dots(plot, |context| {
            for (one, colour) in ordered.iter().zip(&colours) {
                dots(context, &scale, one, *colour, plot);
            }
        });
    }
    for one in ordered {
        let last = one.runs().last().and_then(|run| run.last().copied());
        if let Some((_, value)) = last.filter(|(at, _)| scale.x(*at).is_some()) {
            let y = plot.y + scale.row(value, plot.height);
            canvas.put(plot.right() + 1, y, 1, one.role, one.glyph);
        }
    }
}

/// Draws a line with dots: neighbouring points are joined, and a gap stays a gap.
fn dots(context: &mut Context<'_>, scale: &Scale, one: &SeriesView, color: Color, plot: Rect) {
    for run in one.runs() {
        let points: Vec<(f64, f64)> =
            run.iter().filter_map(|(at, value)| Some((scale.x(*at)?, scale.y(*value)))).collect();
        if one.is_bound {
            // a broken line, so that it differs without colour
            let dots = usize::from(plot.width) * 2;
            let coords = broken(&points, dots);
            context.draw(&Points { coords: &coords, color });
            continue;
        }
        context.draw(&Points { coords: &points, color });
        for pair in points.windows(2) {
            if let [(x1, y1), (x2, y2)] = pair {
                context.draw(&Line { x1: *x1, y1: *y1, x2: *x2, y2: *y2, color });
            }
        }
    }
}

/// Returns some of the dots of a line: one of [`BROKEN`].
fn broken(points: &[(f64, f64)], dots: usize) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    for column in (0..dots).step_by(BROKEN) {
        let x = column as f64 / (dots.saturating_sub(1)).max(1) as f64;
        // the number of the nearest point before, because a bound holds until it changes
        let half = 0.5 / dots.max(1) as f64;
        let at = points.iter().rev().find(|(at, _)| *at <= x + half);
        let is_within = points.last().is_some_and(|(last, _)| x <= last + half);
        if let Some((_, y)) = at.filter(|_| is_within) {
            found.push((x, *y));
        }
    }
    found
}

/// Draws a line with its character, one in each cell that has a point.
fn characters(canvas: &mut Canvas<'_>, plot: Rect, scale: &Scale, one: &SeriesView) {
    for (at, value) in one.runs().into_iter().flatten() {
        let Some(column) = scale.column(at, plot.width) else { continue };
        canvas.put(plot.x + column, plot.y + scale.row(value, plot.height), 1, one.role, one.glyph);
    }
}

/// The way lines are drawn.
pub(super) fn marker(is_block: bool) -> Marker {
    if is_block { Marker::HalfBlock } else { Marker::Braille }
}
