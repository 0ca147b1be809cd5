//! The exporter: pages of metrics as the systems document them, and what must come out of them.
//!
//! Each service has two backends. `a` gets three quarters of the requests and is quick; `b` gets the rest, fails a fifth
//! of them, and is slow. Each system has its own multiple of these rates, so that no number can come from another one.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The bounds of the histograms in seconds.
const BOUNDS: [f64; 5] = [0.05, 0.1, 0.25, 0.5, 1.0];
/// The part of the requests of `a` and of `b` up to each bound.
const QUICK: [f64; 5] = [0.2, 0.5, 0.9, 0.98, 1.0];
const SLOW: [f64; 5] = [0.05, 0.1, 0.4, 0.8, 1.0];
/// The mean response times in seconds.
const MEANS: [f64; 2] = [0.13, 0.42];

/// Requests per second of `a` and of `b`, times the multiple of the system.
const RATES: [f64; 2] = [30.0, 10.0];
/// Failed ones of `b`.
const FAILED: f64 = 2.0;

pub struct System {
    pub name: &'static str,
    /// The scraper has labels of its own.
    pub renamed: bool,
    page: fn(&mut Page),
}

pub const SYSTEMS: [System; 10] = [
    System { name: "haproxy", renamed: false, page: haproxy },
    System { name: "istio", renamed: false, page: istio },
    System { name: "linkerd", renamed: false, page: linkerd },
    System { name: "envoy-gateway", renamed: true, page: envoy_gateway },
    System { name: "contour", renamed: true, page: contour },
    System { name: "traefik", renamed: true, page: traefik },
    System { name: "ingress-nginx", renamed: true, page: ingress_nginx },
    System { name: "http_requests_total", renamed: false, page: http_requests },
    System { name: "otel", renamed: true, page: otel },
    System { name: "grpc", renamed: false, page: grpc },
];

/// A page of metrics at one time.
pub struct Page {
    out: String,
    /// The multiple of the rates.
    times: f64,
    /// Seconds since the counters began.
    secs: f64,
}

impl Page {
    fn counter(&mut self, series: &str, per_second: f64) {
        writeln!(self.out, "{series} {}", per_second * self.times * self.secs).unwrap();
    }

    fn gauge(&mut self, series: &str, value: f64) {
        writeln!(self.out, "{series} {value}").unwrap();
    }

    /// A histogram in units of `scale` per second of time.
    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        per_second: f64,
        parts: &[f64; 5],
        mean: f64,
        scale: f64,
    ) {
        for (bound, part) in BOUNDS.iter().zip(parts) {
            self.counter(&format!("{name}_bucket{{{labels},le=\"{}\"}}", bound * scale), per_second * part);
        }
        self.counter(&format!("{name}_bucket{{{labels},le=\"+Inf\"}}"), per_second);
        self.counter(&format!("{name}_sum{{{labels}}}"), per_second * mean * scale);
        self.counter(&format!("{name}_count{{{labels}}}"), per_second);
    }

    /// The histograms of both backends, of which each has its labels.
    fn histograms(&mut self, name: &str, labels: [&str; 2], scale: f64) {
        for ((labels, rate), (parts, mean)) in
            labels.iter().zip(RATES).zip([&QUICK, &SLOW].into_iter().zip(MEANS))
        {
            self.histogram(name, labels, rate, parts, mean, scale);
        }
    }
}

/// The current requests of a system's backends.
fn active(times: f64) -> [f64; 2] {
    [times + 2.0, times + 5.0]
}

