//! The `_elements` parameter: which root elements of a resource go out, and the resource cut down to them.
//!
//! [`ElementFilter`] is the parsed parameter, [`write_elements`] cuts a text. Root elements only, as the Bulk Data IG
//! has it: `Type.element`, or `element` for every type. Kept besides what is asked for: `resourceType`, `id`, `meta`
//! and the mandatory elements. Spec: Bulk Data IG, `_elements`; FHIR R4, search, 3.1.1.5.9.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    json::{Member, Members, decode},
    meta::has_subsetted_tag,
    resource_type::ResourceType,
    tables::RootElement,
};

/// The tag that says that a resource is not whole.
const SUBSETTED_CODING: &[u8] =
    br#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// Why a value of `_elements` is refused; the text names the value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementError {
    /// Nothing was named.
    Empty,
    /// `Type.element.deeper`: only root elements can be named.
    NotARoot(String),
    /// The part before the dot is not a resource type.
    UnknownType(String),
    /// The type, or with no type any type, has no such element.
    UnknownElement(String),
}

impl fmt::Display for ElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("names no element"),
            Self::NotARoot(value) => write!(f, "{value}: only root elements can be named"),
            Self::UnknownType(value) => write!(f, "{value}: no such resource type"),
            Self::UnknownElement(value) => {
                write!(
                    f,
                    "{value}: no such root element (a choice such as value[x] is named value)"
                )
            }
        }
    }
}

impl std::error::Error for ElementError {}

/// The elements that a request names, ready to be applied; in JSON the list of strings as given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ElementFilter {
    values: Vec<String>,
    /// For each type that is cut down: per root element of the table, whether it is kept.
    kept: BTreeMap<ResourceType, Vec<bool>>,
}

impl ElementFilter {
    /// Reads the values, each `Type.element` or `element`; a choice element is named without its type (`value`).
    ///
    /// # Errors
    /// An [`ElementError`] for the first value that names no root element, and if there is no value.
    pub fn parse<'v>(values: impl IntoIterator<Item = &'v str>) -> Result<Self, ElementError> {
        let mut filter = Self {
            values: Vec::new(),
            kept: BTreeMap::new(),
        };
        for value in values {
            filter.add(value)?;
            filter.values.push(value.to_owned());
        }
        if filter.values.is_empty() {
            return Err(ElementError::Empty);
        }
        Ok(filter)
    }

    /// Tells whether resources of this type are cut down; a type that no value names stays whole.
    pub fn applies_to(&self, resource_type: ResourceType) -> bool {
        self.kept.contains_key(&resource_type)
    }

    fn add(&mut self, value: &str) -> Result<(), ElementError> {
        match value.split_once('.') {
            None if value.is_empty() => Err(ElementError::Empty),
            None => self.add_to_all(value),
            Some((_, element)) if element.contains('.') => Err(ElementError::NotARoot(value.to_owned())),
            Some((name, element)) => {
                let unknown = || ElementError::UnknownType(value.to_owned());
                let resource_type = ResourceType::parse(name).ok_or_else(unknown)?;
                if self.add_to(resource_type, element) {
                    return Ok(());
                }
                Err(ElementError::UnknownElement(value.to_owned()))
            }
        }
    }

    /// An element without a type applies to every type, also to those that do not have it.
    fn add_to_all(&mut self, element: &str) -> Result<(), ElementError> {
        let mut known = false;
        for resource_type in ResourceType::all() {
            known |= self.add_to(resource_type, element);
        }
        if known {
            Ok(())
        } else {
            Err(ElementError::UnknownElement(element.to_owned()))
        }
    }

    /// Keeps an element of a type; tells whether the type has it.
    fn add_to(&mut self, resource_type: ResourceType, element: &str) -> bool {
        let elements = resource_type.row().elements;
        let kept = (self.kept.entry(resource_type))
            .or_insert_with(|| elements.iter().map(|element| element.mandatory).collect());
        let position = elements.iter().position(|known| known.name == element);
        if let Some(position) = position {
            kept[position] = true;
        }
        position.is_some() || is_always_kept(element)
    }

    /// Tells whether the member `name` of a resource of this type is kept.
    fn keeps(&self, resource_type: ResourceType, name: &str) -> bool {
        if is_always_kept(name) {
            return true;
        }
        // `_birthDate` carries the id and extensions of the primitive `birthDate`.
        let element = name.strip_prefix('_').unwrap_or(name);
        let Some(kept) = self.kept.get(&resource_type) else {
            return true;
        };
        element_position(resource_type.row().elements, element).is_some_and(|position| kept[position])
    }
}

