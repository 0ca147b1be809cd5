//! HAProxy in front of the five servers, and a Prometheus that scrapes it at three intervals. The record of a run is a
//! folder: what the generator counted each second, and when a weight changed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::load::{self, now_ms};
use super::plan::{SERVERS, Service};

/// The scrape intervals in seconds.
pub const SCRAPES: [u32; 3] = [5, 15, 30];

/// The programs, which end with this value.
pub struct Stand {
    pub folder: PathBuf,
    pub services: Arc<Vec<Service>>,
    base: u16,
    haproxy: Child,
    prometheus: Child,
}

impl Drop for Stand {
    fn drop(&mut self) {
        for child in [&mut self.haproxy, &mut self.prometheus] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Stand {
    /// Starts everything, on ports of 127.0.0.1 from `base` upwards.
    pub fn start(folder: &Path, base: u16, services: Vec<Service>) -> Self {
        let services = Arc::new(services);
        fs::create_dir_all(folder.join("data")).unwrap();
        for server in 0..SERVERS {
            load::serve(server, base + 10 + server as u16, &services);
        }
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let config = write("haproxy.cfg", haproxy(folder, base, &services));
        let haproxy = spawn(folder, "haproxy", &["-db", "-f", config.to_str().unwrap()]);
        let config = write("prometheus.yml", prometheus(base));
        let prometheus = spawn(
            folder,
            "prometheus",
            &[
                &format!("--config.file={}", config.display()),
                &format!("--storage.tsdb.path={}", folder.join("data").display()),
                &format!("--web.listen-address=127.0.0.1:{}", base + 2),
                "--log.level=warn",
            ],
        );
        let stand = Self { folder: folder.into(), services, base, haproxy, prometheus };
        stand.wait();
        stand
    }

    /// The address of Prometheus.
    pub fn prometheus(&self) -> String {
        format!("127.0.0.1:{}", self.base + 2)
    }

    fn wait(&self) {
        let begin = Instant::now();
        let answers = |port: u16, path: &str| {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            text.contains(" 200 ").then_some(())
        };
        while answers(self.base + 1, "/metrics").and(answers(self.base + 2, "/-/ready")).is_none() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no answer, see {}", self.folder.display());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// HAProxy's runtime API.
    fn tell(&self, command: &str) {
        let mut socket = UnixStream::connect(self.folder.join("haproxy.sock")).unwrap();
        writeln!(socket, "{command}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.trim(), "", "{command}");
    }

    /// Sends the load for as long, and writes the record. The weights of the services with a skew change at `changes`:
    /// seconds after the start, and whether the weight is raised.
    pub fn record(&self, seconds: u64, changes: &[(u64, bool)]) {
        let load = load::start(&self.services, self.base);
        let mut counts = File::create(self.folder.join("counts.tsv")).unwrap();
        let mut skews = File::create(self.folder.join("skews.tsv")).unwrap();
        let begin = Instant::now();
        let mut due: Vec<(u64, usize, bool)> = Vec::new();
        let skewed = self.services.iter().enumerate().filter(|(_, s)| s.skew.is_some());
        for (n, (at, _)) in skewed.enumerate() {
            // not at the same time, and not in step with the scrapes
            due.extend(changes.iter().map(|(when, up)| (when * 1_000 + n as u64 * 3_700, at, *up)));
        }
        due.sort_unstable();
        let mut due = due.into_iter().peekable();
        let mut second = 0;
        while begin.elapsed() < Duration::from_secs(seconds) {
            let ms = begin.elapsed().as_millis() as u64;
            while let Some((_, at, up)) = due.next_if(|(when, ..)| *when <= ms) {
                let service = &self.services[at];
                let weight = f64::from(service.algorithm.weights()[0]);
                let weight = if up { weight * service.skew.unwrap() } else { weight };
                self.tell(&format!("set server {}/s1 weight {weight:.0}", service.name));
                writeln!(skews, "{}\t{}\t{}", now_ms(), service.name, u8::from(up)).unwrap();
            }
            if ms / 1000 >= second {
                second = ms / 1000 + 1;
                let mut line = now_ms().to_string();
                for at in 0..self.services.len() {
                    for server in 0..SERVERS {
                        let [answered, failed] = load.counts.get(at, server);
                        write!(line, "\t{answered}\t{failed}").unwrap();
                    }
                }
                writeln!(counts, "{line}").unwrap();
            }
            thread::sleep(Duration::from_millis(20));
        }
        let lost = load.lost.load(std::sync::atomic::Ordering::Relaxed);
        load.end();
        fs::write(self.folder.join("lost"), lost.to_string()).unwrap();
    }
}

fn spawn(folder: &Path, program: &str, args: &[&str]) -> Child {
    let log = || {
        Stdio::from(
            File::options().create(true).append(true).open(folder.join(format!("{program}.log"))).unwrap(),
        )
    };
    Command::new(program).args(args).stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().expect(program)
}

fn haproxy(folder: &Path, base: u16, services: &[Service]) -> String {
    let mut text = format!(
        "global\n  maxconn 2000\n  nbthread 1\n  stats socket {}/haproxy.sock mode 600 level admin\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 30s\n\
         frontend exporter\n  bind 127.0.0.1:{}\n  http-request use-service prometheus-exporter if {{ path /metrics }}\n\
         frontend in\n  bind 127.0.0.1:{base} accept-proxy\n",
        folder.display(),
        base + 1,
    );
    for (at, service) in services.iter().enumerate() {
        writeln!(text, "  use_backend {} if {{ path /{at} }}", service.name).unwrap();
    }
    for service in services {
        writeln!(text, "backend {}\n  balance {}", service.name, service.algorithm.balance()).unwrap();
        for (server, weight) in service.algorithm.weights().iter().enumerate() {
            let port = base + 10 + server as u16;
            writeln!(text, "  server s{} 127.0.0.1:{port} weight {weight}", server + 1).unwrap();
        }
    }
    text
}

fn prometheus(base: u16) -> String {
    let mut text = "scrape_configs:\n".to_owned();
    for every in SCRAPES {
        writeln!(
            text,
            "- job_name: proxy{every}\n  scrape_interval: {every}s\n  scrape_timeout: 5s\n  params: {{scope: [server]}}\n  \
             static_configs: [{{targets: ['127.0.0.1:{}'], labels: {{every: '{every}'}}}}]\n\
             - job_name: pods{every}\n  scrape_interval: {every}s\n  scrape_timeout: 5s\n  static_configs:",
            base + 1
        )
        .unwrap();
        for server in 0..SERVERS {
            writeln!(
                text,
                "  - {{targets: ['127.0.0.1:{}'], labels: {{every: '{every}', pod: s{}}}}}",
                base + 10 + server as u16,
                server + 1
            )
            .unwrap();
        }
    }
    text
}
