//! Runs a headless command for the clusters that it needs: a command that reads for each of them at the same time, an
//! action for exactly one.

use std::time::Instant;

use futures::future::join_all;
use pilothouse_core::domain::settings::{ClusterSettings, Settings};

use super::Start;
use crate::cli::ActionCommand;
use crate::report::exit;
use crate::report::headless::{Voice, tell};
use crate::wire::connect::Connection;

/// Returns the names of several clusters, for messages.
fn names(clusters: &[ClusterSettings]) -> String {
    clusters.iter().map(|cluster| cluster.context.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the addresses that the config gives to the first cluster only.
fn not_here(general: &Settings, own: &Settings) -> Vec<String> {
    let servers = [
        ("prometheus", &general.prometheus.server, &own.prometheus.server),
        ("alertmanager", &general.alertmanager.server, &own.alertmanager.server),
        ("loki", &general.loki.server, &own.loki.server),
        ("victorialogs", &general.victorialogs.server, &own.victorialogs.server),
    ];
    let left_out =
        servers.into_iter().filter(|(_, general, own)| !general.url.is_empty() && own.url.is_empty());
    left_out
        .map(|(section, ..)| {
            format!("{section}.url is not used: only the first cluster has it; [clusters.NAME] can name one for each context")
        })
        .collect()
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
            left_out: not_here(&self.settings, &cluster.settings),
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
            if let Some(context) = recorded.map(|action| action.plan.intent.context.as_str())
                && self.has(context)
            {
                return Ok(vec![self.settings.of_cluster(context, true)]);
            }
        }
        self.asked()
    }
}

fn usage(why: &str) -> u8 {
    tell(&format!("pilothouse: {why}"));
    exit::USAGE
}
