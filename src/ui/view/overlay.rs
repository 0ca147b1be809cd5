//! Draws the palette: the hits above the input line.

use ratatui::layout::Rect;

use super::super::app::Hit;
use super::super::cell::{ListView, RowView, cell, plain};
use super::super::theme::Role;
use super::super::widget::columns::Column;
use super::canvas::Canvas;
use super::list::{self, Chrome};

const COLUMNS: [Column; 3] =
    [Column::left("", 7, 8, 0), Column::name("", 14, 60), Column::left("", 10, 0, 3)];

/// Draws the hits at the bottom of the area.
pub fn palette(canvas: &mut Canvas<'_>, screen: Rect, hits: &[Hit], at: usize) {
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
