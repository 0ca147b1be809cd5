//! The flags of `logs`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use pilothouse_core::domain::log::Level;

use super::Look;

/// Whose logs are read, and which of their lines are printed.
#[derive(Args, Clone, Debug)]
pub struct LogFlags {
    /// Workloads, pods, Services or nodes: deploy/api, svc/web, node/n1, or a name; - reads standard input and no cluster. Without any: the pods in trouble, or all of -n, -l, --node or -A
    #[arg(value_name = "WORKLOAD")]
    pub objects: Vec<String>,
    /// Only pods with these labels, like kubectl's -l
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only pods on this node; can be repeated
    #[arg(long, value_name = "NODE")]
    pub node: Vec<String>,
    /// Only this container; can be repeated
    #[arg(short = 'c', long, value_name = "NAME")]
    pub container: Vec<String>,
    /// Only lines of this level or a higher one
    #[arg(long, value_name = "LEVEL", value_parser = PossibleValuesParser::new(LEVELS.map(|(name, _)| name)).map(|name| level(&name)))]
    pub level: Option<Level>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE", allow_hyphen_values = true)]
    pub grep: Option<String>,
    /// Only lines that meet all terms, as in the console: level>=warn pod:api-* -"health check" field.status>=500
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// Only lines that are not older than this
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    pub since: Option<Duration>,
    /// Number of newest lines of each container [default: 1000 for one pod, 200 for several pods, all lines if --since is set]
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Go on with the lines that arrive, also of pods that join
    #[arg(short = 'f', long, conflicts_with = "previous")]
    pub follow: bool,
    /// The logs of restarted containers from before their last restart
    #[arg(short = 'p', long)]
    pub previous: bool,
    /// Count lines by what they say, instead of printing them
    #[arg(long)]
    pub group: bool,
    /// Print the time of each line
    #[arg(long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub look: Look,
}

/// The word for standard input.
pub const INPUT: &str = "-";
/// The options that mean something for standard input, or at least nothing else than they say.
const OF_INPUT: [&str; 14] = [
    "objects",
    "level",
    "grep",
    "filter",
    "since",
    "tail",
    "follow",
    "group",
    "timestamps",
    "output",
    "config",
    "color",
    "read_only",
    "theme",
];

impl LogFlags {
    pub fn reads_input(&self) -> bool {
        self.objects.iter().any(|object| object == INPUT)
    }
}

/// Refuses the options that need a cluster if standard input is read. `matches` are those of `logs`.
pub(super) fn check_input(grammar: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(command) = grammar.find_subcommand_mut("logs") else { return Ok(()) };
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let given = |id: &str| matches.ids().any(|known| known == id) && is_given(id);
    let wrong: Vec<String> = command
        .get_arguments()
        .filter(|arg| !OF_INPUT.contains(&arg.get_id().as_str()) && given(arg.get_id().as_str()))
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let hint = if given("container") { "; lines of one container: --filter container:NAME" } else { "" };
    let s = if wrong.len() == 1 { "s" } else { "" };
    let why =
        format!("{} need{s} a cluster, but - reads standard input and no cluster{hint}", wrong.join(", "));
    Err(command.error(ErrorKind::ArgumentConflict, why))
}

const LEVELS: [(&str, Level); 6] = [
    ("trace", Level::Trace),
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warn),
    ("error", Level::Error),
    ("fatal", Level::Fatal),
];

fn level(name: &str) -> Level {
    LEVELS.iter().find(|(known, _)| *known == name).map_or(Level::Info, |(_, level)| *level)
}
