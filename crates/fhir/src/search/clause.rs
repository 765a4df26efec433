//! One parameter of a query: which one it is, whether it can be asked, what its modifier means.

use super::{
    hint::{nearest, shortened},
    parameters::rows,
    path::{self, Leaf, Path},
    predicate::Predicate,
    prefix::DateValue,
    reference::ReferenceValue,
    token::{SystemAsked, TokenValue},
    values::{predicate, split},
};
use crate::{
    id::Id,
    outcome::{Issue, IssueCode},
    resource_type::ResourceType,
    tables::{
        parameters::UNSUPPORTED,
        search::{Kind, SearchRow},
    },
};

/// Why a parameter is refused.
#[derive(Debug)]
pub(super) struct Fault {
    code: IssueCode,
    text: String,
}

impl Fault {
    fn new(code: IssueCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub(super) fn value(text: impl Into<String>) -> Self {
        Self::new(IssueCode::Value, text)
    }

    /// The issue about the parameter with this name.
    pub(super) fn issue(self, name: &str) -> Issue {
        Issue::error(self.code, format!("{}: {}", shortened(name), self.text))
    }
}

/// A parameter, compiled.
#[derive(Debug)]
pub(super) struct Clause {
    /// The value as it is written down, references below the base made relative.
    pub(super) text: String,
    pub(super) predicate: Predicate,
    pub(super) negated: bool,
    pub(super) paths: Vec<Path>,
    /// How many values it has.
    pub(super) values: usize,
    /// Of `_lastUpdated`, whose value is not in the resource's text.
    pub(super) last_updated: Option<Vec<DateValue>>,
    pub(super) ids: Option<Vec<Id>>,
    pub(super) patients: Option<Vec<Id>>,
}

/// What stands behind the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    Missing,
    Not,
    Text,
    OfType,
    Exact,
    Contains,
    Above,
    Below,
    Identifier,
    Type(ResourceType),
}

/// Parameters of a search that say what becomes of the result (T-05).
const RESULT_PARAMETERS: &[&str] = &[
    "_sort",
    "_count",
    "_include",
    "_revinclude",
    "_summary",
    "_total",
    "_elements",
    "_contained",
    "_containedType",
];

/// Other names that FHIR has and that cannot be used, with what can.
const NOT_POSSIBLE: &[(&str, &str)] = &[
    (
        "_has",
        "chaining is not possible; filter the other type by a query of its own",
    ),
    (
        "_filter",
        "filter expressions are not possible; use search parameters",
    ),
    ("_list", "lists are not followed; give the ids in _id"),
    ("_type", "the criteria name one type before the ?"),
    ("_format", "it is no criterion"),
    ("_pretty", "it is no criterion"),
];

/// Finds a parameter of a type by the name in a query, with or without a modifier.
pub(super) fn find(resource_type: ResourceType, name: &str) -> Result<&'static SearchRow, Fault> {
    let code = name.split(':').next().unwrap_or(name);
    if let Some(row) = rows(resource_type).find(|row| row.code == code && !name.contains('.')) {
        return Ok(row);
    }
    if RESULT_PARAMETERS.contains(&code) {
        let text =
            "it arranges a result and is no criterion; only parameters that choose resources can be used";
        return Err(Fault::new(IssueCode::Invalid, text));
    }
    let named = UNSUPPORTED
        .iter()
        .find(|row| {
            row.code == code && (row.resource_type == "*" || row.resource_type == resource_type.name())
        })
        .map(|row| row.reason);
    let named = named.or_else(|| {
        NOT_POSSIBLE
            .iter()
            .find(|(name, _)| *name == code)
            .map(|(_, reason)| *reason)
    });
    if let Some(reason) = named {
        return Err(Fault::new(IssueCode::NotSupported, reason));
    }
    if name.contains('.') {
        let text =
            "chaining is not possible; filter the other type by a query of its own, or give references";
        return Err(Fault::new(IssueCode::NotSupported, text));
    }
    let hint = match nearest(code, rows(resource_type).map(|row| row.code)) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    let text = format!("{resource_type} has no such search parameter in R4{hint}");
    Err(Fault::new(IssueCode::NotSupported, text))
}

/// Reads one parameter.
pub(super) fn read(
    resource_type: ResourceType,
    name: &str,
    value: &str,
    base_url: &str,
) -> Result<Clause, Fault> {
    let row = find(resource_type, name)?;
    let modifier = match name.split_once(':') {
        Some((_, modifier)) => Some(modifier_of(row, modifier)?),
        None => None,
    };
    let paths = path::parse(row.paths).expect("the table's paths are well-formed, as a test says of each");
    let text = match modifier {
        // The value is an identifier, whose system may lie below the base.
        Some(Modifier::Identifier) => value.to_owned(),
        _ => relative(&paths, row, value, base_url),
    };
    let values: Vec<&str> = split(&text, ',').collect();
    if values.iter().any(|value| value.is_empty()) {
        return Err(Fault::value("a value is missing"));
    }
    let mut clause = Clause {
        predicate: Predicate::Never,
        negated: modifier == Some(Modifier::Not),
        values: values.len(),
        last_updated: None,
        ids: None,
        patients: None,
        paths,
        text: String::new(),
    };
    if modifier == Some(Modifier::Missing) {
        clause.ask_presence(&values, row.code)?;
    } else if clause.paths.iter().any(|path| path.leaf == Leaf::Exists) {
        clause.ask_computed(&values)?;
    } else {
        clause.predicate = predicate(row, modifier, &clause.paths, &values)?;
        clause.note_access(row, resource_type);
    }
    clause.text = text;
    Ok(clause)
}

