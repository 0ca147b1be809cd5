//! Removes old journals, but never one with an action that may still need attention.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::time::Stamp;

use super::{Chapter, Journal, folder, is_locked, told};

/// How long an ended action is kept, in seconds.
const KEPT_SECS: i64 = 180 * 24 * 3600;
/// The total size of all journals above which older ones are removed earlier, in bytes.
const KEPT_BYTES: u64 = 64 << 20;

/// One file that can be removed.
struct Candidate {
    path: PathBuf,
    chapter: Chapter,
}

impl Journal {
    /// Removes the journals that are older than half a year, and the oldest ones if all together are larger than 64
    /// MiB. Only whole files of ended processes are removed, if each of their actions has ended or was closed. Returns
    /// how many were removed.
    pub fn prune(&self, now: Stamp) -> usize {
        let Ok(folder) = self.folder() else { return 0 };
        let Ok(entries) = folder::trusted(folder).and_then(|()| std::fs::read_dir(folder)) else { return 0 };
        let mut files: Vec<(Stamp, u64, PathBuf)> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl") && *path != self.path())
            .filter_map(|path| {
                let found = std::fs::symlink_metadata(&path).ok()?;
                let age = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
                Some((Stamp(i64::try_from(age.as_millis()).ok()?), found.len(), path))
            })
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        let oldest = now.plus_secs(-KEPT_SECS);
        let old: BTreeSet<&PathBuf> = files
            .iter()
            .filter(|(modified, length, _)| {
                bytes += length;
                *modified < oldest || bytes > KEPT_BYTES
            })
            .map(|(_, _, path)| path)
            .collect();
        if old.is_empty() {
            return 0;
        }
        let (mut candidates, mut open, mut dealt_with) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (_, _, path) in &files {
            // a file that cannot be read is kept, and it may close actions of other files, so nothing is removed
            let Ok(file) = folder::open(path) else { return 0 };
            let alive = is_locked(&file);
            let (chapter, gaps) = told::read(file, path, &mut { usize::MAX });
            dealt_with.extend(chapter.followed.keys().cloned());
            let unfinished = chapter.actions.iter().filter(|a| a.end.as_ref().is_none_or(|e| e.interrupted));
            open.extend(unfinished.map(|action| action.id.clone()));
            if old.contains(path) && !alive && gaps.is_empty() {
                candidates.push(Candidate { path: path.clone(), chapter });
            }
        }
        remove(candidates, &open, &dealt_with)
    }
}

/// Removes files, the oldest first (it is last in `candidates`). A file that closes another file's action stays as long
/// as that file; the order of the two does not matter, because files of one moment have none.
fn remove(mut candidates: Vec<Candidate>, open: &BTreeSet<Name>, dealt_with: &BTreeSet<Name>) -> usize {
    let (mut removed, mut still_told) = (0, open.clone());
    loop {
        let before = candidates.len();
        let mut kept = Vec::new();
        for candidate in candidates.into_iter().rev() {
            let Candidate { path, chapter } = &candidate;
            let own: BTreeSet<&Name> = chapter.actions.iter().map(|action| &action.id).collect();
            let is_open = own.iter().any(|id| open.contains(*id) && !dealt_with.contains(*id));
            let is_needed = chapter.followed.keys().any(|id| still_told.contains(id) && !own.contains(id));
            if is_open || is_needed {
                kept.push(candidate);
                continue;
            }
            match std::fs::remove_file(path) {
                Ok(()) => {
                    still_told.retain(|id| !own.contains(id));
                    removed += 1;
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an old journal cannot be removed");
                }
            }
        }
        // the removed file may have been the reason for another one to stay
        if kept.is_empty() || kept.len() == before {
            return removed;
        }
        kept.reverse();
        candidates = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ended, intent};
    use super::super::{How, Record};
    use super::*;
    use crate::clock::Clock;

    fn names(journal: &Journal) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(journal.folder().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn old_journals_go_and_what_is_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| Journal::new(folder.path().join("journal"), name);
        let followed = |id: &str| Record::Followed {
            id: id.into(),
            at: Stamp(3000),
            by: "9".into(),
            how: How::Dismissed,
        };
        // a: ended. b: unfinished. c: unfinished, and d says that it was closed
        for (name, records) in [
            ("a", vec![intent("1"), ended("1")]),
            ("b", vec![intent("2")]),
            ("c", vec![intent("3")]),
            ("d", vec![followed("3")]),
        ] {
            let journal = of(name);
            for record in &records {
                journal.write(record).unwrap();
            }
        }
        let now = Clock::system().now();
        let later = now.plus_secs(KEPT_SECS + 3600);
        // it is not known which of two files of one moment is older
        for name in ["a", "b", "c", "d"] {
            let file = std::fs::File::options()
                .append(true)
                .open(folder.path().join(format!("journal/{name}.jsonl")))
                .unwrap();
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(now.0).unwrap()))
                .unwrap();
        }
        let own = of("own");
        own.write(&intent("4")).unwrap();
        assert_eq!((own.prune(now), names(&own).len()), (0, 5), "nothing is old");
        assert_eq!(own.prune(later), 3);
        assert_eq!(names(&own), ["b.jsonl", "own.jsonl"]);
        assert_eq!(own.history().0.iter().filter(|a| a.id.as_str() == "2" && a.unfinished).count(), 1);
    }

    #[test]
    fn a_damaged_journal_and_that_of_a_living_process_stay() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| Journal::new(folder.path().join("journal"), name);
        let alive = of("a");
        for record in [intent("1"), ended("1")] {
            alive.write(&record).unwrap();
        }
        of("b").write(&intent("2")).unwrap();
        let path = folder.path().join("journal/b.jsonl");
        let mut text = std::fs::read(&path).unwrap();
        text[30] ^= 1;
        std::fs::write(&path, text).unwrap();
        let later = Clock::system().now().plus_secs(KEPT_SECS + 3600);
        assert_eq!(of("own").prune(later), 0);
        assert_eq!(names(&alive), ["a.jsonl", "b.jsonl"]);
    }
}
