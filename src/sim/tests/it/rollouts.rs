//! Deployments from the first pod to a rollback.

use pilothouse_sim::logs::LogBook;
use pilothouse_sim::resources::Res;
use pilothouse_sim::world::{Crash, Version};
use serde_json::json;

use crate::live::Live;

fn numbers(live: &Live, name: &str) -> [i64; 4] {
    let object = live.get(Res::Deployments, name);
    ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
        .map(|field| object.at("/status")[field].as_i64().unwrap_or_default())
}

#[test]
fn pods_are_pulled_started_and_become_ready() {
    let mut live = Live::new(3);
    live.deployment("web", 3, &json!({}));
    live.engine.settle();
    assert_eq!(live.pods("web").len(), 3);
    assert!(live.pods("web").iter().all(|pod| pod.text("/status/phase") == "Pending"));
    assert_eq!(
        live.pods("web")[0].text("/status/containerStatuses/0/state/waiting/reason"),
        "ContainerCreating"
    );
    live.run(4);
    let pod = &live.pods("web")[0];
    assert_eq!((pod.text("/status/phase"), pod.condition("Ready")), ("Running", Some("False")));
    live.run(6);
    assert_eq!(live.ready("web"), 3);
    assert_eq!(numbers(&live, "web"), [3, 3, 3, 3]);
    let pod = &live.pods("web")[0];
    assert!(pod.text("/status/containerStatuses/0/containerID").starts_with("containerd://"));
    assert!(pod.text("/status/podIP").starts_with("10.244."));
    assert_eq!(pod.text("/status/qosClass"), "Burstable");
    let mut nodes: Vec<_> =
        live.pods("web").iter().map(|pod| pod.text("/spec/nodeName").to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, ["n0", "n1", "n2"], "pods of one owner are spread");
    for reason in ["Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate"] {
        assert_eq!(live.told(reason).len(), 3, "{reason}");
    }
    let [status, reason, message] = live.condition(Res::Deployments, "web", "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NewReplicaSetAvailable"));
    assert!(message.starts_with("ReplicaSet \"web-") && message.ends_with("has successfully progressed."));
    assert_eq!(live.told("ScalingReplicaSet").len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_names() {
    let names = || {
        let mut live = Live::new(2);
        live.deployment("web", 4, &json!({}));
        // Someone else asks the server for things meanwhile.
        live.store.random().uid();
        live.run(20);
        live.pods("web").iter().map(|pod| (pod.name().to_owned(), pod.uid().to_owned())).collect::<Vec<_>>()
    };
    let first = names();
    assert_eq!(first.len(), 4);
    assert_eq!(
        first.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        names().iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
}

#[test]
fn a_rolling_update_keeps_its_bounds() {
    let mut live = Live::new(3);
    let rolling =
        json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}});
    live.deployment("web", 4, &rolling);
    live.run(15);
    live.image(Res::Deployments, "web", "registry.sim/web:v2");
    let (mut most, mut least) = (0, 9);
    live.watch(60, |live, _| {
        let alive = live.pods("web").iter().filter(|pod| !pod.is_terminating()).count();
        most = most.max(alive);
        least = least.min(live.ready("web"));
    });
    assert_eq!((most, least), (5, 3));
    assert_eq!(numbers(&live, "web"), [4, 4, 4, 4]);
    assert!(live.pods("web").iter().all(|pod| pod.text("/spec/containers/0/image").ends_with(":v2")));
    assert_eq!(live.get(Res::Deployments, "web").annotation("deployment.kubernetes.io/revision"), Some("2"));
}

#[test]
fn a_crash_stops_the_rollout_and_undo_makes_a_new_revision() {
    let mut live = Live::new(3);
    live.app("web", |app| {
        let crash = Crash {
            after: std::time::Duration::from_secs(2),
            code: 3,
            last_words: vec!["no config".into()],
            oom: false,
            times: None,
        };
        app.versions.insert("v2".into(), Version { crash: Some(crash), ..Version::default() });
    });
    live.deployment("web", 4, &json!({"progressDeadlineSeconds": 60}));
    live.run(15);
    let good = live.get(Res::Deployments, "web").at("/spec/template").clone();
    live.image(Res::Deployments, "web", "registry.sim/web:v2");
    live.run(130);
    assert_eq!(live.ready("web"), 3, "25 % of 4 may be missing, no more");
    let [status, reason, message] = live.condition(Res::Deployments, "web", "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ProgressDeadlineExceeded"), "{message}");
    assert!(message.ends_with("has timed out progressing."));
    live.edit(Res::Deployments, "web", |v| v["spec"]["template"] = good);
    live.run(30);
    assert_eq!(numbers(&live, "web"), [4, 4, 4, 4]);
    assert_eq!(live.get(Res::Deployments, "web").annotation("deployment.kubernetes.io/revision"), Some("3"));
    let sets = live.store.list(Res::ReplicaSets, Some("shop"));
    assert_eq!(sets.len(), 2, "the old set is used again");
    let back = sets.iter().find(|set| set.int("/spec/replicas") == Some(4)).unwrap();
    assert_eq!(back.annotation("deployment.kubernetes.io/revision-history"), Some("1"));
}

