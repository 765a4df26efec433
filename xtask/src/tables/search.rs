//! Search parameters: each one's FHIRPath expression compiled, per type, to paths of JSON members with the type at their end.
//!
//! A path is written `member.member:Type`, alternatives are parted by `|`. A member can carry a filter, `telecom[system=phone]`;
//! the type can carry what narrows it: `Reference(Patient)` keeps references to patients, `code(system)` names the systems that
//! its value set implies. What cannot be compiled is an error here, unless [`EXCLUDED`] names it with its reason.

mod elements;
mod expression;
mod render;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::{
    elements::{Elements, Typed},
    expression::{Alternative, alternatives},
};
use super::definitions::{Definitions, VERSION};

/// What stands in the definitions before a parameter's name.
const DEFINITION_BASE: &str = "http://hl7.org/fhir/SearchParameter/";

/// Parameters that are left out on purpose: code and reason; the ids of their definitions decide.
const EXCLUDED: &[(&str, &str)] = &[
    ("DomainResource-text", "text is not indexed"),
    ("Resource-content", "text is not indexed"),
    ("Resource-query", "there are no named queries"),
    ("individual-phonetic", "there is no phonetic comparison; use name"),
    (
        "InsurancePlan-phonetic",
        "there is no phonetic comparison; use name",
    ),
    (
        "Organization-phonetic",
        "there is no phonetic comparison; use name",
    ),
    ("Location-near", "distances are not computed"),
    (
        "Bundle-composition",
        "it means a resource inside of the Bundle, of use for chaining only",
    ),
    (
        "Bundle-message",
        "it means a resource inside of the Bundle, of use for chaining only",
    ),
];

/// Of `Patient`: the one expression that computes a value instead of naming elements.
const DECEASED: (&str, &str) = (
    "Patient.deceased.exists() and Patient.deceased != false",
    "deceasedBoolean:boolean|deceasedDateTime:exists",
);

/// A composite whose parts R4 names crosswise: its `code` is defined by the reference, its `target` by the code.
const CROSSED: (&str, [(&str, &str); 2]) = (
    "DocumentReference-relationship",
    [("code", "token"), ("target", "reference")],
);

/// A parameter that R4 lacks and the Bulk Cohort API asks for (C-06); R5 has it.
const GROUP_NAME: (&str, &str, &str) = ("name", "Group-name", "Used to find Groups by their name");

/// All that the file says.
#[derive(Debug, Default)]
struct Tables {
    common: Vec<Row>,
    by_type: Vec<(String, Vec<Row>)>,
    unsupported: Vec<(String, String, String)>,
}

/// One parameter of one type.
#[derive(Debug, Clone)]
struct Row {
    code: String,
    kind: String,
    definition: String,
    paths: String,
    documentation: String,
    targets: String,
    components: Vec<Component>,
}

/// One part of a composite.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    kind: String,
    paths: String,
}

/// What the paths of a search parameter are compiled against.
struct Compiler<'a> {
    elements: Elements<'a>,
    /// The kinds of parameters by their definition's URL.
    kinds: BTreeMap<&'a str, &'a str>,
}

/// Makes the file's text. `bundles` hold the structures and value sets.
pub(super) fn source(
    definitions: &Definitions<'_>,
    bundles: &[&Value],
    parameters: &Value,
) -> Result<String> {
    let entries = parameters["entry"].as_array().context("no list entry")?;
    let parameters: Vec<&Value> = entries
        .iter()
        .map(|entry| &entry["resource"])
        .filter(|parameter| parameter["version"] == VERSION)
        .collect();
    let mut compiler = Compiler {
        elements: Elements::default(),
        kinds: BTreeMap::new(),
    };
    for bundle in bundles {
        compiler.elements.add(bundle)?;
    }
    for parameter in &parameters {
        compiler
            .kinds
            .insert(text(parameter, "url")?, text(parameter, "type")?);
    }
    let mut tables = Tables::default();
    let mut by_type: BTreeMap<&str, Vec<Row>> = definitions
        .structures
        .keys()
        .map(|name| (*name, Vec::new()))
        .collect();
    for parameter in &parameters {
        for base in parameter["base"].as_array().context("no list base")? {
            let base = base.as_str().context("a base that is no text")?;
            compiler.place(parameter, base, &mut tables, &mut by_type)?;
        }
    }
    by_type.entry("Group").or_default().push(group_name());
    for (name, mut rows) in by_type {
        rows.sort_by(|a, b| a.code.cmp(&b.code));
        tables.by_type.push((name.to_owned(), rows));
    }
    tables.common.sort_by(|a, b| a.code.cmp(&b.code));
    tables.unsupported.sort();
    Ok(render::render(&tables))
}

