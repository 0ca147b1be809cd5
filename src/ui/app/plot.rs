//! The plots on the screen: of an object, or of a query. The state is what was asked for and answered, the range, and the
//! crosshair.

use pilothouse_core::domain::id::{ClusterId, ObjectRef};
use pilothouse_core::domain::range::{Ranged, Span};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::plots::{Panel, Subject};

use crate::ui::list::ListId;
use crate::ui::request::Ticket;

/// The ranges, with their names, in seconds.
pub const RANGES: [(&str, u32); 4] = [("15m", 900), ("1h", 3_600), ("6h", 21_600), ("24h", 86_400)];

/// The number of cells for the labels of the vertical axis.
pub const LABELS: u16 = 7;
/// The number of cells at the right edge for the marks of the lines.
pub const KEYS: u16 = 2;
/// The sizes of the main area from which two, and four panels are shown.
const TWO: (u16, u16) = (100, 28);
const FOUR: (u16, u16) = (160, 40);
/// The height of a panel that is worth drawing, with its frame.
const LEAST: u16 = 8;

/// How the panels are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    pub columns: u16,
    pub rows: u16,
    /// The width of a panel, with its frame.
    pub width: u16,
    pub height: u16,
}

impl Grid {
    /// Returns the grid for `count` panels in an area: up to four panels if there is room, two, or one.
    pub fn of(width: u16, height: u16, count: usize) -> Self {
        let (columns, rows) = match count {
            3.. if (width, height) >= FOUR && height >= FOUR.1 => (2, 2),
            2.. if width >= TWO.0 && height >= TWO.1 => (1, 2),
            _ => (1, 1),
        };
        Self { columns, rows, width: width / columns, height: height / rows }
    }

    /// Returns the grid for small panels above each other.
    pub fn column(width: u16, height: u16, count: usize) -> Self {
        let fits = (height / LEAST).max(1);
        let rows = u16::try_from(count).unwrap_or(fits).clamp(1, fits.min(3));
        Self { columns: 1, rows, width, height: height / rows }
    }

    /// Returns the grid with two halves for each panel.
    #[must_use]
    pub fn halved(self) -> Self {
        Self { columns: 2, width: self.width * self.columns / 2, ..self }
    }

    /// Returns the number of panels at the same time.
    pub fn page(&self) -> usize {
        usize::from(self.columns) * usize::from(self.rows)
    }

    /// Returns the number of cells of a plot's horizontal axis.
    pub fn cells(&self) -> u16 {
        self.width.saturating_sub(2 + LABELS + KEYS).max(10)
    }
}

/// What is known of a line.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// It was not asked for yet.
    #[default]
    Nothing,
    Asked(Ticket),
    Ready(Box<Ranged>),
    /// Why it is not known.
    Failed(String),
}

/// What is known of a line, and what of it is asked for again.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    pub answer: Answer,
    /// The request for newer numbers. The older ones stay until it is answered.
    pub again: Option<Ticket>,
}

impl Curve {
    /// Returns the ticket that is not answered yet.
    pub fn open(&self) -> Option<Ticket> {
        match self.answer {
            Answer::Asked(ticket) => Some(ticket),
            _ => self.again,
        }
    }

    /// Takes the answer.
    pub fn take(&mut self, answer: Result<Ranged, String>) {
        self.again = None;
        self.answer = match answer {
            Ok(ranged) => Answer::Ready(Box::new(ranged)),
            Err(why) => Answer::Failed(why),
        };
    }
}

/// The plots of an object, or of a query.
#[derive(Clone, Debug)]
pub struct Plots {
    pub cluster: ClusterId,
    pub subject: Subject,
    /// The index in [`RANGES`].
    pub range: usize,
    /// The panels, with the queries for the span.
    pub panels: Vec<Panel>,
    /// What is known of each line of each panel.
    pub curves: Vec<Vec<Curve>>,
    /// The span that was asked for.
    pub span: Span,
    /// The time of the last requests.
    pub asked_ms: u64,
    /// The first panel on the screen.
    pub first: usize,
    /// The time under the crosshair.
    pub cross: Option<Stamp>,
    /// Whether the time before and after the last rollout is shown side by side.
    pub is_split: bool,
}

impl Plots {
    pub fn new(cluster: ClusterId, subject: Subject) -> Self {
        Self {
            cluster,
            subject,
            range: 0,
            panels: Vec::new(),
            curves: Vec::new(),
            span: Span::default(),
            asked_ms: 0,
            first: 0,
            cross: None,
            is_split: false,
        }
    }

    /// Returns the object, unless the plot is of a query.
    pub fn object(&self) -> Option<&ObjectRef> {
        match &self.subject {
            Subject::Object { object, .. } => Some(object),
            Subject::Query(_) => None,
        }
    }

    /// Returns the name and the length of the range.
    pub fn range(&self) -> (&'static str, u32) {
        RANGES.get(self.range).copied().unwrap_or(RANGES[0])
    }

    /// Replaces the panels, because their queries are for another span. What is known of a line stays.
    pub fn renew(&mut self, panels: Vec<Panel>, span: Span) {
        let count = panels.len();
        self.curves.resize_with(count, Vec::new);
        for (panel, curves) in panels.iter().zip(&mut self.curves) {
            curves.resize_with(panel.lines.len(), Curve::default);
        }
        (self.panels, self.span) = (panels, span);
        self.first = self.first.min(count.saturating_sub(1));
    }

    /// Forgets what is known, and returns the requests that are not answered yet.
    pub fn forget(&mut self) -> Vec<Ticket> {
        let open = self.open();
        self.curves.clear();
        (self.span, self.asked_ms) = (Span::default(), 0);
        open
    }

    /// Returns the requests that are not answered yet.
    pub fn open(&self) -> Vec<Ticket> {
        self.curves.iter().flatten().filter_map(Curve::open).collect()
    }

    /// Returns the curve that waits for the answer to a ticket.
    pub fn curve(&mut self, ticket: Ticket) -> Option<&mut Curve> {
        self.curves.iter_mut().flatten().find(|curve| curve.open() == Some(ticket))
    }
}

/// The plots next to a list that fills the screen: those of the selected object.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    pub plots: Option<Box<Plots>>,
    /// When the object was selected. Nothing is asked for while the selection moves.
    pub since_ms: u64,
    /// The list that has plots next to it. A list has them from the first object with numbers on, so that its columns do
    /// not move with the selection.
    pub of: Option<ListId>,
}

/// The names of metrics, for completion.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The cluster whose names were asked for, and the ticket.
    pub of: Option<(ClusterId, Ticket)>,
    pub names: Option<Vec<String>>,
    /// Why they are not known.
    pub failed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_panels_follows_the_size_of_the_screen() {
        for ((width, height), count, (columns, rows)) in [
            ((80, 21), 5, (1, 1)),
            ((120, 33), 5, (1, 2)),
            ((200, 47), 5, (2, 2)),
            ((200, 47), 2, (1, 2)),
            ((200, 47), 1, (1, 1)),
            ((200, 30), 5, (1, 2)),
        ] {
            let grid = Grid::of(width, height, count);
            assert_eq!((grid.columns, grid.rows), (columns, rows), "{width}x{height}");
        }
        assert_eq!(Grid::of(80, 21, 5).cells(), 69);
    }
}
