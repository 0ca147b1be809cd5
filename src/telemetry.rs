//! Our own log: one file per day in the state folder, seven are kept. It has no secrets, and payloads only at level
//! debug. It never writes to the terminal.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

const PREFIX: &str = "pilothouse";

/// Starts logging. None if there is no folder or it cannot be written, which must not prevent anyone from looking at a
/// cluster. The guard flushes the log when it is dropped. `PILOTHOUSE_LOG` sets the filter (default `info`).
pub fn start(state: Option<&Path>) -> Option<WorkerGuard> {
    let folder = state?.join("log");
    private_folder(&folder).ok()?;
    let file = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix(PREFIX)
        .filename_suffix("log")
        .max_log_files(7)
        .build(&folder)
        .ok()?;
    private_files(&folder);
    let (writer, guard) = tracing_appender::non_blocking(file);
    let filter = EnvFilter::try_from_env("PILOTHOUSE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).try_init().ok()?;
    Some(guard)
}

/// Creates a state folder that only its owner can read. The folder around it, which also has the journal, gets the same
/// mode. Wider permissions of an existing folder are removed.
pub(crate) fn private_folder(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let around = folder.parent().filter(|around| around.file_name().is_some_and(|name| name == PREFIX));
    for own in around.into_iter().chain([folder]) {
        std::fs::set_permissions(own, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The appender creates its files with the process's umask.
fn private_files(folder: &Path) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().append(true).custom_flags(flags).open(&path);
        let narrow = file.and_then(|file| file.set_permissions(Permissions::from_mode(0o600)));
        if let Err(error) = narrow {
            // the log has not started yet, and a file that is not ours stays unchanged
            tracing::debug!(%error, "cannot be made private");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("pilothouse");
        std::fs::create_dir_all(state.join("log")).unwrap();
        std::fs::write(state.join("log/pilothouse.2026-01-01.log"), "old").unwrap();
        std::fs::set_permissions(&state, Permissions::from_mode(0o775)).unwrap();
        private_folder(&state.join("log")).unwrap();
        private_files(&state.join("log"));
        let mode = |path: &str| std::fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("log"), mode("log/pilothouse.2026-01-01.log")), (0o700, 0o700, 0o600));
        assert!(start(None).is_none());
    }
}
