//! Runs a credential plugin once (`users[].user.exec`): its input, its output, and the wait for it.
//!
//! A plugin can be slow: it can open a browser, or wait until the user touches a hardware key. Until the screen takes
//! the terminal, the plugin's messages go to standard error at once, and a message says that we wait for the plugin.

use std::io::Write as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use rustix::process::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::clock::Clock;
use crate::wire::env::Env;
use crate::wire::kubeconfig::file::Exec;

/// After this time a message says that we wait for the plugin; it is repeated at this interval.
const TOLD_AFTER: Duration = Duration::from_secs(3);
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// The timeout of a plugin that has no terminal, since nobody can see its questions or answer them.
const UNSEEN: Duration = Duration::from_secs(120);
/// How long the pipes are read after the process has ended, because one of its children may still hold them.
const PIPES: Duration = Duration::from_millis(250);
const ANSWER_CAP: usize = 4 << 20;
const WORDS_CAP: usize = 16 << 10;

/// The user's standard input and standard error, until a screen takes the terminal.
#[derive(Clone, Debug, Default)]
pub struct Seat(Option<Arc<AtomicBool>>);

impl Seat {
    /// The process's own standard input and standard error.
    pub fn of_process() -> Self {
        Self(Some(Arc::new(AtomicBool::new(true))))
    }

    /// The screen takes the terminal: from now on nothing is written there, and the user cannot answer a plugin.
    pub fn leave(&self) {
        if let Some(free) = &self.0 {
            free.store(false, Ordering::Relaxed);
        }
    }

    fn is_free(&self) -> bool {
        self.0.as_ref().is_some_and(|free| free.load(Ordering::Relaxed))
    }

    fn write(&self, bytes: &[u8]) {
        if self.is_free() {
            // standard error may be closed; the plugin can still succeed
            let _unheard = std::io::stderr().lock().write_all(bytes);
        }
    }
}

/// The credential that a plugin returned.
#[derive(Clone)]
pub(super) struct Given {
    pub token: String,
    /// Certificate and key as PEM.
    pub identity: Option<(String, String)>,
    pub expires: Option<Stamp>,
}

/// A plugin and its input.
#[derive(Debug)]
pub(super) struct Plugin {
    pub exec: Exec,
    /// `spec.cluster`, if the plugin asks for it.
    pub cluster: Option<Value>,
    pub env: Env,
    pub seat: Seat,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    kind: Option<String>,
    api_version: Option<String>,
    status: Option<ExecCredentialStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExecCredentialStatus {
    token: Option<String>,
    expiration_timestamp: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// The output on both pipes so far.
#[derive(Default)]
struct Heard {
    answer: Vec<u8>,
    words: Vec<u8>,
}

impl Plugin {
    /// The plugin's name for messages.
    pub(super) fn name(&self) -> String {
        format!("the credential plugin {}", text::clean(&self.exec.command))
    }

    /// Whether the plugin may use the terminal.
    fn interactive(&self) -> Result<bool, String> {
        use std::io::IsTerminal as _;
        let terminal = std::io::stdin().is_terminal();
        match self.exec.interactive_mode.as_str() {
            "Never" => Ok(false),
            "Always" if !terminal => Err(format!(
                "{} has interactiveMode Always, and standard input is not a terminal",
                self.name()
            )),
            "Always" if !self.seat.is_free() => Err(format!(
                "{} needs the terminal to log in: end this console and start it with this context alone",
                self.name()
            )),
            "Always" => Ok(true),
            _ => Ok(terminal && self.seat.is_free()),
        }
    }

    fn command(&self, interactive: bool) -> Command {
        let exec = &self.exec;
        let mut spec = json!({"interactive": interactive});
        if let (Some(cluster), Some(map)) = (&self.cluster, spec.as_object_mut()) {
            map.insert("cluster".into(), cluster.clone());
        }
        let info = json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec});
        let mut command = Command::new(&exec.command);
        if let Some(given) = self.env.given() {
            command.env_clear().envs(given);
        }
        command
            .args(&exec.args)
            .envs(exec.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if !self.seat.is_free() {
            // ctrl-c does not reach the plugin, so its process group is killed
            command.process_group(0);
        }
        command
    }

    /// Runs the plugin. The error is a message for the user and has the plugin's own messages.
    pub(super) async fn run(self: Arc<Self>) -> Result<Given, String> {
        let interactive = self.interactive()?;
        let mut child = self.command(interactive).spawn().map_err(|e| self.not_started(&e))?;
        let mut heard = Heard::default();
        let status = self.hear(&mut child, &mut heard).await?;
        if !status.success() {
            let output = String::from_utf8_lossy(&heard.words);
            let last = output.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
            let last = text::clean(last.trim()).into_owned();
            return Err(format!("{}: {status}: {}", self.name(), text::cap(&last, 300)));
        }
        self.read(&heard.answer)
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        let hint = match text::clean(&self.exec.install_hint).trim() {
            "" => String::new(),
            hint => format!("; {hint}"),
        };
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "it is not installed (not found)".to_owned(),
            _ => error.to_string(),
        };
        format!("{}: {why}{hint}", self.name())
    }

