//! Scenarios: the objects of a cluster and the steps that happen in it, as TOML. `[[workload]]` is a workload with its
//! related objects, `[[object]]` any other object as a manifest. The built-in ones are in `scenarios/`;
//! a file of the user can extend them. The file alone decides the story, without chance; the seed only decides names,
//! jitter and random draws.
//!
//! The times of steps are relative to the opening, when the cluster starts to run in real time: `-40s` happens 40
//! seconds before the first screen, `2m` two minutes after it.

pub mod cast;
pub mod fleet;
pub mod step;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::resources::Res;
use crate::world::{App, Demand, span};
pub use step::{Step, What};

/// The scenario of `--demo` without a name.
pub const DEFAULT: &str = "incident";

/// The scenarios that come with the program, by name. `shop` is the cluster that the others extend.
const BUILT_IN: &[(&str, &str)] = &[
    ("incident", include_str!("scenarios/incident.toml")),
    ("calm", include_str!("scenarios/calm.toml")),
    ("node-down", include_str!("scenarios/node-down.toml")),
    ("zone-outage", include_str!("scenarios/zone-outage.toml")),
    ("bad-backend", include_str!("scenarios/bad-backend.toml")),
    ("traffic-skew", include_str!("scenarios/traffic-skew.toml")),
    ("bad-canary", include_str!("scenarios/bad-canary.toml")),
    ("hot-hpa", include_str!("scenarios/hot-hpa.toml")),
    ("error-storm", include_str!("scenarios/error-storm.toml")),
    ("pdb-stuck", include_str!("scenarios/pdb-stuck.toml")),
    ("api-flaky", include_str!("scenarios/api-flaky.toml")),
    ("fleet-eu-1", include_str!("scenarios/fleet-eu-1.toml")),
    ("fleet-eu-2", include_str!("scenarios/fleet-eu-2.toml")),
    ("shop", include_str!("scenarios/shop.toml")),
    ("bare", include_str!("scenarios/bare.toml")),
];

/// Maximum length of a chain of files that extend one another.
const DEEPEST: usize = 8;

/// Why a scenario cannot be used: its name, the place, and the mistake.
#[derive(Debug, Error)]
pub enum Bad {
    #[error("there is no scenario {0:?}: {1}, or the path of a .toml file")]
    Unknown(String, String),
    #[error("{0}: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0}: {1}")]
    Syntax(String, Box<toml::de::Error>),
    #[error("{0}: step {1} ({2}): {3}")]
    Step(String, usize, String, String),
    #[error("{0}: {1}")]
    Wrong(String, String),
}

/// Machines of one kind, distributed over the zones in turn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub name: String,
    pub nodes: usize,
    /// A quantity, like all sizes here.
    #[serde(default = "cpu")]
    pub cpu: String,
    #[serde(default = "memory")]
    pub memory: String,
    /// `key=value:Effect`.
    #[serde(default)]
    pub taints: Vec<String>,
}

fn cpu() -> String {
    "8".into()
}

fn memory() -> String {
    "32Gi".into()
}

/// The kind of object that creates the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
}

/// A HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoscaler {
    pub min: u32,
    pub max: u32,
    /// Target utilization of the CPU request, in percent.
    pub cpu: u32,
}

