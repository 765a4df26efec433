//! What is to be imported: an [`ImportSpec`], recorded with the job.

use std::path::{Path, PathBuf};

use fhirhose_client::receipt::is_ndjson;
use fhirhose_fhir::import_request::ImportRequest;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The longest `source`: it is written into every resource that has none.
const SOURCE_BYTES_MAX: usize = 2_048;

/// The most inputs of one import, counted after folders were listed.
const INPUTS_MAX: usize = 1_000_000;

/// An import as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportSpec {
    /// What to read, in this order; a later line of the same type and id wins over an earlier one.
    pub inputs: Vec<InputSpec>,
    /// Becomes `meta.source` of resources that have none.
    pub source: Option<String>,
    /// The kick-off URL that the report echoes; empty for an import without HTTP.
    pub request_url: String,
}

/// One input: a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Where it is.
    pub location: Location,
    /// The type that every resource in it has; `None` lets each line speak for itself.
    pub declared: Option<ResourceType>,
    /// How reports name it: the URL as it was given, or the path.
    pub input_url: String,
}

/// Where an input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Location {
    /// A file of this machine, or a folder, which stands for the NDJSON files in it.
    Path(PathBuf),
    /// An `http` or `https` URL.
    Url(String),
}

impl ImportSpec {
    /// Asks for local files and folders.
    pub fn of_paths(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let inputs = paths
            .into_iter()
            .map(|path| InputSpec::path(path.into()))
            .collect();
        Self {
            inputs,
            source: None,
            request_url: String::new(),
        }
    }

    /// Makes the specification of a kick-off; `locate` says what each URL stands for, and refuses those that may not be read.
    ///
    /// # Errors
    /// Those of `locate`.
    pub fn of_request<E>(
        request: ImportRequest,
        locate: impl Fn(&str) -> std::result::Result<Location, E>,
    ) -> std::result::Result<Self, E> {
        let mut inputs = Vec::with_capacity(request.inputs.len());
        for input in request.inputs {
            let location = locate(&input.url)?;
            inputs.push(InputSpec {
                location,
                declared: input.resource_type,
                input_url: input.url,
            });
        }
        Ok(Self {
            inputs,
            source: request.input_source,
            request_url: request.request_url,
        })
    }

    /// Lists folders, and refuses what cannot be carried out. Waits for the disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a path where nothing is; [`ErrorKind::Invalid`] for no input at all, a folder without
    /// NDJSON files, a `source` that is too long.
    pub(crate) fn resolve(mut self) -> Result<Self> {
        if self
            .source
            .as_ref()
            .is_some_and(|source| source.len() > SOURCE_BYTES_MAX)
        {
            let problem = format!("the source is longer than {SOURCE_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for input in self.inputs {
            match &input.location {
                Location::Path(path) if is_folder(path)? => inputs.extend(list_folder(&input, path)?),
                _ => inputs.push(input),
            }
        }
        if inputs.is_empty() || inputs.len() > INPUTS_MAX {
            let problem = format!(
                "an import has 1 to {INPUTS_MAX} inputs, this one {}",
                inputs.len()
            );
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        self.inputs = inputs;
        Ok(self)
    }
}

impl InputSpec {
    /// A file or folder of this machine.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let input_url = path.display().to_string();
        Self {
            location: Location::Path(path),
            declared: None,
            input_url,
        }
    }

    /// A file behind an `http` or `https` URL.
    pub fn url(url: impl Into<String>) -> Self {
        let url = url.into();
        Self {
            location: Location::Url(url.clone()),
            declared: None,
            input_url: url,
        }
    }

    /// Says which type every resource of the input has.
    #[must_use]
    pub fn declaring(self, resource_type: ResourceType) -> Self {
        Self {
            declared: Some(resource_type),
            ..self
        }
    }

    /// Whether somebody asked for it by a URL, and not the user of this machine by a path.
    pub(super) fn is_of_request(&self) -> bool {
        self.input_url.starts_with("file:")
    }

    /// The last part of the name, without a URL's query: short, and without signatures.
    pub(crate) fn short_name(&self) -> &str {
        let place = self.input_url.split(['?', '#']).next().unwrap_or_default();
        place.trim_end_matches('/').rsplit('/').next().unwrap_or(place)
    }
}

fn is_folder(path: &Path) -> Result<bool> {
    let found = std::fs::metadata(path);
    let found = found.map_err(|source| Error::io(format!("looking for input {}", path.display()), source))?;
    Ok(found.is_dir())
}

/// The NDJSON files of a folder, by name; other files are passed over, folders within it too.
fn list_folder(input: &InputSpec, folder: &Path) -> Result<Vec<InputSpec>> {
    let failed = |source| Error::io(format!("listing input folder {}", folder.display()), source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_ndjson(&name) && entry.path().is_file() {
            names.push((name, entry.path()));
        }
    }
    if names.is_empty() {
        let problem = format!("input folder {} holds no NDJSON file", folder.display());
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    names.sort();
    let parent = input.input_url.trim_end_matches('/');
    let files = names.into_iter().map(|(name, path)| InputSpec {
        location: Location::Path(path),
        declared: input.declared,
        input_url: format!("{parent}/{name}"),
    });
    Ok(files.collect())
}
