//! Eviction: a deletion that checks the disruption budgets first. It has the real server's order of checks, its answers
//! and its quirks (a failed precondition has already debited the budget).

use std::sync::Arc;

use serde_json::{Value, json};

use super::change::deletion;
use super::{Answer, Api, Call, patch, reply};
use crate::resources::Res;
use crate::selector::Labels;
use crate::status::Status;
use crate::store::{Delete, Object, Write, condition};

/// With more pods than this in `disruptedPods`, the controller is considered dead.
const MAX_DISRUPTED: usize = 2000;

fn refused(cause: &str, retry_after: Option<u32>) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if let (Some(seconds), Some(map)) = (retry_after, details.as_object_mut()) {
        map.insert("retryAfterSeconds".into(), json!(seconds));
    }
    let mut status = Status::new(429, "TooManyRequests", message).details(details);
    status.retry_after = retry_after;
    status
}

/// True if the eviction needs no budget, because it disrupts nothing.
fn is_free(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Pending" | "Succeeded" | "Failed") || pod.is_terminating()
}

/// An unready pod can be evicted without a debit if its budget's policy allows it.
fn may_go_unready(pod: &Object, budget: &Object) -> bool {
    if pod.condition("Ready") == Some("True") {
        return false;
    }
    if budget.text("/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" {
        return true;
    }
    let number = |pointer: &str| budget.int(pointer).unwrap_or_default();
    let desired = number("/status/desiredHealthy");
    number("/status/currentHealthy") >= desired && desired > 0
}

impl Api {
    /// Debits the budget, or returns why it does not allow this.
    fn debit(&self, budget: &Object, pod: &Object, dry_run: bool) -> Result<(), Status> {
        let name = budget.name();
        let now = self.clock.now();
        let how = Write::by("kube-apiserver").status().dry_run(dry_run);
        let debited = self.store.write(Res::Pdbs, budget.namespace(), name, &how, |value| {
            let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
            if number("/status/observedGeneration") < number("/metadata/generation") {
                let cause = format!("The disruption budget {name} is still being processed by the server.");
                return Err(refused(&cause, Some(10)));
            }
            let allowed = number("/status/disruptionsAllowed");
            if allowed < 0 {
                let why = "pdb disruptions allowed is negative";
                return Err(Status::forbidden("poddisruptionbudgets", "policy", name, why));
            }
            let disrupted = value.pointer("/status/disruptedPods").and_then(Value::as_object);
            if disrupted.is_some_and(|map| map.len() > MAX_DISRUPTED) {
                let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
                return Err(Status::forbidden("poddisruptionbudgets", "policy", name, why));
            }
            if allowed == 0 {
                let failed = condition(value, "DisruptionAllowed")
                    .filter(|one| one.get("reason").and_then(Value::as_str) == Some("SyncFailed"))
                    .and_then(|one| one.get("message")?.as_str());
                let (needs, has) = (number("/status/desiredHealthy"), number("/status/currentHealthy"));
                let cause = match failed {
                    Some(why) => {
                        format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}")
                    }
                    None => format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently"),
                };
                return Err(refused(&cause, None));
            }
            let taken = json!({"status": {"disruptionsAllowed": allowed - 1,
                "disruptedPods": {(pod.name()): crate::clock::stamp(now)}}});
            patch::strategic(value, &taken);
            Ok(())
        });
        // The budget was deleted between the read and the debit, so it forbids nothing.
        match debited {
            Err(why) if why.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn budgets(&self, pod: &Object) -> Vec<Arc<Object>> {
        let mut all = self.store.list(Res::Pdbs, Some(pod.namespace()));
        all.retain(|budget| Labels::of(budget.at("/spec/selector")).matches(pod.labels()));
        all
    }

    pub(super) fn evict(&self, call: &Call) -> Answer {
        let eviction = call.json()?;
        let (namespace, name) = (call.namespace(), &call.target.name);
        let own = eviction.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if own != name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let options = eviction.get("deleteOptions").cloned().unwrap_or(Value::Null);
        let mut options = deletion(call, &options);
        // the query's parameters are added to the options of an eviction
        options.dry_run |= call.dry_run();
        let pod = self.find(call, Res::Pods)?;
        if !is_free(&pod) {
            let budgets = self.budgets(&pod);
            match budgets.as_slice() {
                [] => {}
                [budget] if may_go_unready(&pod, budget) => {}
                [budget] => self.debit(budget, &pod, options.dry_run)?,
                _ => {
                    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                               support.";
                    return Err(Status::new(500, "", why));
                }
            }
        }
        self.preconditions(&pod, &options)?;
        if !options.dry_run {
            self.mark(&pod);
            let options = Delete { uid: None, version: None, ..options };
            self.store.delete(Res::Pods, namespace, name, &options)?;
        }
        Ok(reply::json(
            201,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "code": 201}),
        ))
    }

    fn preconditions(&self, pod: &Object, options: &Delete) -> Result<(), Status> {
        let checked = Delete { dry_run: true, ..options.clone() };
        self.store.delete(Res::Pods, pod.namespace(), pod.name(), &checked).map(|_| ())
    }

    /// The condition that tells a pod's owner why the pod was deleted.
    fn mark(&self, pod: &Object) {
        let now = self.clock.stamp();
        let marked = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting", "lastTransitionTime": now}]}});
        let how = Write::by("kube-apiserver").status().if_uid(Some(pod.uid()));
        // A pod that is already gone needs no condition.
        drop(self.store.write(Res::Pods, pod.namespace(), pod.name(), &how, |value| {
            patch::strategic(value, &marked);
            Ok(())
        }));
    }
}
