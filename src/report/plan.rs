//! Converts plans and results to documents (`pilothouse/plan/v1`) and to text.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{self as model, Act, BudgetWait, Confirm, Plan, ServiceEffect};
use pilothouse_core::facts::world::{ActionView, Outcome, StepState};
use pilothouse_core::plan::undo;
use serde::Serialize;

use super::document::Object;
use super::exit;
use super::snapshot::object;

/// The version of the plan and result documents.
pub const PLAN: &str = "pilothouse/plan/v1";

#[derive(Debug, Serialize)]
pub struct Document {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    action: &'static str,
    context: String,
    targets: Vec<Object>,
    steps: Vec<Step>,
    pods: Vec<Pod>,
    pdbs: Vec<Pdb>,
    services: Vec<Service>,
    unplaced: Vec<Unplaced>,
    /// The changes of a template, one line for each field.
    diff: Vec<String>,
    warnings: Vec<String>,
    /// The code of each warning, in the same order.
    warning_codes: Vec<&'static str>,
    /// The data that was missing for the plan. Each entry is also a warning.
    unread: Vec<Unread>,
    refusals: Vec<Refusal>,
    confirm: Confirm,
    kubectl: String,
    undo: String,
}

#[derive(Debug, Serialize)]
struct Unread {
    what: &'static str,
    namespaces: Vec<String>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Step {
    what: String,
    on: Object,
    /// The context of the step, if it differs from the plan's.
    #[serde(skip_serializing_if = "String::is_empty")]
    context: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Pod {
    namespace: String,
    name: String,
    uid: String,
    node: String,
    fate: &'static str,
    reason: String,
    owner: String,
}

#[derive(Debug, Serialize)]
struct Pdb {
    namespace: String,
    name: String,
    disruptions_allowed: i32,
    blocks: Vec<String>,
    since: Option<String>,
    /// An estimate by grace periods only, or null if it is unknown or has no end.
    wait_seconds: Option<u64>,
    /// Whether the drain cannot finish in the current state of the cluster.
    unbounded: bool,
    note: String,
}

#[derive(Debug, Serialize)]
struct Service {
    namespace: String,
    name: String,
    ready_before: u32,
    ready_after: u32,
    share_after: Option<f64>,
    /// Of one backend, on average.
    rps_before: Option<f64>,
    rps_after: Option<f64>,
    /// The backend that gets the most requests afterwards.
    busiest: Option<Busiest>,
    /// What goes beyond a limit only afterwards.
    breaks: Vec<Break>,
}

#[derive(Debug, Serialize)]
struct Busiest {
    name: String,
    rps_before: Option<f64>,
    rps_after: f64,
    of_cpu_request: Option<f64>,
    of_cpu_limit: Option<f64>,
    of_most_rps: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Break {
    code: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct Unplaced {
    namespace: String,
    name: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Refusal {
    guard: &'static str,
    code: &'static str,
    reason: String,
}

/// Returns the document of a plan that was to be executed and is refused. It contains the outcome, like a result.
pub fn refused(plan: &Plan) -> Document {
    let why = plan.refusals.iter().map(model::Refusal::words).collect::<Vec<_>>();
    Document {
        outcome: Some(Outcome::Refused.as_str()),
        message: Some(why.join("; ")),
        ..document(plan, None)
    }
}

/// Returns the document of a plan, or of its result if `action` is given.
pub fn document(plan: &Plan, action: Option<&ActionView>) -> Document {
    let step = |i: usize| action.and_then(|a| a.steps.get(i));
    Document {
        schema: PLAN,
        id: action.map(|a| a.id.to_string()),
        outcome: action.and_then(|a| a.outcome).map(Outcome::as_str),
        message: action.map(|a| a.message.clone()),
        started: action.map(|a| a.started.to_string()),
        ended: action.and_then(|a| a.ended).map(|e| e.to_string()),
        action: plan.intent.act.as_str(),
        context: plan.intent.context.to_string(),
        targets: plan.intent.targets.iter().map(object).collect(),
        steps: plan
            .steps
            .iter()
            .enumerate()
            .map(|(i, s)| Step {
                what: s.what.to_string(),
                on: object(&s.on),
                context: s.context.to_string(),
                state: step(i).map(|s| s.state.as_str()),
                at: step(i).and_then(|s| s.at).map(|at| at.to_string()),
                note: step(i).map(|s| s.note.clone()),
            })
            .collect(),
        pods: plan
            .pods
            .iter()
            .map(|p| Pod {
                namespace: p.pod.namespace.to_string(),
                name: p.pod.name.to_string(),
                uid: p.pod.uid.to_string(),
                node: p.node.to_string(),
                fate: p.fate.as_str(),
                reason: p.reason.clone(),
                owner: p.owner.clone(),
            })
            .collect(),
        pdbs: plan
            .pdbs
            .iter()
            .map(|p| Pdb {
                namespace: p.namespace.to_string(),
                name: p.name.to_string(),
                disruptions_allowed: p.allowed,
                blocks: p.blocks.iter().map(ToString::to_string).collect(),
                since: p.since.map(|s| s.to_string()),
                wait_seconds: match p.wait {
                    Some(BudgetWait::AtLeast(secs)) => Some(secs),
                    Some(BudgetWait::Unbounded) | None => None,
                },
                unbounded: p.wait == Some(BudgetWait::Unbounded),
                note: p.note.clone(),
            })
            .collect(),
        services: plan
            .services
            .iter()
            .map(|s| Service {
                namespace: s.namespace.to_string(),
                name: s.name.to_string(),
                ready_before: s.ready_before,
                ready_after: s.ready_after,
                share_after: s.share_after,
                rps_before: s.rps_before,
                rps_after: s.rps_after,
                busiest: s.busiest.as_ref().map(|b| Busiest {
                    name: b.backend.to_string(),
                    rps_before: b.rps_before,
                    rps_after: b.rps_after,
                    of_cpu_request: b.of_request,
                    of_cpu_limit: b.of_limit,
                    of_most_rps: b.of_most,
                }),
                breaks: s.breaks.iter().map(|b| Break { code: b.code(), message: b.to_string() }).collect(),
            })
            .collect(),
        unplaced: plan
            .unplaced
            .iter()
            .map(|u| Unplaced {
                namespace: u.namespace.to_string(),
                name: u.name.to_string(),
                reason: u.reason.clone(),
            })
            .collect(),
        diff: plan.diff.clone(),
        warnings: plan.warnings.iter().map(ToString::to_string).collect(),
        warning_codes: plan.warnings.iter().map(model::Warning::code).collect(),
        unread: plan
            .unread
            .iter()
            .map(|u| Unread {
                what: u.what.as_str(),
                namespaces: u.namespaces.iter().map(ToString::to_string).collect(),
                reason: u.why.clone(),
            })
            .collect(),
        refusals: plan
            .refusals
            .iter()
            .map(|r| Refusal { guard: r.guard().as_str(), code: r.code(), reason: r.to_string() })
            .collect(),
        confirm: plan.confirm,
        kubectl: plan.kubectl.clone(),
        undo: plan.undo.clone(),
    }
}

/// Formats a plan as lines of text.
pub fn text(plan: &Plan) -> Vec<String> {
    let title = match &plan.intent.act {
        // the title of these actions names their objects
        Act::Failover { .. } | Act::Undo(_) | Act::Resume(_) => undo::title(plan),
        act => {
            let targets: Vec<String> = plan.intent.targets.iter().map(ToString::to_string).collect();
            format!("{} {}", act.as_str(), targets.join(", "))
        }
    };
    let mut lines = vec![format!("{title} in {}", plan.intent.context)];
    for pod in &plan.pods {
        let reason = if pod.reason.is_empty() { String::new() } else { format!(": {}", pod.reason) };
        lines.push(format!("  {:6} {}/{}{reason}", pod.fate.as_str(), pod.pod.namespace, pod.pod.name));
    }
    if plan.pods.is_empty() {
        let place = |context: &Name| {
            if context.is_empty() { String::new() } else { format!(" in {context}") }
        };
        lines.extend(plan.steps.iter().map(|s| format!("  {} {}{}", s.what, s.on, place(&s.context))));
    }
    lines.extend(plan.diff.iter().map(|line| format!("  {line}")));
    for pdb in plan.pdbs.iter().filter(|p| !p.blocks.is_empty() || !p.note.is_empty()) {
        let blocks: Vec<&str> = pdb.blocks.iter().map(Name::as_str).collect();
        let held =
            if blocks.is_empty() { String::new() } else { format!(" and holds back {}", blocks.join(", ")) };
        let note = if pdb.note.is_empty() { String::new() } else { format!(": {}", pdb.note) };
        lines.push(format!("  PDB {}/{} allows {}{held}{note}", pdb.namespace, pdb.name, pdb.allowed));
    }
    for service in &plan.services {
        lines.push(format!(
            "  service {}/{} ready endpoints {} to {}{}",
            service.namespace,
            service.name,
            service.ready_before,
            service.ready_after,
            load(service)
        ));
    }
    lines.extend(
        plan.unplaced
            .iter()
            .map(|u| format!("  does not fit elsewhere: {}/{}: {}", u.namespace, u.name, u.reason)),
    );
    lines.extend(plan.warnings.iter().map(|w| format!("warning: {w}")));
    lines.extend(plan.refusals.iter().map(|r| format!("REFUSED: {}", r.words())));
    if !plan.undo.is_empty() {
        lines.push(format!("undo restores: {}", plan.undo));
    }
    // an action that kubectl does not have is described by a command of Pilothouse
    let with = match plan.intent.act {
        Act::Undo(_) | Act::Resume(_) => "as a command",
        _ => "with kubectl",
    };
    if !plan.kubectl.is_empty() {
        lines.push(format!("{with}: {}", plan.kubectl));
    }
    lines
}

/// Formats the expected load of each remaining backend, if known, such as `, 50 % each (12.0 to 18.0 rps)`.
fn load(service: &ServiceEffect) -> String {
    let share = service.share_after.map_or_else(String::new, |s| format!(", {:.0} % each", s * 100.0));
    match (service.rps_before, service.rps_after) {
        (Some(before), Some(after)) => {
            let most = service.busiest.as_ref().filter(|b| b.rps_after > after * 1.05);
            let most = most.map_or_else(String::new, |b| format!("; most: {} {:.1}", b.backend, b.rps_after));
            format!("{share} ({before:.1} to {after:.1} rps{most})")
        }
        _ => share,
    }
}

/// Formats a result as lines of text.
pub fn result_text(action: &ActionView) -> Vec<String> {
    let mut lines = Vec::new();
    for step in action.steps.iter().filter(|s| s.state != StepState::Waiting) {
        lines.push(format!("{} {}: {} {}", step.what, step.on, step.state.as_str(), step.note));
    }
    let outcome = action.outcome.map_or("unfinished", Outcome::as_str);
    lines.push(format!("{outcome}: {} (journal {})", action.message, action.id));
    lines
}

/// Returns the exit status of a plan that is only shown.
pub fn plan_status(plan: &Plan) -> u8 {
    if plan.refusals.is_empty() { exit::DONE } else { exit::REFUSED }
}

/// Returns the exit status of an action.
pub fn result_status(action: &ActionView) -> u8 {
    match action.outcome {
        Some(Outcome::Done) => exit::DONE,
        Some(Outcome::Refused) => exit::REFUSED,
        Some(Outcome::Unknown) => exit::UNKNOWN,
        Some(Outcome::Cancelled) => exit::INTERRUPTED,
        Some(Outcome::Failed) | None => exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::domain::plan::{DerivedPlan, DrainOptions, Intent, PdbEffect};
    use pilothouse_core::domain::time::Stamp;
    use serde_json::json;

    use super::*;

    fn model_break(backend: &str, times: f64) -> pilothouse_core::domain::traffic::Break {
        pilothouse_core::domain::traffic::Break::OverRequest { backend: backend.into(), times }
    }

    fn plan(wait: Option<BudgetWait>, note: &str) -> Plan {
        let intent = Intent {
            cluster: ClusterId::default(),
            context: "test".into(),
            act: Act::Drain(DrainOptions::default()),
            targets: Vec::new(),
        };
        Plan {
            pdbs: vec![PdbEffect {
                namespace: "shop".into(),
                name: "a".into(),
                allowed: 0,
                blocks: vec!["p1".into(), "p2".into()],
                since: None,
                wait,
                note: note.into(),
            }],
            services: vec![
                ServiceEffect {
                    namespace: "shop".into(),
                    name: "web".into(),
                    ready_before: 3,
                    ready_after: 2,
                    share_after: Some(0.5),
                    rps_before: Some(12.0),
                    rps_after: Some(18.0),
                    busiest: Some(model::Busiest {
                        backend: "web-0".into(),
                        rps_before: Some(14.0),
                        rps_after: 21.0,
                        of_request: Some(1.5),
                        ..model::Busiest::default()
                    }),
                    breaks: vec![model_break("web-0", 1.5)],
                },
                ServiceEffect {
                    namespace: "shop".into(),
                    name: "db".into(),
                    ready_before: 1,
                    ..ServiceEffect::default()
                },
            ],
            ..Plan::new(intent, Stamp(0))
        }
    }

    #[test]
    fn what_is_not_known_is_null() {
        let of = |wait| serde_json::to_value(document(&plan(wait, "why"), None)).unwrap();
        let doc = of(Some(BudgetWait::AtLeast(90)));
        assert_eq!(
            doc["pdbs"][0],
            json!({"namespace": "shop", "name": "a", "disruptions_allowed": 0, "blocks": ["p1", "p2"],
            "since": null, "wait_seconds": 90, "unbounded": false, "note": "why"})
        );
        assert_eq!(
            doc["services"][0],
            json!({"namespace": "shop", "name": "web", "ready_before": 3, "ready_after": 2,
            "share_after": 0.5, "rps_before": 12.0, "rps_after": 18.0,
            "busiest": {"name": "web-0", "rps_before": 14.0, "rps_after": 21.0, "of_cpu_request": 1.5,
                "of_cpu_limit": null, "of_most_rps": null},
            "breaks": [{"code": "over-cpu-request",
                "message": "web-0 would need 150 % of its CPU request: only if the node has it to spare"}]})
        );
        assert_eq!(doc["services"][1]["share_after"], json!(null));
        let never = of(Some(BudgetWait::Unbounded));
        assert_eq!(
            (&never["pdbs"][0]["wait_seconds"], &never["pdbs"][0]["unbounded"]),
            (&json!(null), &json!(true))
        );
    }

    #[test]
    fn warnings_and_refusals_have_codes_beside_their_words() {
        let mut plan = plan(None, "");
        plan.warnings = vec![model::Warning::NoPodsLeft { name: "web".into() }, model::Warning::NotWatched];
        plan.refusals = vec![model::Refusal::Paused { name: "web".into() }];
        let doc = serde_json::to_value(document(&plan, None)).unwrap();
        assert_eq!(doc["warnings"][0], json!("web will have no pods"));
        assert_eq!(doc["warning_codes"], json!(["no-pods-left", "not-watched"]));
        assert_eq!(
            doc["refusals"],
            json!([{"guard": "precondition", "code": "paused", "reason": "web is paused: resume its rollout first"}])
        );
    }

    #[test]
    fn an_undo_names_what_it_undoes_and_what_changes() {
        let derived = DerivedPlan {
            of: "7".into(),
            title: "rollback shop/deploy/web".into(),
            steps: Vec::new(),
            not_restored: String::new(),
            confirm: Confirm::Suffix,
            watched: None,
            takes_back: true,
        };
        let mut plan = plan(None, "");
        plan.intent.act = Act::Undo(Box::new(derived));
        plan.diff = vec!["~ spec.containers[app].image: \"a:1\" -> \"a:2\"".into()];
        plan.undo = "the action itself again".into();
        let lines = text(&plan);
        assert_eq!(lines[0], "undo of rollback shop/deploy/web in test");
        assert!(lines.contains(&format!("  {}", plan.diff[0])), "{lines:?}");
        assert!(lines.contains(&"undo restores: the action itself again".to_owned()), "{lines:?}");
        assert_eq!(serde_json::to_value(document(&plan, None)).unwrap()["diff"][0], json!(plan.diff[0]));
    }

    #[test]
    fn a_plan_in_lines() {
        let lines = text(&plan(None, "needs 3 healthy of 3"));
        assert!(
            lines.contains(&"  PDB shop/a allows 0 and holds back p1, p2: needs 3 healthy of 3".to_owned()),
            "{lines:?}"
        );
        assert!(
            lines.contains(
                &"  service shop/web ready endpoints 3 to 2, 50 % each (12.0 to 18.0 rps; most: web-0 21.0)"
                    .to_owned()
            )
        );
        assert!(lines.contains(&"  service shop/db ready endpoints 1 to 0".to_owned()));
    }
}
