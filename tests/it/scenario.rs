//! Scenarios: files with events and, between them, expectations about the state at that point.
//!
//! A line is either an event as in a recording, `{"at": …, "cluster": 0, "fact": {…}}`, or an expectation, `{"at": …,
//! "expect": {…}}`. Rows of an event can leave fields out, which then have the type's default. A time can be written as
//! seconds after the scenario's start, `"+30"`. An expectation can have:
//!
//! - `nodes`, `pods`, `workloads`, `services`: name -> state (`Suspect`; the phase; `2/3 stuck`; `ready/total`), all of them
//! - `came`: service -> the pods that came into rotation recently, `a +30, b +40`, all of them
//! - `cover`: table -> `complete`, `loading`, `denied` …
//! - `causes`: parts of the titles in their order, all of them; `why`: parts of the first one's evidence
//! - `silenced`: the same for the silenced findings
//! - `action`: what the first one suggests, `command uid` or null; `severity`: its severity
//! - `changes`: parts of the changes of the last half hour, newest first, all of them
//! - `counts`: name -> number
//! - `quiet`: true if nothing was published since the previous expectation

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pilothouse::ui::cell::Grade;
use pilothouse::ui::pane::{autoscalers, nodes, workloads};
use pilothouse::ui::rows;
use pilothouse_core::domain::autoscaler::{Hpa, Metric, Target};
use pilothouse_core::domain::budget::Pdb;
use pilothouse_core::domain::cause::FindingCode;
use pilothouse_core::domain::claim::Claim;
use pilothouse_core::domain::cronjob::CronJob;
use pilothouse_core::domain::id::{Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::node::{Condition, Node, NodeLease, Status};
use pilothouse_core::domain::pod::{ContainerShape, LastExit, Pod};
use pilothouse_core::domain::route::Route;
use pilothouse_core::domain::service::{Endpoint, EndpointSlice, Service};
use pilothouse_core::domain::source::SourceStatus;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::domain::workload::Workload;
use pilothouse_core::facts::event::{Event, RECORDING, RecordingHeader};
use pilothouse_core::facts::world::{Cluster, ClusterInfo, ServiceRow, Severity};
use pilothouse_core::policy::hpa::judge;
use pilothouse_core::state::ClusterState;
use pilothouse_core::state::changes::recent;
use serde::Serialize;
use serde_json::{Map, Value, json};

const START: Stamp = Stamp(1_795_230_720_000);

fn value<T: Serialize>(of: T) -> Value {
    serde_json::to_value(of).unwrap()
}

/// The defaults for fields that a row of this fact leaves out.
fn row_default(fact: &str) -> Option<Value> {
    Some(match fact {
        "Nodes" => value(Node::default()),
        "Leases" => value(NodeLease::default()),
        "Pods" => value(Pod::default()),
        "Deployments" | "ReplicaSets" | "StatefulSets" | "DaemonSets" | "Jobs" => value(Workload::default()),
        "Services" => value(Service::default()),
        "EndpointSlices" => value(EndpointSlice::default()),
        "Hpas" => value(Hpa::default()),
        "Pdbs" => value(Pdb::default()),
        "PersistentVolumeClaims" => value(Claim::default()),
        "CronJobs" => value(CronJob::default()),
        "HttpRoutes" | "VirtualServices" | "DestinationRules" | "TraefikServices" | "Ingresses"
        | "Rollouts" | "Canaries" => value(Route::default()),
        "Events" => {
            json!({"uid": "", "version": 0, "namespace": "", "name": "", "warning": true, "reason": "",
            "message": "", "count": 1, "first": null, "last": null, "component": "",
            "about": {"kind": "Pod", "namespace": "", "name": "", "uid": ""}})
        }
        "Source" => value(SourceStatus::default()),
        _ => return None,
    })
}

/// The same for the value of a row's key, in a list or alone.
fn part_default(key: &str) -> Option<Value> {
    Some(match key {
        "conditions" => value(Condition {
            kind: "".into(),
            status: Status::True,
            reason: "".into(),
            message: "".into(),
            since: None,
        }),
        "endpoints" => value(Endpoint::default()),
        "containers" => value(ContainerShape::default()),
        "owner" => json!({"group": "apps"}),
        "last_exit" => value(LastExit { reason: "Error".into(), code: 1, at: None, container: "app".into() }),
        "metrics" => {
            value(Metric { kind: "Resource".into(), name: "cpu".into(), target: Target::None, current: None })
        }
        _ => return None,
    })
}

/// `+30` -> the time 30 s after the start, anywhere in the value.
fn stamps(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(secs) = text.strip_prefix('+').and_then(|t| t.parse::<i64>().ok()) {
                *text = START.plus_secs(secs).to_string();
            } else if let Some(secs) = text.strip_prefix("-").and_then(|t| t.parse::<i64>().ok()) {
                *text = START.plus_secs(-secs).to_string();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(stamps),
        Value::Object(map) => map.values_mut().for_each(stamps),
        _ => {}
    }
}

/// Merges `given` into `base`; a key that the base lacks is a mistake in the scenario.
fn over(base: Value, given: Value) -> Value {
    let (Value::Object(mut base), Value::Object(given)) = (base, given.clone()) else { return given };
    for (key, given) in given {
        let part = part_default(&key);
        let held = base.remove(&key);
        let filled = match (given, part) {
            (Value::Array(list), Some(part)) => list.into_iter().map(|v| over(part.clone(), v)).collect(),
            (Value::Object(map), Some(part)) => whole(part, map),
            (given @ Value::Object(_), None) => over(held.unwrap_or(Value::Null), given),
            (given, _) => given,
        };
        base.insert(key, filled);
    }
    Value::Object(base)
}

fn whole(mut part: Value, given: Map<String, Value>) -> Value {
    let base = part.as_object_mut().unwrap();
    base.extend(given);
    part
}

/// An event from a line that leaves fields out.
fn event(mut line: Value) -> Event {
    stamps(&mut line);
    let fact = line["fact"].as_object_mut().expect("a fact has one name");
    for (name, body) in fact.iter_mut() {
        let Some(base) = row_default(name) else { continue };
        if name == "Source" {
            *body = over(base, body.take());
        } else if let Some(rows) = body.get_mut("Upsert").and_then(Value::as_array_mut) {
            for row in rows {
                for key in row.as_object().unwrap().keys() {
                    assert!(base.get(key).is_some(), "{name} has no field {key}");
                }
                *row = over(base.clone(), row.take());
            }
        }
    }
    serde_json::from_value(line.clone()).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// Compares the expected and the actual value of one key.
fn compare(what: &str, wanted: &Value, is: &BTreeMap<String, String>) {
    let wanted: BTreeMap<String, String> = wanted
        .as_object()
        .unwrap_or_else(|| panic!("{what}: an object"))
        .iter()
        .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
        .collect();
    assert_eq!(&wanted, is, "{what}");
}

/// Each expected part must be in the text at its index, and the numbers must be equal.
fn parts(what: &str, wanted: &Value, is: &[String], all: bool) {
    let wanted: Vec<&str> = wanted.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    if all {
        assert_eq!(wanted.len(), is.len(), "{what}: wanted {wanted:?}, is {is:#?}");
        for (part, text) in wanted.iter().zip(is) {
            assert!(text.contains(part), "{what}: `{part}` is not in `{text}`");
        }
        return;
    }
    for part in wanted {
        assert!(is.iter().any(|text| text.contains(part)), "{what}: `{part}` is not in {is:#?}");
    }
}

fn check(cluster: &Cluster, published: bool, at: Stamp, expect: &Map<String, Value>) {
    let d = &cluster.derived;
    let causes: Vec<String> = d.causes.iter().map(|c| format!("{}: {c}", c.rule())).collect();
    for (what, wanted) in expect {
        match what.as_str() {
            "nodes" => compare(
                what,
                wanted,
                &d.nodes.iter().map(|r| (r.node.name.to_string(), r.state.as_str().to_owned())).collect(),
            ),
            "pods" => compare(
                what,
                wanted,
                &cluster.pods.iter().map(|p| (p.name.to_string(), p.phase.as_str().to_owned())).collect(),
            ),
            "workloads" => compare(
                what,
                wanted,
                &d.workloads
                    .iter()
                    .map(|r| {
                        let state =
                            format!("{}/{} {}", r.totals.ready, r.totals.pods, r.rollout.phase.as_str());
                        (r.workload.name.to_string(), state)
                    })
                    .collect(),
            ),
            "services" => compare(
                what,
                wanted,
                &d.services
                    .iter()
                    .map(|r| (r.service.name.to_string(), format!("{}/{}", r.ready, r.total)))
                    .collect(),
            ),
            "came" => compare(
                what,
                wanted,
                &d.services.iter().map(|r| (r.service.name.to_string(), came(r))).collect(),
            ),
            "cover" => {
                for (table, wanted) in wanted.as_object().unwrap() {
                    let tables = cluster.tables();
                    let found = tables.iter().find(|(name, ..)| *name == table.as_str());
                    let (_, cover, _) = found.unwrap_or_else(|| panic!("no table {table}"));
                    assert_eq!(cover.as_str(), wanted, "{table}: {:?}", cover.note());
                }
            }
            "counts" => {
                for (name, wanted) in wanted.as_object().unwrap() {
                    let c = d.counts;
                    let is = match name.as_str() {
                        "nodes_ready" => c.nodes_ready,
                        "nodes_cordoned" => c.nodes_cordoned,
                        "pods" => c.pods,
                        "pods_bad" => c.pods_bad,
                        "pods_pending" => c.pods_pending,
                        other => panic!("no count {other} here"),
                    };
                    assert_eq!(json!(is), *wanted, "{name}");
                }
            }
            "causes" => parts(what, wanted, &causes, true),
            "silenced" => {
                let silenced: Vec<String> =
                    d.silenced.iter().map(|s| format!("{}: {}", s.cause.rule(), s.cause)).collect();
                parts(what, wanted, &silenced, true);
            }
            "why" => parts(what, wanted, &d.causes.first().expect("a cause").lines(), false),
            "action" => {
                let action = d.causes.first().and_then(|c| c.action.as_ref());
                assert_eq!(json!(action.map(|a| format!("{} {}", a.command().as_str(), a.on.uid))), *wanted);
            }
            "severity" => assert_eq!(json!(d.causes.first().map(|c| c.severity)), *wanted),
            "changes" => {
                let changes: Vec<String> =
                    recent(&d.changes, at).iter().map(|c| format!("{} {}", c.object, c.kind)).collect();
                parts(what, wanted, &changes, true);
            }
            "quiet" => assert_eq!(json!(!published), *wanted, "quiet"),
            other => panic!("no expectation {other}"),
        }
    }
}

/// The pods that came into a Service's rotation recently, and when.
fn came(row: &ServiceRow) -> String {
    let one = |(pod, at): &(Name, Stamp)| format!("{pod} {:+}", (at.0 - START.0) / 1000);
    row.came.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The objects that the panes and the header mark as bad are exactly those that NOW finds.
fn agree(cluster: &Cluster, at: Stamp) {
    let d = &cluster.derived;
    let told: Vec<(Severity, &str, ObjectRef)> = d
        .causes
        .iter()
        .map(AsRef::as_ref)
        .chain(d.silenced.iter().map(|silenced| silenced.cause.as_ref()))
        .flat_map(|c| {
            let of = |(code, object): (FindingCode, ObjectRef)| (c.severity, code.as_str(), object);
            let nodes = c.objects.iter().filter(|o| o.kind == Kind::Node).map(|o| (c.code(), o.clone()));
            c.included().into_iter().chain(nodes).map(of).collect::<Vec<_>>()
        })
        .collect();
    let is_told = |uid: &Uid, least: Severity| told.iter().any(|(s, _, o)| o.uid == *uid && *s >= least);
    for row in d.nodes.iter() {
        let marked = nodes::grade(row) >= Grade::Warning;
        let (name, uid) = (&row.node.name, &row.node.uid);
        assert!(!marked || is_told(uid, Severity::Info), "node {name} is marked, and NOW says nothing of it");
        let handled = row.is_out_of_service();
        assert!(
            marked || handled || !is_told(uid, Severity::Warning),
            "NOW tells of node {name}, and it is not marked"
        );
    }
    for row in d.hpas.iter() {
        let hpa = &row.hpa;
        assert_eq!(row.verdict, judge(hpa, at), "HPA {}", hpa.name);
        let marked = autoscalers::grade_of(row.verdict.state) >= Grade::Warning;
        assert_eq!(marked, is_told(&hpa.uid, Severity::Warning), "HPA {}", hpa.name);
    }
    let told_of = rows::workloads::told(cluster);
    for row in d.workloads.iter() {
        let marked = workloads::grade(row, &told_of) >= Grade::Warning;
        let (name, uid) = (&row.workload.name, &row.workload.uid);
        let silenced = d.silenced.iter().flat_map(|s| s.cause.included()).any(|(_, o)| o.uid == *uid);
        assert!(
            marked || silenced || !is_told(uid, Severity::Warning),
            "NOW tells of workload {name}, and it is not marked"
        );
    }
    let of_pods = ["crash-loop", "image-pull", "bad-config", "oom-killed", "unschedulable", "not-ready"];
    let pods =
        told.iter().find(|(severity, rule, _)| *severity >= Severity::Warning && of_pods.contains(rule));
    assert!(d.counts.pods_bad > 0 || pods.is_none(), "no pod is counted as bad, and NOW tells of {pods:?}");
}

fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().expect("a header");
    let header: RecordingHeader = serde_json::from_str(header).unwrap();
    assert_eq!(header.schema, RECORDING);
    let mut state = ClusterState::new(ClusterInfo { context: "test".into(), ..ClusterInfo::default() });
    let mut expectations = 0;
    for (n, line) in lines {
        let what = format!("{}:{}", path.file_name().unwrap().display(), n + 1);
        let mut line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{what}: {e}"));
        let Some(expect) = line.get("expect").cloned() else {
            let event = event(line);
            // an event of a scenario can be recorded unchanged
            let written = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&written).unwrap(), event, "{what}");
            assert!(state.apply(event.fact, event.at).is_none(), "{what}");
            continue;
        };
        stamps(&mut line["at"]);
        let at = Stamp::parse(line["at"].as_str().unwrap()).unwrap();
        let published = state.publish(at, true).is_some();
        let cluster: Arc<Cluster> = state.published().clone();
        let outcome = std::panic::catch_unwind(|| {
            check(&cluster, published, at, expect.as_object().unwrap());
            agree(&cluster, at);
        });
        assert!(outcome.is_ok(), "{what}: see above");
        expectations += 1;
    }
    assert!(expectations > 0, "{} expects nothing", path.display());
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios");
            play(&folder.join(concat!(stringify!($name), ".jsonl")));
        })*

        #[test]
        fn every_scenario_is_played() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios");
            let mut there: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            there.sort();
            let mut played = vec![$(stringify!($name)),*];
            played.sort_unstable();
            assert_eq!(there, played);
        }
    };
}