    /// Reads both pipes until the process has ended, and reports meanwhile that we wait for it.
    async fn hear(&self, child: &mut Child, heard: &mut Heard) -> Result<ExitStatus, String> {
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(format!("{}: it has no pipes", self.name()));
        };
        let (mut out_open, mut err_open) = (true, true);
        let begun = tokio::time::Instant::now();
        let mut tell = begun + TOLD_AFTER;
        let mut ended: Option<(ExitStatus, tokio::time::Instant)> = None;
        let mut chunk = Vec::with_capacity(4096);
        loop {
            if let Some((status, at)) = ended {
                let answered = status.success() && self.read(&heard.answer).is_ok();
                let done = answered || !out_open && (!err_open || status.success());
                // without an answer yet, its children may still write one
                let patience = if status.success() { PIPES * 20 } else { PIPES };
                if done || at.elapsed() >= patience {
                    return Ok(status);
                }
            }
            tokio::select! {
                read = out.read_buf(&mut heard.answer), if out_open => {
                    out_open = matches!(read, Ok(n) if n > 0);
                    if heard.answer.len() > ANSWER_CAP {
                        return Err(format!("{}: its answer is longer than {} MiB", self.name(), ANSWER_CAP >> 20));
                    }
                }
                read = err.read_buf(&mut chunk), if err_open => {
                    err_open = matches!(read, Ok(n) if n > 0);
                    self.seat.write(&chunk);
                    heard.words.append(&mut chunk);
                    let over = heard.words.len().saturating_sub(WORDS_CAP);
                    heard.words.drain(..over);
                }
                status = child.wait(), if ended.is_none() => {
                    let status = status.map_err(|e| format!("{}: {e}", self.name()))?;
                    ended = Some((status, tokio::time::Instant::now()));
                }
                () = tokio::time::sleep(PIPES), if ended.is_some() => {}
                () = tokio::time::sleep_until(tell), if ended.is_none() => {
                    tell += TOLD_EVERY;
                    let waited = begun.elapsed();
                    let line = format!("waiting for {}, {} s; ctrl-c cancels\n", self.name(), waited.as_secs());
                    self.seat.write(line.as_bytes());
                    if !self.seat.is_free() && waited >= UNSEEN {
                        end(group);
                        return Err(format!(
                            "{}: no answer within {} s (it may be waiting for input): run it once in a shell",
                            self.name(),
                            UNSEEN.as_secs()
                        ));
                    }
                }
            }
        }
    }

    /// Reads the plugin's answer with kubectl's checks.
    fn read(&self, answer: &[u8]) -> Result<Given, String> {
        let bad = |why: &str| Err(format!("{}: {why}", self.name()));
        let json = serde_json::from_slice::<ExecCredential>(answer).ok();
        // kubectl accepts YAML too
        let Some(answer) = json.or_else(|| serde_saphyr::from_slice(answer).ok()) else {
            return bad("its answer is not an ExecCredential (JSON)");
        };
        if answer.kind.is_some_and(|kind| !matches!(kind.as_str(), "" | "ExecCredential")) {
            return bad("its answer is not of the kind ExecCredential");
        }
        let version = answer.api_version.unwrap_or_default();
        if version != self.exec.api_version {
            let version = text::clean(&version).into_owned();
            return bad(&format!(
                "it answers in apiVersion {version:?}, the kubeconfig asks for {}",
                self.exec.api_version
            ));
        }
        let Some(status) = answer.status else { return bad("its answer has no status") };
        let some = |text: Option<String>| text.filter(|t| !t.is_empty());
        let token = status.token.unwrap_or_default();
        let identity = match (some(status.client_certificate_data), some(status.client_key_data)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) if token.is_empty() => {
                return bad("its answer holds no token and no certificate");
            }
            (None, None) => None,
            _ => return bad("its answer holds a certificate without a key, or a key without a certificate"),
        };
        let expires = match status.expiration_timestamp {
            None => None,
            Some(at) => match chrono::DateTime::parse_from_rfc3339(&at) {
                Ok(at) => Some(Stamp(at.timestamp_millis())),
                Err(_) => return bad("its expirationTimestamp is not a time (RFC 3339)"),
            },
        };
        Ok(Given { token, identity, expires })
    }
}

