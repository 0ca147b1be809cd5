//! The table of settings: for each its section, key, documentation, type and field in [`Settings`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pilothouse_core::domain::settings::Settings;
use pilothouse_core::domain::text::without_credentials;
use pilothouse_core::domain::traffic::{LONGEST_WINDOW_SECS, Policy};

/// The type of a setting's value, with a function that returns its field in [`Settings`].
pub enum Place {
    Text(fn(&mut Settings) -> &mut String),
    Flag(fn(&mut Settings) -> &mut bool),
    /// With the smallest and the largest valid value.
    Number(fn(&mut Settings) -> &mut u32, u32, u32),
    Texts(fn(&mut Settings) -> &mut Vec<String>),
    /// A table whose values are texts.
    Pairs(fn(&mut Settings) -> &mut BTreeMap<String, String>),
    /// A table of balancing policies.
    Policies(fn(&mut Settings) -> &mut BTreeMap<String, Policy>),
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

/// The settings of a server's address and of its credentials, which are the same for each server.
macro_rules! server {
    ($section:literal, $settings:ident, $product:literal) => {
        &[
            Field {
                section: $section,
                key: "url",
                doc: concat!("base URL of ", $product, "; empty: a Service of the cluster"),
                place: Place::Text(|s| &mut s.$settings.server.url),
            },
            Field {
                section: $section,
                key: "service",
                doc: concat!("Service of ", $product, " in the cluster, read through the API server: NAMESPACE/NAME:PORT or NAMESPACE/NAME:PORT/PREFIX (https:NAME:PORT for HTTPS); empty: none"),
                place: Place::Text(|s| &mut s.$settings.server.service),
            },
            Field {
                section: $section,
                key: "discover",
                doc: concat!("if url and service are empty, look for ", $product, " among the cluster's Services"),
                place: Place::Flag(|s| &mut s.$settings.server.discover),
            },
            Field {
                section: $section,
                key: "token_env",
                doc: "name of the environment variable with the bearer token for the URL; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.token_env),
            },
            Field {
                section: $section,
                key: "token_file",
                doc: "file with the bearer token for the URL, read for each query; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.token_file),
            },
            Field {
                section: $section,
                key: "username",
                doc: "name for basic authentication at the URL; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.username),
            },
            Field {
                section: $section,
                key: "password_env",
                doc: "environment variable that has the password for username; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.password_env),
            },
            Field {
                section: $section,
                key: "password_file",
                doc: "file with its password, read for each query; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.password_file),
            },
            Field {
                section: $section,
                key: "headers",
                doc: concat!("headers of each query, for example { \"X-Scope-OrgID\" = \"team-a\" }; can also be a section [", $section, ".headers]"),
                place: Place::Pairs(|s| &mut s.$settings.server.headers),
            },
            Field {
                section: $section,
                key: "ca_file",
                doc: concat!("CA bundle (PEM) to verify the certificate of ", $product, "; empty: the CAs of this machine"),
                place: Place::Text(|s| &mut s.$settings.server.ca_file),
            },
            Field {
                section: $section,
                key: "cert_file",
                doc: "client certificate (PEM) for the URL, with key_file; both are read for each query; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.cert_file),
            },
            Field {
                section: $section,
                key: "key_file",
                doc: "key (PEM) of the client certificate; empty: none",
                place: Place::Text(|s| &mut s.$settings.server.key_file),
            },
            Field {
                section: $section,
                key: "insecure",
                doc: concat!("do not verify the certificate of ", $product),
                place: Place::Flag(|s| &mut s.$settings.server.insecure),
            },
            Field {
                section: $section,
                key: "proxy_url",
                doc: "proxy for the URL (http://, https:// or socks5://), for every host; empty: HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
                place: Place::Text(|s| &mut s.$settings.server.proxy_url),
            },
        ]
    };
}

/// The settings of a log store, besides those of its address.
macro_rules! log_server {
    ($section:literal, $settings:ident, $query:literal) => {
        &[
            Field {
                section: $section,
                key: "poll_secs",
                doc: "seconds between queries for new lines, 2 to 300",
                place: Place::Number(|s| &mut s.$settings.poll_secs, 2, 300),
            },
            Field {
                section: $section,
                key: "query",
                doc: concat!(
                    "the lines to read, for example ",
                    $query,
                    "; empty: error lines of all streams"
                ),
                place: Place::Text(|s| &mut s.$settings.query),
            },
            Field {
                section: $section,
                key: "since_mins",
                doc: "how far back the first query reads, in minutes, 1 to 1440",
                place: Place::Number(|s| &mut s.$settings.since_mins, 1, 1440),
            },
            Field {
                section: $section,
                key: "limit",
                doc: "maximum number of lines of one query, 100 to 100000; the server can have a lower limit",
                place: Place::Number(|s| &mut s.$settings.limit, 100, 100_000),
            },
        ]
    };
}

/// The tables of settings, in the order of the example file.
const TABLES: [&[Field]; 10] = [
    SCREEN,
    server!("prometheus", prometheus, "Prometheus"),
    PROMETHEUS,
    server!("alertmanager", alertmanager, "Alertmanager"),
    ALERTMANAGER,
    REST,
    server!("loki", loki, "Loki"),
    log_server!("loki", loki, "{namespace=\"shop\"} |= \"error\""),
    server!("victorialogs", victorialogs, "VictoriaLogs"),
    log_server!("victorialogs", victorialogs, "kubernetes.pod_namespace:shop error"),
];

/// Returns every setting, except for the key bindings (`[ui.keys]`), sets of clusters, presets, failover plans, service level
/// objectives, HAProxies and silences, which have tables of their own.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    TABLES.into_iter().flatten()
}

