//! What a person says about the time, and the incidents that follow from it and from the findings.

use std::sync::Arc;

use crate::domain::alert::is_silence;
use crate::domain::incident::{Remark, RemarkKind};
use crate::domain::time::Stamp;
use crate::facts::action::ActionView;
use crate::facts::world::{Cluster, Derived};
use crate::policy::incident::Incidents;

/// The number of bookmarks and notes that are kept; the oldest leave first.
const REMARKS: usize = 500;

/// Bookmarks, notes and incidents of one cluster.
#[derive(Default)]
pub(super) struct Remarks {
    list: Vec<Arc<Remark>>,
    incidents: Incidents,
}

impl Remarks {
    /// An action of this cluster was started or went on.
    pub(super) fn action(&mut self, action: &ActionView) {
        // whoever silences an alert, or takes that back, has done nothing about the incident
        let steps = &action.plan.steps;
        if !steps.is_empty() && steps.iter().all(|step| is_silence(&step.on.kind)) {
            return;
        }
        let title = format!("{}{}", action.plan.intent.act.as_str(), target(action));
        let by = if action.foreign { "another console" } else { "this console" };
        self.incidents.action(&action.id, &title.into(), &by.into(), action.started);
    }

    /// Follows the findings and what was said. Returns true if `into` has changed.
    pub(super) fn follow(
        &mut self,
        cluster: &Cluster,
        said: &[Remark],
        into: &mut Derived,
        now: Stamp,
    ) -> bool {
        let mut changed = false;
        for remark in said {
            changed |= self.keep(remark);
            self.incidents.remark(remark, &into.causes, now);
        }
        if changed {
            into.remarks = self.list.iter().cloned().collect();
        }
        let read = cluster.pods.cover.is_read() && cluster.nodes.cover.is_read();
        self.incidents.follow(&into.causes, read, now);
        self.incidents.budgets(&into.slos);
        if let Some(incidents) = self.incidents.take() {
            into.incidents = incidents;
            changed = true;
        }
        changed
    }

    fn keep(&mut self, remark: &Remark) -> bool {
        match remark.kind {
            RemarkKind::Bookmark | RemarkKind::Note(_) => {
                let at = self.list.partition_point(|held| held.at <= remark.at);
                self.list.insert(at, Arc::new(remark.clone()));
                let over = self.list.len().saturating_sub(REMARKS);
                self.list.drain(..over);
                true
            }
            RemarkKind::NoBookmark => {
                let before = self.list.len();
                self.list.retain(|held| held.kind != RemarkKind::Bookmark || held.at != remark.at);
                self.list.len() < before
            }
            _ => false,
        }
    }
}

/// ` n1`, ` 3 objects`, or nothing.
fn target(action: &ActionView) -> String {
    match action.plan.intent.targets.as_slice() {
        [] => String::new(),
        [one] => format!(" {one}"),
        several => format!(" {} objects", several.len()),
    }
}
