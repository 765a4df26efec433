//! Literal references: what the text of a `Reference.reference` points at.
//!
//! Understood are `Type/id`, `Type/id/_history/v` and the same at the end of an absolute `http` or `https` URL: the
//! tail counts, because a source's absolute references mean its own resources. Logical references
//! (`Reference.identifier`) are not literal and do not come here. Spec: FHIR R4, References, 2.3.0.2.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::{
    id::is_valid_id,
    json::{closing_quote, decode, is_space},
    resource_type::ResourceType,
};

/// The longest name of a type, and the slash behind it; R4's own stay well below.
const TYPE_BYTES_MAX: usize = 48;

static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"reference\""));

/// A reference to a resource by type and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference<'a> {
    /// The type of the resource that is meant.
    pub resource_type: ResourceType,
    /// Its logical id, valid as FHIR defines ids.
    pub id: &'a str,
}

/// What the text of a reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A resource by type and id.
    Resource(Reference<'a>),
    /// Something that can never be looked up by type and id: `urn:…`, or a conditional `Type?query`.
    Unresolvable,
    /// A fragment (`#contained`), or a text that names no resource of R4.
    Other,
}

impl<'a> Target<'a> {
    /// Reads the text of a `Reference.reference`, without JSON escapes.
    #[inline]
    pub fn parse(text: &'a str) -> Self {
        match relative(text) {
            Some(reference) => Self::Resource(reference),
            None => Self::parse_other(text),
        }
    }

    fn parse_other(text: &'a str) -> Self {
        if text.starts_with("urn:") || is_conditional(text) {
            return Self::Unresolvable;
        }
        let path = strip_scheme(text).unwrap_or(text);
        tail(path).map_or(Self::Other, Self::Resource)
    }
}

/// Tells `visit` the literal references of a valid resource's text to types that are `wanted`, those of contained resources too, in their
/// order and with repeats.
///
/// It looks for the member's name, not for a structure, and steps over references to other types: cheap enough for every row of an export.
pub fn each_reference_to(
    text: &[u8],
    wanted: impl Fn(ResourceType) -> bool,
    mut visit: impl FnMut(Reference<'_>),
) {
    for at in NAME.find_iter(text) {
        let Some(start) = member_start(text, at) else {
            continue;
        };
        if relative_type(&text[start..]).is_some_and(|resource_type| !wanted(resource_type)) {
            continue;
        }
        let raw = text.get(start..closing_quote(text, start)).unwrap_or_default();
        let Ok(raw) = std::str::from_utf8(raw) else {
            continue;
        };
        match Target::parse(&decode(raw)) {
            Target::Resource(reference) if wanted(reference.resource_type) => visit(reference),
            _ => {}
        }
    }
}

/// The type that a text begins with, if a slash follows it.
#[inline]
fn relative_type(text: &[u8]) -> Option<ResourceType> {
    let head = &text[..text.len().min(TYPE_BYTES_MAX)];
    let slash = head.iter().position(|&byte| byte == b'/')?;
    ResourceType::parse_bytes(&head[..slash])
}

/// Where the text of the string member begins whose name's opening quote stands at `at`; `None` if that is within a string, or another value.
#[inline]
fn member_start(text: &[u8], at: usize) -> Option<usize> {
    if at > 0 && text[at - 1] == b'\\' {
        return None;
    }
    let mut at = skip_space(text, at + NAME.needle().len());
    if text.get(at) != Some(&b':') {
        return None;
    }
    at = skip_space(text, at + 1);
    (text.get(at) == Some(&b'"')).then_some(at + 1)
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|&byte| is_space(byte)) {
        at += 1;
    }
    at
}

/// `Type/id` and nothing else: nearly all references.
#[inline]
fn relative(text: &str) -> Option<Reference<'_>> {
    let slash = text.bytes().position(|byte| byte == b'/')?;
    let (name, id) = (text.get(..slash)?, text.get(slash + 1..)?);
    let resource_type = ResourceType::parse(name)?;
    is_valid_id(id.as_bytes()).then_some(Reference { resource_type, id })
}

fn is_conditional(text: &str) -> bool {
    text.split_once('?')
        .is_some_and(|(name, _)| ResourceType::parse(name).is_some())
}

/// What follows the host of an absolute URL.
fn strip_scheme(text: &str) -> Option<&str> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    rest.split_once('/').map(|(_host, path)| path)
}

/// `[…/]Type/id[/_history/v]`; a relative reference has nothing before the type.
fn tail(path: &str) -> Option<Reference<'_>> {
    let path = match path.rsplit_once("/_history/") {
        Some((before, version)) if is_valid_id(version.as_bytes()) => before,
        _ => path,
    };
    let (before, id) = path.rsplit_once('/')?;
    let name = before.rsplit_once('/').map_or(before, |(_base, name)| name);
    let resource_type = ResourceType::parse(name)?;
    is_valid_id(id.as_bytes()).then_some(Reference { resource_type, id })
}
