//! Mouse events, and what the frame has at each cell.

use super::key::Key;
use super::list::ListId;

/// The kind of a mouse event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gesture {
    /// The left button went down.
    Click,
    WheelUp,
    WheelDown,
}

/// A mouse event and its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    pub gesture: Gesture,
    pub x: u16,
    pub y: u16,
}

/// What a cell belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The list as a whole.
    List(ListId),
    /// A row of the list, by its index among all rows.
    Row(ListId, usize),
    /// A hint in the bar at the bottom.
    Key(Key),
    /// The line of the other clusters. It opens their list, whether or not a key does so here.
    Clusters,
}

/// The areas of a frame, each with its first cell and its size; if areas overlap, the last one counts.
pub type Spots = Vec<((u16, u16), (u16, u16), Spot)>;

/// What is at a cell.
pub fn at(spots: &Spots, x: u16, y: u16) -> Option<Spot> {
    let inside = |((left, top), (width, height), _): &&((u16, u16), (u16, u16), Spot)| {
        (*left..left.saturating_add(*width)).contains(&x) && (*top..top.saturating_add(*height)).contains(&y)
    };
    spots.iter().rev().find(inside).map(|(_, _, spot)| *spot)
}
