//! The command line. Scripts rely on its names, so these do not change.

pub mod access;
#[cfg(feature = "demo")]
pub mod demo;
pub mod drain;
pub mod get;
pub mod help;
pub mod rbac;
pub mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pilothouse_core::facts::world::Severity;

use self::drain::DrainFlags;

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
    /// Context of the kubeconfig; can be repeated, the first is shown
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
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub wait: std::time::Duration,
}

/// The options of every action.
#[derive(Args, Clone, Debug)]
pub struct ActionFlags {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Print the plan and change nothing; kubectl's values are accepted, server and client do the same
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_missing_value = "server", value_parser = ["server", "client", "none"])]
    pub dry_run: Option<String>,
    /// Confirm without asking
    #[arg(short, long)]
    pub yes: bool,
    /// The context's name, in addition to --yes for a protected context, a whole zone or many nodes
    #[arg(long, value_name = "CONTEXT")]
    pub confirm: Option<String>,
    /// If the journal cannot be written to disk, keep it in memory and print it to standard error; takes the context's name
    #[arg(long, value_name = "CONTEXT")]
    pub journal_in_memory: Option<String>,
}

impl ActionFlags {
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.as_deref().is_some_and(|mode| mode != "none")
    }
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

/// The commands that change the cluster. Each action is rehearsed, confirmed, written to the journal and verified.
#[derive(Debug, Subcommand)]
pub enum ActionCommand {
    /// Drain nodes, like kubectl drain: cordon them, then evict their pods
    #[command(group(clap::ArgGroup::new("which").required(true).multiple(false).args(["nodes", "zone", "pool"])))]
    Drain {
        /// Names of the nodes
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
        /// All nodes of a zone (topology.kubernetes.io/zone)
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// All nodes of a pool, named as in the list of nodes
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        #[command(flatten)]
        drain: DrainFlags,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Mark nodes unschedulable
    Cordon {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Mark nodes schedulable
    Uncordon {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Taint powered-off nodes out-of-service, so that their pods are deleted and their volumes detach
    OutOfService {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Remove the out-of-service taint from nodes
    InService {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Restart a workload's pods, like kubectl rollout restart
    Restart {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Roll a workload back to an earlier revision, like kubectl rollout undo
    Rollback {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        /// Revision, as in kubectl rollout history; 0: the one before the newest
        #[arg(long, value_name = "N", value_parser = number::<i64>)]
        to_revision: Option<i64>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Pause a Deployment's rollout, like kubectl rollout pause
    PauseRollout {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Resume a paused rollout, like kubectl rollout resume
    ResumeRollout {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Set a workload's number of replicas
    Scale {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        /// The new number of replicas
        #[arg(long, value_name = "N", value_parser = number::<i32>)]
        replicas: i32,
        /// Refuse unless this is the current number of replicas
        #[arg(long, value_name = "M", value_parser = number::<i32>)]
        current_replicas: Option<i32>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Set minReplicas and maxReplicas of a HorizontalPodAutoscaler
    Bounds {
        /// cart, or shop/cart with its namespace
        #[arg(value_name = "HPA")]
        hpa: String,
        /// The new minReplicas
        #[arg(long, value_name = "N", required_unless_present = "max", value_parser = number::<i32>)]
        min: Option<i32>,
        /// The new maxReplicas
        #[arg(long, value_name = "N", value_parser = number::<i32>)]
        max: Option<i32>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Evict pods
    Evict {
        /// Names of the pods, or shop/NAME with the namespace
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        /// Delete the pods instead of evicting them, which bypasses PodDisruptionBudgets
        #[arg(long)]
        delete: bool,
        /// Seconds that each pod gets to terminate; -1: the pod's own grace period
        #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS", value_parser = number::<i64>)]
        grace_period: i64,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Take pods out of a Service by removing labels; the pods keep running
    OutOfRotation {
        /// Names of the pods, or shop/NAME with the namespace
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        /// Name of the Service
        #[arg(long, value_name = "SERVICE")]
        service: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Put pods that are out of rotation back into their Service
    IntoRotation {
        /// Names of the pods, or shop/NAME with the namespace
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Run a failover plan, or drain a zone or a pool
    Failover {
        /// Name of a plan in the config, or zone/NAME, pool/NAME
        #[arg(value_name = "PLAN")]
        plan: String,
        /// Revert the plan's completed steps
        #[arg(long)]
        revert: bool,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Resume an action whose process ended before it was complete
    Resume {
        /// Id of the action, as in `journal list` and on standard error
        id: String,
        /// Instead of resuming, uncordon the nodes that the action cordoned
        #[arg(long, conflicts_with = "dismiss")]
        uncordon: bool,
        /// Instead of resuming, end the reminder of this action and change nothing
        #[arg(long)]
        dismiss: bool,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Undo an action of the journal; without an id, list the actions that can be undone
    Undo {
        /// Id of the action, as in `journal list`
        #[arg(value_name = "ID")]
        id: Option<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
}

impl ActionCommand {
    pub fn flags(&self) -> &ActionFlags {
        match self {
            Self::Drain { action, .. }
            | Self::Cordon { action, .. }
            | Self::Uncordon { action, .. }
            | Self::OutOfService { action, .. }
            | Self::InService { action, .. }
            | Self::Restart { action, .. }
            | Self::Rollback { action, .. }
            | Self::PauseRollout { action, .. }
            | Self::ResumeRollout { action, .. }
            | Self::Scale { action, .. }
            | Self::Bounds { action, .. }
            | Self::Evict { action, .. }
            | Self::OutOfRotation { action, .. }
            | Self::IntoRotation { action, .. }
            | Self::Failover { action, .. }
            | Self::Resume { action, .. }
            | Self::Undo { action, .. } => action,
        }
    }
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
    /// The columns that each pane has, for [ui.columns]
    Columns,
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
