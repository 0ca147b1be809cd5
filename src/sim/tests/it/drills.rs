//! Faults that labels turn on and off.

use pilothouse_sim::resources::Res;
use pilothouse_sim::store::Delete;
use pilothouse_sim::world::NodeTrouble;
use serde_json::{Value, json};

use crate::live::{Live, node, template};

fn label(live: &Live, res: Res, name: &str, label: &str, value: Value) {
    live.edit(res, name, |v| {
        if !v["metadata"]["labels"].is_object() {
            v["metadata"]["labels"] = json!({});
        }
        let labels = v["metadata"]["labels"].as_object_mut().unwrap();
        drop(labels.remove(label));
        if !value.is_null() {
            labels.insert(label.to_owned(), value);
        }
    });
}

/// A template of `web:v1` with a label of trouble.
fn troubled(trouble: &str) -> Value {
    let mut out = template("web", "v1", "10m");
    out["metadata"]["labels"][trouble] = json!("true");
    out
}

fn waits(live: &Live, reason: &str) -> usize {
    let pods = live.pods("web");
    pods.iter().filter(|pod| pod.text("/status/containerStatuses/0/state/waiting/reason") == reason).count()
}

#[test]
fn a_template_without_the_label_makes_sound_pods_of_the_same_image() {
    for (trouble, reason) in
        [("fault.test/crash", "CrashLoopBackOff"), ("fault.test/image", "ImagePullBackOff")]
    {
        let mut live = Live::new(2);
        live.deployment("web", 2, &json!({"template": troubled(trouble)}));
        let mut waited = 0;
        live.watch(60, |live, _| waited = waited.max(waits(live, reason)));
        assert_eq!((waited, live.ready("web")), (2, 0), "{trouble}");
        live.edit(Res::Deployments, "web", |v| v["spec"]["template"] = template("web", "v1", "10m"));
        live.run(30);
        assert_eq!(live.ready("web"), 2, "{trouble}");
        let restarts = live.pods("web");
        let restarts = restarts.iter().filter_map(|pod| pod.int("/status/containerStatuses/0/restartCount"));
        assert_eq!(restarts.sum::<i64>(), 0, "{trouble}: none of the new ones");
    }
}

#[test]
fn a_label_on_one_pod_holds_for_that_pod_while_it_is_there() {
    for trouble in ["fault.test/crash", "fault.test/unready", "fault.test/oom"] {
        let mut live = Live::new(2);
        live.deployment("web", 2, &json!({}));
        live.run(15);
        let [one, other] = [0, 1].map(|n| live.pods("web")[n].name().to_owned());
        label(&live, Res::Pods, &one, trouble, json!("true"));
        let mut seen = false;
        live.watch(30, |live, _| {
            seen |= live.get(Res::Pods, &one).condition("Ready") == Some("False");
            assert_eq!(live.get(Res::Pods, &other).condition("Ready"), Some("True"), "{trouble}");
        });
        assert!(seen, "{trouble}");
        label(&live, Res::Pods, &one, trouble, Value::Null);
        // A container that waits for its next start does so to the end.
        live.run(200);
        assert_eq!(live.ready("web"), 2, "{trouble}");
        assert!(live.world.now().pods.is_empty(), "{trouble}");
    }
}

#[test]
fn a_new_pod_of_the_same_name_is_sound() {
    let mut live = Live::new(1);
    let mut pod = troubled("fault.test/unready");
    pod["metadata"]["name"] = json!("web");
    pod["metadata"]["namespace"] = json!("shop");
    live.make(Res::Pods, pod);
    live.run(15);
    assert_eq!(live.ready("web"), 0);
    live.store.delete(Res::Pods, "shop", "web", &Delete::default()).unwrap();
    live.run(30);
    assert!(live.pods("web").is_empty() && live.world.now().pods.is_empty());
}

#[test]
fn a_node_goes_from_one_trouble_to_the_other_and_back() {
    let mut live = Live::new(2);
    live.run(15);
    let ready = |live: &Live| live.get(Res::Nodes, "n1").condition("Ready").unwrap().to_owned();
    label(&live, Res::Nodes, "n1", "fault.test/silent", json!("true"));
    live.run(60);
    assert_eq!(ready(&live), "Unknown");
    label(&live, Res::Nodes, "n1", "fault.test/not-ready", json!("true"));
    label(&live, Res::Nodes, "n1", "fault.test/silent", Value::Null);
    live.run(15);
    assert_eq!(ready(&live), "False");
    label(&live, Res::Nodes, "n1", "fault.test/silent", json!("true"));
    label(&live, Res::Nodes, "n1", "fault.test/not-ready", Value::Null);
    live.run(60);
    assert_eq!(ready(&live), "Unknown");
    label(&live, Res::Nodes, "n1", "fault.test/silent", Value::Null);
    live.run(15);
    assert_eq!(ready(&live), "True");
    label(&live, Res::Nodes, "n1", "fault.test/not-ready", json!("true"));
    live.run(15);
    assert_eq!(ready(&live), "False");
    live.store.delete(Res::Nodes, "", "n1", &Delete::default()).unwrap();
    live.run(1);
    live.make(Res::Nodes, node("n1", "b", 1));
    live.run(15);
    assert_eq!(ready(&live), "True", "another machine of the same name");
}

#[test]
fn what_the_story_did_stays_when_a_label_goes() {
    let mut live = Live::new(2);
    live.world.change(|state| state.nodes.entry("n1".into()).or_default().slower = 3.0);
    label(&live, Res::Nodes, "n1", "fault.test/silent", json!("true"));
    live.run(1);
    assert!(live.world.now().node("n1").silent);
    label(&live, Res::Nodes, "n1", "fault.test/silent", json!("false"));
    live.run(1);
    let left = NodeTrouble { slower: 3.0, ..NodeTrouble::default() };
    assert_eq!(live.world.now().node("n1"), left);
}
