//! The flags of `logs`.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
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
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub since: Option<Duration>,
    /// The newest lines of each container [default: 1000 of one pod, 200 of each of several, all with --since]
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