/// A workload with its related objects: Service, budget, autoscaler, behaviour, load.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    pub namespace: String,
    pub name: String,
    #[serde(default)]
    pub kind: Kind,
    /// The application whose pods it runs, if that has another name: its pods have this label `app`, and the
    /// application's Service selects them too. It has no Service or budget of its own.
    pub of: Option<String>,
    /// The label `track` of its pods, to tell them from those of another workload of the same application.
    pub track: Option<String>,
    /// When it was created, before the opening.
    #[serde(default = "since", with = "span")]
    pub since: Duration,
    /// The number of pods; for a Job its completions. A DaemonSet has none.
    #[serde(default = "one")]
    pub replicas: u32,
    #[serde(default = "version")]
    pub version: String,
    /// The resource requests.
    #[serde(default = "request_cpu")]
    pub cpu: String,
    #[serde(default = "request_memory")]
    pub memory: String,
    pub cpu_limit: Option<String>,
    /// The limit; the request if not given.
    pub memory_limit: Option<String>,
    /// A claim per pod of a StatefulSet.
    pub storage: Option<String>,
    pub node_selector: Option<String>,
    /// Whether it has a Service of the same name; off for workloads that get no requests.
    #[serde(default = "yes")]
    pub service: bool,
    /// `minAvailable` of its budget: a number or a percentage.
    pub min_available: Option<String>,
    pub max_unavailable: Option<String>,
    /// Rolling update's `maxSurge`.
    pub max_surge: Option<String>,
    pub autoscaler: Option<Autoscaler>,
    /// Grace period in seconds.
    #[serde(default = "grace")]
    pub grace: u32,
    #[serde(default)]
    pub empty_dir: bool,
    pub priority: Option<String>,
    #[serde(default)]
    pub app: App,
    pub demand: Option<Demand>,
}

fn since() -> Duration {
    Duration::from_secs(9 * 86_400)
}

fn one() -> u32 {
    1
}

fn version() -> String {
    "v1.0.0".into()
}

fn request_cpu() -> String {
    "200m".into()
}

fn request_memory() -> String {
    "256Mi".into()
}

fn yes() -> bool {
    true
}

fn grace() -> u32 {
    30
}

/// A whole scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub name: String,
    pub title: String,
    pub about: String,
    /// How much time before the opening is simulated with traffic and logs.
    pub history: Duration,
    pub zones: Vec<String>,
    pub pools: Vec<Pool>,
    pub workloads: Vec<Workload>,
    /// Manifests of other objects, which exist as long as the workloads.
    pub objects: Vec<Value>,
    /// The behaviour of applications that the scenario does not describe.
    pub others: App,
    /// In order of time.
    pub steps: Vec<Step>,
}

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default)]
    about: String,
    extends: Option<String>,
    #[serde(default, deserialize_with = "some_span")]
    history: Option<Duration>,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    pool: Vec<Pool>,
    #[serde(default)]
    workload: Vec<Workload>,
    #[serde(default)]
    object: Vec<Value>,
    others: Option<App>,
    #[serde(default)]
    step: Vec<toml::Table>,
}

fn some_span<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    span::deserialize(from).map(Some)
}

/// Name and title of every built-in scenario with a story of its own.
pub fn names() -> Vec<(&'static str, String)> {
    BUILT_IN
        .iter()
        .filter(|(name, _)| !matches!(*name, "shop" | "bare" | "fleet-eu-1" | "fleet-eu-2"))
        .filter_map(|(name, text)| Some((*name, toml::from_str::<File>(text).ok()?.title)))
        .collect()
}

impl Scenario {
    /// A built-in scenario by its name, or the file of this path.
    pub fn load(name: &str) -> Result<Self, Bad> {
        load(name, DEEPEST)
    }

    /// Parses a scenario; `name` is its name in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self, Bad> {
        parse(name, text, DEEPEST)
    }

    fn check(&self) -> Result<(), Bad> {
        let bad = |what: String| Err(Bad::Wrong(self.name.clone(), what));
        for workload in &self.workloads {
            let id = format!("{}/{}", workload.namespace, workload.name);
            if workload.min_available.is_some() && workload.max_unavailable.is_some() {
                return bad(format!("{id}: a budget has min_available or max_unavailable, not both"));
            }
            if workload.of.is_some() && workload.track.is_none() {
                return bad(format!("{id}: `of` needs a `track`, or two workloads select the same pods"));
            }
            if workload.replicas > 5000 {
                return bad(format!("{id}: at most 5000 replicas"));
            }
        }
        for object in &self.objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (version, kind) = (text("/apiVersion"), text("/kind"));
            if Res::of_kind(version, kind).is_none() || text("/metadata/name").is_empty() {
                let name = text("/metadata/name");
                return bad(format!(
                    "object {name:?}: {version:?} {kind:?} is no kind of this cluster, or it has no name"
                ));
            }
        }
        if self.pools.iter().map(|pool| pool.nodes).sum::<usize>() > 5000 {
            return bad("at most 5000 nodes".into());
        }
        for (n, step) in self.steps.iter().enumerate() {
            let known = |id: &str| self.workloads.iter().any(|w| format!("{}/{}", w.namespace, w.name) == id);
            if let Some(id) = step.what.workload()
                && !known(id)
            {
                let said = step.told.clone();
                return Err(Bad::Step(
                    self.name.clone(),
                    n + 1,
                    said,
                    format!("there is no workload {id:?}"),
                ));
            }
        }
        Ok(())
    }
}

