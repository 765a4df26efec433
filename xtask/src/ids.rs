//! The chore `ids`: every requirement of `docs/requirements.md` that is to be held by a test is carried by one.
//!
//! A test carries an id in its name (`…_k_07`) or in the doc comment above it (`K-07`). [`requirements`] reads the list, [`carried`]
//! a source file. Each problem is one line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};

use crate::{say, tidy::rust_files, workspace::Workspace};

const LIST: &str = "docs/requirements.md";

/// The letters of ids that this list is about; imports have others.
const AREAS: &[u8] = b"KSMDFGTCA";

/// What the last column says of a requirement that a test is to hold.
const HELD_BY_TEST: &str = "test";

/// Prints all problems and fails if there are any.
pub(crate) fn run() -> Result<()> {
    let problems = problems(&Workspace::load()?.root)?;
    for problem in &problems {
        say(problem);
    }
    match problems.len() {
        0 => Ok(()),
        count => bail!("{count} problems"),
    }
}

fn problems(root: &Path) -> Result<Vec<String>> {
    let list = fs::read_to_string(root.join(LIST)).with_context(|| format!("reading {LIST}"))?;
    let requirements = requirements(&list)?;
    let mut carried_ids = BTreeSet::new();
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        carried_ids.extend(carried(&text));
    }
    let untested = requirements
        .iter()
        .filter(|(id, requirement)| requirement.held_by == HELD_BY_TEST && !carried_ids.contains(*id));
    let unlisted = carried_ids.iter().filter(|id| !requirements.contains_key(*id));
    let mut problems: Vec<String> = untested
        .map(|(id, requirement)| format!("{LIST}: no test carries {id}: {}", requirement.asks))
        .collect();
    problems.extend(unlisted.map(|id| format!("{LIST}: a test carries {id}, which is not listed")));
    Ok(problems)
}

/// A row of the list.
#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    asks: String,
    held_by: String,
}

/// Reads the rows of the list's tables.
fn requirements(list: &str) -> Result<BTreeMap<String, Requirement>> {
    let mut requirements = BTreeMap::new();
    for line in list.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", id, asks, held_by, ""] = cells[..] else {
            continue;
        };
        if !is_id(id.as_bytes()) {
            continue;
        }
        if asks.is_empty() || held_by.is_empty() {
            bail!("{LIST}: {id} says not what it asks or not what holds it");
        }
        let (asks, held_by) = (asks.to_owned(), held_by.to_owned());
        let before = requirements.insert(id.to_owned(), Requirement { asks, held_by });
        if before.is_some() {
            bail!("{LIST}: {id} is listed twice");
        }
    }
    if requirements.is_empty() {
        bail!("{LIST} lists nothing");
    }
    Ok(requirements)
}

/// Whether this is an id such as `K-07`, or `CL-07` of the duties of clients.
fn is_id(text: &[u8]) -> bool {
    let number = match text {
        [b'C', b'L', number @ ..] => number,
        [area, number @ ..] if AREAS.contains(area) => number,
        _ => return false,
    };
    matches!(number, [b'-', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit())
}

/// Gathers the ids that the tests of a source file carry.
fn carried(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let (mut doc, mut is_test) = (String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            doc.push_str(words);
            doc.push(' ');
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            if let Some(name) = function_name(line).filter(|_| is_test) {
                ids.extend(ids_of_name(name));
                ids.extend(ids_of_doc(&doc));
            }
            (doc, is_test) = (String::new(), false);
        }
    }
    ids
}

fn function_name(line: &str) -> Option<&str> {
    let at = line.find("fn ")?;
    let is_start = ["", "async ", "pub ", "pub async "].contains(&&line[..at]);
    let name = line[at + 3..].split(['(', '<']).next()?;
    is_start.then_some(name)
}

/// Two parts of a name in a row, such as `k_07`.
fn ids_of_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('_').collect();
    let pairs = parts.windows(2).map(|pair| pair.join("-").to_ascii_uppercase());
    pairs.filter(|id| is_id(id.as_bytes())).collect()
}

fn ids_of_doc(doc: &str) -> Vec<String> {
    let words = doc.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    words
        .filter(|word| is_id(word.as_bytes()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Workspace, carried, problems, requirements};

    #[test]
    fn every_listed_requirement_is_carried_by_a_test() {
        let workspace = Workspace::load().expect("cargo metadata");
        let problems = problems(&workspace.root).expect("the tree can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = carried(text).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn ids_are_found_in_names_and_docs_of_tests_alone() {
        check("#[test]\nfn it_works_k_07_s_10() {", &["K-07", "S-10"]);
        check(
            "/// Holds K-07, (M-22).\n#[tokio::test(start_paused = true)]\nasync fn works() {",
            &["K-07", "M-22"],
        );
        check("/// Holds K-07.\nfn works_k_08() {", &[]);
        check("#[test]\nfn k_7_or_k_077_or_x_10() {", &[]);
        check("/// Not XL-01.\n#[test]\nfn cl_09_and_l_09() {", &["CL-09"]);
        check("/// K-07\nstruct A;\n#[test]\nfn works() {", &[]);
        check(
            "    /// Of K-07.\n    #[test]\n    #[cfg(unix)]\n    fn works() {",
            &["K-07"],
        );
    }

    #[test]
    fn rows_of_the_list_are_whole_and_single() {
        let list = "| id | what | by |\n|---|---|---|\n| K-07 | repeats | test |\n";
        assert_eq!(requirements(list).expect("a list")["K-07"].held_by, "test");
        for wrong in [
            "",
            "| K-07 | a | test |\n| K-07 | b | test |\n",
            "| K-07 | | test |\n",
        ] {
            assert!(requirements(wrong).is_err(), "{wrong}");
        }
    }
}
