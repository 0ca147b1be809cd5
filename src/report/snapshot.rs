//! Converts the shared state to a document.

mod alerts;

use std::collections::{BTreeMap, HashMap};

use pilothouse_core::domain::autoscaler::Target;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef};
use pilothouse_core::domain::route::Host;
use pilothouse_core::domain::service::ServiceType;
use pilothouse_core::domain::slo::window;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::traffic::Balancing;
use pilothouse_core::facts::table::Coverage;
use pilothouse_core::facts::world::{
    ActionView, Cause, Cluster, NodeRow, ServiceRow, SloRow, TrafficRow, World,
};
use pilothouse_core::policy::{balancing, seen, split};
use pilothouse_core::state::changes::recent;

use super::document as doc;

/// Returns the document of one cluster of the World at `now`.
pub fn snapshot(world: &World, cluster: &Cluster, now: Stamp) -> doc::Snapshot {
    doc::Snapshot {
        schema: doc::SNAPSHOT,
        at: now.to_string(),
        cluster: head(cluster),
        not_seen: not_seen(cluster),
        sources: sources(cluster, now),
        causes: causes(cluster),
        silenced: silenced(cluster),
        changes: recent(&cluster.derived.changes, now)
            .iter()
            .map(|c| doc::Change {
                at: c.at.to_string(),
                what: c.kind.to_string(),
                object: object(&c.object),
                by: c.by.as_ref().map(ToString::to_string),
            })
            .collect(),
        nodes: nodes(cluster, now),
        services: services(cluster),
        error_groups: errors(cluster),
        autoscalers: autoscalers(cluster),
        workloads: workloads(cluster),
        alerts: alerts::alerts(cluster),
        actions: world.actions.iter().map(|a| action(a)).collect(),
    }
}

pub fn object(reference: &ObjectRef) -> doc::Object {
    doc::Object {
        kind: reference.kind.to_string(),
        namespace: reference.namespace.to_string(),
        name: reference.name.to_string(),
        uid: reference.uid.to_string(),
    }
}

fn action(view: &ActionView) -> doc::Action {
    doc::Action {
        id: view.id.to_string(),
        action: view.plan.intent.act.as_str(),
        targets: view.plan.intent.targets.iter().map(object).collect(),
        outcome: view.outcome.map(pilothouse_core::facts::world::Outcome::as_str),
        message: view.message.clone(),
        started: view.started.to_string(),
        ended: view.ended.map(|e| e.to_string()),
    }
}

/// Returns a count if data for it was received.
fn known(cover: &Coverage, n: u32) -> Option<u32> {
    cover.is_read().then_some(n)
}

fn head(cluster: &Cluster) -> doc::Cluster {
    let counts = cluster.derived.counts;
    let cover = &cluster.pods.cover;
    doc::Cluster {
        context: cluster.info.context.to_string(),
        version: cluster.identity.version.as_ref().map(ToString::to_string),
        server: cluster.info.server.to_string(),
        user: cluster.identity.user.as_ref().map(ToString::to_string),
        namespace: (!cluster.info.namespaces.is_empty()).then(|| cluster.info.namespaces.join(",")),
        clock_offset_ms: cluster.identity.clock_offset_ms,
        pods: doc::Counts {
            count: known(cover, counts.pods),
            bad: known(cover, counts.pods_bad),
            pending: known(cover, counts.pods_pending),
            unschedulable: known(cover, counts.pods_unschedulable),
        },
    }
}

/// Returns the coverage of the table that a source fills.
pub fn cover<'a>(cluster: &'a Cluster, source: &str) -> Option<&'a Coverage> {
    cluster.tables().into_iter().find(|(name, ..)| *name == source).map(|(_, cover, _)| cover)
}

pub fn not_seen(cluster: &Cluster) -> Vec<doc::NotSeen> {
    let row = |unseen: seen::Unseen| doc::NotSeen {
        what: unseen.source.to_string(),
        why: unseen.why.as_str(),
        namespaces: unseen.namespaces.iter().map(ToString::to_string).collect(),
        reason: unseen.words.map(|w| w.to_string()),
    };
    seen::unseen(cluster).into_iter().map(row).collect()
}

