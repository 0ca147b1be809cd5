//! Rules about Services, traffic, errors, autoscalers and budgets.

use crate::domain::id::{Kind, Name, ObjectRef, Uid};
use crate::domain::node::Status;
use crate::domain::service::ServiceType;
use crate::domain::traffic::ServiceTraffic;
use crate::model::world::{Cause, Reach, Severity, Suggestion};
use crate::policy::hpa::{self as autoscaling, HpaState};

use super::{Scene, count, title_of};

/// A Service is given this long to get its first endpoints.
const GRACE_SECS: u64 = 30;

pub fn no_ready_endpoints(scene: &Scene<'_, '_>) -> Vec<Cause> {
    // without endpoint data every Service would look empty
    if !scene.cluster.slices.cover.is_complete()
        && !matches!(scene.cluster.slices.cover, crate::model::table::Coverage::Namespaces(_))
    {
        return Vec::new();
    }
    let rows = scene.cluster.derived.services.iter().filter(|row| {
        let s = &row.service;
        row.ready == 0
            && s.kind != ServiceType::ExternalName
            && !s.selector.is_empty()
            && scene.now.secs_since(s.created) >= GRACE_SECS
    });
    rows.map(|row| {
        let s = &row.service;
        let object = ObjectRef::new(Kind::Service, &s.namespace, &s.name, &s.uid);
        let behind: Vec<_> = scene
            .workloads_in(&s.namespace)
            .iter()
            .filter(|w| s.selector.matches(&w.workload.template_labels))
            .collect();
        let off = !behind.is_empty() && behind.iter().all(|w| w.workload.desired == 0);
        let c = scene.cluster;
        let known =
            [&c.deployments, &c.statefulsets, &c.daemonsets].iter().all(|t| t.cover.covers(&s.namespace));
        let why = if behind.is_empty() && known && row.total == 0 {
            "its selector matches no workload".to_owned()
        } else if behind.is_empty() {
            format!("{} of {} endpoints ready", row.ready, row.total)
        } else if off {
            format!("{} is scaled to 0", behind.first().map_or("", |w| w.workload.name.as_str()))
        } else {
            format!("{} of {} endpoints ready", row.ready, row.total)
        };
        let selector: Vec<String> = s.selector.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Cause {
            rule: "no-ready-endpoints",
            severity: if off { Severity::Info } else { Severity::Critical },
            title: format!("service {} has no ready endpoints: {why}", title_of(&object)),
            objects: vec![object],
            since: None,
            evidence: vec![
                format!("selector {}", selector.join(",")),
                format!("EndpointSlices {}, endpoints {}, ready {}", row.slices.len(), row.total, row.ready),
            ],
            action: None,
            reach: Reach { services: 1, ..Reach::default() },
        }
    })
    .collect()
}

/// Requests below this many in the window prove nothing.
const ENOUGH: f64 = 20.0;
const BAD_RATIO: f64 = 0.01;
/// A finding goes only below this one, so that a ratio at the threshold does not flicker.
const GOOD_RATIO: f64 = 0.005;

pub fn errors(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let services = scene.cluster.traffic.services.iter().filter_map(|s| {
        let (rps, ratio) = (s.rps?, s.error_ratio?);
        let enough =
            rps * f64::from(s.window_secs) >= ENOUGH && ratio * rps * f64::from(s.window_secs) >= 3.0;
        let object = about(s);
        let held = scene.held(&object) && ratio >= GOOD_RATIO;
        (held || enough && ratio >= BAD_RATIO).then_some((s, object, rps, ratio))
    });
    services
        .map(|(s, object, rps, ratio)| {
            let mut bad: Vec<_> =
                s.backends.iter().filter(|b| b.error_ratio.is_some_and(|r| r >= BAD_RATIO)).collect();
            bad.sort_by(|a, b| b.error_ratio.unwrap_or(0.0).total_cmp(&a.error_ratio.unwrap_or(0.0)));
            let whom = match bad.as_slice() {
                [one] if s.backends.len() > 1 => format!(", only backend {}", one.name),
                some if some.len() < s.backends.len() => {
                    format!(", {} of {} backends", some.len(), s.backends.len())
                }
                _ => ", all backends".into(),
            };
            Cause {
                rule: "service-errors",
                severity: if ratio >= 0.05 { Severity::Critical } else { Severity::Warning },
                title: format!("{} {:.1}% errors at {rps:.0} rps{whom}", title_of(&object), ratio * 100.0),
                objects: vec![object],
                since: None,
                evidence: bad
                    .iter()
                    .map(|b| {
                        format!(
                            "backend {}: {:.1}% errors at {:.1} rps",
                            b.name,
                            b.error_ratio.unwrap_or(0.0) * 100.0,
                            b.rps.unwrap_or(0.0)
                        )
                    })
                    .chain([format!("measured by {} over {} s", s.preset, s.window_secs)])
                    .collect(),
                action: match bad.as_slice() {
                    [one] if s.backends.len() > 1 => removable(scene, s, &one.name),
                    _ => None,
                },
                reach: Reach {
                    services: 1,
                    pods: u32::try_from(bad.len()).unwrap_or(u32::MAX),
                    error_ratio: Some(ratio),
                    ..Reach::default()
                },
            }
        })
        .collect()
}

