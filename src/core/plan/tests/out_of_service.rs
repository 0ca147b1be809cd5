//! Tests of the out-of-service taint.

use serde_json::{Value, json};

use super::{cluster, fields, here, make, node, refused, target};
use crate::domain::id::{Kind, Name};
use crate::domain::node::{Node, Status};
use crate::domain::plan::{
    Act, Change, Confirm, DrainOptions, Fate, FieldChange, Guard, Lacking, Refusal, Since, Unread, Warning,
};
use crate::domain::settings::GuardSettings;
use crate::facts::table::{Coverage, Rows};
use crate::facts::world::Cluster;
use crate::plan::{adds_out_of_service, is_protected};

#[test]
fn the_taint_is_for_a_machine_that_is_off() {
    let cluster = cluster();
    let ours =
        json!({ "key": crate::domain::node::OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute" });
    let other = json!({ "key": "team", "effect": "NoSchedule" });
    let (up, off) = (target(Kind::Node, 10, "up"), target(Kind::Node, 11, "off"));
    let with = |taints: &Value| vec![here(&off, json!({ "spec": { "taints": taints } }))];
    let p = make(&cluster, Act::OutOfService, vec![up.clone()], vec![here(&up, json!({ "spec": {} }))]);
    assert_eq!(p.refusals, [Refusal::NodeNotDead { node: "up".into(), state: "Ready" }]);
    assert!(p.steps.is_empty());
    let none = json!(null);
    for (act, before, after) in [
        (Act::OutOfService, &none, Some(json!([ours]))),
        (Act::OutOfService, &json!([other]), Some(json!([other, ours]))),
        (Act::OutOfService, &json!([ours]), None),
        (Act::InService, &json!([ours]), Some(json!(null))),
        (Act::InService, &json!([other, ours]), Some(json!([other]))),
        (Act::InService, &json!([other]), None),
    ] {
        let p = make(&cluster, act.clone(), vec![off.clone()], with(before));
        assert_eq!(refused(&p), [""; 0], "{act:?} of {before}");
        let change = p.steps.first().map(fields);
        assert_eq!(change.map(|f| f[0].2.clone()), after, "{act:?} of {before}");
        if act == Act::OutOfService && after.is_some() {
            assert_eq!(p.confirm, Confirm::Context);
            let fates: Vec<_> = p.pods.iter().map(|fate| (fate.pod.name.as_str(), fate.fate)).collect();
            assert_eq!(fates, [("left", Fate::Evict), ("stays", Fate::Skip)]);
        }
    }
    let p = make(&cluster, Act::OutOfService, vec![off], vec![]);
    assert_eq!(refused(&p), ["node-not-read"], "what was not read is not guessed");
    assert_eq!(p.refusals[0].guard(), Guard::IncompleteData);
}

#[test]
fn a_change_adds_the_taint_by_its_key_and_not_by_mentioning_it() {
    let key = crate::domain::node::OUT_OF_SERVICE;
    let taints = |keys: &[&str]| json!(keys.iter().map(|k| json!({ "key": k })).collect::<Vec<_>>());
    for (from, to, adds) in [
        (json!(null), taints(&[key]), true),
        (taints(&["team"]), taints(&["team", key]), true),
        (taints(&[key]), taints(&[key, "team"]), false),
        (taints(&[key]), json!(null), false),
        (json!(null), json!({ "key": key }), true),
        (json!(null), json!(format!("never {key}")), false),
        (json!(null), json!([{ "key": "note", "value": key }]), false),
    ] {
        let field = FieldChange { pointer: "/spec/taints".into(), from, to };
        let change = Change { words: String::new(), fields: vec![field] };
        assert_eq!(adds_out_of_service(&change), adds, "{change:?}");
    }
}

#[test]
fn what_becomes_of_its_pods_is_known_before_it_is_confirmed() {
    let mut loading = Cluster::clone(&cluster());
    let off = target(Kind::Node, 11, "off");
    let read = || vec![here(&off, json!({ "spec": {} }))];
    for (cover, waits) in [
        (Coverage::Never, true),
        (Coverage::Loading { have: 2, of: None }, true),
        (Coverage::Denied("no list of pods".into()), false),
        (Coverage::Complete, false),
    ] {
        loading.pods.cover = cover;
        let p = make(&loading, Act::OutOfService, vec![off.clone()], read());
        let of_pods = |r: &Refusal| matches!(r, Refusal::TableIncomplete { table, .. } if *table == "pods");
        assert_eq!(p.refusals.iter().any(of_pods), waits, "{:?}", p.refusals);
    }
}

#[test]
fn a_drain_of_a_node_that_does_not_answer_says_so_first() {
    let plain = cluster();
    let mut rows = Rows::default();
    for n in plain.nodes.iter() {
        rows.upsert(if n.name == "off" { node(11, "off", Status::Unknown) } else { Node::clone(n) });
    }
    let mut dead = Cluster::clone(&plain);
    dead.nodes = rows.table().clone();
    let drain = |cluster: &Cluster, uid, name| {
        let options = DrainOptions { ignore_daemonsets: true, ..DrainOptions::default() };
        make(cluster, Act::Drain(options), vec![target(Kind::Node, uid, name)], vec![])
    };
    let p = drain(&dead, 11, "off");
    assert_eq!(p.silent, [Name::from("off")]);
    let silent = Warning::KubeletSilent { node: "off".into(), state: "Unknown", since: Since(None) };
    assert_eq!(p.warnings[0], silent);
    assert_eq!(p.choices[0].act, Act::OutOfService);
    for (cluster, uid, name) in [(&dead, 10, "up"), (&*plain, 11, "off")] {
        // A kubelet that reports NotReady itself still answers.
        let p = drain(cluster, uid, name);
        assert!(p.silent.is_empty() && !matches!(p.choices[0].act, Act::OutOfService), "{name}");
    }
}

#[test]
fn its_pods_of_a_protected_namespace_ask_for_their_confirmation() {
    let cluster = cluster();
    let off = target(Kind::Node, 11, "off");
    let read = vec![here(&off, json!({ "spec": {} }))];
    let made = || make(&cluster, Act::OutOfService, vec![off.clone()], read.clone());
    let guards = |namespace: &str| GuardSettings {
        protected_namespaces: vec![namespace.into()],
        ..GuardSettings::default()
    };
    assert!(is_protected(&made(), &guards("shop")));
    assert!(!is_protected(&made(), &guards("vault")));
    // It is not known which pods would be deleted.
    let mut blind = made();
    blind.pods.clear();
    blind.unread.push(Unread { what: Lacking::Pods, namespaces: Vec::new(), why: "403".into() });
    assert!(is_protected(&blind, &guards("vault")));
    assert!(!is_protected(&blind, &GuardSettings::default()));
}
