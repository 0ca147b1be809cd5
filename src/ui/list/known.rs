//! What a person knows to be selected in a list.

use pilothouse_core::domain::id::Uid;

/// What a person knows to be selected in a list. A key that acts is for this row and for no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The terminal has not shown the list with the focus since one of these: it was opened, it got the focus, its order changed,
    /// a row was marked that was not shown as selected, or its cluster came to the front.
    Undrawn {
        /// Whether a frame with the list was drawn since. The terminal may not have shown it yet.
        drawn: bool,
    },
    /// The terminal has shown the list without rows.
    Nothing,
    /// The terminal has shown this row as selected, or the user chose it by a key or by its name.
    Row {
        uid: Uid,
        /// The time, in milliseconds of the monotonic clock, from which keys act on it. A key that is pressed earlier is for
        /// the row before.
        from: u64,
    },
    /// The terminal last showed this row as selected. Since then the World moved the selection, and the terminal has not shown
    /// the new row.
    Left(Uid),
}

impl Default for Known {
    fn default() -> Self {
        Self::Undrawn { drawn: false }
    }
}

impl Known {
    /// Whether the selected row is the one that a person knows to be selected.
    pub fn is(&self, selected: Option<&Uid>) -> bool {
        matches!((self, selected), (Self::Row { uid, .. }, Some(selected)) if uid == selected)
    }

    /// Whether keys act on the selected row. `now` is in milliseconds of the monotonic clock.
    pub fn acts(&self, selected: Option<&Uid>, now: u64) -> bool {
        self.is(selected) && !matches!(self, Self::Row { from, .. } if now < *from)
    }

    pub fn is_undrawn(&self) -> bool {
        matches!(self, Self::Undrawn { .. })
    }

    /// The user chose a row.
    pub fn chooses(&mut self, uid: Uid) {
        *self = Self::Row { uid, from: 0 };
    }

    /// What was known does not count any more.
    pub fn forgets(&mut self) {
        *self = Self::default();
    }

    /// A frame was drawn with the list. The terminal has not shown it yet.
    pub fn draws(&mut self) {
        if let Self::Undrawn { drawn } = self {
            *drawn = true;
        }
    }

    /// The World moved the selection to another row.
    pub fn leaves(&mut self) {
        if let Self::Row { uid, .. } = self {
            *self = Self::Left(uid.clone());
        }
    }

    /// The terminal has shown a frame with this row as selected; `None`: without rows. If the World moved the selection to it, keys
    /// act on it from this time on.
    pub fn shows(&mut self, row: Option<Uid>, selected: Option<&Uid>, from: u64) {
        // a row that the user chose after that frame was drawn stays known, and the frame can be older than what was forgotten
        if matches!(self, Self::Undrawn { drawn: false }) || self.is(selected) {
            return;
        }
        *self = match (std::mem::take(self), row) {
            (_, None) => Self::Nothing,
            (Self::Left(_), Some(uid)) if selected == Some(&uid) => Self::Row { uid, from },
            (Self::Left(before), Some(_)) => Self::Left(before),
            (_, Some(uid)) => Self::Row { uid, from: 0 },
        };
    }
}
