//! A rehearsal: the pure plan, with what only the server knows asked for and settled in. Nothing is changed.

use futures::future::join_all;
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::model::plan::{Evidence, Intent, Plan};
use pilothouse_core::model::world::Cluster;
use pilothouse_core::policy::plan::{self, View};

use crate::wire::client::{Ask, ReadClient};
use crate::wire::write::{WriteClient, WriteError};

use super::requests::mutation;

/// Plans, asks and settles. Without a `writer` (read-only) no dry run is sent: that client does not exist.
pub async fn rehearse(
    cluster: &Cluster,
    intent: &Intent,
    guards: &GuardSettings,
    view: View,
    now: Stamp,
    reader: &ReadClient,
    writer: Option<&WriteClient>,
) -> Plan {
    let plan = plan::plan(cluster, intent, guards, view, now);
    if !plan.refusals.is_empty() {
        return plan;
    }
    let mut evidence = probe(&plan, reader).await;
    if let Some(writer) = writer
        && evidence.denied.is_empty()
    {
        dry_run(&plan, writer, &mut evidence).await;
    }
    plan::settle(plan, &evidence)
}

/// Access reviews for everything that the plan needs.
async fn probe(plan: &Plan, reader: &ReadClient) -> Evidence {
    let needed = plan::access(plan);
    let answers = join_all(needed.iter().map(|a| {
        reader.may(Ask {
            verb: a.verb,
            group: a.group,
            resource: a.resource,
            subresource: a.subresource,
            namespace: &a.namespace,
            name: &a.name,
        })
    }))
    .await;
    let mut evidence = Evidence::default();
    for (access, answer) in needed.iter().zip(answers) {
        match answer {
            Ok(answer) if answer.allowed => {}
            Ok(answer) => {
                let reason =
                    if answer.reason.is_empty() { String::new() } else { format!(" ({})", answer.reason) };
                evidence.denied.push(format!("you may not {access}{reason}"));
            }
            Err(e) => evidence.unanswered.push(format!("may you {access}: {e}")),
        }
    }
    evidence
}

/// The server's own dry run of each step that has one.
async fn dry_run(plan: &Plan, writer: &WriteClient, evidence: &mut Evidence) {
    let stamp = plan.made_at.to_string();
    for step in &plan.steps {
        let Some(request) = mutation(&step.what, &step.on, None, &stamp) else { continue };
        match request.send(writer, true).await {
            Ok(_) => {}
            Err(WriteError::Refused(e)) => {
                evidence.dry_run_refused.push(format!("{} {}: {e}", step.what, step.on));
            }
            Err(e @ WriteError::Unknown(_)) => {
                evidence.unanswered.push(format!("dry run of {}: {e}", step.on));
            }
        }
    }
}
