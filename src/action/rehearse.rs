//! A rehearsal: the pure plan, with what only the server knows asked for and added to it. Nothing is changed.

use std::collections::BTreeSet;

use futures::future::join_all;
use pilothouse_core::domain::id::{Name, ObjectRef};
use pilothouse_core::domain::plan::{
    Act, InContext, Intent, Plan, Reason, Refusal, ServerChecks, StepKind, Warning,
};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::plan::{self, DataScope, PlanInput};

use super::reach::{Reach, look_up};
use super::requests::mutation;
use super::rights::ask;
use super::settle::{Live, read};
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// Plans, and asks the server. Without writers (read-only) no dry run is sent: those clients do not exist.
pub async fn rehearse(
    cluster: &Cluster,
    intent: &Intent,
    guards: &GuardSettings,
    scope: DataScope,
    now: Stamp,
    reach: &Reach,
) -> Plan {
    let mut wanted = plan::lookups(cluster, intent);
    if scope == DataScope::TargetsOnly {
        wanted.extend(plan::lookups_of_targets(cluster, intent));
    }
    let lookups = look_up(reach, wanted).await;
    let plan = plan::plan(PlanInput { cluster, guards, scope, lookups: &lookups, now }, intent);
    if !plan.refusals.is_empty() {
        return plan;
    }
    let mut checks = ServerChecks::default();
    for context in contexts(&plan) {
        match reach.of(&context) {
            Some(clients) => probe(&plan, &context, &clients.reader, &mut checks).await,
            None => checks.refusals.push(Refusal::NoConnection { context }),
        }
    }
    if checks.refusals.is_empty() && reach.own.writer.is_some() {
        dry_run(&plan, reach, &mut checks).await;
    }
    plan::apply_server_checks(plan, checks)
}

/// The contexts of the steps, each once.
fn contexts(plan: &Plan) -> BTreeSet<Name> {
    plan.steps.iter().map(|s| s.context.clone()).collect()
}

/// Access reviews for everything that the plan needs of one cluster.
async fn probe(plan: &Plan, context: &Name, reader: &ReadClient, checks: &mut ServerChecks) {
    let needed = plan::access(plan, context);
    let answers = join_all(needed.iter().map(|access| reader.may(ask(access)))).await;
    for (access, answer) in needed.iter().cloned().zip(answers) {
        let context = InContext(context.clone());
        match answer {
            Ok(answer) if answer.allowed => {}
            Ok(answer) => {
                checks.refusals.push(Refusal::Denied { access, context, reason: Reason(answer.reason) });
            }
            Err(e) => {
                checks.warnings.push(Warning::ReviewUnanswered { access, context, error: e.to_string() });
            }
        }
    }
}

/// The server's own dry run of each step that stands on what is there now: not of a later step of the same object,
/// and not of a drain's evictions, whose budgets add up and which would double its requests.
async fn dry_run(plan: &Plan, reach: &Reach, checks: &mut ServerChecks) {
    let stamp = plan.made_at.to_string();
    let unanswered = |on: &ObjectRef, error: String| Warning::DryRunUnanswered { on: on.clone(), error };
    let mut seen = BTreeSet::new();
    for step in &plan.steps {
        let is_drain = step.is_eviction() && !matches!(plan.intent.act, Act::Evict(_));
        if is_drain || step.is_check() || !seen.insert((step.context.clone(), step.on.clone())) {
            continue;
        }
        let (Ok(reader), Ok(writer)) = (reach.reader(step), reach.writer(step)) else { continue };
        let live = match &step.what {
            StepKind::Change(_) | StepKind::Rollback { .. } => {
                // without its version: nothing is written that could lose another's change, and a status that
                // moved between the two requests is no refusal
                let live = read(reader, &step.what, &step.on).await.ok().flatten();
                live.map(|live| Live { version: String::new(), ..live })
            }
            _ => None,
        };
        let Ok(request) = mutation(&step.what, &step.on, live.as_ref(), &stamp) else { continue };
        match request.send(writer, true).await {
            Ok(_) => {}
            // what a budget allows is in the plan already: it is waited for
            Err(WriteError::Refused(ApiError::TooMany { .. })) => {}
            // that the question cannot be asked is no answer to it
            Err(WriteError::Refused(
                e @ (ApiError::Unreachable(_) | ApiError::Unauthorized(_) | ApiError::Conflict { .. }),
            )) => checks.warnings.push(unanswered(&step.on, e.to_string())),
            Err(WriteError::Refused(ApiError::Invalid { message })) if message.contains("dry run") => {
                checks.warnings.push(unanswered(&step.on, message));
            }
            Err(WriteError::Refused(e)) => {
                let (on, step, error) = (step.on.clone(), step.what.clone(), e.to_string());
                checks.refusals.push(Refusal::DryRunRefused { on, step, error });
            }
            Err(e @ WriteError::Unknown(_)) => checks.warnings.push(unanswered(&step.on, e.to_string())),
        }
    }
}
