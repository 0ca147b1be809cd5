//! One of two real control planes is stopped, hangs, or refuses the credentials: the other one's data stays fresh, keys
//! are answered, and the console ends. The times are printed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Plane;
use crate::planes::{HERE, Planes, THERE};
use crate::relay::Request;
use crate::seat::{PATIENCE, Seat, Start};

/// The node of this test in the cluster that is well.
const SPACE: &str = "pty-apart";
const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: SPACE, labels: {kubernetes.io/hostname: SPACE}}
spec: {taints: [{key: SPACE, effect: NoSchedule}]}
status: {capacity: {cpu: '4', memory: 8Gi, pods: '110'}, allocatable: {cpu: '4', memory: 8Gi, pods: '110'}}
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// Nothing listens.
    Stopped,
    /// Connections are accepted, and no request is answered.
    Hangs,
    /// Each request is answered with 401.
    Refuses,
}

const TROUBLES: [State; 3] = [State::Stopped, State::Hangs, State::Refuses];

/// What stands before an API server and can be in any of these states. Behind it is `kubectl proxy`, which adds the
/// credentials and TLS.
struct Gate {
    port: u16,
    shared: Arc<Shared>,
    upstream: Child,
}

struct Shared {
    state: Mutex<State>,
    /// Both ends of each connection.
    open: Mutex<Vec<TcpStream>>,
    upstream: u16,
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.upstream.kill());
        drop(self.upstream.wait());
    }
}