fn end(group: Option<Pid>) {
    if let Some(group) = group
        && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
    {
        tracing::debug!(%error, "the plugin's process group is gone already");
    }
}

/// When a credential obtained at `now` is renewed: a minute before its expiry, later if its whole lifetime is short.
/// None: never automatically.
pub(super) fn renew_at(now: Stamp, expires: Option<Stamp>) -> Option<Stamp> {
    const MINUTE: i64 = 60_000;
    let expires = expires?;
    let life = expires.0 - now.0;
    Some(Stamp(match life {
        // it has expired already: use it anyway, and do not run the plugin for every request
        ..=0 => now.0 + 10_000,
        1..=MINUTE => expires.0 - life / 10,
        _ => expires.0 - MINUTE.min(life * 7 / 8),
    }))
}

/// `spec.cluster` in kubectl's form.
pub(super) fn cluster(access: &crate::wire::kubeconfig::resolve::Access, ca: Option<&[u8]>) -> Value {
    let mut cluster_info = json!({"server": access.exec_server, "config": access.plugin_config});
    let mut add = |key: &str, value: Value| {
        if let Some(map) = cluster_info.as_object_mut() {
            map.insert(key.to_owned(), value);
        }
    };
    if !access.server_name.is_empty() {
        add("tls-server-name", access.server_name.as_str().into());
    }
    if access.insecure {
        add("insecure-skip-tls-verify", true.into());
    }
    if let Some(ca) = ca.filter(|ca| !ca.is_empty()) {
        let data = base64::engine::general_purpose::STANDARD.encode(ca);
        add("certificate-authority-data", data.into());
    }
    if !access.proxy_url.is_empty() {
        add("proxy-url", access.proxy_url.as_str().into());
    }
    if access.disable_compression {
        add("disable-compression", true.into());
    }
    cluster_info
}

/// How long a run has been in progress.
pub(super) fn waited(since: std::time::Instant) -> u64 {
    Clock::instant().saturating_duration_since(since).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lives_are_used_up() {
        let now = Stamp(1_000_000);
        let after = |life_secs: i64| {
            renew_at(now, Some(Stamp(now.0 + life_secs * 1000))).map(|at| (at.0 - now.0) / 1000)
        };
        assert_eq!(renew_at(now, None), None);
        for (life, want) in
            [(3600, 3540), (120, 60), (68, 8), (61, 7), (60, 54), (30, 27), (5, 4), (0, 10), (-500, 10)]
        {
            assert_eq!(after(life), Some(want), "{life} s");
        }
    }
}
