//! The command line. Scripts rely on its names, so these do not change.

pub mod access;
pub mod action;
pub mod completions;
#[cfg(feature = "demo")]
pub mod demo;
pub mod drain;
pub mod get;
pub mod help;
pub mod logs;
pub mod rbac;
pub mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pilothouse_core::facts::world::Severity;

pub use self::action::{ActionCommand, ActionFlags};

/// The on-call engineer's terminal console for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "pilothouse", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Context of the kubeconfig, a set of clusters from the config, or a glob such as 'eu-*'; can be repeated, the first is in front
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Vec<String>,
    /// Kubeconfig file, like kubectl's --kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub access: access::Access,
    /// Read only this namespace; can be repeated, or a list separated by commas
    #[arg(
        short,
        long,
        global = true,
        value_name = "NS",
        value_delimiter = ',',
        conflicts_with = "all_namespaces"
    )]
    pub namespace: Vec<String>,
    /// Read all namespaces (the default)
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Config file instead of $XDG_CONFIG_HOME/pilothouse/config.toml
    #[arg(long, global = true, value_name = "FILE", env = "PILOTHOUSE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: settings::SettingFlags,
    /// Draw borders and glyphs in ASCII
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Colours of the screen
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Record what the console sees to a new file, for --replay and `pilothouse report`
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub record: Option<PathBuf>,
    /// Show a recording in place of a cluster
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// How many times as fast as it was recorded a recording is shown
    #[arg(long, value_name = "N", requires = "replay", default_value = "1", value_parser = speed)]
    pub speed: f64,
    #[cfg(feature = "demo")]
    #[command(flatten)]
    pub demo: demo::DemoFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Never,
    #[value(name = "16")]
    Ansi,
    #[value(name = "256")]
    Indexed,
    True,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// The lowest severity of a finding that makes the exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Critical,
    Warning,
    Info,
}

impl From<FailOn> for Severity {
    fn from(from: FailOn) -> Self {
        match from {
            FailOn::Critical => Self::Critical,
            FailOn::Warning => Self::Warning,
            FailOn::Info => Self::Info,
        }
    }
}

/// The options of the commands that print what was read.
#[derive(Args, Clone, Debug)]
pub struct Look {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Wait at most this long until all sources are complete
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub wait: std::time::Duration,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print nodes, services, autoscalers, workloads and errors
    Snapshot {
        #[command(flatten)]
        look: Look,
        /// Print a new document, in one line, after each change
        #[arg(long)]
        watch: bool,
    },
    /// Print the findings and recent changes, as text for a chat
    Why {
        #[command(flatten)]
        look: Look,
        /// Exit with 1 if a finding has at least this severity; silenced findings do not count
        #[arg(long, value_enum, value_name = "SEVERITY")]
        fail_on: Option<FailOn>,
    },
    /// Print the rows of a pane once
    Get(get::GetFlags),
    /// Print log lines of pods, or of standard input
    Logs(logs::LogFlags),
    /// Check each source, each permission and the config
    Doctor {
        #[command(flatten)]
        look: Look,
    },
    /// Print a ClusterRole with every permission that is used, as YAML for kubectl apply
    Rbac(rbac::RbacFlags),
    #[command(flatten)]
    Action(ActionCommand),
    /// Show the journal of this user's actions
    Journal {
        #[command(subcommand)]
        what: JournalCommand,
    },
    /// Print the report of a recording: its incident, timeline, actions and error groups
    Report {
        /// The recording, from --record
        file: PathBuf,
        /// Output format; text is Markdown
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Serve a simulated cluster (Kubernetes, Prometheus, Alertmanager, Loki) on 127.0.0.1 until interrupted
    #[cfg(feature = "demo")]
    Sim(demo::SimFlags),
    /// Check or print the configuration
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// List every key and what it does
    Keys {
        /// Print the README's table
        #[arg(long)]
        markdown: bool,
    },
    /// List the available themes
    Themes,
    /// Print a completion script
    Completions {
        /// The shell that the script is for
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
}

#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// List the actions, one line each
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show one action with all its steps
    Show {
        /// Id of the action, as in `journal list`
        id: String,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every problem of the file; exit status 2 if there is one
    Check,
    /// Print every setting, its value and where the value comes from
    Print,
    /// Print the example file: every setting with its default
    Example,
    /// What --context takes: each context of the kubeconfig and each set of the config, one a line
    Contexts,
    /// The columns that each pane has, for [ui.columns]
    Columns,
    /// The presets of metrics that traffic is read from, as sections of the file
    Presets {
        /// Print the README's table
        #[arg(long)]
        markdown: bool,
    },
}

/// Parses a length of time. Nothing can be read in no time, so it is longer than 0.
pub(crate) fn time(text: &str) -> Result<std::time::Duration, String> {
    const USE: &str = "use 30s, 15m, 2h or 1d";
    let time = humantime::parse_duration(text).map_err(|_| USE.to_owned())?;
    if time.is_zero() { Err(format!("the time must be longer than 0: {USE}")) } else { Ok(time) }
}

/// Parses a speed.
fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1000.0).contains(&speed) { Ok(speed) } else { Err("use a number from 0.1 to 1000".into()) }
}

/// Parses a whole number. The error says what is wrong with the text.
pub(crate) fn number<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    let number: i128 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    T::try_from(number).map_err(|_| format!("{number} is out of range"))
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::plan::DrainOptions;

    use super::*;

    #[test]
    fn the_table_of_arguments_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn drain_takes_kubectls_flags() {
        let cli = Cli::try_parse_from([
            "pilothouse",
            "drain",
            "n1",
            "n2",
            "--force",
            "--grace-period=-1",
            "--timeout=0",
            "--dry-run=server",
            "-o",
            "json",
        ])
        .unwrap();
        let Some(Command::Action(ActionCommand::Drain { nodes, drain, action, .. })) = cli.command else {
            panic!("not a drain")
        };
        assert_eq!(nodes, ["n1", "n2"]);
        assert!(action.is_dry_run());
        assert_eq!(DrainOptions::from(drain), DrainOptions { force: true, ..DrainOptions::default() });
        let cli = Cli::try_parse_from(["pilothouse", "drain", "n1", "--dry-run"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Action(a)) if a.flags().is_dry_run()));
    }
}
