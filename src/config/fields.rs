//! The table of settings: for each its section, key, documentation, type and field in [`Settings`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pilothouse_core::domain::settings::Settings;
use pilothouse_core::domain::text::without_credentials;
use pilothouse_core::domain::traffic::LONGEST_WINDOW_SECS;

/// The type of a setting's value, with a function that returns its field in [`Settings`].
pub enum Place {
    Text(fn(&mut Settings) -> &mut String),
    Flag(fn(&mut Settings) -> &mut bool),
    /// With the smallest and the largest valid value.
    Number(fn(&mut Settings) -> &mut u32, u32, u32),
    Texts(fn(&mut Settings) -> &mut Vec<String>),
    /// A table whose values are texts.
    Pairs(fn(&mut Settings) -> &mut BTreeMap<String, String>),
    /// A table of lists of texts.
    Lists(fn(&mut Settings) -> &mut BTreeMap<String, Vec<String>>),
}

/// One setting.
pub struct Field {
    pub section: &'static str,
    pub key: &'static str,
    pub doc: &'static str,
    pub place: Place,
}

/// Every setting, except for the key bindings (`[ui.keys]`), presets, failover plans and silences, which have tables of their own.
pub const FIELDS: &[Field] = &[
    Field {
        section: "ui",
        key: "theme",
        doc: "name of a built-in theme (default, light, mono) or of a file in the themes folder",
        place: Place::Text(|s| &mut s.ui.theme),
    },
    Field {
        section: "ui",
        key: "max_fps",
        doc: "maximum number of frames per second, 1 to 60",
        place: Place::Number(|s| &mut s.ui.max_fps, 1, 60),
    },
    Field {
        section: "ui",
        key: "mouse",
        doc: "use the mouse to select rows, scroll and press keys; if false, the terminal uses it to select text",
        place: Place::Flag(|s| &mut s.ui.mouse),
    },
    Field {
        section: "ui",
        key: "columns",
        doc: "the columns of a pane and their order, for example { nodes = [\"node\", \"state\", \"pods\"] }, or as a section [ui.columns]; `pilothouse config columns` lists them",
        place: Place::Lists(|s| &mut s.ui.columns),
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
        doc: "globs for context names that need one confirmation level higher, in addition to *prod*, *prd* and *live*",
        place: Place::Texts(|s| &mut s.guards.protected_contexts),
    },
    Field {
        section: "guards",
        key: "protected_namespaces",
        doc: "globs for namespaces that need one confirmation level higher",
        place: Place::Texts(|s| &mut s.guards.protected_namespaces),
    },
    Field {
        section: "prometheus",
        key: "url",
        doc: "base URL of Prometheus; empty: none",
        place: Place::Text(|s| &mut s.prometheus.url),
    },
    Field {
        section: "prometheus",
        key: "token_env",
        doc: "name of the environment variable with the bearer token for Prometheus; empty: none",
        place: Place::Text(|s| &mut s.prometheus.token_env),
    },
    Field {
        section: "prometheus",
        key: "token_file",
        doc: "file with the bearer token for Prometheus, read for each query; empty: none",
        place: Place::Text(|s| &mut s.prometheus.token_file),
    },
    Field {
        section: "prometheus",
        key: "headers",
        doc: "headers of each query, for example { \"X-Scope-OrgID\" = \"team-a\" }; can also be a section [prometheus.headers]",
        place: Place::Pairs(|s| &mut s.prometheus.headers),
    },
    Field {
        section: "prometheus",
        key: "ca_file",
        doc: "CA bundle (PEM) to verify the certificate of Prometheus; empty: the CAs of this machine",
        place: Place::Text(|s| &mut s.prometheus.ca_file),
    },
    Field {
        section: "prometheus",
        key: "insecure",
        doc: "do not verify the certificate of Prometheus",
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
        doc: "window over which rates are computed, in seconds, 10 to 3600; use at least four scrape intervals",
        place: Place::Number(|s| &mut s.prometheus.window_secs, 10, LONGEST_WINDOW_SECS),
    },
    Field {
        section: "prometheus",
        key: "presets",
        doc: "metrics to read traffic from: auto, or names in order of preference, of the built-in presets (`pilothouse config presets`) or of your own ([traffic.presets.NAME])",
        place: Place::Texts(|s| &mut s.prometheus.presets),
    },
    Field {
        section: "logs",
        key: "enabled",
        doc: "follow the logs of unhealthy pods and of recent rollouts",
        place: Place::Flag(|s| &mut s.logs.enabled),
    },
    Field {
        section: "logs",
        key: "max_streams",
        doc: "maximum number of pods whose logs are followed at the same time, 1 to 500",
        place: Place::Number(|s| &mut s.logs.max_streams, 1, 500),
    },
    Field {
        section: "logs",
        key: "memory_mib",
        doc: "maximum memory for log lines in MiB, 1 to 1024",
        place: Place::Number(|s| &mut s.logs.memory_mib, 1, 1024),
    },
];

/// A field's value as TOML.
pub fn show(field: &Field, settings: &mut Settings) -> String {
    match field.place {
        Place::Text(get) => toml::Value::from(get(settings).as_str()).to_string(),
        Place::Flag(get) => get(settings).to_string(),
        Place::Number(get, ..) => get(settings).to_string(),
        Place::Texts(get) => list(get(settings)),
        Place::Pairs(get) => table(get(settings).iter().map(|(k, v)| format!("{} = {}", text(k), text(v)))),
        Place::Lists(get) => table(get(settings).iter().map(|(k, v)| format!("{} = {}", text(k), list(v)))),
    }
}

fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|t| text(t)).collect::<Vec<_>>().join(", "))
}

fn table(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "{}".into() } else { format!("{{ {} }}", lines.join(", ")) }
}

/// Like [`show`], without secrets: the password of a URL and the values of headers are left out.
pub fn show_openly(field: &Field, settings: &mut Settings) -> String {
    const HIDDEN: &str = "…";
    match field.place {
        Place::Text(get) if field.key == "url" => {
            let open = without_credentials(get(settings)).into_owned();
            *get(settings) = open;
        }
        Place::Pairs(get) => get(settings).values_mut().for_each(|value| HIDDEN.clone_into(value)),
        Place::Text(_) | Place::Flag(_) | Place::Number(..) | Place::Texts(_) | Place::Lists(_) => {}
    }
    show(field, settings)
}

/// The example file: every setting with its default. Parsing it gives exactly the defaults.
pub fn example() -> String {
    let mut settings = Settings::default();
    let mut out = String::from(
        "# Pilothouse: every setting with its default. Save this file as $XDG_CONFIG_HOME/pilothouse/config.toml.\n",
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
        "\n[ui.keys]\n# command = [\"key\", …] replaces the command's default keys; `pilothouse keys` lists the commands\n# zoom = [\"z\"]\n",
    );
    out.push_str(&super::presets::example());
    out.push_str(&super::failover::example());
    out.push_str(&super::silence::example());
    out
}
