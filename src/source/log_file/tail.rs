//! A file that is followed by its name, over rotations. A file that was renamed is read to its end before the one in its
//! place. If a file was truncated after it was copied (logrotate's `copytruncate`), the rest of it is read from the copy.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pilothouse_core::domain::time::Stamp;

use crate::source::logs::join::JUDGE_CAP;
use crate::wire::frames::Lines;

/// The number of last lines that a file starts with, as in `tail`, and the number of bytes in which they are searched.
const BEGIN_LINES: usize = 10;
const BEGIN_BYTES: u64 = 64 << 10;
/// The maximum number of bytes of a file in one read. The remaining bytes are read immediately afterwards.
const LOOK_BYTES: u64 = 8 << 20;
/// The number of bytes at the beginning and before the end of what was read that are remembered, to recognize a file that
/// was truncated and written again, and the copy of it.
const HEAD: usize = 256;
const TRAIL: usize = 1024;
/// The maximum number of rotated files that are remembered.
const OLD: usize = 16;
/// The maximum number of other files in the folder that are looked at.
const SIBLINGS: usize = 1000;

/// Receives what a file has.
pub(super) trait Take {
    /// Takes a line, and the time of the last write to the file if the line is older than this read.
    fn line(&mut self, line: &[u8], written: Option<Stamp>);
    /// Lines are missing, or can be missing, for this reason.
    fn gap(&mut self, why: &str);
}

type Id = (u64, u64);

/// A file that is followed by its name.
pub(super) struct Tail {
    path: PathBuf,
    now: Option<Open>,
    /// Files that have lost the name, the oldest first. The writer of the last one may not have reopened the path yet.
    before: Vec<Open>,
    /// Whether the path was opened once. A file that exists from the start is read from its end.
    has_looked: bool,
    /// The last files that had the name, with their beginnings.
    old: VecDeque<(Id, Vec<u8>)>,
    /// The other files of the rotation when the path was last opened.
    siblings: HashSet<Id>,
    /// The number of lines of closed files that were cut.
    cut: u64,
}

/// An open file.
struct Open {
    file: File,
    /// The device and inode.
    id: Id,
    read: u64,
    head: Vec<u8>,
    /// The last bytes that were read.
    trail: Vec<u8>,
    lines: Lines,
    /// The number of cut lines that were reported.
    told: u64,
}

