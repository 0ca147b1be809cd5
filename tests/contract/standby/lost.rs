//! A failover to a standby, and its revert, while the connection to one of the two clusters is lost for good at one of its
//! writes: before the write arrives, before its answer arrives, or to the cluster that the write is not sent to. What is reported
//! agrees with both clusters. Then the connection is back and the rest is done, if there is a rest. Nothing is written
//! twice, as both audit logs show. PILOTHOUSE_TEST_WHOLE=1 runs all of these; otherwise one of the three at each write.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::answers::accepted;
use crate::middle::{Answer, Asked, Deed, Middle, Upstream, Victim, When, kubeconfig};
use crate::rig::{Rig, audit_mark_in, err, out, real, until};

const SPACE: &str = "contract-lost";
/// Number of cells that run at the same time; most of them wait for an answer that does not come.
const AT_ONCE: usize = 8;

/// What the failover writes, in this order: where, and to which object.
const WRITES: [(Side, &str); 4] = [
    (Side::Standby, "/deployments/NAME/scale"),
    (Side::Here, "/traefikservices/NAME"),
    (Side::Here, "/traefikservices/NAME"),
    (Side::Here, "/deployments/NAME/scale"),
];
/// What the revert writes: the route goes back at once.
const BACK: [(Side, &str); 3] = [
    (Side::Here, "/deployments/NAME/scale"),
    (Side::Here, "/traefikservices/NAME"),
    (Side::Standby, "/deployments/NAME/scale"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Here,
    Standby,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The connection that the write uses.
    Own(When),
    /// The one to the other cluster.
    Other,
}

const LOSSES: [Lost; 3] = [Lost::Own(When::After), Lost::Other, Lost::Own(When::Before)];

/// The connection that is lost, and at which write.
#[derive(Clone, Copy, Debug)]
struct Cell {
    is_revert: bool,
    step: usize,
    lost: Lost,
}

/// What both proxies of a cell share.
#[derive(Default)]
struct Wire {
    /// The writes so far.
    writes: AtomicUsize,
    is_cut: [AtomicBool; 2],
    is_repaired: AtomicBool,
}

impl Cell {
    fn all() -> Vec<Self> {
        let of = |is_revert: bool, steps: usize| {
            (0..steps).flat_map(move |step| LOSSES.map(|lost| Self { is_revert, step, lost }))
        };
        of(false, WRITES.len()).chain(of(true, BACK.len())).collect()
    }

    fn name(&self) -> String {
        let lost = match self.lost {
            Lost::Own(When::Before) => "before",
            Lost::Own(When::After) => "after",
            Lost::Other => "other",
        };
        format!("{}-{}-{lost}", if self.is_revert { "back" } else { "over" }, self.step)
    }

    fn writes(&self) -> &'static [(Side, &'static str)] {
        if self.is_revert { &BACK } else { &WRITES }
    }

    /// Its objects in the order of their first writes.
    fn objects(&self) -> Vec<(Side, &'static str)> {
        let mut objects = self.writes().to_vec();
        objects.dedup();
        objects
    }

    /// How many times each object is written if nothing is lost.
    fn whole(&self) -> Vec<usize> {
        let count = |object: &_| self.writes().iter().filter(|write| *write == object).count();
        self.objects().iter().map(count).collect()
    }

    /// What happens to a request.
    fn decide(&self, wire: &Wire, side: Side, asked: &Asked) -> Deed {
        let gone = Deed::Spoil(When::Before, Answer::Dropped);
        if wire.is_repaired.load(Ordering::SeqCst) {
            return Deed::Pass;
        }
        if wire.is_cut[side as usize].load(Ordering::SeqCst) {
            return gone;
        }
        if !asked.is_write() || wire.writes.fetch_add(1, Ordering::SeqCst) != self.step {
            return Deed::Pass;
        }
        let own = self.writes()[self.step].0;
        assert_eq!(own, side, "{self:?}: {asked:?}");
        let other = if own == Side::Here { Side::Standby } else { Side::Here };
        let cut = if self.lost == Lost::Other { other } else { own };
        wire.is_cut[cut as usize].store(true, Ordering::SeqCst);
        match self.lost {
            Lost::Own(when) => Deed::Spoil(when, Answer::Dropped),
            Lost::Other => Deed::Pass,
        }
    }
}

/// The result of a cell.
struct Came {
    cell: Cell,
    exit: i32,
    said: Value,
    /// How many of each write had arrived when the action ended, and at the end.
    first: Vec<usize>,
    last: Vec<usize>,
    /// The exit status of the same command with both connections.
    again: i32,
    words: String,
}

