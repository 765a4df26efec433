//! HL7's definitions, found in their bundles: structures, search parameters, the Patient compartment.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::RootElement;

/// The version of the definitions that count.
pub(super) const VERSION: &str = "4.0.1";

/// What the tables are made of.
#[derive(Debug)]
pub(super) struct Definitions<'a> {
    /// StructureDefinitions of the concrete resource types by name.
    pub(super) structures: BTreeMap<&'a str, &'a Value>,
    /// FHIRPath expressions of search parameters by type and code.
    pub(super) expressions: BTreeMap<(&'a str, &'a str), &'a str>,
    /// The codes of search parameters that lead from a type to its patients, in the definition's order.
    pub(super) patient_parameters: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Definitions<'a> {
    /// Sorts out the bundle of resource definitions and the bundle of search parameters.
    pub(super) fn read(resources: &'a Value, parameters: &'a Value) -> Result<Self> {
        let mut structures = BTreeMap::new();
        let mut compartment = None;
        for resource in entries(resources)? {
            if is_concrete_type(resource) {
                structures.insert(text(resource, "name")?, resource);
            } else if resource["resourceType"] == "CompartmentDefinition" && resource["code"] == "Patient" {
                compartment = Some(resource);
            }
        }
        let compartment = compartment.context("no CompartmentDefinition for Patient")?;
        Ok(Self {
            structures,
            expressions: expressions(parameters)?,
            patient_parameters: patient_parameters(compartment)?,
        })
    }
}

/// The elements at the root of a type, inherited ones included, in the snapshot's order.
pub(super) fn root_elements(name: &str, structure: &Value) -> Result<Vec<RootElement>> {
    let mut elements = Vec::new();
    for element in array(&structure["snapshot"], "element")? {
        let path = text(element, "path")?;
        let Some(path) = path.strip_prefix(name).and_then(|path| path.strip_prefix('.')) else {
            continue;
        };
        if path.contains('.') {
            continue;
        }
        let base = path.strip_suffix("[x]");
        elements.push(RootElement {
            name: base.unwrap_or(path).to_owned(),
            choice: base.is_some(),
            mandatory: element["min"]
                .as_u64()
                .with_context(|| format!("{name}.{path} has no min"))?
                >= 1,
        });
    }
    Ok(elements)
}

fn is_concrete_type(resource: &Value) -> bool {
    resource["resourceType"] == "StructureDefinition"
        && resource["version"] == VERSION
        && resource["kind"] == "resource"
        && resource["derivation"] == "specialization"
        && resource["abstract"] == false
}

fn expressions(parameters: &Value) -> Result<BTreeMap<(&str, &str), &str>> {
    let mut expressions = BTreeMap::new();
    for parameter in entries(parameters)? {
        let Some(expression) = parameter["expression"].as_str() else {
            continue;
        };
        for base in array(parameter, "base")? {
            let base = base.as_str().context("a base that is no text")?;
            expressions.insert((base, text(parameter, "code")?), expression);
        }
    }
    Ok(expressions)
}

fn patient_parameters(compartment: &Value) -> Result<BTreeMap<&str, Vec<&str>>> {
    let mut parameters = BTreeMap::new();
    for resource in array(compartment, "resource")? {
        let codes = resource["param"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        parameters.insert(text(resource, "code")?, codes.collect());
    }
    Ok(parameters)
}

fn entries(bundle: &Value) -> Result<impl Iterator<Item = &Value>> {
    Ok(array(bundle, "entry")?.iter().map(|entry| &entry["resource"]))
}

fn array<'a>(value: &'a Value, member: &str) -> Result<&'a [Value]> {
    value[member]
        .as_array()
        .map(Vec::as_slice)
        .with_context(|| format!("no list {member}"))
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member]
        .as_str()
        .with_context(|| format!("no text {member}"))
}
