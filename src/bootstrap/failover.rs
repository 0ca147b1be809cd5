//! Failover across clusters: the connections that an action needs, and whether the plans of the config still fit what
//! there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilothouse_core::domain::failover::{FailoverKind, FailoverPlan};
use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::plan::{Act, Refusal};
use pilothouse_core::domain::settings::GuardSettings;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::world::ClusterInfo;
use pilothouse_core::plan::DataScope;

use super::Dialer;
use crate::action::reach::{Clients, Reach};
use crate::action::rehearse::rehearse;
use crate::action::scene;
use crate::wire::client::ReadClient;

/// The other clusters that an action reaches.
pub fn contexts(act: &Act) -> BTreeSet<Name> {
    match act {
        Act::Failover { plan, .. } => match &plan.kind {
            FailoverKind::Standby(standby) => BTreeSet::from([standby.context.clone()]),
            _ => BTreeSet::new(),
        },
        Act::Undo(derived) | Act::Resume(derived) => {
            derived.steps.iter().map(|s| s.context.clone()).filter(|c| !c.is_empty()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Opens them.
pub async fn others(
    dialer: &Dialer,
    contexts: &BTreeSet<Name>,
    read_only: bool,
) -> Result<Arc<BTreeMap<Name, Clients>>, String> {
    let mut others = BTreeMap::new();
    for context in contexts {
        others.insert(context.clone(), dialer.clients(context, read_only).await?);
    }
    Ok(Arc::new(others))
}

/// What stands against each plan of the config now; nothing = it could run.
pub async fn validate(
    plans: &[FailoverPlan],
    dialer: &Dialer,
    reader: &ReadClient,
    info: &ClusterInfo,
    now: Stamp,
) -> Vec<(Name, Vec<String>)> {
    let mut found = Vec::new();
    for plan in plans {
        found.push((plan.name.clone(), against(plan, dialer, reader, info, now).await));
    }
    found
}

async fn against(
    plan: &FailoverPlan,
    dialer: &Dialer,
    reader: &ReadClient,
    info: &ClusterInfo,
    now: Stamp,
) -> Vec<String> {
    let act = Act::Failover { plan: Box::new(plan.clone()), revert: false };
    // no writer: a plan is looked at, and not even a dry run is sent
    let mut reach = Reach::new(reader.clone(), None);
    match others(dialer, &contexts(&act), true).await {
        Ok(others) => reach.others = others,
        Err(why) => return vec![why],
    }
    let info = ClusterInfo { read_only: false, ..info.clone() };
    let scene = match scene::fetch(reader, info, act, &[], now).await {
        Ok(scene) => scene,
        Err(e) => return vec![e.to_string()],
    };
    let guards = GuardSettings::default();
    let plan = rehearse(&scene.cluster, &scene.intent, &guards, DataScope::TargetsOnly, now, &reach).await;
    plan.refusals.iter().map(Refusal::words).collect()
}
