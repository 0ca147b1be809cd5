//! Parses a request's path and query.

use crate::resources::Res;

/// The resource that a path names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    /// None for kinds that are not stored (reviews, metrics) or not known.
    pub(super) res: Option<Res>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) subresource: String,
    /// The path behind `proxy`.
    pub(super) path: String,
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Decodes percent encoding; invalid sequences are kept.
pub(super) fn decode(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let ahead: Vec<u8> = bytes.clone().take(2).collect();
                match ahead.as_slice() {
                    [high, low] if hex(*high).is_some() && hex(*low).is_some() => {
                        out.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                        bytes.next();
                        bytes.next();
                    }
                    _ => out.push(b'%'),
                }
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Target {
    /// `None` for paths that name no resource (discovery, version).
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // A namespace's own subresources look like resources inside the namespace.
            ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let (plural, name, subresource, path) = match rest {
            [plural] => (*plural, "", String::new(), String::new()),
            [plural, name] => (*plural, *name, String::new(), String::new()),
            [plural, name, "proxy", path @ ..] => (*plural, *name, "proxy".to_owned(), path.join("/")),
            [plural, name, sub @ ..] => (*plural, *name, sub.join("/"), String::new()),
            [] => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            res: Res::find(group, version, plural),
            namespace,
            name: name.to_owned(),
            subresource,
            path,
        })
    }

    /// `pods/eviction`.
    pub(super) fn resource(&self) -> String {
        if self.subresource.is_empty() {
            self.plural.clone()
        } else {
            format!("{}/{}", self.plural, self.subresource)
        }
    }
}

/// The parameters of a request, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | ""))
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let at = |path| Target::of(path).map(|t| (t.res, t.namespace, t.name, t.subresource));
        let text = |text: &str| text.to_owned();
        assert_eq!(at("/api/v1/pods"), Some((Some(Res::Pods), None, text(""), text(""))));
        assert_eq!(
            at("/api/v1/namespaces/shop/pods/a/eviction"),
            Some((Some(Res::Pods), Some(text("shop")), text("a"), text("eviction")))
        );
        assert_eq!(
            at("/api/v1/namespaces/shop"),
            Some((Some(Res::Namespaces), None, text("shop"), text("")))
        );
        assert_eq!(
            at("/api/v1/namespaces/shop/status"),
            Some((Some(Res::Namespaces), None, text("shop"), text("status")))
        );
        assert_eq!(
            at("/apis/apps/v1/namespaces/n/deployments/a%3Ab/scale"),
            Some((Some(Res::Deployments), Some(text("n")), text("a:b"), text("scale")))
        );
        assert_eq!(at("/apis/apps/v1"), None);
        let proxy = Target::of("/api/v1/namespaces/m/services/p:web/proxy/api/v1/query").unwrap();
        assert_eq!((proxy.name.as_str(), proxy.path.as_str()), ("p:web", "api/v1/query"));
        assert_eq!(proxy.resource(), "services/proxy");
        let query = Query::of("labelSelector=a%3Db%2Cc+in&watch=true&limit=5");
        assert_eq!(
            (query.text("labelSelector"), query.flag("watch"), query.number("limit")),
            ("a=b,c in", true, Some(5))
        );
    }
}
