//! A command between source and target, for instance one that de-identifies: [`Hook`].

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::lines::count_lines;
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// The variable that tells the command what it is given: `output` or `deleted`.
const KIND: &str = "FHIRHOSE_SYNC_KIND";

/// The variable that tells it the type of the resources, where they have one; `Bundle` for deletions.
const TYPE: &str = "FHIRHOSE_SYNC_TYPE";

/// A shell command that reads NDJSON and writes NDJSON. Ids that it changes are its own business; for them to be deleted again it must
/// change those in Bundles of deletions alike, of which it gets those too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What the shell runs.
    pub command: String,
}

impl Hook {
    /// Sends a file through, waits for the command, and gives the number of lines that came out. What it writes to stderr goes to ours.
    pub(super) fn run(
        &self,
        from: &Path,
        to: &Path,
        kind: &str,
        resource_type: &str,
        line_bytes_max: usize,
    ) -> Result<u64> {
        let input = File::open(from);
        let input = input.map_err(|source| Error::io(format!("opening {}", from.display()), source))?;
        let output = durable::create(to)?;
        let status = Command::new("/bin/sh")
            .args(["-c", &self.command])
            .env(KIND, kind)
            .env(TYPE, resource_type)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .status();
        let status =
            status.map_err(|source| Error::io("starting the command that data goes through", source))?;
        if !status.success() {
            let problem = format!("the command that data goes through failed: {status}");
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        // The plan names the file: what a power cut takes of it would be missed by nobody.
        let synced = File::open(to).and_then(|output| output.sync_all());
        synced.map_err(|source| Error::io(format!("syncing {}", to.display()), source))?;
        count_lines(to, line_bytes_max)
    }
}
