//! How many replicas a metric asks for: the arithmetic of ready, unready and missing pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::doc::{after, list, quantity, text};
use crate::clock::parse;
use crate::store::{Object, condition, walk};
use crate::usage::Usage;

/// A pod's CPU is not believed before, while it may still be starting.
const STARTING: TimeDelta = TimeDelta::minutes(5);
/// A pod that was never ready after this was never meant to be.
const INITIAL: TimeDelta = TimeDelta::seconds(30);
/// What one sample covers.
const WINDOW: TimeDelta = TimeDelta::seconds(15);

/// What is aimed at.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    /// Percent of the request.
    Utilization(i64),
    /// Thousandths per pod.
    Average(i64),
}

/// What a metric says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub replicas: i64,
    /// Percent of the requests, where that is aimed at.
    pub utilization: Option<i64>,
    /// Thousandths per pod.
    pub average: i64,
}

/// The pods of a target in their classes, with usage in thousandths.
#[derive(Debug, Default)]
pub struct Classes {
    pub ready: BTreeMap<String, i64>,
    pub unready: Vec<String>,
    pub missing: Vec<String>,
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

fn is_unready(pod: &Object, resource: &str, at: DateTime<Utc>) -> bool {
    if pod.text("/status/phase") == "Pending" {
        return true;
    }
    if resource != "cpu" {
        return false;
    }
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

pub fn classify(
    usage: &dyn Usage,
    pods: &[Arc<Object>],
    resource: &str,
    container: Option<&str>,
    at: DateTime<Utc>,
) -> Classes {
    let mut out = Classes::default();
    for pod in pods {
        if pod.is_terminating() || pod.text("/status/phase") == "Failed" {
            continue;
        }
        let name = pod.name().to_owned();
        if is_unready(pod, resource, at) {
            out.unready.push(name);
        } else if let Some(used) = usage.is_up().then(|| used(usage, pod, resource, container)).flatten() {
            out.ready.insert(name, used);
        } else {
            out.missing.push(name);
        }
    }
    out
}

/// The requests of each pod, in thousandths.
pub fn requests(
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

/// The ratio of use to aim, with the utilization and the average that it comes from.
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

/// What the real controller would propose. `up` and `down` are the tolerances.
pub fn propose(
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
    use super::*;

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
        };
        (classes, requests)
    }

    fn wanted(ready: &[i64], unready: usize, missing: usize, target: i64) -> i64 {
        let (classes, requests) = classes(ready, unready, missing);
        let current = (ready.len() + unready + missing) as i64;
        propose(&classes, &requests, Aim::Utilization(target), current, (0.1, 0.1)).replicas
    }

    #[test]
    fn known_cases() {
        assert_eq!(wanted(&[90; 4], 0, 0, 50), 8);
        assert_eq!(wanted(&[54; 4], 0, 0, 50), 4, "within tolerance");
        assert_eq!(wanted(&[30; 4], 0, 1, 50), 5, "the missing one counts as busy");
        assert_eq!(wanted(&[80; 4], 4, 0, 50), 8, "the unready ones count as idle, and that turns it around");
        let (classes, requests) = classes(&[34, 33, 33], 0, 0);
        let proposal = propose(&classes, &requests, Aim::Utilization(50), 3, (0.1, 0.1));
        assert_eq!(proposal.utilization, Some(33));
    }
}
