//! Decodes pods: kubectl's STATUS and READY columns, problems with their messages, and requests, including in-place
//! resizes.

mod columns;
mod own;
mod probe;
mod scheduling;
mod trouble;

use std::sync::Arc;

use pilothouse_core::domain::id::{Kind, Name};
use pilothouse_core::domain::node::Status;
use pilothouse_core::domain::pod::{ContainerShape, Phase, Pod, PodShape};
use pilothouse_core::domain::quantity;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::requests::{Container, PodLevel, PodRequests, effective};
use serde::Deserialize;
use serde::de::IgnoredAny;

use self::columns::columns;
use self::own::{is_own, own};
use self::probe::Probe;
use self::scheduling::{AffinityDoc, Port, SpreadDoc, TolerationDoc, main_and_sidecars};
use self::trouble::{last_exit, trouble};
use super::{ConditionDoc, Decode, Decoder, Labels, Meta, Pools, Text, read, resources, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<PodSpec<'a>>,
    #[serde(borrow)]
    status: Option<PodStatus<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec<'a> {
    #[serde(borrow)]
    node_name: Text<'a>,
    #[serde(borrow)]
    containers: Option<Vec<ContainerDoc<'a>>>,
    #[serde(borrow)]
    init_containers: Option<Vec<ContainerDoc<'a>>>,
    #[serde(borrow)]
    resources: Option<Requests<'a>>,
    #[serde(borrow)]
    overhead: Labels<'a>,
    #[serde(borrow)]
    volumes: Option<Vec<Volume<'a>>>,
    #[serde(borrow)]
    node_selector: Labels<'a>,
    #[serde(borrow)]
    affinity: Option<AffinityDoc<'a>>,
    #[serde(borrow)]
    tolerations: Option<Vec<TolerationDoc<'a>>>,
    #[serde(borrow)]
    topology_spread_constraints: Option<Vec<SpreadDoc<'a>>>,
    termination_grace_period_seconds: Option<i64>,
    #[serde(borrow)]
    restart_policy: Text<'a>,
    priority: Option<i32>,
    host_network: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerDoc<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    image: Text<'a>,
    #[serde(borrow)]
    restart_policy: Text<'a>,
    #[serde(borrow)]
    resources: Option<Requests<'a>>,
    #[serde(borrow)]
    ports: Option<Vec<Port<'a>>>,
    startup_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
}

impl ContainerDoc<'_> {
    fn sidecar(&self) -> bool {
        &*self.restart_policy == "Always"
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Requests<'a> {
    #[serde(borrow)]
    requests: Labels<'a>,
    #[serde(borrow)]
    limits: Labels<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    empty_dir: Option<IgnoredAny>,
    host_path: Option<IgnoredAny>,
    #[serde(borrow)]
    persistent_volume_claim: Option<ClaimSource<'a>>,
    /// A claim that is made and deleted with the pod.
    ephemeral: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource<'a> {
    #[serde(borrow)]
    claim_name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus<'a> {
    #[serde(borrow)]
    phase: Text<'a>,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow, rename = "podIP")]
    pod_ip: Text<'a>,
    #[serde(borrow)]
    start_time: Text<'a>,
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
    #[serde(borrow)]
    container_statuses: Option<Vec<ContainerStatus<'a>>>,
    #[serde(borrow)]
    init_container_statuses: Option<Vec<ContainerStatus<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    ready: Option<bool>,
    started: Option<bool>,
    restart_count: Option<i64>,
    #[serde(borrow)]
    state: Option<ContainerState<'a>>,
    #[serde(borrow)]
    last_state: Option<ContainerState<'a>>,
    #[serde(borrow)]
    allocated_resources: Option<Labels<'a>>,
    #[serde(borrow)]
    resources: Option<Requests<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState<'a> {
    #[serde(borrow)]
    waiting: Option<Waiting<'a>>,
    running: Option<IgnoredAny>,
    #[serde(borrow)]
    terminated: Option<Terminated<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Waiting<'a> {
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated<'a> {
    #[serde(borrow)]
    reason: Text<'a>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    #[serde(borrow)]
    finished_at: Text<'a>,
}