impl Gate {
    fn before(plane: &Plane) -> Self {
        let mut command = plane.kubectl_command(&plane.folder.join("operator.kubeconfig"));
        command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut upstream = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(upstream.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let to = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        let state = Mutex::new(State::Well);
        let shared = Arc::new(Shared { state, open: Mutex::default(), upstream: to });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = shared.clone();
        std::thread::spawn(move || {
            let mut listener = Some(listener);
            loop {
                let now = listener.take().or_else(|| TcpListener::bind(("127.0.0.1", port)).ok());
                for client in now.iter().flat_map(TcpListener::incoming).map_while(Result::ok) {
                    if own.is(State::Stopped) {
                        break;
                    }
                    let own = own.clone();
                    // a side that hangs up ends only its own connection
                    std::thread::spawn(move || drop(own.serve(client)));
                }
                drop(now);
                while own.is(State::Stopped) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
        });
        Self { port, shared, upstream }
    }

    fn turns(&self, state: State) {
        *self.shared.state.lock().unwrap() = state;
        for open in self.shared.open.lock().unwrap().drain(..) {
            drop(open.shutdown(Shutdown::Both));
        }
        // one that waits for a connection looks at the state again
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn is(&self, state: State) -> bool {
        *self.state.lock().unwrap() == state
    }

    /// Answers one request.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        self.open.lock().unwrap().push(client.try_clone()?);
        let Some(mut request) = Request::read(&client)? else { return Ok(()) };
        let state = *self.state.lock().unwrap();
        match state {
            State::Well => {}
            State::Stopped => return Ok(()),
            // until the other side hangs up
            State::Hangs => return std::io::copy(&mut request.rest, &mut std::io::sink()).map(drop),
            State::Refuses => {
                let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
                let head = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
                return write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        }
        let server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        self.open.lock().unwrap().push(server.try_clone()?);
        request.pass(&client, server)
    }
}

/// A kubeconfig with both contexts; the standby is behind the gate.
fn kubeconfig(planes: &Planes, gate: &Gate, folder: &Path) -> PathBuf {
    let path = planes.kubeconfig(folder);
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for held in config["clusters"].as_array_mut().unwrap() {
        if held["name"] == THERE {
            held["cluster"] = json!({ "server": format!("http://127.0.0.1:{}", gate.port) });
        }
    }
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn others(seat: &Seat) -> String {
    seat.text().lines().nth(1).unwrap_or_default().trim().to_owned()
}

/// A console with both clusters open, of which the one that stays well is in front.
fn sit(kubeconfig: &Path) -> Seat {
    let args = ["--context", HERE, "--context", THERE];
    let mut seat = Start { args: &args, size: (160, 45), ..Start::new(kubeconfig) }.sit();
    seat.wait_for("both are well", PATIENCE, |seat| {
        let line = others(seat);
        seat.front() == HERE && line.starts_with(THERE) && !line.contains("connecting")
    });
    seat.press("1", &["1 Nodes", "D drain"]);
    seat
}

/// Turns the other cluster into a state, and waits until the console says so.
fn turns(seat: &mut Seat, gate: &Gate, state: State) {
    gate.turns(state);
    let words: &[&str] = match state {
        State::Well => return,
        State::Stopped | State::Hangs => &["STALE", "DOWN", "late", "no answer"],
        State::Refuses => &["401", "STALE", "DOWN", "DENIED"],
    };
    // a heartbeat every 5 s, which has 6 s
    seat.wait_for(&format!("{state:?} is told"), PATIENCE, |seat| {
        words.iter().any(|word| others(seat).contains(word))
    });
}

/// The rows of the screen that are drawn as selected.
fn selected(seat: &Seat) -> Vec<u16> {
    let screen = seat.screen();
    let (rows, _) = screen.size();
    let is_marked = |row: &u16| {
        screen.cell(*row, 4).is_some_and(|cell| cell.inverse() || cell.bgcolor() != vt100::Color::Default)
    };
    (2..rows.get()).filter(is_marked).collect()
}

/// The times from a key to its answer: to the next row and back, and to another pane and back.
fn presses(seat: &mut Seat, rounds: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    let pause = |seat: &mut Seat, n: u64| seat.bytes_within(Duration::from_millis(25 + n * 7 % 23));
    for n in 0..rounds {
        for key in ["j", "k"] {
            pause(seat, n);
            let before = selected(seat);
            let pressed = Instant::now();
            seat.types(key);
            seat.wait_for("another row is selected", PATIENCE, |seat| selected(seat) != before);
            times.push(pressed.elapsed());
        }
        for (key, words) in [("2", "i what if"), ("1", "D drain")] {
            pause(seat, n);
            let pressed = Instant::now();
            seat.types(key);
            seat.wait_for(words, PATIENCE, |seat| {
                seat.text().lines().last().is_some_and(|keys| keys.contains(words))
            });
            times.push(pressed.elapsed());
        }
    }
    times.sort_unstable();
    times
}

/// How long it takes until a change of the cluster in front is on the screen.
fn change(seat: &mut Seat, plane: &Plane, verb: &str) -> Duration {
    // the page follows the selected row, which may be far from the first one
    seat.selects("1", "1 Nodes", SPACE);
    plane.ask(&[verb, SPACE]);
    let changed = Instant::now();
    // in the list of nodes, not among the changes
    let is_there = |seat: &Seat| seat.text().lines().any(|line| line.starts_with(&format!("│~ {SPACE}")));
    seat.wait_for(verb, PATIENCE, |seat| is_there(seat) == (verb == "cordon"));
    changed.elapsed()
}

/// How long the console needs to end.
fn end(mut seat: Seat) -> Duration {
    let asked = Instant::now();
    seat.types(":q\r");
    assert!(seat.ends_within(Duration::from_secs(PATIENCE)).success());
    assert!(seat.is_restored());
    asked.elapsed()
}

/// The planes, with a node in the one that stays well.
fn both() -> (Planes, Gate) {
    let planes = Planes::new(SPACE);
    planes.at(HERE).ask(&["delete", "node", SPACE, "--ignore-not-found"]);
    planes.at(HERE).apply(&NODE.replace("SPACE", SPACE));
    let gate = Gate::before(planes.at(THERE));
    (planes, gate)
}

#[test]
#[ignore = "needs two real control planes: tests/cluster/README.md"]
fn a_cluster_that_is_stopped_hangs_or_refuses_delays_no_other_real_only() {
    let (planes, gate) = both();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(&planes, &gate, folder.path());
    for state in TROUBLES {
        gate.turns(State::Well);
        let mut seat = sit(&kubeconfig);
        turns(&mut seat, &gate, state);
        let times = presses(&mut seat, 3);
        let changes = ["cordon", "uncordon"].map(|verb| change(&mut seat, planes.at(HERE), verb));
        let text = seat.text();
        let header = text.lines().next().unwrap();
        assert!(!header.contains("STALE") && !header.contains("DOWN"), "{state:?}: {text}");
        let said = others(&seat);
        let end = end(seat);
        eprintln!("{state:?}: keys {times:?}, changes {changes:?}, end {end:?}; {said}");
    }
}

#[test]
#[ignore = "it prints a measurement, and needs two real control planes"]
fn the_time_from_key_to_paint_beside_a_cluster_in_trouble_real_only() {
    let (planes, gate) = both();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(&planes, &gate, folder.path());
    eprintln!("the other    key to paint: p50        p99       most   change to paint        end");
    for state in [&[State::Well][..], &TROUBLES].concat() {
        gate.turns(State::Well);
        let mut seat = sit(&kubeconfig);
        seat.quiet(Duration::from_secs(1), Duration::from_secs(10));
        turns(&mut seat, &gate, state);
        let times = presses(&mut seat, 75);
        let change = change(&mut seat, planes.at(HERE), "cordon");
        planes.at(HERE).ask(&["uncordon", SPACE]);
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        eprintln!(
            "{:<12} {:>17.1?} {:>10.1?} {:>10.1?} {change:>17.1?} {:>10.1?}",
            format!("{state:?}"),
            at(50),
            at(99),
            at(100),
            end(seat)
        );
    }
}
