//! Planning: an intent and the shared state give the plan with its blast radius; what the server adds (access, dry
//! run) is settled into it. Pure: the same inputs give the same plan.

use crate::domain::autoscaler::Hpa;
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::settings::GuardSettings;
use crate::domain::time::Stamp;
use crate::domain::workload::{Strategy, Workload};
use crate::model::plan::{
    Act, Confirm, DrainOptions, Evidence, Fate, Intent, Plan, Refusal, ScaleBy, Step, StepKind,
};
use crate::model::world::Cluster;
use crate::policy::drain;
use crate::policy::rollout::{self, RolloutPhase};

/// What the planner may assume about the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The live console: completeness is what the tables say.
    Whole,
    /// A headless command that fetched just what it needs: the pods of the named nodes and nothing elsewhere.
    Targets,
}

/// Makes the plan. A target that is not in the state is a refusal, never a guess.
pub fn plan(cluster: &Cluster, intent: &Intent, guards: &GuardSettings, view: View, now: Stamp) -> Plan {
    let mut plan = Plan {
        intent: intent.clone(),
        made_at: now,
        steps: Vec::new(),
        pods: Vec::new(),
        pdbs: Vec::new(),
        services: Vec::new(),
        unplaced: Vec::new(),
        warnings: Vec::new(),
        refusals: Vec::new(),
        confirm: Confirm::Yes,
        answer: String::new(),
        kubectl: String::new(),
        undo: String::new(),
    };
    if intent.targets.is_empty() {
        plan.refusals.push(Refusal::new("precondition", "nothing is selected"));
    }
    match &intent.act {
        Act::Cordon => cordon(cluster, &mut plan, true, view),
        Act::Uncordon => cordon(cluster, &mut plan, false, view),
        Act::Restart => restart(cluster, &mut plan),
        Act::Scale(by) => scale(cluster, &mut plan, by),
        Act::Drain(options) => drain_nodes(cluster, &mut plan, options, view, now),
    }
    guard(cluster, &mut plan, guards);
    plan
}

/// Read-only, protection, several objects, and what has to be typed.
fn guard(cluster: &Cluster, plan: &mut Plan, guards: &GuardSettings) {
    if cluster.info.read_only || guards.read_only {
        plan.refusals
            .push(Refusal::new("read-only", "this console is read-only: started so, or the config says so"));
    }
    if plan.intent.targets.len() > 1 {
        plan.confirm = plan.confirm.max(Confirm::Count);
    }
    if is_protected(plan, guards) {
        plan.confirm = plan.confirm.raised();
        // the number of one object is no question
        if plan.confirm == Confirm::Count && plan.intent.targets.len() == 1 {
            plan.confirm = Confirm::Context;
        }
    }
    plan.answer = match plan.confirm {
        Confirm::Yes => "y".into(),
        Confirm::Suffix => suffix(cluster, plan.intent.targets.first()),
        Confirm::Count => plan.intent.targets.len().to_string(),
        Confirm::Context => plan.intent.context.to_string(),
    };
}

/// True if the context, a target's namespace or that of a pod that would go is protected.
pub fn is_protected(plan: &Plan, guards: &GuardSettings) -> bool {
    let going = plan.pods.iter().filter(|p| matches!(p.fate, Fate::Evict | Fate::Wait)).map(|p| &p.pod);
    guards.protects_context(&plan.intent.context)
        || plan.intent.targets.iter().chain(going).any(|o| guards.protects_namespace(&o.namespace))
}

/// The last characters of the name: four or more, enough to tell it from the others of its kind.
fn suffix(cluster: &Cluster, target: Option<&ObjectRef>) -> String {
    let Some(target) = target else { return String::new() };
    let others: Vec<Name> = match &target.kind {
        Kind::Node => cluster.nodes.iter().map(|n| n.name.clone()).collect(),
        kind => cluster
            .workloads(kind)
            .map(|t| t.iter().filter(|w| w.namespace == target.namespace).map(|w| w.name.clone()).collect())
            .unwrap_or_default(),
    };
    let chars: Vec<char> = target.name.chars().collect();
    let mut length = 4.min(chars.len());
    loop {
        let tail: String = chars.iter().skip(chars.len() - length).collect();
        let unique = others.iter().filter(|n| n.ends_with(&tail)).count() <= 1;
        if unique || length == chars.len() {
            return tail;
        }
        length += 1;
    }
}

