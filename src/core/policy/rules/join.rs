//! Joins findings of different rules about one problem: a caller that fails because the called service fails, a
//! budget over pods that have problems, and services that became slow when a node was lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::cause::{Cause, Effect, FindingCode as Code, Relation, ServiceHit, Severity};
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::log::Level;
use crate::domain::pod::Pod;
use crate::domain::time::Stamp;

use super::RuleContext;
use super::fold::included;

/// A service that becomes slow within this time after a node's loss does so because of it.
const AFTER_LOSS_SECS: u64 = 300;

/// The number of services that the line of a lost node names. The others are in its evidence.
const IN_LINE: usize = 3;

/// Joins the findings. `gone` marks those that another finding already includes.
pub(super) fn join(context: &RuleContext<'_, '_>, causes: &mut [Cause], gone: &mut [bool]) {
    // The order of the tables is the order in which rows arrived. Sorting makes the result stable.
    let mut order: Vec<usize> = there(causes, gone).map(|(i, _)| i).collect();
    order.sort_by_key(|i| causes.get(*i).map(|cause| (cause.code(), cause.objects.clone())));
    for i in order {
        let Some(child) = causes.get(i) else { continue };
        let parent = match child.code() {
            Code::ServiceErrors => {
                called(context, causes, gone, i).or_else(|| cut_off(context, causes, gone, child))
            }
            Code::NoReadyEndpoints => cut_off(context, causes, gone, child),
            Code::ServiceSlow => slow_for(causes, gone, child),
            Code::CanaryWorse => failing_or_slow(causes, gone, child),
            Code::SloBurn => of_same_service(causes, gone, child),
            Code::PdbBlocks => budget_of(context, causes, gone, child),
            _ => None,
        };
        let Some(parent) = parent.filter(|parent| *parent != i) else { continue };
        let child = child.clone();
        if let Some(parent) = causes.get_mut(parent) {
            parent.includes.extend(child.included());
            if parent.code() == Code::NodeNotReady && parent.hits.len() < IN_LINE {
                parent.hits.extend(hit_of(&child));
            }
            // If the parent is recovering, its consequences are too.
            let recovers =
                parent.progress.remedy.as_ref().is_some_and(|remedy| remedy.effect != Effect::None);
            if !recovers {
                parent.severity = parent.severity.max(child.severity);
            }
            // A worse version is one of the Service's own, and it says what can be done.
            if child.code() == Code::CanaryWorse {
                if parent.action.is_none() && !recovers {
                    parent.action.clone_from(&child.action);
                }
            } else {
                parent.impact.services += child.impact.services;
            }
            let calls = child.code() == Code::ServiceErrors && parent.code() == Code::ServiceErrors;
            let relation = if calls { Relation::Caller } else { Relation::Consequence };
            parent.evidence.push(included(relation, child));
        }
        gone.get_mut(i).into_iter().for_each(|g| *g = true);
    }
}

/// Returns the finding that says why the Service burns its error budget: its errors, its latency or its missing
/// endpoints, or what they were joined to.
fn of_same_service(causes: &[Cause], gone: &[bool], child: &Cause) -> Option<usize> {
    let service = child.object()?;
    let tells = |(code, object): &(Code, ObjectRef)| {
        matches!(code, Code::ServiceErrors | Code::ServiceSlow | Code::CanaryWorse | Code::NoReadyEndpoints)
            && object.kind == Kind::Service
            && (&object.namespace, &object.name) == (&service.namespace, &service.name)
    };
    let found = there(causes, gone).find(|(_, cause)| cause.included().iter().any(tells));
    found.map(|(n, _)| n)
}

/// Returns the finding about the errors of the Service that has a worse version, otherwise that about its latency.
fn failing_or_slow(causes: &[Cause], gone: &[bool], worse: &Cause) -> Option<usize> {
    let about = |code: Code| {
        let mut all = there(causes, gone);
        all.find(|(_, c)| c.code() == code && c.objects.first() == worse.objects.first()).map(|(n, _)| n)
    };
    about(Code::ServiceErrors).or_else(|| about(Code::ServiceSlow))
}

