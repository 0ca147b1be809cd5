//! The signals that end a headless action.

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
