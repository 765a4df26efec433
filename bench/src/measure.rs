//! Wall time, processor time and peak memory of this process.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// What one run of a scenario cost.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Resources that it handled.
    pub(crate) resources: u64,
    /// Text that it handled, in bytes.
    pub(crate) text_bytes: u64,
    /// Wall time, in seconds.
    pub(crate) wall_secs: f64,
    /// Processor time of all threads, in seconds.
    pub(crate) cpu_secs: f64,
    /// The most memory that was resident, in bytes.
    pub(crate) peak_bytes: u64,
    /// What lies on disk afterwards, in bytes, where that is of interest.
    pub(crate) disk_bytes: u64,
}

/// Runs `work` and measures it; `work` gives resources, bytes of text and bytes on disk.
pub(crate) fn measure(work: impl FnOnce() -> Result<(u64, u64, u64)>) -> Result<Measured> {
    let (began, cpu_before) = (Instant::now(), cpu_secs()?);
    let (resources, text_bytes, disk_bytes) = work()?;
    let wall_secs = began.elapsed().as_secs_f64();
    Ok(Measured {
        resources,
        text_bytes,
        wall_secs,
        cpu_secs: cpu_secs()? - cpu_before,
        peak_bytes: peak_bytes()?,
        disk_bytes,
    })
}

/// User and system time of all threads, from `/proc/self/stat`; clock ticks are hundredths of a second on Linux.
pub(crate) fn cpu_secs() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').context("reading /proc/self/stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields
        .iter()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / 100.0)
}

/// The most memory that was resident, in bytes.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .context("reading VmHWM")?;
    Ok(kib << 10)
}

/// Bytes that all files below a folder take on the disk; a log that is laid out in advance counts as far as it is written.
pub(crate) fn folder_bytes(folder: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            meta.blocks() * 512
        };
    }
    Ok(bytes)
}