/// Taking the one bad backend out of its Service. Not a StatefulSet's pod: nobody else can have its name.
fn removable(scene: &Scene<'_, '_>, service: &ServiceTraffic, backend: &Name) -> Option<Suggestion> {
    let pod = scene.cluster.pod(&service.namespace, backend)?;
    let stays = pod.owner.as_ref().is_some_and(|o| o.kind == Kind::StatefulSet);
    (!stays).then(|| Suggestion {
        command: "rotation",
        title: format!("take {backend} out of {}", service.name),
        on: ObjectRef::new(Kind::Pod, &pod.namespace, &pod.name, &pod.uid),
    })
}

fn about(service: &ServiceTraffic) -> ObjectRef {
    ObjectRef::new(Kind::Service, &service.namespace, &service.name, &Uid::default())
}

/// An error that was first seen within ten minutes after a rollout of the only workload that logs it.
pub fn errors_since_rollout(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut found = Vec::new();
    for group in scene.cluster.logs.groups.iter() {
        let [workload] = &*group.workloads else { continue };
        let change = scene.cluster.derived.changes.iter().find(|c| {
            c.what.starts_with("rollout ")
                && format!("{}/{}", c.object.namespace, c.object.name) == workload.as_str()
                && group.first >= c.at
                && group.first.secs_since(c.at) <= 600
        });
        let Some(change) = change else { continue };
        found.push(Cause {
            rule: "errors-since-rollout",
            severity: Severity::Warning,
            title: format!(
                "{workload} new error {}s after {}: {}",
                group.first.secs_since(change.at),
                change.what,
                group.template
            ),
            objects: vec![change.object.clone()],
            since: Some(group.first),
            evidence: vec![
                format!(
                    "{} lines, {:.0}/min, {}",
                    group.count,
                    group.per_minute,
                    count(group.pod_count, "pod")
                ),
                format!(
                    "{} at {} by {}",
                    change.what,
                    change.at,
                    change.by.as_ref().map_or("unknown", |b| b.as_str())
                ),
                format!("sample: {}", group.sample),
            ],
            action: None,
            reach: Reach { services: 0, pods: group.pod_count, ..Reach::default() },
        });
    }
    found
}

pub fn hpa(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let mut found = Vec::new();
    for hpa in scene.cluster.hpas.iter() {
        let verdict = autoscaling::judge(hpa, scene.now);
        let object = ObjectRef::new(Kind::HorizontalPodAutoscaler, &hpa.namespace, &hpa.name, &hpa.uid);
        let name = title_of(&object);
        let (severity, title) = match verdict.state {
            HpaState::AtMax => {
                // within the tolerance of its maximum it has what it wants
                if verdict.wants.is_some_and(|wants| wants <= hpa.max) {
                    continue;
                }
                let wants = verdict.wants.map_or_else(String::new, |wants| format!(", wants {wants}"));
                (Severity::Warning, format!("HPA {name} at max {}{wants}", hpa.max))
            }
            HpaState::Failing => (Severity::Warning, format!("HPA {name} cannot act: {}", verdict.why)),
            _ => continue,
        };
        let mut evidence: Vec<String> = verdict.computed.iter().map(|c| format!("computed {c}")).collect();
        for condition in hpa.conditions.iter() {
            let bad = (condition.kind == "ScalingLimited") == (condition.status == Status::True);
            if bad {
                evidence.push(format!(
                    "{}={} {}: {}",
                    condition.kind,
                    condition.status.as_str(),
                    condition.reason,
                    condition.message
                ));
            }
        }
        let target =
            ObjectRef::new(hpa.target_kind.clone(), &hpa.namespace, &hpa.target_name, &Uid::default());
        let at_max = verdict.state == HpaState::AtMax;
        let bounds =
            Suggestion { command: "bounds", title: format!("bounds of {}", hpa.name), on: object.clone() };
        found.push(Cause {
            rule: if at_max { "hpa-at-limit" } else { "hpa-failing" },
            severity,
            title,
            objects: vec![object, target],
            since: verdict.since,
            evidence,
            action: at_max.then_some(bounds),
            reach: Reach { pods: u32::try_from(hpa.current.unwrap_or(0)).unwrap_or(0), ..Reach::default() },
        });
    }
    found
}

pub fn pdb(scene: &Scene<'_, '_>) -> Vec<Cause> {
    let blocking = scene.cluster.pdbs.iter().filter(|p| p.allowed <= 0 && p.expected > 0);
    blocking
        .map(|p| {
            let object = ObjectRef::new(Kind::PodDisruptionBudget, &p.namespace, &p.name, &p.uid);
            let unhealthy = p.current_healthy < p.expected;
            let rule = match (&p.min_available, &p.max_unavailable) {
                (Some(min), _) => format!("minAvailable {min}"),
                (None, Some(max)) => format!("maxUnavailable {max}"),
                _ => "no bound".into(),
            };
            let why = if unhealthy {
                format!("{} of {} healthy, needs {}", p.current_healthy, p.expected, p.desired_healthy)
            } else {
                format!("{rule} of {} leaves no room: a drain never ends", p.expected)
            };
            Cause {
                rule: "pdb-blocks",
                severity: if unhealthy { Severity::Warning } else { Severity::Info },
                title: format!("PDB {} allows no disruption: {why}", title_of(&object)),
                objects: vec![object],
                since: p.blocked_since(),
                evidence: vec![
                    format!(
                        "{rule}; healthy {} desired {} expected {}",
                        p.current_healthy, p.desired_healthy, p.expected
                    ),
                    format!("observedGeneration {} of {}", p.observed_generation, p.generation),
                ],
                action: None,
                reach: Reach { pods: u32::try_from(p.expected).unwrap_or(0), ..Reach::default() },
            }
        })
        .collect()
}
