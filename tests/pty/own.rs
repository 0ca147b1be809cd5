//! Two real control planes with objects of the same names: each action by key changes the cluster of the object under the
//! cursor and no other, as both audit logs show. The other cluster is in front while an action runs; and while a drain
//! is asked for, while its plan is renewed, and while it goes on after a pause.
//!
//! Not pressed here: `M` needs an Alertmanager, and neither cluster has one; `W` and `X` on a server change a HAProxy, which is
//! no cluster's; `R` on an action that was interrupted is in `killed`.

use crate::planes::{HERE, Planes, THERE};
use crate::seat::{PATIENCE, Seat, Start};

/// The namespace and the node of this test.
const SPACE: &str = "pty-own";
const OBJECTS: &str = include_str!("../cluster/equal.yaml");
/// The standby has no definition of Traefik's.
const DEFINITION: &str = include_str!("../cluster/traefikservice.yaml");
const ROUTE: &str = "---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: shift, namespace: SPACE}
spec: {weighted: {services: [{name: web, weight: 100}, {name: green, weight: 0}]}}
---
apiVersion: v1
kind: Service
metadata: {name: green, namespace: SPACE}
spec: {selector: {app: web, version: green}, ports: [{port: 80}]}
";

/// An action by key: the keys to its list, the list's title, the filter that leaves its object, the keys that open the
/// rehearsal, the rehearsal's title, and an option to set.
struct Action(&'static str, &'static str, &'static str, &'static str, &'static str, Option<&'static str>);

const NODES: [&str; 3] = ["1", "1 Nodes", SPACE];
const WEB: [&str; 3] = ["5", "5 Workloads", "web !green !scaled"];
const SCALED: [&str; 3] = ["4", "4 Autoscalers", "scaled"];
const SINGLE: [&str; 3] = ["5\t", "5 Pods", "single"];
const SERVICE: [&str; 3] = ["2", "2 Traffic", "web"];

const fn on(list: [&'static str; 3], keys: &'static str, title: &'static str) -> Action {
    Action(list[0], list[1], list[2], keys, title, None)
}

/// In this order: each leaves something to do for the next.
const ACTIONS: [Action; 17] = [
    on(NODES, "C", "cordon"),
    on(NODES, "C", "uncordon"),
    on(WEB, "S+1\r", "scale"),
    on(WEB, "R", "restart"),
    on(WEB, "B", "rollback"),
    on(WEB, "P", "pause-rollout"),
    on(WEB, "P", "resume-rollout"),
    on(SCALED, "S2-9\r", "bounds"),
    on(SCALED, "P", "pause-autoscaler"),
    on(SCALED, "P", "resume-autoscaler"),
    on(SINGLE, "X", "out-of-rotation"),
    on(SINGLE, "X", "into-rotation"),
    on(SERVICE, "Fswitch\r", "failover switch"),
    on(SERVICE, "Wshift\r", "failover shift"),
    on(SERVICE, "Fback\r", "failover back"),
    on(SINGLE, "K", "evict"),
    Action("5\t", "5 Pods", "spare", "K", "evict", Some("delete pods instead of evicting")),
];

fn other(context: &str) -> &'static str {
    if context == HERE { THERE } else { HERE }
}

/// The console, and how many actions it has done.
struct Person<'a> {
    planes: &'a Planes,
    seat: Seat,
    done: usize,
}

