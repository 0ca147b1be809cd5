//! The number of replicas that a metric needs: the arithmetic of ready, unready and missing pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::doc::{after, list, quantity, text};
use crate::clock::parse;
use crate::store::{Object, condition, walk};
use crate::usage::Usage;

/// Before this time after its start, a pod's CPU usage is ignored, because the pod may still be starting.
const STARTING: TimeDelta = TimeDelta::minutes(5);
/// A pod that was not ready before this time after its start counts as never ready.
const INITIAL: TimeDelta = TimeDelta::seconds(30);
/// The time that one sample covers.
const WINDOW: TimeDelta = TimeDelta::seconds(15);

/// The target of a metric.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    /// Percent of the request.
    Utilization(i64),
    /// Thousandths per pod.
    Average(i64),
}

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proposal {
    pub replicas: i64,
    /// Percent of the requests, if the target is a utilization.
    pub utilization: Option<i64>,
    /// Thousandths per pod.
    pub average: i64,
}

/// The pods of a target by class, with usage in thousandths.
#[derive(Debug, Default)]
pub(super) struct Classes {
    pub ready: BTreeMap<String, i64>,
    pub unready: Vec<String>,
    pub missing: Vec<String>,
    /// There is a sample of at least one pod, even if it does not count.
    pub measured: bool,
}

/// The usage of a pod, or of one of its containers.
fn used(usage: &dyn Usage, pod: &Object, resource: &str, container: Option<&str>) -> Option<i64> {
    let all = usage.pod(pod.namespace(), pod.name())?;
    let mut all = all.iter().filter(|(name, _)| container.is_none_or(|one| one == name)).peekable();
    all.peek()?;
    Some(
        all.map(|(_, used)| {
            if resource == "cpu" {
                used.cpu_nano.div_ceil(1_000_000) as i64
            } else {
                used.memory as i64 * 1000
            }
        })
        .sum(),
    )
}

/// Whether the CPU sample of a pod is ignored: it may still be starting, or was never ready.
fn is_starting(pod: &Object, at: DateTime<Utc>) -> bool {
    let (Some(ready), Some(start)) = (condition(&pod.value, "Ready"), pod.time("/status/startTime")) else {
        return true;
    };
    let is_false = text(ready, "status") == "False";
    let since = parse(text(ready, "lastTransitionTime")).unwrap_or(start);
    if after(start, STARTING) > at {
        is_false || at < after(since, WINDOW)
    } else {
        is_false && after(start, INITIAL) > since
    }
}

/// The order matters: a pod without a sample is missing however young it is, and only a pending one is unready before
/// its sample is checked.
pub(super) fn classify(
    usage: &dyn Usage,
    pods: &[Arc<Object>],
    resource: &str,
    container: Option<&str>,
    at: DateTime<Utc>,
) -> Classes {
    let mut out = Classes::default();
    for pod in pods {
        let sample = usage.is_up().then(|| used(usage, pod, resource, container)).flatten();
        out.measured |= sample.is_some();
        if pod.is_terminating() || pod.text("/status/phase") == "Failed" {
            continue;
        }
        let name = pod.name().to_owned();
        if pod.text("/status/phase") == "Pending" {
            out.unready.push(name);
            continue;
        }
        match sample {
            None => out.missing.push(name),
            Some(_) if resource == "cpu" && is_starting(pod, at) => out.unready.push(name),
            Some(used) => _ = out.ready.insert(name, used),
        }
    }
    out
}

/// The requests of each pod, in thousandths.
pub(super) fn requests(
    pods: &[Arc<Object>],
    resource: &str,
    container: Option<&str>,
) -> Result<BTreeMap<String, i64>, String> {
    let mut out = BTreeMap::new();
    for pod in pods {
        let mut sum = 0;
        let sidecars = list(&pod.value, "/spec/initContainers")
            .iter()
            .filter(|one| text(one, "restartPolicy") == "Always");
        for one in list(&pod.value, "/spec/containers").iter().chain(sidecars) {
            if container.is_some_and(|wanted| wanted != text(one, "name")) {
                continue;
            }
            let request = walk(one, "/resources/requests").and_then(|all| all.get(resource));
            let request =
                request.or_else(|| walk(one, "/resources/limits").and_then(|all| all.get(resource)));
            let Some(request) = request else {
                return Err(format!(
                    "missing request for {resource} in container {} of Pod {}",
                    text(one, "name"),
                    pod.name()
                ));
            };
            sum += quantity(request);
        }
        out.insert(pod.name().to_owned(), sum);
    }
    Ok(out)
}

