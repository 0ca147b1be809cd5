//! The result of searching a cluster's Services for a server, such as a Prometheus: which Services were tried, and what
//! each answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::text::few;

/// A server behind a Service, as the service proxy of the API server reaches it. Written as
/// `NAMESPACE/[https:]NAME:PORT[/PREFIX]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAddress {
    namespace: String,
    name: String,
    /// The name of the port, or its number.
    port: String,
    https: bool,
    /// The path before the server's own paths: "" or `/prometheus`.
    prefix: String,
}

impl ServiceAddress {
    /// Returns `None` if a name, the port or the prefix cannot be part of the path of a request.
    pub fn new(namespace: &str, name: &str, port: &str, https: bool, prefix: &str) -> Option<Self> {
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        };
        let prefix = prefix.trim_end_matches('/');
        let is_safe = |part: &str| is_name(&part.replace(['_', '~'], "-")) && !matches!(part, "." | "..");
        let is_path =
            prefix.is_empty() || prefix.strip_prefix('/').is_some_and(|p| p.split('/').all(is_safe));
        let valid = [namespace, name].into_iter().all(|part| is_safe(part) && is_name(part))
            && is_name(port)
            && is_path;
        let own = |text: &str| text.to_owned();
        valid.then(|| Self {
            namespace: own(namespace),
            name: own(name),
            port: own(port),
            https,
            prefix: own(prefix),
        })
    }

    /// Parses `NAMESPACE/[https:]NAME:PORT[/PREFIX]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, rest) = text.trim().split_once('/')?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (service, prefix) = rest.split_at_checked(at)?;
        let (https, service) = match service.split_once(':')? {
            ("https", rest) => (true, rest),
            ("http", rest) if rest.contains(':') => (false, rest),
            _ => (false, service),
        };
        let (name, port) = service.split_once(':')?;
        Self::new(namespace, name, port, https, prefix)
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the port, or its number.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The name as the proxy of the API server takes it: `[https:]NAME:PORT`.
    pub fn proxied(&self) -> String {
        let scheme = if self.https { "https:" } else { "" };
        format!("{scheme}{}:{}", self.name, self.port)
    }

    /// The path on the API server that leads to the root of the server, without a slash at the end.
    pub fn path(&self) -> String {
        let Self { namespace, name, port, https, prefix } = self;
        let scheme = if *https { "https:" } else { "" };
        format!("/api/v1/namespaces/{namespace}/services/{scheme}{name}:{port}/proxy{prefix}")
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https:" } else { "" };
        write!(f, "{}/{scheme}{}:{}{}", self.namespace, self.name, self.port, self.prefix)
    }
}

/// What became of a Service that looks like the searched server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It is read.
    Used,
    /// It answers too, but another one is preferred.
    Spare,
    /// It answers, but has no data.
    Empty,
    /// The API server denies `get services/proxy`.
    Denied,
    /// The Service has no ready endpoints.
    NoEndpoints,
    /// The Service does not exist (any more), or it has no Endpoints, for which the API server gives the same answer.
    Missing,
    /// There was no answer in time.
    Slow,
    /// The server wants a login of its own.
    Login,
    /// Something else answers, for example a web page.
    Other,
    /// The request failed.
    #[default]
    Failed,
    /// It was not asked: too many others come before it.
    NotTried,
}

impl Outcome {
    /// The code in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Spare => "spare",
            Self::Empty => "empty",
            Self::Denied => "denied",
            Self::NoEndpoints => "no-endpoints",
            Self::Missing => "missing",
            Self::Slow => "slow",
            Self::Login => "login",
            Self::Other => "other",
            Self::Failed => "failed",
            Self::NotTried => "not-tried",
        }
    }

    /// Whether the Service answers as the searched server.
    pub fn answers(self) -> bool {
        matches!(self, Self::Used | Self::Spare | Self::Empty)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Used => "used, through the API server",
            Self::Spare => "answers too, not used",
            Self::Empty => "answers, but has no data",
            Self::Denied => "denied",
            Self::NoEndpoints => "the Service has no ready endpoints",
            Self::Missing => "there is no such Service, or it has no Endpoints",
            Self::Slow => "no answer in time",
            Self::Login => "wants a login of its own, which the API server does not pass on",
            Self::Other => "something else answers",
            Self::Failed => "fails",
            Self::NotTried => "not tried, because too many others come first",
        })
    }
}

