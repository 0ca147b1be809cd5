//! The command `pilothouse config`, and the errors in a config file that only the rooms that use a setting can find.

use pilothouse_core::domain::preset;
use pilothouse_core::domain::settings::{ClusterSet, ServerSettings, Settings};
use reqwest::Url;

use super::{Start, appearance, said};
use crate::cli::ConfigCommand;
use crate::config::check::nearest;
use crate::config::{self, Home, Loaded, Origin};
use crate::report::exit;
use crate::report::headless::tell;
use crate::source::server::{self, Kind};
use crate::source::{alerts, log_server, prometheus};
use crate::ui::keymap::Keymap;
use crate::ui::pane;
use crate::ui::theme::parse_color;
use crate::wire::proxy::Proxies;

/// Adds the errors in the keys, the columns, the theme, the URL and the presets of the file.
pub(super) fn judge(loaded: &mut Loaded, home: &Home) {
    let (_, faults) = Keymap::new(&loaded.settings.ui.keys);
    for fault in faults {
        loaded.report(&format!("ui.keys.{}", fault.command), &fault.what, fault.hint);
        // a binding that cannot be read may have been meant to disable the key of an action
        loaded.unsafe_to_write = true;
    }
    for fault in pane::chosen(&loaded.settings.ui.columns).1 {
        let known = fault.known.iter().map(String::as_str);
        let hint = if fault.known.is_empty() { String::new() } else { nearest(&fault.name, known) };
        loaded.report(&format!("ui.columns.{}", fault.pane), &fault.what, &hint);
    }
    if let Err(why) = appearance::named(home, &loaded.settings.ui.theme) {
        loaded.report("ui.theme", &why, "");
    }
    for (kind, get) in SERVERS {
        judge_server(loaded, kind, &get(&loaded.settings).clone());
    }
    for set in loaded.settings.clusters.clone() {
        judge_set(loaded, &set);
    }
    for preset in loaded.settings.prometheus.presets.clone() {
        let all = preset::all(&loaded.settings.prometheus.own_presets);
        let known = || all.iter().map(|one| one.name.as_str()).chain([preset::AUTO]);
        if !known().any(|name| name == preset) {
            let what = format!("there is no preset {preset:?}");
            let hint = nearest(&preset, known());
            loaded.report("prometheus.presets", &what, &hint);
        }
    }
}

/// A server with settings of its own.
type ServerOf = (&'static Kind, fn(&Settings) -> &ServerSettings);

/// The servers whose addresses and credentials are settings.
const SERVERS: [ServerOf; 4] = [
    (&prometheus::KIND, |s| &s.prometheus.server),
    (&alerts::KIND, |s| &s.alertmanager.server),
    (&log_server::LOKI.kind, |s| &s.loki.server),
    (&log_server::VICTORIA_LOGS.kind, |s| &s.victorialogs.server),
];

/// Adds the errors in the settings of the connection to a server.
fn judge_server(loaded: &mut Loaded, kind: &Kind, settings: &ServerSettings) {
    let section = kind.section;
    let key = |key: &str| format!("{section}.{key}");
    if let Err(why) = url(&settings.url) {
        loaded.report(&key("url"), &why, &format!("for example http://{section}.example:9090"));
    }
    if !settings.service.is_empty() {
        if let Err(why) = server::service(&settings.service) {
            loaded.report(&key("service"), &why, &format!("for example {}", kind.example));
        }
        if !settings.url.is_empty() {
            let what = format!("{section}.url is set too");
            loaded.report(&key("service"), &what, "only one of them can be read");
        }
    }
    let pairs = [
        ("cert_file", &settings.cert_file, "key_file", &settings.key_file),
        ("key_file", &settings.key_file, "cert_file", &settings.cert_file),
    ];
    for (name, value, other, needed) in pairs {
        if !value.is_empty() && needed.is_empty() {
            loaded.report(&key(name), &format!("{section}.{other} is missing"), "");
        }
    }
    let passwords = [("password_env", &settings.password_env), ("password_file", &settings.password_file)];
    for (name, value) in passwords {
        if !value.is_empty() && settings.username.is_empty() {
            loaded.report(&key(name), &format!("{section}.username is missing"), "");
        }
    }
    let tokens = [&settings.token_env, &settings.token_file];
    if !settings.username.is_empty() && tokens.iter().any(|token| !token.is_empty()) {
        loaded.report(&key("username"), "there is a token too", "only one of them can be sent");
    }
    if !settings.proxy_url.is_empty()
        && let Err(why) = Proxies::always(&settings.proxy_url)
    {
        loaded.report(&key("proxy_url"), &why, "for example http://proxy.example:3128");
    }
}

/// Adds the errors in the colour and the addresses of a set of clusters.
fn judge_set(loaded: &mut Loaded, set: &ClusterSet) {
    let key = format!("clusters.{}", set.name);
    if !set.colour.is_empty() && parse_color(&set.colour).is_none() {
        let what = format!("color: {:?} is not a colour", set.colour);
        loaded.report(&key, &what, "for example blue, bright-cyan, 208 or #5fafff");
    }
    let servers = [
        ("prometheus", &set.prometheus),
        ("alertmanager", &set.alertmanager),
        ("loki", &set.loki),
        ("victorialogs", &set.victorialogs),
    ];
    for (server, urls) in servers {
        for (context, text) in urls {
            if let Err(why) = url(text) {
                loaded.report(
                    &key,
                    &format!("{server} of {context:?}: {why}"),
                    "for example http://one.example:9090",
                );
            }
        }
    }
}

/// Checks that the URL is empty or can belong to an HTTP server.
fn url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let url = Url::parse(text).map_err(|e| format!("this is no URL: {e}"))?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(format!("{other} is not http or https")),
    }
}

