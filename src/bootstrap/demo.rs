//! The simulated cluster: in this process for `--demo`, and served for `pilothouse sim`. The ordinary clients connect
//! to it over loopback. This module only passes a kubeconfig and addresses to start-up.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use clap::CommandFactory;
use pilothouse_core::domain::near::meant;
use pilothouse_sim::scenario::{self, Scenario};
use pilothouse_sim::server::{Options, Running, Sim};
use tokio::sync::oneshot;

use crate::cli::demo::{DemoFlags, SimFlags};
use crate::cli::{Cli, Global};
use crate::report::exit;
use crate::report::headless::{print, tell};

/// The users of the simulated cluster.
const PEOPLE: [&str; 5] = ["admin", "operator", "drainer", "viewer", "nobody"];

/// From this scale, the start takes so long that a message announces it.
const SLOW_SCALE: u32 = 8;

/// A simulated cluster that runs in the console's process and ends with it.
#[derive(Debug)]
pub(super) struct Demo {
    /// The folder with kubeconfig, journal and log. It is removed at the end.
    folder: tempfile::TempDir,
    /// The lock is held for the lifetime of the process, however it ends.
    _lock: std::fs::File,
    pub prometheus: String,
    pub alertmanager: String,
    pub loki: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn options(name: &str, flags: &DemoFlags) -> Result<Options, String> {
    let scenario = Scenario::load(name).map_err(|e| {
        let is_command = Cli::command().get_subcommands().any(|command| command.get_name() == name);
        let hint =
            if is_command { format!("; commands go first: pilothouse {name} --demo") } else { String::new() };
        let meant = match &e {
            scenario::Bad::Unknown(..) if !is_command => {
                meant(name, scenario::names().iter().map(|(name, _)| *name))
            }
            _ => String::new(),
        };
        format!("{e}{hint}{meant}")
    })?;
    Ok(Options { seed: flags.seed, scale: flags.scale as usize, ..Options::new(scenario) })
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
        && !there.contains("current-context: demo")
    {
        return Err(format!(
            "{}: there is a file that no simulated cluster has written; name another one",
            path.display()
        ));
    }
    std::fs::write(path, text).map_err(told)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(told)
}

impl Demo {
    /// Starts the cluster on its own thread. The cluster is reachable when this function returns.
    pub(super) fn start(name: &str, flags: &DemoFlags) -> Result<Self, String> {
        let options = options(name, flags)?;
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
        let (stop, stopped) = oneshot::channel();
        let (opened, open) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("simulator".into())
            .spawn(move || {
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(e) => return drop(opened.send(Err(e))),
                };
                runtime.block_on(async {
                    match Sim::start(options).await {
                        Ok(running) => {
                            let urls = [running.prometheus(), running.alertmanager(), running.loki()];
                            let said = opened.send(Ok((running.kubeconfig(), urls)));
                            if said.is_ok() {
                                // an error means that the other end was dropped, which also stops the cluster
                                drop(stopped.await);
                            }
                            running.stop().await;
                        }
                        Err(e) => drop(opened.send(Err(e.to_string()))),
                    }
                });
            })
            .map_err(|e| e.to_string())?;
        let (kubeconfig, [prometheus, alertmanager, loki]) =
            open.recv().map_err(|_| "the simulated cluster ended while it started".to_owned())??;
        let demo = Self {
            folder,
            _lock: lock,
            prometheus,
            alertmanager,
            loki,
            stop: Some(stop),
            thread: Some(thread),
        };
        write_kubeconfig(&demo.kubeconfig(), &kubeconfig)?;
        Ok(demo)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_err()
        {
            tracing::debug!("the simulated cluster had ended before");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulated cluster ended by a panic");
        }
    }
}

/// Runs `pilothouse sim` until it is interrupted.
pub(super) fn serve(flags: &SimFlags, global: &Global) -> u8 {
    let served = || {
        if flags.list {
            return list();
        }
        is_for_sim(global)?;
        runtime()?.block_on(run(flags, &global.demo))
    };
    match served() {
        Ok(()) => exit::DONE,
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
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
        (!global.context.is_empty(), "--context", "its context is named demo"),
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
    let lines: Vec<String> = scenario::names().into_iter().map(|(_, title)| title).collect();
    print(&lines.join("\n")).map_err(|e| e.to_string())
}

async fn run(flags: &SimFlags, demo: &DemoFlags) -> Result<(), String> {
    if !(flags.factor.is_finite() && (0.0..=1000.0).contains(&flags.factor)) {
        return Err(format!("--factor {}: from 0 (time stands still) to 1000", flags.factor));
    }
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| e.to_string())?;
    let audit = flags.audit_out.clone();
    let options = Options {
        port: flags.port,
        factor: flags.factor,
        audit,
        monitored: true,
        ..options(&flags.scenario, demo)?
    };
    let running = Sim::start(options).await.map_err(|e| format!("127.0.0.1:{}: {e}", flags.port))?;
    write_kubeconfigs(&running, flags)?;
    tell(&format!("the cluster {} is open on {}", flags.scenario, running.url()));
    let file = flags.kubeconfig_out.clone().or_else(|| Some(flags.people.as_ref()?.join("admin.kubeconfig")));
    let file = file.map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
    tell(&format!("  pilothouse --kubeconfig {file}"));
    let (prometheus, alertmanager, loki) = (running.prometheus(), running.alertmanager(), running.loki());
    tell(&format!("  Prometheus {prometheus}, Alertmanager {alertmanager}, Loki {loki}"));
    tokio::select! {
        _ = ended.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(|e| e.to_string())?,
    }
    running.stop().await;
    Ok(())
}

fn write_kubeconfigs(running: &Running, flags: &SimFlags) -> Result<(), String> {
    let write = |path: &Path, who: &str| write_kubeconfig(path, &running.kubeconfig_as(who));
    if let Some(folder) = &flags.people {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for who in PEOPLE {
            write(&folder.join(format!("{who}.kubeconfig")), who)?;
        }
    }
    match &flags.kubeconfig_out {
        Some(path) => write(path, "admin"),
        None if flags.people.is_some() => Ok(()),
        None => print(running.kubeconfig().trim_end()).map_err(|e| e.to_string()),
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
