//! The simulated clusters: in this process for `--demo`, and served for `pilothouse sim`. The ordinary clients connect
//! to them over loopback. This module only passes a kubeconfig and settings to start-up.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use clap::CommandFactory;
use pilothouse_core::domain::near::meant;
use pilothouse_core::domain::settings::{
    AlertmanagerSettings, ClusterSet, LogServerSettings, PrometheusSettings, ServerSettings, Settings,
};
use pilothouse_sim::scenario;
use pilothouse_sim::scenario::fleet::{self, Fleet};
use pilothouse_sim::server::{self, Options, Running, Sim};
use tokio::sync::oneshot;

use super::signals::Interrupt;
use crate::cli::demo::{DemoFlags, SimFlags};
use crate::cli::{Cli, Global};
use crate::config::check;
use crate::report::exit;
use crate::report::headless::{print, tell};

/// The user of the kubeconfig.
const ADMIN: &str = "admin";
/// The users of the simulated cluster.
const PEOPLE: [&str; 5] = [ADMIN, "operator", "drainer", "viewer", "nobody"];

/// From this scale, the start takes so long that a message announces it.
const SLOW_SCALE: u32 = 8;

/// One simulated cluster that runs on its own thread.
#[derive(Debug)]
struct Cluster {
    name: String,
    url: String,
    prometheus: String,
    alertmanager: String,
    loki: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The simulated clusters that run in the console's process and end with it.
#[derive(Debug)]
pub(super) struct Demo {
    /// The folder with kubeconfig, journal and log. It is removed at the end.
    folder: tempfile::TempDir,
    /// The lock is held for the lifetime of the process, however it ends.
    _lock: std::fs::File,
    clusters: Vec<Cluster>,
    /// The sections that the fleet has for the console.
    config: String,
}

/// Returns the clusters of a scenario or a fleet, the first one first, and what the console should know about them.
fn options(name: &str, flags: &DemoFlags) -> Result<(Vec<Options>, String), String> {
    let fleet = Fleet::load(name).map_err(|e| {
        let is_command = Cli::command().get_subcommands().any(|command| command.get_name() == name);
        let hint =
            if is_command { format!("; commands go first: pilothouse {name} --demo") } else { String::new() };
        let meant = match &e {
            scenario::Bad::Unknown(..) if !is_command => {
                let known: Vec<_> = scenario::names().into_iter().chain(fleet::names()).collect();
                meant(name, known.iter().map(|(name, _)| *name))
            }
            _ => String::new(),
        };
        format!("{e}{hint}{meant}")
    })?;
    let of = |(n, member): (u64, fleet::Member)| Options {
        name: member.name,
        // the names of their pods and nodes differ
        seed: flags.seed.wrapping_add(n),
        scale: flags.scale as usize,
        ..Options::new(member.scenario)
    };
    Ok(((0..).zip(fleet.members).map(of).collect(), fleet.config))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
}

/// The prefix of the name of a demo's folder. Random characters follow.
const FOLDER: &str = "pilothouse-demo-";

/// The lock file in the folder of a demo. It is locked while the demo's process is running.
const LOCK: &str = "lock";

/// Removes the folders of demos whose processes were killed. A folder that cannot be opened belongs to another user.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER));
        let lock = std::fs::File::open(entry.path().join(LOCK));
        if ours && lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// Writes a kubeconfig that only its owner can read. It overwrites only another kubeconfig of a simulated cluster.
fn write_kubeconfig(path: &Path, text: &str) -> Result<(), String> {
    let told = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Ok(there) = std::fs::read_to_string(path)
        && !there.is_empty()
        && !there.starts_with(server::WRITTEN)
    {
        return Err(format!(
            "{}: there is a file that no simulated cluster has written; name another one",
            path.display()
        ));
    }
    std::fs::write(path, text).map_err(told)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(told)
}

/// A cluster that is being built.
struct Starting {
    name: String,
    opened: mpsc::Receiver<Result<[String; 4], String>>,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Starting {
    fn new(options: Options) -> Result<Self, String> {
        let name = options.name.clone();
        let (stop, stopped) = oneshot::channel();
        let (open, opened) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("simulator".into())
            .spawn(move || {
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(e) => return drop(open.send(Err(e))),
                };
                runtime.block_on(async {
                    match Sim::start(options).await {
                        Ok(running) => {
                            let urls =
                                [running.url(), running.prometheus(), running.alertmanager(), running.loki()];
                            let said = open.send(Ok(urls));
                            if said.is_ok() {
                                // an error means that the other end was dropped, which also stops the cluster
                                drop(stopped.await);
                            }
                            running.stop().await;
                        }
                        Err(e) => drop(open.send(Err(e.to_string()))),
                    }
                });
            })
            .map_err(|e| e.to_string())?;
        Ok(Self { name, opened, stop, thread })
    }

