//! When the node is looked at, and what follows from what is seen: go on, wait, or stop the drain.

use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use serde_json::Value;

use super::super::super::settle::get;
use super::super::Place;
use super::super::watch::{News, Refused, Watch};
use super::sight::{DENIALS, Verdict};
use super::{At, Item, Work};
use crate::clock::Clock;
use crate::wire::error::ApiError;

impl Work<'_, '_> {
    /// When the node is to be looked at again.
    pub(super) fn look_due(&mut self, now: Instant) -> Option<Instant> {
        let sight = self.sight.as_ref()?;
        let may_send = |item: &Item| match item.at {
            At::Todo => true,
            At::Later(at) => at <= now,
            _ => false,
        };
        let open = || self.items.iter().filter(|i| may_send(i));
        let came = open().filter_map(|i| i.came).max();
        let is_over = self.items.iter().all(|i| i.at == At::Done);
        self.emptied = is_over.then(|| self.emptied.unwrap_or(now));
        sight.due(now, open().next().is_some() && !self.board.control.is_paused(), came.max(self.emptied))
    }

    pub(super) fn look(&mut self, now: Instant) -> BoxFuture<'static, Result<Option<Bytes>, ApiError>> {
        if let Some(sight) = &mut self.sight {
            sight.begin(now);
        }
        let node = match &self.place {
            Place::Node(name) => name.clone(),
            Place::Namespace(..) => Name::default(),
        };
        let (reader, on) =
            (self.reader.clone(), ObjectRef::new(Kind::Node, &Name::default(), &node, &Uid::default()));
        Box::pin(async move { get(&reader, &on).await })
    }

    pub(super) fn looked(&mut self, looked: Result<Option<Bytes>, ApiError>) {
        let Some(sight) = &mut self.sight else { return };
        let verdict = sight.see(looked, Clock::instant(), self.board.exec.clock.now());
        self.judged(verdict);
    }

    /// What the node's watch has to say by now, before anything is sent.
    pub(super) fn catch_up(&mut self, watch: Option<&mut Watch<Value>>) {
        let Some(watch) = watch else { return };
        while let Some(news) = watch.next().now_or_never() {
            self.heard(news);
        }
    }

    pub(super) fn heard(&mut self, news: News<Value>) {
        let Some(sight) = &mut self.sight else { return };
        // what looks have found out meanwhile stays as it is
        let lost = matches!(news, News::Trouble { .. });
        let verdict = sight.hear(news, Clock::instant(), self.board.exec.clock.now());
        if !lost {
            self.judged(verdict);
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        if self.board.halt.is_cancelled() {
            // one reason is enough
            return;
        }
        match verdict {
            // nothing of it is left that could fail to end
            Verdict::NotReady(_) if self.emptied.is_some() => {}
            Verdict::NotReady(why) => {
                self.ending.not_ready = Some(self.place.to_string());
                self.undermined(why);
            }
            Verdict::GoesOn if self.unseen => {
                self.unseen = false;
                self.board.with(|told| told.troubles.remove(&self.place));
            }
            Verdict::GoesOn => {}
            Verdict::Unknown(why) => {
                self.unseen = true;
                self.board.with(|told| told.troubles.insert(self.place.clone(), why));
            }
            Verdict::Uncordoned(why) => {
                self.ending.uncordoned = true;
                self.undermined(why);
            }
            Verdict::Over(why) => self.undermined(why),
        }
    }

    /// Rights or credentials that end: of single pods nothing else says so, and they would be waited for for ever.
    pub(super) fn not_followed(&mut self, why: &str, refused: Refused) {
        self.denials = match refused {
            Refused::No => 0,
            Refused::Login => self.denials + 1,
            Refused::ForGood => DENIALS,
        };
        let told_elsewhere = refused == Refused::ForGood && !self.listed;
        if self.sight.is_some() || self.denials != DENIALS || told_elsewhere {
            return;
        }
        let why = format!("its pods cannot be looked at any more: {why}");
        if self.items.iter().any(Item::is_under_way) {
            // it was sent, and nobody sees what came of it
            self.ending.unknown.push((why, self.place.to_string()));
            self.board.halt.cancel();
        } else {
            self.undermined(why);
        }
    }

    /// Nothing more is sent, at no node of this drain.
    pub(super) fn undermined(&mut self, why: String) {
        self.ending.failed.push((why, self.place.to_string()));
        self.board.halt.cancel();
    }

    /// All pods are gone, and the node was looked at since.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.listed || self.items.iter().any(|i| i.at != At::Done) {
            return false;
        }
        let (Some(sight), Some(emptied)) = (&self.sight, self.emptied) else { return self.sight.is_none() };
        if let Some(why) = sight.failed_since(emptied) {
            let why = format!("not known whether it is still cordoned: {why}");
            self.ending.unseen.push((why, self.place.to_string()));
            return true;
        }
        sight.is_since(emptied)
    }
}
