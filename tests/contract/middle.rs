//! A proxy between our binary and a server that behaves as bad networks and gateways do: it drops, truncates, repeats
//! and replaces answers, and kills the process during a request. Our side is plain HTTP; the other side is `kubectl
//! proxy`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::rig::Rig;

/// `kubectl proxy`, which adds the credentials and TLS. It ends when this is dropped.
pub struct Upstream {
    child: Child,
    pub port: u16,
}

impl Upstream {
    pub fn start(rig: &Rig, kubeconfig: &Path) -> Self {
        let mut command = rig.kubectl_command(kubeconfig);
        command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse();
        Self { child, port: port.unwrap_or_else(|e| panic!("kubectl proxy says {line:?}: {e}")) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Before or after the server has applied a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Before,
    After,
}

/// What happens to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The connection is closed.
    Dropped,
    /// Nothing is sent until the client gives up.
    Swallowed,
    /// Only a part is sent: of the first line (before), or of the body (after).
    Truncated,
    /// The request is sent to the server twice, and the second answer counts (before); or the answer is sent twice
    /// (after).
    Doubled,
    /// A gateway's own answer.
    Says(u16),
    /// The same, also for all later requests: a session has ended.
    Locks(u16),
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Pass,
    Spoil(When, Answer),
    /// The process is killed: before the server has the request, or while the answer is sent.
    Kill(When),
    /// The process is killed this long after the request.
    KillIn(Duration),
}

/// A request that passed through.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub uri: String,
    /// The server's answers, one for each time that the request was sent.
    pub codes: Vec<u16>,
}

impl Asked {
    /// Whether it changes something, if the server applies it.
    pub fn is_write(&self) -> bool {
        let review = self.uri.contains("/selfsubject");
        self.method != "GET" && !self.uri.contains("dryRun=") && !review
    }

    pub fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }
}

/// The process that a [`Deed`] can kill.
pub type Victim = Arc<Mutex<Option<Child>>>;

type Decide = dyn Fn(&Asked) -> Deed + Send + Sync;

struct Shared {
    upstream: u16,
    decide: Box<Decide>,
    asked: Mutex<Vec<Asked>>,
    victim: Victim,
}

/// The proxy. Its threads end with their connections.
pub struct Middle {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Middle {
    pub fn start(
        upstream: u16,
        victim: Victim,
        decide: impl Fn(&Asked) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { upstream, decide: Box::new(decide), asked: Mutex::default(), victim });
        let own = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let own = own.clone();
                // a side that hangs up ends only its own connection
                std::thread::spawn(move || drop(own.serve(socket)));
            }
        });
        Self { port, shared }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

/// A kubeconfig with a context for each of these servers, the first of them the current one.
pub fn kubeconfig(path: &Path, contexts: &[(&str, u16)]) {
    let each = |line: &dyn Fn(&str, u16) -> String| -> String {
        contexts.iter().map(|(name, port)| line(name, *port)).collect::<Vec<_>>().join(", ")
    };
    let clusters =
        each(&|name, port| format!("{{name: {name}, cluster: {{server: 'http://127.0.0.1:{port}'}}}}"));
    let named = each(&|name, _| format!("{{name: {name}, context: {{cluster: {name}}}}}"));
    let first = contexts.first().unwrap().0;
    let text = format!("clusters: [{clusters}]\ncontexts: [{named}]\ncurrent-context: {first}\n");
    std::fs::write(path, text).unwrap();
}