pub fn sources(cluster: &Cluster, now: Stamp) -> Vec<doc::Source> {
    let rows = cluster.sources.iter().map(|s| doc::Source {
        name: s.name.to_string(),
        state: s.state.as_str(),
        age_seconds: s.last_ok.map(|at| now.secs_since(at)),
        coverage: cover(cluster, &s.name).map(Coverage::as_str),
        through: s.through.as_ref().map(ToString::to_string),
        error: s.error.as_ref().map(ToString::to_string),
    });
    rows.collect()
}

fn causes(cluster: &Cluster) -> Vec<doc::Cause> {
    cluster.derived.causes.iter().map(|c| cause(c)).collect()
}

fn silenced(cluster: &Cluster) -> Vec<doc::Silenced> {
    let rows = cluster.derived.silenced.iter().map(|s| doc::Silenced {
        cause: cause(&s.cause),
        until: s.by.until.map(|at| at.to_string()),
        reason: s.by.reason.clone(),
    });
    rows.collect()
}

fn cause(c: &Cause) -> doc::Cause {
    doc::Cause {
        rule: c.rule(),
        severity: c.severity,
        title: c.to_string(),
        objects: c.objects.iter().map(object).collect(),
        since: c.since.map(|s| s.to_string()),
        evidence: c.lines(),
        action: c.action.as_ref().map(|a| doc::Suggested {
            command: a.command().as_str(),
            title: a.to_string(),
            on: object(&a.on),
        }),
    }
}

fn nodes(cluster: &Cluster, now: Stamp) -> Vec<doc::Node> {
    // the sums over the pods are known only if all pods are known
    let complete = cluster.pods.cover.is_complete();
    let heartbeats: HashMap<&Name, Stamp> = cluster.leases.iter().map(|l| (&l.node, l.seen_at)).collect();
    let mut rows: Vec<&NodeRow> = cluster.derived.nodes.iter().map(AsRef::as_ref).collect();
    rows.sort_by(|a, b| a.node.name.cmp(&b.node.name));
    rows.into_iter()
        .map(|row| {
            let n = &row.node;
            doc::Node {
                name: n.name.to_string(),
                uid: n.uid.to_string(),
                state: row.state.as_str(),
                since: row.since.map(|s| s.to_string()),
                cordoned: n.cordoned,
                conditions: n
                    .conditions
                    .iter()
                    .map(|c| doc::Condition {
                        r#type: c.kind.to_string(),
                        status: c.status.as_str(),
                        reason: c.reason.to_string(),
                        message: c.message.to_string(),
                        since: c.since.map(|s| s.to_string()),
                    })
                    .collect(),
                taints: n
                    .taints
                    .iter()
                    .map(|t| doc::Taint {
                        key: t.key.to_string(),
                        value: t.value.to_string(),
                        effect: t.effect.to_string(),
                    })
                    .collect(),
                zone: n.zone.as_ref().map(ToString::to_string),
                cpu: doc::Cpu {
                    used_milli: row.usage.as_ref().map(|u| u.cpu_milli),
                    requested_milli: complete.then_some(row.totals.requests.cpu_milli),
                    allocatable_milli: n.allocatable.cpu_milli,
                },
                memory: doc::Memory {
                    used_bytes: row.usage.as_ref().map(|u| u.memory_bytes),
                    requested_bytes: complete.then_some(row.totals.requests.memory_bytes),
                    allocatable_bytes: n.allocatable.memory_bytes,
                },
                pods: doc::NodePods {
                    count: complete.then_some(row.totals.pods),
                    capacity: n.allocatable_pods,
                },
                heartbeat_age_seconds: heartbeats.get(&n.name).map(|at| now.secs_since(*at)),
            }
        })
        .collect()
}