/// Returns the effect of a node's loss on a Service, for the node's line.
fn hit_of(child: &Cause) -> Option<ServiceHit> {
    let service = child.object()?.clone();
    match (child.code(), child.impact.error_ratio) {
        (Code::NoReadyEndpoints, _) => Some(ServiceHit::NoEndpoints { service }),
        (_, Some(ratio)) => Some(ServiceHit::Errors { service, ratio }),
        _ => None,
    }
}

fn there<'c>(causes: &'c [Cause], gone: &'c [bool]) -> impl Iterator<Item = (usize, &'c Cause)> {
    causes.iter().enumerate().filter(|(i, _)| !gone.get(*i).copied().unwrap_or(true))
}

/// Returns the failing service that the caller's own error lines name. Its error ratio must be at least as high.
fn called(context: &RuleContext<'_, '_>, causes: &[Cause], gone: &[bool], i: usize) -> Option<usize> {
    let caller = causes.get(i)?;
    let of = caller.objects.first().filter(|o| o.kind == Kind::Service)?;
    let workloads = workloads_of(context, of);
    let lines = || {
        context.cluster.logs.groups.iter().filter(|group| {
            group.level >= Level::Error
                && !group.has_stopped(context.now)
                && group.workloads.iter().any(|w| workloads.contains(w.as_str()))
        })
    };
    let ratio = |cause: &Cause| cause.impact.error_ratio.unwrap_or(0.0);
    there(causes, gone)
        .filter(|(n, cause)| *n != i && cause.code() == Code::ServiceErrors && ratio(cause) >= ratio(caller))
        .find(|(_, cause)| {
            let Some(service) = cause.objects.first() else { return false };
            lines().any(|group| names_host(&group.sample, service))
        })
        .map(|(n, _)| n)
}

/// Returns the node or zone that was lost just before, if pods of this Service run there. The remaining pods take
/// their load, or there are none.
fn cut_off(context: &RuleContext<'_, '_>, causes: &[Cause], gone: &[bool], child: &Cause) -> Option<usize> {
    let service = child.objects.first().filter(|o| o.kind == Kind::Service)?;
    // If a release, one bad pod or a remedy explains the finding, the node is not the cause.
    if child.objects.len() > 1 || child.action.is_some() || child.progress.remedy.is_some() {
        return None;
    }
    let row = context.services_in(&service.namespace).iter().find(|row| row.service.name == service.name)?;
    let lost = |pod: &&&Arc<Pod>| row.service.selector.matches(**pod) && context.is_on_dead_node(pod);
    let pods = context.pods_in(&service.namespace).iter().filter(lost);
    let nodes: BTreeSet<&Name> = pods.filter_map(|pod| pod.node.as_ref()).collect();
    let hosts = |(_, c): &(usize, &Cause)| c.objects.iter().any(|o| nodes.contains(&o.name));
    // Of several losses, this is the one with the most pods.
    let (n, loss) = lost_before(causes, gone, child)
        .filter(hosts)
        .max_by(|(_, a), (_, b)| a.impact.pods.cmp(&b.impact.pods).then_with(|| b.objects.cmp(&a.objects)))?;
    let released = child.code() == Code::ServiceErrors && is_released_since(context, service, loss.since?);
    (!released).then_some(n)
}

/// Returns true if a workload of the Service had a rollout after the loss. The rollout is then at least as likely to
/// be the cause.
fn is_released_since(context: &RuleContext<'_, '_>, service: &ObjectRef, at: Stamp) -> bool {
    let workloads = workloads_of(context, service);
    let changes = context.cluster.derived.changes.iter();
    changes
        .take_while(|c| c.at >= at)
        .filter(|c| c.kind.is_rollout())
        .any(|c| workloads.contains(format!("{}/{}", c.object.namespace, c.object.name).as_str()))
}

