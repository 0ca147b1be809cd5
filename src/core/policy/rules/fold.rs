//! Findings that another one explains become its evidence, so that one problem is one line on the screen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::cause::{Cause, Evidence, FindingCode as Code, Group, Impact, Relation, Shared};
use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::workload::Workload;

use super::RuleContext;

/// Folds findings. Problems of a workload's pods explain its stuck rollout, and both explain a Service without
/// endpoints.
pub(super) fn fold(context: &RuleContext<'_, '_>, causes: &mut Vec<Cause>) {
    let workload_of = |cause: &Cause| cause.object().filter(|o| o.kind != Kind::Pod).map(|o| o.uid.clone());
    // 1. A workload with several findings: the finding about its rollout includes those about its pods.
    let stuck: HashMap<Uid, usize> = causes
        .iter()
        .enumerate()
        .filter(|(_, c)| c.code().is_of_a_rollout())
        .filter_map(|(i, c)| workload_of(c).map(|uid| (uid, i)))
        .collect();
    let mut gone = vec![false; causes.len()];
    for i in 0..causes.len() {
        let Some(child) = causes.get(i) else { continue };
        if !child.code().is_of_pods() {
            continue;
        }
        if let Some(parent) = workload_of(child).and_then(|uid| stuck.get(&uid)).copied() {
            let child = child.clone();
            adopt(causes.get_mut(parent), &child);
            gone.get_mut(i).into_iter().for_each(|g| *g = true);
        }
    }
    // 2. A Service without endpoints belongs to the workload that it selects.
    let parents: Vec<Parent> = causes
        .iter()
        .enumerate()
        .filter(|(i, c)| {
            !gone.get(*i).copied().unwrap_or(false) && (c.code().is_of_pods() || c.code().is_of_a_rollout())
        })
        .filter_map(|(i, c)| {
            let object = c.objects.first()?;
            let workload = &context.workload(&object.uid)?.workload;
            Some((i, workload.clone()))
        })
        .collect();
    let services = if parents.is_empty() { 0 } else { causes.len() };
    for i in 0..services {
        let Some(child) = causes.get(i).filter(|c| c.code() == Code::NoReadyEndpoints) else { continue };
        let Some(object) = child.objects.first() else { continue };
        let Some(row) = context.services_in(&object.namespace).iter().find(|r| r.service.uid == object.uid)
        else {
            continue;
        };
        let parent = parents
            .iter()
            .find(|(_, workload)| {
                workload.namespace == object.namespace && workload.may_have_pods_for(&row.service.selector)
            })
            .map(|(parent, _)| *parent);
        if let Some(parent) = parent {
            let child = child.clone();
            adopt(causes.get_mut(parent), &child);
            gone.get_mut(i).into_iter().for_each(|g| *g = true);
        }
    }
    // 3. New errors of a workload become evidence if its Service responds with errors, or if its version is worse.
    let about = |code: Code| {
        let of_code = causes.iter().enumerate().filter(move |(_, c)| c.code() == code);
        of_code.filter_map(|(i, c)| c.objects.get(1).map(|workload| (workload.uid.clone(), i)))
    };
    let told: HashMap<Uid, usize> = about(Code::CanaryWorse).chain(about(Code::ServiceErrors)).collect();
    for i in 0..causes.len() {
        let Some(child) = causes.get(i).filter(|c| c.code() == Code::ErrorsSinceRollout) else { continue };
        let Some(parent) = workload_of(child).and_then(|uid| told.get(&uid)).copied() else { continue };
        let child = child.clone();
        if let Some(parent) = causes.get_mut(parent) {
            parent.includes.extend(child.included());
            parent.impact.pods = parent.impact.pods.max(child.impact.pods);
            for new in child.evidence {
                if matches!(new, Evidence::FirstSeen(_)) && !parent.evidence.contains(&new) {
                    parent.evidence.push(new);
                }
            }
        }
        gone.get_mut(i).into_iter().for_each(|g| *g = true);
    }
    super::join::join(context, causes, &mut gone);
    super::alerts::join(context, causes, &mut gone);
    let mut gone = gone.into_iter();
    causes.retain(|_| !gone.next().unwrap_or(false));
    group(causes);
    for cause in causes {
        cause.includes.sort();
    }
}

