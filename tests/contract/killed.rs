//! kill -9 at random times of an action and of its resume: every started action is listed, can be resumed or dismissed,
//! reaches the requested state, and the server's audit log has no write twice. PILOTHOUSE_TEST_WHOLE=1 runs all 50
//! times, otherwise 12 of them run; PILOTHOUSE_TEST_SEED selects others.

mod kinds;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use crate::answers::{COLOURS, accepted, node};
use crate::middle::{Deed, Middle, Upstream, Victim, When, kubeconfig};
use crate::rig::{Rig, audit_mark_in, out, rig, until};

use self::kinds::{KINDS, Kind};

const SPACE: &str = "contract-killed";
const WHOLE: usize = 50;
const SOME: usize = 12;
const AT_ONCE: usize = 6;
/// How often a resume can be killed too.
const RESUMES: usize = 4;

/// When and how a process ends: at this request (counted from 0). None: by itself.
type Moment = Option<(usize, Deed)>;

#[derive(Clone, Copy)]
struct Run {
    kind: &'static Kind,
    number: usize,
}

impl Run {
    fn fill(&self, text: &str) -> String {
        text.replace("NAME", &format!("{}-{}", self.kind.name, self.number))
            .replace("NODE", &format!("killed-{}", self.number))
            .replace("SPACE", SPACE)
            .replace("KIND", self.kind.name)
    }
}

/// The number of requests of a whole run, and which of them is the first write.
#[derive(Clone, Copy)]
struct Length {
    first: usize,
    all: usize,
}

/// One process.
struct Lived {
    /// For each request in order, to either cluster: whether it is a write.
    writes: Vec<bool>,
    /// None: killed.
    exit: Option<i32>,
    said: String,
}

/// The result of a run.
struct Came {
    run: Run,
    story: String,
    end: &'static str,
    /// As many as [`Kind::writes`].
    written: Vec<usize>,
    wrong: Option<String>,
}

impl Came {
    fn row(&self) -> String {
        let written: Vec<String> = self.written.iter().map(ToString::to_string).collect();
        format!(
            "| {} | {} | {} | {} | {} |",
            self.run.number,
            self.run.kind.name,
            self.story,
            self.end,
            written.join(" ")
        )
    }
}

struct Stage<'a> {
    rig: &'a Rig,
    here: Upstream,
    /// The standby and its folder.
    there: Option<(Upstream, PathBuf)>,
    homes: tempfile::TempDir,
}

