//! Findings that others explain become their evidence: one line on the screen for one trouble.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::id::{Kind, ObjectRef, Uid};
use crate::domain::workload::Workload;
use crate::facts::world::{AlikeBy, Cause, Kin, Reach};

use super::{LEADING, POD_RULES, Scene, title_of};

/// A workload's pods in trouble explain its stuck rollout, and both explain a Service without endpoints.
pub(super) fn fold(scene: &Scene<'_, '_>, causes: &mut Vec<Cause>) {
    let workload_of =
        |cause: &Cause| cause.objects.first().filter(|o| o.kind != Kind::Pod).map(|o| o.uid.clone());
    // 1. one workload, several findings: the rollout that they hold up leads
    let stuck: HashMap<Uid, usize> = causes
        .iter()
        .enumerate()
        .filter(|(_, c)| LEADING.contains(&c.rule))
        .filter_map(|(i, c)| workload_of(c).map(|uid| (uid, i)))
        .collect();
    let mut gone = vec![false; causes.len()];
    for i in 0..causes.len() {
        let Some(child) = causes.get(i) else { continue };
        if !POD_RULES.contains(&child.rule) {
            continue;
        }
        if let Some(parent) = workload_of(child).and_then(|uid| stuck.get(&uid)).copied() {
            let child = child.clone();
            adopt(causes.get_mut(parent), &child);
            gone.get_mut(i).into_iter().for_each(|g| *g = true);
        }
    }
    // 2. a Service without endpoints belongs to the workload that it selects
    let parents: Vec<Parent> = causes
        .iter()
        .enumerate()
        .filter(|(i, c)| {
            !gone.get(*i).copied().unwrap_or(false)
                && (POD_RULES.contains(&c.rule) || LEADING.contains(&c.rule))
        })
        .filter_map(|(i, c)| {
            let object = c.objects.first()?;
            let workload = &scene.workload(&object.uid)?.workload;
            Some((i, workload.clone()))
        })
        .collect();
    let services = if parents.is_empty() { 0 } else { causes.len() };
    for i in 0..services {
        let Some(child) = causes.get(i).filter(|c| c.rule == "no-ready-endpoints") else { continue };
        let Some(object) = child.objects.first() else { continue };
        let Some(row) = scene.services_in(&object.namespace).iter().find(|r| r.service.uid == object.uid)
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
    // 3. new errors of a workload whose Service answers with errors are evidence of that
    let told: HashMap<Uid, usize> = causes
        .iter()
        .enumerate()
        .filter(|(_, c)| c.rule == "service-errors")
        .filter_map(|(i, c)| c.objects.get(1).map(|workload| (workload.uid.clone(), i)))
        .collect();
    for i in 0..causes.len() {
        let Some(child) = causes.get(i).filter(|c| c.rule == "errors-since-rollout") else { continue };
        let Some(parent) = workload_of(child).and_then(|uid| told.get(&uid)).copied() else { continue };
        let child = child.clone();
        if let Some(parent) = causes.get_mut(parent) {
            parent.kin.told.extend(child.tells());
            parent.reach.pods = parent.reach.pods.max(child.reach.pods);
            let new = child.evidence.into_iter().filter(|line| line.starts_with("error first seen "));
            for line in new {
                if !parent.evidence.contains(&line) {
                    parent.evidence.push(line);
                }
            }
        }
        gone.get_mut(i).into_iter().for_each(|g| *g = true);
    }
    super::join::join(scene, causes, &mut gone);
    let mut gone = gone.into_iter();
    causes.retain(|_| !gone.next().unwrap_or(false));
    alike(causes);
    for cause in causes {
        cause.kin.told.sort();
    }
}

/// Findings of one rule that share a cause become one line: what they have in common, and who they are.
fn alike(causes: &mut Vec<Cause>) {
    let most = causes.iter().map(|c| c.kin.alike.len()).max().unwrap_or(0);
    for nth in 0..most {
        let mut groups: BTreeMap<(&'static str, AlikeBy), Vec<usize>> = BTreeMap::new();
        for (i, cause) in causes.iter().enumerate() {
            if let Some(alike) = cause.kin.alike.get(nth) {
                groups.entry((cause.rule, alike.by.clone())).or_default().push(i);
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

/// Names that a title holds.
const NAMED: usize = 3;
/// Members whose evidence is kept.
const WITH_EVIDENCE: usize = 10;

fn together(mut of: Vec<Cause>, nth: usize) -> Option<Cause> {
    of.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.objects.cmp(&b.objects)));
    let first = of.first()?;
    let alike = first.kin.alike.get(nth)?;
    let heads: Vec<ObjectRef> = of.iter().filter_map(|c| c.objects.first().cloned()).collect();
    let mut names = heads.iter().take(NAMED).map(title_of).collect::<Vec<_>>().join(", ");
    if heads.len() > NAMED {
        names.push_str(&format!(" and {} more", heads.len() - NAMED));
    }
    // a set: thousands of pods may share one cause
    let mut seen: HashSet<&ObjectRef> = HashSet::new();
    let all = heads.iter().chain(of.iter().flat_map(|c| &c.objects));
    let objects: Vec<ObjectRef> = all.filter(|object| seen.insert(object)).cloned().collect();
    let mut evidence = Vec::new();
    for cause in of.iter().take(WITH_EVIDENCE) {
        evidence.push(cause.title.clone());
        evidence.extend(cause.evidence.iter().map(|line| format!("  {line}")));
    }
    if of.len() > WITH_EVIDENCE {
        evidence.push(format!("and {} more", of.len() - WITH_EVIDENCE));
    }
    let sum = |part: fn(&Reach) -> u32| of.iter().map(|c| part(&c.reach)).sum();
    Some(Cause {
        rule: first.rule,
        severity: first.severity,
        title: format!("{} {} {}: {names}", of.len(), alike.noun, alike.words),
        objects,
        since: of.iter().filter_map(|c| c.since).min(),
        evidence,
        action: None,
        reach: Reach { services: sum(|r| r.services), pods: sum(|r| r.pods), ..first.reach },
        kin: Kin { alike: Vec::new(), told: of.iter().flat_map(Cause::tells).collect() },
        course: first.course.clone(),
    })
}

/// A cause's place in the list, and its workload.
type Parent = (usize, Arc<Workload>);

fn adopt(parent: Option<&mut Cause>, child: &Cause) {
    let Some(parent) = parent else { return };
    parent.evidence.push(format!("{}: {}", child.rule, child.title));
    parent.kin.told.extend(child.tells());
    parent.evidence.extend(child.evidence.iter().cloned());
    parent.severity = parent.severity.max(child.severity);
    parent.reach.services += child.reach.services;
    parent.reach.pods = parent.reach.pods.max(child.reach.pods);
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
