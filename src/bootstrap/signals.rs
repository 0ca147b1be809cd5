//! What ends a headless action from outside.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a hang-up and a termination.
pub(super) struct Signals([Option<Signal>; 3]);

impl Signals {
    pub(super) fn new() -> Self {
        Self([SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()].map(|k| signal(k).ok()))
    }

    /// True: a hang-up or a termination, false: Ctrl-C.
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
