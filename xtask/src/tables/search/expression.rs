//! The few forms of FHIRPath that the search parameters of R4 use.

use anyhow::{Context, Result, bail, ensure};

/// One alternative of an expression, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Alternative {
    /// The type at which the path begins; `None` if it begins at the element around it.
    pub(super) root: Option<String>,
    /// The elements on the way.
    pub(super) steps: Vec<Step>,
    /// The type of resource that a reference at the end must mean: `where(resolve() is …)`.
    pub(super) target: Option<String>,
}

/// One element on the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: String,
    /// The type that is kept of a choice.
    pub(super) narrowed: Option<String>,
    /// A member and the text that it must have: `where(system='phone')`.
    pub(super) filter: Option<(String, String)>,
}

/// Takes an expression apart into its alternatives.
pub(super) fn alternatives(expression: &str) -> Result<Vec<Alternative>> {
    expression
        .split('|')
        .map(|text| alternative(text.trim()).with_context(|| format!("in {expression:?}")))
        .collect()
}

fn alternative(text: &str) -> Result<Alternative> {
    if let Some(rest) = text.strip_prefix('(') {
        let (inner, rest) = rest.split_once(')').context("an open bracket")?;
        let (path, narrowed) = inner.split_once(" as ").context("a bracket without as")?;
        let mut found = alternative(path)?;
        narrow(&mut found, narrowed)?;
        for piece in pieces(rest.trim_start_matches('.')) {
            add(&mut found, piece)?;
        }
        return Ok(found);
    }
    let mut found = Alternative::default();
    for (at, piece) in pieces(text).into_iter().enumerate() {
        let is_root = piece.starts_with('%') || piece.starts_with(|first: char| first.is_ascii_uppercase());
        if at == 0 && is_root {
            found.root = Some(piece.to_owned());
        } else {
            add(&mut found, piece)?;
        }
    }
    Ok(found)
}

/// Cuts at the dots that are in no bracket.
fn pieces(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let mut from = 0;
    let mut pieces = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'.' if depth == 0 => {
                pieces.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn add(found: &mut Alternative, piece: &str) -> Result<()> {
    let Some((function, argument)) = piece.split_once('(') else {
        let plain = piece.bytes().all(|byte| byte.is_ascii_alphanumeric());
        ensure!(plain, "{piece} is not the name of an element");
        found.steps.push(Step {
            name: piece.to_owned(),
            ..Step::default()
        });
        return Ok(());
    };
    let argument = argument.strip_suffix(')').context("an open bracket")?;
    match function {
        "as" => narrow(found, argument),
        "where" => filter(found, argument),
        _ => bail!("the function {function} is not known"),
    }
}

fn narrow(found: &mut Alternative, type_name: &str) -> Result<()> {
    let step = found.steps.last_mut().context("nothing to narrow")?;
    // R4 has one slip of the pen.
    let type_name = if type_name == "DateTime" {
        "dateTime"
    } else {
        type_name
    };
    step.narrowed = Some(type_name.to_owned());
    Ok(())
}

fn filter(found: &mut Alternative, argument: &str) -> Result<()> {
    if let Some(target) = argument.strip_prefix("resolve() is ") {
        found.target = Some(target.to_owned());
        return Ok(());
    }
    let (member, value) = argument.split_once('=').context("a filter without =")?;
    let value = value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .context("a filter without a text")?;
    let step = found.steps.last_mut().context("nothing to filter")?;
    step.filter = Some((member.to_owned(), value.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Alternative, Step, alternatives};

    fn step(name: &str, narrowed: Option<&str>, filter: Option<(&str, &str)>) -> Step {
        Step {
            name: name.to_owned(),
            narrowed: narrowed.map(str::to_owned),
            filter: filter.map(|(member, value)| (member.to_owned(), value.to_owned())),
        }
    }

    fn check(expression: &str, root: Option<&str>, steps: Vec<Step>, target: Option<&str>) {
        let expected = Alternative {
            root: root.map(str::to_owned),
            steps,
            target: target.map(str::to_owned),
        };
        let found = alternatives(expression).expect(expression);
        assert_eq!(found, [expected], "{expression}");
    }

    #[test]
    fn every_form_is_taken_apart() {
        let plain = |name| step(name, None, None);
        check("A.b.c", Some("A"), vec![plain("b"), plain("c")], None);
        check("start", None, vec![plain("start")], None);
        let quantity = || step("value", Some("Quantity"), None);
        check("(A.value as Quantity)", Some("A"), vec![quantity()], None);
        check("A.value.as(Quantity)", Some("A"), vec![quantity()], None);
        check(
            "(A.value as CodeableConcept).text",
            Some("A"),
            vec![step("value", Some("CodeableConcept"), None), plain("text")],
            None,
        );
        check(
            "A.subject.where(resolve() is Patient)",
            Some("A"),
            vec![plain("subject")],
            Some("Patient"),
        );
        check(
            "A.b.where(system='phone').c",
            Some("A"),
            vec![step("b", None, Some(("system", "phone"))), plain("c")],
            None,
        );
        check("%resource.a", Some("%resource"), vec![plain("a")], None);
        check(
            "value.as(DateTime)",
            None,
            vec![step("value", Some("dateTime"), None)],
            None,
        );
    }

    #[test]
    fn other_forms_are_errors() {
        for expression in [
            "A.b.exists()",
            "A.entry[0].resource",
            "A.b and A.c",
            "A.where(b)",
            "(A.b)",
        ] {
            assert!(alternatives(expression).is_err(), "{expression}");
        }
    }
}
