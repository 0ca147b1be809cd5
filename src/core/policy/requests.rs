//! Calculates the effective requests of a pod like `kubectl describe node` and the scheduler do (component-helpers'
//! `resource.PodRequests`).

use crate::domain::quantity::Resources;

/// The fields of a container that the calculation uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `spec.containers[].resources.requests`.
    pub spec: Resources,
    /// `status.containerStatuses[].resources.requests`: the requests in force after an in-place resize.
    pub actuated: Option<Resources>,
    /// `status.containerStatuses[].allocatedResources`.
    pub allocated: Option<Resources>,
    /// True for an init container with `restartPolicy: Always`.
    pub sidecar: bool,
}

/// The fields of a pod that the calculation uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRequests {
    pub containers: Vec<Container>,
    /// The init containers, in the order of the spec.
    pub init_containers: Vec<Container>,
    /// `spec.resources.requests` (pod level). It replaces the sum for each resource that it names.
    pub pod_level: PodLevel,
    pub overhead: Resources,
    /// True if the condition PodResizePending has reason Infeasible. The requests in the spec then do not count.
    pub resize_infeasible: bool,
}

/// Pod-level requests. `None` if a resource has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLevel {
    pub cpu_milli: Option<i64>,
    pub memory_bytes: Option<i64>,
    pub ephemeral_bytes: Option<i64>,
}

impl Container {
    fn effective(&self, infeasible: bool) -> Resources {
        let in_force = match (self.actuated, self.allocated) {
            (None, None) => return self.spec,
            (Some(a), Some(b)) => a.max(b),
            (Some(one), None) | (None, Some(one)) => one,
        };
        if infeasible { in_force } else { self.spec.max(in_force) }
    }
}

/// Returns the effective requests of a pod.
///
/// The order of the init containers matters. A sidecar that starts before an init container runs at the same time. A
/// sidecar that starts after it does not.
pub fn effective(pod: &PodRequests) -> Resources {
    let of = |c: &Container| c.effective(pod.resize_infeasible);
    let main = pod
        .containers
        .iter()
        .chain(pod.init_containers.iter().filter(|c| c.sidecar))
        .fold(Resources::default(), |sum, c| sum.plus(of(c)));
    let mut sidecars = Resources::default();
    let mut init = Resources::default();
    for container in &pod.init_containers {
        let request = of(container);
        let candidate = sidecars.plus(request);
        if container.sidecar {
            sidecars = candidate;
        }
        init = init.max(candidate);
    }
    let mut sum = main.max(init);
    if let Some(cpu) = pod.pod_level.cpu_milli {
        sum.cpu_milli = cpu;
    }
    if let Some(memory) = pod.pod_level.memory_bytes {
        sum.memory_bytes = memory;
    }
    if let Some(ephemeral) = pod.pod_level.ephemeral_bytes {
        sum.ephemeral_bytes = ephemeral;
    }
    sum.plus(pod.overhead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(milli: i64) -> Resources {
        Resources { cpu_milli: milli, ..Resources::default() }
    }
    fn container(milli: i64) -> Container {
        Container { spec: cpu(milli), ..Container::default() }
    }
    fn sidecar(milli: i64) -> Container {
        Container { sidecar: true, ..container(milli) }
    }

    #[test]
    fn init_and_sidecar_containers_in_order() {
        let mut pod = PodRequests {
            containers: vec![container(500), container(250)],
            init_containers: vec![sidecar(100), container(1000)],
            overhead: cpu(50),
            ..PodRequests::default()
        };
        assert_eq!(effective(&pod).cpu_milli, 1150, "the sidecar already runs beside the init container");
        pod.init_containers.reverse();
        assert_eq!(effective(&pod).cpu_milli, 1050, "it starts after it");
    }

    #[test]
    fn pod_level_requests_replace_what_they_name() {
        let pod = PodRequests {
            containers: vec![Container {
                spec: Resources { cpu_milli: 100, memory_bytes: 7, ephemeral_bytes: 0 },
                ..Container::default()
            }],
            pod_level: PodLevel { cpu_milli: Some(2000), ..PodLevel::default() },
            ..PodRequests::default()
        };
        assert_eq!(effective(&pod), Resources { cpu_milli: 2000, memory_bytes: 7, ephemeral_bytes: 0 });
    }

    #[test]
    fn a_resize_in_place_counts_the_larger_until_it_is_infeasible() {
        let container =
            Container { spec: cpu(500), actuated: Some(cpu(200)), allocated: Some(cpu(300)), sidecar: false };
        let mut pod = PodRequests { containers: vec![container], ..PodRequests::default() };
        assert_eq!(effective(&pod).cpu_milli, 500);
        pod.resize_infeasible = true;
        assert_eq!(effective(&pod).cpu_milli, 300);
    }
}
