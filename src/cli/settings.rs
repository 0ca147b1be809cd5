//! Flags that go over the settings of the config file: what each sets, and which commands' help shows it.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use pilothouse_core::domain::settings::Settings;

/// Which commands a flag means something to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The screen alone.
    Screen,
    /// The screen and the commands that look at a cluster.
    Looking,
    /// Those that change a cluster as well.
    Every,
}

/// A flag that sets a setting.
#[derive(Debug)]
pub struct Flag {
    /// Its id in the grammar.
    pub id: &'static str,
    /// The setting, as `config print` names it.
    pub key: &'static str,
    pub for_: Use,
}

/// THE table of these flags.
pub const FLAGS: &[Flag] = &[
    Flag { id: "theme", key: "ui.theme", for_: Use::Screen },
    Flag { id: "read_only", key: "guards.read_only", for_: Use::Every },
    Flag { id: "prometheus", key: "prometheus.url", for_: Use::Every },
    Flag { id: "log_file", key: "logs.files", for_: Use::Looking },
];

/// What `--prometheus` begins with if it names a Service, and the setting that it sets then.
const SERVICE: &str = "svc/";
const SERVICE_KEY: &str = "prometheus.service";

/// The flags as they were given.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingFlags {
    /// Theme: default, light, mono, or a file's name in the themes folder
    #[arg(long, global = true, value_name = "NAME")]
    theme: Option<String>,
    /// Send only reads and access reviews
    #[arg(long, global = true)]
    read_only: bool,
    /// Base URL of a Prometheus, or svc/NAMESPACE/NAME:PORT for a Service of the cluster; overrides the config
    #[arg(long, global = true, value_name = "URL", env = "PILOTHOUSE_PROMETHEUS")]
    prometheus: Option<String>,
    /// A log file that is followed like the logs of pods, by its name as tail -F does (may be given several times)
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Vec<PathBuf>,
    /// What was given, and by whom.
    #[arg(skip)]
    given: Vec<Given>,
}

/// A setting that was given outside the config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub key: &'static str,
    pub by: By,
}

/// Where it was given: `--prometheus`, or `PILOTHOUSE_PROMETHEUS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Flag(String),
    Environment(String),
}

impl SettingFlags {
    /// Sets what was given.
    pub fn over(&self, settings: &mut Settings) {
        if let Some(theme) = &self.theme {
            settings.ui.theme.clone_from(theme);
        }
        settings.guards.read_only |= self.read_only;
        if let Some(given) = &self.prometheus {
            let (url, service) = match given.strip_prefix(SERVICE) {
                Some(service) => ("", service),
                None => (given.as_str(), ""),
            };
            url.clone_into(&mut settings.prometheus.server.url);
            service.clone_into(&mut settings.prometheus.server.service);
        }
        settings.logs.files.clone_from(&self.log_file);
    }

    pub fn given(&self) -> &[Given] {
        &self.given
    }

    /// Notes which of the flags were given, and whether the command line or the environment gave them.
    pub(super) fn note(&mut self, grammar: &Command, matches: &ArgMatches) {
        let by = |flag: &Flag| {
            let arg = grammar.get_arguments().find(|arg| arg.get_id() == flag.id)?;
            match matches.value_source(flag.id)? {
                ValueSource::CommandLine => Some(By::Flag(format!("--{}", arg.get_long()?))),
                ValueSource::EnvVariable => Some(By::Environment(arg.get_env()?.to_str()?.to_owned())),
                _ => None,
            }
        };
        let is_service = self.prometheus.as_ref().is_some_and(|given| given.starts_with(SERVICE));
        let key = |flag: &Flag| if flag.id == "prometheus" && is_service { SERVICE_KEY } else { flag.key };
        self.given = FLAGS.iter().filter_map(|flag| Some(Given { key: key(flag), by: by(flag)? })).collect();
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_of_the_table_is_one_of_the_grammar() {
        let grammar = Cli::command();
        for flag in FLAGS {
            assert!(grammar.get_arguments().any(|arg| arg.get_id() == flag.id), "{}", flag.id);
        }
    }

    #[test]
    fn a_flag_sets_its_setting_wherever_it_stands() {
        for line in [
            &["pilothouse", "--prometheus", "http://p", "--read-only", "config", "print"][..],
            &["pilothouse", "config", "print", "--prometheus", "http://p", "--read-only"],
        ] {
            let mut grammar = Cli::command();
            let matches = grammar.try_get_matches_from_mut(line).unwrap();
            let mut flags = Cli::from_arg_matches(&matches).unwrap().global.settings;
            flags.note(&grammar, &matches);
            let mut settings = Settings::default();
            flags.over(&mut settings);
            assert_eq!(
                (
                    settings.prometheus.server.url.as_str(),
                    settings.guards.read_only,
                    settings.ui.theme.as_str()
                ),
                ("http://p", true, "default")
            );
            let given = [("guards.read_only", "--read-only"), ("prometheus.url", "--prometheus")];
            let given = given.map(|(key, flag)| Given { key, by: By::Flag(flag.into()) });
            assert_eq!(flags.given(), given);
        }
    }

    #[test]
    fn a_prometheus_can_be_a_service_which_replaces_a_url() {
        let mut grammar = Cli::command();
        let line = ["pilothouse", "--prometheus", "svc/monitoring/prometheus:9090", "doctor"];
        let matches = grammar.try_get_matches_from_mut(line).unwrap();
        let mut flags = Cli::from_arg_matches(&matches).unwrap().global.settings;
        flags.note(&grammar, &matches);
        let mut settings = Settings::default();
        settings.prometheus.server.url = "http://of-the-file".into();
        flags.over(&mut settings);
        let set = (settings.prometheus.server.url.as_str(), settings.prometheus.server.service.as_str());
        assert_eq!(set, ("", "monitoring/prometheus:9090"));
        assert_eq!(flags.given()[0].key, "prometheus.service");
    }
}