impl Stage<'_> {
    /// Runs our binary, and kills it at that time. In the words, ADDRESS is where it finds the clusters of the action: at
    /// other ports than every process before it.
    fn lives(&self, run: &Run, words: &str, moment: Moment) -> Lived {
        let victim = Victim::default();
        let writes = Arc::new(Mutex::new(Vec::new()));
        let proxy = |upstream: u16| {
            let writes = writes.clone();
            Middle::start(upstream, victim.clone(), move |asked| {
                let mut writes = writes.lock().unwrap();
                writes.push(asked.is_write());
                let at = writes.len() - 1;
                moment.filter(|(n, _)| *n == at).map_or(Deed::Pass, |(_, deed)| deed)
            })
        };
        let (here, there) = (proxy(self.here.port), self.there.as_ref().map(|(up, _)| proxy(up.port)));
        let home = self.home(run);
        std::fs::create_dir_all(&home).unwrap();
        let file = home.join("kubeconfig");
        let mut contexts = vec![("test", here.port)];
        contexts.extend(there.as_ref().filter(|_| run.kind.name == "standby").map(|p| ("standby", p.port)));
        kubeconfig(&file, &contexts);
        let addresses: Vec<String> = contexts.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        let addresses = addresses.join(" ");
        let words: Vec<&str> =
            words.split(' ').map(|word| if word == "ADDRESS" { &addresses } else { word }).collect();
        let mut command = self.rig.command_with(&file, &words);
        command.env("XDG_STATE_HOME", home.join("state"));
        let output = std::fs::File::create(home.join("stderr")).unwrap();
        command.stdout(Stdio::piped()).stderr(output);
        let mut stdout = {
            let mut place = victim.lock().unwrap();
            place.insert(command.spawn().unwrap()).stdout.take().unwrap()
        };
        let mut said = String::new();
        stdout.read_to_string(&mut said).unwrap();
        let status = victim.lock().unwrap().as_mut().unwrap().wait().unwrap();
        said.push_str(&std::fs::read_to_string(home.join("stderr")).unwrap());
        let writes = writes.lock().unwrap().clone();
        Lived { writes, exit: status.code(), said }
    }

    fn home(&self, run: &Run) -> PathBuf {
        self.homes.path().join(run.fill("NAME"))
    }

    fn journal(&self, run: &Run) -> String {
        let mut command = self.rig.command_with(&self.home(run).join("kubeconfig"), &["journal", "list"]);
        out(&command.env("XDG_STATE_HOME", self.home(run).join("state")).output().unwrap())
    }

    /// What kubectl reads, as in [`Kind::ends`].
    fn stands(&self, run: &Run) -> Vec<String> {
        let one = |(what, path, _, there): &(&str, &str, &str, bool)| {
            let get = format!("-n {SPACE} get {} -o jsonpath={path}", run.fill(what));
            let args: Vec<&str> = get.split(' ').collect();
            match &self.there {
                Some((_, folder)) if *there => self.rig.kubectl_at(&folder.join("admin.kubeconfig"), &args),
                _ => self.rig.kubectl_ok(&args),
            }
        };
        run.kind.ends.iter().map(one).collect()
    }

    /// The length of an undisturbed run.
    fn length(&self, run: &Run) -> Length {
        let lived =
            self.lives(run, &run.fill(&format!("{} --yes --confirm test -o json", run.kind.args)), None);
        assert_eq!(lived.exit, Some(0), "{}: {}", run.kind.name, lived.said);
        self.is_through(run).unwrap();
        let first = lived.writes.iter().position(|write| *write).unwrap();
        Length { first, all: lived.writes.len() }
    }

    fn is_through(&self, run: &Run) -> Result<(), String> {
        let (is, wanted) = (self.stands(run), run.kind.ends.iter().map(|(_, _, to, _)| *to));
        if is.iter().map(String::as_str).eq(wanted) { Ok(()) } else { Err(format!("it is {is:?}")) }
    }

    /// An action that is killed at a random time, and everything after that.
    fn play(&self, run: Run, length: Length, rng: &mut Rng) -> Came {
        let before = self.stands(&run);
        let (mut story, mut end) = (String::new(), "");
        let first = Some(moment(rng, length.first.saturating_sub(3)..length.all));
        write!(story, "killed {}", words(first)).unwrap();
        let mut lived =
            self.lives(&run, &run.fill(&format!("{} --yes --confirm test -o json", run.kind.args)), first);
        let mut wrong = None;
        for round in 0.. {
            if lived.exit == Some(0) {
                end = "done";
                break;
            }
            if let Some(exit) = lived.exit {
                wrong = Some(format!("exit {exit}: {}", lived.said));
                break;
            }
            let list = self.journal(&run);
            let Some(line) = list.lines().find(|line| line.contains("UNFINISHED")) else {
                // its last record may have been written already
                end = if list.contains("  done: ") { "done" } else { "nothing was done" };
                break;
            };
            let id = line.split_whitespace().next().unwrap();
            let again = if round < RESUMES && rng.u8(0..3) == 0 {
                Some(moment(rng, 0..length.all / 2))
            } else {
                None
            };
            write!(story, ", resume").unwrap();
            if again.is_some() {
                write!(story, " killed {}", words(again)).unwrap();
            }
            lived = self.lives(&run, &format!("resume {id} --yes --confirm ADDRESS -o json"), again);
            if lived.exit == Some(3) && lived.said.contains("--dismiss") {
                write!(story, ", dismissed ({})", lived.said.lines().last().unwrap_or_default()).unwrap();
                let dismissed = self.lives(&run, &format!("resume {id} --dismiss"), None);
                assert_eq!(dismissed.exit, Some(0), "{}", dismissed.said);
                end = "dismissed";
                break;
            }
        }
        let list = self.journal(&run);
        if list.contains("UNFINISHED") {
            wrong.get_or_insert(format!("still listed: {list}"));
        }
        let as_said = match end {
            "done" => self.is_through(&run),
            "nothing was done" if self.stands(&run) != before => {
                Err(format!("it is {:?}", self.stands(&run)))
            }
            _ => Ok(()),
        };
        let wrong = wrong.or(as_said.err());
        Came { run, story, end, written: Vec::new(), wrong }
    }
}