fn services(cluster: &Cluster) -> Vec<doc::Service> {
    type Halves<'a> = (Option<&'a ServiceRow>, Option<&'a TrafficRow>);
    let mut rows: BTreeMap<(Name, Name), Halves<'_>> = BTreeMap::new();
    for row in cluster.derived.services.iter() {
        rows.entry((row.service.namespace.clone(), row.service.name.clone())).or_default().0 = Some(row);
    }
    for measured in cluster.derived.traffic.iter() {
        let traffic = &measured.traffic;
        rows.entry((traffic.namespace.clone(), traffic.name.clone())).or_default().1 = Some(measured);
    }
    let known = balancing::Lookup::new(cluster);
    let measured: HashMap<(&str, &str), &TrafficRow> = rows
        .iter()
        .filter_map(|((ns, name), (_, row))| Some(((ns.as_str(), name.as_str()), (*row)?)))
        .collect();
    rows.iter()
        .map(|((namespace, name), (row, traffic))| {
            let host = Host { namespace: namespace.clone(), name: name.clone() };
            // of a Service that nobody measures, the policy is known all the same
            let found = match traffic {
                Some(row) => row.balancing.clone(),
                None => balancing::discover(&host, None, &known),
            };
            let of_route = found.of_route.as_ref().map(|share| {
                let seen = |part: &Host| {
                    measured.get(&(part.namespace.as_str(), part.name.as_str())).map(|row| &*row.traffic)
                };
                let judged = split::judge(&host, share, seen);
                doc::RouteShare {
                    route: share.route.to_string(),
                    weight: share.weight,
                    total: share.total,
                    observed_share: judged.observed,
                    expected_share: judged.expected,
                    significant: judged.significant,
                }
            });
            let slo = cluster.slos(namespace, name).map(|row| slo(row)).collect();
            doc::Service { of_route, slo, ..service((namespace, name), *row, *traffic, &found) }
        })
        .collect()
}

