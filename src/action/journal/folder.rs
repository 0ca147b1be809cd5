//! The folder of the journals and its files, which are trusted only if they belong to this user.
//!
//! Anyone who can write to the folder could invent unfinished actions and remove records. A file that is not a regular
//! file (a FIFO, a device, a link) is opened only to find that out.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Users other than the owner can write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Creates the folder (mode 0700) if it is missing, and checks whether it can be trusted.
pub(crate) fn make(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    trusted(folder)
}

/// Checks whether the files in this folder can be trusted. Returns an error if not, with the kind NotFound if the
/// folder does not exist.
pub(crate) fn trusted(folder: &Path) -> std::io::Result<()> {
    let found = std::fs::symlink_metadata(folder)?;
    if found.is_symlink() {
        return Err(refused(
            "the folder is a symbolic link, which is not followed: put a folder in its place",
        ));
    }
    if !found.is_dir() {
        return Err(refused("it is not a folder"));
    }
    own(&found, "the folder")?;
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        let mode = found.mode() & 0o7777;
        return Err(refused(&format!(
            "the folder has mode {mode:04o}: others can write to it; look at what is in it, then chmod 700"
        )));
    }
    // anyone who can write to the parent folder can replace this folder
    let Some(around) = folder.parent() else { return Ok(()) };
    let around = if around.as_os_str().is_empty() { Path::new(".") } else { around };
    let outer = std::fs::metadata(around)?;
    if outer.mode() & WRITABLE_BY_OTHERS != 0 && outer.mode() & STICKY == 0 {
        return Err(refused(&format!(
            "others can write to the folder around it, {}: chmod go-w",
            around.display()
        )));
    }
    Ok(())
}

/// Opens a file for reading if it is a regular file of this user. Never blocks and never follows a link.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let found = std::fs::symlink_metadata(path)?;
    regular(&found)?;
    checked(OpenOptions::new().read(true).custom_flags(flags()).open(path)?)
}

/// Creates a file with mode 0600.
pub(super) fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).custom_flags(flags()).open(path)
}

/// Opens a file to append to it.
pub(super) fn append(path: &Path) -> std::io::Result<File> {
    checked(OpenOptions::new().append(true).custom_flags(flags()).open(path)?)
}

/// Opens a file for reading and writing, and creates it (mode 0600) if it is missing.
pub(super) fn open_or_create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags());
    checked(options.open(path)?)
}

/// Checks that the path still leads to this file.
pub(super) fn in_place(file: &File, path: &Path) -> std::io::Result<()> {
    let held = file.metadata()?;
    if held.nlink() == 0 {
        return Err(refused("the file was deleted while it was in use"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => Ok(()),
        Ok(_) => Err(refused("another file was put in its place while it was in use")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(refused("the file was moved away while it was in use"))
        }
        Err(e) => Err(e),
    }
}

fn flags() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn checked(file: File) -> std::io::Result<File> {
    let found = file.metadata()?;
    regular(&found)?;
    own(&found, "the file")?;
    Ok(file)
}

fn regular(found: &Metadata) -> std::io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(refused("it is not a regular file, and is not read")) }
}

fn own(found: &Metadata, what: &str) -> std::io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    if found.uid() == us {
        return Ok(());
    }
    Err(refused(&format!(
        "{what} belongs to the user id {}, and we are {us}: it is not trusted",
        found.uid()
    )))
}

fn refused(why: &str) -> Error {
    Error::new(std::io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_trusted_when_only_its_owner_can_write_to_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/journal");
        make(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for (mode, fine) in [(0o755, true), (0o775, false), (0o777, false), (0o1777, false), (0o700, true)] {
            set(&folder, mode);
            assert_eq!(make(&folder).is_ok(), fine, "{mode:o}");
        }
        set(folder.parent().unwrap(), 0o777);
        assert!(make(&folder).is_err(), "the folder around it");
        set(folder.parent().unwrap(), 0o1777);
        assert!(make(&folder).is_ok(), "sticky, as /tmp is");
        let link = home.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(make(&link).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_waits() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        assert!(open(&at("file")).is_ok());
        symlink(at("file"), at("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
        for name in ["link", "fifo", "."] {
            assert!(open(&at(name)).is_err(), "{name}");
            assert!(append(&at(name)).is_err() && open_or_create(&at(name)).is_err(), "{name}");
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(at("file"), Some(12345), None).unwrap();
            assert!(open(&at("file")).unwrap_err().to_string().contains("12345"));
        }
    }

    #[test]
    fn a_file_that_is_gone_or_replaced_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.jsonl");
        let file = create(&path).unwrap();
        assert!(create(&path).is_err(), "a file is there already");
        in_place(&file, &path).unwrap();
        std::fs::rename(&path, home.path().join("b")).unwrap();
        assert!(in_place(&file, &path).is_err(), "moved");
        std::fs::write(&path, "").unwrap();
        assert!(in_place(&file, &path).is_err(), "replaced");
        std::fs::remove_file(home.path().join("b")).unwrap();
        assert!(in_place(&file, &path).is_err(), "deleted");
    }
}