scenarios! {
    a_pod_out_of_rotation_is_told_until_it_is_back
    evictions_are_among_the_changes_by_node
    sources_that_fail_alike_are_one_line
    a_lost_node_explains_a_service_without_endpoints
    errors_recover_once_their_pod_is_out_of_rotation
    errors_recover_once_their_lost_node_is_out_of_service
    a_release_after_the_loss_of_a_node_is_not_the_nodes_doing
    one_backend_that_fails_is_found_however_little_it_serves
    two_backends_that_carry_too_much_are_both_named
    a_source_that_fails_for_a_moment_is_no_finding
    a_server_that_never_answered_is_told_at_once
    a_lease_that_was_not_watched_makes_no_node_suspect
    a_403_on_pods_is_said_and_nothing_looks_empty
    a_lost_node_explains_the_errors_of_services_that_had_pods_there
    a_lost_node_has_unknown_pods_until_they_are_read
    a_service_that_gets_slow_is_found
    a_caller_is_told_under_the_service_that_it_calls
    a_pod_whose_claim_is_not_bound_is_found_with_the_claims_events
    a_volume_in_a_lost_zone_is_what_a_pod_waits_for
    a_budget_is_found_when_something_waits_for_it
    a_budget_that_allows_nothing_is_found
    a_heartbeat_is_quiet
    a_list_that_was_cut_off_deletes_nothing
    a_node_goes_suspect_then_not_ready_then_ready
    a_node_that_joins_is_no_emergency
    a_pod_stuck_on_a_dead_node_stays_bad
    a_pod_that_does_not_end_names_its_finalizer_or_its_kubelet
    a_pod_that_does_not_get_ready_is_found_with_its_probe
    a_pod_that_does_not_start_is_found_with_the_words_of_its_events
    a_proxy_before_a_service_tells_no_second_trouble
    a_relist_deletes_what_it_does_not_name
    a_rollout_that_waits_names_its_pod
    a_service_for_one_pod_matches_its_statefulset
    a_stuck_rollout_explains_its_crash_loop_and_its_service
    a_zone_that_is_said_to_be_off_is_no_emergency
    an_autoscaler_at_its_maximum_is_found
    errors_that_began_with_a_rollout_lead_to_the_roll_back
    a_roll_back_that_is_undone_is_no_remedy
    errors_that_gone_pods_left_behind_pass
    findings_of_one_cause_are_one_line
    pods_that_are_refused_are_found_and_told_by_namespace
    what_an_autoscaler_does_is_no_remedy
    what_is_silenced_is_told_apart_until_its_time_is_over
    what_ran_to_its_end_and_failed_is_found
    who_comes_into_rotation_is_known_by_when_it_came
}
