//! Parses a cluster's `server` as client-go does: a URL, or `host:port` for http. No value makes it panic.

use http::Uri;
use http::uri::Authority;
use pilothouse_core::domain::text::without_credentials;

use crate::wire::client::unescape;

/// The address of the API server.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::wire) struct Server {
    pub https: bool,
    /// `host` or `host:port`, IPv6 in brackets.
    pub authority: Authority,
    /// `user:password` of the URL, which Go sends as basic authentication.
    pub userinfo: Option<(String, String)>,
    /// The prefix of each path: "" or `/a/b`.
    pub prefix: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url())
    }
}

/// The parts of a URL as Go's `url.Parse` splits it.
struct Parts<'a> {
    scheme: String,
    authority: &'a str,
    path: &'a str,
}

impl Server {
    /// Why the address cannot be used, in words that follow "server ".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("{:?}: {why}", without_credentials(text)));
        if text.trim() != text {
            return bad("there is white space around it");
        }
        let with_scheme = format!("http://{text}");
        let parts = match parts(text) {
            Some(parts) if !parts.scheme.is_empty() && !parts.authority.is_empty() => parts,
            _ => match parts(&with_scheme) {
                Some(parts) if matches!(parts.path, "" | "/") => parts,
                _ => return bad("must be a URL (https://HOST:PORT) or HOST:PORT"),
            },
        };
        let https = match parts.scheme.as_str() {
            "https" => true,
            "http" => false,
            other => return bad(&format!("{other} is not supported, only https and http")),
        };
        let (userinfo, host) = match parts.authority.rsplit_once('@') {
            None => (None, parts.authority),
            Some((user, host)) => {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((unescape(user), unescape(password))), host)
            }
        };
        let port = match host.rsplit_once(']').map_or(host, |(_, rest)| rest).rsplit_once(':') {
            Some((_, port)) => port,
            None => "",
        };
        if !port.is_empty() && port.parse::<u16>().is_err() {
            return bad("the port must be a number up to 65535");
        }
        let host = host.strip_suffix(':').unwrap_or(host);
        let Ok(authority) = host.parse::<Authority>() else {
            return bad("the host name has invalid characters");
        };
        if authority.host().trim_matches(['[', ']']).is_empty() {
            return bad("there is no host in it");
        }
        let server = Self { https, authority, userinfo, prefix: clean(parts.path) };
        match server.url().parse::<Uri>() {
            Ok(_) => Ok(server),
            Err(_) => bad("it is not a URL"),
        }
    }

    /// The URL without credentials.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// Splits a URL. None if Go refuses it.
fn parts(text: &str) -> Option<Parts<'_>> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let text = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = match text.split_once(':') {
        Some(("", _)) => return None,
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) =>
        {
            (scheme.to_ascii_lowercase(), rest)
        }
        _ => (String::new(), text),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    let Some(after) = rest.strip_prefix("//") else {
        let first = rest.split('/').next().unwrap_or_default();
        let refused = scheme.is_empty() && !rest.starts_with('/') && first.contains(':');
        return (!refused).then_some(Parts { scheme, authority: "", path: rest });
    };
    let (authority, path) = match after.find('/') {
        Some(at) => after.split_at_checked(at)?,
        None => (after, ""),
    };
    Some(Parts { scheme, authority, path })
}

/// The path without empty, `.` and `..` elements and without a slash at its end.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    kept.iter().flat_map(|part| ["/".to_owned(), encoded(part)]).collect()
}

/// Escapes the characters that a request line cannot have; existing escapes are kept.
fn encoded(part: &str) -> String {
    part.chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}') {
                c.to_string()
            } else {
                crate::wire::client::escape(&c.to_string())
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_client_go_takes() {
        for (text, url) in [
            ("https://h:6443", "https://h:6443"),
            ("HTTPS://H:6443/", "https://H:6443"),
            ("https://h", "https://h"),
            ("https://h:", "https://h"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("localhost", "http://localhost"),
            ("kube.example:6443", "http://kube.example:6443"),
            ("[::1]:6443", "http://[::1]:6443"),
            ("https://[::1]:6443", "https://[::1]:6443"),
            ("http://h:1//", "http://h:1"),
            ("http://h:1/a//b/../c/", "http://h:1/a/c"),
            ("http://h:1?x=1", "http://h:1"),
            ("http://h:1/a?x=1#f", "http://h:1/a"),
            ("http://u:p@h:1", "http://h:1"),
            ("https://h/k8s/clusters/c-m-1", "https://h/k8s/clusters/c-m-1"),
        ] {
            assert_eq!(Server::parse(text).map(|s| s.url()), Ok(url.to_owned()), "{text}");
        }
        let server = Server::parse("http://me:p%40ss@h").unwrap();
        assert_eq!(server.userinfo, Some(("me".into(), "p@ss".into())));
    }

    #[test]
    fn what_it_refuses() {
        for text in [
            "",
            " http://h",
            "http://h ",
            "kube example",
            "https://",
            "h/path",
            "http://h:99999",
            "http://h:x",
            "ftp://h",
            "unix:///var/run/x.sock",
            "http://a b",
            "http://h\u{1}",
            "://h",
            "http://:80",
        ] {
            assert!(Server::parse(text).is_err(), "{text:?}");
        }
        for text in ["https://u:SECRET@h:x", "ftp://u:SECRET@h", "u:SECRET@h/p", "https://u:SEC/RET@h"] {
            let error = Server::parse(text).unwrap_err();
            assert!(!error.contains("SEC"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>()) {
            drop(Server::parse(&text));
            drop(Server::parse(&format!("https://{text}")));
        }
    }
}
