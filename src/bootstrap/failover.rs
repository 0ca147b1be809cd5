//! Checks whether the failover plans of the config still match the clusters.

use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Act, Refusal};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::ClusterInfo;
use pilothouse_core::plan::DataScope;

use crate::action::answers::Answers;
use crate::action::cluster::ClusterClients;
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
