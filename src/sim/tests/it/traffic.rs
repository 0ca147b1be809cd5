//! Requests are distributed according to their policy, and errors follow from what is broken.

#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

use std::sync::Arc;

use chrono::TimeDelta;
use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Delete;
use pilothouse_sim::usage::Usage as _;
use pilothouse_sim::world::{App, Demand, Id, NodeTrouble, PodTrouble, Policy, Version};
use serde_json::json;

use crate::stage::{Stage, calling, steady};

fn shares(stage: &Stage, service: &str) -> Vec<f64> {
    let truth = stage.truth(service);
    assert_eq!(truth.total.picked, truth.backends.values().map(|fate| fate.picked).sum::<u64>());
    truth.backends.values().map(|fate| fate.picked as f64 / truth.total.picked as f64).collect()
}

/// Whether a share is within five standard deviations of what it should be by chance.
fn by_chance(share: f64, expected: f64, n: u64) -> bool {
    (share - expected).abs() < 5.0 * (expected * (1.0 - expected) / n as f64).sqrt()
}

fn policy(policy: Policy, rps: f64) -> Demand {
    Demand { policy, ..steady(rps) }
}

#[test]
fn equal_shares_in_turn_and_by_chance() {
    for rps in [3.0, 400.0] {
        let mut stage = Stage::new();
        stage.service(
            "turn",
            4,
            policy(Policy::RoundRobin, rps),
            App { cpu_ms_per_request: 0.5, ..App::default() },
        );
        stage.service(
            "chance",
            4,
            policy(Policy::Random, rps),
            App { cpu_ms_per_request: 0.5, ..App::default() },
        );
        stage.run(300);
        let turn = stage.truth("turn");
        let picked: Vec<u64> = turn.backends.values().map(|fate| fate.picked).collect();
        assert!(picked.iter().max().unwrap() - picked.iter().min().unwrap() <= 1, "{picked:?}");
        let want = 300.0 * rps;
        assert!(
            (turn.total.picked as f64 - want).abs() < 5.0 * want.sqrt(),
            "{} of {want}",
            turn.total.picked
        );
        let n = stage.truth("chance").total.picked;
        let chance = shares(&stage, "chance");
        assert!(chance.iter().all(|share| by_chance(*share, 0.25, n)), "{chance:?}");
        assert!(
            chance.iter().any(|share| (share - 0.25).abs() * n as f64 > 1.0),
            "as level as in turn: {chance:?}"
        );
    }
}

#[test]
fn weights_latency_connections_and_clients_decide() {
    let mut stage = Stage::new();
    let light = || App { cpu_ms_per_request: 0.5, latency_ms: 100.0, ..App::default() };
    stage.node("node-0");
    for (name, weight) in [("w-0", "1"), ("w-1", "3"), ("w-2", "0")] {
        stage.pod(name, "w", "v1", "node-0", json!({"sim.pilothouse/weight": weight}));
    }
    stage.endpoints("w", &["w-0".into(), "w-1".into(), "w-2".into()]);
    stage.world.change(|state| {
        state.demand.insert(Id::new("shop", "w"), policy(Policy::Weighted, 40.0));
    });
    stage.service("least", 4, policy(Policy::LeastConnections, 100.0), light());
    stage.service("fast", 4, policy(Policy::ResponseTime, 100.0), light());
    stage.service("hash", 4, Demand { clients: 12, ..policy(Policy::ClientHash, 100.0) }, light());
    // one pod of each is four times as slow
    for app in ["least", "fast"] {
        let uid = stage.store.get(Res::Pods, "shop", &format!("{app}-3")).unwrap().uid().to_owned();
        let slow = PodTrouble { slower: 4.0, ..PodTrouble::default() };
        stage.world.change(|state| drop(state.pods.insert(uid.as_str().into(), slow)));
    }
    stage.run(60);
    let before: Vec<u64> =
        ["least", "fast"].iter().map(|s| stage.fate(s, &format!("{s}-3")).picked).collect();
    let all: Vec<u64> = ["least", "fast"].iter().map(|s| stage.truth(s).total.picked).collect();
    stage.run(300);
    let w = shares(&stage, "w");
    assert!((w[0] - 0.25).abs() < 0.002 && (w[1] - 0.75).abs() < 0.002 && w[2] == 0.0, "{w:?}");
    // the share by 1/T: 0.25 / 3.25
    for (at, service) in ["least", "fast"].into_iter().enumerate() {
        let picked = stage.fate(service, &format!("{service}-3")).picked - before[at];
        let share = picked as f64 / (stage.truth(service).total.picked - all[at]) as f64;
        assert!((share - 0.25 / 3.25).abs() < 0.03, "{service}: {share}");
    }
    let hash = shares(&stage, "hash");
    let n = stage.truth("hash").total.picked;
    assert!(
        hash.iter().all(|share| by_chance(*share, (share * 12.0).round() / 12.0, n)),
        "of 12 clients: {hash:?}"
    );
    assert!(hash.iter().any(|share| (share - 0.25).abs() > 0.05), "{hash:?}");
}

