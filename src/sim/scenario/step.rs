//! The steps of a scenario: what happens, and when.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value;

use super::Workload;
use crate::faults::Rule;
use crate::world::{NodeTrouble, PodTrouble, Version, span};

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Relative to the opening; a negative time is before it.
    pub at: TimeDelta,
    pub what: What,
    /// The time as it was written, for messages.
    pub told: String,
}

/// Selects a node: the `nth` (from 0), by name, of those that match.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodePick {
    pub name: Option<String>,
    pub zone: Option<String>,
    pub pool: Option<String>,
    /// `namespace/app`: only nodes that run a pod of it.
    pub hosting: Option<String>,
    pub nth: usize,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// Somebody rolls out another image.
    Release {
        workload: String,
        version: String,
        #[serde(default = "deployer")]
        by: String,
    },
    /// Somebody sets the number of replicas.
    Scale {
        workload: String,
        replicas: u32,
        #[serde(default = "person")]
        by: String,
    },
    /// Somebody edits an autoscaler.
    Bounds {
        autoscaler: String,
        min: Option<u32>,
        max: Option<u32>,
        #[serde(default = "person")]
        by: String,
    },
    /// Somebody edits or creates a budget (`namespace/name`, for the pods of the application of that name).
    Budget {
        budget: String,
        min_available: Option<String>,
        max_unavailable: Option<String>,
        #[serde(default = "person")]
        by: String,
    },
    /// Somebody cordons a node.
    Cordon {
        node: NodePick,
        #[serde(default = "person")]
        by: String,
    },
    /// Multiplies all load from outside by this.
    Load { factor: f64 },
    /// Sets another load for one Service.
    Demand { service: String, rps: f64 },
    /// A version of an application behaves differently from now on.
    Behave { workload: String, version: String, now: Box<Version> },
    /// A machine gets a fault.
    Node { node: NodePick, trouble: NodeTrouble },
    /// Every machine of a zone gets a fault.
    Zone { zone: String, trouble: NodeTrouble },
    /// The `nth` pod (by name) of an application gets a fault.
    Pod {
        workload: String,
        #[serde(default)]
        nth: usize,
        trouble: Box<PodTrouble>,
    },
    /// Ends all faults of machines and pods.
    Heal,
    /// Injects faults into requests to the API, for a while or permanently.
    Api {
        fault: Rule,
        #[serde(default, deserialize_with = "some_span", rename = "for")]
        lasting: Option<Duration>,
    },
    /// A bearer token expires, or becomes valid again.
    Token { token: String, expired: bool },
    /// Ends every open watch.
    CutWatches,
    /// The API server refuses connections for a while.
    Outage {
        #[serde(rename = "for", with = "span")]
        lasting: Duration,
    },
    /// Whether the metrics server answers.
    MetricsServer { up: bool },
    /// Somebody creates an object, or replaces the spec of an existing one.
    Apply {
        object: Box<Value>,
        #[serde(default = "deployer")]
        by: String,
    },
    /// A workload is created. The workloads of a scenario become such steps.
    #[serde(skip)]
    Found(Box<Workload>),
}

fn deployer() -> String {
    "argocd-controller".into()
}

fn person() -> String {
    "kubectl-edit".into()
}

fn some_span<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    span::deserialize(from).map(Some)
}

impl What {
    /// A short description for messages.
    pub fn title(&self) -> String {
        match self {
            Self::Release { workload, version, .. } => format!("release of {workload} {version}"),
            Self::Scale { workload, replicas, .. } => format!("scale of {workload} to {replicas}"),
            Self::Bounds { autoscaler, .. } => format!("bounds of {autoscaler}"),
            Self::Budget { budget, .. } => format!("budget {budget}"),
            Self::Cordon { .. } => "cordon".into(),
            Self::Load { factor } => format!("load x{factor}"),
            Self::Demand { service, rps } => format!("demand of {service}: {rps}/s"),
            Self::Behave { workload, version, .. } => format!("behaviour of {workload} {version}"),
            Self::Node { .. } => "trouble of a node".into(),
            Self::Zone { zone, .. } => format!("trouble of {zone}"),
            Self::Pod { workload, nth, .. } => format!("trouble of pod {nth} of {workload}"),
            Self::Heal => "heal".into(),
            Self::Api { .. } => "fault of the API".into(),
            Self::Token { token, .. } => format!("token of {token}"),
            Self::CutWatches => "cut of watches".into(),
            Self::Outage { .. } => "outage of the API".into(),
            Self::MetricsServer { up } => format!("metrics server {}", if *up { "up" } else { "down" }),
            Self::Apply { object, .. } => {
                let text =
                    |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
            }
            Self::Found(workload) => format!("workload {}/{}", workload.namespace, workload.name),
        }
    }

    /// The workload that the step names, `namespace/name`.
    pub fn workload(&self) -> Option<&str> {
        match self {
            Self::Release { workload, .. }
            | Self::Scale { workload, .. }
            | Self::Behave { workload, .. }
            | Self::Pod { workload, .. } => Some(workload),
            Self::Bounds { autoscaler, .. } => Some(autoscaler),
            Self::Demand { service, .. } => Some(service),
            _ => None,
        }
    }
}

/// `-40s`, `2m`, `+2m`.
fn offset(text: &str) -> Option<TimeDelta> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let by = TimeDelta::from_std(span::parse(rest)?).ok()?;
    Some(if negative { -by } else { by })
}

impl Step {
    /// Parses a `[[step]]`. The time is taken out first, so that all other keys are checked against the step's fields.
    pub fn read(mut table: toml::Table) -> Result<Self, String> {
        let told = match table.remove("at") {
            Some(toml::Value::String(told)) => told,
            Some(other) => return Err(format!("at = {other}: a text such as \"-4m\" or \"90s\" is needed")),
            None => return Err("`at` is missing: when it happens, as \"-4m\" or \"90s\"".into()),
        };
        let at = offset(&told)
            .ok_or_else(|| format!("at = {told:?}: no span of time such as \"-4m\" or \"90s\""))?;
        let what = What::deserialize(toml::Value::Table(table))
            .map_err(|e| e.to_string().split_whitespace().collect::<Vec<_>>().join(" "))?;
        Ok(Self { at, what, told })
    }
}