/// One Service that looks like the searched server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `monitoring/prometheus:web`.
    pub service: Name,
    /// The kind of installation that it looks like: `Prometheus Operator`.
    pub installation: Name,
    pub outcome: Outcome,
    /// The error.
    #[serde(default)]
    pub error: Option<Name>,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.service, self.installation, self.why())
    }
}

impl Tried {
    /// The outcome in words, with the error if there is one.
    pub fn why(&self) -> String {
        self.error.as_ref().map_or_else(|| self.outcome.to_string(), ToString::to_string)
    }
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What was searched for: `Prometheus`.
    pub product: Name,
    /// The number of Services that were examined.
    pub services: u32,
    /// The namespaces that were searched. Empty: all of them.
    #[serde(default)]
    pub namespaces: Vec<Name>,
    /// In the order of preference.
    pub tried: Vec<Tried>,
}

impl Found {
    /// The Service that is used.
    pub fn used(&self) -> Option<&Tried> {
        self.tried.iter().find(|tried| tried.outcome == Outcome::Used)
    }

    /// The Services where it was searched: `the cluster's 214 Services`, `the 12 Services of shop`.
    pub fn searched(&self) -> String {
        let n = self.services;
        let s = if n == 1 { "" } else { "s" };
        match self.namespaces.as_slice() {
            [] => format!("the cluster's {n} Service{s}"),
            some => format!("the {n} Service{s} of {}", few(some)),
        }
    }

    /// One line for the search, then one for each Service that was tried.
    pub fn lines(&self) -> Vec<String> {
        let (product, searched) = (&self.product, self.searched());
        let head = match self.tried.len() {
            0 => format!("no {product} among {searched}"),
            n => format!("{n} of {searched} can be a {product}, by name or labels"),
        };
        std::iter::once(head).chain(self.tried.iter().map(ToString::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, path) in [
            ("monitoring/prometheus:web", "/api/v1/namespaces/monitoring/services/prometheus:web/proxy"),
            ("a/b:9090/", "/api/v1/namespaces/a/services/b:9090/proxy"),
            (
                "a/https:b:web/select/0/prometheus",
                "/api/v1/namespaces/a/services/https:b:web/proxy/select/0/prometheus",
            ),
            ("a/http:b:web", "/api/v1/namespaces/a/services/b:web/proxy"),
        ] {
            assert_eq!(ServiceAddress::parse(text).unwrap().path(), path, "{text}");
        }
        for text in [
            "",
            "a",
            "a/b",
            "a/b:",
            "/b:1",
            "a/:1",
            "a/b:1/../x",
            "a/b:1/x?y",
            "a/b:1//x",
            "a b/c:1",
            "a/b:1/%2e",
            "../b:1",
        ] {
            assert_eq!(ServiceAddress::parse(text), None, "{text}");
        }
        let shown = ServiceAddress::parse("a/https:b:1/x/").unwrap();
        assert_eq!(shown.to_string(), "a/https:b:1/x");
        assert_eq!(ServiceAddress::parse(&shown.to_string()), Some(shown));
    }

    #[test]
    fn a_search_is_told_in_lines() {
        let mut found = Found { product: "Prometheus".into(), services: 1, ..Found::default() };
        assert_eq!(found.lines(), ["no Prometheus among the cluster's 1 Service"]);
        let tried = |service: &str, outcome, error: Option<&str>| Tried {
            service: service.into(),
            installation: "Helm chart".into(),
            outcome,
            error: error.map(Name::from),
        };
        found.services = 12;
        found.namespaces = vec!["shop".into(), "pay".into()];
        found.tried = vec![
            tried("a/p:1", Outcome::Failed, Some("connection refused")),
            tried("b/p:1", Outcome::Used, None),
        ];
        assert_eq!(
            found.lines(),
            [
                "2 of the 12 Services of shop, pay can be a Prometheus, by name or labels",
                "a/p:1 (Helm chart): connection refused",
                "b/p:1 (Helm chart): used, through the API server",
            ]
        );
        assert_eq!(found.used().unwrap().service, "b/p:1");
    }
}
