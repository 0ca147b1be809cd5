//! A failover to a standby by key, with two real control planes: both sides are shown while it runs, it is stopped midway
//! and undone, and another one runs to its end and is reverted. Each write is once in the audit log of its cluster.

use serde_json::Value;

use crate::planes::{HERE, Planes, THERE, changes, is_dry};
use crate::seat::{PATIENCE, Seat, Start};

const SPACE: &str = "pty-standby";
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: SPACE}
spec:
  replicas: COUNT
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
";
const ROUTE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: here, namespace: SPACE}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: there, namespace: SPACE}
spec: {type: ExternalName, externalName: standby.example.test}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: web, namespace: SPACE}
spec: {weighted: {services: [{name: here, weight: 100}, {name: there, weight: 0}]}}
";

fn plan(name: &str, soak: u32) -> String {
    format!(
        "[failover.{name}]\nkind = \"standby\"\ncontext = \"{THERE}\"\nworkloads = [\"deploy/{SPACE}/web\"]\nscale_down = true\n\
         route = \"traefikservice/{SPACE}/web\"\nfrom = \"here\"\nto = \"there\"\nsteps = [50, 100]\nsoak_secs = {soak}\n"
    )
}

/// The wanted and ready pods here and there, and the weights of the route.
fn stands(planes: &Planes) -> String {
    let pods = |context: &str| {
        let path = "jsonpath={.spec.replicas}/{.status.readyReplicas}";
        planes.at(context).ask(&["-n", SPACE, "get", "deploy", "web", "-o", path])
    };
    let path = "jsonpath={.spec.weighted.services[*].weight}";
    let weights = planes.at(HERE).ask(&["-n", SPACE, "get", "traefikservice", "web", "-o", path]);
    format!("{} {} {weights}", pods(HERE), pods(THERE))
}

fn reaches(seat: &mut Seat, planes: &Planes, wanted: &str) {
    seat.until(&format!("the clusters stand at {wanted}"), || {
        let seen = stands(planes);
        if seen == wanted { Ok(()) } else { Err(seen) }
    });
}

/// How many times each kind of object was written since then.
fn writes(planes: &Planes, context: &str, mark: u64) -> Vec<String> {
    let seen = changes(planes.at(context), mark);
    let resource = |e: &Value| {
        let on = &e["objectRef"];
        assert_eq!(on["name"], "web", "{e:#}");
        format!("{} {}", e["verb"].as_str().unwrap(), on["resource"].as_str().unwrap())
    };
    seen.iter().filter(|e| !is_dry(e)).map(resource).collect()
}

/// The row of a cluster in the action's text.
fn side(seat: &Seat, context: &str) -> String {
    let text = seat.text();
    let rows = text.lines().skip_while(|line| !line.contains("Both sides"));
    let words = |line: &str| line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let mut rows = rows.map(words).filter(|words| words.first().is_some_and(|word| word == context));
    rows.find(|words| words.iter().any(|word| word.contains("deploy/web"))).unwrap_or_default().join(" ")
}

#[test]
#[ignore = "needs two real control planes: tests/cluster/README.md"]
fn a_standby_takes_over_by_key_is_stopped_and_gives_back_real_only() {
    let planes = Planes::new(SPACE);
    let folder = tempfile::tempdir().unwrap();
    planes.fresh(planes.at(THERE), &WEB.replace("COUNT", "0"));
    planes.fresh(planes.at(HERE), &format!("{}{ROUTE}", WEB.replace("COUNT", "3")));
    let config = format!("{}{}", plan("slow", 120), plan("quick", 1));
    let kubeconfig = planes.kubeconfig(folder.path());
    let args = ["--context", HERE];
    let mut seat =
        Start { args: &args, size: (160, 45), config: Some(&config), ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["1 Nodes", "node-0", "? help"]);
    let marks = [HERE, THERE].map(|context| planes.at(context).mark());

    seat.selects("2", "2 Traffic", &format!("{SPACE} ^here"));
    seat.picks("F", "slow");
    seat.asks("failover slow", "", HERE);
    seat.agrees();
    seat.press("8", &["8 Actions", "failover slow"]);
    seat.press("g\r", &["Both sides"]);
    // both clusters, although only one was opened at the start
    seat.wait_for("the pods of both sides", PATIENCE, |seat| {
        side(seat, HERE).contains(" 3 3 ") && side(seat, THERE).contains(" 3 3 ")
    });
    reaches(&mut seat, &planes, "3/3 3/3 50 50");
    seat.press("x", &["stop it"]);
    seat.press("y", &["stopping before the next step"]);
    seat.ends(1, "cancelled");
    assert_eq!(stands(&planes), "3/3 3/3 50 50");
    assert_eq!(writes(&planes, THERE, marks[1]), ["patch deployments"]);
    assert_eq!(writes(&planes, HERE, marks[0]), ["patch traefikservices"]);
    seat.press("U", &["Rehearsal: undo of failover slow"]);
    seat.asks("undo of failover slow", "", HERE);
    seat.agrees();
    seat.ends(2, "done");
    reaches(&mut seat, &planes, "3/3 0/ 100 0");
    assert_eq!(writes(&planes, THERE, marks[1]), ["patch deployments"; 2]);
    assert_eq!(writes(&planes, HERE, marks[0]), ["patch traefikservices"; 2]);

    // to its end, with the standby in front while it runs
    let marks = [HERE, THERE].map(|context| planes.at(context).mark());
    seat.selects("2", "2 Traffic", &format!("{SPACE} ^here"));
    seat.picks("F", "quick");
    seat.asks("failover quick", "", HERE);
    seat.agrees();
    seat.brings(THERE);
    seat.ends(3, "done");
    reaches(&mut seat, &planes, "0/ 3/3 0 100");
    seat.brings(HERE);
    seat.selects("2", "2 Traffic", &format!("{SPACE} ^here"));
    seat.press("F", &["│  plan ", "quick"]);
    seat.press("\x15failover-revert quick", &["plan     failover-revert quick"]);
    seat.types("\r");
    seat.asks("failover-revert quick", "", HERE);
    seat.agrees();
    seat.ends(4, "done");
    reaches(&mut seat, &planes, "3/3 0/ 100 0");
    assert_eq!(writes(&planes, THERE, marks[1]), ["patch deployments"; 2]);
    let route = "patch traefikservices";
    let all = [route, route, "patch deployments", "patch deployments", route];
    assert_eq!(writes(&planes, HERE, marks[0]), all);
}