impl Came {
    fn row(&self) -> String {
        format!(
            "| {} | {} {} | {:?} | {} | {:?} |",
            self.cell.name(),
            self.exit,
            self.said["outcome"].as_str().unwrap_or_default(),
            self.first,
            self.again,
            self.last
        )
    }

    /// How many of each write the report says: at least, and at most.
    fn said(&self) -> Vec<(usize, usize)> {
        let steps = self.said["steps"].as_array().unwrap();
        let writes = steps.iter().filter(|step| {
            let what = step["what"].as_str().unwrap();
            what.starts_with("scale ") || what.starts_with("weight ")
        });
        let states: Vec<&str> = writes.map(|step| step["state"].as_str().unwrap()).collect();
        let of = |object: &(Side, &str)| {
            let own = self.cell.writes().iter().zip(&states).filter(|(write, _)| *write == object);
            own.fold((0, 0), |(least, most), (_, state)| match *state {
                "verified" | "accepted" => (least + 1, most + 1),
                "unknown" => (least, most + 1),
                _ => (least, most),
            })
        };
        self.cell.objects().iter().map(of).collect()
    }

    /// The mistakes in the result.
    fn wrong(&self) -> Option<String> {
        let said = self.said();
        let states = self.said["steps"].to_string();
        let is_said = match (self.exit, self.said["outcome"].as_str()) {
            (0, Some("done")) => said.iter().all(|(least, most)| least == most),
            (1, Some("failed")) => !states.contains("unknown"),
            (4, Some("unknown")) => states.contains("unknown"),
            _ => false,
        };
        let agrees = said.iter().zip(&self.first).all(|((least, most), n)| (least..=most).contains(&n));
        // what the cell is about has happened
        let is_lost = match self.cell.lost {
            Lost::Own(_) => self.exit == 4,
            Lost::Other => self.exit != 4,
        };
        let why = if !is_said || !agrees {
            format!("what is said is not so: {said:?}")
        } else if !is_lost {
            "not by the connection that this is about".into()
        } else if self.again != 0 {
            "the rest is not done".into()
        } else if self.last != self.cell.whole() {
            format!("not each write once, which is {:?}", self.cell.whole())
        } else {
            return None;
        };
        Some(format!("{why}: {}\n    {}", self.row(), self.words))
    }
}

struct Stage<'a> {
    rig: &'a Rig,
    there: &'a Path,
    ports: [u16; 2],
    marks: [u64; 2],
    homes: tempfile::TempDir,
}

impl Stage<'_> {
    /// How many times each of the cell's objects was written since the beginning.
    fn applied(&self, cell: &Cell) -> Vec<usize> {
        let logs = [(&*self.rig.folder, self.marks[0]), (self.there, self.marks[1])]
            .map(|(folder, mark)| self.rig.audit_settled_in(folder, mark));
        let count = |(side, path): &(Side, &str)| {
            accepted(&logs[*side as usize], "PATCH", &path.replace("NAME", &cell.name()))
        };
        cell.objects().iter().map(count).collect()
    }

    fn play(&self, cell: Cell) -> Came {
        let (wire, name) = (Arc::new(Wire::default()), cell.name());
        let [here, there] = [Side::Here, Side::Standby].map(|side| {
            let wire = wire.clone();
            let upstream = self.ports[side as usize];
            Middle::start(upstream, Victim::default(), move |asked| cell.decide(&wire, side, asked))
        });
        let home = self.homes.path().join(&name);
        std::fs::create_dir(&home).unwrap();
        let file = home.join("kubeconfig");
        kubeconfig(&file, &[("test", here.port), ("standby", there.port)]);
        let run = |words: &[&str]| {
            let flags = ["--yes", "--confirm", "test", "-o", "json", "--request-timeout=6s"];
            let mut command = self.rig.command_with(&file, &[words, &flags].concat());
            command.env("XDG_STATE_HOME", home.join("state")).output().unwrap()
        };
        if cell.is_revert {
            wire.is_repaired.store(true, Ordering::SeqCst);
            let done = run(&["failover", &name]);
            assert_eq!(done.status.code(), Some(0), "{name}: {}{}", out(&done), err(&done));
            wire.is_repaired.store(false, Ordering::SeqCst);
        }
        let before = self.applied(&cell);
        let since = |counts: Vec<usize>| counts.iter().zip(&before).map(|(now, then)| now - then).collect();
        let revert: &[&str] = if cell.is_revert { &["--revert"] } else { &[] };
        let output = run(&[&["failover", &name], revert].concat());
        let said: Value = serde_json::from_str(&out(&output)).unwrap_or_default();
        let first = since(self.applied(&cell));
        // the connection is back
        wire.is_repaired.store(true, Ordering::SeqCst);
        let again = run(&[&["failover", &name], revert].concat());
        Came {
            cell,
            exit: output.status.code().unwrap_or(-1),
            first,
            last: since(self.applied(&cell)),
            again: again.status.code().unwrap_or(-1),
            words: format!("{} {}{}", said["message"], err(&output), err(&again)),
            said,
        }
    }
}

