//! Our own log: rolling daily files in the state folder, seven kept, no secrets, no payloads above debug. Nothing is
//! ever written to the terminal from here.

use std::path::Path;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

/// Starts logging; None if the folder cannot be written, which must not keep anyone from looking at a cluster. The
/// guard flushes when dropped. `PILOTHOUSE_LOG` sets the filter (default `info`).
pub fn start(state: &Path) -> Option<WorkerGuard> {
    let folder = state.join("log");
    std::fs::create_dir_all(&folder).ok()?;
    let file = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("pilothouse")
        .filename_suffix("log")
        .max_log_files(7)
        .build(&folder)
        .ok()?;
    let (writer, guard) = tracing_appender::non_blocking(file);
    let filter = EnvFilter::try_from_env("PILOTHOUSE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).try_init().ok()?;
    Some(guard)
}
