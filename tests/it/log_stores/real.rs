//! Real log stores, which are killed while they are read.

mod loki;
mod victoria;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// A log store that can be built and started.
struct Product {
    /// The folder below `tests/cluster` with the script that builds it.
    folder: &'static str,
    program: &'static str,
    /// The path that answers when it is ready.
    ready: &'static str,
    /// Sets the arguments for a folder of its data and a port.
    arrange: fn(&mut Command, &Path, u16),
}

struct Server {
    product: &'static Product,
    process: Child,
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn scripts(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(folder)
}

/// Sends a request and returns the code and the body.
fn http(port: u16, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // an answer to HTTP/1.0 comes in one piece
    let head = format!(
        "{method} {target} HTTP/1.0\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    socket.write_all(body.as_bytes()).ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let code = text.split(' ').nth(1)?.parse().ok()?;
    Some((code, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

impl Server {
    fn start(product: &'static Product) -> Self {
        let build = scripts(product.folder).join("build");
        let built = Command::new(build).stderr(Stdio::inherit()).output().expect("build");
        assert!(built.status.success(), "{} cannot be built", product.program);
        let bin = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim()).join(product.program);
        let (folder, port) = (tempfile::tempdir().unwrap(), free());
        let process = Self::spawn(product, &bin, folder.path(), port);
        let server = Self { product, process, folder, bin, port };
        server.wait();
        server
    }

    fn spawn(product: &Product, bin: &Path, folder: &Path, port: u16) -> Child {
        let mut command = Command::new(bin);
        (product.arrange)(&mut command, folder, port);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while http(self.port, "GET", self.product.ready, "").is_none_or(|(code, _)| code != 200) {
            assert!(Instant::now() < until, "{} does not get ready", self.product.program);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills it without warning.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn again(&mut self) {
        self.process = Self::spawn(self.product, &self.bin, self.folder.path(), self.port);
        self.wait();
    }

    /// Sends a body and returns the code of the answer, if there is one.
    fn post(&self, target: &str, body: &str) -> Option<u16> {
        http(self.port, "POST", target, body).map(|(code, _)| code)
    }
}

/// Lines of a stream for Loki's push API.
fn loki_body(labels: &str, lines: &[(i64, String)]) -> String {
    let values: Vec<String> = lines.iter().map(|(at, text)| format!(r#"["{at}","{text}"]"#)).collect();
    format!(r#"{{"streams":[{{"stream":{labels},"values":[{}]}}]}}"#, values.join(","))
}

/// The number of pods whose lines are collected.
const PODS: usize = 3;

/// A collector: what the store does not take is pushed again later, with its old timestamps.
#[derive(Default)]
struct Collector {
    next: usize,
    buffered: Vec<(usize, Vec<(i64, String)>)>,
    sent: Vec<String>,
}

impl Collector {
    /// Collects this many errors of each pod, two of which have the same timestamp, and pushes all that the store does not
    /// have. `push` says whether the store took the lines of a pod.
    fn round(&mut self, lines: usize, push: impl Fn(usize, &[(i64, String)]) -> bool) {
        for pod in 0..PODS {
            let at = now();
            let new: Vec<(i64, String)> = (0..lines)
                .map(|n| {
                    let number = self.next + n;
                    (at + (n as i64 / 2), format!("level=error msg=number-{number}-of-{pod}"))
                })
                .collect();
            self.next += lines;
            self.sent.extend(new.iter().map(|(_, text)| text.clone()));
            self.buffered.push((pod, new));
        }
        self.buffered.retain(|(pod, lines)| !push(*pod, lines));
    }
}

/// How often each text was read.
fn counted(lines: &[LogLine]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.iter().filter(|line| line.mark.is_none()) {
        *counts.entry(line.text.clone()).or_default() += 1;
    }
    counts
}