fn haproxy(page: &mut Page) {
    let active = active(page.times);
    for (i, server) in ["a", "b"].into_iter().enumerate() {
        let of = format!("proxy=\"h-web\",server=\"{server}\"");
        let failed = if i == 1 { FAILED } else { 0.0 };
        for (code, rate) in [
            ("1xx", 0.0),
            ("2xx", RATES[i] - failed),
            ("3xx", 0.0),
            ("4xx", 0.0),
            ("5xx", failed),
            ("other", 0.0),
        ] {
            page.counter(&format!("haproxy_server_http_responses_total{{{of},code=\"{code}\"}}"), rate);
        }
        page.gauge(&format!("haproxy_server_current_sessions{{{of}}}"), active[i]);
        page.gauge(&format!("haproxy_server_weight{{{of}}}"), [75.0, 25.0][i]);
        page.gauge(&format!("haproxy_server_uweight{{{of}}}"), [75.0, 25.0][i]);
        page.gauge(&format!("haproxy_server_response_time_average_seconds{{{of}}}"), MEANS[i]);
        for state in ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"] {
            let is = f64::from(u8::from(state == if i == 0 { "UP" } else { "DRAIN" }));
            page.gauge(&format!("haproxy_server_status{{{of},state=\"{state}\"}}"), is);
        }
    }
}

fn istio(page: &mut Page) {
    let active = active(page.times);
    let service = "destination_service=\"i-web.shop.svc.cluster.local\",destination_service_name=\"i-web\",destination_service_namespace=\"shop\",destination_workload=\"i-web\",source_workload=\"front\",request_protocol=\"http\",response_flags=\"-\",connection_security_policy=\"mutual_tls\"";
    let of = |pod: &str| format!("reporter=\"destination\",{service},namespace=\"shop\",pod=\"i-web-{pod}\"");
    let (a, b) = (of("a"), of("b"));
    page.counter(
        &format!("istio_requests_total{{{a},response_code=\"200\",grpc_response_status=\"\"}}"),
        RATES[0],
    );
    for (code, grpc, rate) in [
        ("200", "0", RATES[1] - FAILED - 1.0),
        // an error of the client
        ("200", "5", 1.0),
        ("503", "", FAILED / 2.0),
        ("0", "", FAILED / 4.0),
        ("200", "14", FAILED / 4.0),
    ] {
        let series =
            format!("istio_requests_total{{{b},response_code=\"{code}\",grpc_response_status=\"{grpc}\"}}");
        page.counter(&series, rate);
    }
    // the client's reports of the same requests
    let client = format!("reporter=\"source\",{service},namespace=\"shop\",pod=\"front-0\"");
    page.counter(&format!("istio_requests_total{{{client},response_code=\"200\"}}"), 40.0);
    page.histogram("istio_request_duration_milliseconds", &client, 40.0, &SLOW, 1.0, 1000.0);
    page.histograms("istio_request_duration_milliseconds", [&a, &b], 1000.0);
    for (of, active) in [(&a, active[0]), (&b, active[1])] {
        page.gauge(&format!("istio_tcp_connections_opened_total{{{of}}}"), 100.0 + active);
        page.gauge(&format!("istio_tcp_connections_closed_total{{{of}}}"), 100.0);
    }
    page.counter("istio_requests_total{reporter=\"destination\",destination_service_name=\"unknown\",destination_service_namespace=\"unknown\",pod=\"x\",response_code=\"200\"}", 5.0);
}

fn linkerd(page: &mut Page) {
    let of = |pod: &str| {
        format!(
            "direction=\"outbound\",dst_namespace=\"shop\",dst_service=\"l-web\",dst_pod=\"l-web-{pod}\",dst_deployment=\"l-web\",tls=\"true\",namespace=\"shop\",pod=\"front-0\""
        )
    };
    let (a, b) = (of("a"), of("b"));
    for (of, class, status, rate) in [
        (&a, "success", "200", RATES[0]),
        (&b, "success", "200", RATES[1] - FAILED),
        (&b, "failure", "500", FAILED),
    ] {
        page.counter(
            &format!("response_total{{{of},classification=\"{class}\",status_code=\"{status}\"}}"),
            rate,
        );
    }
    page.histograms("response_latency_ms", [&a, &b], 1000.0);
    // the inbound side of the same requests, and calls of no Service
    page.counter(
        "response_total{direction=\"inbound\",classification=\"success\",namespace=\"shop\",pod=\"l-web-a\"}",
        30.0,
    );
    page.counter(
        "response_total{direction=\"outbound\",classification=\"success\",dst_service=\"\",pod=\"front-0\"}",
        3.0,
    );
}

