//! The series that one target exported at its last scrape. A series that a scrape no longer finds becomes stale, as in
//! Prometheus.

use std::collections::HashMap;
use std::sync::Arc;

use super::tsdb::{Labels, NAME, Open, Tsdb};

/// Texts of labels, each stored once.
#[derive(Debug, Default)]
pub(super) struct Words(HashMap<Box<str>, Arc<str>>);

impl Words {
    pub(super) fn of(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.0.get(text) {
            return word.clone();
        }
        let word: Arc<str> = text.into();
        self.0.insert(text.into(), word.clone());
        word
    }

    /// Drops texts that no series uses.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|_, word| Arc::strong_count(word) > 1);
    }
}

/// The open series of a target.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rows: Vec<(u64, Open, bool)>,
    /// The expected position of the next row, because targets export in the same order every time.
    next: usize,
}

impl Sheet {
    /// Ends a scrape: series that were not in it become stale.
    pub(super) fn finish(&mut self, db: &mut Tsdb, at: i64) {
        self.next = 0;
        self.rows.retain_mut(|(_, open, seen)| {
            if !*seen {
                db.close(*open, at);
            }
            std::mem::take(seen)
        });
    }

    /// The target is gone, so all of its series become stale.
    pub(super) fn close(&mut self, db: &mut Tsdb, at: i64) {
        for (_, open, _) in self.rows.drain(..) {
            db.close(open, at);
        }
    }
}

/// One scrape of one target.
pub(super) struct Desk<'a> {
    pub db: &'a mut Tsdb,
    pub words: &'a mut Words,
    /// Milliseconds.
    pub at: i64,
}

/// The labels that all series of a target have.
pub(super) type Base<'a> = [(&'static str, &'a Arc<str>)];

impl Desk<'_> {
    /// One sample of a target.
    pub(super) fn put(
        &mut self,
        sheet: &mut Sheet,
        base: &Base<'_>,
        name: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let key = key(name, labels);
        let place = match sheet.rows.get(sheet.next) {
            Some((held, ..)) if *held == key => Some(sheet.next),
            _ => sheet.rows.iter().position(|(held, ..)| *held == key),
        };
        if let Some(place) = place
            && let Some((_, open, seen)) = sheet.rows.get_mut(place)
            && self.db.push(*open, self.at, value)
        {
            *seen = true;
            sheet.next = place + 1;
            return;
        }
        let mut all = Labels::new();
        all.insert(self.words.of(NAME), self.words.of(name));
        for (name, value) in base {
            all.insert(self.words.of(name), (*value).clone());
        }
        for (name, value) in labels {
            all.insert(self.words.of(name), self.words.of(value));
        }
        let open = self.db.open(all);
        self.db.push(open, self.at, value);
        if let Some(row) = place.and_then(|place| sheet.rows.get_mut(place)) {
            *row = (key, open, true);
            return;
        }
        sheet.next = sheet.next.min(sheet.rows.len());
        sheet.rows.insert(sheet.next, (key, open, true));
        sheet.next += 1;
    }
}

/// Identifies a series within its target (FNV-1a).
fn key(name: &str, labels: &[(&'static str, &str)]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |text: &str| {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    take(name);
    for (name, value) in labels {
        take(name);
        take(value);
    }
    hash
}
