//! A rehearsal: the pure plan, with the answers that only the server can give added to it. Nothing is changed. Access reviews
//! and dry runs that were answered a moment ago are not repeated ([`Answers`]).

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
use super::live_object::{Live, read};
use super::lookups::look_up;
use super::requests::mutation;
use super::rights::ask;
use crate::clock::Clock;
use crate::wire::client::ReadClient;
use crate::wire::error::ApiError;
use crate::wire::write::WriteError;

/// Plans, and asks the server. Without writers (read-only) no dry run is sent: those clients do not exist. `answers`: those of
/// the rehearsals before; with new ones, everything is asked.
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

/// The version of a step's object as far as it is known, from what was read for the plan or else from the shared state:
/// when it moves, a dry run is sent again. What the shared state does not keep of an object may change without it: then
/// the answer's age decides.
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

/// The contexts of the steps, each once.
fn contexts(plan: &Plan) -> BTreeSet<Name> {
    plan.steps.iter().map(|s| s.context.clone()).collect()
}

/// Access reviews for everything that the plan needs of one cluster.
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

/// The server's own dry run of each step that stands on what is there now: not of a later step of the same object,
/// and not of a drain's evictions, whose budgets add up and which would double its requests.
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
        let (Ok(reader), Ok(writer)) = (reach.reader(step), reach.writer(step)) else { continue };
        let question = question(plan.intent.cluster, step, version(step));
        if let Some(answer) = answers.recent(&question, now) {
            checks.refusals.extend(answer);
            continue;
        }
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
            // what a budget allows is in the plan already: it is waited for
            Ok(_) | Err(WriteError::Refused(ApiError::TooMany { .. })) => answers.keep(question, None, now),
            // that the question cannot be asked is no answer to it
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

/// The dry run of a step as a question.
fn question(cluster: ClusterId, step: &Step, version: String) -> Question {
    // the whole step: its words alone leave out what a change's fields are
    let words = serde_json::to_string(step).unwrap_or_else(|_| format!("{step:?}"));
    Question::DryRun { cluster, context: step.context.clone(), step: words, version }
}