/// The clusters of an Envoy with their parts of the requests, and the addresses of the endpoints.
fn envoy(page: &mut Page, clusters: &[(&str, f64)], net: &str) {
    let active = active(page.times);
    for (cluster, part) in clusters {
        let of = format!("envoy_cluster_name=\"{cluster}\"");
        let total: f64 = RATES.iter().sum();
        for (class, rate) in [("2", total - FAILED), ("5", FAILED)] {
            let series =
                format!("envoy_cluster_upstream_rq_xx{{{of},envoy_response_code_class=\"{class}\"}}");
            page.counter(&series, rate * part);
        }
        page.counter(&format!("envoy_cluster_upstream_rq_total{{{of}}}"), total * part);
        page.gauge(&format!("envoy_cluster_upstream_rq_active{{{of}}}"), (active[0] + active[1]) * part);
        let mixed: Vec<f64> =
            QUICK.iter().zip(SLOW).map(|(a, b)| (a * RATES[0] + b * RATES[1]) / total).collect();
        page.histogram(
            "envoy_cluster_upstream_rq_time",
            &of,
            total * part,
            &mixed.try_into().unwrap(),
            0.2,
            1000.0,
        );
        for (i, rate) in RATES.into_iter().enumerate() {
            let of = format!("{of},envoy_endpoint_address=\"{net}.{}:8080\"", i + 1);
            let failed = if i == 1 { FAILED } else { 0.0 };
            page.counter(&format!("envoy_cluster_endpoint_rq_total{{{of}}}"), rate * part);
            page.counter(&format!("envoy_cluster_endpoint_rq_error{{{of}}}"), failed * part);
            page.counter(&format!("envoy_cluster_endpoint_rq_success{{{of}}}"), (rate - failed) * part);
            page.gauge(&format!("envoy_cluster_endpoint_rq_active{{{of}}}"), active[i] * part);
        }
    }
}

fn envoy_gateway(page: &mut Page) {
    envoy(page, &[("httproute/shop/e-web/rule/0", 0.25), ("httproute/shop/e-web/rule/1", 0.75)], "10.244.1");
    page.counter(
        "envoy_cluster_upstream_rq_xx{envoy_cluster_name=\"xds_cluster\",envoy_response_code_class=\"2\"}",
        9.0,
    );
}

fn contour(page: &mut Page) {
    envoy(page, &[("shop_c-web_80", 1.0)], "10.244.2");
    page.counter("envoy_cluster_upstream_rq_xx{envoy_cluster_name=\"projectcontour_service-stats_9001\",envoy_response_code_class=\"2\"}", 9.0);
}

fn traefik(page: &mut Page) {
    let of = |code: &str| {
        format!("code=\"{code}\",method=\"GET\",protocol=\"http\",service=\"shop-t-web-80@kubernetes\"")
    };
    let total: f64 = RATES.iter().sum();
    page.counter(&format!("traefik_service_requests_total{{{}}}", of("200")), total - FAILED);
    page.counter(&format!("traefik_service_requests_total{{{}}}", of("502")), FAILED);
    page.histograms("traefik_service_request_duration_seconds", [&of("200"), &of("502")], 1.0);
    for (address, up) in [("10.244.3.1", 1.0), ("10.244.3.2", 0.0)] {
        let series = format!(
            "traefik_service_server_up{{service=\"shop-t-web-80@kubernetes\",url=\"http://{address}:8080\"}}"
        );
        page.gauge(&series, up);
    }
}

fn ingress_nginx(page: &mut Page) {
    let of = |canary: &str, status: &str| {
        format!(
            "controller_class=\"k8s.io/ingress-nginx\",controller_namespace=\"infra\",controller_pod=\"c-0\",host=\"shop.example\",ingress=\"web\",method=\"GET\",namespace=\"shop\",path=\"/\",service=\"n-web\",canary=\"{canary}\",status=\"{status}\""
        )
    };
    let total: f64 = RATES.iter().sum();
    page.counter(&format!("nginx_ingress_controller_requests{{{}}}", of("", "200")), total - FAILED);
    page.counter(&format!("nginx_ingress_controller_requests{{{}}}", of("", "503")), FAILED);
    page.histograms(
        "nginx_ingress_controller_request_duration_seconds",
        [&of("", "200"), &of("", "503")],
        1.0,
    );
    let canary = of("shop-n-web-canary-80", "200");
    page.counter(&format!("nginx_ingress_controller_requests{{{canary}}}"), 4.0);
    page.histogram("nginx_ingress_controller_request_duration_seconds", &canary, 4.0, &QUICK, 0.1, 1.0);
}

