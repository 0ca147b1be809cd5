//! The signals that end a headless command.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals SIGINT, SIGHUP and SIGTERM.
pub(super) struct Signals([Option<Signal>; 3]);

impl Signals {
    pub(super) fn new() -> Self {
        Self([SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()].map(|k| signal(k).ok()))
    }

    /// Returns `true` for SIGHUP or SIGTERM, and `false` for SIGINT (Ctrl-C).
    pub(super) async fn next(&mut self) -> bool {
        async fn of(signal: &mut Option<Signal>) {
            let told = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if told.is_none() {
                std::future::pending::<()>().await;
            }
        }
        let Self([interrupt, hangup, terminate]) = self;
        tokio::select! {
            () = of(interrupt) => false,
            () = of(hangup) => true,
            () = of(terminate) => true,
        }
    }
}

/// The signal SIGINT (Ctrl-C) for a command that reads. The process listens for it from here on, so none is lost between
/// two waits.
pub(super) struct Interrupt(Option<Signal>);

impl Interrupt {
    pub(super) fn new() -> Self {
        Self(signal(SignalKind::interrupt()).ok())
    }

    /// Waits for the signal.
    pub(super) async fn came(&mut self) {
        let told = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if told.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for work. Returns nothing if the signal comes first.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.came() => None,
        }
    }
}
