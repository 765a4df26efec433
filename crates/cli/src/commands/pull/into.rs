//! `fhirhose pull --into`: a pull that ends in a store.

use super::destination::staging_of;
use crate::commands::say;
use crate::output_key::OutputKeyArgs;
use crate::progress::count;
use crate::workspace;
use anyhow::{Context, Result};
use fhirhose_bulk::import::ImportSettings;
use fhirhose_bulk::sync::{FolderApplied, apply_folder_to_store};
use fhirhose_store::OpenMode;
use std::path::Path;

/// Sees that there is a store that this process may have, before anything is fetched; makes it when absent.
pub(super) async fn prepare(data: &Path, key: &OutputKeyArgs) -> Result<()> {
    // Nobody has to wait for a pull of weeks: it is opened again when the files are there.
    workspace::open(data, OpenMode::Create, "pull", key.keys()?).await?;
    Ok(())
}

/// Takes a whole pull into the store, its deletions last, and removes its files. Done again after a crash, it comes to the same.
pub(super) async fn apply(data: &Path, key: &OutputKeyArgs) -> Result<FolderApplied> {
    let store = workspace::open(data, OpenMode::Existing, "pull", key.keys()?).await?;
    let staging = staging_of(data);
    let reports = data.join("reports").join("pull");
    say("taking the files into the store");
    let applied = Box::pin(apply_folder_to_store(
        &store,
        &staging,
        &reports,
        ImportSettings::default(),
    ));
    let applied = applied.await.context("taking the files into the store")?;
    remove(&staging).with_context(|| format!("removing {}", staging.display()))?;
    say(&format!(
        "{} resources taken into the store, {} deleted, {} lines refused{}",
        count(applied.put),
        count(applied.deleted),
        count(applied.refused),
        match applied.refused {
            0 => String::new(),
            _ => format!(" (see {})", reports.display()),
        }
    ));
    Ok(applied)
}

/// Removes the files of a pull. It gives up its name first, so that a half removed one is never gone on with.
fn remove(staging: &Path) -> std::io::Result<()> {
    let done = staging.with_extension("applied");
    match std::fs::remove_dir_all(&done) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(source),
        _ => std::fs::rename(staging, &done)?,
    }
    std::fs::remove_dir_all(&done)
}
