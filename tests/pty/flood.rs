//! A log that is written faster than it can be read: keys are answered, and every line is shown or counted.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::killed::Cluster;
use crate::relay::Request;
use crate::seat::{PATIENCE, Seat, Start};

/// How often the flood writes.
const EVERY: Duration = Duration::from_millis(10);
/// The lines of a second, if the reader keeps up.
const RATE: u64 = 100_000;

/// What the flood does, and what it has done.
#[derive(Default)]
struct Flood {
    over: AtomicBool,
    written: AtomicU64,
}

impl Flood {
    /// Writes lines until it is over, and keeps the connection open.
    fn run(&self, mut client: TcpStream) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
        if client.write_all(head.as_bytes()).is_err() {
            return;
        }
        let began = Instant::now();
        let mut done = 0;
        while !self.over.load(Ordering::SeqCst) {
            let due = began.elapsed().as_millis() as u64 * RATE / 1000;
            // what a slow reader has missed is not made up for
            done = done.max(due.saturating_sub(RATE / 50));
            let mut piece = String::new();
            let from = self.written.load(Ordering::SeqCst);
            for n in from..from + (due - done) {
                let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
                piece.push_str(&format!(
                    "{at} time={at} level=info msg=\"request {n:08} to 10.0.0.7 done\" status=200 took={}ms path=/api/orders\n",
                    n % 977
                ));
            }
            if client.write_all(piece.as_bytes()).is_err() {
                return;
            }
            self.written.fetch_add(due - done, Ordering::SeqCst);
            done = due;
            std::thread::park_timeout(EVERY);
        }
        // until the other side hangs up
        drop(client.read(&mut [0]));
    }
}

/// Passes requests on to a cluster, but the log that is opened is a flood.
fn between(address: String, flood: &Arc<Flood>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let flood = flood.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (address, flood) = (address.clone(), flood.clone());
            // a client that hangs up is no failure
            std::thread::spawn(move || drop(pass(client, &address, &flood)));
        }
    });
    own
}

fn pass(client: TcpStream, address: &str, flood: &Flood) -> std::io::Result<()> {
    let Some(request) = Request::read(&client)? else { return Ok(()) };
    let path = request.head.split(' ').nth(1).unwrap_or_default();
    // a source that follows pods by itself begins with fewer lines
    if path.contains("/log?") && path.contains("follow=true") && path.contains("tailLines=1000") {
        flood.run(client);
        return Ok(());
    }
    request.pass(&client, TcpStream::connect(address)?)
}

fn kubeconfig(cluster: &Cluster, address: &str) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let path = cluster.folder.path().join("between");
    assert!(text.contains(&cluster.address), "{text}");
    std::fs::write(&path, text.replace(&cluster.address, address)).unwrap();
    path
}

/// The number before some words on the screen, such as `20,000 lines`.
fn number(seat: &Seat, words: &str) -> Option<u64> {
    let text = seat.text();
    let (before, _) = text.split_once(words)?;
    let number = before.trim_end().rsplit(' ').next()?.replace(',', "");
    number.parse().ok()
}

/// Opens the log of the pod on the first line.
fn open(cluster: &Cluster, flood: &Arc<Flood>) -> Seat {
    let address = between(cluster.address.clone(), flood);
    let kubeconfig = kubeconfig(cluster, &address);
    let mut seat = Start { size: (160, 40), ..Start::new(&kubeconfig) }.sit();
    seat.sees(&["1 Nodes", "Ready", "? help"]);
    seat.press("5", &["5 Workloads"]);
    seat.press("\t", &["5 Pods", "Running"]);
    seat.press("l", &["Logs of", "older dropped"]);
    seat
}

#[test]
fn keys_are_answered_during_a_flood_and_every_line_is_shown_or_counted() {
    let (cluster, flood) = (Cluster::start(), Arc::new(Flood::default()));
    let mut seat = open(&cluster, &flood);
    let grows = |seat: &mut Seat, words: &'static str| {
        let before = number(seat, words).unwrap_or(0);
        seat.wait_for(words, PATIENCE, |seat| number(seat, words).is_some_and(|now| now > before));
    };
    // each key changes something that the flood does not
    seat.press("t", &["local times"]);
    grows(&mut seat, "older dropped");
    seat.types("t");
    seat.wait_for("times in UTC", PATIENCE, |seat| !seat.text().contains("local times"));
    seat.press("&level>=error\r", &["no line matches the filter", "20,000 filtered"]);
    grows(&mut seat, "older dropped");
    seat.press("\x1b", &["following, 20,000 lines"]);
    // what is read stays, and what does not fit is counted
    seat.press("k", &["f: follow", "newer not kept"]);
    grows(&mut seat, "newer not kept");
    seat.press("?", &["works here"]);
    seat.press("\x1b", &["newer not kept"]);
    assert!(!flood.over.swap(true, Ordering::SeqCst));
    seat.wait_for("all lines are counted", PATIENCE, |seat| {
        let counted = ["older dropped", "newer not kept"].map(|words| number(seat, words).unwrap_or(0));
        let counted = 20_000 + counted.iter().sum::<u64>();
        seat.text().contains(" of 20,000") && counted == flood.written.load(Ordering::SeqCst)
    });
}

/// The time from a key to its answer on the screen, which is printed.
#[test]
#[ignore = "it prints a measurement"]
fn the_time_from_key_to_paint_during_a_flood() {
    let (cluster, flood) = (Cluster::start(), Arc::new(Flood::default()));
    let mut seat = open(&cluster, &flood);
    seat.bytes_within(Duration::from_secs(2));
    let (began, before) = (Instant::now(), flood.written.load(Ordering::SeqCst));
    let mut times: Vec<Duration> = Vec::new();
    for n in 0..300 {
        // a person's pace, at any phase of a frame
        seat.bytes_within(Duration::from_millis(30 + n * 7 % 23));
        let shown = seat.text().contains("local times");
        let pressed = Instant::now();
        seat.types("t");
        seat.wait_for("the answer", PATIENCE, |seat| seat.text().contains("local times") != shown);
        times.push(pressed.elapsed());
        if shown {
            // from UTC back to none
            seat.types("t");
        }
    }
    let rate = (flood.written.load(Ordering::SeqCst) - before) as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    eprintln!(
        "key to paint at {rate:.0} lines/s: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(90),
        at(99),
        times.last().unwrap()
    );
}
