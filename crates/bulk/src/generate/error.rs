//! What can go wrong while a population is written.

use std::io;
use std::path::PathBuf;

/// A failed [`write_population`](super::write_population); the files under their final names are whole or absent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The population has no patients, so most files would be empty.
    #[error("a population needs at least one patient")]
    NoPatients,
    /// The output folder could not be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written under its partial name.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A whole file could not be given its final name.
    #[error("cannot rename a finished file to {}", path.display())]
    Rename {
        /// The final name.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
