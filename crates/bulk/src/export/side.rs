//! What later stages of an export need of the resources that earlier ones write: side files of sorted entries, which only the job reads.
//!
//! Each output file has its own, named in the same checkpoint. So they say of exactly those resources that are in finished files,
//! whatever crashed in between, and together they say of each resource of the export.

use fhirhose_fhir::reference::each_reference_to;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::{ErrorKind, OutputName, OutputWriter, Result, Store, key};
use xxhash_rust::xxh3::xxh3_64;

use super::parts::Crew;
use super::state::{Next, Part, Work};
use crate::spill::{self, Sorter};

/// What is gathered before it is written, in bytes, for each part that is made at the time.
const SORTER_BYTES: usize = 4 << 20;

/// References that are remembered so as not to be gathered again: neighbours refer to the same few. A power of two.
const RECENT: usize = 256;

/// What is gathered in an export; empty for most.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathering {
    /// Types to which references are gathered.
    pub(super) references_to: Vec<ResourceType>,
    /// Whether the resources themselves are, by type and id.
    pub(super) resources: bool,
}

impl Gathering {
    /// What the parts of an export need.
    pub(super) fn of(parts: &[Part]) -> Self {
        let mut gathering = Self::default();
        for part in parts {
            match &part.work {
                Work::Helpers { resource_type } => gathering.references_to.push(*resource_type),
                Work::Associated => gathering.resources = true,
                _ => {}
            }
        }
        gathering
    }
}

/// Forgets the parts whose side files are gone, where a later stage is still to read them.
pub(super) async fn check_sides(store: &Store, job: &str, parts: &mut [Part]) -> crate::Result<()> {
    let Some(last) = parts
        .iter()
        .filter(|part| part.next != Next::Done)
        .map(|part| part.work.stage())
        .max()
    else {
        return Ok(());
    };
    for part in parts.iter_mut().filter(|part| part.work.stage() < last) {
        for name in &part.side {
            let name = OutputName::new(&spill::parts_of(job), name)?;
            match store.outputs().open(&name).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    part.restart();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The kinds of side files, by the end of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SideKind {
    /// type ‖ id of what the written resources refer to.
    References,
    /// type ‖ id of the written resources.
    Resources,
}

impl SideKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::References => ".references",
            Self::Resources => ".resources",
        }
    }

    /// Whether a side file is of this kind.
    pub(super) fn names(self, file: &str) -> bool {
        file.ends_with(self.suffix())
    }
}

/// Gathers beside one part.
pub(super) struct Side {
    part: usize,
    /// The number of the output file that is being written.
    file: usize,
    /// By type code, whether references are gathered.
    referred: [bool; 256],
    recent: Vec<Vec<u8>>,
    key: Vec<u8>,
    references: Option<Sorter>,
    resources: Option<Sorter>,
    /// Side files that are written already, of the present output file.
    names: Vec<String>,
}

/// What was gathered beside one output file, on its way to the disk.
pub(super) struct Gathered {
    part: usize,
    file: usize,
    names: Vec<String>,
    sorters: Vec<(SideKind, Sorter)>,
}

impl Side {
    /// Begins after `files` files of a part; `None` if nothing is to be gathered.
    pub(super) fn new(gathering: &Gathering, stage: usize, part: usize, files: usize) -> Option<Self> {
        let mut referred = [false; 256];
        for resource_type in &gathering.references_to {
            referred[usize::from(resource_type.code())] = true;
        }
        let sorter = || Sorter::new(SORTER_BYTES);
        let references = (!gathering.references_to.is_empty()).then(sorter);
        // Provenance is for what was asked for, not for what comes with it.
        let resources = (gathering.resources && stage == 0).then(sorter);
        if references.is_none() && resources.is_none() {
            return None;
        }
        Some(Self {
            part,
            file: files,
            referred,
            recent: vec![Vec::new(); RECENT],
            key: Vec::new(),
            references,
            resources,
            names: Vec::new(),
        })
    }

    /// Takes a line that goes into the present output file.
    pub(super) fn add(
        &mut self,
        crew: &Crew,
        resource_type: ResourceType,
        id: &str,
        line: &[u8],
    ) -> Result<()> {
        if let Some(resources) = &mut self.resources {
            self.key.clear();
            self.key.push(resource_type.code());
            key::push_id(id, &mut self.key);
            resources.push(&self.key);
        }
        if let Some(references) = &mut self.references {
            let referred = &self.referred;
            let wanted = |resource_type: ResourceType| referred[usize::from(resource_type.code())];
            each_reference_to(line, wanted, |reference| {
                self.key.clear();
                self.key.push(reference.resource_type.code());
                key::push_id(reference.id, &mut self.key);
                let slot = xxh3_64(&self.key) as usize % RECENT;
                if self.recent[slot] != self.key {
                    self.recent[slot].clone_from(&self.key);
                    references.push(&self.key);
                }
            });
        }
        for (kind, sorter) in [
            (SideKind::References, &mut self.references),
            (SideKind::Resources, &mut self.resources),
        ] {
            if let Some(sorter) = sorter.as_mut().filter(|sorter| sorter.is_full()) {
                let name = side_name(crew, self.part, self.file, self.names.len(), kind);
                sorter.write(create(crew, &name)?.1)?;
                self.names.push(name);
            }
        }
        Ok(())
    }

    /// Hands over what was gathered beside the present output file, and begins the next.
    pub(super) fn take(&mut self) -> Gathered {
        let mut sorters = Vec::new();
        for (kind, sorter) in [
            (SideKind::References, &mut self.references),
            (SideKind::Resources, &mut self.resources),
        ] {
            if let Some(full) = sorter.as_mut().filter(|sorter| !sorter.is_empty()) {
                sorters.push((kind, std::mem::replace(full, Sorter::new(SORTER_BYTES))));
            }
        }
        let file = self.file;
        self.file += 1;
        Gathered {
            part: self.part,
            file,
            names: std::mem::take(&mut self.names),
            sorters,
        }
    }
}

impl Gathered {
    /// Writes it, and says what all side files of the output file are called. For a blocking thread.
    pub(super) fn write(self, crew: &Crew) -> Result<Vec<String>> {
        let mut names = self.names;
        for (kind, mut sorter) in self.sorters {
            let name = side_name(crew, self.part, self.file, names.len(), kind);
            sorter.write(create(crew, &name)?.1)?;
            names.push(name);
        }
        Ok(names)
    }
}

fn side_name(crew: &Crew, part: usize, file: usize, number: usize, kind: SideKind) -> String {
    format!("{part}-{file}-{number}-{}{}", crew.fence, kind.suffix())
}

/// Starts a file that only this job reads.
pub(super) fn create(crew: &Crew, file: &str) -> Result<(OutputName, OutputWriter)> {
    let name = OutputName::new(&spill::parts_of(&crew.job), file)?;
    let writer = crew.store.outputs().create(&name, &spill::part_settings())?;
    Ok((name, writer))
}
