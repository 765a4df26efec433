//! The FHIR Parameters resource as a request body: `parameter[]` with a name and a value of any type, or parts.
//!
//! [`parse_parameters`] checks the shape and gives a flat list of [`Parameter`]s; what the names mean is the business of the
//! request that is read. Vendors disagree on the `x` of `value[x]` (spec §5.6), so every text-like type is the same here.
//!
//! ```
//! use fhirhose_fhir::parameters::parse_parameters;
//! let body = br#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueCode":"Patient"}]}"#;
//! assert_eq!(parse_parameters(body).unwrap()[0].text(), Some("Patient"));
//! ```

use crate::json_body::{Json, parse_object};
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};

/// What a parameter carries beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterContent {
    /// `valueString`, `valueCode`, `valueUri`, `valueUrl`, `valueInstant` … : any type that JSON writes as text.
    Text(String),
    /// `valueBoolean`.
    Boolean(bool),
    /// `valueInteger`, `valuePositiveInt` … : a whole number that is not negative.
    Integer(u64),
    /// `valueReference`: the text of its `reference`.
    Reference(String),
    /// `valueCoding`.
    Coding(Coding),
    /// Any other number or complex type, a resource, or nothing at all.
    Other,
    /// `part`: parameters inside this one.
    Parts(Vec<Parameter>),
}

/// A code with the system that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coding {
    /// `system`, if given.
    pub system: Option<String>,
    /// `code`; not empty.
    pub code: String,
}

/// One entry of `parameter[]` or `part[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; never empty.
    pub name: String,
    /// What it carries.
    pub content: ParameterContent,
    /// Where it stands, as a FHIRPath: `Parameters.parameter[3].part[0]`.
    pub expression: String,
}

impl Parameter {
    /// Gives the text of a text-like value; `None` for anything else, and for an empty text.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            ParameterContent::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Reads a Parameters resource; the caller bounds the size of `body`.
///
/// # Errors
/// An outcome with every problem of the shape: not JSON, a member twice, nested deeper than 128, another resource type (K-25),
/// an unknown member, a parameter without a name or with two values.
pub fn parse_parameters(body: &[u8]) -> Result<Vec<Parameter>, OperationOutcome> {
    read_parameters(parse_object(body)?)
}

/// Reads the members of an object that should be a Parameters resource.
pub(crate) fn read_parameters(members: Vec<(String, Json)>) -> Result<Vec<Parameter>, OperationOutcome> {
    if !is_resource(&members, "Parameters") {
        let text = "the body is not a Parameters resource (resourceType must be Parameters)";
        return Err(OperationOutcome::error(IssueCode::Structure, text));
    }
    let mut findings = Findings::default();
    let mut parameters = Vec::new();
    for (name, value) in members {
        match name.as_str() {
            "resourceType" | "id" | "meta" | "language" => {}
            "parameter" => parameters = read_list(value, "Parameters.parameter", &mut findings),
            _ => findings.push(unknown_member(&name, "Parameters")),
        }
    }
    findings.or(parameters)
}

/// Tells whether the members are those of a resource of this type.
pub(crate) fn is_resource(members: &[(String, Json)], resource_type: &str) -> bool {
    members.iter().any(|(name, value)| {
        name == "resourceType" && matches!(value, Json::Text(text) if text == resource_type)
    })
}

/// Shortens a text of the client's for a message.
pub(crate) fn clip(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn read_list(list: Json, path: &str, findings: &mut Findings) -> Vec<Parameter> {
    let Json::List(items) = list else {
        findings.push(structure("is not an array", path));
        return Vec::new();
    };
    let places = (0..).map(|index: usize| format!("{path}[{index}]"));
    items
        .into_iter()
        .zip(places)
        .filter_map(|(item, place)| read_one(item, place, findings))
        .collect()
}

fn read_one(item: Json, expression: String, findings: &mut Findings) -> Option<Parameter> {
    let Json::Object(members) = item else {
        findings.push(structure("is not an object", &expression));
        return None;
    };
    let mut parameter_name = String::new();
    let mut contents = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("id" | "extension", _) => {}
            ("name", Json::Text(text)) => parameter_name = text,
            ("part", value) => {
                let parts = read_list(value, &format!("{expression}.part"), findings);
                contents.push(ParameterContent::Parts(parts));
            }
            ("resource", _) => contents.push(ParameterContent::Other),
            (name, value) if is_value(name) => contents.push(read_value(name, value)),
            // Primitive extensions say something about a value or a name; they are no value themselves.
            (name, _) if name.starts_with("_value") || name == "_name" => {}
            (name, _) => findings.push(unknown_member(name, &expression)),
        }
    }
    if parameter_name.is_empty() {
        findings.push(structure("has no name", &expression));
        return None;
    }
    if contents.len() > 1 {
        let text = format!(
            "parameter {} has more than one value, part or resource",
            clip(&parameter_name)
        );
        findings.push(Issue::error(IssueCode::Structure, text).with_expression(&expression));
        return None;
    }
    let content = contents.pop().unwrap_or(ParameterContent::Other);
    Some(Parameter {
        name: parameter_name,
        content,
        expression,
    })
}

/// What a `value[x]` carries; nothing that can be used if a member of a complex type is missing.
fn read_value(name: &str, value: Json) -> ParameterContent {
    match (name, value) {
        (_, Json::Text(text)) => ParameterContent::Text(text),
        (_, Json::Boolean(flag)) => ParameterContent::Boolean(flag),
        (_, Json::Integer(number)) => ParameterContent::Integer(number),
        ("valueReference", Json::Object(members)) => {
            text_of(&members, "reference").map_or(ParameterContent::Other, ParameterContent::Reference)
        }
        ("valueCoding", Json::Object(members)) => {
            let system = text_of(&members, "system");
            let coding = |code| ParameterContent::Coding(Coding { system, code });
            text_of(&members, "code").map_or(ParameterContent::Other, coding)
        }
        _ => ParameterContent::Other,
    }
}

fn text_of(members: &[(String, Json)], name: &str) -> Option<String> {
    members.iter().find_map(|(known, value)| match value {
        Json::Text(text) if known == name && !text.is_empty() => Some(text.clone()),
        _ => None,
    })
}

/// `value` with the name of a type behind it, such as `valueString`.
fn is_value(name: &str) -> bool {
    name.strip_prefix("value")
        .is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase()))
}

fn structure(problem: &str, path: &str) -> Issue {
    Issue::error(IssueCode::Structure, format!("{path} {problem}")).with_expression(path)
}

fn unknown_member(name: &str, place: &str) -> Issue {
    let text = format!("{place} has a member {} that is not supported here", clip(name));
    Issue::error(IssueCode::Structure, text).with_expression(place)
}