impl Start {
    /// Runs `pilothouse config`.
    pub(super) fn config(&self, what: &ConfigCommand) -> u8 {
        match what {
            ConfigCommand::Check => {
                if self.loaded.problems.is_empty() {
                    if self.loaded.path.as_os_str().is_empty() {
                        return said(Ok("there is no home directory, so no config is read: the defaults apply; set HOME or XDG_CONFIG_HOME, or give --config FILE".into()));
                    }
                    let there = if self.loaded.path.exists() {
                        "no problems"
                    } else {
                        "does not exist: the defaults apply"
                    };
                    let path = self.loaded.path.display();
                    let lines = std::iter::once(format!("{path}: {there}"));
                    let remarks = self.remarks().into_iter().map(|words| format!("{path}: {words}"));
                    return said(Ok(lines.chain(remarks).collect::<Vec<_>>().join("\n")));
                }
                self.problems()
            }
            ConfigCommand::Contexts => said(self.nameable().map(|names| names.join("\n"))),
            ConfigCommand::Example => said(Ok(config::fields::example())),
            ConfigCommand::Columns => said(Ok(pane::columns_markdown())),
            ConfigCommand::Presets { markdown: true } => said(Ok(config::presets::markdown())),
            ConfigCommand::Presets { markdown: false } => {
                said(Ok(config::presets::print(&self.settings.prometheus.own_presets)))
            }
            ConfigCommand::Print => {
                let mut settings = self.settings.clone();
                let mut out = String::new();
                for field in config::fields::fields() {
                    let key = format!("{}.{}", field.section, field.key);
                    let origin = self.loaded.origins.iter().rev().find(|(k, _)| *k == key).map(|(_, o)| o);
                    let origin = origin.unwrap_or(&Origin::Default);
                    out.push_str(&format!(
                        "{key} = {}  # {origin}\n",
                        config::fields::show_openly(field, &mut settings)
                    ));
                }
                for plan in &settings.failover {
                    let file = self.loaded.path.display();
                    let of = if plan.in_context.is_empty() { "" } else { " in context " };
                    out.push_str(&format!(
                        "failover.{}: {}{of}{}  # {file}\n",
                        plan.name, plan.kind, plan.in_context
                    ));
                }
                for set in &settings.clusters {
                    let file = self.loaded.path.display();
                    out.push_str(&format!("clusters.{}: {}  # {file}\n", set.name, set.contexts.join(", ")));
                }
                for silence in &settings.silences {
                    let file = self.loaded.path.display();
                    out.push_str(&format!("silence: {silence}  # {file}\n"));
                }
                match said(Ok(out)) {
                    exit::DONE if !self.loaded.problems.is_empty() => self.problems(),
                    code => code,
                }
            }
        }
    }

    /// Returns the default keys that keys of the config replace.
    pub(super) fn replaced(&self) -> Vec<String> {
        let (keymap, _) = Keymap::new(&self.settings.ui.keys);
        keymap.replaced().iter().map(|one| format!("ui.keys: {one}")).collect()
    }

