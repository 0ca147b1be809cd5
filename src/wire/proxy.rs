//! Chooses the proxy of a request, for the API server, Prometheus and all other servers: from `HTTPS_PROXY`,
//! `HTTP_PROXY` and NO_PROXY as Go's httpproxy reads them, or from the kubeconfig's `proxy-url`.

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use pilothouse_core::domain::text::without_credentials;

use super::client::unescape;
use super::env::Env;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Https,
    Socks5,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub kind: Kind,
    /// Scheme, host and port; no credentials.
    pub uri: Uri,
    pub auth: Option<(String, String)>,
}

impl Proxy {
    /// The URL with the proxy's credentials.
    pub(super) fn url(&self) -> Option<url::Url> {
        let mut url = url::Url::parse(&self.uri.to_string()).ok()?;
        if let Some((user, password)) = &self.auth {
            url.set_username(user).ok()?;
            url.set_password(Some(password)).ok()?;
        }
        Some(url)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.uri)
    }
}

/// Chooses the proxy for each address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Arc<Choice>);

#[derive(Debug, Default)]
enum Choice {
    #[default]
    None,
    /// `proxy-url`, which is used for every address.
    Always(Proxy),
    Env {
        http: Option<Proxy>,
        https: Option<Proxy>,
        except: Vec<Except>,
    },
}

/// One entry of NO_PROXY.
#[derive(Debug, PartialEq, Eq)]
enum Except {
    All,
    Net(IpAddr, u8),
    Ip(IpAddr, String),
    /// `.host`; the flag says whether it matches the host itself too.
    Domain {
        suffix: String,
        itself: bool,
        port: String,
    },
}

impl Proxies {
    /// The proxies that the environment sets.
    pub(crate) fn from_env(env: &Env) -> Self {
        let any = |upper: &str| env.var(upper).or_else(|| env.var(&upper.to_lowercase()));
        let proxy = |name: &str| any(name).and_then(|text| lenient(&text));
        // in a CGI script, the client sets HTTP_PROXY with a request header
        let http = if env.var("REQUEST_METHOD").is_some() { None } else { proxy("HTTP_PROXY") };
        let https = proxy("HTTPS_PROXY");
        if http.is_none() && https.is_none() {
            return Self::default();
        }
        let except = any("NO_PROXY").map(|list| exceptions(&list)).unwrap_or_default();
        Self(Arc::new(Choice::Env { http, https, except }))
    }

    /// The kubeconfig's `proxy-url`, or the `proxy_url` of a setting.
    pub(crate) fn always(text: &str) -> Result<Self, String> {
        let proxy = parse(text).ok_or_else(|| {
            format!(
                "{:?} must be a URL that begins with http://, https:// or socks5://",
                without_credentials(text)
            )
        })?;
        Ok(Self(Arc::new(Choice::Always(proxy))))
    }

    /// The proxy for an address; None: connect directly.
    pub(super) fn of(&self, to: &Uri) -> Option<&Proxy> {
        match &*self.0 {
            Choice::None => None,
            Choice::Always(proxy) => Some(proxy),
            Choice::Env { http, https, except } => {
                let is_https = to.scheme_str() == Some("https");
                let proxy = if is_https { https.as_ref() } else { http.as_ref() }?;
                let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
                let port = to.port_u16().unwrap_or(if is_https { 443 } else { 80 }).to_string();
                (!is_excepted(host, &port, except)).then_some(proxy)
            }
        }
    }
}

/// Parses HTTPS_PROXY as Go does: with or without a scheme. A value that Go cannot parse means no proxy.
fn lenient(text: &str) -> Option<Proxy> {
    parse(text).or_else(|| if text.contains("://") { None } else { parse(&format!("http://{text}")) })
}

fn parse(text: &str) -> Option<Proxy> {
    let (scheme, rest) = text.split_once("://")?;
    let (kind, scheme, port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Kind::Http, "http", 80),
        "https" => (Kind::Https, "https", 443),
        "socks5" | "socks5h" => (Kind::Socks5, "socks5", 1080),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (auth, host) = match authority.rsplit_once('@') {
        None => (None, authority),
        Some((user, host)) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            (Some((unescape(user), unescape(password))), host)
        }
    };
    let host = host.strip_suffix(':').unwrap_or(host);
    let has_port = host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':');
    let authority = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()?;
    uri.port_u16()?;
    (!uri.host().unwrap_or_default().is_empty()).then_some(Proxy { kind, uri, auth })
}

