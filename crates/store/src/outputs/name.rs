//! The name of an output file: a job and a file, both plain enough for any disk, object store and URL.

use std::fmt;

use object_store::path::Path as ObjectPath;

use crate::{Error, ErrorKind, Result};

/// The longest job or file name: with the suffix of an upload under way it still fits any file system.
const BYTES_MAX: usize = 200;

/// Names an output file, `{job}/{file}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutputName {
    job: String,
    file: String,
}

impl OutputName {
    /// Makes a name of 1 to 200 ASCII letters, digits, `.`, `-` and `_` each; neither part starts with a dot.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for anything else: a name from a URL can be passed in as it is.
    pub fn new(job: &str, file: &str) -> Result<Self> {
        Ok(Self {
            job: check(job)?.to_owned(),
            file: check(file)?.to_owned(),
        })
    }

    /// The job that the file belongs to.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The file's name inside the job.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn path(&self) -> ObjectPath {
        ObjectPath::from_iter([self.job.as_str(), self.file.as_str()])
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.file)
    }
}

/// Returns a part of a name if it is allowed.
pub(super) fn check(part: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=BYTES_MAX).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(plain) {
        Ok(part)
    } else {
        Err(Error::new(
            ErrorKind::Invalid,
            "a job's or output file's name has characters that are not allowed",
        ))
    }
}