impl ContainerStatus<'_> {
    fn waiting(&self) -> Option<&Waiting<'_>> {
        self.state.as_ref()?.waiting.as_ref()
    }
    fn terminated(&self) -> Option<&Terminated<'_>> {
        self.state.as_ref()?.terminated.as_ref()
    }
    fn running(&self) -> bool {
        self.state.as_ref().is_some_and(|s| s.running.is_some())
    }
    fn restarts(&self) -> u32 {
        u32::try_from(self.restart_count.unwrap_or(0)).unwrap_or(0)
    }
}

impl Decode for Pod {
    fn decoder(_: &Kind, clock: &Clock) -> Decoder<Self> {
        let (mut pools, clock) = (Pools::default(), clock.clone());
        Box::new(move |json| pod(&mut pools, json, clock.now()).map(Some))
    }
}

/// A pod from its JSON, read at `now`.
pub fn pod(pools: &mut Pools, json: &[u8], now: Stamp) -> Result<Pod, DecodeError> {
    let doc: PodDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("pod")?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    let phase = Phase::parse(&status.phase);
    let shape = shape(pools, meta, &spec);
    let requests = if resized(&status) { effective(&requests(&spec, Some(&status))) } else { shape.requests };
    let ready = condition(&status, "Ready");
    let columns = columns(&spec, &status);
    let (trouble, why) = trouble(&status, phase, now);
    let name = single(&meta.name);
    let claims = if phase == Phase::Pending { claims(&name, &spec) } else { Box::default() };
    let evicted = condition(&status, "DisruptionTarget")
        .is_some_and(|c| Status::parse(&c.status) == Status::True && &*c.reason == "EvictionByEvictionAPI");
    Ok(Pod {
        own: own(pools, meta, &name, evicted, claims),
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name,
        node: pools.some(&spec.node_name),
        owner: pools.owner(meta),
        shape,
        requests,
        phase,
        ready: ready.is_some_and(|c| Status::parse(&c.status) == Status::True),
        init_running: init_running(&spec, &status),
        ready_since: ready.and_then(|c| c.last_transition_time.stamp()),
        containers_ready: columns.ready,
        containers: columns.total,
        created: meta.created(),
        started: status.start_time.stamp(),
        deleting: meta.deletion_timestamp.stamp(),
        deletion_grace_secs: meta.deletion_grace_period_seconds.and_then(|s| u32::try_from(s).ok()),
        restarts: columns.restarts,
        last_exit: last_exit(pools, &status),
        trouble,
        status: pools.name(&columns.status),
        message: why,
        ip: (!status.pod_ip.is_empty()).then(|| single(&status.pod_ip)),
        mirror: meta.annotations.get("kubernetes.io/config.mirror").is_some(),
    })
}

/// The PersistentVolumeClaims that a pod mounts. The claim of an ephemeral volume is named after the pod and the volume.
fn claims(name: &Name, spec: &PodSpec<'_>) -> Box<[Name]> {
    let claim = |volume: &Volume<'_>| match &volume.persistent_volume_claim {
        Some(source) => Some(single(&source.claim_name)),
        None => volume.ephemeral.map(|_| single(&format!("{name}-{}", &*volume.name))),
    };
    spec.volumes.iter().flatten().filter_map(claim).collect()
}

/// An init container that is not a sidecar runs.
fn init_running(spec: &PodSpec<'_>, status: &PodStatus<'_>) -> bool {
    let stays = |name: &str| spec.init_containers.iter().flatten().any(|c| *c.name == *name && c.sidecar());
    status.init_container_statuses.iter().flatten().any(|c| c.running() && !stays(&c.name))
}

fn condition<'a, 'b>(status: &'b PodStatus<'a>, kind: &str) -> Option<&'b ConditionDoc<'a>> {
    status.conditions.iter().flatten().find(|c| &*c.kind == kind)
}

