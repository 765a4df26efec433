//! The format number of a data folder: written last when a folder is made, checked first when it is opened.

use std::path::Path;

use super::durable;
use crate::{Error, ErrorKind, Result};

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

/// The name of the format file while it is being written.
pub(super) const PARTIAL: &str = ".format.partial";

const FILE: &str = "format";
const PREFIX: &str = "fhirhose data folder, format ";

/// The format file is a line; anything much longer is not ours.
const BYTES_MAX: u64 = 4096;

/// Says whether the folder has a format file, that is, whether it was made completely.
pub(super) fn is_present(root: &Path) -> Result<bool> {
    root.join(FILE)
        .try_exists()
        .map_err(|error| Error::io(format!("look into data folder {}", root.display()), error))
}

/// Checks that the folder is of a format that this version understands.
///
/// # Errors
/// [`ErrorKind::NewerFormat`] if a newer version wrote it, [`ErrorKind::Corrupt`] if there is no number.
pub(super) fn check(root: &Path) -> Result<()> {
    let corrupt = || {
        Error::new(
            ErrorKind::Corrupt,
            format!("the format file of {} is not readable", root.display()),
        )
    };
    let path = root.join(FILE);
    let length = path
        .metadata()
        .map_err(|error| Error::io("read the format file", error))?
        .len();
    if length > BYTES_MAX {
        return Err(corrupt());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| corrupt().with_source(error))?;
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(PREFIX))
        .ok_or_else(corrupt)?;
    match line.trim().parse::<u32>() {
        Ok(1..=FORMAT) => Ok(()),
        Ok(0) => Err(corrupt()),
        Ok(newer) => Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "data folder {} has format {newer}, and this fhirhose reads up to format {FORMAT}: use the fhirhose that wrote it, or a newer one",
                root.display()
            ),
        )),
        Err(error) => Err(corrupt().with_source(error)),
    }
}

/// Writes the format file, durably and at once.
pub(super) fn write(root: &Path) -> Result<()> {
    let text = format!(
        "{PREFIX}{FORMAT}\nMade by fhirhose, the bulk FHIR engine. `zstd -dc` prints any file of runs/ as NDJSON. Do not edit.\n"
    );
    durable::write_file(root, PARTIAL, FILE, &text)
}
