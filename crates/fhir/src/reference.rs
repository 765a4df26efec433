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

/// Tells `visit` the literal references of a valid resource's text, those of contained resources too, in their order and with repeats.
///
/// It looks for the member's name, not for a structure: cheap enough for every row of an export.
pub fn each_reference(text: &[u8], mut visit: impl FnMut(Reference<'_>)) {
    for at in NAME.find_iter(text) {
        let Some(raw) = member_text(text, at) else {
            continue;
        };
        let value = decode(raw);
        if let Target::Resource(reference) = Target::parse(&value) {
            visit(reference);
        }
    }
}

/// The raw text of the string member whose name's opening quote stands at `at`; `None` if that is within a string, or another value.
#[inline]
fn member_text(text: &[u8], at: usize) -> Option<&str> {
    if at > 0 && text[at - 1] == b'\\' {
        return None;
    }
    let mut at = skip_space(text, at + NAME.needle().len());
    if text.get(at) != Some(&b':') {
        return None;
    }
    at = skip_space(text, at + 1);
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let raw = text.get(at + 1..closing_quote(text, at + 1))?;
    std::str::from_utf8(raw).ok()
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
