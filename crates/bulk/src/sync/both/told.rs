//! What a side tells in a round, by name: [`Told`]. Texts stay in the files that were pulled.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fhirhose_client::receipt::ResourceHead;
use fhirhose_fhir::content_hash::{ContentHash, ContentHasher, Ignoring};
use fhirhose_fhir::id::is_valid_id;
use fhirhose_fhir::instant::Instant;

use super::super::deletions::{each_deletion, is_type};
use super::merge::{Now, Present};
use super::peer::Changes;
use crate::{Error, ErrorKind, Result};

/// Where a text lies.
#[derive(Debug, Clone)]
enum Place {
    File { file: usize, at: u64, bytes: usize },
    Memory(Vec<u8>),
    None,
}

/// What one side tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    files: Vec<PathBuf>,
    by_name: HashMap<String, (Now, Place)>,
    /// Names that are listed both as there and as deleted: they have to be read.
    pub(super) unclear: Vec<String>,
    /// Lines that could not be used: no resource, without an id, or cut to some elements (CL-15).
    pub(super) refused: u64,
    /// Errors that the side itself tells of.
    pub(super) errors: u64,
}

/// The longest version that is believed, in bytes: an id has no more. A resource with a longer one is compared by its content.
const VERSION_BYTES_MAX: usize = 64;

/// Hashes texts and reads their heads.
#[derive(Default)]
pub(crate) struct LineReader {
    hasher: ContentHasher,
}

impl LineReader {
    /// Gives the name and what is there; `None` for what is no resource, or not a whole one.
    pub(crate) fn read(&mut self, text: &[u8]) -> Option<(String, Present)> {
        let content: ContentHash = self.hasher.hash(text, Ignoring::SERVER_META).ok()?;
        let head = ResourceHead::read(text).ok()?;
        let id = head.id.filter(|id| is_valid_id(id.as_bytes()))?;
        if head.is_subsetted || !is_type(&head.resource_type) {
            return None;
        }
        let is_version = |version: &String| (1..=VERSION_BYTES_MAX).contains(&version.len());
        let updated = head.last_updated.as_deref().map(Instant::parse);
        let present = Present {
            content,
            version: head.version_id.filter(is_version),
            updated: updated.and_then(Result::ok),
        };
        Some((format!("{}/{id}", head.resource_type), present))
    }
}

impl Told {
    /// Reads what was pulled. For a blocking thread.
    ///
    /// # Errors
    /// What reading the files gives; [`ErrorKind::Invalid`] for more than `names_max` resources.
    pub(super) fn read(changes: &Changes, (line_bytes_max, names_max): (usize, usize)) -> Result<Self> {
        let mut told = Self {
            errors: changes.errors,
            ..Self::default()
        };
        let mut reader = LineReader::default();
        for path in &changes.output {
            let file = told.files.len();
            told.files.push(path.clone());
            each_line(path, line_bytes_max, &mut |at, line| {
                let Some((name, present)) = reader.read(line) else {
                    told.refused += 1;
                    return Ok(());
                };
                let place = Place::File {
                    file,
                    at,
                    bytes: line.len(),
                };
                told.newest(name, present, place);
                match told.by_name.len() > names_max {
                    true => Err(too_many(names_max)),
                    false => Ok(()),
                }
            })?;
        }
        for path in &changes.deleted {
            each_line(path, line_bytes_max, &mut |_, line| {
                told.deletions(line);
                match told.by_name.len() > names_max {
                    true => Err(too_many(names_max)),
                    false => Ok(()),
                }
            })?;
        }
        Ok(told)
    }

    /// Of several versions the newest counts, and of those the last (CL-11).
    fn newest(&mut self, name: String, present: Present, place: Place) {
        if let Some((Now::There(known), _)) = self.by_name.get(&name)
            && known.updated > present.updated
        {
            return;
        }
        self.by_name.insert(name, (Now::There(present), place));
    }

    fn deletions(&mut self, line: &[u8]) {
        let (by_name, unclear) = (&mut self.by_name, &mut self.unclear);
        self.refused += each_deletion(line, &mut |name| match by_name.get(name) {
            Some((Now::There(_), _)) => unclear.push(name.to_owned()),
            _ => {
                by_name.insert(name.to_owned(), (Now::Gone, Place::None));
            }
        });
    }

    /// Takes what was read just now instead of what was pulled. A text that is no resource is left as it was told.
    pub(super) fn take_fresh(&mut self, name: &str, text: Option<Vec<u8>>) {
        let read = match text {
            None => Some((Now::Gone, Place::None)),
            Some(text) => {
                let found = LineReader::default().read(&text);
                found
                    .filter(|(found, _)| found == name)
                    .map(|(_, present)| (Now::There(present), Place::Memory(text)))
            }
        };
        match read {
            Some(read) => {
                self.by_name.insert(name.to_owned(), read);
            }
            None => self.refused += 1,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    pub(super) fn now(&self, name: &str) -> Now {
        self.by_name
            .get(name)
            .map(|(now, _)| now.clone())
            .unwrap_or_default()
    }

    /// The text of a resource that is there.
    ///
    /// # Errors
    /// What reading the file gives.
    pub(super) fn text(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.by_name.get(name).map(|(_, place)| place) {
            None | Some(Place::None) => Ok(None),
            Some(Place::Memory(text)) => Ok(Some(text.clone())),
            Some(Place::File { file, at, bytes }) => {
                let path = &self.files[*file];
                let read = || {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(*at))?;
                    let mut text = vec![0; *bytes];
                    file.read_exact(&mut text)?;
                    Ok(text)
                };
                read().map(Some).map_err(|source| failed(path, source))
            }
        }
    }
}

fn too_many(names_max: usize) -> Error {
    let text =
        format!("more than {names_max} resources changed at one side: sync type by type, or raise the limit");
    Error::new(ErrorKind::Invalid, text)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::io(format!("reading {}", path.display()), source)
}

/// Gives each line that is not empty, without its end, with the offset of its first byte.
pub(crate) fn each_line(
    path: &Path,
    line_bytes_max: usize,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut reader =
        BufReader::with_capacity(1 << 20, File::open(path).map_err(|source| failed(path, source))?);
    let (mut at, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let limited = &mut Read::take(&mut reader, line_bytes_max as u64 + 1);
        let read = limited
            .read_until(b'\n', &mut line)
            .map_err(|source| failed(path, source))?;
        if read == 0 {
            return Ok(());
        }
        if read > line_bytes_max {
            let text = format!("{}: a line is longer than {line_bytes_max} bytes", path.display());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let text = line.trim_ascii_end();
        if !text.is_empty() {
            take(at, text)?;
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_too_long_is_none() {
        for (bytes, expected) in [(0, None), (64, Some(64)), (65, None), (100_000, None)] {
            let version = "7".repeat(bytes);
            let text = format!(r#"{{"resourceType":"Basic","id":"b","meta":{{"versionId":"{version}"}}}}"#);
            let (name, present) = LineReader::default().read(text.as_bytes()).unwrap();
            let read = present.version.map(|version| version.len());
            assert_eq!((name.as_str(), read), ("Basic/b", expected));
        }
    }
}