fn group_name() -> Row {
    Row {
        code: GROUP_NAME.0.to_owned(),
        kind: "string".to_owned(),
        definition: GROUP_NAME.1.to_owned(),
        paths: "name:string".to_owned(),
        documentation: GROUP_NAME.2.to_owned(),
        targets: String::new(),
        components: Vec::new(),
    }
}

impl Compiler<'_> {
    /// Puts one parameter of one base where it belongs.
    fn place<'t>(
        &self,
        parameter: &Value,
        base: &'t str,
        tables: &mut Tables,
        by_type: &mut BTreeMap<&'t str, Vec<Row>>,
    ) -> Result<()> {
        let is_common = matches!(base, "Resource" | "DomainResource");
        let excluded = EXCLUDED.iter().find(|(id, _)| parameter["id"] == *id);
        if let Some((_, reason)) = excluded {
            let name = if is_common { "*" } else { base };
            let code = text(parameter, "code")?.to_owned();
            tables
                .unsupported
                .push((name.to_owned(), code, (*reason).to_owned()));
            return Ok(());
        }
        let row = self.row(parameter, base).with_context(|| {
            let url = parameter["url"].as_str().unwrap_or_default();
            format!("search parameter {url} of {base}")
        })?;
        let rows = if is_common {
            &mut tables.common
        } else {
            by_type.get_mut(base).with_context(|| format!("no type {base}"))?
        };
        rows.push(row);
        Ok(())
    }

    fn row(&self, parameter: &Value, base: &str) -> Result<Row> {
        let kind = text(parameter, "type")?;
        let expression = text(parameter, "expression")?;
        let definition = text(parameter, "url")?
            .strip_prefix(DEFINITION_BASE)
            .context("a definition of another place")?;
        let components = if kind == "composite" {
            self.components(parameter, base, expression)?
        } else {
            Vec::new()
        };
        let paths = match kind {
            _ if expression == DECEASED.0 => DECEASED.1.to_owned(),
            "composite" => self.bases(base, expression)?.0,
            _ => self.paths(kind, base, base, expression)?,
        };
        ensure!(!paths.is_empty() || kind == "composite", "no path");
        Ok(Row {
            code: text(parameter, "code")?.to_owned(),
            kind: kind.to_owned(),
            definition: definition.to_owned(),
            paths,
            documentation: documentation(text(parameter, "description")?, base),
            targets: targets(parameter),
            components,
        })
    }

    /// The elements that a composite's parts hang from: their paths, and where they are defined.
    fn bases(&self, base: &str, expression: &str) -> Result<(String, Vec<String>)> {
        let (mut paths, mut insides) = (Vec::new(), Vec::new());
        for alternative in alternatives(expression)? {
            if alternative.root.as_deref() != Some(base) {
                continue;
            }
            if alternative.steps.is_empty() {
                paths.push(":self".to_owned());
                insides.push(base.to_owned());
                continue;
            }
            for (path, typed) in self.walk(base, &alternative)? {
                paths.push(format!("{path}:self"));
                insides.push(typed.inside);
            }
        }
        Ok((paths.join("|"), insides))
    }

    fn components(&self, parameter: &Value, base: &str, expression: &str) -> Result<Vec<Component>> {
        let (_, insides) = self.bases(base, expression)?;
        let mut components = Vec::new();
        for component in parameter["component"].as_array().context("no list component")? {
            let definition = text(component, "definition")?;
            let expression = text(component, "expression")?;
            let crossed = CROSSED
                .1
                .iter()
                .find(|(name, _)| parameter["id"] == CROSSED.0 && *name == expression);
            let kind = match (crossed, self.kinds.get(definition)) {
                (Some((_, kind)), _) => kind,
                (None, Some(kind)) => kind,
                (None, None) => bail!("no parameter {definition}"),
            };
            let mut paths = None;
            for inside in &insides {
                let found = self.paths(kind, base, inside, expression)?;
                ensure!(
                    paths.as_ref().is_none_or(|known| *known == found),
                    "the bases of {definition} differ"
                );
                paths = Some(found);
            }
            components.push(Component {
                kind: (*kind).to_owned(),
                paths: paths.context("a composite without base")?,
            });
        }
        Ok(components)
    }

    /// The alternatives of an expression that concern the type, compiled; relative ones begin at `inside`.
    fn paths(&self, kind: &str, base: &str, inside: &str, expression: &str) -> Result<String> {
        let mut paths: Vec<String> = Vec::new();
        for alternative in alternatives(expression)? {
            let (prefix, from) = match alternative.root.as_deref() {
                None => ("", inside),
                Some("%resource") => ("%", base),
                Some(root) if root == base => ("", base),
                Some(_) => continue,
            };
            for (path, typed) in self.walk(from, &alternative)? {
                let Some(leaf) = leaf(kind, &typed, alternative.target.as_deref())? else {
                    continue;
                };
                let path = format!("{prefix}{path}:{leaf}");
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        Ok(paths.join("|"))
    }

    /// Follows an alternative from where it begins; a choice that is not narrowed gives one path for each type.
    fn walk(&self, from: &str, alternative: &Alternative) -> Result<Vec<(String, Typed)>> {
        let mut reached: Vec<(String, Typed)> = Vec::new();
        for (at, step) in alternative.steps.iter().enumerate() {
            let parents: Vec<(String, String)> = if at == 0 {
                vec![(String::new(), from.to_owned())]
            } else {
                reached
                    .drain(..)
                    .map(|(path, typed)| (path, typed.inside))
                    .collect()
            };
            for (path, inside) in parents {
                let mut children = self.elements.child(&inside, &step.name)?;
                if let Some(narrowed) = &step.narrowed {
                    children.retain(|typed| typed.type_name == *narrowed);
                    ensure!(!children.is_empty(), "{inside}.{} is never {narrowed}", step.name);
                }
                for typed in children {
                    let dot = if path.is_empty() { "" } else { "." };
                    let filter = step
                        .filter
                        .as_ref()
                        .map(|(member, value)| format!("[{member}={value}]"));
                    let filter = filter.unwrap_or_default();
                    reached.push((format!("{path}{dot}{}{filter}", typed.member), typed));
                }
            }
        }
        Ok(reached)
    }
}

/// How a value of this type is looked at by a parameter of this kind; `None` if the kind passes it over.
fn leaf(kind: &str, typed: &Typed, target: Option<&str>) -> Result<Option<String>> {
    let name = typed.type_name.as_str();
    let leaf = match (kind, name) {
        ("token", "http://hl7.org/fhirpath/System.String") => "id",
        ("token", "code") if !typed.systems.is_empty() => {
            return Ok(Some(format!("code({})", typed.systems.join(","))));
        }
        ("token", "code" | "id" | "string" | "uri" | "boolean" | "Coding" | "CodeableConcept")
        | ("token", "Identifier" | "ContactPoint")
        | ("string", "string" | "HumanName" | "Address")
        | ("date", "date" | "dateTime" | "instant" | "Period" | "Timing")
        | ("quantity", "Quantity" | "Money" | "Range")
        | ("number", "Range")
        | ("reference", "canonical" | "uri")
        | ("uri", "uri" | "url" | "canonical") => name,
        ("string", "markdown") => "string",
        ("quantity", "Age" | "Duration") => "Quantity",
        ("number", "decimal" | "integer") => "decimal",
        ("reference", "Reference") => {
            return Ok(Some(target.map_or("Reference".to_owned(), |target| {
                format!("Reference({target})")
            })));
        }
        // A choice has types beside those that the kind can compare: a text or an age is no date, a series of samples is
        // no quantity, a quantity no token, an attachment refers to no resource.
        ("date", "string" | "Age" | "Range")
        | ("token", "Quantity" | "Range" | "Reference")
        | ("quantity", "SampledData")
        | ("reference", "Attachment") => return Ok(None),
        _ => bail!("a {kind} parameter meets a {name}"),
    };
    Ok(Some(leaf.to_owned()))
}

/// The types that a reference may mean; empty for any.
fn targets(parameter: &Value) -> String {
    const ANY: usize = 100;
    let targets: Vec<&str> = parameter["target"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if targets.len() > ANY {
        String::new()
    } else {
        targets.join(" ")
    }
}

/// What the description says of this type: shared parameters have a list with a line for each.
fn documentation(description: &str, base: &str) -> String {
    let own = description.lines().find_map(|line| {
        let (name, text) = line.trim().strip_prefix("* [")?.split_once(']')?;
        let (_, text) = text.split_once("): ")?;
        (name == base).then_some(text)
    });
    let first = description.lines().next().unwrap_or_default();
    own.unwrap_or(first).trim().to_owned()
}

fn text<'v>(value: &'v Value, member: &str) -> Result<&'v str> {
    value[member]
        .as_str()
        .with_context(|| format!("no text {member}"))
}

#[cfg(test)]
mod tests;
