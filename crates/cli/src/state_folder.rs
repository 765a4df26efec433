//! Where programs of this user keep their state: [`state_folder`].

use std::path::PathBuf;

/// The folder, by the XDG base directories; `None` for a user without a home.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))
}