fn kill(victim: &Victim) {
    if let Some(child) = victim.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        drop(child.kill());
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?);
        loop {
            let Some((head, length)) = head(&mut lines)? else { return Ok(()) };
            let mut body = vec![0; length.unwrap_or(0)];
            lines.read_exact(&mut body)?;
            let mut words = head.split(' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let asked = Asked { method: word(), uri: word(), codes: Vec::new() };
            let at = {
                let mut all = self.asked.lock().unwrap();
                all.push(asked.clone());
                all.len() - 1
            };
            let request = [alone(&head).as_bytes(), &body].concat();
            match (self.decide)(&asked) {
                Deed::Pass => {
                    if !self.pass(&request, at, &mut client)? {
                        return Ok(());
                    }
                }
                Deed::Spoil(when, answer) => return self.spoil(when, answer, &request, at, client),
                Deed::Kill(When::Before) => {
                    kill(&self.victim);
                    return Ok(());
                }
                // a watch has no end
                Deed::Kill(When::After) if !asked.uri.contains("watch=") => {
                    self.whole(&request, at)?;
                    kill(&self.victim);
                    return Ok(());
                }
                Deed::Kill(_) => {
                    kill(&self.victim);
                    return Ok(());
                }
                Deed::KillIn(time) => {
                    let victim = self.victim.clone();
                    std::thread::spawn(move || {
                        // a fixed delay, not a wait for an event: nothing can be observed meanwhile
                        std::thread::park_timeout(time);
                        kill(&victim);
                    });
                    if !self.pass(&request, at, &mut client)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Forwards to the server; its answer can be read to the end.
    fn forward(&self, request: &[u8]) -> std::io::Result<BufReader<TcpStream>> {
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        server.write_all(request)?;
        Ok(BufReader::new(server))
    }

    fn answered(&self, at: usize, head: &str) {
        let code = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        let mut all = self.asked.lock().unwrap();
        all[at].codes.extend(code);
    }

    /// As it is. True: the connection can be used again.
    fn pass(&self, request: &[u8], at: usize, client: &mut TcpStream) -> std::io::Result<bool> {
        let mut server = self.forward(request)?;
        let Some((head, length)) = head(&mut server)? else { return Ok(false) };
        self.answered(at, &head);
        if let Some(length) = length {
            let mut body = vec![0; length];
            server.read_exact(&mut body)?;
            client.write_all(&[without(&head, "connection").as_bytes(), &body].concat())?;
            return Ok(true);
        }
        client.write_all(head.as_bytes())?;
        let mut some = [0; 16 << 10];
        loop {
            let n = server.read(&mut some)?;
            if n == 0 {
                return Ok(false);
            }
            client.write_all(some.get(..n).unwrap_or_default())?;
        }
    }

    /// The whole answer, as bytes.
    fn whole(&self, request: &[u8], at: usize) -> std::io::Result<(String, Vec<u8>)> {
        let mut server = self.forward(request)?;
        let (head, _) = head(&mut server)?.unwrap_or_default();
        self.answered(at, &head);
        let mut body = Vec::new();
        server.read_to_end(&mut body)?;
        Ok((head, body))
    }

    fn spoil(
        &self,
        when: When,
        answer: Answer,
        request: &[u8],
        at: usize,
        mut client: TcpStream,
    ) -> std::io::Result<()> {
        let asked_before = when == When::Before && answer == Answer::Doubled;
        let real = if when == When::After || asked_before {
            let first = self.whole(request, at)?;
            Some(if asked_before { self.whole(request, at)? } else { first })
        } else {
            None
        };
        let (head, body) = real.unwrap_or_default();
        let answer: Vec<u8> = match answer {
            Answer::Dropped => Vec::new(),
            Answer::Swallowed => {
                // until the client hangs up
                drop(std::io::copy(&mut client, &mut std::io::sink()));
                Vec::new()
            }
            Answer::Truncated if when == When::Before => b"HTTP/1.1 2".to_vec(),
            Answer::Truncated => [head.as_bytes(), body.get(..body.len() / 2).unwrap_or_default()].concat(),
            Answer::Doubled if when == When::Before => [head.as_bytes(), &body].concat(),
            Answer::Doubled => [head.as_bytes(), &body, head.as_bytes(), &body].concat(),
            Answer::Says(code) | Answer::Locks(code) => gateway(code).into_bytes(),
        };
        client.write_all(&answer)
    }
}

/// In the API's form, as an authenticating gateway or another API server gives it.
fn gateway(code: u16) -> String {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden: the gateway does not let it through"),
        409 => (
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        504 => ("Timeout", "Timeout: request did not complete within requested timeout"),
        _ => ("InternalError", "an error on the server has prevented the request from succeeding"),
    };
    let body = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code })
    .to_string();
    let after = if code == 429 { "retry-after: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{after}connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The lines up to the empty one, and the length of the body where it is given. None: the other side is through.
fn head(lines: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Option<usize>)>> {
    let (mut head, mut length) = (String::new(), None);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().ok();
        }
        head.push_str(&line);
        if line == "\r\n" {
            return Ok(Some((head, length)));
        }
    }
}

fn without(head: &str, name: &str) -> String {
    let is = |line: &str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
    head.split_inclusive("\r\n").filter(|line| !is(line)).collect()
}

/// The head of a request that is alone on its connection.
fn alone(head: &str) -> String {
    let head = without(head, "connection");
    let first = head.find("\r\n").map_or(0, |at| at + 2);
    let (line, rest) = head.split_at(first);
    format!("{line}connection: close\r\n{rest}")
}