/// Groups findings of one code that share a cause into one line. The line has the shared cause and the names of the
/// objects.
fn group(causes: &mut Vec<Cause>) {
    let most = causes.iter().map(|c| c.shared.len()).max().unwrap_or(0);
    for nth in 0..most {
        let mut groups: BTreeMap<(Code, Shared), Vec<usize>> = BTreeMap::new();
        for (i, cause) in causes.iter().enumerate() {
            if let Some(shared) = cause.shared.get(nth) {
                groups.entry((cause.code(), shared.clone())).or_default().push(i);
            }
        }
        let mut into: Vec<Option<usize>> = vec![None; causes.len()];
        let groups: Vec<Vec<usize>> = groups.into_values().filter(|of| of.len() > 1).collect();
        for (group, of) in groups.iter().enumerate() {
            for i in of {
                into.get_mut(*i).into_iter().for_each(|place| *place = Some(group));
            }
        }
        let mut members: Vec<Vec<Cause>> = vec![Vec::new(); groups.len()];
        let mut places = into.into_iter();
        let mut rest = Vec::with_capacity(causes.len());
        for cause in causes.drain(..) {
            match places.next().flatten().and_then(|group| members.get_mut(group)) {
                Some(group) => group.push(cause),
                None => rest.push(cause),
            }
        }
        rest.extend(members.into_iter().filter_map(|of| together(of, nth)));
        *causes = rest;
    }
}

/// The maximum number of names in the line of a group.
const NAMED: usize = 3;
/// The number of group members whose evidence is kept.
const WITH_EVIDENCE: usize = 10;

fn together(mut of: Vec<Cause>, nth: usize) -> Option<Cause> {
    of.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.objects.cmp(&b.objects)));
    let first = of.first()?.clone();
    let by = first.shared.get(nth)?.clone();
    let heads: Vec<ObjectRef> = of.iter().filter_map(|c| c.object().cloned()).collect();
    // A set is fast enough if thousands of pods share one cause.
    let mut seen: HashSet<&ObjectRef> = HashSet::new();
    let all = heads.iter().chain(of.iter().flat_map(|c| &c.objects));
    let objects: Vec<ObjectRef> = all.filter(|object| seen.insert(object)).cloned().collect();
    let group = Group { by, count: of.len(), first: heads.into_iter().take(NAMED).collect() };
    let since = of.iter().filter_map(|c| c.since).min();
    let sum = |part: fn(&Impact) -> u32| of.iter().map(|c| part(&c.impact)).sum();
    let impact = Impact { services: sum(|r| r.services), pods: sum(|r| r.pods), ..first.impact };
    let includes = of.iter().flat_map(Cause::included).collect();
    let more = of.len().saturating_sub(WITH_EVIDENCE);
    let mut evidence: Vec<Evidence> =
        of.into_iter().take(WITH_EVIDENCE).map(|cause| included(Relation::Member, cause)).collect();
    if more > 0 {
        evidence.push(Evidence::Seen(format!("and {more} more")));
    }
    Some(Cause {
        objects,
        since,
        evidence,
        action: None,
        impact,
        shared: Vec::new(),
        group: Some(group),
        includes,
        ..first
    })
}

/// Returns a finding as the evidence of the one that includes it.
pub(super) fn included(relation: Relation, cause: Cause) -> Evidence {
    Evidence::Finding { relation, cause: Arc::new(cause) }
}

/// The index of a finding in the list, and its workload.
type Parent = (usize, Arc<Workload>);

fn adopt(parent: Option<&mut Cause>, child: &Cause) {
    let Some(parent) = parent else { return };
    parent.evidence.push(included(Relation::SameWorkload, child.clone()));
    parent.includes.extend(child.included());
    parent.severity = parent.severity.max(child.severity);
    parent.impact.services += child.impact.services;
    parent.impact.pods = parent.impact.pods.max(child.impact.pods);
    parent.since = match (parent.since, child.since) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    for object in &child.objects {
        if !parent.objects.contains(object) {
            parent.objects.push(object.clone());
        }
    }
}