impl Person<'_> {
    /// The other cluster comes to the front when the answer is given; then the action ends.
    fn agrees_and_leaves(&mut self, context: &str) {
        self.seat.agrees();
        self.seat.brings(other(context));
        self.done += 1;
        self.seat.ends(self.done, "done");
    }

    fn acts(&mut self, action: &Action, context: &str) {
        let Action(list, title, filter, keys, rehearsal, option) = action;
        let planes = self.planes;
        let began = std::time::Instant::now();
        planes.only_in(context, rehearsal, || {
            self.seat.brings(context);
            self.seat.selects(list, title, filter);
            self.seat.rehearses(keys, rehearsal, context);
            if let Some(option) = option {
                self.seat.chooses(option);
            }
            self.agrees_and_leaves(context);
        });
        eprintln!("{rehearsal} in {context}: {:?}", began.elapsed());
    }

    /// Undoes the newest action, which was done in this cluster, while the other one is in front.
    fn undoes(&mut self, context: &str, title: &str) {
        let planes = self.planes;
        planes.only_in(context, "undo", || {
            self.seat.brings(other(context));
            self.seat.steps_back();
            self.seat.press("8", &["8 Actions"]);
            if !self.seat.text().contains("of all clusters") {
                self.seat.press("a", &["of all clusters"]);
            }
            self.seat.press("g", &[title]);
            self.seat.rehearses("U", "undo of", context);
            self.seat.agrees();
            self.done += 1;
            self.seat.ends(self.done, "done");
        });
    }

    /// Opens the rehearsal of a drain, and then brings the other cluster to the front by its key: it is opened by the keys
    /// before, and comes to the front when it is there.
    fn asks_and_leaves(&mut self, context: &str) {
        let other = other(context);
        for _ in 0..10 {
            self.seat.brings(context);
            self.seat.press("\x14", &["cluster:"]);
            self.seat.types(other);
            self.seat.press("\x18", &[&format!("closed {other}")]);
            self.seat.types("\x1b");
            self.seat.wait_for("the list of clusters is left", PATIENCE, |seat| {
                !seat.text().contains("cluster:")
            });
            self.seat.selects(NODES[0], NODES[1], NODES[2]);
            self.seat.types(&format!("\x14{other}\rD"));
            self.seat.wait_for("the other one is in front", PATIENCE, |seat| seat.front() == other);
            // it was in front before the key if it was very fast
            if self.seat.text().contains(&format!("Rehearsal: drain node/{SPACE} in {context}")) {
                return;
            }
            self.seat.steps_back();
        }
        panic!("it is always in front before the key:\n{}", self.seat.text());
    }

    /// A drain: the other cluster comes to the front while the dialog is open, the plan is renewed, and the other cluster
    /// is in front again while the drain goes on.
    fn drains(&mut self, context: &str) {
        let planes = self.planes;
        planes.only_in(context, "drain", || {
            self.asks_and_leaves(context);
            // a key that works elsewhere does nothing here
            self.seat.types("\x14");
            for option in ["--force", "--pods-at-once=1"] {
                self.seat.chooses(option);
            }
            self.seat.asks("drain", context);
            let pod = |name: &str| {
                format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: {SPACE}, name: {name}}}\nspec: {{nodeName: {SPACE}, terminationGracePeriodSeconds: 1, containers: [{{name: a, image: 'a:1'}}]}}\n"
                )
            };
            planes.at(context).apply(&pod("later"));
            self.seat.sees(&["the plan has changed", "later"]);
            assert_eq!(self.seat.front(), other(context), "{}", self.seat.text());
            self.seat.agrees();
            // it waits between two pods
            self.seat.brings(context);
            self.seat.press("8", &["8 Actions", "drain"]);
            self.seat.press("gP", &["paused"]);
            self.seat.brings(other(context));
            self.seat.press("8", &["8 Actions"]);
            if !self.seat.text().contains("of all clusters") {
                self.seat.press("a", &["of all clusters"]);
            }
            self.seat.press("g", &["drain"]);
            self.seat.press("P", &["resumed"]);
            self.done += 1;
            let done = self.seat.ends(self.done, "done");
            let evicted = done["pods"].as_array().unwrap().iter().filter(|pod| pod["fate"] == "evict").count();
            assert_eq!(evicted, 4, "{done:#}");
        });
        let left = planes.at(other(context)).ask(&["-n", SPACE, "get", "pods", "-o", "name"]);
        let placed = left.lines().filter(|name| name.contains("placed-")).count();
        assert!(placed == 3 || self.done > ACTIONS.len() * 2 + 3, "{left}");
    }

    /// A line of NOW about the other cluster, while NOW shows all of them.
    fn acts_from_now(&mut self, context: &str) {
        let planes = self.planes;
        planes.at(context).ask(&["label", "node", SPACE, "fault.test/not-ready=true"]);
        planes.only_in(context, "out-of-service", || {
            self.seat.brings(other(context));
            for _ in 0..3 {
                self.seat.steps_back();
            }
            self.seat.press("1", &["1 Nodes"]);
            self.seat.types("\x1b[Z");
            if !self.seat.text().contains("in 2 clusters") {
                self.seat.press("t", &["in 2 clusters"]);
            }
            self.seat.press("/", &["Enter keeps"]);
            self.seat.types(&format!("\x15{context} {SPACE}\r"));
            self.seat.sees(&["NotReady"]);
            self.seat.rehearses("gO", "out-of-service", context);
            self.seat.agrees();
            self.done += 1;
            self.seat.ends(self.done, "done");
        });
        self.acts(&on(NODES, "O", "in-service"), context);
    }
}

#[test]
#[ignore = "needs two real control planes: tests/cluster/README.md"]
fn every_action_by_key_is_in_its_own_cluster_only_real_only() {
    let planes = Planes::new(SPACE);
    let folder = tempfile::tempdir().unwrap();
    planes.at(THERE).apply(DEFINITION);
    planes.at(THERE).ask(&["wait", "--for=condition=Established", "crd/traefikservices.traefik.io"]);
    std::thread::scope(|scope| {
        for plane in planes.both() {
            let planes = &planes;
            scope.spawn(move || {
                planes.fresh(plane, &format!("{OBJECTS}{ROUTE}"));
            });
        }
    });
    let plan = |name: &str, from: &str, to: &str| {
        format!(
            "[failover.{name}]\nkind = \"selector\"\nservice = \"{SPACE}/web\"\nfrom = \"version={from}\"\nto = \"version={to}\"\nsoak_secs = 1\n"
        )
    };
    let config = format!(
        "{}{}[failover.shift]\nkind = \"weight\"\nroute = \"traefikservice/{SPACE}/shift\"\nfrom = \"web\"\nto = \"green\"\nsteps = [100]\nsoak_secs = 1\n",
        plan("switch", "blue", "green"),
        plan("back", "green", "blue"),
    );
    let kubeconfig = planes.kubeconfig(folder.path());
    let args = ["--context", HERE, "--context", THERE, "-n", SPACE];
    let seat = Start { args: &args, size: (160, 45), config: Some(&config), ..Start::new(&kubeconfig) }.sit();
    let mut person = Person { planes: &planes, seat, done: 0 };
    person.seat.wait_for("both are there", PATIENCE, |seat| {
        seat.front() == HERE && seat.text().lines().nth(1).is_some_and(|line| line.contains(THERE))
    });
    for action in &ACTIONS {
        for context in [HERE, THERE] {
            person.acts(action, context);
        }
    }
    for context in [HERE, THERE] {
        person.acts(&on(NODES, "C", "cordon"), context);
        person.undoes(context, "cordon");
    }
    for context in [HERE, THERE] {
        person.drains(context);
    }
    for context in [HERE, THERE] {
        person.acts_from_now(context);
    }
}
