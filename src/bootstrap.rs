//! Start-up and wiring. This is the only room (see the crate's documentation) that imports every other room.

mod act;
pub mod alertmanager;
mod appearance;
mod choice;
pub mod cluster;
mod console;
#[cfg(feature = "demo")]
mod demo;
pub mod desk;
pub mod dialer;
mod each;
mod failover;
pub mod fetch;
mod gauge;
mod journal;
mod judge;
mod logs;
mod look;
pub mod opening;
pub mod replay;
mod resume;
mod session;
mod signals;
mod who;

use std::path::PathBuf;

use clap::CommandFactory;
use pilothouse_core::domain::settings::{ClusterSettings, Settings};
use pilothouse_core::policy::kubectl::quote;
use tokio_util::sync::CancellationToken;

use crate::action::journal::Journal;
use crate::cli::settings::By;
use crate::cli::{self, Cli, Command, Global};
use crate::clock::Clock;
use crate::config::{self, Home, Loaded, Origin};
use crate::report::headless::{Voice, print, tell};
use crate::report::{exit, rights};
use crate::wire::connect::Connection;
use crate::wire::kubeconfig::Overrides;

use self::dialer::Dialer;

/// The common input of every command.
pub(crate) struct Start {
    pub global: Global,
    pub settings: Settings,
    pub loaded: Loaded,
    pub home: Home,
    /// The journal of this process.
    journal: Journal,
    pub clock: Clock,
    /// Opens the connections to clusters. The process has only one dialer.
    dialer: Dialer,
    /// The cluster of a headless command.
    pub cluster: ClusterSettings,
    pub voice: Voice,
    /// Settings of the config that do not apply to this cluster.
    pub left_out: Vec<String>,
    /// Ends the commands that go on until they are stopped.
    pub stop: CancellationToken,
    /// This value is kept until the process ends, because dropping it ends the simulated cluster.
    #[cfg(feature = "demo")]
    _demo: Option<demo::Demo>,
}

/// Parses the command line, runs the command and returns the exit status.
pub fn run() -> u8 {
    let cli = match cli::help::parse() {
        Ok(cli) => cli,
        Err(e) => {
            // help and version are output and not errors; clap selects the stream
            let status = if e.use_stderr() { exit::USAGE } else { exit::DONE };
            let closed = |e: std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
            return if e.print().map_or_else(closed, |()| true) { status } else { exit::FAILED };
        }
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    #[cfg(feature = "demo")]
    if let Some(Command::Sim(flags)) = &cli.command {
        return demo::serve(flags, &cli.global);
    }
    let start = match Start::new(cli.global) {
        Ok(start) => start,
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            return exit::USAGE;
        }
    };
    match cli.command {
        None => match &start.global.replay {
            Some(file) => replay::console(&start, file, start.global.speed),
            None => console::console(&start),
        },
        Some(command) => start.headless(command),
    }
}

/// Converts the flags of the command line to overrides of the kubeconfig.
pub fn overrides(flags: &crate::cli::access::Access) -> Overrides {
    Overrides {
        user: flags.user.clone(),
        cluster: flags.cluster.clone(),
        server: flags.server.clone(),
        token: flags.token.clone(),
        insecure: flags.insecure_skip_tls_verify == Some(true),
        certificate_authority: flags.certificate_authority.clone(),
        client_certificate: flags.client_certificate.clone(),
        client_key: flags.client_key.clone(),
        tls_server_name: flags.tls_server_name.clone(),
        as_user: flags.as_user.clone(),
        as_groups: flags.as_group.clone(),
        as_uid: flags.as_uid.clone(),
        request_timeout: flags.request_timeout.filter(|time| !time.is_zero()),
    }
}