impl TryFrom<Vec<String>> for ElementFilter {
    type Error = ElementError;

    fn try_from(values: Vec<String>) -> Result<Self, ElementError> {
        Self::parse(values.iter().map(String::as_str))
    }
}

impl From<ElementFilter> for Vec<String> {
    fn from(filter: ElementFilter) -> Self {
        filter.values
    }
}

/// Appends a resource cut down to the filter's elements, with the tag `SUBSETTED`, to `out`.
///
/// `text` is a valid resource of the type, with its `meta`. Kept members keep their bytes and order. A type that the
/// filter does not apply to is appended as it is, without a tag.
pub fn write_elements(text: &[u8], resource_type: ResourceType, filter: &ElementFilter, out: &mut Vec<u8>) {
    let whole = || {
        std::str::from_utf8(text)
            .ok()
            .filter(|_| filter.applies_to(resource_type))
    };
    let Some(text) = whole() else {
        return out.extend_from_slice(text);
    };
    let open = text.find('{').unwrap_or(text.len());
    let members = || Members::new(text.as_bytes(), open);
    let has_meta = members().any(|member| name_of(text, &member) == "meta");
    out.push(b'{');
    let mut comma: &[u8] = b"";
    for member in members() {
        let name = name_of(text, &member);
        if !filter.keeps(resource_type, &name) {
            continue;
        }
        out.extend_from_slice(comma);
        comma = b",";
        if name == "meta" {
            out.extend_from_slice(&text.as_bytes()[member.whole().start..member.value.start]);
            write_tagged_meta(text, &member.value, out);
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[member.whole()]);
        if name == "id" && !has_meta {
            out.extend_from_slice(br#","meta":"#);
            write_tagged_meta("{}", &(0..2), out);
        }
    }
    out.push(b'}');
}

/// Appends the `meta` object at `value` with the tag, which it may have already.
fn write_tagged_meta(text: &str, value: &Range<usize>, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut members = Members::new(bytes, value.start).peekable();
    let has_members = members.peek().is_some();
    let tag = members.find(|member| name_of(text, member) == "tag");
    let (at, before, after): (usize, &[u8], &[u8]) = match &tag {
        None if has_members => (value.start + 1, br#""tag":["#, b"],"),
        None => (value.start + 1, br#""tag":["#, b"]"),
        Some(tag) if has_subsetted_tag(text, &tag.value).unwrap_or(false) => {
            return out.extend_from_slice(&bytes[value.clone()]);
        }
        Some(tag) if Members::new(bytes, tag.value.start).next_element().is_some() => {
            (tag.value.start + 1, b"", b",")
        }
        Some(tag) => (tag.value.start + 1, b"", b""),
    };
    out.extend_from_slice(&bytes[value.start..at]);
    out.extend_from_slice(before);
    out.extend_from_slice(SUBSETTED_CODING);
    out.extend_from_slice(after);
    out.extend_from_slice(&bytes[at..value.end]);
}

fn name_of<'t>(text: &'t str, member: &Member) -> std::borrow::Cow<'t, str> {
    decode(&text[member.name.clone()])
}

fn is_always_kept(name: &str) -> bool {
    matches!(name, "resourceType" | "id" | "meta")
}

/// The position of the element that a member's name belongs to: its own, or the choice element that it is a form of.
fn element_position(elements: &[RootElement], name: &str) -> Option<usize> {
    let exact = elements
        .iter()
        .position(|element| !element.choice && element.name == name);
    exact.or_else(|| {
        elements
            .iter()
            .position(|element| element.choice && is_form_of(name, element.name))
    })
}

/// Whether a name is a choice element's base name and a type, such as `valueQuantity` for `value`.
fn is_form_of(name: &str, base: &str) -> bool {
    let kind = name.strip_prefix(base);
    kind.is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase()))
}