fn http_requests(page: &mut Page) {
    let active = active(page.times);
    let of = |pod: &str| format!("namespace=\"shop\",service=\"p-web\",pod=\"p-web-{pod}\"");
    let (a, b) = (of("a"), of("b"));
    for (of, code, rate) in [(&a, "200", RATES[0]), (&b, "200", RATES[1] - FAILED), (&b, "500", FAILED)] {
        page.counter(&format!("http_requests_total{{{of},code=\"{code}\",method=\"get\"}}"), rate);
    }
    page.histograms("http_request_duration_seconds", [&a, &b], 1.0);
    for (of, active) in [(&a, active[0]), (&b, active[1])] {
        page.gauge(&format!("http_requests_in_flight{{{of}}}"), active);
    }
}

/// As a collector exposes it: the job and instance are the application's, and the scraper renames them.
fn otel(page: &mut Page) {
    let active = active(page.times);
    let of = |pod: &str| {
        format!("job=\"shop/o-web\",instance=\"o-web-{pod}\",http_request_method=\"GET\",url_scheme=\"http\"")
    };
    let code =
        |pod: &str, code: &str| format!("{},http_response_status_code=\"{code}\",http_route=\"/\"", of(pod));
    page.histogram(
        "http_server_request_duration_seconds",
        &code("a", "200"),
        RATES[0],
        &QUICK,
        MEANS[0],
        1.0,
    );
    for (status, rate) in [("200", RATES[1] - FAILED), ("500", FAILED)] {
        page.histogram(
            "http_server_request_duration_seconds",
            &code("b", status),
            rate,
            &SLOW,
            MEANS[1],
            1.0,
        );
    }
    for (pod, active) in [("a", active[0]), ("b", active[1])] {
        page.gauge(&format!("http_server_active_requests{{{}}}", of(pod)), active);
    }
}

fn grpc(page: &mut Page) {
    let (active, times, secs) = (active(page.times), page.times, page.secs);
    let of = |pod: &str| {
        format!(
            "namespace=\"shop\",service=\"g-web\",pod=\"g-web-{pod}\",grpc_type=\"unary\",grpc_service=\"shop.Web\",grpc_method=\"Get\""
        )
    };
    let (a, b) = (of("a"), of("b"));
    for (of, code, rate) in [
        (&a, "OK", RATES[0]),
        (&b, "OK", RATES[1] - FAILED - 1.0),
        // an error of the client
        (&b, "NotFound", 1.0),
        (&b, "Internal", FAILED),
    ] {
        page.counter(&format!("grpc_server_handled_total{{{of},grpc_code=\"{code}\"}}"), rate);
    }
    for (of, rate, active) in [(&a, RATES[0], active[0]), (&b, RATES[1], active[1])] {
        page.gauge(&format!("grpc_server_started_total{{{of}}}"), rate * times * secs + active);
    }
    page.histograms("grpc_server_handling_seconds", [&a, &b], 1.0);
}

/// What must come out of one service.
pub struct Expected {
    pub preset: &'static str,
    pub namespace: &'static str,
    pub name: String,
    pub rps: f64,
    pub error_ratio: Option<f64>,
    /// In milliseconds: the 50th, 95th and 99th percentile.
    pub quantiles: Option<[f64; 3]>,
    pub active: Option<f64>,
    pub backends: Vec<Backend>,
}

#[derive(Default)]
pub struct Backend {
    pub name: String,
    pub rps: Option<f64>,
    pub error_ratio: Option<f64>,
    pub p95_ms: Option<f64>,
    pub mean_ms: Option<f64>,
    pub active: Option<f64>,
    pub weight: Option<f64>,
    pub up: Option<bool>,
}

