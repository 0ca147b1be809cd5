//! What the mouse did, and where the frame has what it can be done to.

use super::key::Key;
use super::list::ListId;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gesture {
    /// The left button went down.
    Click,
    WheelUp,
    WheelDown,
}

/// A gesture, and the cell that it was done at.
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
    /// A row of it, by its place among all rows.
    Row(ListId, usize),
    /// A hint of the bar at the bottom.
    Key(Key),
}

/// The spots of a frame, each with its first cell and its size; of those that overlap the last one counts.
pub type Spots = Vec<((u16, u16), (u16, u16), Spot)>;

/// What is at a cell.
pub fn at(spots: &Spots, x: u16, y: u16) -> Option<Spot> {
    let inside = |((left, top), (width, height), _): &&((u16, u16), (u16, u16), Spot)| {
        (*left..left.saturating_add(*width)).contains(&x) && (*top..top.saturating_add(*height)).contains(&y)
    };
    spots.iter().rev().find(inside).map(|(_, _, spot)| *spot)
}
