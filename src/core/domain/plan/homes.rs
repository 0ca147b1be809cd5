//! The cluster of a plan and of the objects in it. All of them are in the cluster of the intent.

use super::{Act, DerivedPlan, Intent, Plan, Step, StepKind};
use crate::domain::id::{ClusterId, ObjectRef};

impl Step {
    fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let holders = match &self.what {
            StepKind::Rollback { to, from } => [Some(&to.holder), Some(&from.holder)],
            _ => [None, None],
        };
        std::iter::once(&self.on).chain(holders.into_iter().flatten())
    }

    fn set_cluster(&mut self, cluster: ClusterId) {
        self.on.cluster = cluster;
        if let StepKind::Rollback { to, from } = &mut self.what {
            (to.holder.cluster, from.holder.cluster) = (cluster, cluster);
        }
    }
}

impl Intent {
    fn derived(&self) -> Option<&DerivedPlan> {
        match &self.act {
            Act::Undo(derived) | Act::Resume(derived) => Some(derived),
            _ => None,
        }
    }

    /// Returns the first object that is in another cluster than this one. Such an intent is refused, because an action
    /// is in one cluster.
    pub fn outside(&self, cluster: ClusterId) -> Option<&ObjectRef> {
        let derived = self.derived().into_iter().flat_map(|derived| &derived.steps);
        let mut all = self.targets.iter().chain(derived.flat_map(Step::objects));
        all.find(|on| on.cluster != cluster)
    }

    /// Moves the intent of another process to this process's number of the same cluster.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.cluster = cluster;
        self.targets.iter_mut().for_each(|on| on.cluster = cluster);
        if let Act::Undo(derived) | Act::Resume(derived) = &mut self.act {
            derived.steps.iter_mut().for_each(|step| step.set_cluster(cluster));
        }
    }
}

impl Plan {
    /// Returns the first object that is in another cluster than this one. Such a plan is not executed.
    pub fn outside(&self, cluster: ClusterId) -> Option<&ObjectRef> {
        let mut steps = self.steps.iter().flat_map(Step::objects);
        self.intent.outside(cluster).or_else(|| steps.find(|on| on.cluster != cluster))
    }

    /// Moves the plan of another process to this process's number of the same cluster.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.intent.set_cluster(cluster);
        self.steps.iter_mut().for_each(|step| step.set_cluster(cluster));
        self.pods.iter_mut().for_each(|fate| fate.pod.cluster = cluster);
    }
}