impl Tail {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            now: None,
            before: Vec::new(),
            has_looked: false,
            old: VecDeque::new(),
            siblings: HashSet::new(),
            cut: 0,
        }
    }

    /// Creates the tail of a file that appeared while others were followed, so it is read from its beginning.
    pub(super) fn of_new(path: &Path) -> Self {
        Self { has_looked: true, ..Self::new(path) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_open(&self) -> bool {
        self.now.is_some()
    }

    /// Whether this is the file, or one that had its name, or a copy of what was read of it.
    pub(super) fn has(&self, path: &Path, found: &Metadata) -> bool {
        let id = id(found);
        let mut open = self.now.iter().chain(&self.before);
        let mut old = self.old.iter().filter(|(had, _)| *had == id);
        open.any(|one| one.id == id || one.is_copied_to(path, found.len()))
            // a new file can get the inode of one that was removed
            || old.any(|(_, head)| Open::new(path).is_ok_and(|one| has_at(&one.file, head, 0)))
    }

    /// Returns the number of newly cut lines. Each is reported once.
    pub(super) fn cut(&mut self) -> u64 {
        let open = self.now.as_mut().map_or(0, Open::cut);
        std::mem::take(&mut self.cut) + open
    }

    /// Passes the new lines on. Returns `true` if there are more already.
    pub(super) fn look(&mut self, take: &mut dyn Take) -> io::Result<bool> {
        while let Some(mut before) = (!self.before.is_empty()).then(|| self.before.remove(0)) {
            if before.read(LOOK_BYTES, take)? {
                self.before.insert(0, before);
                return Ok(true);
            }
            before.lines.finish(|line| take.line(line, None));
            self.cut += before.cut();
            self.old.push_back((before.id, before.head));
            if self.old.len() > OLD {
                self.old.pop_front();
            }
        }
        let first = !std::mem::replace(&mut self.has_looked, true);
        let Some(now) = &mut self.now else {
            let mut opened = Open::new(&self.path)?;
            if first {
                opened.begin(take)?;
            }
            self.siblings = self.others().into_iter().map(|(_, found)| id(&found)).collect();
            return self.now.insert(opened).read(LOOK_BYTES, take);
        };
        if now.is_rewritten()? {
            return self.rewritten(take);
        }
        if now.read(LOOK_BYTES, take)? {
            return Ok(true);
        }
        let found = std::fs::metadata(&self.path)?;
        if id(&found) == now.id {
            return Ok(false);
        }
        let opened = Open::new(&self.path)?;
        let between = self.between(id(&found), take);
        self.before.extend(self.now.replace(opened));
        self.before.extend(between);
        // the new file is read next time, after the rest of the old one, so that the writer can reopen the path until
        // then
        Ok(false)
    }

    /// Continues after the file was truncated: with the rest of its copy, then from its beginning.
    fn rewritten(&mut self, take: &mut dyn Take) -> io::Result<bool> {
        let others = self.others();
        let Some(now) = &mut self.now else { return Ok(false) };
        let copy = others.iter().find(|(path, found)| now.is_copied_to(path, found.len()));
        let rest = copy.and_then(|(path, _)| {
            let mut copy = Open::new(path).ok()?;
            copy.read = copy.file.seek(SeekFrom::Start(now.read)).ok()?;
            // the line that is incomplete so far goes on in the copy
            std::mem::swap(&mut copy.lines, &mut now.lines);
            copy.told = std::mem::take(&mut now.told);
            Some(copy)
        });
        let is_known = rest.is_some();
        if let Some(mut rest) = rest {
            while rest.read(LOOK_BYTES, take)? {}
            rest.lines.finish(|line| take.line(line, None));
            self.cut += rest.cut();
        } else {
            now.lines.finish(|line| take.line(line, None));
        }
        now.read = now.file.seek(SeekFrom::Start(0))?;
        now.head.clear();
        now.trail.clear();
        if !is_known {
            take.gap("lines may be missing: the file was truncated, and there is no copy of it");
        }
        self.siblings = others.iter().map(|(_, found)| id(found)).collect();
        Ok(true)
    }

    /// The other files of the rotation: those whose names begin with the name of the path.
    fn others(&self) -> Vec<(PathBuf, Metadata)> {
        let Some(name) = self.path.file_name() else { return Vec::new() };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(entries) = std::fs::read_dir(folder.unwrap_or_else(|| Path::new("."))) else {
            return Vec::new();
        };
        let others = entries.flatten().filter(|entry| {
            let other = entry.file_name();
            let (other, name) = (other.as_encoded_bytes(), name.as_encoded_bytes());
            is_rotated(other, name)
        });
        let files = others.take(SIBLINGS).filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
        files.filter(|(_, found)| found.is_file()).collect()
    }

    /// Opens the files that had the name for a moment, between the one that was read and the new one: two rotations can
    /// follow each other between two looks.
    fn between(&mut self, new: Id, take: &mut dyn Take) -> Vec<Open> {
        let others = self.others();
        let known =
            std::mem::replace(&mut self.siblings, others.iter().map(|(_, found)| id(found)).collect());
        let Some(now) = &self.now else { return Vec::new() };
        let Ok(last) = now.file.metadata() else { return Vec::new() };
        let time = |found: &Metadata| (found.mtime(), found.mtime_nsec());
        let mut missed: Vec<_> = others
            .into_iter()
            .filter(|(_, found)| {
                let id = id(found);
                id != new && id != now.id && !known.contains(&id) && time(found) >= time(&last)
            })
            .collect();
        // files that were written at the same moment are in the order of the rotation
        missed.sort_by_key(|(path, found)| (time(found), Reverse(number(path)), path.clone()));
        let mut opened = Vec::new();
        for (path, _) in missed {
            match (is_compressed(&path), Open::new(&path)) {
                (false, Ok(file)) => opened.push(file),
                _ => take.gap("lines are missing: the file was rotated and compressed before it was read"),
            }
        }
        opened
    }
}

/// Whether a file has the name of a rotated file: `app.log.1`, `app.log-20260101` or `app-20260101.log` of `app.log`.
fn is_rotated(other: &[u8], name: &[u8]) -> bool {
    let after = |start: &[u8]| other.strip_prefix(start).and_then(|rest| rest.split_first());
    let is_sign = |sign: &u8| matches!(sign, b'.' | b'-' | b'_');
    let stem = name.strip_suffix(b".log").unwrap_or(name);
    after(name).is_some_and(|(sign, rest)| is_sign(sign) && !rest.is_empty())
        || after(stem)
            .is_some_and(|(sign, rest)| is_sign(sign) && rest.first().is_some_and(u8::is_ascii_digit))
}

/// The number at the end of `app.log.7`, or 0.
fn number(path: &Path) -> u64 {
    path.extension().and_then(|end| end.to_str()?.parse().ok()).unwrap_or(0)
}

/// Whether the name says that the file is compressed.
pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["gz", "xz", "zst", "bz2", "lz4"].iter().any(|known| end == *known))
}

