//! A folder of NDJSON, such as a pull leaves it: [`FolderSide`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fhirhose_client::receipt::PulledFolder;
use fhirhose_fhir::content_hash::ContentHash;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;

use super::gather::{Gathered, Gatherer, Listing};
use super::side::ReconcileSide;
use super::tree::Ask;
use crate::sync::both::{LineReader, each_line};
use crate::sync::{count_errors, each_deletion};
use crate::{Error, ErrorKind, Result};

/// Limits of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderLimits {
    /// The longest line, in bytes. Default: 64 MiB.
    pub line_bytes_max: usize,
    /// Resources, of which an index is held in memory at about 150 bytes each. Default: 10,000,000.
    pub resources_max: usize,
}

impl Default for FolderLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 << 20,
            resources_max: 10_000_000,
        }
    }
}

/// Where a resource lies, and what it is.
#[derive(Debug, Clone, Copy)]
struct Place {
    content: ContentHash,
    updated: Option<Instant>,
    file: u32,
    at: u64,
    bytes: u32,
}

/// A folder, indexed.
#[derive(Debug, Default)]
pub struct FolderSide {
    name: String,
    files: Vec<PathBuf>,
    index: BTreeMap<ResourceType, HashMap<String, Place>>,
    unusable: u64,
    is_fetched: bool,
}

impl FolderSide {
    /// Indexes the `*.ndjson` files of a folder; what `deleted/` lists counts as gone (CL-11). For a blocking thread.
    ///
    /// # Errors
    /// What reading gives; [`ErrorKind::Invalid`] for a folder without such files, for compressed ones, for a pull that lacks files or
    /// holds only a span of time, and above the limits.
    pub fn open(folder: &Path, limits: FolderLimits) -> Result<Self> {
        let mut side = Self {
            name: folder.display().to_string(),
            files: ndjson_files(folder)?,
            index: BTreeMap::new(),
            unusable: 0,
            is_fetched: false,
        };
        check_whole(folder)?;
        let mut reader = LineReader::default();
        let mut count = 0;
        for (number, path) in (0_u32..).zip(side.files.clone()) {
            each_line(&path, limits.line_bytes_max, &mut |at, line| {
                let Some((name, present)) = reader.read(line) else {
                    side.unusable += 1;
                    return Ok(());
                };
                let place = Place {
                    content: present.content,
                    updated: present.updated,
                    file: number,
                    at,
                    bytes: u32::try_from(line.len()).unwrap_or(u32::MAX),
                };
                count += u64::from(side.add(&name, place));
                match count > limits.resources_max as u64 {
                    true => Err(too_many(limits.resources_max)),
                    false => Ok(()),
                }
            })?;
        }
        let deleted = folder.join("deleted");
        if deleted.is_dir() {
            for path in ndjson_files(&deleted)? {
                each_line(&path, limits.line_bytes_max, &mut |_, line| {
                    side.unusable += each_deletion(line, &mut |name| {
                        if let Some((kind, id)) = split(name)
                            && let Some(resources) = side.index.get_mut(&kind)
                        {
                            resources.remove(id);
                        }
                    });
                    Ok(())
                })?;
            }
        }
        let errors = folder.join("error");
        if errors.is_dir() {
            for path in ndjson_files(&errors)? {
                side.unusable += count_errors(&path)?;
            }
        }
        Ok(side)
    }

    /// The same as what was fetched from a server.
    #[must_use]
    pub fn fetched_from(mut self, server: &str) -> Self {
        server.clone_into(&mut self.name);
        self.is_fetched = true;
        self
    }

    /// Lines that are no resource, or cut to some elements, and errors of the export: what these are about is not known.
    pub fn unusable_lines(&self) -> u64 {
        self.unusable
    }