fn kubectl(plan: &Plan, words: &str) -> String {
    format!("kubectl --context {} {words}", quote(&plan.intent.context))
}

/// For a shell: quoted unless it is plain.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// At most this many nodes are cordoned or draining at once without typing the context.
fn most_cordoned(nodes: usize) -> usize {
    (nodes / 20).max(1)
}

fn cordon(cluster: &Cluster, plan: &mut Plan, on: bool, view: View) {
    let verb = if on { "cordon" } else { "uncordon" };
    let mut names = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(node) = cluster.nodes.iter().find(|n| n.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        names.push(quote(&node.name));
        if node.cordoned == on {
            plan.warnings.push(format!("{} is already {verb}ed: nothing to do", node.name));
            continue;
        }
        let what = if on { StepKind::Cordon } else { StepKind::Uncordon };
        plan.steps.push(Step { what, on: target });
    }
    if on {
        too_many_cordoned(cluster, plan, view);
        plan.undo = "uncordon what this cordoned".into();
    } else {
        plan.undo = "cordon what this uncordoned".into();
    }
    plan.kubectl = kubectl(plan, &format!("{verb} {}", names.join(" ")));
}

/// Judged only where all nodes are known: a headless command fetches its targets alone, and asks for `--yes` anyway.
fn too_many_cordoned(cluster: &Cluster, plan: &mut Plan, view: View) {
    if view == View::Targets {
        return;
    }
    if !cluster.nodes.cover.is_complete() || cluster.nodes.fresh.stale_since.is_some() {
        plan.warnings.push("how many nodes are cordoned already is not known for sure".into());
        plan.confirm = Confirm::Context;
        return;
    }
    let already = cluster.nodes.iter().filter(|n| n.cordoned).count();
    let new = plan
        .intent
        .targets
        .iter()
        .filter(|t| cluster.nodes.iter().any(|n| n.uid == t.uid && !n.cordoned))
        .count();
    let most = most_cordoned(cluster.nodes.len());
    if new > 0 && already + new > most {
        plan.warnings.push(format!(
            "{} of {} nodes would be cordoned; more than {most} asks for the context's name",
            already + new,
            cluster.nodes.len()
        ));
        plan.confirm = Confirm::Context;
    }
}

fn gone(target: &ObjectRef) -> Refusal {
    Refusal::new("precondition", format!("{target} (uid {}) is not in the cluster any more", target.uid))
}

/// Finds the targeted workload and notes who else has a say in it.
fn workload<'a>(cluster: &'a Cluster, plan: &mut Plan, target: &ObjectRef) -> Option<&'a Workload> {
    let found = cluster.workloads(&target.kind).and_then(|t| t.iter().find(|w| w.uid == target.uid));
    let Some(found) = found else {
        plan.refusals.push(gone(target));
        return None;
    };
    if let Some(manager) = &found.managed_by {
        plan.warnings.push(format!("{} is managed by {manager}, which may revert this", found.name));
    }
    if let Some(owner) = &found.owner {
        plan.warnings
            .push(format!("{} is owned by {}/{}, which may revert this", found.name, owner.kind, owner.name));
    }
    Some(found)
}