fn id(file: &Metadata) -> Id {
    (file.dev(), file.ino())
}

fn written(file: &Metadata) -> Option<Stamp> {
    let age = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(age.as_millis()).ok().map(Stamp)
}

/// Whether the file has these bytes at this place.
fn has_at(file: &File, bytes: &[u8], at: u64) -> bool {
    let mut found = vec![0; bytes.len()];
    file.read_exact_at(&mut found, at).is_ok() && found == bytes
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        // opening a pipe without a writer would block
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let file =
            OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            file,
            id: id(&found),
            read: 0,
            head: Vec::new(),
            trail: Vec::new(),
            lines: Lines::cut(JUDGE_CAP),
            told: 0,
        })
    }

    fn cut(&mut self) -> u64 {
        let cut = self.lines.oversized();
        cut - std::mem::replace(&mut self.told, cut)
    }

    /// Whether the file does not have what was read of it any more: it was truncated, and perhaps written again.
    fn is_rewritten(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.read {
            return Ok(true);
        }
        Ok(!self.has_content_of(&self.file))
    }

    /// Whether the file has the remembered first and last bytes of this one.
    fn has_content_of(&self, file: &File) -> bool {
        has_at(file, &self.head, 0) && has_at(file, &self.trail, self.read - self.trail.len() as u64)
    }

    /// Whether the file at this path is a copy of what was read of this one.
    fn is_copied_to(&self, path: &Path, len: u64) -> bool {
        self.read > 0
            && len >= self.read
            && !is_compressed(path)
            && Open::new(path).is_ok_and(|other| other.id != self.id && self.has_content_of(&other.file))
    }

    /// Passes the last existing lines on, and continues after them.
    fn begin(&mut self, take: &mut dyn Take) -> io::Result<()> {
        let found = self.file.metadata()?;
        let from = found.len().saturating_sub(BEGIN_BYTES);
        self.read = self.file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        self.read += (&mut self.file).take(found.len() - from).read_to_end(&mut end)? as u64;
        let mut head = vec![0; HEAD.min(usize::try_from(self.read).unwrap_or(HEAD))];
        self.file.read_exact_at(&mut head, 0)?;
        self.head = head;
        self.remember(&end);
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &end).collect();
        // the last lines start after the end of the line before them; the first one may lack its beginning
        let skipped = match ends.len().checked_sub(BEGIN_LINES + 1) {
            Some(before) => ends.get(before).map_or(0, |at| at + 1),
            None if from > 0 => ends.first().map_or(end.len(), |at| at + 1),
            None => 0,
        };
        let at = written(&found);
        self.lines.feed(end.get(skipped..).unwrap_or_default(), |line| take.line(line, at));
        Ok(())
    }

    /// Remembers the end of what was read.
    fn remember(&mut self, got: &[u8]) {
        let new = got.get(got.len().saturating_sub(TRAIL)..).unwrap_or_default();
        self.trail.extend_from_slice(new);
        let over = self.trail.len().saturating_sub(TRAIL);
        self.trail.drain(..over);
    }

    /// Passes the complete lines on. Returns `true` if there may be more than these bytes.
    fn read(&mut self, most: u64, take: &mut dyn Take) -> io::Result<bool> {
        let mut chunk = vec![0; 64 << 10];
        let mut left = most;
        while left > 0 {
            let got = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let piece = chunk.get(..got).unwrap_or_default();
            if self.read == self.head.len() as u64 && self.head.len() < HEAD {
                let more = piece.get(..piece.len().min(HEAD - self.head.len())).unwrap_or_default();
                self.head.extend_from_slice(more);
            }
            self.remember(piece);
            self.read += got as u64;
            left = left.saturating_sub(got as u64);
            self.lines.feed(piece, |line| take.line(line, None));
        }
        Ok(true)
    }
}