fn workload(name: &str, replicas: u32) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec: {{replicas: {replicas}, selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: a, image: 'a:1'}}]}}}}}}\n"
    )
}

fn make(rig: &Rig, there: &Path, cells: &[Cell]) {
    let mut yaml = format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n");
    let mut standby = yaml.clone();
    yaml.push_str(&format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: there, namespace: {SPACE}}}\nspec: {{type: ExternalName, externalName: standby.example.test}}\n"));
    let mut config = String::new();
    for name in cells.iter().map(Cell::name) {
        yaml.push_str(&workload(&name, 1));
        standby.push_str(&workload(&name, 0));
        yaml.push_str(&format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"));
        yaml.push_str(&format!("---\napiVersion: traefik.io/v1alpha1\nkind: TraefikService\nmetadata: {{name: {name}, namespace: {SPACE}}}\nspec: {{weighted: {{services: [{{name: {name}, weight: 100}}, {{name: there, weight: 0}}]}}}}\n"));
        config.push_str(&format!("[failover.{name}]\nkind = \"standby\"\ncontext = \"standby\"\nworkloads = [\"deploy/{SPACE}/{name}\"]\nscale_down = true\nroute = \"traefikservice/{SPACE}/{name}\"\nfrom = \"{name}\"\nto = \"there\"\nsteps = [50, 100]\nsoak_secs = 1\n"));
    }
    rig.config(&config);
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--ignore-not-found"]);
    rig.kubectl_at(there, &["delete", "namespace", SPACE, "--ignore-not-found"]);
    rig.apply(&yaml);
    rig.apply_at(there, &standby);
    until(60, "a ready pod each", || {
        let all = rig.kubectl_json(&["-n", SPACE, "get", "deploy"]);
        let is_ready = |d: &&Value| d["status"]["readyReplicas"] == 1;
        let ready = all["items"].as_array().unwrap().iter().filter(is_ready).count();
        if ready == cells.len() { Ok(()) } else { Err(format!("{ready} of {}", cells.len())) }
    });
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn a_lost_connection_at_any_write_of_a_standby_failover_writes_nothing_twice_real_only() {
    let rig = real("there is no second cluster");
    let file = std::env::var("PILOTHOUSE_TEST_STANDBY_KUBECONFIG").expect("printed by tests/cluster/up");
    let file = Path::new(&file);
    let there = file.parent().unwrap();
    // one of the three losses at each write, or all of them
    let whole = std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some();
    let mut cells = Cell::all();
    cells.retain(|cell| {
        whole || cell.lost == LOSSES[(cell.step + usize::from(cell.is_revert)) % LOSSES.len()]
    });
    make(&rig, file, &cells);
    let proxies = [&*rig.folder, there].map(|of| Upstream::start(&rig, &of.join("operator.kubeconfig")));
    let stage = Stage {
        rig: &rig,
        there,
        ports: [proxies[0].port, proxies[1].port],
        marks: [audit_mark_in(&rig.folder), audit_mark_in(there)],
        homes: tempfile::tempdir_in(rig.home()).unwrap(),
    };
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let came = stage.play(*cell);
                    done.lock().unwrap().push(came);
                }
            });
        }
    });
    let mut came = done.into_inner().unwrap();
    came.sort_by_key(|one: &Came| one.cell.name());
    eprintln!("| lost at | said | written | again | written |\n|---|---|---|---|---|");
    for one in &came {
        eprintln!("{}", one.row());
    }
    let wrong: Vec<String> = came.iter().filter_map(Came::wrong).collect();
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--wait=false"]);
    rig.kubectl_at(file, &["delete", "namespace", SPACE, "--wait=false"]);
    assert!(wrong.is_empty(), "{} of {} cells are wrong:\n{}", wrong.len(), came.len(), wrong.join("\n"));
}
