//! The chore `tidy`: what the house style asks for and neither compiler nor clippy checks.
//!
//! [`source`] looks at each `*.rs` file, [`arrows`] at the manifests. Each problem is one line that names its place.

mod arrows;
mod mask;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{say, workspace::Workspace};

/// Prints all problems and fails if there are any.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut problems = arrows::problems(&workspace.packages);
    problems.extend(source_problems(&workspace.root)?);
    for problem in &problems {
        say(problem);
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!("{count} problems"),
    }
}

fn source_problems(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        problems.extend(source::problems(file.strip_prefix(root).unwrap_or(&file), &text));
    }
    Ok(problems)
}

/// Lists the Rust files of the repository, sorted.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    Ok(files)
}

/// Gathers the Rust files under a folder, except what is hidden or built.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
        let (name, path) = (entry.file_name(), entry.path());
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        if entry
            .file_type()
            .with_context(|| format!("looking at {}", path.display()))?
            .is_dir()
        {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Workspace, arrows, source_problems};

    #[test]
    fn dependency_arrows_point_down() {
        let workspace = Workspace::load().expect("cargo metadata");
        let problems = arrows::problems(&workspace.packages);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn the_tree_is_tidy() {
        let workspace = Workspace::load().expect("cargo metadata");
        let problems = source_problems(&workspace.root).expect("the tree can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
