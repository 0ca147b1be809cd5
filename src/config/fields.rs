//! THE table of settings: section, key, what it is for, where it lives.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pilothouse_core::domain::settings::Settings;
use pilothouse_core::domain::text::without_credentials;
use pilothouse_core::domain::traffic::LONGEST_WINDOW_SECS;

/// How a field's value is reached and what it may be.
pub enum Place {
    Text(fn(&mut Settings) -> &mut String),
    Flag(fn(&mut Settings) -> &mut bool),
    /// With the least and the greatest value.
    Number(fn(&mut Settings) -> &mut u32, u32, u32),
    Texts(fn(&mut Settings) -> &mut Vec<String>),
    /// A table of texts.
    Pairs(fn(&mut Settings) -> &mut BTreeMap<String, String>),
}

/// One setting.
pub struct Field {
    pub section: &'static str,
    pub key: &'static str,
    pub doc: &'static str,
    pub place: Place,
}

/// Every setting but the key bindings, which are a table of their own (`[ui.keys]`).
pub const FIELDS: &[Field] = &[
    Field {
        section: "ui",
        key: "theme",
        doc: "a built-in theme (default, light, mono) or the name of a file in the themes folder",
        place: Place::Text(|s| &mut s.ui.theme),
    },
    Field {
        section: "ui",
        key: "max_fps",
        doc: "frames a second at most, 1 to 60",
        place: Place::Number(|s| &mut s.ui.max_fps, 1, 60),
    },
    Field {
        section: "ui",
        key: "mouse",
        doc: "the mouse selects, scrolls and clicks keys; false leaves it to the terminal, which selects text",
        place: Place::Flag(|s| &mut s.ui.mouse),
    },
    Field {
        section: "guards",
        key: "read_only",
        doc: "send nothing but reads and access reviews",
        place: Place::Flag(|s| &mut s.guards.read_only),
    },
    Field {
        section: "guards",
        key: "protected_contexts",
        doc: "globs over context names whose actions ask one level more; *prod*, *prd* and *live* always are",
        place: Place::Texts(|s| &mut s.guards.protected_contexts),
    },
    Field {
        section: "guards",
        key: "protected_namespaces",
        doc: "the same for namespaces",
        place: Place::Texts(|s| &mut s.guards.protected_namespaces),
    },
    Field {
        section: "prometheus",
        key: "url",
        doc: "base URL of a Prometheus, empty = none",
        place: Place::Text(|s| &mut s.prometheus.url),
    },
    Field {
        section: "prometheus",
        key: "token_env",
        doc: "environment variable that holds a bearer token for it, empty = none",
        place: Place::Text(|s| &mut s.prometheus.token_env),
    },
    Field {
        section: "prometheus",
        key: "token_file",
        doc: "file that holds a bearer token for it, read for each query, empty = none",
        place: Place::Text(|s| &mut s.prometheus.token_file),
    },
    Field {
        section: "prometheus",
        key: "headers",
        doc: "headers of each query, for example { \"X-Scope-OrgID\" = \"team-a\" }, or as a section [prometheus.headers]",
        place: Place::Pairs(|s| &mut s.prometheus.headers),
    },
    Field {
        section: "prometheus",
        key: "ca_file",
        doc: "CA bundle (PEM) that its certificate is checked by, empty = the CAs of this machine",
        place: Place::Text(|s| &mut s.prometheus.ca_file),
    },
    Field {
        section: "prometheus",
        key: "insecure",
        doc: "do not check its certificate",
        place: Place::Flag(|s| &mut s.prometheus.insecure),
    },
    Field {
        section: "prometheus",
        key: "poll_secs",
        doc: "seconds between polls, 2 to 300",
        place: Place::Number(|s| &mut s.prometheus.poll_secs, 2, 300),
    },
    Field {
        section: "prometheus",
        key: "window_secs",
        doc: "window of the rates in seconds, 10 to 3600; at least four scrape intervals",
        place: Place::Number(|s| &mut s.prometheus.window_secs, 10, LONGEST_WINDOW_SECS),
    },
    Field {
        section: "prometheus",
        key: "presets",
        doc: "where traffic is read from: auto, or names in order (haproxy, http_requests_total); the first that knows a service tells it",
        place: Place::Texts(|s| &mut s.prometheus.presets),
    },
    Field {
        section: "logs",
        key: "enabled",
        doc: "follow the logs of pods in trouble",
        place: Place::Flag(|s| &mut s.logs.enabled),
    },
    Field {
        section: "logs",
        key: "max_streams",
        doc: "pods followed at the same time, 1 to 500",
        place: Place::Number(|s| &mut s.logs.max_streams, 1, 500),
    },
    Field {
        section: "logs",
        key: "memory_mib",
        doc: "memory for log lines in MiB, 1 to 1024",
        place: Place::Number(|s| &mut s.logs.memory_mib, 1, 1024),
    },
];

/// A field's value as TOML.
pub fn show(field: &Field, settings: &mut Settings) -> String {
    match field.place {
        Place::Text(get) => toml::Value::from(get(settings).as_str()).to_string(),
        Place::Flag(get) => get(settings).to_string(),
        Place::Number(get, ..) => get(settings).to_string(),
        Place::Texts(get) => {
            let list: Vec<String> =
                get(settings).iter().map(|t| toml::Value::from(t.as_str()).to_string()).collect();
            format!("[{}]", list.join(", "))
        }
        Place::Pairs(get) => {
            let text = |t: &str| toml::Value::from(t).to_string();
            let pairs: Vec<String> =
                get(settings).iter().map(|(k, v)| format!("{} = {}", text(k), text(v))).collect();
            if pairs.is_empty() { "{}".into() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
    }
}

/// The same without what is secret: the password of a URL, and the values of headers.
pub fn show_openly(field: &Field, settings: &mut Settings) -> String {
    const HIDDEN: &str = "…";
    match field.place {
        Place::Text(get) if field.key == "url" => {
            let open = without_credentials(get(settings)).into_owned();
            *get(settings) = open;
        }
        Place::Pairs(get) => get(settings).values_mut().for_each(|value| HIDDEN.clone_into(value)),
        Place::Text(_) | Place::Flag(_) | Place::Number(..) | Place::Texts(_) => {}
    }
    show(field, settings)
}

/// The example file: every setting with its default. Parsing it gives exactly the defaults.
pub fn example() -> String {
    let mut settings = Settings::default();
    let mut out = String::from(
        "# Pilothouse: every setting with its default. The place of this file is $XDG_CONFIG_HOME/pilothouse/config.toml\n",
    );
    let mut section = "";
    for field in FIELDS {
        if field.section != section {
            section = field.section;
            write!(out, "\n[{section}]\n").unwrap_or_default();
        }
        let value = show(field, &mut settings);
        write!(out, "# {}\n{} = {value}\n", field.doc, field.key).unwrap_or_default();
    }
    out.push_str(
        "\n[ui.keys]\n# command = [\"key\", …], instead of the command's own keys; `pilothouse keys` lists the commands\n# zoom = [\"z\"]\n",
    );
    out.push_str(&super::failover::example());
    out.push_str(&super::silence::example());
    out
}
