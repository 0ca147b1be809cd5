//! The configuration of access: a table of kubeconfigs, files, environments and flags, each with the request that the
//! server must see, or with the error without any request. If there is a kubectl, it must behave in the same way.

mod rows;
mod server;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser as _;
use pilothouse::bootstrap::overrides;
use pilothouse::cli::Cli;
use pilothouse::wire::connect::{ConnectOptions, Connection};
use pilothouse::wire::env::Env;

use self::rows::{Kubectl, Row, Want, rows};
use self::server::{Seen, pki, proxy, seen, serve};

/// A row's server, folder and environment.
struct Stage {
    seen: Seen,
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
    args: Vec<String>,
}

impl Stage {
    fn new(row: &Row) -> Self {
        let seen = seen();
        let folder = tempfile::tempdir().unwrap();
        let last = serve(row.speaks_last, &seen, 0);
        let port = if row.speaks == row.speaks_last { last } else { serve(row.speaks, &seen, last) };
        let proxy = if row.proxied { proxy(port, &seen) } else { 0 };
        let fill = |text: &str| {
            text.replace("{dir}", folder.path().to_str().unwrap())
                .replace("{pki}", pki().to_str().unwrap())
                .replace("{port}", &port.to_string())
                .replace("{proxy}", &proxy.to_string())
        };
        for (name, text) in &row.files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, fill(text)).unwrap();
            if text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), folder.path().to_str().unwrap().to_owned()),
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ]);
        env.extend(row.env.iter().map(|(name, value)| ((*name).to_owned(), fill(value))));
        let mut args = Vec::new();
        if let Some(text) = &row.kubeconfig {
            let path = folder.path().join("config");
            std::fs::write(&path, fill(text)).unwrap();
            args.extend(["--kubeconfig".to_owned(), path.to_str().unwrap().to_owned()]);
        }
        args.extend(row.flags.iter().map(|flag| fill(flag)));
        Self { seen, folder, env, args }
    }

    /// The requests since the last call, those of proxies first.
    fn look(&self) -> Option<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        // some clients send a request twice, the same both times
        let server = seen.iter().rev().find(|line| line.starts_with("http"))?;
        let proxy = seen.iter().rev().find(|line| !line.starts_with("http"));
        Some(match proxy {
            Some(proxy) => format!("{proxy} > {server}"),
            None => server.clone(),
        })
    }

    /// Sends the request as the product does.
    fn ours(&self, runtime: &tokio::runtime::Runtime) -> Result<String, String> {
        let args = ["pilothouse"].into_iter().map(str::to_owned).chain(self.args.clone());
        let cli = Cli::try_parse_from(args).map_err(|e| e.to_string())?;
        let options = ConnectOptions {
            kubeconfig: cli.global.kubeconfig.clone(),
            context: cli.global.context.first().cloned(),
            overrides: overrides(&cli.global.access),
            env: Env::of(self.env.clone()),
            user_agent: "pilothouse/test".into(),
            ..ConnectOptions::default()
        };
        runtime.block_on(async {
            let connection = Connection::open(options).await.map_err(|e| e.to_string())?;
            let reader = connection.reader().map_err(|e| e.to_string())?;
            reader.get_bytes("/version", 1 << 20).await.map_err(|e| e.to_string())
        })?;
        self.look().ok_or_else(|| "an answer, but nobody was asked".to_owned())
    }

    /// Sends the request as kubectl does.
    fn kubectl(&self) -> Result<String, String> {
        let out = Command::new(kubectl())
            .args(["version", "-o", "json"])
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        self.look().filter(|_| out.status.success()).ok_or(said)
    }
}

