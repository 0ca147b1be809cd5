//! Keeps rows in their places for a while. Numbers change with every poll and with every pod of a rollout, and rows
//! that change places every second cannot be read. A row whose severity changes moves immediately.

use std::collections::HashMap;

use pilothouse_core::domain::id::Uid;

use super::Spec;

/// How long rows keep their places.
pub const HOLD_MS: u64 = 10_000;
/// The maximum length of a list that is held. Longer lists always follow the order.
const MOST: usize = 500;

/// The places of the rows, and the time at which they were set.
#[derive(Clone, Debug, Default)]
pub struct Held {
    at_ms: u64,
    spec: Spec,
    /// The place of each row, and its severity.
    rows: HashMap<Uid, (usize, u8)>,
}

impl Held {
    /// Returns the rows in the order of the screen. `sorted` is the order of the list. `row` returns the identity and
    /// severity of a row.
    pub fn place(
        &mut self,
        sorted: &[u32],
        spec: &Spec,
        now_ms: u64,
        row: impl Fn(u32) -> Option<(Uid, u8)>,
    ) -> Vec<u32> {
        if sorted.len() > MOST {
            *self = Self::default();
            return sorted.to_vec();
        }
        let rows: Vec<(u32, Option<(Uid, u8)>)> = sorted.iter().map(|id| (*id, row(*id))).collect();
        let known = |(uid, _): &(Uid, u8)| self.rows.get(uid).copied();
        let moved = rows.iter().filter_map(|(_, r)| r.as_ref()).any(|r| known(r).is_some_and(|k| k.1 != r.1));
        if self.rows.is_empty() || self.spec != *spec || moved || now_ms >= self.at_ms + HOLD_MS {
            self.at_ms = now_ms;
            self.spec = spec.clone();
            let places = rows.into_iter().enumerate();
            self.rows = places.filter_map(|(at, (_, r))| r.map(|(uid, bad)| (uid, (at, bad)))).collect();
            return sorted.to_vec();
        }
        // a new row is placed after the row that precedes it in the order
        let mut last = 0;
        let mut placed: Vec<(usize, u32)> = Vec::with_capacity(rows.len());
        for (id, row) in &rows {
            last = row.as_ref().and_then(known).map_or(last, |(at, _)| at + 1);
            placed.push((last, *id));
        }
        placed.sort_by_key(|(at, _)| *at);
        placed.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places rows by their numbers. The first `bad` rows are severe.
    fn show(held: &mut Held, sorted: &[u32], bad: &[u32], now_ms: u64) -> Vec<u32> {
        let row = |id: u32| Some((Uid::Uuid(u128::from(id)), u8::from(bad.contains(&id))));
        held.place(sorted, &Spec::default(), now_ms, row)
    }

    #[test]
    fn rows_keep_their_places_for_a_while() {
        let mut held = Held::default();
        assert_eq!(show(&mut held, &[1, 2, 3], &[], 0), [1, 2, 3]);
        assert_eq!(show(&mut held, &[3, 1, 2], &[], 1_000), [1, 2, 3], "numbers have moved");
        assert_eq!(show(&mut held, &[3, 2], &[], 2_000), [2, 3], "one is gone");
        assert_eq!(
            show(&mut held, &[3, 9, 2, 1], &[], 3_000),
            [1, 2, 3, 9],
            "one is new, behind its neighbour"
        );
        assert_eq!(show(&mut held, &[9, 3, 2, 1], &[], 3_000), [9, 1, 2, 3], "or before all");
        assert_eq!(show(&mut held, &[3, 2, 1], &[], HOLD_MS), [3, 2, 1], "the order of then");
    }

    #[test]
    fn what_gets_worse_or_better_takes_its_place_at_once() {
        let mut held = Held::default();
        show(&mut held, &[1, 2, 3], &[], 0);
        assert_eq!(show(&mut held, &[3, 1, 2], &[3], 1_000), [3, 1, 2]);
        assert_eq!(show(&mut held, &[2, 3, 1], &[3], 2_000), [3, 1, 2]);
        assert_eq!(show(&mut held, &[2, 1, 3], &[], 3_000), [2, 1, 3]);
    }

    #[test]
    fn another_order_or_filter_is_followed_at_once() {
        let mut held = Held::default();
        show(&mut held, &[1, 2], &[], 0);
        let row = |id: u32| Some((Uid::Uuid(u128::from(id)), 0));
        let spec = Spec { order: 1, ..Spec::default() };
        assert_eq!(held.place(&[2, 1], &spec, 1, row), [2, 1]);
    }
}
