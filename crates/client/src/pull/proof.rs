//! Holds a file to what the manifest says of it: [`prove`].

use super::plan::Planned;
use super::settings::PullSettings;
use super::sink::Written;

/// Compares a whole text with what was announced.
///
/// Of output that is organised by instance, `count` may be with or without the lines that head blocks: servers differ.
///
/// # Errors
/// What differs, with both numbers.
pub(super) fn prove(file: &Planned, written: &Written, settings: &PullSettings) -> Result<(), String> {
    if let Some(sha256) = &file.sha256
        && *sha256 != written.sha256
    {
        return Err(format!(
            "{}: its SHA-256 is not the one of the manifest",
            file.name
        ));
    }
    if let Some(bytes) = file.file_size
        && bytes != written.bytes
    {
        let problem = format!("it has {} bytes, the manifest says {bytes}", written.bytes);
        return Err(format!("{}: {problem}", file.name));
    }
    let lines = written.seen.lines;
    if let Some(count) = file.count.filter(|_| settings.count_is_binding)
        && count != lines
        && count != lines - written.seen.headers
    {
        let problem = format!("it has {lines} lines, the manifest says {count}");
        return Err(format!("{}: {problem}", file.name));
    }
    Ok(())
}