fn shape(pools: &mut Pools, meta: &Meta<'_>, spec: &PodSpec<'_>) -> Arc<PodShape> {
    let mut containers = |list: Option<&Vec<ContainerDoc<'_>>>| {
        list.into_iter()
            .flatten()
            .map(|c| ContainerShape {
                name: pools.name(&c.name),
                image: pools.name(&c.image),
                sidecar: c.sidecar(),
            })
            .collect()
    };
    let (main, init) = (containers(spec.containers.as_ref()), containers(spec.init_containers.as_ref()));
    let labels = meta
        .labels
        .0
        .iter()
        .filter(|(k, _)| !is_own(k))
        .map(|(k, v)| (pools.name(k), pools.name(v)))
        .collect();
    let has = |volume: fn(&Volume<'_>) -> bool| spec.volumes.iter().flatten().any(volume);
    let shape = PodShape {
        labels,
        containers: main,
        init_containers: init,
        requests: effective(&requests(spec, None)),
        cpu_limit_milli: limit(spec, "cpu", quantity::milli).unwrap_or(0),
        memory_limit_bytes: limit(spec, "memory", quantity::whole).unwrap_or(0),
        empty_dir: has(|v| v.empty_dir.is_some()),
        grace_secs: spec.termination_grace_period_seconds.and_then(|s| u32::try_from(s).ok()),
        priority: spec.priority.unwrap_or(0),
        host_network: spec.host_network.unwrap_or(false),
        claims: has(|v| v.persistent_volume_claim.is_some() || v.ephemeral.is_some()),
        host_path: has(|v| v.host_path.is_some()),
        keep_in_place: meta.annotations.get("cluster-autoscaler.kubernetes.io/safe-to-evict")
            == Some("false"),
        runs_to_end: matches!(&*spec.restart_policy, "Never" | "OnFailure"),
        startup_secs: main_and_sidecars(spec).map(probe::startup_secs).max().unwrap_or(0),
        scheduling: scheduling::scheduling(pools, meta, spec),
    };
    pools.shapes.get(shape)
}

/// What a pod may use of a resource: its own limit, or the sum over its containers if each of them has one.
fn limit(spec: &PodSpec<'_>, resource: &str, read: fn(&str) -> Option<i64>) -> Option<i64> {
    let limit = |r: &Requests<'_>| r.limits.get(resource).and_then(read);
    let of_pod = spec.resources.as_ref().and_then(limit);
    of_pod.or_else(|| main_and_sidecars(spec).map(|c| c.resources.as_ref().and_then(limit)).sum())
}

/// A container's status has resources of its own, which can differ from the template's.
fn resized(status: &PodStatus<'_>) -> bool {
    status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .any(|c| c.resources.is_some() || c.allocated_resources.is_some())
}

