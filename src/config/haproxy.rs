//! `[haproxy.NAME]`: HAProxies whose servers can be changed through the runtime API.

use pilothouse_core::domain::haproxy::HaproxySettings;
use pilothouse_core::domain::id::Name;
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::check::nearest;
use super::failover::Wrong;

/// The keys with their documentation.
const KEYS: [(&str, &str); 3] = [
    ("socket", "path of the stats socket with level admin, for example \"/run/haproxy/admin.sock\""),
    ("address", "HOST:PORT of the runtime API, instead of a socket"),
    (
        "backends",
        "the Services that its backends stand for, { \"shop_checkout\" = \"shop/checkout\" }; not needed for a backend named NAMESPACE_NAME",
    ),
];

/// Reads one section. A section with mistakes is not used.
pub fn read(name: &str, value: &Spanned<DeValue<'_>>) -> Result<HaproxySettings, Vec<Wrong>> {
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("haproxy.{name} must be a section");
        return Err(vec![Wrong { span: value.span(), what, hint: format!("write [haproxy.{name}]") }]);
    };
    let mut wrong = Vec::new();
    let mut settings = HaproxySettings { name: Name::from(name), ..HaproxySettings::default() };
    for (key, value) in table {
        let word = key.get_ref().as_ref();
        let hint = KEYS.iter().find(|(known, _)| *known == word).map_or("", |(_, doc)| *doc);
        let mut bad = |what: String| {
            wrong.push(Wrong { span: value.span(), what, hint: hint.to_owned() });
        };
        match (word, value.get_ref()) {
            ("socket", DeValue::String(text)) => settings.socket = text.to_string(),
            ("address", DeValue::String(text)) => {
                let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
                if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                    bad(format!("haproxy.{name}.address must be HOST:PORT"));
                }
                settings.address = text.to_string();
            }
            ("backends", DeValue::Table(backends)) => {
                for (backend, service) in backends {
                    let text = match service.get_ref() {
                        DeValue::String(text) => text.as_ref(),
                        _ => "",
                    };
                    match text.split('/').collect::<Vec<_>>().as_slice() {
                        [namespace, service] if !namespace.is_empty() && !service.is_empty() => {
                            let service = ((*namespace).into(), (*service).into());
                            settings.backends.insert(backend.get_ref().to_string(), service);
                        }
                        _ => bad(format!(
                            "haproxy.{name}.backends.{} must be NAMESPACE/NAME of a Service",
                            backend.get_ref()
                        )),
                    }
                }
            }
            ("backends", _) => bad(format!("haproxy.{name}.backends must be a table of texts")),
            ("socket" | "address", _) => bad(format!("haproxy.{name}.{word} must be a text in quotes")),
            _ => wrong.push(Wrong {
                span: key.span(),
                what: format!("unknown key {word:?} in [haproxy.{name}]"),
                hint: nearest(word, KEYS.iter().map(|(known, _)| *known)),
            }),
        }
    }
    let neither = settings.socket.is_empty() == settings.address.is_empty();
    if wrong.is_empty() && (neither || name.contains('/')) {
        let what = if neither {
            format!("[haproxy.{name}] needs either socket or address")
        } else {
            format!("haproxy.{name}: the name must not contain a slash")
        };
        wrong.push(Wrong { span: value.span(), what, hint: KEYS[0].1.to_owned() });
    }
    if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
}

/// The part of the example file about HAProxies, as comments, because there is none by default.
pub fn example() -> String {
    let mut out = String::from(
        "\n# [haproxy.NAME]: a HAProxy whose servers can be changed (weight, drain, maintenance) through its runtime API\n",
    );
    for (key, doc) in KEYS {
        out.push_str(&format!("#   {key}: {doc}\n"));
    }
    out.push_str(
        "#\n# [haproxy.edge]\n# socket = \"/run/haproxy/admin.sock\"\n# backends = { \"shop_checkout\" = \"shop/checkout\" }\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;

    #[test]
    fn sections_and_their_mistakes() {
        let good = "[haproxy.edge]\nsocket = \"/run/haproxy/admin.sock\"\nbackends = { front = \"shop/web\" }\n[haproxy.inner]\naddress = \"127.0.0.1:9999\"\n";
        let checked = check(good, Path::new("c"));
        assert_eq!(checked.problems, []);
        let [edge, inner] = checked.settings.haproxy.as_slice() else { panic!("two") };
        assert_eq!(edge.backends.get("front"), Some(&("shop".into(), "web".into())));
        assert_eq!(
            (edge.socket.as_str(), inner.address.as_str()),
            ("/run/haproxy/admin.sock", "127.0.0.1:9999")
        );
        let bad = "[haproxy.a]\nsoket = \"x\"\n[haproxy.b]\n[haproxy.c]\naddress = \"9999\"\n[haproxy.d]\nsocket = \"/x\"\nbackends = { y = \"z\" }\n";
        let checked = check(bad, Path::new("c"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        for (at, words) in [
            "c:2: unknown key \"soket\" in [haproxy.a] (did you mean \"socket\"?)",
            "c:3: [haproxy.b] needs either socket or address",
            "c:5: haproxy.c.address must be HOST:PORT",
            "c:8: haproxy.d.backends.y must be NAMESPACE/NAME of a Service",
        ]
        .into_iter()
        .enumerate()
        {
            assert!(problems[at].starts_with(words), "{problems:#?}");
        }
        assert!(checked.settings.haproxy.is_empty());
    }
}