#[test]
fn a_favoured_pod_gets_more_and_an_unready_one_nothing() {
    let mut stage = Stage::new();
    stage.service("a", 3, steady(50.0), App { cpu_ms_per_request: 0.5, ..App::default() });
    let uid = stage.store.get(Res::Pods, "shop", "a-0").unwrap().uid().to_owned();
    stage.world.change(|state| {
        let trouble = PodTrouble { favoured: 4.0, ..PodTrouble::default() };
        state.pods.insert(uid.as_str().into(), trouble);
    });
    stage.run(120);
    let a = shares(&stage, "a");
    assert!((a[0] - 4.0 / 6.0).abs() < 0.005, "{a:?}");
    stage.endpoints("a", &["a-0".into(), "a-1".into(), "!a-2".into()]);
    stage.run(1);
    let before = stage.fate("a", "a-2").picked;
    stage.run(60);
    assert_eq!(stage.fate("a", "a-2").picked, before);
    stage.endpoints("a", &[]);
    stage.run(1);
    let (picked, unrouted) = (stage.truth("a").total.picked, stage.truth("a").unrouted);
    stage.run(60);
    let after = stage.truth("a");
    assert_eq!(after.total.picked, picked);
    assert!(after.unrouted - unrouted > 2000, "{after:?}");
}

#[test]
fn a_bad_version_a_full_pod_and_a_dead_node() {
    let mut stage = Stage::new();
    let mut app = App { cpu_ms_per_request: 1.0, ..App::default() };
    app.versions.insert("v2".to_owned(), Version { errors: 0.4, ..Version::default() });
    stage.service("bad", 3, steady(60.0), app);
    stage.node("node-9");
    stage.pod("bad-9", "bad", "v2", "node-9", json!({}));
    stage.endpoints("bad", &["bad-0".into(), "bad-1".into(), "bad-9".into()]);
    stage.service("full", 1, steady(60.0), App { capacity_rps: Some(40.0), ..App::default() });
    stage.run(300);
    let bad = stage.fate("bad", "bad-9");
    assert!(by_chance(bad.errors as f64 / bad.picked as f64, 0.4, bad.picked), "{bad:?}");
    assert_eq!(stage.fate("bad", "bad-0").errors, 0);
    let full = stage.fate("full", "full-0");
    assert!((full.ok as f64 / 300.0 - 40.0).abs() < 1.0, "answers what it can: {full:?}");
    assert_eq!(full.picked, full.ok + full.errors);
    // a node is off: its pods are still in the endpoints
    stage.world.change(|state| {
        drop(state.nodes.insert("node-9".into(), NodeTrouble { off: true, ..NodeTrouble::default() }));
    });
    stage.run(30);
    let dead = stage.fate("bad", "bad-9");
    assert!(dead.timeouts > 400 && dead.errors == bad.errors, "{dead:?}");
    assert_eq!(stage.meter.node("node-9"), None);
    assert_eq!(stage.meter.pod("shop", "bad-9"), None);
}

#[test]
fn failures_go_up_and_load_goes_down() {
    let mut stage = Stage::new();
    let light = || App { cpu_ms_per_request: 0.5, ..App::default() };
    stage.service("front", 2, steady(50.0), App { calls: calling("back", 2.0), ..light() });
    // a circle: the call back is cut
    stage.service("back", 2, steady(0.0), App { calls: calling("front", 1.0), ..light() });
    stage.run(120);
    let (front, back) = (stage.truth("front").total, stage.truth("back").total);
    assert_eq!(back.picked, 2 * front.picked);
    assert_eq!((front.failed(), back.failed()), (0, 0));
    stage.world.change(|state| {
        let app = Arc::make_mut(state.apps.get_mut(&Id::new("shop", "back")).unwrap());
        app.versions.insert("v1".to_owned(), Version { errors: 0.2, ..Version::default() });
    });
    stage.run(120);
    let now = stage.truth("front").total;
    let ratio = now.failed() as f64 / (now.picked - front.picked) as f64;
    // each of two calls fails for good with 0.5·0.2 + 0.5·0.2²
    let expected = 1.0 - (1.0 - 0.12_f64).powi(2);
    assert!(
        by_chance(ratio, expected, now.picked - front.picked) || (ratio - expected).abs() < 0.02,
        "{ratio}"
    );
    assert!(stage.truth("back").total.picked > 2 * now.picked, "some calls are made again");
}

#[test]
fn what_is_used_follows_from_what_is_asked() {
    let mut stage = Stage::new();
    let app = App { cpu_ms_per_request: 10.0, cpu_idle_milli: 20.0, memory_mib: 100.0, ..App::default() };
    stage.service("a", 2, steady(40.0), app.clone());
    stage.service("idle", 1, steady(0.0), app);
    let young = stage.start + TimeDelta::seconds(50);
    stage.pod_since("young", "idle", "v1", "node-0", json!({}), young);
    stage.run(75);
    let cpu = |pod: &str| stage.meter.pod("shop", pod).map(|all| all[0].1.cpu_nano as f64 / 1e6);
    let a = cpu("a-0").unwrap();
    assert!((a - 220.0).abs() < 40.0, "20 requests of 10 ms and 20 m: {a}");
    let idle = cpu("idle-0").unwrap();
    assert!((idle - 20.0).abs() < 4.0, "{idle}");
    assert_eq!(cpu("young"), None);
    stage.run(30);
    assert!(stage.meter.pod("shop", "young").is_some());
    let used = stage.meter.node("node-0").unwrap();
    assert!(used.cpu_nano > 300_000_000 && used.memory > 1_300_000_000, "{used:?}");
    let uid = stage.store.get(Res::Pods, "shop", "young").unwrap().uid().to_owned();
    stage.store.delete(Res::Pods, "shop", "young", &Delete::now()).unwrap();
    stage.run(30);
    assert!(stage.meter.pod("shop", "young").is_none(), "{uid}");
    assert_eq!(stage.observe.ask("kube_pod_info{pod=\"young\"}").unwrap(), []);
}
