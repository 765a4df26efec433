//! The two ends of a sync, from the command line: where from, where to.

use super::WhatArgs;
use crate::export_args::group_id;
use crate::failure::usage;
use crate::output_key::OutputKeyArgs;
use crate::provider_args::{OtherProviderArgs, ProviderArgs, is_url};
use crate::typed::Typed;
use crate::workspace;
use anyhow::{Context, Result};
use clap::Args;
use fhirhose_bulk::import::ImportSettings;
use fhirhose_bulk::sync::{
    BulkSource, BundleTarget, FolderSource, ImportTarget, Source, StateFolder, StoreTarget, Target,
};
use fhirhose_client::pull::{PullSettings, Quiet};
use fhirhose_client::{BatchSettings, DataProvider, ExportParameters};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_store::{OpenMode, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where it goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArgs {
    /// store:DIR, the URL of a FHIR server (batch Bundles), or import:URL of a server with $import
    #[arg(
        long,
        env = "FHIRHOSE_SYNC_TO",
        value_name = "TARGET",
        required_unless_present = "both"
    )]
    to: Option<String>,

    /// Folder in which files are put for a server with $import, which must see the same disk
    #[arg(long, value_name = "DIR")]
    import_path: Option<PathBuf>,

    /// What that folder is called on the server's machine [default: the same]
    #[arg(long, value_name = "DIR", requires = "import_path")]
    import_path_there: Option<PathBuf>,

    /// Entries of one batch Bundle
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_entries: u32,

    #[command(flatten)]
    output_key: OutputKeyArgs,

    #[command(flatten)]
    other: OtherProviderArgs,
}

/// A source as it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKind {
    Server,
    Folder,
}

/// A target as it was named.
pub(super) enum To {
    Store(PathBuf),
    Server(String),
    Import(String),
}

/// A target that is there, without the folder in which it works.
pub(super) enum Opened {
    Store(Store, String),
    Server(DataProvider, BatchSettings),
    Import(DataProvider, BatchSettings, PathBuf, PathBuf),
}

impl To {
    pub(super) fn data_folder(&self) -> Option<&Path> {
        match self {
            Self::Store(path) => Some(path),
            _ => None,
        }
    }
}

impl TargetArgs {
    pub(super) fn parse(&self) -> Result<To> {
        let to = self.to.as_deref().context("--to is missing")?;
        let to = match (to.strip_prefix("store:"), to.strip_prefix("import:")) {
            (Some(folder), _) if !folder.is_empty() => To::Store(std::path::absolute(folder)?),
            (_, Some(url)) if is_url(url) => To::Import(url.to_owned()),
            _ if is_url(to) => To::Server(to.to_owned()),
            _ => {
                return Err(usage(
                    "--to takes store:DIR, the URL of a FHIR server, or import:URL",
                ));
            }
        };
        match (&to, &self.import_path) {
            (To::Import(_), None) => Err(usage("--to import:URL wants --import-path DIR beside it")),
            (To::Store(_) | To::Server(_), Some(_)) => Err(usage("--import-path is for --to import:URL")),
            _ => Ok(to),
        }
    }

    /// Refuses flags that a sync from here to there would ignore.
    pub(super) fn check(&self, typed: &Typed, (from, to): (SourceKind, &To)) -> Result<()> {
        match to {
            To::Store(_) => {
                let why = "is for a server as target";
                typed.refuse(&["batch_entries"], why)?;
                typed.refuse(&OtherProviderArgs::FLAGS, why)?;
            }
            To::Server(_) | To::Import(_) => self.check_server(typed)?,
        }
        match (from, to) {
            (SourceKind::Server, _) => Ok(()),
            (SourceKind::Folder, To::Store(_)) => {
                let why = "is for a server as source";
                typed.refuse(&ProviderArgs::IDENTITY, why)?;
                typed.refuse(&ProviderArgs::CONNECTION, why)
            }
            (SourceKind::Folder, To::Server(_) | To::Import(_)) => typed.refuse(
                &ProviderArgs::IDENTITY,
                "is for a server as source; what the target is shown begins with --other",
            ),
        }
    }