/// Whether the name is the path of a file.
fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
}

fn load(name: &str, depth: usize) -> Result<Scenario, Bad> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return parse(name, text, depth);
    }
    if !is_file(name) {
        let all: Vec<&str> = names().into_iter().chain(fleet::names()).map(|(name, _)| name).collect();
        return Err(Bad::Unknown(name.into(), all.join(", ")));
    }
    let text = std::fs::read_to_string(name).map_err(|e| Bad::Unreadable(name.into(), e))?;
    parse(name, &text, depth)
}

fn parse(name: &str, text: &str, depth: usize) -> Result<Scenario, Bad> {
    let file: File = toml::from_str(text).map_err(|e| Bad::Syntax(name.into(), Box::new(e)))?;
    let mut scenario = match &file.extends {
        Some(_) if depth == 0 => {
            return Err(Bad::Wrong(name.into(), format!("more than {DEEPEST} files extend one another")));
        }
        Some(base) => load(base, depth - 1)?,
        None => Scenario {
            name: String::new(),
            title: String::new(),
            about: String::new(),
            history: Duration::from_secs(20 * 60),
            zones: vec!["zone-a".into(), "zone-b".into(), "zone-c".into()],
            pools: Vec::new(),
            workloads: Vec::new(),
            objects: Vec::new(),
            others: App::default(),
            steps: Vec::new(),
        },
    };
    scenario.name = name.into();
    scenario.title = file.title;
    scenario.about = file.about;
    scenario.history = file.history.unwrap_or(scenario.history);
    if !file.zones.is_empty() {
        scenario.zones = file.zones;
    }
    if !file.pool.is_empty() {
        scenario.pools = file.pool;
    }
    scenario.others = file.others.unwrap_or(scenario.others);
    for workload in file.workload {
        scenario.workloads.retain(|w| (&w.namespace, &w.name) != (&workload.namespace, &workload.name));
        scenario.workloads.push(workload);
    }
    scenario.objects.extend(file.object);
    for (n, table) in file.step.into_iter().enumerate() {
        let said = table.get("at").map(ToString::to_string).unwrap_or_default();
        let step = Step::read(table).map_err(|why| Bad::Step(name.into(), n + 1, said, why))?;
        scenario.steps.push(step);
    }
    // A stable sort: steps with the same time run in the order in which they are written.
    scenario.steps.sort_by_key(|step| step.at);
    scenario.check()?;
    Ok(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_can_be_read() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::load(name).unwrap_or_else(|e| panic!("{e}"));
            assert!(!scenario.title.is_empty(), "{name}");
        }
        assert!(names().iter().any(|(name, _)| *name == DEFAULT));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let said = |text: &str| Scenario::parse("mine", text).unwrap_err().to_string();
        assert!(Scenario::load("nothing").unwrap_err().to_string().contains("incident, calm"));
        assert!(said("title = 1").contains("mine: TOML parse error"));
        let step =
            said("title = 'x'\n[[step]]\nat = '-4m'\ndo = 'scale'\nworkload = 'a/b'\nreplicas = 'many'");
        assert!(step.contains("step 1") && step.contains("-4m"), "{step}");
        let unknown = said("title = 'x'\n[[step]]\nat = '-4m'\ndo = 'scale'\nworkload = 'a/b'\nreplicas = 2");
        assert!(unknown.contains("no workload \"a/b\""), "{unknown}");
        let field = said("title = 'x'\n[[step]]\nat = '-4m'\ndo = 'load'\nfactor = 2.0\nfaktor = 1");
        assert!(field.contains("faktor"), "{field}");
    }
}
