//! kubectl's flags for the cluster, the user and the connection. They override the kubeconfig.

use std::time::Duration;

use clap::Args;

/// Overrides of the kubeconfig. The flags of one cluster (server, token, certificates) apply only to the first context.
#[derive(Args, Clone, Default)]
pub struct Access {
    /// User to impersonate, like kubectl's --as
    #[arg(long = "as", global = true, value_name = "USER", help_heading = ACCESS)]
    pub as_user: Option<String>,
    /// Group to impersonate; can be repeated
    #[arg(long, global = true, value_name = "GROUP", help_heading = ACCESS)]
    pub as_group: Vec<String>,
    /// UID to impersonate
    #[arg(long, global = true, value_name = "UID", help_heading = ACCESS)]
    pub as_uid: Option<String>,
    /// Name of the kubeconfig user to use instead of the context's
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub user: Option<String>,
    /// Name of the kubeconfig cluster to use instead of the context's
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub cluster: Option<String>,
    /// Address and port of the API server
    #[arg(short, long, global = true, value_name = "URL", help_heading = ACCESS)]
    pub server: Option<String>,
    /// Bearer token for the API server
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true, help_heading = ACCESS)]
    pub token: Option<String>,
    /// Give up a request after this time: 5s, 1m30s, or a number of seconds; 0: the built-in limits
    #[arg(long, global = true, value_name = "TIME", value_parser = timeout, help_heading = ACCESS)]
    pub request_timeout: Option<Duration>,
    /// Do not verify the server's certificate
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub insecure_skip_tls_verify: Option<bool>,
    /// CA bundle to verify the server's certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub certificate_authority: Option<String>,
    /// Client certificate file
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub client_certificate: Option<String>,
    /// Key file of the client certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub client_key: Option<String>,
    /// Server name to verify in the server's certificate
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub tls_server_name: Option<String>,
}

const ACCESS: &str = "Access (kubectl's options)";

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the token is a secret
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Like kubectl: a Go duration, or a number of seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| duration(text)).ok_or_else(|| "expected a duration such as 5s or 1m30s".into())
}

/// Go's `ParseDuration`, without a sign.
fn duration(text: &str) -> Option<Duration> {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c| !is_digit(c))?)?;
        let (unit, next) = tail.split_at_checked(tail.find(is_digit).unwrap_or(tail.len()))?;
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = next;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("0", Some(0)),
            ("5", Some(5_000)),
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            (".5m1h", Some(3_630_000)),
            ("250ms", Some(250)),
            ("x", None),
            ("-1", None),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("1d", None),
        ] {
            assert_eq!(timeout(text).ok().map(|d| d.as_millis()), want, "{text:?}");
        }
    }
}
