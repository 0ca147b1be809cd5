//! Runs a headless command for the clusters that it needs: a command that reads for each of them at the same time, an
//! action for exactly one.

use std::time::Instant;

use futures::future::join_all;
use pilothouse_core::domain::failover::FailoverPlan;
use pilothouse_core::domain::haproxy::is_server;
use pilothouse_core::domain::settings::{ClusterSettings, Settings};
use pilothouse_core::facts::world::ActionView;

use super::Start;
use super::choice::is_glob;
use crate::cli::ActionCommand;
use crate::report::exit;
use crate::report::headless::{Voice, tell};
use crate::wire::connect::Connection;

/// Returns the names of several clusters, for messages.
fn names(clusters: &[ClusterSettings]) -> String {
    clusters.iter().map(|cluster| cluster.context.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the addresses of the config that are not used for this cluster, because they are those of the first one.
fn not_here(own: &Settings) -> Vec<String> {
    let servers = [
        ("prometheus", &own.prometheus.server),
        ("alertmanager", &own.alertmanager.server),
        ("loki", &own.loki.server),
        ("victorialogs", &own.victorialogs.server),
    ];
    let left_out = servers.into_iter().filter(|(_, server)| server.is_left_out);
    left_out
        .map(|(section, _)| {
            format!("{section}.url is not used: only the first cluster has it; [clusters.NAME] can name one for each context")
        })
        .collect()
}

/// Returns why a failover plan of the config is not carried out in a cluster: it is for another one.
fn elsewhere(plans: &[FailoverPlan], cluster: &ClusterSettings, command: &ActionCommand) -> Option<String> {
    let ActionCommand::Failover { plan: name, .. } = command else { return None };
    let is_here = cluster.settings.failover.iter().any(|plan| plan.name == name.as_str());
    let plan = plans.iter().filter(|_| !is_here).find(|plan| plan.name == name.as_str())?;
    let context = &cluster.context;
    Some(if plan.in_context.is_empty() || plan.names(context) {
        format!(
            "failover plan {name} goes over to {context}, so it cannot begin there: name the cluster to leave with --context"
        )
    } else {
        let what = if is_glob(&plan.in_context) { "name one that matches" } else { "name it" };
        format!(
            "failover plan {name} is for context {}, not {context}: {what} with --context",
            plan.in_context
        )
    })
}

impl Start {
    /// Returns the start of a command for one cluster: with its settings, its clock and its connection.
    fn at(&self, cluster: &ClusterSettings, voice: Voice) -> Self {
        Self {
            global: self.global.clone(),
            settings: (*cluster.settings).clone(),
            loaded: self.loaded.clone(),
            home: self.home.clone(),
            journal: self.journal.clone(),
            clock: self.dialer.clock_of(&cluster.context),
            dialer: self.dialer.at(&cluster.context),
            cluster: cluster.clone(),
            voice,
            left_out: not_here(&cluster.settings),
            stop: self.stop.clone(),
            #[cfg(feature = "demo")]
            _demo: None,
        }
    }

    /// Opens the cluster's connection. Among several clusters, one whose credentials do not arrive is given up at the time
    /// limit, so that the command ends.
    pub(super) async fn connect_until(&self, until: Instant) -> Result<Connection, String> {
        if self.voice.context().is_none() {
            return self.connect().await;
        }
        let opened = tokio::time::timeout_at(until.into(), self.connect()).await;
        opened.unwrap_or_else(|_| Err("its credentials did not arrive within the time of --wait".to_owned()))
    }

    /// Runs a command that reads, for each of the chosen clusters at the same time. Returns the worst exit status.
    #[expect(clippy::needless_pass_by_value, reason = "the demo ends when the command has ended")]
    pub(super) fn with_each(self, work: impl AsyncFn(&Start) -> u8) -> u8 {
        let clusters = match self.asked() {
            Ok(clusters) => clusters,
            Err(why) => return usage(&why),
        };
        if clusters.len() > 1 && self.global.record.is_some() {
            let names = names(&clusters);
            return usage(&format!(
                "--record records one cluster, and there are several ({names}): name one with --context"
            ));
        }
        self.with_runtime(async |start| {
            let several = clusters.len() > 1;
            let voice = |context: &str| if several { Voice::of(context) } else { Voice::default() };
            let starts: Vec<Start> =
                clusters.iter().map(|cluster| start.at(cluster, voice(&cluster.context))).collect();
            let statuses = join_all(starts.iter().map(|one| work(one))).await;
            statuses.into_iter().max().unwrap_or(exit::FAILED)
        })
    }

    /// Runs an action. An action changes one cluster, so several are refused before anything is connected.
    pub(super) fn with_one(self, command: &ActionCommand, work: impl AsyncFnOnce(&Start) -> u8) -> u8 {
        if command.needs_no_cluster() {
            return self.with_runtime(work);
        }
        let clusters = match self.changed(command) {
            Ok(clusters) => clusters,
            Err(why) => return usage(&why),
        };
        match clusters.as_slice() {
            [cluster] => {
                if let Some(why) = elsewhere(&self.settings.failover, cluster, command) {
                    return usage(&why);
                }
                let one = self.at(cluster, Voice::default());
                // the demo ends with `self`
                let status = one.with_runtime(work);
                drop(self);
                status
            }
            several => usage(&format!(
                "an action changes one cluster, and there are {} ({}): name one with --context",
                several.len(),
                names(several)
            )),
        }
    }

    /// Returns the clusters that an action would change. An action on a recorded action is in the context of that action,
    /// unless another one is named.
    fn changed(&self, command: &ActionCommand) -> Result<Vec<ClusterSettings>, String> {
        if let Some(id) = command.recorded().filter(|_| !self.names_context()) {
            let (actions, _) = self.journal().history();
            let recorded = actions.iter().find(|action| action.id == *id);
            if let Some(action) = recorded.filter(|action| self.has(&action.plan.intent.context)) {
                let first = self.asked().ok().and_then(|all| all.into_iter().next());
                let first = first.map(|of| of.context);
                return Ok(vec![recorded_in(&self.settings, action, first.as_deref())]);
            }
        }
        self.asked()
    }
}

/// Returns the settings of the cluster that a recorded action was done in. The addresses of the config are those of the
/// cluster that is opened first; but a server of a HAProxy can only have been changed while the action's cluster was the
/// first.
fn recorded_in(settings: &Settings, action: &ActionView, first: Option<&str>) -> ClusterSettings {
    let context = action.plan.intent.context.as_str();
    let of_proxies = action.plan.steps.iter().any(|step| is_server(&step.on.kind));
    settings.of_cluster(context, of_proxies || first == Some(context))
}

fn usage(why: &str) -> u8 {
    tell(&format!("pilothouse: {why}"));
    exit::USAGE
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
    use pilothouse_core::domain::plan::{Act, Intent, Plan, Step, StepKind};
    use pilothouse_core::domain::time::Stamp;

    use super::*;

    #[test]
    fn an_action_that_is_taken_up_in_another_context_asks_no_server_of_the_first_cluster() {
        let mut settings = Settings::default();
        settings.prometheus.server.url = "http://of-the-first:9090".into();
        let action = |kind: Kind| {
            let on = ObjectRef::new(ClusterId(0), kind, &Name::default(), &"n".into(), &Uid::default());
            let (context, targets) = ("eu-2".into(), vec![on.clone()]);
            let intent = Intent { cluster: ClusterId(0), context, act: Act::Cordon, targets };
            let mut plan = Plan::new(intent, Stamp(0));
            plan.steps = vec![Step::new(StepKind::Cordon, on)];
            ActionView::new("1".into(), Arc::new(plan), Stamp(0))
        };
        for (kind, first, url) in [
            (Kind::Node, Some("eu-1"), ""),
            (Kind::Node, None, ""),
            (Kind::Node, Some("eu-2"), "http://of-the-first:9090"),
            (Kind::parse("HAProxyServer"), Some("eu-1"), "http://of-the-first:9090"),
        ] {
            let of = recorded_in(&settings, &action(kind.clone()), first);
            assert_eq!(
                (of.context.as_str(), of.settings.prometheus.server.url.as_str()),
                ("eu-2", url),
                "{kind:?} {first:?}"
            );
            // the command reads the settings once more, as those of its only cluster
            let again = of.settings.of_cluster("eu-2", true).settings;
            assert_eq!(
                again.prometheus.server.is_left_out,
                url.is_empty(),
                "the plan knows: {kind:?} {first:?}"
            );
            assert_eq!(not_here(&again).len(), usize::from(url.is_empty()));
        }
    }
}