fn restart(cluster: &Cluster, plan: &mut Plan) {
    let mut words = Vec::new();
    for target in plan.intent.targets.clone() {
        words.push((target.namespace.clone(), format!("{}/{}", target.kind.short(), quote(&target.name))));
        if !matches!(target.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet) {
            let why = format!("a {} has no rollout: evict or delete its pods instead", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if w.paused {
            let why = format!("{} is paused: resume its rollout first", w.name);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        if w.strategy == Strategy::OnDelete {
            plan.warnings.push(format!(
                "{} has strategy OnDelete: nothing restarts until each pod is deleted",
                w.name
            ));
        }
        if w.strategy == Strategy::Recreate {
            plan.warnings
                .push(format!("{} has strategy Recreate: all its pods stop before new ones start", w.name));
        }
        match rollout::judge(w).phase {
            RolloutPhase::Progressing => {
                plan.warnings.push(format!(
                    "a rollout of {} is under way: {}",
                    w.name,
                    rollout::judge(w).why
                ));
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            RolloutPhase::Stuck => {
                plan.warnings.push(format!("{} is stuck; a restart starts the same template again", w.name));
                plan.confirm = plan.confirm.max(Confirm::Suffix);
            }
            _ => {}
        }
        if w.ready < w.desired {
            plan.confirm = plan.confirm.max(Confirm::Suffix);
        }
        if w.desired == 0 {
            plan.warnings.push(format!("{} has no pods to restart", w.name));
        }
        plan.steps.push(Step { what: StepKind::Restart { version: w.version }, on: target });
    }
    plan.undo =
        "nothing: the pods that were replaced do not come back (roll back the template instead)".into();
    let each =
        words.iter().map(|(ns, what)| kubectl(plan, &format!("-n {} rollout restart {what}", quote(ns))));
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

/// The HPA that scales a workload, found by its reference and not by its name.
pub fn autoscaler_of<'a>(cluster: &'a Cluster, target: &ObjectRef) -> Option<&'a Hpa> {
    cluster.hpas.iter().map(AsRef::as_ref).find(|h| {
        h.namespace == target.namespace && h.target_kind == target.kind && h.target_name == target.name
    })
}

fn scale(cluster: &Cluster, plan: &mut Plan, by: &ScaleBy) {
    if by.replicas < 0 {
        plan.refusals.push(Refusal::new(
            "precondition",
            format!("{} replicas: a number of 0 or more is needed", by.replicas),
        ));
    }
    for target in plan.intent.targets.clone() {
        if !matches!(target.kind, Kind::Deployment | Kind::StatefulSet | Kind::ReplicaSet) {
            let why = format!("a {} cannot be scaled", target.kind);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        let Some(w) = workload(cluster, plan, &target) else { continue };
        if let Some(seen) = by.current_replicas
            && seen != w.replicas
        {
            let who = w
                .changed
                .as_ref()
                .map_or_else(String::new, |c| format!(" (that field is managed by {})", c.manager));
            let why = format!("{} has {} replicas, not {seen}{who}", w.name, w.replicas);
            plan.refusals.push(Refusal::new("precondition", why));
            continue;
        }
        if w.replicas == by.replicas {
            plan.warnings.push(format!("{} has {} replicas already: nothing to do", w.name, w.replicas));
            continue;
        }
        if by.replicas > w.replicas && w.ready == 0 && w.replicas > 0 {
            plan.warnings.push(format!(
                "none of {}'s {} replicas is ready: more of them may not help",
                w.name, w.replicas
            ));
        }
        if let Some(hpa) = autoscaler_of(cluster, &target) {
            plan.warnings.push(autoscaled(hpa, by.replicas));
        } else if !cluster.hpas.cover.is_complete() {
            plan.warnings.push("whether an autoscaler owns this is not known: HPAs are not loaded".into());
        }
        let confirm = if by.replicas == 0 {
            plan.warnings.push(format!("{} will have no pods", w.name));
            Confirm::Context
        } else if by.replicas < w.replicas {
            if w.kind == Kind::StatefulSet {
                plan.warnings
                    .push(format!("the highest ordinals go first, down to {}-{}", w.name, by.replicas));
            }
            Confirm::Suffix
        } else {
            Confirm::Yes
        };
        plan.confirm = plan.confirm.max(confirm);
        services_after(cluster, plan, w, by.replicas);
        plan.undo = format!("scale back to {}, if it still has {} then", w.replicas, by.replicas);
        plan.steps.push(Step { what: StepKind::Scale { from: w.replicas, to: by.replicas }, on: target });
    }
    let each = plan.intent.targets.iter().map(|target| {
        let from = plan.steps.iter().find(|s| s.on == *target).and_then(|s| match s.what {
            StepKind::Scale { from, .. } => Some(format!(" --current-replicas {from}")),
            _ => None,
        });
        let (kind, from) = (target.kind.short(), from.unwrap_or_default());
        let (ns, name) = (quote(&target.namespace), quote(&target.name));
        kubectl(plan, &format!("-n {ns} scale {kind}/{name} --replicas {}{from}", by.replicas))
    });
    plan.kubectl = each.collect::<Vec<_>>().join(" && ");
}

/// The Services that lose endpoints when a workload shrinks.
fn services_after(cluster: &Cluster, plan: &mut Plan, w: &Workload, replicas: i32) {
    let lost = u32::try_from(w.replicas - replicas).unwrap_or(0);
    if lost == 0 {
        return;
    }
    let behind = cluster.derived.services.iter().filter(|row| {
        let s = &row.service;
        s.namespace == w.namespace && !s.selector.is_empty() && s.selector.matches(&w.template_labels)
    });
    for row in behind {
        let ready_after = row.ready.saturating_sub(lost);
        let (namespace, name) = (row.service.namespace.clone(), row.service.name.clone());
        if ready_after == 0 && row.ready > 0 {
            plan.warnings.push(format!("service {namespace}/{name} is left without a ready endpoint"));
        }
        plan.services.push(drain::service_effect(cluster, row, ready_after));
    }
}

/// What an autoscaler will make of a manual number.
fn autoscaled(hpa: &Hpa, wanted: i32) -> String {
    let name = &hpa.name;
    if wanted == 0 {
        return format!("0 replicas switch HPA {name} off until someone scales up");
    }
    if wanted > hpa.max {
        return format!(
            "HPA {name} takes it back to its maximum {} within seconds: raise maxReplicas instead",
            hpa.max
        );
    }
    if wanted < hpa.min {
        return format!(
            "HPA {name} takes it back to its minimum {} within seconds: lower minReplicas instead",
            hpa.min
        );
    }
    format!(
        "HPA {name} ({}-{}) recomputes the number at its next sync: change its bounds instead",
        hpa.min, hpa.max
    )
}

fn drain_nodes(cluster: &Cluster, plan: &mut Plan, options: &DrainOptions, view: View, now: Stamp) {
    plan.confirm = Confirm::Suffix;
    let mut names = Vec::new();
    for target in plan.intent.targets.clone() {
        let Some(node) = cluster.nodes.iter().find(|n| n.uid == target.uid) else {
            plan.refusals.push(gone(&target));
            continue;
        };
        names.push(node.name.clone());
        if !node.cordoned {
            plan.steps.push(Step { what: StepKind::Cordon, on: target });
        }
    }
    for (what, cover, fresh) in [
        ("pods", &cluster.pods.cover, cluster.pods.fresh),
        ("daemonsets", &cluster.daemonsets.cover, cluster.daemonsets.fresh),
        ("poddisruptionbudgets", &cluster.pdbs.cover, cluster.pdbs.fresh),
    ] {
        if !cover.is_complete() {
            let note = cover.note().unwrap_or_default();
            let why =
                format!("{what} are not completely known ({note}): the plan could miss what it must not");
            plan.refusals.push(Refusal::new("incomplete-data", why));
        } else if let Some(since) = fresh.stale_since {
            let why =
                format!("what is known of {what} is stale since {since}: the plan could be wrong by now");
            plan.refusals.push(Refusal::new("incomplete-data", why));
        }
    }
    let drain = drain::rehearse(cluster, &names, options, view == View::Whole, now);
    let evict = if options.disable_eviction { StepKind::Delete } else { StepKind::Evict };
    let going = drain.pods.iter().filter(|p| matches!(p.fate, Fate::Evict | Fate::Wait));
    plan.steps.extend(going.map(|p| Step { what: evict.clone(), on: p.pod.clone() }));
    plan.pods = drain.pods;
    plan.pdbs = drain.pdbs;
    plan.services = drain.services;
    plan.unplaced = drain.unplaced;
    if drain.whole_zone {
        plan.confirm = Confirm::Context;
    }
    plan.warnings.extend(drain.warnings);
    plan.refusals.extend(drain.refusals);
    too_many_cordoned(cluster, plan, view);
    plan.undo = "uncordon; evicted pods do not move back".into();
    let mut words = format!("drain {}", names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(" "));
    for (on, flag) in [
        (options.force, "--force"),
        (options.ignore_daemonsets, "--ignore-daemonsets"),
        (options.delete_emptydir_data, "--delete-emptydir-data"),
        (options.disable_eviction, "--disable-eviction"),
    ] {
        if on {
            words.push(' ');
            words.push_str(flag);
        }
    }
    for (value, unset, flag, unit) in [
        (options.grace_period, -1, "--grace-period", ""),
        (i64::try_from(options.timeout).unwrap_or(i64::MAX), 0, "--timeout", "s"),
        (
            i64::try_from(options.skip_wait_for_delete_timeout).unwrap_or(i64::MAX),
            0,
            "--skip-wait-for-delete-timeout",
            "",
        ),
    ] {
        if value != unset {
            words.push_str(&format!(" {flag}={value}{unit}"));
        }
    }
    if let Some(selector) = &options.pod_selector {
        words.push_str(&format!(" --pod-selector={}", quote(selector)));
    }
    plan.kubectl = kubectl(plan, &words);
}

/// One right that a plan needs, as an access review asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub namespace: Name,
    pub name: Name,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

/// The plural of a workload kind, for paths and reviews.
pub fn resource(kind: &Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::Node => ("", "nodes"),
        Kind::Pod => ("", "pods"),
        Kind::Deployment => ("apps", "deployments"),
        Kind::StatefulSet => ("apps", "statefulsets"),
        Kind::DaemonSet => ("apps", "daemonsets"),
        Kind::ReplicaSet => ("apps", "replicasets"),
        Kind::Job => ("batch", "jobs"),
        Kind::CronJob => ("batch", "cronjobs"),
        Kind::Service => ("", "services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
        Kind::HorizontalPodAutoscaler => ("autoscaling", "horizontalpodautoscalers"),
        Kind::PodDisruptionBudget => ("policy", "poddisruptionbudgets"),
        Kind::Event => ("", "events"),
        Kind::Lease => ("coordination.k8s.io", "leases"),
        Kind::Namespace => ("", "namespaces"),
        Kind::Other(_) => return None,
    })
}

/// The rights that the steps need, each asked once (evictions by namespace, not by pod).
pub fn access(plan: &Plan) -> Vec<Access> {
    let mut needed: Vec<Access> = Vec::new();
    for step in &plan.steps {
        let Some((group, plural)) = resource(&step.on.kind) else { continue };
        let by_name = !matches!(step.what, StepKind::Evict | StepKind::Delete);
        let (verb, subresource) = match step.what {
            StepKind::Cordon | StepKind::Uncordon | StepKind::Restart { .. } => ("patch", ""),
            StepKind::Scale { .. } => ("patch", "scale"),
            StepKind::Evict => ("create", "eviction"),
            StepKind::Delete => ("delete", ""),
        };
        let access = Access {
            verb,
            group,
            resource: plural,
            subresource,
            namespace: step.on.namespace.clone(),
            name: if by_name { step.on.name.clone() } else { Name::default() },
        };
        if !needed.contains(&access) {
            needed.push(access);
        }
    }
    needed
}

/// Adds what only the server knew.
pub fn settle(mut plan: Plan, evidence: &Evidence) -> Plan {
    for denied in &evidence.denied {
        plan.refusals.push(Refusal::new("rbac", denied.clone()));
    }
    for refused in &evidence.dry_run_refused {
        plan.refusals.push(Refusal::new("dry-run", refused.clone()));
    }
    for unanswered in &evidence.unanswered {
        plan.warnings.push(format!("could not be asked: {unanswered}"));
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::{Uid, Version};
    use crate::domain::node::Node;
    use crate::model::event::{Batch, Fact};
    use crate::model::state::ClusterState;
    use crate::model::world::ClusterInfo;

    fn cluster() -> Arc<Cluster> {
        let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
        let deployment = Workload {
            uid: Uid::Uuid(1),
            version: Version(7),
            namespace: "shop".into(),
            name: "checkout".into(),
            replicas: 3,
            desired: 3,
            ready: 3,
            updated: 3,
            current: 3,
            available: 3,
            ..Workload::default()
        };
        let hpa = Hpa {
            uid: Uid::Uuid(2),
            namespace: "shop".into(),
            name: "h".into(),
            target_name: "checkout".into(),
            min: 2,
            max: 5,
            ..Hpa::default()
        };
        let nodes = (0..3).map(|i| Node {
            uid: Uid::Uuid(10 + i),
            name: format!("node-{i:04}").into(),
            ..Node::default()
        });
        for fact in [
            Fact::Deployments(Batch::Upsert(vec![deployment])),
            Fact::Hpas(Batch::Upsert(vec![hpa])),
            Fact::Nodes(Batch::Begin { generation: 1 }),
            Fact::Nodes(Batch::Upsert(nodes.collect())),
            Fact::Nodes(Batch::End { generation: 1, version: Version(1) }),
        ] {
            state.apply(fact, Stamp(0));
        }
        state.publish(Stamp(0), false).unwrap()
    }

    fn intent(act: Act, kind: Kind, uid: u128, name: &str) -> Intent {
        let namespace = if kind == Kind::Node { "" } else { "shop" };
        Intent {
            cluster: crate::domain::id::ClusterId::default(),
            context: "test".into(),
            act,
            targets: vec![ObjectRef::new(kind, &namespace.into(), &name.into(), &Uid::Uuid(uid))],
        }
    }

    fn make(intent: &Intent) -> Plan {
        plan(&cluster(), intent, &GuardSettings::default(), View::Whole, Stamp(0))
    }

    fn scale_to(replicas: i32, seen: Option<i32>) -> Plan {
        let by = ScaleBy { replicas, current_replicas: seen };
        make(&intent(Act::Scale(by), Kind::Deployment, 1, "checkout"))
    }

    #[test]
    fn a_confirmation_grows_with_the_blast_radius() {
        assert_eq!(scale_to(5, None).confirm, Confirm::Yes);
        assert_eq!((scale_to(2, None).confirm, scale_to(2, None).answer), (Confirm::Suffix, "kout".into()));
        assert_eq!((scale_to(0, None).confirm, scale_to(0, None).answer), (Confirm::Context, "test".into()));
        let guards = GuardSettings { protected_namespaces: vec!["shop".into()], ..GuardSettings::default() };
        let by = ScaleBy { replicas: 5, current_replicas: None };
        let raised = plan(
            &cluster(),
            &intent(Act::Scale(by), Kind::Deployment, 1, "checkout"),
            &guards,
            View::Whole,
            Stamp(0),
        );
        assert_eq!(raised.confirm, Confirm::Suffix);
        let by = ScaleBy { replicas: 1, current_replicas: None };
        let down = intent(Act::Scale(by), Kind::Deployment, 1, "checkout");
        let raised = plan(&cluster(), &down, &guards, View::Whole, Stamp(0));
        assert_eq!(
            raised.answer, "test",
            "the number of one object would be a weaker question than its name"
        );
    }

    #[test]
    fn scale_has_a_precondition_and_names_the_autoscaler() {
        let p = scale_to(9, Some(4));
        assert_eq!(p.refusals[0].guard, "precondition");
        assert!(p.steps.is_empty());
        let p = scale_to(9, Some(3));
        assert!(p.refusals.is_empty());
        assert!(p.warnings[0].contains("takes it back to its maximum 5"), "{:?}", p.warnings);
        assert_eq!(
            p.kubectl,
            "kubectl --context test -n shop scale deploy/checkout --replicas 9 --current-replicas 3"
        );
    }

    #[test]
    fn another_object_of_the_same_name_is_not_the_target() {
        let p = make(&intent(Act::Restart, Kind::Deployment, 99, "checkout"));
        assert!(p.steps.is_empty());
        assert_eq!(p.refusals[0].guard, "precondition");
    }

    #[test]
    fn a_drain_over_incomplete_data_is_refused() {
        let p = make(&intent(Act::Drain(DrainOptions::default()), Kind::Node, 10, "node-0000"));
        assert!(p.refusals.iter().filter(|r| r.guard == "incomplete-data").count() == 3);
        assert_eq!(p.answer, "0000");
    }

    #[test]
    fn read_only_refuses_everything() {
        let guards = GuardSettings { read_only: true, ..GuardSettings::default() };
        for act in [Act::Cordon, Act::Uncordon, Act::Restart, Act::Drain(DrainOptions::default())] {
            let p =
                plan(&cluster(), &intent(act, Kind::Node, 10, "node-0000"), &guards, View::Whole, Stamp(0));
            assert!(p.refusals.iter().any(|r| r.guard == "read-only"));
        }
    }

    #[test]
    fn a_second_cordoned_node_of_three_asks_for_the_context() {
        let mut i = intent(Act::Cordon, Kind::Node, 10, "node-0000");
        assert_eq!(make(&i).confirm, Confirm::Yes);
        i.targets.push(ObjectRef::new(Kind::Node, &"".into(), &"node-0001".into(), &Uid::Uuid(11)));
        assert_eq!(make(&i).confirm, Confirm::Context);
    }

    #[test]
    fn denied_rights_refuse() {
        let p = scale_to(5, None);
        assert_eq!(access(&p)[0].to_string(), "patch deployments/scale.apps in shop");
        let p = settle(p, &Evidence { denied: vec!["patch deployments".into()], ..Evidence::default() });
        assert_eq!(p.refusals[0].guard, "rbac");
    }
}
