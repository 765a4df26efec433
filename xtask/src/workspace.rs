//! The workspace as `cargo metadata` tells it: folders, packages, direct dependencies.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the repository.
    pub(crate) root: PathBuf,
    /// The folder for what is built or fetched.
    pub(crate) target: PathBuf,
    /// The members.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// The package's name.
    pub(crate) name: String,
    /// What its manifest names.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line of a manifest.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The name of the package that is depended on.
    pub(crate) name: String,
    /// Whether only tests, examples and benches use it.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks cargo; needs no network.
    pub(crate) fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(&manifest)
            .output()
            .context("starting cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self::read(&serde_json::from_slice(&output.stdout).context("reading cargo metadata")?)
    }

    fn read(metadata: &Value) -> Result<Self> {
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata without packages")?;
        Ok(Self {
            root: text(&metadata["workspace_root"])?.into(),
            target: text(&metadata["target_directory"])?.into(),
            packages: packages.iter().map(package).collect::<Result<_>>()?,
        })
    }
}

fn package(package: &Value) -> Result<Package> {
    let dependencies = package["dependencies"]
        .as_array()
        .context("a package without dependencies")?;
    let dependency = |dependency: &Value| -> Result<Dependency> {
        Ok(Dependency {
            name: text(&dependency["name"])?.to_owned(),
            dev: dependency["kind"] == "dev",
        })
    };
    Ok(Package {
        name: text(&package["name"])?.to_owned(),
        dependencies: dependencies.iter().map(dependency).collect::<Result<_>>()?,
    })
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("cargo metadata lacks a text")
}
