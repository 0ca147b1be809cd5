//! Only one process can resume an unfinished action: it holds a locked file with the action's name. The kernel releases
//! the lock when the process ends, in any way.

use std::fs::{File, TryLockError};
use std::io::{Error, Read, Seek, Write};
use std::path::PathBuf;

use pilothouse_core::domain::id::Name;

use super::{Journal, JournalError, folder};

/// The maximum number of attempts if other processes release and remove the file at the same moment.
const ATTEMPTS: u32 = 100;

/// A claim on an unfinished action. It is held while the action is resumed.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _locked: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            // an empty file without a lock is left, which is harmless
            tracing::debug!(path = %self.path.display(), %error, "cannot be removed");
        }
    }
}

/// The reason why an unfinished action cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("{0} is being resumed by {1}")]
    Held(Name, String),
    #[error("{0} was {1} by {2} meanwhile")]
    Followed(Name, &'static str, Name),
    #[error(transparent)]
    Disk(#[from] JournalError),
}

impl Journal {
    /// Claims an unfinished action, unless another process is resuming it or has done so.
    pub fn claim(&self, id: &Name) -> Result<Claim, ClaimError> {
        let claim = self.lock(id)?;
        // the other process may have finished before we held the lock
        let (chapters, _) = self.chapters();
        match chapters.into_iter().find_map(|mut chapter| chapter.followed.remove(id)) {
            Some((how, by)) => Err(ClaimError::Followed(id.clone(), how.as_str(), by)),
            None => Ok(claim),
        }
    }

    fn lock(&self, id: &Name) -> Result<Claim, ClaimError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let path = self.folder()?.join(format!("{id}.resumed"));
        let failed = |error: Error| JournalError { path: path.clone(), error };
        if id.is_empty() || !id.chars().all(plain) {
            return Err(failed(Error::other("that is no action's id")).into());
        }
        for _ in 0..ATTEMPTS {
            let mut file =
                folder::make(self.folder()?).and_then(|()| folder::open_or_create(&path)).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    // the holder's name is only for the message
                    let read = (&mut file).take(16).read_to_string(&mut pid).is_ok();
                    let known = read && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
                    let who = if known { format!("PID {pid}") } else { "another process".to_owned() };
                    return Err(ClaimError::Held(id.clone(), who));
                }
                Err(TryLockError::Error(e)) => return Err(failed(e).into()),
            }
            if folder::in_place(&file, &path).is_err() {
                // the previous holder removed the file after we had opened it
                continue;
            }
            let claim = Claim { path: path.clone(), _locked: file.try_clone().map_err(failed)? };
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| write!(file, "{}", std::process::id()));
            written.map_err(failed)?;
            return Ok(claim);
        }
        Err(ClaimError::Held(id.clone(), "another process".into()))
    }
}
