//! The rate at which pods of bad nodes are evicted, by zone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::doc::after;

/// The nodes of a zone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Zone {
    pub good: usize,
    pub bad: usize,
}

impl Zone {
    /// The interval between two nodes whose pods are evicted; `None`: none.
    pub(super) fn pause(self) -> Option<TimeDelta> {
        let all = self.good + self.bad;
        let partly = self.good > 0 && self.bad > 2 && self.bad * 100 >= all * 55;
        match (partly, all > 50) {
            (false, _) => Some(TimeDelta::seconds(10)),
            (true, true) => Some(TimeDelta::seconds(100)),
            (true, false) => None,
        }
    }
}

/// When the next node of each zone can take its turn.
#[derive(Debug, Default)]
pub(super) struct Zones {
    free: BTreeMap<String, DateTime<Utc>>,
    pub due: Option<DateTime<Utc>>,
}

impl Zones {
    /// Takes a turn, or returns when the next one is; `None`: not before the zone recovers.
    pub(super) fn may(
        &mut self,
        zone: &str,
        count: Zone,
        at: DateTime<Utc>,
    ) -> Result<(), Option<DateTime<Utc>>> {
        let Some(pause) = count.pause() else { return Err(None) };
        match self.free.get(zone) {
            Some(free) if *free > at => Err(Some(*free)),
            _ => {
                self.free.insert(zone.to_owned(), after(at, pause));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_half_down_stops_and_one_wholly_down_goes_on() {
        let pause = |good, bad| Zone { good, bad }.pause().map(|pause| pause.num_seconds());
        assert_eq!(pause(9, 1), Some(10));
        assert_eq!(pause(1, 2), Some(10), "fewer than three are no pattern");
        assert_eq!(pause(2, 3), None);
        assert_eq!(pause(40, 60), Some(100));
        assert_eq!(pause(0, 5), Some(10));
    }
}