/// Returns `namespace/workload` of the workloads that may be behind a Service.
fn workloads_of(context: &RuleContext<'_, '_>, service: &ObjectRef) -> BTreeSet<String> {
    let row = context.services_in(&service.namespace).iter().find(|row| row.service.name == service.name);
    let Some(selector) = row.map(|row| &row.service.selector).filter(|s| !s.is_empty()) else {
        return BTreeSet::new();
    };
    let behind = context.workloads_in(&service.namespace).iter();
    let behind = behind.filter(|w| w.workload.may_have_pods_for(selector));
    behind.map(|w| format!("{}/{}", w.workload.namespace, w.workload.name)).collect()
}

/// Returns true if a line names this Service as a host: `checkout.shop`, `checkout.shop.svc.cluster.local`,
/// `//checkout:80/`.
fn names_host(line: &str, service: &ObjectRef) -> bool {
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let full = format!("{}.{}", service.name, service.namespace);
    line.split(|c| !host(c)).any(|word| {
        word.strip_prefix(full.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }) || line.match_indices("//").any(|(at, _)| {
        let rest = line.get(at + 2..).unwrap_or_default();
        rest.split(|c| !host(c)).next() == Some(service.name.as_str())
    })
}

/// Returns the nodes and zones that were lost just before a finding began.
fn lost_before<'c>(
    causes: &'c [Cause],
    gone: &'c [bool],
    of: &Cause,
) -> impl Iterator<Item = (usize, &'c Cause)> {
    let began = of.since.unwrap_or(of.progress.first_seen);
    there(causes, gone).filter(move |(_, c)| {
        let since = c.since.filter(|since| *since <= began);
        c.code() == Code::NodeNotReady
            && c.severity >= Severity::Warning
            && since.is_some_and(|since| began.secs_since(since) <= AFTER_LOSS_SECS)
    })
}

/// Returns the cause of a slow service: its own errors, or a lost node.
fn slow_for(causes: &[Cause], gone: &[bool], slow: &Cause) -> Option<usize> {
    let lost = lost_before(causes, gone, slow);
    // The service's own errors explain more.
    let errors = there(causes, gone)
        .find(|(_, c)| c.code() == Code::ServiceErrors && c.objects.first() == slow.objects.first())
        .map(|(n, _)| n);
    errors.or(lost.max_by_key(|(_, c)| c.impact.pods).map(|(n, _)| n))
}

/// Returns the finding about the workload whose pods the budget lacks.
fn budget_of(
    context: &RuleContext<'_, '_>,
    causes: &[Cause],
    gone: &[bool],
    blocked: &Cause,
) -> Option<usize> {
    let pdb = context.cluster.pdbs.by_uid(&blocked.objects.first()?.uid)?;
    if pdb.current_healthy >= pdb.expected {
        return None;
    }
    there(causes, gone)
        .find(|(_, c)| {
            let workload = c.objects.first().and_then(|o| context.workload(&o.uid));
            workload.is_some_and(|row| {
                row.workload.namespace == pdb.namespace && row.workload.may_have_pods_for(&pdb.selector)
            })
        })
        .map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ClusterId, Uid};

    #[test]
    fn a_host_in_a_line() {
        let checkout =
            ObjectRef::new(ClusterId(0), Kind::Service, &"shop".into(), &"checkout".into(), &Uid::default());
        for (line, named) in [
            ("upstream checkout.shop.svc answered 500", true),
            ("GET http://checkout.shop.svc.cluster.local:8080/pay: 500", true),
            ("dial tcp checkout.shop:80: refused", true),
            ("GET http://checkout/pay: 500", true),
            ("GET http://checkout:8080: 500", true),
            ("the checkout failed", false),
            ("xcheckout.shop.svc", false),
            ("checkout.shopping.svc", false),
            ("//checkout-v2/", false),
        ] {
            assert_eq!(names_host(line, &checkout), named, "{line}");
        }
    }
}