impl Clause {
    /// `:missing`: what is missing is what is not there.
    fn ask_presence(&mut self, values: &[&str], code: &str) -> Result<(), Fault> {
        self.negated = match values {
            ["true"] => true,
            ["false"] => false,
            _ => return Err(Fault::value("the modifier missing takes true or false")),
        };
        let always_there = code == "_lastUpdated" || self.paths.iter().any(|path| path.leaf == Leaf::Exists);
        if always_there {
            self.paths.clear();
            self.negated = !self.negated;
        } else {
            self.predicate = Predicate::Present;
        }
        Ok(())
    }

    /// A value that the definition computes as true or false, and that is false where nothing is said.
    fn ask_computed(&mut self, values: &[&str]) -> Result<(), Fault> {
        let mut asked = [false; 2];
        for value in values {
            match value.rsplit('|').next() {
                Some("true") => asked[1] = true,
                Some("false") => asked[0] = true,
                _ => return Err(Fault::value("the values are true and false")),
            }
        }
        if asked == [true; 2] {
            self.paths.clear();
            self.negated = !self.negated;
            return Ok(());
        }
        self.negated ^= asked[0];
        self.predicate = Predicate::Token(vec![TokenValue {
            system: SystemAsked::Any,
            code: Some("true".to_owned()),
        }]);
        Ok(())
    }

    /// What else is to be known of a clause, for better ways to what matches.
    fn note_access(&mut self, row: &SearchRow, resource_type: ResourceType) {
        if self.negated {
            return;
        }
        match &self.predicate {
            Predicate::Ids(ids) => self.ids = ids.iter().map(|id| Id::parse(id)).collect(),
            Predicate::Date(dates) if row.code == "_lastUpdated" => {
                self.last_updated = Some(dates.clone());
                self.paths.clear();
            }
            Predicate::Reference(references) => {
                let compartment = resource_type.row().patient_paths;
                let within = self.paths.iter().all(|path| {
                    let members: Vec<&str> = path.steps.iter().map(|step| step.member).collect();
                    compartment.contains(&members.join(".").as_str())
                });
                let patients = references.iter().map(|reference| match reference {
                    ReferenceValue::Resource {
                        resource_type: ResourceType::PATIENT,
                        id,
                        ..
                    } => Id::parse(id),
                    _ => None,
                });
                self.patients = if within { patients.collect() } else { None };
            }
            _ => {}
        }
    }
}

fn modifier_of(row: &SearchRow, text: &str) -> Result<Modifier, Fault> {
    let modifier = match (row.kind, text) {
        (kind, "missing") if kind != Kind::Composite => Modifier::Missing,
        (Kind::Token, "not") => Modifier::Not,
        (Kind::Token, "text") if row.paths.contains("Cod") || row.paths.contains("Identifier") => {
            Modifier::Text
        }
        (Kind::Token, "of-type") if row.paths.ends_with(":Identifier") && !row.paths.contains('|') => {
            Modifier::OfType
        }
        (Kind::String, "exact") => Modifier::Exact,
        (Kind::String, "contains") => Modifier::Contains,
        (Kind::Uri, "above") => Modifier::Above,
        (Kind::Uri, "below") => Modifier::Below,
        (Kind::Reference, "identifier") if row.paths.contains(":Reference") => Modifier::Identifier,
        (Kind::Reference, name) if ResourceType::parse(name).is_some() => return type_of(row, name),
        _ => return Err(unknown_modifier(row.kind, text)),
    };
    Ok(modifier)
}

fn type_of(row: &SearchRow, name: &str) -> Result<Modifier, Fault> {
    let meant = row.targets.is_empty() || row.targets.split(' ').any(|target| target == name);
    match ResourceType::parse(name).filter(|_| meant && row.paths.contains(":Reference")) {
        Some(resource_type) => Ok(Modifier::Type(resource_type)),
        None => Err(Fault::new(IssueCode::Invalid, "it never refers to that type")),
    }
}

fn unknown_modifier(kind: Kind, text: &str) -> Fault {
    let possible = match kind {
        Kind::Token => ":missing, :not, and on codes and identifiers :text, on identifiers :of-type",
        Kind::String => ":missing, :exact and :contains",
        Kind::Uri => ":missing, :above and :below",
        Kind::Reference => ":missing, :identifier and the name of a type",
        Kind::Date | Kind::Number | Kind::Quantity => ":missing",
        Kind::Composite => "no modifier",
    };
    let text = format!(
        "the modifier {} is not supported here; possible: {possible}",
        shortened(text)
    );
    Fault::new(IssueCode::NotSupported, text)
}

/// Makes absolute references below the base relative, so that the text means the same without the base.
fn relative(paths: &[Path], row: &SearchRow, value: &str, base_url: &str) -> String {
    let of_references = paths.iter().all(|path| matches!(path.leaf, Leaf::Reference(_)));
    let in_parts = row.components.iter().any(|part| part.kind == Kind::Reference);
    let base = base_url.trim_end_matches('/');
    if base.is_empty() || !(of_references || in_parts) {
        return value.to_owned();
    }
    let strip = |text: &str| -> String {
        let below = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
        let resource = below.filter(|rest| {
            let found = ReferenceValue::parse(rest);
            matches!(found, Some(ReferenceValue::Resource { .. }))
        });
        resource.unwrap_or(text).to_owned()
    };
    let each = |text: &str| -> String {
        let parts: Vec<String> = split(text, '$').map(strip).collect();
        if in_parts { parts.join("$") } else { strip(text) }
    };
    let values: Vec<String> = split(value, ',').map(each).collect();
    values.join(",")
}