    /// Takes a resource, of several versions the newest, and of those the last (CL-11); says whether it is a new one.
    fn add(&mut self, name: &str, place: Place) -> bool {
        let Some((kind, id)) = split(name) else {
            self.unusable += 1;
            return false;
        };
        let resources = self.index.entry(kind).or_default();
        match resources.get_mut(id) {
            None => {
                resources.insert(id.to_owned(), place);
                true
            }
            Some(known) => {
                if known.updated <= place.updated {
                    *known = place;
                }
                false
            }
        }
    }

    fn text(&self, place: &Place) -> Result<Vec<u8>> {
        let path = &self.files[place.file as usize];
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(place.at))?;
            let mut text = vec![0; place.bytes as usize];
            file.read_exact(&mut text)?;
            Ok(text)
        };
        read().map_err(|source| Error::io(format!("reading {}", path.display()), source))
    }
}

fn split(name: &str) -> Option<(ResourceType, &str)> {
    let (kind, id) = name.split_once('/')?;
    Some((ResourceType::parse(kind)?, id))
}

fn too_many(max: usize) -> Error {
    let text = format!("the folder has more than {max} resources: compare type by type");
    Error::new(ErrorKind::Invalid, text)
}

/// Refuses a pull of which it is known that it has less than was there: what it lacks would seem to be gone, and be deleted by a repair.
fn check_whole(folder: &Path) -> Result<()> {
    let pulled = PulledFolder::open(folder)?;
    let invalid = |why: String| {
        Err(Error::new(
            ErrorKind::Invalid,
            format!("{} {why}", folder.display()),
        ))
    };
    let missing = pulled.receipt().map_or(0, |receipt| receipt.missing.len());
    if missing > 0 {
        return invalid(format!(
            "lacks {missing} files that could not be had: pull them first"
        ));
    }
    let asked = pulled.asked();
    match asked.is_some_and(|asked| asked.since.is_some() || asked.until.is_some()) {
        true => invalid("holds only a span of time (_since or _until), not everything".to_owned()),
        false => Ok(()),
    }
}

fn ndjson_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::io(format!("listing {}", folder.display()), source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Events of the pull, not resources.
        if name == "log.ndjson" || name.starts_with('.') || name.starts_with("log.") {
            continue;
        }
        if name.ends_with(".ndjson.gz") || name.ends_with(".ndjson.zst") {
            let text = format!("{} is compressed: unpack it first", path.display());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        if name.ends_with(".ndjson") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => {
            let text = format!("{} has no NDJSON files", folder.display());
            Err(Error::new(ErrorKind::Invalid, text))
        }
        false => Ok(files),
    }
}

#[async_trait]
impl ReconcileSide for FolderSide {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_fetched_whole(&self) -> bool {
        self.is_fetched
    }

    async fn types(&self) -> Result<Option<Vec<ResourceType>>> {
        Ok(Some(self.index.keys().copied().collect()))
    }

    async fn gather(&self, resource_type: ResourceType, ask: &Ask, listing: Listing) -> Result<Gathered> {
        let mut gatherer = Gatherer::new(resource_type, ask.clone(), listing);
        for (id, place) in self.index.get(&resource_type).into_iter().flatten() {
            gatherer.hashed(id, place.content);
        }
        Ok(gatherer.finish())
    }

    async fn texts(&self, resource_type: ResourceType, ids: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let resources = self.index.get(&resource_type);
        let texts = ids.iter().map(|id| {
            let place = resources.and_then(|resources| resources.get(id));
            place.map(|place| self.text(place)).transpose()
        });
        texts.collect()
    }
}

/// The types that two sides may differ in.
///
/// # Errors
/// What a side gives.
pub async fn types_of(sides: &[&dyn ReconcileSide]) -> Result<Vec<ResourceType>> {
    let mut known = HashSet::new();
    for side in sides {
        match side.types().await? {
            Some(types) => known.extend(types),
            // The trail of who did what is a server's own.
            None => known.extend(ResourceType::all().filter(|each| *each != ResourceType::AUDIT_EVENT)),
        }
    }
    let mut types: Vec<ResourceType> = known.into_iter().collect();
    types.sort();
    Ok(types)
}
