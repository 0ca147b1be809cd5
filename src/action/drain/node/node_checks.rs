//! Decides when the node is read again, and whether the drain continues, waits or stops according to its state.

use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use serde_json::Value;

use super::super::api::PodQuery;
use super::super::watch::{News, Refused, Watch};
use super::observed_node::{DENIALS, NodeVerdict};
use super::{EvictionState, NodeDrain, PodEviction};
use crate::clock::Clock;
use crate::wire::error::ApiError;

impl NodeDrain<'_, '_> {
    /// Returns the time at which the node must be read again.
    pub(super) fn node_check_due(&mut self, now: Instant) -> Option<Instant> {
        let observed = self.observed.as_ref()?;
        let may_send = |item: &PodEviction| match item.state {
            EvictionState::Pending => true,
            EvictionState::RetryAt(at) => at <= now,
            _ => false,
        };
        let open = || self.evictions.iter().filter(|i| may_send(i));
        let came = open().filter_map(|i| i.came).max();
        let is_over = self.evictions.iter().all(|i| i.state == EvictionState::Done);
        self.emptied = is_over.then(|| self.emptied.unwrap_or(now));
        observed.due(now, open().next().is_some() && !self.run.control.is_paused(), came.max(self.emptied))
    }

    pub(super) fn read_node(&mut self, now: Instant) -> BoxFuture<'static, Result<Option<Bytes>, ApiError>> {
        if let Some(observed) = &mut self.observed {
            observed.begin(now);
        }
        let node = match &self.query {
            PodQuery::Node(name) => name.clone(),
            PodQuery::Namespace(..) => Name::default(),
        };
        self.api.get(ObjectRef::new(self.api.cluster(), Kind::Node, &Name::default(), &node, &Uid::default()))
    }

    pub(super) fn node_read(&mut self, read: Result<Option<Bytes>, ApiError>) {
        let Some(observed) = &mut self.observed else { return };
        let verdict = observed.see(read, Clock::instant(), self.run.session.clock.now());
        self.follow(verdict);
    }

    /// Handles the pending events of the node's watch before a request is sent.
    pub(super) fn catch_up(&mut self, watch: Option<&mut Watch<Value>>) {
        let Some(watch) = watch else { return };
        while let Some(news) = watch.next().now_or_never() {
            self.node_news(news);
        }
    }

    pub(super) fn node_news(&mut self, news: News<Value>) {
        let Some(observed) = &mut self.observed else { return };
        // the state from reads in the meantime is kept
        let lost = matches!(news, News::Trouble { .. });
        let verdict = observed.hear(news, Clock::instant(), self.run.session.clock.now());
        if !lost {
            self.follow(verdict);
        }
    }

    fn follow(&mut self, verdict: NodeVerdict) {
        if self.run.halt.is_cancelled() {
            // one reason is sufficient
            return;
        }
        match verdict {
            // no pod is left that needs the kubelet to terminate
            NodeVerdict::NotReady(_) if self.emptied.is_some() => {}
            NodeVerdict::NotReady(why) => {
                self.failures.not_ready = Some(self.query.to_string());
                self.undermined(why);
            }
            NodeVerdict::GoesOn if self.unread => {
                self.unread = false;
                self.run.with(|progress| progress.troubles.remove(&self.query));
            }
            NodeVerdict::GoesOn => {}
            NodeVerdict::Unknown(why) => {
                self.unread = true;
                self.run.with(|progress| progress.troubles.insert(self.query.clone(), why));
            }
            NodeVerdict::Uncordoned(why) => {
                self.failures.uncordoned = true;
                self.undermined(why);
            }
            NodeVerdict::Over(why) => self.undermined(why),
        }
    }

    /// Records that the pods cannot be followed. If a permission or the credentials were lost, nothing else reports
    /// this for the eviction of single pods, and the drain would wait forever.
    pub(super) fn not_followed(&mut self, why: &str, refused: Refused) {
        self.denials = match refused {
            Refused::No => 0,
            Refused::Login => self.denials + 1,
            Refused::ForGood => DENIALS,
        };
        let is_reported = refused == Refused::ForGood && !self.listed;
        if self.observed.is_some() || self.denials != DENIALS || is_reported {
            return;
        }
        let why = format!("its pods cannot be read any more: {why}");
        if self.evictions.iter().any(PodEviction::is_under_way) {
            // the eviction was sent, but its effect cannot be read any more
            self.failures.unknown.push((why, self.query.to_string()));
            self.run.halt.cancel();
        } else {
            self.undermined(why);
        }
    }

    /// Stops the drain on all nodes.
    pub(super) fn undermined(&mut self, why: String) {
        self.failures.failed.push((why, self.query.to_string()));
        self.run.halt.cancel();
    }

    /// Whether all pods are gone and the node was read afterwards.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.listed || self.evictions.iter().any(|i| i.state != EvictionState::Done) {
            return false;
        }
        let (Some(observed), Some(emptied)) = (&self.observed, self.emptied) else {
            return self.observed.is_none();
        };
        if let Some(why) = observed.failed_since(emptied) {
            let why = format!("not known whether it is still cordoned: {why}");
            self.failures.unread.push((why, self.query.to_string()));
            return true;
        }
        observed.is_since(emptied)
    }
}