    /// Prints the errors in the config file.
    fn problems(&self) -> u8 {
        for problem in &self.loaded.problems {
            tell(&problem.to_string());
        }
        exit::USAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> (Vec<String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let mut loaded = crate::config::load(&path, true);
        judge(&mut loaded, &Home::default());
        let words = |p: &crate::config::Problem| format!("{}: {}", p.line.unwrap_or_default(), p.what);
        (loaded.problems.iter().map(words).collect(), loaded.unsafe_to_write)
    }

    #[test]
    fn every_fault_has_its_line() {
        for (text, problem, read_only) in [
            ("[ui.keys]\nfoo = [\"x\"]\n", "2: ui.keys.foo: there is no such command", true),
            ("[ui.keys]\n\nzoom = [\"zz\"]\n", "3: ui.keys.zoom: `zz` is not a key", true),
            ("[ui.keys]\nup = []\n", "2: ui.keys.up: there is no key in it", true),
            (
                "[ui.keys]\ndrain = [\"d\"]\n",
                "2: ui.keys.drain: d may not start an action that changes the cluster",
                true,
            ),
            (
                "[ui.keys]\nzoom = [\"f9\"]\nfocus-nodes = [\"f9\"]\n",
                "3: ui.keys.focus-nodes: F9 is bound to both `focus-nodes` and `zoom` in everywhere",
                true,
            ),
            (
                "[ui.columns]\npods = [\"pod\"]\nnodes = [\"node\", \"stat\"]\n",
                "3: ui.columns.nodes: there is no column \"stat\"",
                false,
            ),
            (
                "[ui]\ncolumns = { knots = [\"node\"] }\n",
                "2: ui.columns.knots: there is no pane of that name with columns",
                false,
            ),
            ("[ui.columns]\nnodes = \"node\"\n", "1: ui.columns must be a table of lists of texts", false),
            ("[ui]\ntheme = \"nope\"\n", "2: ui.theme: ", false),
            ("[prometheus]\nurl = \"not a url\"\n", "2: prometheus.url: this is no URL: ", false),
            ("[prometheus]\nurl = \"ftp://x\"\n", "2: prometheus.url: ftp is not http or https", false),
            (
                "[prometheus]\nservice = \"monitoring/prometheus\"\n",
                "2: prometheus.service: \"monitoring/prometheus\" is not NAMESPACE/NAME:PORT",
                false,
            ),
            (
                "[prometheus]\nurl = \"http://p\"\nservice = \"a/b:1\"\n",
                "3: prometheus.service: prometheus.url is set too",
                false,
            ),
            (
                "[prometheus]\ncert_file = \"c\"\n",
                "2: prometheus.cert_file: prometheus.key_file is missing",
                false,
            ),
            (
                "[prometheus]\nkey_file = \"c\"\n",
                "2: prometheus.key_file: prometheus.cert_file is missing",
                false,
            ),
            (
                "[prometheus]\npassword_env = \"P\"\n",
                "2: prometheus.password_env: prometheus.username is missing",
                false,
            ),
            (
                "[prometheus]\nusername = \"u\"\ntoken_env = \"T\"\n",
                "2: prometheus.username: there is a token too",
                false,
            ),
            (
                "[clusters.eu]\ncontexts = [\"a\"]\ncolor = \"blau\"\n",
                "1: clusters.eu: color: \"blau\" is not a colour",
                false,
            ),
            (
                "[clusters.eu]\ncontexts = [\"a\"]\nloki = { a = \"ftp://l\" }\n",
                "1: clusters.eu: loki of \"a\": ftp is not http or https",
                false,
            ),
            ("[prometheus]\nproxy_url = \"me:secret@p\"\n", "2: prometheus.proxy_url: \"", false),
            (
                "[prometheus]\npresets = [\"haprxy\"]\n",
                "2: prometheus.presets: there is no preset \"haprxy\"",
                false,
            ),
        ] {
            let (problems, unsafe_to_write) = judged(text);
            assert!(matches!(problems.as_slice(), [p] if p.starts_with(problem)), "{text}: {problems:?}");
            assert_eq!(unsafe_to_write, read_only, "{text}");
        }
    }

    #[test]
    fn what_is_right_is_no_problem() {
        let text = "[ui]\ntheme = \"light\"\n[ui.keys]\nzoom = [\"w\"]\n[ui.columns]\nnodes = [\"node\", \"cpu\"]\n[prometheus]\nurl = \"https://p.example/prom\"\npresets = [\"auto\"]\n";
        assert_eq!(judged(text), (Vec::new(), false));
        let replaces = "[ui.keys]\nzoom = [\"1\", \"ctrl-t\"]\n";
        assert_eq!(judged(replaces), (Vec::new(), false), "a default gives way, and the console may write");
        assert_eq!(judged(&crate::config::fields::example()), (Vec::new(), false));
    }
}
