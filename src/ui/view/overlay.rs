//! Draws what can be chosen while the user types, above the input line: the hits of the palette, what completes a
//! filter, and containers.

use pilothouse_core::domain::id::Name;
use pilothouse_core::logs::filter::Candidate;
use ratatui::layout::Rect;

use super::super::app::Hit;
use super::super::cell::{ListView, RowView, cell, plain};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::canvas::Canvas;
use super::list::{self, Chrome};

const COLUMNS: [Column; 3] =
    [Column::left("", 7, 8, 0), Column::name("", 14, 60), Column::left("", 10, 0, 3)];

/// Draws rows to choose from, above the last line of the area.
fn choices(canvas: &mut Canvas<'_>, screen: Rect, view: ListView, at: Option<usize>, width: u16) {
    const MOST: usize = 10;
    // the counts in the lower edge of the log stay visible
    let most = usize::from(screen.height.saturating_sub(8)).min(MOST);
    if most == 0 || view.rows.is_empty() {
        return;
    }
    let height = u16::try_from(view.rows.len().min(most)).unwrap_or(1) + 2;
    let area =
        Rect::new(screen.x, screen.bottom().saturating_sub(height + 3), width.min(screen.width), height);
    canvas.clear(area);
    let top = (at.unwrap_or(0) + 1).saturating_sub(most);
    let total = view.rows.len();
    let rows = view.rows.into_iter().skip(top).take(most).collect();
    let selected = at.map(|at| at - top);
    let view = ListView { rows, selected, focused: true, above: top, total, ..view };
    list::draw(canvas, area, &view, Chrome::Frame, false);
}

/// Draws what can complete the filter of a log.
pub(super) fn candidates(canvas: &mut Canvas<'_>, screen: Rect, found: &[Candidate], at: Option<usize>) {
    const COLUMNS: [Column; 2] = [Column::name("", 14, 44), Column::left("", 10, 0, 3)];
    let row = |candidate: &Candidate| RowView {
        cells: vec![plain(candidate.text.as_str()), cell(Role::Dim, candidate.about)],
        ..RowView::default()
    };
    let view = ListView {
        title: "filter".into(),
        notes: vec![cell(Role::Dim, "text  -text  \"a text\"  /regex/  ~highlight")],
        columns: COLUMNS.to_vec(),
        rows: found.iter().map(row).collect(),
        ..ListView::default()
    };
    choices(canvas, screen, view, at, 76);
}

/// Draws the containers to choose from.
pub(super) fn containers(canvas: &mut Canvas<'_>, screen: Rect, names: &[Name], at: usize) {
    const COLUMNS: [Column; 1] = [Column::name("", 14, 64)];
    let row = |name: &Name| {
        let name = if name.is_empty() { cell(Role::Dim, "all containers") } else { plain(name.as_str()) };
        RowView { cells: vec![name], ..RowView::default() }
    };
    let view = ListView {
        title: "show the lines of".into(),
        columns: COLUMNS.to_vec(),
        rows: names.iter().map(row).collect(),
        ..ListView::default()
    };
    choices(canvas, screen, view, Some(at), 50);
}

/// Draws the hits at the bottom of the area.
pub(super) fn palette(canvas: &mut Canvas<'_>, screen: Rect, hits: &[Hit], at: usize) {
    let most = usize::from(screen.height.saturating_sub(6)).min(14);
    if most == 0 {
        return;
    }
    let shown = hits.len().min(most).max(1);
    let height = u16::try_from(shown).unwrap_or(1) + 2;
    let width = screen.width.min(110);
    let area = Rect::new(screen.x, screen.bottom().saturating_sub(height + 1), width, height);
    canvas.clear(area);
    let top = (at + 1).saturating_sub(most);
    let rows = hits
        .iter()
        .skip(top)
        .take(most)
        .map(|h| RowView {
            cells: vec![
                cell(Role::Dim, h.kind.as_str()),
                plain(h.title.as_str()),
                cell(Role::Dim, h.detail.as_str()),
            ],
            ..RowView::default()
        })
        .collect();
    let view = ListView {
        title: "find or run".into(),
        notes: vec![cell(Role::Dim, "objects by name, ns/name, commands, kinds (pvc, ing, cm)")],
        columns: COLUMNS.to_vec(),
        rows,
        selected: Some(at - top),
        focused: true,
        empty: vec![cell(Role::Dim, "No match.")],
        ..ListView::default()
    };
    list::draw(canvas, area, &view, Chrome::Frame, false);
}
