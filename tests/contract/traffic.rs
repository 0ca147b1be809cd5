//! The traffic numbers compared with Prometheus' answers to plain requests.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::rig::{out, real, until};

/// A GET without any of our code.
fn query(base: &str, promql: &str) -> Value {
    let host = base.strip_prefix("http://").unwrap();
    let mut escaped = String::new();
    for byte in promql.bytes() {
        escaped.push_str(&format!("%{byte:02X}"));
    }
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /api/v1/query?query={escaped} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
#[ignore = "needs a real control plane: tests/cluster/README.md"]
fn rps_per_backend_is_what_prometheus_answers_real_only() {
    let rig = real("HAProxy and Prometheus are the other side");
    let url = std::env::var("PILOTHOUSE_TEST_PROMETHEUS").expect("printed by tests/cluster/up");
    until(60, "every backend within 5 %", || {
        let output = rig.run(&["--prometheus", &url, "snapshot", "-o", "json"]);
        let doc: Value = serde_json::from_str(&out(&output)).map_err(|e| e.to_string())?;
        let answer = query(&url, "sum by (proxy, server) (rate(haproxy_server_http_responses_total[1m]))");
        let mut compared = 0;
        for series in answer["data"]["result"].as_array().unwrap() {
            let (proxy, server) =
                (series["metric"]["proxy"].as_str().unwrap(), series["metric"]["server"].as_str().unwrap());
            let theirs: f64 = series["value"][1].as_str().unwrap().parse().unwrap();
            let services = doc["services"].as_array().unwrap();
            let ours = services
                .iter()
                .flat_map(|s| s["backends"].as_array().unwrap())
                .find(|b| b["name"] == server && b["rps"].is_number())
                .ok_or_else(|| format!("no backend {proxy}/{server}: {}", doc["sources"]))?;
            let ours = ours["rps"].as_f64().unwrap();
            if (ours - theirs).abs() > 0.05 * theirs.max(0.2) {
                return Err(format!("{proxy}/{server}: ours {ours}, Prometheus {theirs}"));
            }
            compared += 1;
        }
        if compared >= 6 { Ok(()) } else { Err(format!("only {compared} backends in Prometheus")) }
    });
}
