//! The Patient compartment as element paths: the CompartmentDefinition's search parameters, resolved.

use anyhow::{Context, Result, ensure};

use super::definitions::Definitions;

/// What R4 lacks and everyone needs: US Core's implantable devices belong to their patient (G-08).
const ADDED: (&str, &str) = ("Device", "patient");

/// The paths, without the type's name, that lead from a resource of this type to its patients.
pub(super) fn patient_paths(definitions: &Definitions<'_>, name: &str) -> Result<Vec<String>> {
    let mut paths: Vec<String> = Vec::new();
    for code in definitions.patient_parameters.get(name).into_iter().flatten() {
        let expression = definitions
            .expressions
            .get(&(name, code))
            .with_context(|| format!("no search parameter {name} {code}"))?;
        let found = element_paths(name, expression)?;
        ensure!(
            !found.is_empty(),
            "search parameter {name} {code} has no path of {name}"
        );
        for path in found {
            if !paths.iter().any(|known| known == path) {
                paths.push(path.to_owned());
            }
        }
    }
    if name == ADDED.0 && paths.is_empty() {
        paths.push(ADDED.1.to_owned());
    }
    Ok(paths)
}

/// The alternatives of a FHIRPath expression that start at this type, as plain element paths.
///
/// What only narrows a reference is taken away, for the code looks at the reference itself: `where(resolve() is
/// Patient)`, `as(Reference)`, `(… as Reference)`. Anything else that is not a path is an error.
fn element_paths<'a>(name: &str, expression: &'a str) -> Result<Vec<&'a str>> {
    let mut paths = Vec::new();
    for alternative in expression.split('|') {
        let path = alternative.trim();
        let path = path.strip_suffix(".where(resolve() is Patient)").unwrap_or(path);
        let path = path.strip_suffix(".as(Reference)").unwrap_or(path);
        let inner = path
            .strip_prefix('(')
            .and_then(|path| path.strip_suffix(" as Reference)"));
        let path = inner.unwrap_or(path);
        let Some(path) = path.strip_prefix(name).and_then(|path| path.strip_prefix('.')) else {
            continue;
        };
        let plain = path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        ensure!(plain, "not a plain element path: {alternative}");
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::element_paths;

    fn check(expression: &str, expected: &[&str]) {
        assert_eq!(element_paths("Basic", expression).expect(expression), expected);
    }

    #[test]
    fn only_alternatives_of_the_type_count() {
        check("Account.subject | Basic.author|BasicOther.x", &["author"]);
    }

    #[test]
    fn what_narrows_a_reference_is_taken_away() {
        check(
            "Basic.agent.who.where(resolve() is Patient) | Basic.subject",
            &["agent.who", "subject"],
        );
        check("Basic.subject.as(Reference)", &["subject"]);
        check("(Basic.subject as Reference)", &["subject"]);
    }

    #[test]
    fn what_is_not_a_path_is_an_error() {
        for expression in [
            "Basic.extension('x').value",
            "Basic.subject.where(resolve() is Group)",
        ] {
            assert!(element_paths("Basic", expression).is_err(), "{expression}");
        }
    }
}
