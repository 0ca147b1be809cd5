//! Exec plugins (`users[].user.exec`): run without a terminal, within ten seconds, and again when the server says 401.
//!
//! kube runs them on its own thread without a time limit, and with our standard error unless told otherwise.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use http::HeaderValue;
use kube::config::{AuthInfo, ExecConfig};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::connect::ConnectError;
use crate::clock::Clock;

const LIMIT: Duration = Duration::from_secs(10);
/// Refresh this long before the token expires.
const EARLY_MS: i64 = 60_000;

/// A plugin and the token that it gave last.
#[derive(Clone)]
pub struct Credential {
    config: Arc<ExecConfig>,
    clock: Clock,
    held: Arc<Mutex<Option<Token>>>,
}

#[derive(Clone)]
struct Token {
    header: Option<HeaderValue>,
    expires: Option<Stamp>,
}

#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    expiration_timestamp: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("command", &self.config.command).finish_non_exhaustive()
    }
}

impl Credential {
    /// Takes the plugin out of `auth`, runs it once and puts a client certificate, if it gave one, in its place.
    pub(super) async fn take(auth: &mut AuthInfo, clock: Clock) -> Result<Option<Self>, ConnectError> {
        let Some(config) = auth.exec.take() else { return Ok(None) };
        let this = Self { config: Arc::new(config), clock, held: Arc::default() };
        let status = this.run().await?;
        if let (Some(cert), Some(key)) = (&status.client_certificate_data, &status.client_key_data) {
            let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
            auth.client_certificate_data = Some(encode(cert));
            auth.client_key_data = Some(SecretString::from(encode(key)));
        }
        *this.held.lock().await = Some(this.token(&status)?);
        Ok(Some(this))
    }

    /// The `Authorization` header, from a fresh run when the token is about to expire. None: a client certificate.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, ConnectError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        match held.as_ref() {
            Some(token) if token.expires.is_none_or(|at| at.0 - EARLY_MS > now.0) => Ok(token.header.clone()),
            _ => {
                let token = self.token(&self.run().await?)?;
                *held = Some(token.clone());
                Ok(token.header)
            }
        }
    }

    /// The server refused the token (401): the next [`Credential::header`] asks the plugin again.
    pub(super) async fn forget(&self) {
        *self.held.lock().await = None;
    }

    fn token(&self, status: &Status) -> Result<Token, ConnectError> {
        let header = match &status.token {
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                    ConnectError(format!("{}: the token has bytes that no header can carry", self.name()))
                })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Token { header, expires: status.expiration_timestamp.as_deref().and_then(Stamp::parse) })
    }

    fn name(&self) -> String {
        format!("credential plugin {}", text::clean(self.config.command.as_deref().unwrap_or("(no command)")))
    }

    async fn run(&self) -> Result<Status, ConnectError> {
        let config = &self.config;
        let Some(program) = config.command.as_deref().filter(|c| !c.is_empty()) else {
            return Err(ConnectError("kubeconfig: the user's exec plugin has no command".into()));
        };
        let version = config.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
        let mut spec = serde_json::json!({"interactive": false});
        if config.provide_cluster_info
            && let (Some(cluster), Some(map)) = (&config.cluster, spec.as_object_mut())
            && let Ok(cluster) = serde_json::to_value(cluster)
        {
            map.insert("cluster".into(), cluster);
        }
        let info = serde_json::json!({"apiVersion": version, "kind": "ExecCredential", "spec": spec});
        let mut command = Command::new(program);
        command
            .args(config.args.iter().flatten())
            .envs(config.env.iter().flatten().filter_map(|e| Some((e.get("name")?, e.get("value")?))))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|e| {
            let hint =
                config.install_hint.as_deref().map(|h| format!("; {}", text::clean(h))).unwrap_or_default();
            ConnectError(format!("{}: {e}{hint}", self.name()))
        })?;
        let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        let Ok(done) = tokio::time::timeout(LIMIT, child.wait_with_output()).await else {
            if let Some(group) = group
                && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
            {
                tracing::debug!(%error, "the plugin's process group is gone already");
            }
            return Err(ConnectError(format!(
                "{}: no answer within {} s (it may be waiting for input): run it once in a shell",
                self.name(),
                LIMIT.as_secs()
            )));
        };
        let out = done.map_err(|e| ConnectError(format!("{}: {e}", self.name())))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
            return Err(ConnectError(format!(
                "{}: {}: {}",
                self.name(),
                out.status,
                text::cap(&text::clean(last.trim()), 300)
            )));
        }
        serde_json::from_slice::<Answer>(&out.stdout)
            .ok()
            .and_then(|a| a.status)
            .filter(|s| s.token.is_some() || s.client_certificate_data.is_some())
            .ok_or_else(|| {
                ConnectError(format!("{}: its answer holds no token and no certificate", self.name()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> AuthInfo {
        let exec: ExecConfig = serde_json::from_value(serde_json::json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]
        }))
        .unwrap();
        AuthInfo { exec: Some(exec), ..AuthInfo::default() }
    }

    #[tokio::test]
    async fn gives_a_token_and_asks_again_when_it_expires() {
        let clock = Clock::manual(Stamp::parse("2026-01-01T00:00:00Z").unwrap());
        let mut auth = shell(
            r#"echo noise >&2; printf '{"status":{"token":"t%s","expirationTimestamp":"2026-01-01T01:00:00Z"}}' $$"#,
        );
        let plugin = Credential::take(&mut auth, clock.clone()).await.unwrap().unwrap();
        assert!(auth.exec.is_none());
        let first = plugin.header().await.unwrap().unwrap();
        assert_eq!(plugin.header().await.unwrap().unwrap(), first, "held while it is good");
        plugin.forget().await;
        assert_ne!(plugin.header().await.unwrap().unwrap(), first, "asked again after a 401");
    }

    #[tokio::test]
    async fn failures_are_words() {
        for (script, words) in
            [("echo 'login first' >&2; exit 3", "login first"), ("echo '{}'", "no token and no certificate")]
        {
            let error = Credential::take(&mut shell(script), Clock::system()).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
