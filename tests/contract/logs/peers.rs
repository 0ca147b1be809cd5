//! Other programs that follow the same logs in the same run, for comparison: `kubectl logs -f`, and stern if
//! PILOTHOUSE_TEST_STERN names it. Nothing is asserted about them.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{Key, SPACE, number};
use crate::rig::Rig;

/// How often each line of a container was printed.
pub(super) type Lines = HashMap<Key, HashMap<u32, u32>>;

/// The numbers of lines that are missing, and of those that were printed again.
pub(super) fn judge(written: &BTreeMap<Key, u32>, printed: &Lines) -> (usize, u32) {
    let none = HashMap::new();
    written.iter().fold((0, 0), |(missing, doubled), (key, lines)| {
        let found = printed.get(key).unwrap_or(&none);
        let absent = (0..*lines).filter(|number| !found.contains_key(number)).count();
        (missing + absent, doubled + found.values().map(|times| times - 1).sum::<u32>())
    })
}

/// A program that follows the logs.
pub(super) struct Peer {
    name: &'static str,
    child: Child,
    printed: Arc<Mutex<Lines>>,
    reading: JoinHandle<()>,
}

impl Peer {
    /// Starts all of them. `streams` is the number of containers.
    pub(super) fn start_all(rig: &Rig, streams: usize) -> Vec<Self> {
        let mut kubectl = rig.kubectl_command(&rig.kubeconfig);
        kubectl.args(["-n", SPACE, "logs", "-l", "app=numbered", "--all-containers", "--prefix", "-f"]);
        kubectl.args(["--tail", "1000", &format!("--max-log-requests={}", streams + 10)]);
        let mut all = vec![Self::start("kubectl logs -f", kubectl)];
        if let Some(stern) = std::env::var_os("PILOTHOUSE_TEST_STERN").map(PathBuf::from) {
            let mut command = Command::new(stern);
            command.arg("--kubeconfig").arg(&rig.kubeconfig).args(["-n", SPACE, "-l", "app=numbered"]);
            command.args(["--tail", "1000", "--color", "never"]).args([
                "--template",
                "[pod/{{.PodName}}/{{.ContainerName}}] {{.Message}}{{\"\\n\"}}",
                &format!("--max-log-requests={}", streams + 10),
            ]);
            all.push(Self::start("stern", command));
        }
        all
    }

    fn start(name: &'static str, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect(name);
        let printed: Arc<Mutex<Lines>> = Arc::default();
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()), printed.clone());
        let reading = std::thread::spawn(move || {
            for line in lines.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                // [pod/numbered-000/app] level=info …
                let parts = line.strip_prefix("[pod/").and_then(|rest| rest.split_once("] "));
                let place = parts.and_then(|(place, text)| Some((place.split_once('/')?, number(text)?)));
                if let Some(((pod, container), number)) = place {
                    let key = (pod.to_owned(), container.to_owned());
                    *into.lock().unwrap().entry(key).or_default().entry(number).or_default() += 1;
                }
            }
        });
        Self { name, child, printed, reading }
    }

    /// Waits for the first lines of this many containers, which a slow one prints late. It may have ended before.
    pub(super) fn wait_for(&mut self, containers: usize) {
        for _ in 0..600 {
            if self.printed.lock().unwrap().len() >= containers || self.child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }

    /// Ends it and prints a row of the table.
    pub(super) fn end(mut self, written: &BTreeMap<Key, u32>) {
        let ended = self.child.try_wait().unwrap();
        drop(self.child.kill());
        self.child.wait().unwrap();
        self.reading.join().unwrap();
        let printed = self.printed.lock().unwrap();
        let (missing, doubled) = judge(written, &printed);
        let ended = ended.map_or_else(String::new, |status| format!(", ended by itself ({status})"));
        row(self.name, &printed, missing, doubled, &ended);
    }
}

/// Prints a row of the table.
pub(super) fn row(name: &str, printed: &Lines, missing: usize, doubled: u32, more: &str) {
    let distinct: usize = printed.values().map(HashMap::len).sum();
    eprintln!("{name:18} {distinct:7} printed, {missing:6} missing, {doubled:6} doubled{more}");
}