/// The ratio of usage to target, with the utilization and the average that it comes from.
fn ratio(
    used: &BTreeMap<String, i64>,
    requests: &BTreeMap<String, i64>,
    aim: Aim,
) -> (f64, Option<i64>, i64) {
    let total: i64 = used.values().sum();
    let average = if used.is_empty() { 0 } else { total / used.len() as i64 };
    match aim {
        Aim::Utilization(target) => {
            let asked: i64 = used.keys().filter_map(|name| requests.get(name)).sum();
            let percent = if asked > 0 { total * 100 / asked } else { 0 };
            (percent as f64 / target.max(1) as f64, Some(percent), average)
        }
        Aim::Average(target) => (average as f64 / target.max(1) as f64, None, average),
    }
}

/// The number that the real controller would propose. `up` and `down` are the tolerances.
pub(super) fn propose(
    classes: &Classes,
    requests: &BTreeMap<String, i64>,
    aim: Aim,
    current: i64,
    (down, up): (f64, f64),
) -> Proposal {
    let within = |ratio: f64| (1.0 - down..=1.0 + up).contains(&ratio);
    let (first, utilization, average) = ratio(&classes.ready, requests, aim);
    let told = |replicas: i64| Proposal { replicas, utilization, average };
    let unready_counts = !classes.unready.is_empty() && first > 1.0;
    if classes.missing.is_empty() && !unready_counts {
        let wanted = (first * classes.ready.len() as f64).ceil() as i64;
        return told(if within(first) { current } else { wanted });
    }
    let mut used = classes.ready.clone();
    for name in &classes.missing {
        let assumed = match aim {
            _ if first > 1.0 => 0,
            // Exactly at the target: a utilization leaves them out, a plain average counts them as idle.
            Aim::Utilization(_) if first >= 1.0 => continue,
            Aim::Average(_) if first >= 1.0 => 0,
            Aim::Utilization(target) => {
                requests.get(name).copied().unwrap_or_default() * target.max(100) / 100
            }
            Aim::Average(target) => target,
        };
        used.insert(name.clone(), assumed);
    }
    if unready_counts {
        used.extend(classes.unready.iter().map(|name| (name.clone(), 0)));
    }
    let (second, _, _) = ratio(&used, requests, aim);
    let flipped = first < 1.0 && second > 1.0 || first > 1.0 && second < 1.0;
    if within(second) || flipped {
        return told(current);
    }
    let wanted = (second * used.len() as f64).ceil() as i64;
    let backwards = second < 1.0 && wanted > current || second > 1.0 && wanted < current;
    told(if backwards { current } else { wanted })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::Res;
    use crate::usage::{Meter, Used};

    fn classes(ready: &[i64], unready: usize, missing: usize) -> (Classes, BTreeMap<String, i64>) {
        let mut requests = BTreeMap::new();
        let mut name = |kind: &str, n: usize| {
            requests.insert(format!("{kind}{n}"), 100);
            format!("{kind}{n}")
        };
        let classes = Classes {
            ready: ready.iter().enumerate().map(|(n, used)| (name("r", n), *used)).collect(),
            unready: (0..unready).map(|n| name("u", n)).collect(),
            missing: (0..missing).map(|n| name("m", n)).collect(),
            measured: true,
        };
        (classes, requests)
    }

    fn wanted(ready: &[i64], unready: usize, missing: usize, target: i64) -> i64 {
        let (classes, requests) = classes(ready, unready, missing);
        let current = (ready.len() + unready + missing) as i64;
        propose(&classes, &requests, Aim::Utilization(target), current, (0.1, 0.1)).replicas
    }

    /// A pod of this phase that started so many seconds ago and has been ready, or not, for so long.
    fn pod(name: &str, phase: &str, started: i64, ready: Option<(&str, i64)>) -> Arc<Object> {
        let ago = |n: i64| crate::clock::stamp(now() - TimeDelta::seconds(n));
        let mut value = json!({"metadata": {"name": name, "namespace": "shop", "uid": name},
            "status": {"phase": phase, "startTime": ago(started)}});
        if let Some((status, since)) = ready {
            value["status"]["conditions"] =
                json!([{"type": "Ready", "status": status, "lastTransitionTime": ago(since)}]);
        }
        Arc::new(Object::new(Res::Pods, value, 1))
    }

    fn now() -> DateTime<Utc> {
        parse("2026-01-02T03:04:05Z").unwrap()
    }

    #[test]
    fn the_phase_comes_before_the_sample_and_the_sample_before_the_age() {
        let meter = Meter::default();
        let mut ending = pod("ending", "Running", 900, Some(("True", 800))).value.clone();
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:00Z");
        let pods = [
            Arc::new(Object::new(Res::Pods, ending, 1)),
            pod("failed", "Failed", 900, None),
            pod("pending", "Pending", 5, None),
            pod("pending-seen", "Pending", 5, None),
            pod("young", "Running", 20, Some(("False", 20))),
            pod("young-seen", "Running", 20, Some(("False", 20))),
            pod("just-ready", "Running", 60, Some(("True", 10))),
            pod("never-ready", "Running", 900, Some(("False", 890))),
            pod("lost-ready", "Running", 900, Some(("False", 100))),
            pod("well", "Running", 900, Some(("True", 800))),
            pod("old-unseen", "Running", 900, Some(("True", 800))),
        ];
        for name in
            ["ending", "pending-seen", "young-seen", "just-ready", "never-ready", "lost-ready", "well"]
        {
            let used = Used { cpu_nano: 50_000_000, memory: 1000 };
            meter.set_pod("shop", name, Some(vec![("app".to_owned(), used)]));
        }
        let classes = classify(&meter, &pods, "cpu", None, now());
        assert_eq!(classes.ready.keys().collect::<Vec<_>>(), ["lost-ready", "well"]);
        assert_eq!(classes.unready, ["pending", "pending-seen", "young-seen", "just-ready", "never-ready"]);
        assert_eq!(classes.missing, ["young", "old-unseen"], "no sample, at whatever age");
        let classes = classify(&meter, &pods, "memory", None, now());
        assert_eq!(classes.unready, ["pending", "pending-seen"], "readiness counts for CPU only");
        assert_eq!(classes.missing, ["young", "old-unseen"]);
    }

    #[test]
    fn a_young_pod_without_a_sample_counts_as_busy_when_the_others_are_idle() {
        let meter = Meter::default();
        let mut pods = vec![pod("young", "Running", 20, Some(("False", 20)))];
        for n in 0..4 {
            let name = format!("old{n}");
            let used = Used { cpu_nano: 30_000_000, memory: 1000 };
            meter.set_pod("shop", &name, Some(vec![("app".to_owned(), used)]));
            pods.push(pod(&name, "Running", 900, Some(("True", 800))));
        }
        let classes = classify(&meter, &pods, "cpu", None, now());
        let requests = pods.iter().map(|pod| (pod.name().to_owned(), 100)).collect();
        let proposal = propose(&classes, &requests, Aim::Utilization(50), 5, (0.1, 0.1));
        assert_eq!(
            proposal.replicas, 5,
            "30 % of four and 100 % of one are 44 %: within tolerance of nothing less"
        );
    }

    #[test]
    fn known_cases() {
        assert_eq!(wanted(&[90; 4], 0, 0, 50), 8);
        assert_eq!(wanted(&[54; 4], 0, 0, 50), 4, "within tolerance");
        assert_eq!(wanted(&[30; 4], 0, 1, 50), 5, "the missing one counts as busy");
        assert_eq!(wanted(&[50; 4], 0, 1, 50), 5, "nothing is assumed of the missing one");
        assert_eq!(wanted(&[80; 4], 4, 0, 50), 8, "the unready ones count as idle, and that turns it around");
        let (classes, requests) = classes(&[34, 33, 33], 0, 0);
        let proposal = propose(&classes, &requests, Aim::Utilization(50), 3, (0.1, 0.1));
        assert_eq!(proposal.utilization, Some(33));
    }
}
