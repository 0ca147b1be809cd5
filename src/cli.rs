//! The command line. Its names are what scripts rely on: they stay.

pub mod access;
#[cfg(feature = "demo")]
pub mod demo;
pub mod drain;
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

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Context of the kubeconfig (may be given several times: the first is shown)
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Vec<String>,
    /// Kubeconfig file, as kubectl's --kubeconfig
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub access: access::Access,
    /// Only this namespace (several: repeat it, or separate them by commas)
    #[arg(
        short,
        long,
        global = true,
        value_name = "NS",
        value_delimiter = ',',
        conflicts_with = "all_namespaces"
    )]
    pub namespace: Vec<String>,
    /// All namespaces (the default)
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Config file instead of $XDG_CONFIG_HOME/pilothouse/config.toml
    #[arg(long, global = true, value_name = "FILE", env = "PILOTHOUSE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: settings::SettingFlags,
    /// Borders and glyphs in ASCII
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Colours
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

/// From which severity on a finding is a failure.
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

/// How long to look before answering, and in which form.
#[derive(Args, Clone, Debug)]
pub struct Look {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Wait at most this long for the sources to be complete
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub wait: std::time::Duration,
}

/// What every action understands.
#[derive(Args, Clone, Debug)]
pub struct ActionFlags {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Print the plan and change nothing (server: the same here, kubectl's spelling)
    #[arg(long, value_name = "MODE", num_args = 0..=1, default_missing_value = "server", value_parser = ["server", "client", "none"])]
    pub dry_run: Option<String>,
    /// Confirm without a question
    #[arg(short, long)]
    pub yes: bool,
    /// The context's name, needed with --yes for a protected context, a whole zone or many nodes
    #[arg(long, value_name = "CONTEXT")]
    pub confirm: Option<String>,
    /// If the disk refuses the journal, go on with one in memory and on standard error; takes the context's name
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
    /// One snapshot of the shared state
    Snapshot {
        #[command(flatten)]
        look: Look,
        /// One document a line, whenever something changed
        #[arg(long)]
        watch: bool,
    },
    /// What is wrong and what changed, for people and chat
    Why {
        #[command(flatten)]
        look: Look,
        /// Exit with 1 if there is a finding that is at least as bad; silenced ones do not count
        #[arg(long, value_enum, value_name = "SEVERITY")]
        fail_on: Option<FailOn>,
    },
    /// Each source, each permission, each config problem
    Doctor {
        #[command(flatten)]
        look: Look,
    },
    /// A role with every permission that is used, as YAML for kubectl
    Rbac(rbac::RbacFlags),
    #[command(flatten)]
    Action(ActionCommand),
    /// What this user's actions were
    Journal {
        #[command(subcommand)]
        what: JournalCommand,
    },
    /// Serve a simulated cluster (Kubernetes, Prometheus, Alertmanager, Loki) on 127.0.0.1 until it is interrupted
    #[cfg(feature = "demo")]
    Sim(demo::SimFlags),
    /// The configuration
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Every key and what it does
    Keys {
        /// As the README's table
        #[arg(long)]
        markdown: bool,
    },
    /// The themes that can be named
    Themes,
    /// A completion script
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The manual page, in roff
    Man,
}

/// What changes the cluster: each is rehearsed, confirmed, journaled and verified.
#[derive(Debug, Subcommand)]
pub enum ActionCommand {
    /// Empty nodes, as kubectl drain: cordon, then evict
    #[command(group(clap::ArgGroup::new("which").required(true).multiple(false).args(["nodes", "zone", "pool"])))]
    Drain {
        /// Names of the nodes
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
        /// All nodes of a zone (topology.kubernetes.io/zone)
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// All nodes of a pool, as the node list shows it
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
    /// Mark dead nodes out-of-service: their pods are force-deleted, their volumes detached
    OutOfService {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Remove that taint
    InService {
        /// Names of the nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Restart a workload's pods by a rollout
    Restart {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Put back an earlier template, as kubectl rollout undo
    Rollback {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        /// Which revision, as kubectl rollout history has them; 0 = the one before the newest
        #[arg(long, value_name = "N", value_parser = number::<i64>)]
        to_revision: Option<i64>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Stop a Deployment's rollout where it is
    PauseRollout {
        /// deploy/checkout, or shop/deploy/checkout with its namespace
        #[arg(value_name = "KIND/NAME")]
        workload: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Let it go on
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
        /// How many it is to have
        #[arg(long, value_name = "N", value_parser = number::<i32>)]
        replicas: i32,
        /// Refuse unless it has this many now
        #[arg(long, value_name = "M", value_parser = number::<i32>)]
        current_replicas: Option<i32>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Set the bounds of a HorizontalPodAutoscaler
    Bounds {
        /// cart, or shop/cart with its namespace
        #[arg(value_name = "HPA")]
        hpa: String,
        /// minReplicas
        #[arg(long, value_name = "N", required_unless_present = "max", value_parser = number::<i32>)]
        min: Option<i32>,
        /// maxReplicas
        #[arg(long, value_name = "N", value_parser = number::<i32>)]
        max: Option<i32>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Evict single pods
    Evict {
        /// Names of the pods, or shop/NAME with the namespace
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        /// Delete instead of evict: budgets are not asked
        #[arg(long)]
        delete: bool,
        /// Seconds each pod gets to end; -1 = its own
        #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS", value_parser = number::<i64>)]
        grace_period: i64,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Take pods out of a Service; they stay, for a look at them
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
    /// Put them back
    IntoRotation {
        /// Names of the pods, or shop/NAME with the namespace
        #[arg(required = true, value_name = "POD")]
        pods: Vec<String>,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Run a failover plan of the config, or zone/NAME, pool/NAME
    Failover {
        /// Name of a plan of the config, zone/NAME or pool/NAME
        #[arg(value_name = "PLAN")]
        plan: String,
        /// Go back
        #[arg(long)]
        revert: bool,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Take up an action whose process ended in the middle
    Resume {
        /// As `journal list` and the line on standard error name it
        id: String,
        /// Take it back: make the nodes schedulable that it cordoned
        #[arg(long, conflicts_with = "dismiss")]
        uncordon: bool,
        /// Say that nothing is to be done about it
        #[arg(long)]
        dismiss: bool,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Undo an action of the journal; without an id, list them
    Undo {
        /// As `journal list` names it
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
    /// One line an action
    List {
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// One action, whole
    Show {
        /// As `journal list` names it
        id: String,
        /// Form of the output
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every problem of the file; exit status 2 if there is one
    Check,
    /// Every setting, its value and where it comes from
    Print,
    /// The example file
    Example,
}

/// A whole number; what is wrong about another text, in words.
pub(crate) fn number<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    let number: i128 = text.parse().map_err(|_| "that is no whole number".to_owned())?;
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