    /// Refuses flags that a server as target, or as the second one, has no use for.
    pub(super) fn check_server(&self, typed: &Typed) -> Result<()> {
        typed.refuse(&OutputKeyArgs::FLAGS, "is for --to store:DIR")?;
        self.other.check(typed)
    }

    /// Opens the store, or makes the connection; `first` is how the source is spoken to.
    pub(super) async fn open(&self, to: &To, first: &ProviderArgs) -> Result<Opened> {
        let batches = BatchSettings {
            entries_max: self.batch_entries as usize,
            ..BatchSettings::default()
        };
        Ok(match to {
            To::Store(folder) => {
                let store =
                    workspace::open(folder, OpenMode::Create, "sync", self.output_key.keys()?).await?;
                Opened::Store(store, folder.display().to_string())
            }
            To::Server(url) => Opened::Server(self.provider(url, first).await?, batches),
            To::Import(url) => {
                let shared =
                    std::path::absolute(self.import_path.as_deref().context("--import-path is missing")?)?;
                let there = self.import_path_there.clone().unwrap_or_else(|| shared.clone());
                Opened::Import(self.provider(url, first).await?, batches, shared, there)
            }
        })
    }

    /// Entries of one batch Bundle.
    pub(super) fn batch_entries(&self) -> usize {
        self.batch_entries as usize
    }

    /// A server that is written to, beside the one that `first` is for. Nothing of what that one is shown goes along.
    pub(super) async fn provider(&self, url: &str, first: &ProviderArgs) -> Result<DataProvider> {
        first.of_other(&self.other).for_writing().provider(url).await
    }
}

impl Opened {
    /// The target, which works in the state folder where it needs a place.
    pub(super) fn target(self, folder: &StateFolder) -> Result<Box<dyn Target>> {
        let scratch = folder.path().join("again");
        Ok(match self {
            Self::Store(store, name) => Box::new(StoreTarget::new(store, ImportSettings::default(), name)),
            Self::Server(provider, batches) => Box::new(BundleTarget::new(provider, batches, 4, scratch)),
            Self::Import(provider, batches, shared, there) => {
                // A folder of its own, for it is emptied after each import; another sync may share the place.
                let name = format!("fhirhose-sync-{}", folder.tag());
                let (shared, there) = (shared.join(&name), there.join(&name));
                Box::new(ImportTarget::new(provider, batches, shared, there))
            }
        })
    }
}

/// A Bulk Data server as source.
pub(super) async fn server_source(
    base: &str,
    what: &WhatArgs,
    provider: &ProviderArgs,
) -> Result<Box<dyn Source>> {
    Ok(Box::new(BulkSource {
        provider: provider.provider(base).await?,
        parameters: parameters(what)?,
        settings: PullSettings::default(),
        always_whole: what.full,
        joiners_max: 500,
        watch: Arc::new(Quiet),
    }))
}

/// Folders as source.
pub(super) fn folder_source(path: &str) -> Result<Box<dyn Source>> {
    let path = std::path::absolute(path)?;
    if !path.is_dir() {
        return Err(usage(format!(
            "the source {} is neither a URL nor a folder",
            path.display()
        )));
    }
    Ok(Box::new(FolderSource { path }))
}

/// What an export is asked for.
pub(super) fn parameters(what: &WhatArgs) -> Result<ExportParameters> {
    let level = match (&what.group, what.global) {
        (Some(id), _) => ExportLevel::Group(group_id(id)?),
        (None, true) => ExportLevel::System,
        (None, false) => ExportLevel::AllPatients,
    };
    Ok(ExportParameters {
        // Queries stay here: what no longer matches must be seen to be deleted.
        types: what.types.clone(),
        ..ExportParameters::new(level)
    })
}
