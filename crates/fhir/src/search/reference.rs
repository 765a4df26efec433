//! References: which resource is asked for, and whether an element means it.

use super::{path::Leaf, predicate::is_version_of, value::Value};
use crate::{
    id::is_valid_id,
    reference::{Reference, Target},
    resource_type::ResourceType,
};

/// A reference of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReferenceValue {
    /// `id`: of any type.
    Id(String),
    /// `Type/id`, with a version or without.
    Resource {
        resource_type: ResourceType,
        id: String,
        version: Option<String>,
    },
    /// A URL of another place, a `urn:`, a canonical: the text itself.
    Text(String),
}

impl ReferenceValue {
    /// Reads an id, `Type/id`, `Type/id/_history/version`, or anything with a scheme.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if is_valid_id(text.as_bytes()) {
            return Some(Self::Id(text.to_owned()));
        }
        let (path, version) = match text.split_once("/_history/") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        if let Some((name, id)) = path.split_once('/')
            && let Some(resource_type) = ResourceType::parse(name)
        {
            let valid =
                is_valid_id(id.as_bytes()) && version.is_none_or(|version| is_valid_id(version.as_bytes()));
            return valid.then(|| Self::Resource {
                resource_type,
                id: id.to_owned(),
                version: version.map(str::to_owned),
            });
        }
        text.contains(':').then(|| Self::Text(text.to_owned()))
    }

    /// Whether the text of a Reference, and what it is found to mean, is asked for.
    fn means(&self, text: &str, target: Option<Reference<'_>>) -> bool {
        match (self, target) {
            (Self::Text(asked), _) => text == asked,
            (Self::Id(id), Some(target)) => target.id == id,
            (
                Self::Resource {
                    resource_type,
                    id,
                    version,
                },
                Some(target),
            ) => {
                let own_version = || text.rsplit_once("/_history/").map(|(_, version)| version);
                target.id == id
                    && target.resource_type == *resource_type
                    && version
                        .as_deref()
                        .is_none_or(|version| own_version() == Some(version))
            }
            (_, None) => false,
        }
    }
}

/// Whether an element means any of what is asked for.
pub(super) fn any(asked: &[ReferenceValue], leaf: Leaf, value: Value<'_>) -> bool {
    let Leaf::Reference(only) = leaf else {
        return value
            .string()
            .is_some_and(|text| asked.iter().any(|asked| is_canonical(asked, leaf, &text)));
    };
    let Some(text) = value.member("reference").and_then(Value::string) else {
        return false;
    };
    let target = match Target::parse(&text) {
        Target::Resource(reference) => Some(reference),
        _ => None,
    };
    if only.is_some() && target.map(|reference| reference.resource_type) != only {
        return false;
    }
    asked.iter().any(|asked| asked.means(&text, target))
}

fn is_canonical(asked: &ReferenceValue, leaf: Leaf, text: &str) -> bool {
    match asked {
        ReferenceValue::Text(asked) => {
            text == asked || (leaf == Leaf::Canonical && is_version_of(text, asked))
        }
        _ => false,
    }
}

/// The type that a Reference says it means: by what it refers to, else by its `type`.
pub(super) fn target_type(value: Value<'_>) -> Option<ResourceType> {
    if let Some(text) = value.member("reference").and_then(Value::string)
        && let Target::Resource(reference) = Target::parse(&text)
    {
        return Some(reference.resource_type);
    }
    ResourceType::parse(&value.member("type")?.string()?)
}

/// Whether nothing says that a Reference means another type than the one that is kept.
pub(super) fn of_type(leaf: Leaf, value: Value<'_>) -> bool {
    match leaf {
        Leaf::Reference(Some(expected)) => target_type(value).is_none_or(|found| found == expected),
        _ => true,
    }
}
