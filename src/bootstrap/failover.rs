//! Checks whether the failover plans of the config still match the clusters.

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::{ClusterId, Name};
use pilothouse_core::domain::plan::{Act, Refusal};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::ClusterInfo;
use pilothouse_core::plan::DataScope;

use super::cluster::{ClusterHandle, Handles};
use crate::action::answers::Answers;
use crate::action::cluster::{ClusterClients, OpenContext};
use crate::action::fetch_targets;
use crate::action::rehearse::rehearse;

/// Returns the reasons why each plan of the config cannot run now. A plan without reasons can run. If `clients` only
/// read, not even a dry run is sent.
pub(super) async fn validate(
    plans: &[FailoverPlan],
    clients: &ClusterClients,
    info: &ClusterInfo,
    now: Stamp,
) -> Vec<(Name, Vec<String>)> {
    let mut found = Vec::new();
    for plan in plans {
        found.push((plan.name.clone(), against(plan, clients, info, now).await));
    }
    found
}

/// Returns the plans that can be checked now that a cluster is open, each with the cluster that it is for: those of this
/// cluster, and those of others that go over to it. A plan is due when the last one of its clusters is opened, because
/// the credential plugin of one that is not open must not run.
pub(super) fn due(clusters: &Handles, opened: &ClusterInfo) -> Vec<(ClusterId, FailoverPlan)> {
    let open = clusters.clients();
    let mut plans = clusters.failover();
    plans.retain(|(of, plan)| {
        let contexts = Act::Failover { plan: Box::new(plan.clone()), revert: false }.contexts();
        (*of == opened.id || contexts.contains(&opened.context))
            && contexts.iter().all(|context| open.of_context(context).is_some())
    });
    plans
}

/// Checks these plans one after the other, and tells why one cannot run. A plan whose cluster was closed meanwhile is
/// not checked. `elsewhere` opens the clients of other contexts, only for reading.
pub(super) async fn check(
    due: Vec<(ClusterId, FailoverPlan)>,
    clusters: &Handles,
    elsewhere: OpenContext,
    tell: impl Fn(String),
) {
    for (of, plan) in due {
        let Ok(ClusterHandle { info, clients: mut looks, .. }) = clusters.get(of) else { continue };
        // plans are only checked here, so not even a dry run is sent
        (looks.own.writer, looks.open) = (None, elsewhere.clone());
        let now = looks.clock.now();
        for (name, against) in validate(std::slice::from_ref(&plan), &looks, &info, now).await {
            if let Some(first) = against.first() {
                tell(format!("failover plan {name}: {first}"));
            }
        }
    }
}

async fn against(
    plan: &FailoverPlan,
    clients: &ClusterClients,
    info: &ClusterInfo,
    now: Stamp,
) -> Vec<String> {
    let act = Act::Failover { plan: Box::new(plan.clone()), revert: false };
    let plan_clients = match clients.for_plan(&act.contexts()).await {
        Ok(plan_clients) => plan_clients,
        Err(why) => return vec![why],
    };
    let info = ClusterInfo { read_only: false, ..info.clone() };
    let scene = match fetch_targets::fetch(&clients.own.reader, info, act, &[], now).await {
        Ok(scene) => scene,
        Err(e) => return vec![e.to_string()],
    };
    let (guards, answers) = (GuardSettings::default(), &mut Answers::default());
    let plan =
        rehearse(&scene.cluster, &scene.intent, &guards, DataScope::TargetsOnly, now, &plan_clients, answers)
            .await;
    plan.refusals.iter().map(Refusal::words).collect()
}