    /// Waits until the cluster is reachable.
    fn wait(self) -> Result<Cluster, String> {
        let opened = self.opened.recv();
        let opened = opened.map_err(|_| "the simulated cluster ended while it started".to_owned())?;
        let [url, prometheus, alertmanager, loki] = opened?;
        let (stop, thread) = (Some(self.stop), Some(self.thread));
        Ok(Cluster { name: self.name, url, prometheus, alertmanager, loki, stop, thread })
    }
}

impl Demo {
    /// Starts each cluster on its own thread. The clusters are reachable when this function returns.
    pub(super) fn start(name: &str, flags: &DemoFlags) -> Result<Self, String> {
        let (options, config) = options(name, flags)?;
        if flags.scale >= SLOW_SCALE {
            tell(&format!(
                "pilothouse: the simulated cluster is {} times its size: some seconds",
                flags.scale
            ));
        }
        sweep();
        let folder = tempfile::Builder::new()
            .prefix(FOLDER)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|e| e.to_string())?;
        let lock = std::fs::File::create(folder.path().join(LOCK)).map_err(|e| e.to_string())?;
        lock.try_lock().map_err(|e| e.to_string())?;
        // all are built at the same time
        let starting: Vec<Starting> =
            options.into_iter().map(Starting::new).collect::<Result<_, String>>()?;
        let clusters: Vec<Cluster> =
            starting.into_iter().map(Starting::wait).collect::<Result<_, String>>()?;
        let demo = Self { folder, _lock: lock, clusters, config };
        let urls = demo.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.url.as_str()));
        write_kubeconfig(&demo.kubeconfig(), &server::kubeconfig(urls, ADMIN))?;
        Ok(demo)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Puts the clusters and their servers in place of those of the user. The settings of the screen stay.
    pub(super) fn settings(&self, settings: &mut Settings) {
        let Some(first) = self.clusters.first() else { return };
        let own = std::mem::take(&mut settings.prometheus);
        settings.prometheus = PrometheusSettings {
            server: ServerSettings::at(first.prometheus.clone()),
            poll_secs: own.poll_secs,
            window_secs: own.window_secs,
            presets: own.presets,
            ..PrometheusSettings::default()
        };
        settings.alertmanager = AlertmanagerSettings {
            server: ServerSettings::at(first.alertmanager.clone()),
            poll_secs: settings.alertmanager.poll_secs,
            rules: false,
            external_url: String::new(),
        };
        settings.loki = LogServerSettings {
            server: ServerSettings::at(first.loki.clone()),
            poll_secs: settings.loki.poll_secs,
            ..LogServerSettings::default()
        };
        settings.victorialogs = LogServerSettings {
            server: ServerSettings { discover: false, ..ServerSettings::default() },
            ..LogServerSettings::default()
        };
        let of_fleet = check(&self.config, Path::new("the fleet")).settings;
        settings.failover = of_fleet.failover;
        settings.clusters = of_fleet.clusters;
        if self.clusters.len() > 1 {
            let urls = |of: fn(&Cluster) -> &String| {
                self.clusters.iter().map(|c| (c.name.clone(), of(c).clone())).collect()
            };
            settings.clusters.push(ClusterSet {
                name: ALL.into(),
                contexts: vec!["*".into()],
                prometheus: urls(|c| &c.prometheus),
                alertmanager: urls(|c| &c.alertmanager),
                loki: urls(|c| &c.loki),
                ..ClusterSet::default()
            });
        }
    }
}

/// The set of all clusters of a demo.
const ALL: &str = "demo";

impl Cluster {
    /// Stops the cluster without waiting for it.
    fn halt(&mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_err()
        {
            tracing::debug!("the simulated cluster had ended before");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // all end at the same time
        self.clusters.iter_mut().for_each(Cluster::halt);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.halt();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulated cluster ended by a panic");
        }
    }
}

/// Why `pilothouse sim` did not serve.
#[derive(Debug)]
enum NotServed {
    Failed(String),
    /// A signal came before the clusters were open.
    Interrupted,
}

impl From<String> for NotServed {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Runs `pilothouse sim` until it is interrupted.
pub(super) fn serve(flags: &SimFlags, global: &Global) -> u8 {
    let served = || {
        if flags.list {
            return Ok(list()?);
        }
        is_for_sim(global)?;
        let runtime = runtime()?;
        let done = runtime.block_on(run(flags, &global.demo));
        // a cluster that is still being built is not waited for
        runtime.shutdown_background();
        done
    };
    match served() {
        Ok(()) => exit::DONE,
        Err(NotServed::Failed(why)) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
        }
        Err(NotServed::Interrupted) => {
            tell("pilothouse: interrupted before the cluster was open");
            exit::INTERRUPTED
        }
    }
}

/// Returns an error for flags that select a cluster, because they have no effect here.
fn is_for_sim(global: &Global) -> Result<(), String> {
    let slips = [
        (
            global.kubeconfig.is_some(),
            "--kubeconfig",
            "--kubeconfig-out FILE writes the one to reach it with",
        ),
        (
            !global.context.is_empty(),
            "--context",
            "its context is named demo; a fleet's are those of its clusters",
        ),
        (global.demo.demo.is_some(), "--demo", "--scenario names what happens in it"),
    ];
    match slips.iter().find(|(given, ..)| *given) {
        Some((_, flag, instead)) => {
            Err(format!("sim opens a cluster of its own, {flag} is not for it: {instead}"))
        }
        None => Ok(()),
    }
}

