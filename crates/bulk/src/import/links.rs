//! Opening files that somebody asked for by a URL.
//!
//! Where such a file may be was looked at when the import was asked for, links followed, and what was found is the path that is opened
//! here, maybe hours later. Whoever can write into the folder of inputs could have put a link to any file of the machine there since,
//! and the import would show it as refused lines. So no part of the path may be a link now.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file on whose path there is no link.
///
/// # Errors
/// What opening gives; for a link an error that says so.
#[cfg(target_os = "linux")]
pub(super) fn open_unlinked(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(opened) => Ok(File::from(opened)),
        // Kernels before 5.6, and sandboxes that know no better.
        Err(Errno::NOSYS) => open_and_compare(path),
        Err(Errno::LOOP) => Err(linked()),
        Err(error) => Err(error.into()),
    }
}

/// The same where the system cannot promise it.
///
/// # Errors
/// As on Linux.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_unlinked(path: &Path) -> io::Result<File> {
    open_and_compare(path)
}

fn open_and_compare(path: &Path) -> io::Result<File> {
    let opened = File::open(path)?;
    match path.canonicalize()? == path {
        true => Ok(opened),
        false => Err(linked()),
    }
}

fn linked() -> io::Error {
    io::Error::other("there is a link on its path now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_a_link_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path without links");
        let (real, inside) = (root.join("real"), root.join("real/in"));
        std::fs::create_dir(&real).expect("a folder");
        std::fs::write(&inside, "text").expect("a file");
        std::os::unix::fs::symlink(&inside, root.join("file-link")).expect("a link");
        std::os::unix::fs::symlink(&real, root.join("folder-link")).expect("a link");
        for open in [open_unlinked, open_and_compare] {
            assert!(open(&inside).is_ok());
            for linked in ["file-link", "folder-link/in"] {
                assert!(open(&root.join(linked)).is_err(), "{linked}");
            }
            let absent = open(&root.join("absent")).expect_err("nothing is there");
            assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        }
    }
}