fn words(moment: Moment) -> String {
    match moment {
        None => "never".into(),
        Some((at, Deed::Kill(When::Before))) => format!("before request {at}"),
        Some((at, Deed::KillIn(time))) => format!("{} ms after request {at}", time.as_millis()),
        Some((at, _)) => format!("at the answer to {at}"),
    }
}

fn moment(rng: &mut Rng, among: std::ops::Range<usize>) -> (usize, Deed) {
    let at = rng.usize(among);
    let deed = match rng.u8(0..3) {
        0 => Deed::Kill(When::Before),
        1 => Deed::Kill(When::After),
        _ => Deed::KillIn(Duration::from_millis(rng.u64(0..60))),
    };
    (at, deed)
}

fn make(rig: &Rig, runs: &[Run], there: Option<&Path>) {
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--ignore-not-found"]);
    rig.kubectl_ok(&["delete", "nodes", "-l", "contract=answers"]);
    rig.namespace(SPACE);
    let mut yaml = COLOURS.replace("COLOUR", "blue") + "---" + &COLOURS.replace("COLOUR", "green");
    let (mut nodes, mut standby, mut plans) = (String::new(), String::new(), String::new());
    for run in runs {
        for text in [run.kind.yaml, run.kind.more].into_iter().filter(|text| !text.is_empty()) {
            // there are ready pods here before, and none in the standby
            yaml.push_str(&format!("---{}", run.fill(text).replace("replicas: 0", "replicas: 1")));
        }
        if !run.kind.there.is_empty() {
            standby.push_str(&format!("---{}", run.fill(run.kind.there)));
        }
        if run.kind.args.contains("NODE") {
            nodes.push_str(&node(&run.fill("NODE"), false));
        }
        if !run.kind.plan.is_empty() {
            let plan = run.fill(run.kind.plan);
            plans.push_str(&format!("[failover.{}]\nkind = \"{}\"\n{plan}", run.fill("NAME"), run.kind.name));
        }
    }
    rig.config(&plans);
    rig.apply(&nodes);
    rig.apply_in(SPACE, &yaml);
    if let Some(there) = there {
        rig.kubectl_at(there, &["delete", "namespace", SPACE, "--ignore-not-found"]);
        rig.apply_at(there, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SPACE}}}\n"));
        rig.apply_at(
            there,
            &standby.replace("metadata: {name:", &format!("metadata: {{namespace: {SPACE}, name:")),
        );
    }
    let revision = |text: &str| {
        until(60, "each change is a revision", || {
            let all = rig.kubectl_json(&["-n", SPACE, "get", "deploy", "-l", "answers=rollback"]);
            let seen = |o: &&Value| {
                o["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == text
                    && o["status"]["observedGeneration"] == o["metadata"]["generation"]
            };
            let all = all["items"].as_array().unwrap();
            let seen = all.iter().filter(seen).count();
            if seen == all.len() { Ok(()) } else { Err(format!("{seen} of {}", all.len())) }
        });
    };
    revision("1");
    rig.kubectl_ok(&["-n", SPACE, "set", "image", "deploy", "-l", "answers=rollback", "a=a:2"]);
    revision("2");
    until(90, "everything is ready", || {
        let all = rig.kubectl_json(&["-n", SPACE, "get", "deploy,pods"]);
        let all = all["items"].as_array().unwrap();
        let is = |o: &&Value| {
            let wanted = &o["spec"]["replicas"];
            let whole = &o["status"]["replicas"] == wanted && &o["status"]["readyReplicas"] == wanted;
            o["status"]["phase"] == "Running" || (o["kind"] == "Deployment" && whole)
        };
        let ready = all.iter().filter(is).count();
        if ready == all.len() { Ok(()) } else { Err(format!("{ready} of {}", all.len())) }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/README.md"]
fn what_a_killed_process_began_is_listed_and_ended_once() {
    let rig = rig();
    let there = std::env::var("PILOTHOUSE_TEST_STANDBY_KUBECONFIG").ok();
    let there = there.as_ref().and_then(|file| Path::new(file).parent()).map(Path::to_path_buf);
    let seed = std::env::var("PILOTHOUSE_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_129);
    let kinds = if there.is_some() { KINDS.len() } else { KINDS.len() - 1 };
    let whole = std::env::var_os("PILOTHOUSE_TEST_WHOLE").is_some();
    let runs = |from: usize, n: usize| -> Vec<Run> {
        (from..from + n).map(|number| Run { kind: &KINDS[(number - from) % kinds], number }).collect()
    };
    let (tries, all) = (runs(100, kinds), runs(0, if whole { WHOLE } else { SOME }));
    let admin = there.as_ref().map(|folder| folder.join("admin.kubeconfig"));
    make(&rig, &[&tries[..], &all[..]].concat(), admin.as_deref());
    let proxy = |folder: &Path| Upstream::start(&rig, &folder.join("operator.kubeconfig"));
    let stage = Stage {
        rig: &rig,
        here: proxy(&rig.folder),
        there: there.as_ref().map(|folder| (proxy(folder), folder.clone())),
        homes: tempfile::tempdir_in(rig.home()).unwrap(),
    };
    let marks = (audit_mark_in(&rig.folder), there.as_deref().map(audit_mark_in));
    let lengths: Vec<Length> = tries.iter().map(|run| stage.length(run)).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(run) = all.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut rng = Rng::with_seed(seed + run.number as u64);
                    let came = stage.play(*run, lengths[run.number % kinds], &mut rng);
                    done.lock().unwrap().push(came);
                }
            });
        }
    });
    let mut came = done.into_inner().unwrap();
    let own = rig.audit_settled(marks.0);
    let theirs = there.as_ref().zip(marks.1).map(|(folder, mark)| rig.audit_settled_in(folder, mark));
    came.sort_by_key(|c| c.run.number);
    eprintln!("seed {seed}\n| run | action | story | end | writes |\n|---|---|---|---|---|");
    for one in &mut came {
        for (method, path, most, there) in one.run.kind.writes {
            let entries = theirs.as_ref().filter(|_| *there).unwrap_or(&own);
            let n = accepted(entries, method, &one.run.fill(path));
            one.written.push(n);
            let fits = match one.end {
                "done" => n == *most,
                "nothing was done" => n == 0,
                _ => n <= *most,
            };
            if !fits {
                one.wrong.get_or_insert(format!("{n} writes of {path}"));
            }
        }
        eprintln!("{}", one.row());
    }
    rig.kubectl_ok(&["delete", "namespace", SPACE, "--wait=false"]);
    rig.kubectl_ok(&["delete", "nodes", "-l", "contract=answers", "--wait=false"]);
    if let Some(admin) = &admin {
        rig.kubectl_at(admin, &["delete", "namespace", SPACE, "--wait=false"]);
    }
    let wrong = came.iter().filter_map(|c| Some(format!("{}\n    {}", c.row(), c.wrong.as_ref()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), came.len(), wrong.join("\n"));
}
