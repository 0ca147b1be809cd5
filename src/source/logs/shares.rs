//! A bound that the open clusters share: the memory for log lines, and the streams that are followed. Each open cluster
//! has an equal part of it, so that one that writes a lot takes nothing from the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound for all clusters together.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Bound>);

#[derive(Debug)]
struct Bound {
    total: usize,
    holders: AtomicUsize,
}

/// The part of one cluster. It becomes smaller when another cluster is opened, and larger when one is closed.
#[derive(Debug)]
pub struct Part(Arc<Bound>);

impl Shares {
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Bound { total, holders: AtomicUsize::new(0) }))
    }

    /// Returns the part of another holder. It is given back when it is dropped.
    pub fn part(&self) -> Part {
        self.0.holders.fetch_add(1, Ordering::SeqCst);
        Part(self.0.clone())
    }
}

impl Part {
    /// Returns a part that is shared with nobody.
    pub fn whole(total: usize) -> Self {
        Shares::new(total).part()
    }

    /// Returns the current size of the part. It is never zero, unless the bound is.
    pub fn size(&self) -> usize {
        let holders = self.0.holders.load(Ordering::SeqCst).max(1);
        (self.0.total / holders).max(self.0.total.min(1))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.holders.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_never_more_than_the_whole() {
        let shares = Shares::new(50);
        let first = shares.part();
        assert_eq!(first.size(), 50);
        let others: Vec<Part> = (0..7).map(|_| shares.part()).collect();
        let all = first.size() + others.iter().map(Part::size).sum::<usize>();
        assert!(first.size() == 6 && all <= 50, "{all}");
        drop(others);
        assert_eq!(first.size(), 50, "what was closed is given back");
        assert_eq!(Part::whole(0).size(), 0, "a bound of zero turns it off");
    }
}