fn service(
    (namespace, name): (&str, &str),
    row: Option<&ServiceRow>,
    measured: Option<&TrafficRow>,
    balancing: &Balancing,
) -> doc::Service {
    let readiness: BTreeMap<&str, bool> = row
        .into_iter()
        .flat_map(|r| r.slices.iter())
        .flat_map(|s| s.endpoints.iter())
        .map(|e| (e.pod.as_ref().map_or(e.address.as_str(), |p| p.as_str()), e.ready))
        .collect();
    let traffic = measured.map(|measured| &*measured.traffic);
    let mut backends: Vec<doc::Backend> = measured
        .into_iter()
        .flat_map(TrafficRow::backends)
        .map(|(b, share)| doc::Backend {
            name: b.name.to_string(),
            ready: readiness.get(b.name.as_str()).copied().or(b.up),
            rps: b.rps,
            observed_share: share.observed,
            expected_share: share.expected,
            significant: share.significant,
            standing: Some(share.standing.as_str()),
            error_ratio: b.error_ratio,
            p95_ms: b.p95_ms,
            active: b.active,
        })
        .collect();
    for (pod, ready) in &readiness {
        if !backends.iter().any(|b| b.name == *pod) {
            backends.push(doc::Backend {
                name: (*pod).to_owned(),
                ready: Some(*ready),
                rps: None,
                observed_share: None,
                expected_share: None,
                significant: None,
                standing: None,
                error_ratio: None,
                p95_ms: None,
                active: None,
            });
        }
    }
    // a Service without endpoints and traffic, such as an ExternalName, has nothing to balance
    let known = measured.is_some() || row.is_some_and(|row| row.service.kind != ServiceType::ExternalName);
    let said = |text: &Name| (known && !text.is_empty()).then(|| text.to_string());
    doc::Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        policy: known.then(|| balancing.shown().as_str().to_owned()),
        policy_origin: known.then(|| balancing.origin.as_str()),
        policy_from: said(&balancing.read_from),
        policy_detail: said(&balancing.detail),
        no_share: balancing.no_share.map(|why| why.to_string()),
        split: balancing
            .split
            .iter()
            .map(|part| doc::Part {
                name: part.name.to_string(),
                weight: part.weight,
                backends: part.backends.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        preset: traffic.map(|t| t.preset.to_string()),
        other_presets: traffic.map_or_else(Vec::new, |t| t.others.iter().map(ToString::to_string).collect()),
        of_route: None,
        rps: traffic.and_then(|t| t.rps),
        error_ratio: traffic.and_then(|t| t.error_ratio),
        p50_ms: traffic.and_then(|t| t.p50_ms),
        p95_ms: traffic.and_then(|t| t.p95_ms),
        p99_ms: traffic.and_then(|t| t.p99_ms),
        ready: row.map(|r| r.ready),
        endpoints: row.map(|r| r.total),
        imbalance: measured.and_then(|m| m.shares.imbalance).map(|i| doc::Imbalance {
            times: i.times,
            noise: i.floor,
            jain: i.jain,
            jain_noise: i.jain_floor,
        }),
        backends,
        slo: Vec::new(),
    }
}

fn slo(row: &SloRow) -> doc::Slo {
    let (objective, verdict) = (&row.measured.objective, &row.verdict);
    let burns = verdict.burns.iter().flat_map(|b| [(b.long_secs, b.long), (b.short_secs, b.short)]);
    doc::Slo {
        name: objective.name.to_string(),
        defined_by: objective.by.as_str(),
        objective: objective.target,
        window_days: objective.window_secs as f64 / 86_400.0,
        availability: verdict.availability,
        budget_left: verdict.budget_left,
        burn: burns.map(|(secs, rate)| (window(secs), rate)).collect(),
        verdict: verdict.state.as_str(),
        why: verdict.why.to_string(),
        gone_in_seconds: verdict.gone_in_secs,
    }
}

fn errors(cluster: &Cluster) -> Vec<doc::ErrorGroup> {
    let rows = cluster.logs.groups.iter().map(|g| doc::ErrorGroup {
        fingerprint: g.fingerprint.to_string(),
        template: g.template.to_string(),
        count: g.count,
        per_minute: g.per_minute,
        first_seen: g.first.to_string(),
        last_seen: g.last.to_string(),
        workloads: g.workloads.iter().map(ToString::to_string).collect(),
        pods: g.pod_count,
        nodes: g.nodes.iter().map(ToString::to_string).collect(),
        images: g.images.iter().map(ToString::to_string).collect(),
        versions: g.versions.iter().map(ToString::to_string).collect(),
        sample: g.sample.to_string(),
    });
    rows.collect()
}

fn autoscalers(cluster: &Cluster) -> Vec<doc::Autoscaler> {
    let mut rows: Vec<doc::Autoscaler> = cluster
        .derived
        .hpas
        .iter()
        .map(|row| {
            let (h, verdict) = (&row.hpa, &row.verdict);
            doc::Autoscaler {
                namespace: h.namespace.to_string(),
                name: h.name.to_string(),
                kind: "HorizontalPodAutoscaler",
                target: format!("{}/{}", h.target_kind, h.target_name),
                current: h.current,
                desired: h.desired,
                min: h.min,
                max: h.max,
                computed: verdict.computed.clone(),
                limited_by: verdict.limited_by.clone(),
                metrics: h
                    .metrics
                    .iter()
                    .map(|m| doc::Metric {
                        name: m.name.to_string(),
                        r#type: m.kind.to_string(),
                        current: m.current,
                        target: match m.target {
                            Target::Utilization(percent) => Some(i64::from(percent)),
                            Target::AverageValue(v) | Target::Value(v) => Some(v),
                            Target::None => None,
                        },
                    })
                    .collect(),
                verdict: verdict.why.to_string(),
            }
        })
        .collect();
    rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    rows
}

fn workloads(cluster: &Cluster) -> Vec<doc::Workload> {
    let mut rows: Vec<doc::Workload> = cluster
        .derived
        .workloads
        .iter()
        .filter(|row| row.workload.kind != Kind::ReplicaSet || row.workload.owner.is_none())
        .map(|row| {
            let w = &row.workload;
            doc::Workload {
                kind: w.kind.to_string(),
                namespace: w.namespace.to_string(),
                name: w.name.to_string(),
                uid: w.uid.to_string(),
                desired: w.desired,
                ready: w.ready,
                updated: w.updated,
                available: w.available,
                rollout: row.rollout.phase.as_str(),
                rollout_why: row.rollout.why.clone(),
                images: w.images.iter().map(ToString::to_string).collect(),
                restarts: row.totals.restarts,
            }
        })
        .collect();
    rows.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
    rows
}
