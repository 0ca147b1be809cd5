//! A Prometheus with a URL as people run it: behind a path, with TLS of a private CA, client certificates and passwords.
//! Against a Prometheus of the test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::rig::{Rig, err, out, rig, until};

/// `test`, as bcrypt hashes it: the example of Prometheus' own documentation.
const HASH: &str = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay";

struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pki(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/access/pki").join(name)
}

impl Server {
    /// A Prometheus that scrapes itself, with this file for its web server.
    fn start(web: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let scrape = "global: {scrape_interval: 1s}\nscrape_configs: []\n";
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file("prometheus.yml", scrape).display()))
            .arg(format!("--web.config.file={}", file("web.yml", web).display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.route-prefix=/metrics-of/team-a")
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .expect("prometheus, a package of Debian");
        let server = Self { child, port, folder };
        until(30, "Prometheus listens", || {
            let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap();
            if log.contains("Server is ready") { Ok(()) } else { Err(log) }
        });
        server
    }
}

/// The source `prometheus` of `doctor` with these lines in `[prometheus]`.
fn source(rig: &Rig, lines: &str) -> Value {
    rig.config(&format!("[prometheus]\n{lines}\n"));
    let output = rig.run_as("admin", &["doctor", "-o", "json", "--wait", "6s"]);
    let document: Value = serde_json::from_str(&out(&output))
        .unwrap_or_else(|e| panic!("{e}: {}{}", out(&output), err(&output)));
    let sources = document["sources"].as_array().unwrap();
    sources.iter().find(|s| s["name"] == "prometheus").unwrap().clone()
}

#[test]
#[ignore = "needs a cluster and prometheus: tests/cluster/README.md"]
fn a_prometheus_behind_tls_a_path_and_a_password() {
    let rig = rig();
    let show = |name: &str| pki(name).display().to_string();
    let server = Server::start(&format!(
        "tls_server_config: {{cert_file: {}, key_file: {}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}}}\nbasic_auth_users: {{ann: {HASH}}}\n",
        show("server.crt"),
        show("server.key"),
        show("ca.crt"),
    ));
    let password = server.folder.path().join("password");
    std::fs::write(&password, "test\n").unwrap();
    let url = format!("url = \"https://127.0.0.1:{}/metrics-of/team-a\"", server.port);
    let ca = format!("ca_file = \"{}\"", show("ca.crt"));
    let own = format!("cert_file = \"{}\"\nkey_file = \"{}\"", show("c-p384.crt"), show("c-p384.key"));
    let login = format!("username = \"ann\"\npassword_file = \"{}\"", password.display());
    for (lines, state, words) in [
        (vec![&url, &ca, &own, &login], "live", "no known traffic metrics"),
        (vec![&url, &own, &login], "down", "signed by an unknown authority"),
        (vec![&url, &ca, &login], "down", "client certificate"),
        (vec![&url, &ca, &own], "down", "401: Unauthorized"),
    ] {
        let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
        let source = source(&rig, &lines.join("\n"));
        let error = source["error"].as_str().unwrap();
        assert!(source["state"] == state && error.contains(words), "{words}: {source}");
    }
    // the file is read for each query
    std::fs::write(&password, "wrong\n").unwrap();
    let all = [&url, &ca, &own, &login].map(String::as_str).join("\n");
    assert!(source(&rig, &all)["error"].as_str().unwrap().contains("401"));
    // without the path
    std::fs::write(&password, "test\n").unwrap();
    let root = format!("url = \"https://127.0.0.1:{}\"", server.port);
    let source = source(&rig, &[&root, &ca, &own, &login].map(String::as_str).join("\n"));
    assert!(source["error"].as_str().unwrap().contains("base URL of a Prometheus"), "{source}");
    rig.config("");
}