fn exceptions(list: &str) -> Vec<Except> {
    let mut found = Vec::new();
    for entry in list.split(',') {
        let entry = entry.trim().to_lowercase();
        if entry.is_empty() {
            continue;
        }
        if entry == "*" {
            return vec![Except::All];
        }
        if let Some(net) = net(&entry) {
            found.push(net);
            continue;
        }
        let (host, port) = match split_port(&entry) {
            Some((host, port)) => {
                (host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host), port)
            }
            // as in Go, brackets without a port are part of the name, which no host has
            None => (entry.as_str(), ""),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            found.push(Except::Ip(ip.to_canonical(), port.to_owned()));
            continue;
        }
        let host = if host.starts_with("*.") { host.trim_start_matches('*') } else { host };
        if host.is_empty() {
            continue;
        }
        let itself = !host.starts_with('.');
        let suffix = format!(".{}", ascii(host.strip_prefix('.').unwrap_or(host)));
        found.push(Except::Domain { suffix, itself, port: port.to_owned() });
    }
    found
}

/// Splits `host:port` and `[v6]:port`. None without a port, for which Go's SplitHostPort fails too.
fn split_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    (bracketed || !host.contains([':', '[', ']'])).then_some((host, port))
}

/// The name as it is sent in DNS: `xn--bcher-kva.test` for `bücher.test`.
fn ascii(host: &str) -> String {
    let parsed = if host.is_ascii() { None } else { url::Host::parse(host).ok() };
    parsed.map_or_else(|| host.to_owned(), |host| host.to_string())
}

