//! Elements of the definitions by path: what an element is called in JSON, and of which types it is.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// All elements of resources and data types by their path, and the value sets that bind codes.
#[derive(Debug, Default)]
pub(super) struct Elements<'a> {
    by_path: BTreeMap<&'a str, &'a Value>,
    value_sets: BTreeMap<&'a str, &'a Value>,
}

/// One way to write an element: its JSON member and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// The JSON member's name.
    pub(super) member: String,
    /// The type's name, e.g. `CodeableConcept`.
    pub(super) type_name: String,
    /// The path under which the elements inside it are defined.
    pub(super) inside: String,
    /// Of a code: the systems of its value set, if the binding is required.
    pub(super) systems: Vec<String>,
}

impl<'a> Elements<'a> {
    /// Adds the structures and value sets of a bundle.
    pub(super) fn add(&mut self, bundle: &'a Value) -> Result<()> {
        for entry in bundle["entry"].as_array().context("no list entry")? {
            let resource = &entry["resource"];
            if let (Some("ValueSet"), Some(url)) =
                (resource["resourceType"].as_str(), resource["url"].as_str())
            {
                self.value_sets.insert(url, resource);
            }
            let defines = resource["resourceType"] == "StructureDefinition"
                && resource["version"] == super::super::definitions::VERSION
                && resource["derivation"] != "constraint";
            let elements = resource["snapshot"]["element"].as_array();
            for element in elements.into_iter().flatten().filter(|_| defines) {
                let path = element["path"].as_str().context("an element without path")?;
                self.by_path.insert(path, element);
            }
        }
        Ok(())
    }

    /// The ways in which the child `name` of what is defined at `at` can be written.
    pub(super) fn child(&self, at: &str, name: &str) -> Result<Vec<Typed>> {
        let plain = format!("{at}.{name}");
        if let Some(element) = self.by_path.get(plain.as_str()) {
            let typed = self.types(&plain, element)?;
            return Ok(typed
                .into_iter()
                .map(|typed| Typed {
                    member: name.to_owned(),
                    ..typed
                })
                .collect());
        }
        let choice = format!("{plain}[x]");
        let element = self
            .by_path
            .get(choice.as_str())
            .with_context(|| format!("no element {plain}"))?;
        let typed = self.types(&choice, element)?;
        Ok(typed
            .into_iter()
            .map(|typed| Typed {
                member: format!("{name}{}", capitalized(&typed.type_name)),
                ..typed
            })
            .collect())
    }

    fn types(&self, path: &str, element: &Value) -> Result<Vec<Typed>> {
        if let Some(reference) = element["contentReference"].as_str() {
            return Ok(vec![Typed {
                member: String::new(),
                type_name: "BackboneElement".to_owned(),
                inside: reference.trim_start_matches('#').to_owned(),
                systems: Vec::new(),
            }]);
        }
        let types = element["type"].as_array();
        let mut found = Vec::new();
        for each in types.into_iter().flatten() {
            let code = each["code"].as_str().context("a type without code")?;
            let within = matches!(code, "BackboneElement" | "Element");
            let systems = if code == "code" {
                self.systems(element)
            } else {
                Vec::new()
            };
            found.push(Typed {
                member: String::new(),
                type_name: code.to_owned(),
                inside: if within { path.to_owned() } else { code.to_owned() },
                systems,
            });
        }
        ensure!(!found.is_empty(), "{path} has no type");
        Ok(found)
    }

    /// The systems of the codes that an element may have; none if any may be used, or the value set is not here.
    fn systems(&self, element: &Value) -> Vec<String> {
        let binding = &element["binding"];
        let Some(url) = binding["valueSet"]
            .as_str()
            .filter(|_| binding["strength"] == "required")
        else {
            return Vec::new();
        };
        let url = url.split('|').next().unwrap_or(url);
        let include = self
            .value_sets
            .get(url)
            .and_then(|set| set["compose"]["include"].as_array());
        let mut systems: Vec<String> = Vec::new();
        for part in include.into_iter().flatten() {
            // A part that takes in another value set names no system; then none are known for sure.
            let Some(system) = part["system"].as_str() else {
                return Vec::new();
            };
            if !systems.iter().any(|known| known == system) {
                systems.push(system.to_owned());
            }
        }
        systems
    }
}

/// The name with its first letter capital, as behind the name of a choice.
pub(super) fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(name.len().min(1));
    format!("{}{rest}", first.to_ascii_uppercase())
}
