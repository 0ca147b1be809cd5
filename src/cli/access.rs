//! kubectl's flags that say which cluster, as whom and how: they go over what the kubeconfig says.

use std::time::Duration;

use clap::Args;

/// Which cluster, as whom. The flags of one cluster (server, token, certificates) are for the first context alone.
#[derive(Args, Clone, Default)]
pub struct Access {
    /// User name to act as, as kubectl's --as
    #[arg(long = "as", global = true, value_name = "USER", help_heading = ACCESS)]
    pub as_user: Option<String>,
    /// Group to act as; may be given several times
    #[arg(long, global = true, value_name = "GROUP", help_heading = ACCESS)]
    pub as_group: Vec<String>,
    /// UID to act as
    #[arg(long, global = true, value_name = "UID", help_heading = ACCESS)]
    pub as_uid: Option<String>,
    /// The kubeconfig's user, in the place of the context's
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub user: Option<String>,
    /// The kubeconfig's cluster, in the place of the context's
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub cluster: Option<String>,
    /// Address and port of the API server
    #[arg(short, long, global = true, value_name = "URL", help_heading = ACCESS)]
    pub server: Option<String>,
    /// Bearer token for the API server
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true, help_heading = ACCESS)]
    pub token: Option<String>,
    /// Give a request up after this long: 5s, 1m, a number of seconds; 0 = as without this flag
    #[arg(long, global = true, value_name = "TIME", value_parser = timeout, help_heading = ACCESS)]
    pub request_timeout: Option<Duration>,
    /// Do not check the server's certificate
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = ACCESS)]
    pub insecure_skip_tls_verify: Option<bool>,
    /// CA bundle for the server's certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub certificate_authority: Option<String>,
    /// Client certificate
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub client_certificate: Option<String>,
    /// Its key
    #[arg(long, global = true, value_name = "FILE", help_heading = ACCESS)]
    pub client_key: Option<String>,
    /// Name that the server's certificate is checked for
    #[arg(long, global = true, value_name = "NAME", help_heading = ACCESS)]
    pub tls_server_name: Option<String>,
}

const ACCESS: &str = "Access, as kubectl's options";

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the token is a secret
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Go's durations; a bare number is seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in
            [("0", Some(0)), ("5", Some(5)), ("5s", Some(5)), ("1m30s", Some(90)), ("x", None), ("-1", None)]
        {
            assert_eq!(timeout(text).ok().map(|d| d.as_secs()), want, "{text}");
        }
    }
}