/// Runs `check` for every row, several at a time; returns its complaints.
fn each(
    rows: &[Row],
    check: impl Fn(&Row, &tokio::runtime::Runtime) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, wrong) = (Mutex::new(rows.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                loop {
                    let Some(row) = next.lock().unwrap().next() else { break };
                    if let Err(why) = check(row, &runtime) {
                        wrong.lock().unwrap().push(format!("{}: {why}", row.name));
                    }
                }
                runtime.shutdown_timeout(Duration::from_millis(100));
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn judge(want: &Want, got: &Result<String, String>) -> Result<(), String> {
    match (want, got) {
        (Want::Sees(want), Ok(got)) if want == got => Ok(()),
        (Want::Refuses(words), Err(why)) if why.contains(words) && !why.contains("panicked") => Ok(()),
        _ => Err(format!("want {want:?}, got {got:?}")),
    }
}

#[test]
fn the_table_is_sound() {
    let rows = rows();
    let mut names: Vec<_> = rows.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "a name is there twice");
    assert!(rows.len() >= 120, "{} rows", rows.len());
}

#[test]
fn each_access_is_what_the_table_says() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let wrong = each(&rows(), |row, runtime| judge(&row.want, &Stage::new(row).ours(runtime)));
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// The kubectl to compare with.
fn kubectl() -> std::ffi::OsString {
    std::env::var_os("PILOTHOUSE_TEST_KUBECTL").unwrap_or_else(|| "kubectl".into())
}

/// The same table for kubectl: it must behave as we do, except in rows that say why not.
#[test]
#[ignore = "needs kubectl, named by PILOTHOUSE_TEST_KUBECTL or on the PATH"]
fn kubectl_does_the_same() {
    eprintln!("{} rows beside kubectl", rows().len());
    let wrong = each(&rows(), |row, _| {
        let got = Stage::new(row).kubectl();
        let same = match (&row.want, &got) {
            (Want::Sees(want), Ok(got)) => want == got,
            (Want::Refuses(_), Err(_)) => true,
            _ => false,
        };
        match (same, &row.kubectl) {
            (true, Kubectl::Same) | (false, Kubectl::Differs(_)) => Ok(()),
            (false, Kubectl::Same) => Err(format!("ours {:?}, kubectl {got:?}", row.want)),
            (true, Kubectl::Differs(why)) => Err(format!("kubectl does the same now; it was said: {why}")),
        }
    });
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// A plugin's client certificate that expires: later connections show the next one.
#[test]
fn a_certificate_that_ends_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let seen = seen();
    let port = serve(server::Speaks::Https("server", ""), &seen, 0);
    let answer = |kind: &str| {
        let text = |end: &str| std::fs::read_to_string(pki().join(format!("c-{kind}.{end}"))).unwrap();
        serde_json::json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {
            "clientCertificateData": text("crt"), "clientKeyData": text("key"),
            "expirationTimestamp": "2026-01-01T01:00:00Z"}})
    };
    std::fs::write(folder.path().join("answer"), answer("sec1").to_string()).unwrap();
    let text = format!(
        "current-context: x\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}/ca.crt'}}}}]\nusers: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: cat, args: ['{}/answer'], interactiveMode: Never}}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n",
        pki().display(),
        folder.path().display()
    );
    let config = folder.path().join("config");
    std::fs::write(&config, text).unwrap();
    let at = |time: &str| pilothouse_core::domain::time::Stamp::parse(time).unwrap();
    let clock = pilothouse::clock::Clock::manual(at("2026-01-01T00:00:00Z"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options =
            ConnectOptions { kubeconfig: Some(config), clock: clock.clone(), ..ConnectOptions::default() };
        let reader = Connection::open(options).await.unwrap().reader().unwrap();
        reader.get_bytes("/version", 1 << 20).await.unwrap();
        std::fs::write(folder.path().join("answer"), answer("p384").to_string()).unwrap();
        reader.get_bytes("/version", 1 << 20).await.unwrap();
        clock.set(at("2026-01-01T00:59:30Z"));
        reader.get_bytes("/version", 1 << 20).await.unwrap();
    });
    let line = |kind: &str| format!("https /version - cert={kind}");
    assert_eq!(*seen.lock().unwrap(), [line("sec1"), line("sec1"), line("p384")]);
}