fn requests(spec: &PodSpec<'_>, status: Option<&PodStatus<'_>>) -> PodRequests {
    let one = |c: &ContainerDoc<'_>, statuses: Option<&Vec<ContainerStatus<'_>>>| {
        let found = statuses.into_iter().flatten().find(|s| *s.name == *c.name);
        Container {
            spec: c.resources.as_ref().map(|r| resources(&r.requests)).unwrap_or_default(),
            actuated: found.and_then(|s| s.resources.as_ref()).map(|r| resources(&r.requests)),
            allocated: found.and_then(|s| s.allocated_resources.as_ref()).map(resources),
            sidecar: c.sidecar(),
        }
    };
    let level = spec.resources.as_ref().map(|r| &r.requests);
    PodRequests {
        containers: spec
            .containers
            .iter()
            .flatten()
            .map(|c| one(c, status.and_then(|s| s.container_statuses.as_ref())))
            .collect(),
        init_containers: spec
            .init_containers
            .iter()
            .flatten()
            .map(|c| one(c, status.and_then(|s| s.init_container_statuses.as_ref())))
            .collect(),
        pod_level: PodLevel {
            cpu_milli: level.and_then(|l| l.get("cpu")).and_then(quantity::milli),
            memory_bytes: level.and_then(|l| l.get("memory")).and_then(quantity::whole),
            ephemeral_bytes: level.and_then(|l| l.get("ephemeral-storage")).and_then(quantity::whole),
        },
        overhead: resources(&spec.overhead),
        resize_infeasible: status
            .and_then(|s| condition(s, "PodResizePending"))
            .is_some_and(|c| &*c.reason == "Infeasible" && Status::parse(&c.status) == Status::True),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::pod::Trouble;

    use super::*;

    fn read_pod(spec: &str, status: &str) -> Pod {
        let json = format!(
            r#"{{"metadata":{{"name":"p","namespace":"shop","uid":"u","labels":{{"app":"a","apps.kubernetes.io/pod-index":"0","topology.kubernetes.io/zone":"z","pod-template-hash":"h"}},
            "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"rs","uid":"r","controller":true}}]}},"spec":{spec},"status":{status}}}"#
        );
        pod(&mut Pools::default(), json.as_bytes(), Stamp::parse("2026-01-01T00:00:00Z").unwrap()).unwrap()
    }

    #[test]
    fn status_and_ready_as_kubectl_prints_them() {
        let one = r#"{"containers":[{"name":"a"}]}"#;
        let init = r#"{"containers":[{"name":"a"}],"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}]}"#;
        for (spec, status, word, ready, total) in [
            (one, r#"{"phase":"Pending"}"#, "Pending", 0, 1),
            (
                one,
                r#"{"phase":"Running","containerStatuses":[{"name":"a","ready":true,"state":{"running":{}}}]}"#,
                "Running",
                1,
                1,
            ),
            (
                one,
                r#"{"phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}"#,
                "CrashLoopBackOff",
                0,
                1,
            ),
            (
                one,
                r#"{"phase":"Succeeded","containerStatuses":[{"name":"a","state":{"terminated":{"reason":"Completed","exitCode":0}}}]}"#,
                "Completed",
                0,
                1,
            ),
            (
                one,
                r#"{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":3}}}]}"#,
                "ExitCode:3",
                0,
                1,
            ),
            (
                one,
                r#"{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"signal":9,"exitCode":137}}}]}"#,
                "Signal:9",
                0,
                1,
            ),
            (one, r#"{"phase":"Failed","reason":"Evicted","message":"low on memory"}"#, "Evicted", 0, 1),
            (
                one,
                r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"SchedulingGated"}]}"#,
                "SchedulingGated",
                0,
                1,
            ),
            (
                init,
                r#"{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}},{"name":"s"}]}"#,
                "Init:0/2",
                0,
                2,
            ),
            (
                init,
                r#"{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"waiting":{"reason":"ImagePullBackOff"}}}]}"#,
                "Init:ImagePullBackOff",
                0,
                2,
            ),
            (
                init,
                r#"{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":1,"reason":"Error"}}}]}"#,
                "Init:Error",
                0,
                2,
            ),
            (
                init,
                r#"{"phase":"Running","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"s","started":true,"ready":true,"state":{"running":{}}}],"containerStatuses":[{"name":"a","ready":true,"state":{"running":{}}}]}"#,
                "Running",
                2,
                2,
            ),
            (
                r#"{"containers":[{"name":"a"},{"name":"b"}]}"#,
                r#"{"phase":"Running","containerStatuses":[{"name":"a","state":{"terminated":{"reason":"Completed","exitCode":0}}},{"name":"b","ready":true,"state":{"running":{}}}]}"#,
                "NotReady",
                1,
                2,
            ),
        ] {
            let pod = read_pod(spec, status);
            assert_eq!(
                (pod.status.as_str(), pod.containers_ready, pod.containers),
                (word, ready, total),
                "{status}"
            );
        }
    }

    #[test]
    fn trouble_is_the_cause() {
        let one = r#"{"containers":[{"name":"a"}]}"#;
        let of = |status: &str| read_pod(one, status).trouble;
        let oom = |finished: &str, state: &str| {
            format!(
                r#"{{"phase":"Running","containerStatuses":[{{"name":"a","state":{{{state}}},"lastState":{{"terminated":{{"reason":"OOMKilled","exitCode":137,"finishedAt":"{finished}"}}}}}}]}}"#
            )
        };
        assert_eq!(of(&oom("2025-12-31T23:30:00Z", r#""running":{}"#)), Some(Trouble::OomKilled));
        assert_eq!(of(&oom("2025-12-31T20:00:00Z", r#""running":{}"#)), None, "old news");
        assert_eq!(
            of(&oom("2025-12-31T20:00:00Z", r#""waiting":{"reason":"CrashLoopBackOff"}"#)),
            Some(Trouble::OomKilled)
        );
        let waiting = read_pod(
            one,
            r#"{"phase":"Pending","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"CreateContainerConfigError","message":"secret \"x\" not found"}}}]}"#,
        );
        assert_eq!(waiting.trouble, Some(Trouble::Config));
        assert_eq!(waiting.message.as_deref(), Some("secret \"x\" not found"));
        assert_eq!(
            of(
                r#"{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes"}]}"#
            ),
            Some(Trouble::Unschedulable)
        );
        assert_eq!(of(r#"{"phase":"Failed","reason":"Evicted"}"#), Some(Trouble::Evicted));
        assert_eq!(
            of(
                r#"{"phase":"Weird","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"NewReason"}}}]}"#
            ),
            None
        );
    }

    #[test]
    fn noise_is_taken_out_and_requests_follow_a_resize() {
        let spec = r#"{"containers":[{"name":"a","image":"i:1","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"1500m"}}}],"volumes":[{"name":"v","emptyDir":{}}],"terminationGracePeriodSeconds":30}"#;
        let pod = read_pod(
            spec,
            r#"{"phase":"Running","containerStatuses":[{"name":"a","restartCount":3,"allocatedResources":{"cpu":"800m"},"resources":{"requests":{"cpu":"700m"}}}]}"#,
        );
        assert_eq!(
            pod.shape.labels.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(),
            ["app", "pod-template-hash"]
        );
        let labels: Vec<String> = pod.labels().iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            labels,
            [
                "app=a",
                "pod-template-hash=h",
                "apps.kubernetes.io/pod-index=0",
                "topology.kubernetes.io/zone=z"
            ]
        );
        assert_eq!((pod.shape.requests.cpu_milli, pod.requests.cpu_milli), (500, 800));
        assert_eq!(pod.shape.cpu_limit_milli, 1_500);
        assert!(pod.shape.empty_dir && pod.restarts == 3);
        assert_eq!(pod.owner.unwrap().name, "rs");
    }

    #[test]
    fn what_a_pod_has_alone() {
        let of = |meta: &str| {
            let json = format!(r#"{{"metadata":{{"name":"db-0","namespace":"n","uid":"u"{meta}}}}}"#);
            pod(&mut Pools::default(), json.as_bytes(), Stamp(0)).unwrap()
        };
        assert_eq!(
            of(r#","finalizers":["batch.kubernetes.io/job-tracking"]"#).own,
            None,
            "it is not leaving"
        );
        let leaving = of(r#","finalizers":["example.com/hold"],"deletionTimestamp":"2026-01-01T00:00:00Z""#);
        assert_eq!(leaving.finalizers(), ["example.com/hold"]);
        let mounts = |phase: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"db-0","namespace":"n","uid":"u"}},"spec":{{"volumes":[{{"name":"cfg","configMap":{{"name":"c"}}}},
                    {{"name":"data","persistentVolumeClaim":{{"claimName":"data-db-0"}}}},{{"name":"tmp","ephemeral":{{"volumeClaimTemplate":{{}}}}}}]}},
                    "status":{{"phase":"{phase}"}}}}"#
            );
            pod(&mut Pools::default(), json.as_bytes(), Stamp(0)).unwrap()
        };
        assert_eq!(mounts("Pending").claims(), ["data-db-0", "db-0-tmp"]);
        assert_eq!(mounts("Running").own, None, "it has its volumes");
        let apart =
            |note: &str| of(&format!(r#","annotations":{{"pilothouse.dev/out-of-rotation":{note}}}"#));
        assert_eq!(apart(r#""{\"app\":\"a\"}""#).taken(), [("app".into(), "a".into())]);
        for edited in [r#""""#, r#""yes""#, r#""{\"app\":1}""#] {
            assert_eq!(apart(edited).own, None, "{edited}");
        }
        let going = |meta: &str, status: &str, reason: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"a","namespace":"n","uid":"u"{meta}}},"status":{{"conditions":[{{"type":"DisruptionTarget","status":"{status}","reason":"{reason}"}}]}}}}"#
            );
            pod(&mut Pools::default(), json.as_bytes(), Stamp(0)).unwrap().is_evicted()
        };
        let leaves = r#","deletionTimestamp":"2026-01-01T00:00:00Z""#;
        assert!(going(leaves, "True", "EvictionByEvictionAPI"));
        assert!(!going(leaves, "False", "EvictionByEvictionAPI"), "it was not carried out");
        assert!(!going(leaves, "True", "DeletionByTaintManager"), "nobody asked for it");
        assert!(!going("", "True", "EvictionByEvictionAPI"), "not yet");
        let named = of(r#","labels":{"statefulset.kubernetes.io/pod-name":"db-0"}"#);
        let value = named.labels().get("statefulset.kubernetes.io/pod-name").unwrap();
        assert!(std::ptr::eq(value.as_str(), named.name.as_str()), "one allocation for its name");
        let pools = &mut Pools::default();
        let mut zoned = |name: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"{name}","uid":"{name}","labels":{{"topology.kubernetes.io/zone":"z"}}}}}}"#
            );
            pod(pools, json.as_bytes(), Stamp(0)).unwrap().own.unwrap()
        };
        assert!(Arc::ptr_eq(&zoned("a"), &zoned("b")), "one allocation for the pods of a zone");
    }

    #[test]
    fn how_a_pod_starts_and_ends() {
        let spec = r#"{"restartPolicy":"Never","containers":[{"name":"a","startupProbe":{"periodSeconds":5,"failureThreshold":30,"initialDelaySeconds":10},"readinessProbe":{"initialDelaySeconds":20}},{"name":"b"}],"initContainers":[{"name":"i"},{"name":"s","restartPolicy":"Always"}]}"#;
        let of = |init: &str| {
            read_pod(
                spec,
                &format!(
                    r#"{{"phase":"Pending","conditions":[{{"type":"Ready","status":"False","lastTransitionTime":"2026-01-01T00:00:00Z"}}],"initContainerStatuses":[{init}]}}"#
                ),
            )
        };
        let pod = of(r#"{"name":"i","state":{"running":{}}}"#);
        assert!(pod.init_running && pod.shape.runs_to_end && !pod.ready);
        assert_eq!(pod.shape.startup_secs, 10 + 5 * 30 + 20 + 10);
        assert_eq!(pod.ready_since, Stamp::parse("2026-01-01T00:00:00Z"), "since when it is not");
        assert!(!of(r#"{"name":"s","state":{"running":{}}}"#).init_running, "a sidecar stays");
        assert!(!of(r#"{"name":"i","state":{"waiting":{"reason":"PodInitializing"}}}"#).init_running);
    }

    #[test]
    fn nulls_never_fail() {
        let pod = read_pod(
            r#"{"containers":null,"initContainers":null,"volumes":[{"emptyDir":null}],"overhead":null,"resources":null}"#,
            r#"{"conditions":null,"containerStatuses":[{"name":"a","state":null,"lastState":{}}],"phase":null}"#,
        );
        assert_eq!(pod.phase, Phase::Unknown);
    }
}