/// A quantile in milliseconds, interpolated within its bucket.
fn quantile(q: f64, parts: &[f64; 5]) -> f64 {
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, part) in BOUNDS.iter().zip(parts) {
        if q <= *part {
            return 1000.0 * (lower + (bound - lower) * (q - below) / (part - below));
        }
        (lower, below) = (*bound, *part);
    }
    panic!("beyond the last bucket")
}

fn quantiles(parts: &[f64; 5]) -> [f64; 3] {
    [0.5, 0.95, 0.99].map(|q| quantile(q, parts))
}

pub fn expected() -> Vec<Expected> {
    let mut all = Vec::new();
    let total: f64 = RATES.iter().sum();
    let mut mixed = [0.0; 5];
    for (i, part) in mixed.iter_mut().enumerate() {
        *part = (QUICK[i] * RATES[0] + SLOW[i] * RATES[1]) / total;
    }
    for (at, system) in SYSTEMS.iter().enumerate() {
        let times = (at + 1) as f64;
        let name = system.name;
        let is_envoy = matches!(name, "envoy-gateway" | "contour");
        let letter = ["h", "i", "l", "e", "c", "t", "n", "p", "o", "g"][at];
        let has_quantiles = name != "haproxy";
        let backend = |i: usize| {
            let of_server = !is_envoy && name != "haproxy" && name != "traefik";
            let known = |is: bool, value: f64| is.then_some(value);
            let has_rates = name != "traefik";
            Backend {
                name: if name == "haproxy" {
                    ["a", "b"][i].into()
                } else {
                    format!("{letter}-web-{}", ["a", "b"][i])
                },
                rps: known(has_rates, RATES[i] * times),
                error_ratio: known(has_rates, [0.0, FAILED / RATES[1]][i]),
                p95_ms: known(of_server, quantile(0.95, [&QUICK, &SLOW][i])),
                mean_ms: known(of_server || name == "haproxy", MEANS[i] * 1000.0),
                active: known(has_rates && name != "linkerd", active(times)[i]),
                weight: known(name == "haproxy", [75.0, 25.0][i]),
                up: matches!(name, "haproxy" | "traefik").then_some(i == 0),
            }
        };
        all.push(Expected {
            preset: name,
            namespace: if name == "haproxy" { "" } else { "shop" },
            name: format!("{letter}-web"),
            rps: total * times,
            error_ratio: Some(FAILED / total),
            quantiles: has_quantiles.then(|| quantiles(&mixed)),
            active: is_envoy.then(|| active(times).iter().sum()),
            backends: if name == "ingress-nginx" { Vec::new() } else { (0..2).map(backend).collect() },
        });
        if name == "ingress-nginx" {
            all.push(Expected {
                preset: name,
                namespace: "shop",
                name: "n-web-canary".into(),
                rps: 4.0 * times,
                error_ratio: Some(0.0),
                quantiles: Some(quantiles(&QUICK)),
                active: None,
                backends: Vec::new(),
            });
        }
    }
    all
}

/// What a test changes while the exporter runs.
pub struct State {
    began: Vec<Instant>,
    /// The system whose page is empty.
    pub silent: Option<&'static str>,
}

impl State {
    /// The counters of a system begin again.
    pub fn reset(&mut self, name: &str) {
        let at = SYSTEMS.iter().position(|system| system.name == name).unwrap();
        self.began[at] = Instant::now();
    }
}

pub struct Exporter {
    pub port: u16,
    pub state: Arc<Mutex<State>>,
}

impl Exporter {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { began: vec![Instant::now(); SYSTEMS.len()], silent: None }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || serve(socket, &state));
            }
        });
        Self { port, state }
    }
}

fn serve(socket: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    loop {
        let mut first = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
            if line == "\r\n" {
                break;
            }
        }
        let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let Some(at) = SYSTEMS.iter().position(|system| system.name == name) else { return };
        let (began, silent) = {
            let state = state.lock().unwrap();
            (state.began[at], state.silent == Some(SYSTEMS[at].name))
        };
        let mut page =
            Page { out: String::new(), times: (at + 1) as f64, secs: began.elapsed().as_secs_f64() };
        if !silent {
            (SYSTEMS[at].page)(&mut page);
        }
        let body = page.out;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if socket.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}
