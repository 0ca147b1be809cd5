//! The commands that change the cluster, and the options that all of them have.

use clap::{Args, Subcommand};
use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::plan::{Act, EvictOptions, ScaleBy};

use super::drain::DrainFlags;
use super::{Output, number};

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
    /// The context's name, in addition to --yes for a protected context, a whole zone or many nodes; or the API server's
    /// address, to resume or undo an action that was done at another address of the same cluster
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
    /// Pause a HorizontalPodAutoscaler: selectPolicy Disabled for scaleUp and scaleDown
    PauseAutoscaler {
        /// cart, or shop/cart with its namespace
        #[arg(value_name = "HPA")]
        hpa: String,
        #[command(flatten)]
        action: ActionFlags,
    },
    /// Resume a paused HorizontalPodAutoscaler: the selectPolicy that it had before
    ResumeAutoscaler {
        /// cart, or shop/cart with its namespace
        #[arg(value_name = "HPA")]
        hpa: String,
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
    /// The act, and the objects as they were typed, with their kind where only one is possible. None: what it acts on is
    /// worked out first (a zone, a pool, a failover plan, the journal).
    pub fn act(&self) -> Option<(Act, Option<Kind>, &[String])> {
        use std::slice::from_ref;
        let (node, pod, hpa) = (Some(Kind::Node), Some(Kind::Pod), Some(Kind::HorizontalPodAutoscaler));
        Some(match self {
            Self::Drain { nodes, zone: None, pool: None, drain, .. } => {
                (Act::Drain(drain.clone().into()), node, nodes)
            }
            Self::Cordon { nodes, .. } => (Act::Cordon, node, nodes),
            Self::Uncordon { nodes, .. } => (Act::Uncordon, node, nodes),
            Self::OutOfService { nodes, .. } => (Act::OutOfService, node, nodes),
            Self::InService { nodes, .. } => (Act::InService, node, nodes),
            Self::Restart { workload, .. } => (Act::Restart, None, from_ref(workload)),
            Self::Rollback { workload, to_revision, .. } => {
                (Act::Rollback { to_revision: to_revision.filter(|n| *n != 0) }, None, from_ref(workload))
            }
            Self::PauseRollout { workload, .. } => (Act::PauseRollout, None, from_ref(workload)),
            Self::ResumeRollout { workload, .. } => (Act::ResumeRollout, None, from_ref(workload)),
            Self::Scale { workload, replicas, current_replicas, .. } => {
                let by = ScaleBy { replicas: *replicas, current_replicas: *current_replicas };
                (Act::Scale(by), None, from_ref(workload))
            }
            Self::Bounds { hpa: name, min, max, .. } => {
                (Act::Bounds { min: *min, max: *max }, hpa, from_ref(name))
            }
            Self::PauseAutoscaler { hpa: name, .. } => (Act::PauseAutoscaler, hpa, from_ref(name)),
            Self::ResumeAutoscaler { hpa: name, .. } => (Act::ResumeAutoscaler, hpa, from_ref(name)),
            Self::Evict { pods, delete, grace_period, .. } => {
                (Act::Evict(EvictOptions { delete: *delete, grace_period: *grace_period }), pod, pods)
            }
            Self::OutOfRotation { pods, service, .. } => {
                (Act::OutOfRotation { service: service.as_str().into() }, pod, pods)
            }
            Self::IntoRotation { pods, .. } => (Act::IntoRotation, pod, pods),
            Self::Drain { .. } | Self::Failover { .. } | Self::Resume { .. } | Self::Undo { .. } => {
                return None;
            }
        })
    }

    /// Whether the command only reads or writes the journal.
    pub fn needs_no_cluster(&self) -> bool {
        matches!(self, Self::Undo { id: None, .. } | Self::Resume { dismiss: true, .. })
    }

    /// The id of the recorded action that this one continues or takes back.
    pub fn recorded(&self) -> Option<&str> {
        match self {
            Self::Undo { id: Some(id), .. } | Self::Resume { id, .. } => Some(id),
            _ => None,
        }
    }

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
            | Self::PauseAutoscaler { action, .. }
            | Self::ResumeAutoscaler { action, .. }
            | Self::Evict { action, .. }
            | Self::OutOfRotation { action, .. }
            | Self::IntoRotation { action, .. }
            | Self::Failover { action, .. }
            | Self::Resume { action, .. }
            | Self::Undo { action, .. } => action,
        }
    }
}
