//! A rehearsal adds the API server's answers to a plan. It changes nothing. Access reviews and dry runs with recent
//! answers are not repeated ([`Answers`]).

use std::collections::BTreeSet;

use futures::future::join_all;
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Version};
use pilothouse_core::domain::plan::{
    Access, Act, InContext, Intent, Lookup, LookupResult, Lookups, Plan, Reason, Refusal, ServerChecks, Step,
    StepKind, Warning,
};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::table::{Row, Table};
use pilothouse_core::facts::world::Cluster;
use pilothouse_core::plan::{self, DataScope, PlanInput};

use super::answers::{Answers, Question};
use super::cluster::PlanClients;
use super::live_object::Live;
use super::lookups::look_up;
use super::requests::mutation;
use super::rights::ask;
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// Plans the intent and queries the server. Without writers (read-only), no dry run is sent. `answers` contains the
/// answers of earlier rehearsals. If it is empty, everything is queried.
pub async fn rehearse(
    cluster: &Cluster,
    intent: &Intent,
    guards: &GuardSettings,
    scope: DataScope,
    now: Stamp,
    reach: &PlanClients,
    answers: &mut Answers,
) -> Plan {
    answers.begin();
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
            Some(clients) => probe(&plan, &context, &clients.reader, answers, &mut checks).await,
            None => checks.refusals.push(Refusal::NoConnection { context }),
        }
    }
    if checks.refusals.is_empty() && reach.own.writer.is_some() {
        let version = |step: &Step| version(cluster, &lookups, step);
        dry_run(&plan, reach, &version, answers, &mut checks).await;
    }
    plan::apply_server_checks(plan, checks)
}

/// Returns the version of a step's object, if known, from the data that was read for the plan or from the shared
/// state. If the version changes, a dry run is sent again. Fields that the shared state does not keep can change
/// without it. For these, the age of the answer decides.
fn version(cluster: &Cluster, lookups: &Lookups, step: &Step) -> String {
    fn of<T: Row>(table: &Table<T>, on: &ObjectRef) -> Option<Version> {
        table.iter().find(|row| *row.uid() == on.uid).map(|row| row.version())
    }
    let lookup = Lookup::Object { context: step.context.clone(), on: step.on.clone() };
    if let Some(LookupResult::Objects(objects)) = lookups.get(&lookup) {
        let read = objects.first().and_then(|o| o.pointer("/metadata/resourceVersion"));
        return read.and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    }
    if !step.context.is_empty() {
        return String::new();
    }
    let seen = match &step.on.kind {
        Kind::Node => of(&cluster.nodes, &step.on),
        Kind::Pod => of(&cluster.pods, &step.on),
        Kind::Service => of(&cluster.services, &step.on),
        Kind::HorizontalPodAutoscaler => of(&cluster.hpas, &step.on),
        kind => cluster.workloads(kind).and_then(|table| of(table, &step.on)),
    };
    seen.map(|version| version.to_string()).unwrap_or_default()
}

/// Returns the contexts of the steps, each once.
fn contexts(plan: &Plan) -> BTreeSet<Name> {
    plan.steps.iter().map(|s| s.context.clone()).collect()
}

/// Sends access reviews for all permissions that the plan needs in one cluster.
async fn probe(
    plan: &Plan,
    context: &Name,
    reader: &ReadClient,
    answers: &mut Answers,
    checks: &mut ServerChecks,
) {
    let now = Clock::instant();
    let mut needed = plan::access(plan, context);
    let question = |access: &Access| Question::May {
        cluster: plan.intent.cluster,
        context: context.clone(),
        access: access.clone(),
    };
    needed.retain(|access| match answers.recent(&question(access), now) {
        Some(answer) => {
            checks.refusals.extend(answer);
            false
        }
        None => true,
    });
    let given = join_all(needed.iter().map(|access| reader.may(ask(access)))).await;
    for (access, answer) in needed.into_iter().zip(given) {
        let question = question(&access);
        let context = InContext(context.clone());
        match answer {
            Ok(answer) => {
                let reason = Reason(answer.reason);
                let denied = (!answer.allowed).then_some(Refusal::Denied { access, context, reason });
                answers.keep(question, denied.clone(), now);
                checks.refusals.extend(denied);
            }
            Err(e) => {
                checks.warnings.push(Warning::ReviewUnanswered { access, context, error: e.to_string() });
            }
        }
    }
}

/// Sends a dry run of each step that applies to the current state. Later steps of the same object are excluded. The
/// evictions of a drain are excluded too, because their budgets add up and they would double the number of requests.
async fn dry_run(
    plan: &Plan,
    reach: &PlanClients,
    version: &(dyn Fn(&Step) -> String + Sync),
    answers: &mut Answers,
    checks: &mut ServerChecks,
) {
    let (stamp, now) = (plan.made_at.to_string(), Clock::instant());
    let unanswered = |on: &ObjectRef, error: String| Warning::DryRunUnanswered { on: on.clone(), error };
    let mut seen = BTreeSet::new();
    for step in &plan.steps {
        let is_drain = step.is_eviction() && !matches!(plan.intent.act, Act::Evict(_));
        if is_drain || step.is_check() || !seen.insert((step.context.clone(), step.on.clone())) {
            continue;
        }
        if reach.writer(step).is_err() {
            continue;
        }
        let question = question(plan.intent.cluster, step, version(step));
        if let Some(answer) = answers.recent(&question, now) {
            checks.refusals.extend(answer);
            continue;
        }
        let live = match &step.what {
            StepKind::Change(_) | StepKind::Rollback { .. } => {
                // the version is not sent: a dry run cannot overwrite a change, and a status that changed between the
                // two requests must not look like a refusal
                let live = reach.live(step).await.ok().flatten();
                live.map(|live| Live { version: String::new(), ..live })
            }
            _ => None,
        };
        let Ok(request) = mutation(&step.what, &step.on, live.as_ref(), &stamp) else { continue };
        match reach.send(step, &request, true).await {
            // the plan already contains the budgets, and the drain waits for them
            Ok(_) | Err(WriteError::Refused(ApiError::TooMany { .. })) => answers.keep(question, None, now),
            // if the dry run cannot be sent, there is no answer
            Err(WriteError::Refused(
                e @ (ApiError::Unreachable(_) | ApiError::Unauthorized(_) | ApiError::Conflict { .. }),
            )) => checks.warnings.push(unanswered(&step.on, e.to_string())),
            Err(WriteError::Refused(ApiError::Invalid { message })) if message.contains("dry run") => {
                checks.warnings.push(unanswered(&step.on, message));
            }
            Err(WriteError::Refused(e)) => {
                let (on, what, error) = (step.on.clone(), step.what.clone(), e.to_string());
                let refused = Refusal::DryRunRefused { on, step: what, error };
                answers.keep(question, Some(refused.clone()), now);
                checks.refusals.push(refused);
            }
            Err(e @ WriteError::Unknown(_)) => checks.warnings.push(unanswered(&step.on, e.to_string())),
        }
    }
}

/// Returns the question for the dry run of a step.
fn question(cluster: ClusterId, step: &Step, version: String) -> Question {
    // the whole step is the key, because its description omits the fields of a change
    let words = serde_json::to_string(step).unwrap_or_else(|_| format!("{step:?}"));
    Question::DryRun { cluster, context: step.context.clone(), step: words, version }
}