fn net(entry: &str) -> Option<Except> {
    let (ip, bits) = entry.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    if !bits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bits: u8 = bits.parse().ok()?;
    let max_bits = if ip.is_ipv4() { 32 } else { 128 };
    // a network of mapped IPv4 addresses (::ffff:10.0.0.0/104) is one of IPv4 addresses
    let mapped = ip.is_ipv6() && ip.to_canonical().is_ipv4() && bits >= 96;
    let (ip, in_family) = if mapped { (ip.to_canonical(), bits - 96) } else { (ip, bits) };
    (bits <= max_bits).then_some(Except::Net(ip, in_family))
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let (a, b, width) = match (net, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let drop = width - u32::from(bits);
    a.checked_shr(drop).unwrap_or(0) == b.checked_shr(drop).unwrap_or(0)
}

fn is_excepted(host: &str, port: &str, except: &[Except]) -> bool {
    let host = host.trim().to_lowercase();
    let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    // requests to this machine never use a proxy
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let on = |wanted: &str| wanted.is_empty() || wanted == port;
    except.iter().any(|entry| match entry {
        Except::All => true,
        Except::Net(net, bits) => ip.is_some_and(|ip| contains(*net, *bits, ip)),
        Except::Ip(wanted, wanted_port) => ip == Some(*wanted) && on(wanted_port),
        // an address has no parent domains
        Except::Domain { .. } if ip.is_some() => false,
        Except::Domain { suffix, itself, port: wanted } => {
            let same = *itself && suffix.strip_prefix('.') == Some(host.as_str());
            (same || host.ends_with(suffix.as_str())) && on(wanted)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(env: &[(&str, &str)], to: &str) -> Option<String> {
        let env = Env::of(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Proxies::from_env(&env).of(&to.parse().unwrap()).map(|p| p.uri.to_string())
    }

    #[test]
    fn a_proxys_url_has_its_credentials_again() {
        for (text, url) in [
            ("http://proxy.test:3128", "http://proxy.test:3128/"),
            ("http://me:p%40ss@proxy.test:3128", "http://me:p%40ss@proxy.test:3128/"),
            ("socks5://me:p:q@127.0.0.1:1080", "socks5://me:p%3Aq@127.0.0.1:1080"),
        ] {
            let shown = parse(text).unwrap().url().unwrap().to_string();
            assert_eq!(shown.trim_end_matches('/'), url.trim_end_matches('/'), "{text}");
        }
    }

    /// NO_PROXY, an address, and whether golang.org/x/net/http/httpproxy v0.50.0 uses the proxy. HTTPS_PROXY and
    /// HTTP_PROXY are set. These are the package's own answers.
    const GO_NO_PROXY: &[(&str, &str, bool)] = &[
        ("", "https://kube.test", true),
        ("", "http://kube.test", true),
        ("kube.test", "https://kube.test", false),
        ("kube.test", "https://a.kube.test", false),
        ("kube.test", "https://notkube.test", true),
        (".kube.test", "https://a.kube.test", false),
        (".kube.test", "https://kube.test", true),
        ("*.kube.test", "https://a.kube.test", false),
        ("*.kube.test", "https://a.b.kube.test", false),
        ("*.kube.test", "https://kube.test", true),
        ("KUBE.TEST", "https://kube.test", false),
        ("kube.test", "https://KUBE.TEST", false),
        ("kube.test:6443", "https://kube.test:6443", false),
        ("kube.test:6443", "https://kube.test", true),
        ("kube.test:443", "https://kube.test", false),
        ("kube.test:80", "http://kube.test", false),
        ("kube.test:443", "http://kube.test", true),
        (".kube.test:443", "https://a.kube.test", false),
        ("*.kube.test:443", "https://a.kube.test", false),
        ("*.kube.test:80", "https://a.kube.test", true),
        ("*", "https://kube.test", false),
        ("a, *,b", "https://kube.test", false),
        ("*:443", "https://kube.test", true),
        ("**", "https://kube.test", true),
        ("*kube.test", "https://akube.test", true),
        ("*.", "https://kube.test", true),
        (".", "https://kube.test", true),
        (".", "https://kube.test.", false),
        ("10.0.0.0/8", "https://10.1.2.3:6443", false),
        ("10.0.0.0/8", "https://11.1.2.3:6443", true),
        ("10.1.2.3/8", "https://10.9.9.9", false),
        ("10.0.0.0/33", "https://10.0.0.0", true),
        ("10.0.0.0/08", "https://10.1.1.1", false),
        ("10.0.0.0/+8", "https://10.1.1.1", true),
        ("0.0.0.0/0", "https://11.1.2.3", false),
        ("0.0.0.0/0", "https://kube.test", true),
        ("fd00::/8", "https://[fd12::1]:6443", false),
        ("fd00::/8", "https://[fe12::1]:6443", true),
        ("::/0", "https://10.1.1.1", true),
        ("::/0", "https://[fe80::1]", false),
        ("::ffff:10.0.0.0/104", "https://10.1.1.1", false),
        ("10.0.0.0/8", "https://[::ffff:10.1.1.1]", false),
        ("10.1.2.3", "https://10.1.2.3:6443", false),
        ("10.1.2.3", "https://10.1.2.4", true),
        ("10.1.2.3:443", "https://10.1.2.3:6443", true),
        ("10.1.2.3:6443", "https://10.1.2.3:6443", false),
        ("010.1.2.3", "https://10.1.2.3", true),
        ("10.1.2.3", "https://[::ffff:10.1.2.3]", false),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", false),
        ("[fd00::1]:6443", "https://[fd00::1]", true),
        ("fd00::1", "https://[fd00::1]:6443", false),
        ("[fd00::1]", "https://[fd00::1]", true),
        ("FD00::1", "https://[fd00::1]", false),
        ("fd00:0::1", "https://[fd00::1]", false),
        ("2.3", "https://10.1.2.3", true),
        (".2.3", "https://10.1.2.3", true),
        ("3", "https://10.1.2.3", true),
        (" ,, :80, kube.test ,", "https://kube.test", false),
        (":80", "https://kube.test:80", true),
        ("https://kube.test", "https://kube.test", true),
        ("kube.test/", "https://kube.test", true),
        ("test", "https://kube.test", false),
        ("kube.test.", "https://kube.test", true),
        ("kube.test", "https://kube.test.", true),
        ("kube.test other.test", "https://kube.test", true),
        ("kube.test:", "https://kube.test", false),
        ("kube.test:https", "https://kube.test", true),
        ("kube.test:0443", "https://kube.test", true),
        ("kube.test:443:1", "https://kube.test", true),
        ("bücher.test", "https://xn--bcher-kva.test", false),
        ("xn--bcher-kva.test", "https://xn--bcher-kva.test", false),
        ("", "http://localhost", false),
        ("", "https://localhost:6443", false),
        ("", "https://localhost.", true),
        ("", "https://a.localhost", true),
        ("", "https://localhost.test", true),
        ("", "https://127.0.0.1:6443", false),
        ("", "https://127.9.9.9", false),
        ("", "https://[::1]:6443", false),
        ("", "https://[::ffff:127.0.0.1]", false),
        ("", "https://0.0.0.0", true),
        ("", "https://[::]", true),
        ("", "https://127.1", true),
        ("", "https://128.0.0.1", true),
    ];

    /// The environment, an address, and the proxy that the same package uses; "-" for none. It refuses a request
    /// with HTTP_PROXY in a CGI script, which counts as none here.
    const GO_VARIABLES: &[(&str, &str, &str)] = &[
        ("HTTPS_PROXY=http://h:1", "https://a", "http://h:1"),
        ("https_proxy=http://h:1", "https://a", "http://h:1"),
        ("HTTPS_PROXY=http://h:1;https_proxy=http://x:1", "https://a", "http://h:1"),
        ("HTTPS_PROXY=;https_proxy=http://h:1", "https://a", "http://h:1"),
        ("HTTP_PROXY=http://h:1", "https://a", "-"),
        ("HTTP_PROXY=http://h:1", "http://a", "http://h:1"),
        ("http_proxy=http://h:1", "http://a", "http://h:1"),
        ("HTTPS_PROXY=http://h:1", "http://a", "-"),
        ("ALL_PROXY=http://h:1", "https://a", "-"),
        ("all_proxy=http://h:1", "http://a", "-"),
        ("HTTPS_PROXY=h:1", "https://a", "http://h:1"),
        ("HTTPS_PROXY=h", "https://a", "http://h"),
        ("HTTPS_PROXY=10.0.0.1:3128", "https://a", "http://10.0.0.1:3128"),
        ("HTTPS_PROXY=socks5://h", "https://a", "socks5://h"),
        ("HTTPS_PROXY=socks5h://h:1", "https://a", "socks5h://h:1"),
        ("HTTPS_PROXY=https://h", "https://a", "https://h"),
        ("HTTPS_PROXY=HTTP://h:1", "https://a", "http://h:1"),
        ("HTTPS_PROXY=http://[fd00::1]:1", "https://a", "http://[fd00::1]:1"),
        ("HTTPS_PROXY=http://me:p%40ss@h:1", "https://a", "http://me:p%40ss@h:1"),
        ("HTTPS_PROXY=me:pass@h:1", "https://a", "http://me:pass@h:1"),
        ("HTTPS_PROXY=http://h:1/path", "https://a", "http://h:1/path"),
        ("HTTP_PROXY=http://h:1;REQUEST_METHOD=GET", "http://a", "-"),
        ("HTTP_PROXY=http://h:1;HTTPS_PROXY=http://h:1;REQUEST_METHOD=GET", "https://a", "http://h:1"),
        ("HTTP_PROXY=http://h:1;REQUEST_METHOD=", "http://a", "http://h:1"),
        ("http_proxy=http://h:1;REQUEST_METHOD=GET", "http://a", "-"),
        ("HTTPS_PROXY=http://h:1;no_proxy=a", "https://a", "-"),
        ("HTTPS_PROXY=http://h:1;NO_PROXY=b;no_proxy=a", "https://a", "http://h:1"),
        ("HTTPS_PROXY=http://h:1;NO_PROXY=;no_proxy=a", "https://a", "-"),
    ];

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (no_proxy, to, proxied) in GO_NO_PROXY {
            let env = [("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "http://q:1"), ("NO_PROXY", *no_proxy)];
            assert_eq!(through(&env, to).is_some(), *proxied, "{no_proxy:?} {to}");
        }
        // Go compares with `localhost` before it ignores case; we never use a proxy for this machine
        assert_eq!(through(&[("HTTPS_PROXY", "http://p:1")], "https://LOCALHOST"), None);
    }

    #[test]
    fn the_variables_are_read_as_go_reads_them() {
        for (env, to, want) in GO_VARIABLES {
            let vars: Vec<_> = env.split(';').filter_map(|pair| pair.split_once('=')).collect();
            let given = Env::of(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            let found = Proxies::from_env(&given).of(&to.parse().unwrap()).cloned();
            // the same proxy, however it is written
            let want = (*want != "-").then(|| parse(want).unwrap());
            assert_eq!(found, want, "{env} {to}");
        }
        let out_of_range = [("HTTPS_PROXY", "http://h:99999")];
        assert_eq!(through(&out_of_range, "https://a"), None);
    }

    #[test]
    fn the_proxy_of_a_kubeconfig() {
        let proxies = Proxies::always("socks5://me:p%40ss@h:1").unwrap();
        let proxy = proxies.of(&"https://127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!((proxy.kind, proxy.auth.clone()), (Kind::Socks5, Some(("me".into(), "p@ss".into()))));
        for bad in ["h:1", "h", "ftp://h", "http://", "://", "http://a b"] {
            assert!(Proxies::always(bad).is_err(), "{bad}");
        }
        for bad in ["ftp://me:secret@h", "me:secret@h"] {
            let words = Proxies::always(bad).unwrap_err();
            assert!(!words.contains("secret"), "{words}");
        }
    }
}