impl Start {
    #[cfg_attr(
        not(feature = "demo"),
        allow(unused_mut, clippy::unnecessary_wraps, reason = "only a demo can fail")
    )]
    fn new(mut global: Global) -> Result<Self, String> {
        let mut home = config::home();
        let mut loaded = match global.config.clone().or_else(|| config::default_path(&home)) {
            Some(path) => config::load(&path, global.config.is_some()),
            None => Loaded::default(),
        };
        judge::judge(&mut loaded, &home);
        let mut settings = loaded.settings.clone();
        global.settings.over(&mut settings);
        loaded.origins.extend(global.settings.given().iter().map(|given| {
            let origin = match &given.by {
                By::Flag(flag) => Origin::Flag(flag.clone()),
                By::Environment(name) => Origin::Environment(name.clone()),
            };
            (given.key.to_owned(), origin)
        }));
        if loaded.unsafe_to_write {
            settings.guards.read_only = true;
            loaded.origins.push(("guards.read_only".to_owned(), Origin::Problems));
        }
        #[cfg(feature = "demo")]
        if global.demo.demo.is_none() && global.demo.scale != 1 {
            let scale = global.demo.scale;
            return Err(format!(
                "--scale {scale} is the size of a simulated cluster: add --demo; replicas are changed by pilothouse scale KIND/NAME --replicas {scale}"
            ));
        }
        #[cfg(feature = "demo")]
        let demo = match &global.demo.demo {
            Some(name) => Some(demo::Demo::start(name, &global.demo)?),
            None => None,
        };
        #[cfg(feature = "demo")]
        if let Some(demo) = &demo {
            // a demo has its own clusters, journal and log, but uses the theme and keys of the user, and saves
            // files where the user keeps them
            global.kubeconfig = Some(demo.kubeconfig());
            global.access = crate::cli::access::Access::default();
            home.state = Some(demo.folder().to_owned());
            demo.settings(&mut settings);
            for key in ["prometheus.url", "alertmanager.url", "loki.url", "victorialogs.discover"] {
                loaded.origins.push((key.to_owned(), Origin::Flag("--demo".to_owned())));
            }
        }
        let clock = Clock::system();
        let overrides = overrides(&global.access);
        let first =
            choice::first(&global.context, global.kubeconfig.as_deref(), &overrides, &settings.clusters);
        let dialer = Dialer::new(global.kubeconfig.clone(), first, overrides, clock.clone());
        let dialer = dialer.guarded(settings.all_guards());
        let owner = format!("{}-{}", clock.now().0, std::process::id());
        let journal = journal_folder(&home).map_or_else(Journal::nowhere, |at| Journal::new(at, &owner));
        Ok(Self {
            global,
            settings,
            loaded,
            home,
            journal,
            clock,
            dialer,
            cluster: ClusterSettings::default(),
            voice: Voice::default(),
            left_out: Vec::new(),
            stop: CancellationToken::new(),
            #[cfg(feature = "demo")]
            _demo: demo,
        })
    }

    pub(crate) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Opens the first requested context, or the current one if none was requested.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        self.dialer.own().await
    }

    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Whether the cluster is simulated in this process.
    #[cfg_attr(not(feature = "demo"), expect(clippy::unused_self, reason = "only a demo has a flag for it"))]
    pub(crate) fn is_demo(&self) -> bool {
        #[cfg(feature = "demo")]
        return self.global.demo.demo.is_some();
        #[cfg(not(feature = "demo"))]
        false
    }

    /// Returns the flags that select this cluster from anywhere. A command that is passed on to another person needs
    /// them.
    pub(crate) fn reach(&self, context: &str) -> String {
        #[cfg(feature = "demo")]
        if let Some(scenario) = &self.global.demo.demo {
            let flags = &self.global.demo;
            // the names of objects depend on these flags
            let seed = if flags.seed == 1 { String::new() } else { format!(" --seed {}", flags.seed) };
            let scale = if flags.scale <= 1 { String::new() } else { format!(" --scale {}", flags.scale) };
            let several = crate::wire::kubeconfig::contexts(self.global.kubeconfig.as_deref())
                .is_ok_and(|c| c.len() > 1);
            let one = if several { format!(" --context {}", quote(context)) } else { String::new() };
            return format!("--demo {}{seed}{scale}{one}", quote(scenario));
        }
        let file = self.global.kubeconfig.as_ref().map(|file| quote(&file.display().to_string()));
        let file = file.map_or_else(String::new, |file| format!("--kubeconfig {file} "));
        format!("{file}--context {}", quote(context))
    }

    /// Records that a screen uses the terminal.
    pub(crate) fn leave_the_terminal(&self) {
        self.dialer.leave_the_terminal();
    }

    fn headless(self, command: Command) -> u8 {
        let needs_config = !matches!(
            command,
            Command::Config { .. }
                | Command::Completions { .. }
                | Command::Man
                | Command::Keys { .. }
                | Command::Rbac(_)
                | Command::Report { .. }
                | Command::Themes
        );
        if needs_config && !self.loaded.problems.is_empty() && !matches!(command, Command::Doctor { .. }) {
            for problem in &self.loaded.problems {
                tell(&format!("pilothouse: {problem}"));
            }
            return exit::USAGE;
        }
        match command {
            Command::Snapshot { look, watch } => {
                self.with_each(async |s| look::snapshot(s, &look, watch).await)
            }
            Command::Why { look, fail_on } => {
                self.with_each(async |s| look::why(s, &look, fail_on.map(Into::into)).await)
            }
            Command::Get(flags) => match look::check(&flags) {
                Ok(()) => self.with_each(async |s| look::get(s, &flags).await),
                Err(why) => said(Err(why)),
            },
            Command::Logs(flags) if flags.reads_input() => {
                self.with_runtime(async |s| look::input(s, &flags).await)
            }
            Command::Logs(flags) => match look::check_logs(&self, &flags) {
                Ok(()) => self.with_each(async |s| Box::pin(look::logs(s, &flags)).await),
                Err(why) => said(Err(why)),
            },
            Command::Doctor { look } => self.with_each(async |s| look::doctor(s, &look).await),
            Command::Action(action) => self.with_one(&action, async |s| Box::pin(act::run(s, &action)).await),
            Command::Report { file, output } => replay::report(&file, output),
            Command::Journal { what } => journal::told(&self, &what),
            Command::Config { what } => self.config(&what),
            Command::Keys { markdown: true } => said(Ok(crate::ui::command::keys_table_markdown())),
            Command::Keys { markdown: false } => said(Ok(crate::ui::command::keys_text())),
            Command::Rbac(flags) => said(Ok(flags.role.map_or_else(rights::markdown, rights::manifest))),
            Command::Themes => said(Ok(appearance::names(&self))),
            #[cfg(feature = "demo")]
            Command::Sim(flags) => demo::serve(&flags, &self.global),
            Command::Completions { shell } => said(Ok(cli::completions::script(shell))),
            Command::Man => {
                let mut page = Vec::new();
                let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
                said(
                    rendered.map_err(|e| e.to_string()).map(|()| String::from_utf8_lossy(&page).into_owned()),
                )
            }
        }
    }

    fn with_runtime(self, work: impl AsyncFnOnce(&Start) -> u8) -> u8 {
        let _log = crate::telemetry::start(self.home.state.as_deref());
        match runtime() {
            Ok(runtime) => {
                let status = runtime.block_on(work(&self));
                runtime.shutdown_timeout(std::time::Duration::from_millis(500));
                status
            }
            Err(e) => {
                tell(&format!("pilothouse: {e}"));
                exit::FAILED
            }
        }
    }
}

/// Creates the runtime. Two workers are sufficient: most work waits for I/O, and the hub and the screen have their
/// own threads.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Prints data, or an error.
fn said(text: Result<String, String>) -> u8 {
    match text {
        Ok(text) => match print(&text) {
            Ok(()) => exit::DONE,
            Err(_) => exit::FAILED,
        },
        Err(why) => {
            tell(&format!("pilothouse: {why}"));
            exit::USAGE
        }
    }
}

/// Returns the folder of the journal, or `None` if the user has no home directory.
pub(crate) fn journal_folder(home: &Home) -> Option<PathBuf> {
    Some(home.state.as_ref()?.join("journal"))
}
