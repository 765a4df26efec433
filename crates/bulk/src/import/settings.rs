//! How an import uses the machine, and what it refuses.

use fhirhose_fhir::line::LineLimits;

use crate::{Error, ErrorKind, Result};

/// Settings of imports; none of them changes what is stored, only how fast and in how much memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSettings {
    /// Threads that check, sort and compress; one more reads. Default: the processors of the machine.
    pub threads: usize,
    /// Text of one chunk, in bytes, which becomes one run and one commit; 1 KiB to 256 MiB. Default: 32 MiB.
    ///
    /// Memory is about `chunk_bytes × (chunks_in_flight + threads + 1)`.
    pub chunk_bytes: usize,
    /// Chunks that are read and not committed yet, at most. Default: threads + 2.
    pub chunks_in_flight: usize,
    /// The longest line, in bytes; a longer one is refused. At most 64 MiB, which is also the default.
    pub line_bytes_max: usize,
    /// The deepest nesting of a line; a deeper one is refused. Default: 100.
    pub depth_max: usize,
    /// An input that unfolds to more than this many bytes for each byte read, beyond the first 64 MiB, fails.
    /// Default: 500. Real NDJSON unfolds to ten to thirty bytes; gzip cannot do more than 1,032.
    pub expansion_max: u64,
    /// The most text that one input may have, in bytes; one that has more fails where it passes that. Default: no limit.
    pub input_bytes_max: Option<u64>,
    /// Missing targets of references that are listed one by one; all are counted. Default: 10,000.
    pub dangling_listed_max: u64,
    /// Sorted files of references that are merged at a time; each takes up to 2 MiB of memory. Default: 64.
    pub merge_parts_max: usize,
}

impl Default for ImportSettings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(threads)
    }
}

impl ImportSettings {
    /// The defaults for this many threads.
    pub fn with_threads(threads: usize) -> Self {
        let lines = LineLimits::default();
        Self {
            threads,
            chunk_bytes: 32 << 20,
            chunks_in_flight: threads + 2,
            line_bytes_max: lines.line_bytes_max,
            depth_max: lines.depth_max,
            expansion_max: 500,
            input_bytes_max: None,
            dangling_listed_max: 10_000,
            merge_parts_max: 64,
        }
    }

    /// Refuses settings with which an import could not run.
    pub(crate) fn check(&self) -> Result<()> {
        let bounds = [
            ("threads", self.threads, 1, 1_024),
            ("chunk_bytes", self.chunk_bytes, 1 << 10, 256 << 20),
            ("chunks_in_flight", self.chunks_in_flight, 1, 4_096),
            ("line_bytes_max", self.line_bytes_max, 64, 64 << 20),
            ("depth_max", self.depth_max, 1, 10_000),
            ("merge_parts_max", self.merge_parts_max, 2, 4_096),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let problem = format!("import setting {name} is {value}, not {least} to {most}");
                return Err(Error::new(ErrorKind::Invalid, problem));
            }
        }
        Ok(())
    }

    pub(crate) fn line_limits(&self) -> LineLimits {
        LineLimits {
            line_bytes_max: self.line_bytes_max,
            depth_max: self.depth_max,
        }
    }
}
