//! Five servers that answer, and a load generator that counts what it sends. The standard library is enough for both,
//! and the counts are independent of the code under test.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::plan::{FAILING, FAILS, SERVERS, SLOW, SLOWER, Service};

/// Requests by service, server and outcome (answered, failed).
pub struct Counts(Vec<[[AtomicU64; 2]; SERVERS]>);

impl Counts {
    pub fn of(services: usize) -> Arc<Self> {
        Arc::new(Self((0..services).map(|_| Default::default()).collect()))
    }

    pub fn add(&self, service: usize, server: usize, failed: bool) {
        self.0[service][server][usize::from(failed)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, service: usize, server: usize) -> [u64; 2] {
        let [answered, failed] = &self.0[service][server];
        [answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed)]
    }
}

/// Xorshift: the load is random, and the seed makes it the same load in each run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Between 0 and 1, never 0.
    pub fn unit(&mut self) -> f64 {
        (self.next() as f64 + 1.0) / (1u64 << 53) as f64
    }
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Starts one of the five servers. It also exports its own `http_requests_total` by service, as an application does.
pub fn serve(server: usize, port: u16, services: &Arc<Vec<Service>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let counts = Counts::of(services.len());
    let services = services.clone();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let (counts, services) = (counts.clone(), services.clone());
            let answer = move || answer(stream.unwrap(), server, n as u64, &services, &counts);
            thread::Builder::new().stack_size(128 << 10).spawn(answer).unwrap();
        }
    });
}

/// Answers the requests of one connection. An error ends it.
fn answer(stream: TcpStream, server: usize, n: u64, services: &[Service], counts: &Counts) -> Option<()> {
    let mut random = Random::new(n * 5 + server as u64 + 1);
    stream.set_nodelay(true).ok()?;
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    loop {
        let (mut line, mut path, mut closes) = (String::new(), String::new(), false);
        loop {
            line.clear();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                "connection: close" | "Connection: close" => closes = true,
                first if path.is_empty() => first.split(' ').nth(1)?.clone_into(&mut path),
                _ => {}
            }
        }
        let (status, body) = if path == "/metrics" {
            (200, metrics(services, counts))
        } else {
            let at: usize = path.trim_start_matches('/').parse().ok()?;
            let think = services[at].think_ms * if server == SLOW { SLOWER } else { 1 };
            let part = 0.5 + random.unit();
            thread::sleep(Duration::from_micros((think as f64 * 1000.0 * part) as u64));
            let fails = server == FAILING && random.below(100) < FAILS;
            counts.add(at, server, fails);
            (if fails { 500 } else { 200 }, format!("s{}\n", server + 1))
        };
        let head = if closes { "connection: close\r\n" } else { "" };
        let text = format!("HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}", body.len());
        out.write_all(text.as_bytes()).ok()?;
        if closes {
            return None;
        }
    }
}

fn metrics(services: &[Service], counts: &Counts) -> String {
    let mut text = "# TYPE http_requests_total counter\n".to_owned();
    for (at, service) in services.iter().enumerate() {
        let total: [u64; 2] =
            (0..SERVERS).map(|s| counts.get(at, s)).fold([0, 0], |a, b| [a[0] + b[0], a[1] + b[1]]);
        for (code, n) in ["200", "500"].iter().zip(total) {
            let name = &service.name;
            writeln!(
                text,
                "http_requests_total{{namespace=\"test\",service=\"{name}\",code=\"{code}\"}} {n}"
            )
            .unwrap();
        }
    }
    text
}

/// A client of one service: it sends requests at random times, one at a time.
struct Client {
    service: usize,
    /// Its part of the service's requests per second.
    rps: f64,
    port: u16,
    /// It keeps its connection for several requests.
    keeps: bool,
    random: Random,
    connection: Option<(BufReader<TcpStream>, u32)>,
}

impl Client {
    fn send(&mut self) -> std::io::Result<(usize, bool)> {
        let mut connection = match self.connection.take() {
            Some((connection, left)) if left > 0 => (connection, left),
            _ => {
                let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                // The PROXY protocol's header gives the client one of many addresses. HAProxy wants it in one piece.
                let from = 2 + self.random.below(120);
                let head = format!("PROXY TCP4 127.0.0.{from} 127.0.0.1 40000 {}\r\n", self.port);
                stream.write_all(head.as_bytes())?;
                (BufReader::new(stream), if self.keeps { 40 } else { 1 })
            }
        };
        let (user, service) = (self.random.below(300), self.service);
        let head = if connection.1 == 1 { "connection: close\r\n" } else { "" };
        let request = format!("GET /{service} HTTP/1.1\r\nhost: x\r\nx-user: u{user}\r\n{head}\r\n");
        connection.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            if connection.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            } else if status == 0 {
                status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(599);
            } else if let Some(n) = text.strip_prefix("content-length: ") {
                length = n.parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        connection.0.read_exact(&mut body)?;
        connection.1 -= 1;
        self.connection = Some(connection);
        let server = body.get(1).map_or(usize::MAX, |digit| usize::from(digit.wrapping_sub(b'1')));
        Ok((server, status >= 500))
    }

    /// Sends until it is stopped. What comes late is left out, so that a slow server slows nothing else.
    fn run(mut self, counts: &Counts, lost: &AtomicU64, stop: &AtomicBool) {
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            due += Duration::from_secs_f64(-self.random.unit().ln() / self.rps);
            match due.checked_duration_since(Instant::now()) {
                Some(wait) => thread::sleep(wait),
                None => due = Instant::now(),
            }
            match self.send() {
                Ok((server, failed)) if server < SERVERS => counts.add(self.service, server, failed),
                _ => {
                    lost.fetch_add(1, Ordering::Relaxed);
                    self.connection = None;
                }
            }
        }
    }
}

/// The running load.
pub struct Load {
    pub counts: Arc<Counts>,
    pub lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Starts the clients of all services.
pub fn start(services: &[Service], port: u16) -> Load {
    let (counts, stop, lost) = (Counts::of(services.len()), Arc::default(), Arc::default());
    let mut threads = Vec::new();
    for (at, service) in services.iter().enumerate() {
        for i in 0..service.clients {
            let client = Client {
                service: at,
                rps: service.rps / service.clients as f64,
                port,
                keeps: i % 2 == 0,
                random: Random::new((at * 100 + i + 7) as u64),
                connection: None,
            };
            let (counts, stop, lost) = (Arc::clone(&counts), Arc::clone(&stop), Arc::clone(&lost));
            let run = move || client.run(&counts, &lost, &stop);
            threads.push(thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap());
        }
    }
    Load { counts, lost, stop, threads }
}

impl Load {
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}