#[test]
fn a_crash_loop_backs_off() {
    let mut live = Live::new(1);
    live.app("web", |app| {
        let crash = Crash {
            after: std::time::Duration::from_secs(1),
            code: 3,
            last_words: vec!["no config".into()],
            oom: false,
            times: None,
        };
        app.versions.insert("v1".into(), Version { crash: Some(crash), ..Version::default() });
    });
    live.deployment("web", 1, &json!({}));
    let mut starts = Vec::new();
    let mut said = Vec::new();
    live.watch(220, |live, _| {
        let pod = &live.pods("web")[0];
        let status = pod.at("/status/containerStatuses/0");
        if let Some(at) =
            status["state"]["running"]["startedAt"].as_str().and_then(pilothouse_sim::clock::parse)
            && starts.last() != Some(&at)
        {
            starts.push(at);
        }
        if let Some(message) = status["state"]["waiting"]["message"].as_str()
            && said.last().is_none_or(|last| last != message)
        {
            assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
            said.push(message.to_owned());
        }
    });
    let gaps: Vec<i64> = starts.windows(2).map(|pair| (pair[1] - pair[0]).num_seconds()).collect();
    assert_eq!(gaps, [1, 11, 21, 41, 81], "at once, then after 10 s, doubled each time");
    assert!(said[0].starts_with("back-off 10s restarting failed container=app pod=web-"), "{said:?}");
    assert!(said[3].starts_with("back-off 1m20s "), "{said:?}");
    let pod = &live.pods("web")[0];
    assert_eq!(pod.int("/status/containerStatuses/0/restartCount"), Some(5));
    assert_eq!(pod.int("/status/containerStatuses/0/lastState/terminated/exitCode"), Some(3));
    let page = live.logs.read(pod.uid(), "app", true, 0, 10).unwrap();
    assert_eq!(&page.lines[0].text[..], b"no config");
    assert_eq!(live.told("BackOff").len(), 1, "one event, counted");
}

#[test]
fn images_leaks_and_probes_fail_as_they_do() {
    let mut live = Live::new(1);
    live.app("web", |app| {
        app.versions.insert("v2".into(), Version { no_image: true, ..Version::default() });
        app.versions.insert("v3".into(), Version { leak_mib_per_minute: 272.0, ..Version::default() });
        app.versions.insert("v4".into(), Version { never_ready: true, ..Version::default() });
    });
    for tag in ["v2", "v3", "v4"] {
        let mut pod = crate::live::template("web", tag, "100m");
        pod["metadata"]["name"] = json!(tag);
        pod["metadata"]["namespace"] = json!("shop");
        live.make(Res::Pods, pod);
    }
    let mut reasons = Vec::new();
    live.watch(8, |live, _| {
        let pod = live.get(Res::Pods, "v2");
        reasons.push(pod.text("/status/containerStatuses/0/state/waiting/reason").to_owned());
    });
    reasons.dedup();
    assert_eq!(reasons, ["ContainerCreating", "ErrImagePull", "ImagePullBackOff"]);
    live.run(40);
    let leak = live.get(Res::Pods, "v3");
    let end = leak.at("/status/containerStatuses/0/lastState/terminated");
    assert_eq!(
        (end["reason"].as_str(), end["exitCode"].as_i64()),
        (Some("OOMKilled"), Some(137)),
        "{}",
        leak.value
    );
    let never = live.get(Res::Pods, "v4");
    assert_eq!((never.text("/status/phase"), never.condition("Ready")), ("Running", Some("False")));
    assert_eq!(live.told("Unhealthy"), ["Readiness probe failed: HTTP probe failed with statuscode: 503"]);
    live.app("web", |app| app.versions.clear());
    live.run(70);
    assert_eq!(live.get(Res::Pods, "v2").condition("Ready"), Some("True"), "the image is there now");
    assert_eq!(live.get(Res::Pods, "v4").condition("Ready"), Some("True"));
}

#[test]
fn a_template_without_defaults_is_rolled_out_once() {
    let mut live = Live::new(2);
    live.deployment("web", 2, &json!({}));
    live.run(15);
    live.edit(Res::Deployments, "web", |v| {
        let spec = &mut v["spec"]["template"]["spec"];
        spec["containers"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "beside", "image": "registry.sim/beside:1"}));
        drop(spec.as_object_mut().unwrap().remove("dnsPolicy"));
    });
    live.run(30);
    assert_eq!(live.store.count(Res::ReplicaSets), 2);
    let template = live.get(Res::Deployments, "web").at("/spec/template/spec").clone();
    assert_eq!(template["containers"][1]["imagePullPolicy"], "IfNotPresent");
    assert_eq!((template["dnsPolicy"].as_str(), live.ready("web")), (Some("ClusterFirst"), 2));
}