fn list() -> Result<(), String> {
    let all = scenario::names().into_iter().chain(fleet::names());
    let lines: Vec<String> = all.map(|(_, title)| title).collect();
    print(&lines.join("\n")).map_err(|e| e.to_string())
}

/// Returns the audit log of one of several clusters: `FILE.NAME`.
fn audit_of(path: &Path, name: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(name);
    path.into()
}

async fn run(flags: &SimFlags, demo: &DemoFlags) -> Result<(), NotServed> {
    let mut running = Vec::new();
    let done = until_interrupted(flags, demo, &mut running).await;
    for one in running {
        one.stop().await;
    }
    done
}

/// Opens the clusters one after the other, and waits for a signal. Those that are open are in `running`.
async fn until_interrupted(
    flags: &SimFlags,
    demo: &DemoFlags,
    running: &mut Vec<Running>,
) -> Result<(), NotServed> {
    if !(flags.factor.is_finite() && (0.0..=1000.0).contains(&flags.factor)) {
        return Err(format!("--factor {}: from 0 (time stands still) to 1000", flags.factor).into());
    }
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| e.to_string())?;
    let mut interrupt = Interrupt::new();
    let (all, _) = options(&flags.scenario, demo)?;
    let several = all.len() > 1;
    let runtime = tokio::runtime::Handle::current();
    for (n, options) in (0..).zip(all) {
        // 0 stays any free port, and each further cluster has the next one
        let port = if flags.port == 0 { 0 } else { flags.port.saturating_add(n) };
        let audit = flags.audit_out.as_ref();
        let audit = audit.map(|path| if several { audit_of(path, &options.name) } else { path.clone() });
        let options = Options { port, factor: flags.factor, audit, monitored: true, ..options };
        let runtime = runtime.clone();
        // a large cluster is built for seconds, in which the signals must be noticed
        let build = tokio::task::spawn_blocking(move || runtime.block_on(Sim::start(options)));
        let built = tokio::select! {
            built = build => built.unwrap_or_else(|e| Err(std::io::Error::other(e))),
            _ = ended.recv() => return Err(NotServed::Interrupted),
            () = interrupt.came() => return Err(NotServed::Interrupted),
        };
        running.push(built.map_err(|e| format!("127.0.0.1:{port}: {e}"))?);
    }
    write_kubeconfigs(running, flags)?;
    let urls = running.iter().map(Running::url).collect::<Vec<_>>().join(", ");
    tell(&format!("the cluster {} is open on {urls}", flags.scenario));
    let file = flags.kubeconfig_out.clone().or_else(|| Some(flags.people.as_ref()?.join("admin.kubeconfig")));
    let file = file.map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
    let contexts = if several { " --context '*'" } else { "" };
    tell(&format!("  pilothouse --kubeconfig {file}{contexts}"));
    for one in running.iter() {
        let (prometheus, alertmanager, loki) = (one.prometheus(), one.alertmanager(), one.loki());
        tell(&format!("  Prometheus {prometheus}, Alertmanager {alertmanager}, Loki {loki}"));
    }
    tokio::select! {
        _ = ended.recv() => {}
        () = interrupt.came() => {}
    }
    Ok(())
}

fn write_kubeconfigs(running: &[Running], flags: &SimFlags) -> Result<(), String> {
    let text = |who: &str| {
        let urls: Vec<String> = running.iter().map(Running::url).collect();
        server::kubeconfig(running.iter().zip(&urls).map(|(one, url)| (one.name.as_str(), url.as_str())), who)
    };
    let write = |path: &Path, who: &str| write_kubeconfig(path, &text(who));
    if let Some(folder) = &flags.people {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for who in PEOPLE {
            write(&folder.join(format!("{who}.kubeconfig")), who)?;
        }
    }
    match &flags.kubeconfig_out {
        Some(path) => write(path, ADMIN),
        None if flags.people.is_some() => Ok(()),
        None => print(text(ADMIN).trim_end()).map_err(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_flag_that_chooses_nothing_here_is_told_what_it_was_meant_for() {
        let judged = |flags: &[&str]| {
            let line = ["pilothouse", "sim"].iter().chain(flags);
            is_for_sim(&Cli::try_parse_from(line).unwrap().global)
        };
        assert_eq!(judged(&["--seed", "3", "--kubeconfig-out", "k"]), Ok(()));
        assert!(judged(&["--kubeconfig", "k"]).unwrap_err().contains("--kubeconfig-out FILE"));
        assert!(judged(&["--context", "demo"]).unwrap_err().contains("named demo"));
        assert!(judged(&["--demo", "calm"]).unwrap_err().contains("--scenario"));
    }
}
