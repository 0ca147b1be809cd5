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
/// The drain waits for it.
const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: held, namespace: SPACE}
spec: {minAvailable: 3, selector: {matchLabels: {app: placed}}}
";
/// A pod that comes while the drain is asked for.
const LATER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: later, namespace: SPACE, labels: {app: placed}}
spec: {nodeName: SPACE, terminationGracePeriodSeconds: 1, containers: [{name: a, image: 'a:1'}]}
";

/// Where an object is: the keys to its list, the list's title, the filter that leaves it, and the end of its name.
type Place = [&'static str; 4];

const NODE: Place = ["1", "1 Nodes", SPACE, "node/pty-own"];
const WEB: Place = ["5", "5 Workloads", "pty-own web$", "pty-own/deploy/web"];
const SCALED: Place = ["4", "4 Autoscalers", "pty-own scaled", "pty-own/hpa/scaled"];
const SINGLE: Place = ["5\t", "5 Pods", "pty-own single", "pty-own/pod/single"];
const SPARE: Place = ["5\t", "5 Pods", "pty-own spare", "pty-own/pod/spare"];
/// A plan is not about the object under the cursor: its name is in the title.
const SERVICE: Place = ["2", "2 Traffic", "pty-own web$", ""];

/// The keys that open the rehearsal (with a plan to pick), and the beginning of its title.
struct Action(Place, &'static str, &'static str);

/// In this order: each leaves something to do for the next.
const ACTIONS: [Action; 17] = [
    Action(NODE, "C", "cordon"),
    Action(NODE, "C", "uncordon"),
    Action(WEB, "S+1\r", "scale to 3"),
    Action(WEB, "R", "restart"),
    Action(WEB, "B", "rollback"),
    Action(WEB, "P", "pause-rollout"),
    Action(WEB, "P", "resume-rollout"),
    Action(SCALED, "S2-9\r", "bounds"),
    Action(SCALED, "P", "pause-autoscaler"),
    Action(SCALED, "P", "resume-autoscaler"),
    Action(SINGLE, "X", "out-of-rotation"),
    Action(SINGLE, "X", "into-rotation"),
    Action(SERVICE, "F switch", "failover switch"),
    Action(SERVICE, "W shift", "failover shift"),
    Action(SERVICE, "F back", "failover back"),
    Action(SINGLE, "K", "evict"),
    // delete, by an option of the rehearsal
    Action(SPARE, "K", "evict"),
];

/// The clusters in which the actions on a place are pressed: all in both with PILOTHOUSE_TEST_WHOLE=1, else those of the
/// workloads' pane in one and the others in the other.
fn contexts(place: &Place) -> Vec<&'static str> {
    let whole = std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some();
    let of_place = if place[0].starts_with('5') { THERE } else { HERE };
    [HERE, THERE].into_iter().filter(|context| whole || *context == of_place).collect()
}

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
    /// Opens a rehearsal and confirms it. Then the other cluster comes to the front, and the action ends.
    fn does(&mut self, context: &str, rehearse: impl Fn(&mut Seat)) {
        self.done += 1;
        for _ in 0..3 {
            rehearse(&mut self.seat);
            self.seat.agrees();
            if self.seat.is_begun(self.done) {
                self.seat.brings(other(context));
                self.seat.ends(self.done, "done");
                return;
            }
        }
        panic!("the plan changes each time:\n{}", self.seat.text());
    }

    fn acts(&mut self, Action(place, keys, rehearsal): &Action, context: &str) {
        let ([list, title, filter, object], planes) = (place, self.planes);
        planes.only_in(context, rehearsal, || {
            self.does(context, |seat| {
                seat.brings(context);
                seat.selects(list, title, filter);
                match keys.split_once(' ') {
                    Some((key, plan)) => seat.picks(key, plan),
                    None => seat.types(keys),
                }
                seat.asks(rehearsal, object, context);
                if *place == SPARE {
                    seat.chooses("delete pods instead of evicting");
                }
            });
        });
    }

    /// Opens the list of actions, with those of all clusters.
    fn all_actions(&mut self) {
        self.seat.press("8", &["8 Actions"]);
        if !self.seat.text().contains("of all clusters") {
            self.seat.press("a", &["of all clusters"]);
        }
    }

    /// Undoes the newest action, which was done in this cluster, while the other one is in front.
    fn undoes(&mut self, context: &str, title: &str) {
        let planes = self.planes;
        planes.only_in(context, "undo", || {
            self.seat.brings(other(context));
            self.seat.steps_back();
            self.all_actions();
            self.seat.press("g", &[title]);
            self.seat.types("U");
            self.seat.asks("undo of", "", context);
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
            let closed = format!("closed {other}");
            self.seat.types("\x18");
            // a cluster with an open incident, which other tests can have left, is closed by the second press
            self.seat.wait_for(&closed, PATIENCE, |seat| {
                let text = seat.text();
                text.contains(&closed) || text.contains("again closes it")
            });
            if !self.seat.text().contains(&closed) {
                self.seat.press("\x18", &[&closed]);
            }
            let left = |seat: &Seat| !seat.text().contains("cluster:");
            self.seat.types("\x1b");
            self.seat.wait_for("the list of clusters is left", PATIENCE, left);
            self.seat.selects(NODE[0], NODE[1], NODE[2]);
            self.seat.press("\x14", &["cluster:"]);
            self.seat.types(&format!("{other}\r"));
            // a key is for the row that is shown again, and the other cluster is not there yet
            self.seat.wait_for("the list of clusters is left again", PATIENCE, left);
            self.seat.types("D");
            self.seat.wait_for("the other one is in front", PATIENCE, |seat| seat.front() == other);
            // it was in front before the key if it was very fast
            if self.seat.text().contains(&format!("Rehearsal: drain {} in {context}", NODE[3])) {
                return;
            }
            self.seat.steps_back();
        }
        panic!("it is always in front before the key:\n{}", self.seat.text());
    }

    /// A drain: the other cluster comes to the front while the dialog is open, the plan is renewed, and the drain goes on
    /// by a key while the other cluster is in front.
    fn drains(&mut self, context: &str) {
        let planes = self.planes;
        // one pod can go, and the drain waits for the others
        planes.at(context).apply(&BUDGET.replace("SPACE", SPACE));
        planes.only_in(context, "drain", || {
            self.asks_and_leaves(context);
            // a key that works elsewhere does nothing here
            self.seat.types("\x14");
            self.seat.chooses("--force");
            self.seat.asks("drain", NODE[3], context);
            planes.at(context).apply(&LATER.replace("SPACE", SPACE));
            self.seat.sees(&["the plan has changed", "pty-own/later"]);
            assert_eq!(self.seat.front(), other(context), "{}", self.seat.text());
            self.seat.agrees();
            self.seat.sees(&["waits for PDB pty-own/held"]);
            self.seat.brings(context);
            self.seat.press("8", &["8 Actions", "drain"]);
            self.seat.press("gP", &["~ paused"]);
            self.seat.brings(other(context));
            self.all_actions();
            self.seat.press("gP", &["~ running"]);
            planes.at(context).ask(&["-n", SPACE, "delete", "pdb", "held"]);
            self.done += 1;
            let done = self.seat.ends(self.done, "done");
            let steps: Vec<&str> = done["steps"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|step| step["on"]["name"].as_str().filter(|_| step["state"] == "verified"))
                .collect();
            assert_eq!(steps, [SPACE, "later", "placed-0", "placed-1", "placed-2"], "{done:#}");
        });
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
            let filter = format!("{context} {SPACE} NotReady");
            self.seat.types(&format!("\x15{filter}\r"));
            self.seat.sees(&[&format!("{filter} 1 match")]);
            self.does(context, |seat| {
                seat.types("gO");
                seat.asks("out-of-service", NODE[3], context);
            });
        });
        self.acts(&Action(NODE, "O", "in-service"), context);
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
            "[failover.{name}]\nkind = \"selector\"\nin_context = \"*\"\nservice = \"{SPACE}/web\"\nfrom = \"version={from}\"\nto = \"version={to}\"\nsoak_secs = 1\n"
        )
    };
    let config = format!(
        "{}{}[failover.shift]\nkind = \"weight\"\nin_context = \"*\"\nroute = \"traefikservice/{SPACE}/shift\"\nfrom = \"web\"\nto = \"green\"\nsteps = [100]\nsoak_secs = 1\n",
        plan("switch", "blue", "green"),
        plan("back", "green", "blue"),
    );
    let kubeconfig = planes.kubeconfig(folder.path());
    let args = ["--context", HERE, "--context", THERE];
    let seat = Start { args: &args, size: (160, 45), config: Some(&config), ..Start::new(&kubeconfig) }.sit();
    let mut person = Person { planes: &planes, seat, done: 0 };
    person.seat.wait_for("both are there", PATIENCE, |seat| {
        seat.front() == HERE && seat.text().lines().nth(1).is_some_and(|line| line.contains(THERE))
    });
    for action in &ACTIONS {
        for context in contexts(&action.0) {
            person.acts(action, context);
        }
    }
    for context in [HERE, THERE] {
        person.acts(&Action(NODE, "C", "cordon"), context);
        person.undoes(context, "cordon");
    }
    for context in [HERE, THERE] {
        person.drains(context);
    }
    for context in [HERE, THERE] {
        person.acts_from_now(context);
    }
}