const SCREEN: &[Field] = &[
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
        key: "blocks",
        doc: "draw plots with half blocks, for fonts without braille",
        place: Place::Flag(|s| &mut s.ui.blocks),
    },
    Field {
        section: "ui",
        key: "mouse",
        doc: "use the mouse to select rows, scroll and press keys; if false, the terminal uses it to select text",
        place: Place::Flag(|s| &mut s.ui.mouse),
    },
    Field {
        section: "ui",
        key: "links",
        doc: "make runbooks and dashboards hyperlinks (OSC 8), in terminals that are known to support them and not inside tmux or screen",
        place: Place::Flag(|s| &mut s.ui.links),
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
];

const PROMETHEUS: &[Field] = &[
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
        section: "prometheus",
        key: "graph_url",
        doc: "URL of a query's graph, with $query, $range (1h) and, in milliseconds, $from and $to, for example https://prometheus.example/graph?g0.tab=0&g0.expr=$query&g0.range_input=$range; Grafana's Explore has such a URL too; empty: none",
        place: Place::Text(|s| &mut s.prometheus.graph_url),
    },
];

const ALERTMANAGER: &[Field] = &[
    Field {
        section: "alertmanager",
        key: "poll_secs",
        doc: "seconds between polls, 5 to 300",
        place: Place::Number(|s| &mut s.alertmanager.poll_secs, 5, 300),
    },
    Field {
        section: "alertmanager",
        key: "rules",
        doc: "if no Alertmanager is found, read which alerts fire from the alerting rules of Prometheus",
        place: Place::Flag(|s| &mut s.alertmanager.rules),
    },
    Field {
        section: "alertmanager",
        key: "external_url",
        doc: "URL under which people open the Alertmanager, for links to alerts; empty: that of url",
        place: Place::Text(|s| &mut s.alertmanager.external_url),
    },
];

const REST: &[Field] = &[
    Field {
        section: "traffic",
        key: "balancing",
        doc: "how requests are balanced, for example { \"shop/checkout\" = \"least connections\", \"shop/*\" = \"round robin\" }, instead of what was discovered; can also be a section [traffic.balancing]",
        place: Place::Policies(|s| &mut s.traffic.balancing),
    },
    Field {
        section: "traffic",
        key: "grafana_url",
        doc: "URL of a Service's dashboard, with $namespace and $service for its names, for example https://grafana.example/d/abc?var-namespace=$namespace&var-service=$service; empty: none",
        place: Place::Text(|s| &mut s.traffic.grafana_url),
    },
    Field {
        section: "history",
        key: "memory_mib",
        doc: "maximum memory for the history of each cluster in MiB, which the timeline and the movable clock use, 0 to 256; 0 keeps no history, and the trends of Nodes and Traffic begin when the console starts",
        place: Place::Number(|s| &mut s.history.memory_mib, 0, 256),
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
    Field {
        section: "logs",
        key: "masks",
        doc: "parts of error lines that are replaced by <name> before lines are grouped, for example { order = 'ORD-[A-Z]+' }; can also be a section [logs.masks]",
        place: Place::Pairs(|s| &mut s.logs.masks),
    },
    Field {
        section: "logs",
        key: "unmasked",
        doc: "words that are not replaced before grouping, so lines that differ in one of them stay in separate groups, for example [\"502\", \"503\"]",
        place: Place::Texts(|s| &mut s.logs.unmasked),
    },
    Field {
        section: "logs",
        key: "trace_url",
        doc: "URL of a trace; {trace_id} is replaced by the line's field trace_id, for example https://tempo.example/trace/{trace_id}; empty: none",
        place: Place::Text(|s| &mut s.logs.trace_url),
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
        Place::Policies(get) => {
            table(get(settings).iter().map(|(k, v)| format!("{} = {}", text(k), text(v.as_str()))))
        }
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

/// Like [`show`], without secrets: the passwords of URLs and the values of headers are left out.
pub fn show_openly(field: &Field, settings: &mut Settings) -> String {
    const HIDDEN: &str = "…";
    match field.place {
        Place::Text(get) if field.key.ends_with("url") => {
            let open = without_credentials(get(settings)).into_owned();
            *get(settings) = open;
        }
        Place::Pairs(get) if field.key == "headers" => {
            for value in get(settings).values_mut() {
                HIDDEN.clone_into(value);
            }
        }
        Place::Text(_)
        | Place::Flag(_)
        | Place::Number(..)
        | Place::Texts(_)
        | Place::Pairs(_)
        | Place::Policies(_)
        | Place::Lists(_) => {}
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
    for field in fields() {
        if field.section != section {
            section = field.section;
            write!(out, "\n[{section}]\n").unwrap_or_default();
        }
        let value = show(field, &mut settings);
        write!(out, "# {}\n{} = {value}\n", field.doc, field.key).unwrap_or_default();
    }
    out.push_str(
        "\n[ui.keys]\n# command = [\"key\", …]: the command gets these keys instead of its defaults; if a key is the default of another\n# command, that command loses it; `pilothouse keys` lists the commands and their keys\n# zoom = [\"z\"]\n",
    );
    out.push_str(&super::clusters::example());
    out.push_str(&super::presets::example());
    out.push_str(&super::failover::example());
    out.push_str(&super::slo::example());
    out.push_str(&super::haproxy::example());
    out.push_str(&super::silence::example());
    out
}
