//! Detects changes by other clients while an action runs: the effects of earlier steps were changed, an autoscaler
//! scaled a workload, or pods were created that the user has not confirmed.

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::plan::{Fate, Lacking, Plan, Step, StepKind};
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::adds_out_of_service;
use pilothouse_core::plan::drift::last_writer;
use serde_json::Value;

use super::super::foundations::{self, undone};
use super::super::list_path::ListPath;
use super::super::rights;
use super::{Ended, Executor};
use crate::wire::client::ReadClient;
use crate::wire::pages;

/// The maximum size of a list of the autoscalers of a namespace or the pods of a node.
const LIST_CAP: usize = 64 << 20;
/// The field manager of autoscalers, because the HPA controller is part of it.
const CONTROLLERS: &str = "kube-controller-manager";

impl Executor {
    /// Checks that the effects of earlier steps that step `i` depends on are still in place. Otherwise, returns how
    /// the action ends.
    pub(super) async fn foundations(&self, action: &ActionView, i: usize) -> Result<(), Ended> {
        let plan = &action.plan;
        let states: Vec<StepState> = action.steps.iter().map(|s| s.state).collect();
        for step in foundations::of(plan, &states, i) {
            match self.read(step).await {
                Ok(live) => {
                    if let Some(why) = undone(&step.what, &step.on, live.as_ref()) {
                        let why = self.with_autoscaler(step, why).await;
                        return Err(Ended::NotSent(format!(
                            "not sent: {} was changed meanwhile: {why}",
                            step.on
                        )));
                    }
                }
                Err(e) => {
                    let reader = self.session.reach.reader(step).map_err(Ended::NotSent)?;
                    return Err(match rights::sight_ended(reader, step, &e).await {
                        Some(why) => Ended::Barred(format!("not sent: {why}")),
                        None => Ended::NotSent(format!("not sent: {} cannot be read: {e}", step.on)),
                    });
                }
            }
        }
        Ok(())
    }

    /// Describes how evictions ended. Also returns the permission or credential that was lost, if this is why pods
    /// are left.
    pub(super) async fn after_evictions(
        &self,
        action: &mut ActionView,
        outcome: Outcome,
        why: String,
    ) -> String {
        if !matches!(outcome, Outcome::Failed | Outcome::Unknown) || self.session.stop.is_cancelled() {
            return why;
        }
        // pods are skipped if they were left because the node could no longer be read
        let steps = action.plan.steps.iter().zip(&action.steps);
        let left = steps.filter(|(step, view)| step.is_eviction() && view.state != StepState::Verified);
        let left = left.map(|(step, _)| step);
        match rights::lost(&self.session.reach.own.reader, left).await {
            Some(lost) => {
                action.unfinished = true;
                format!("{why}; {lost}")
            }
            None => why,
        }
    }

    /// Adds the autoscaler to `why` if one made the change.
    pub(super) async fn with_autoscaler(&self, step: &Step, why: String) -> String {
        if !matches!(step.what, StepKind::Scale { .. }) {
            return why;
        }
        match self.autoscaler(step).await {
            Some(found) => format!("{why}: {found} scales it, change its bounds instead"),
            None => why,
        }
    }

    /// Returns the autoscaler, such as `HPA web (2-5)`, if it set the current number of replicas.
    async fn autoscaler(&self, step: &Step) -> Option<String> {
        let reader = self.session.reach.reader(step).ok()?;
        let live = self.read(step).await.ok()??;
        let (manager, _) = last_writer(&live.value, "/spec/replicas")?;
        if manager != CONTROLLERS {
            return None;
        }
        let path = ListPath::of(&Kind::HorizontalPodAutoscaler, &step.on.namespace).to_string();
        // without permission to list autoscalers, the name of the controller is returned
        let found = pages::values(reader, &path, LIST_CAP).await.ok()?;
        let text = |hpa: &Value, pointer: &str| {
            hpa.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let hpa = found.iter().find(|hpa| {
            Kind::from_word(&text(hpa, "/spec/scaleTargetRef/kind")).as_ref() == Some(&step.on.kind)
                && text(hpa, "/spec/scaleTargetRef/name") == *step.on.name
        })?;
        let number = |pointer: &str| hpa.pointer(pointer).and_then(Value::as_i64);
        let (min, max) = (number("/spec/minReplicas").unwrap_or(1), number("/spec/maxReplicas").unwrap_or(0));
        let owners = hpa.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let keda = owners.into_iter().flatten().find(|o| text(o, "/kind") == "ScaledObject");
        let of = keda.map_or_else(String::new, |o| format!(" of ScaledObject {}", text(o, "/name")));
        Some(format!("HPA {}{of} ({min}-{max})", text(hpa, "/metadata/name")))
    }

    /// Returns the pods in protected namespaces that were created on a node after its plan was confirmed. The
    /// out-of-service taint would delete them by force.
    pub(super) async fn newly_protected(
        &self,
        plan: &Plan,
        step: &Step,
        reader: &ReadClient,
    ) -> Option<String> {
        let StepKind::Change(change) = &step.what else { return None };
        // a user who confirmed a plan without known pods has confirmed any pods
        let unknown = plan.unread.iter().any(|u| u.what == Lacking::Pods);
        if !adds_out_of_service(change) || unknown || self.session.guards.protected_namespaces.is_empty() {
            return None;
        }
        let pods = ListPath::pods_on(&step.on.name).to_string();
        let pods = match pages::values(reader, &pods, LIST_CAP).await {
            Ok(pods) => pods,
            Err(e) => return Some(format!("which pods it would delete cannot be seen: {e}")),
        };
        let text = |pod: &Value, pointer: &str| {
            pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let new = pods.iter().find(|pod| {
            let namespace = text(pod, "/metadata/namespace");
            let confirmed = plan.pods.iter().any(|p| p.fate == Fate::Evict && *p.pod.namespace == namespace);
            text(pod, "/spec/nodeName") == *step.on.name
                && !confirmed
                && self.session.guards.protects_namespace(&namespace)
        })?;
        let (namespace, name) = (text(new, "/metadata/namespace"), text(new, "/metadata/name"));
        Some(format!(
            "{namespace}/{name} was scheduled here meanwhile, and its namespace is protected: confirm again"
        ))
    }
}
