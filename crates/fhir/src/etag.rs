//! Entity tags: strong ones for files, weak `W/"n"` ones for resource versions (RFC 9110 §8.8.3, §13; FHIR R4 http §ETag).
//!
//! [`EntityTag`] is one tag, [`EntityTags`] the list in `If-Match` and `If-None-Match`. Dates in conditional headers are not
//! evaluated: an `If-Range` with a date never matches, and the whole file is sent.

use std::fmt;

use crate::header::split;

/// One entity tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    weak: bool,
    opaque: String,
}

impl EntityTag {
    /// Makes the weak tag of a resource version, `W/"n"`.
    pub fn of_version(version: u64) -> Self {
        Self {
            weak: true,
            opaque: version.to_string(),
        }
    }

    /// Makes a strong tag, for one exact sequence of bytes; `None` if `opaque` has a character that a tag cannot hold.
    pub fn strong(opaque: &str) -> Option<Self> {
        is_opaque(opaque).then(|| Self {
            weak: false,
            opaque: opaque.to_owned(),
        })
    }

    /// Reads `"x"` or `W/"x"`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        is_opaque(opaque).then(|| Self {
            weak,
            opaque: opaque.to_owned(),
        })
    }

    /// Gives the resource version that the tag names, weak or strong; `None` if it is not a canonical decimal number.
    pub fn version(&self) -> Option<u64> {
        let version: u64 = self.opaque.parse().ok()?;
        (version.to_string() == self.opaque).then_some(version)
    }

    /// Compares weakly: the same opaque text.
    pub fn matches_weak(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Compares strongly: the same opaque text, and neither is weak.
    pub fn matches_strong(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.weak { "W/" } else { "" };
        write!(formatter, "{prefix}\"{}\"", self.opaque)
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any current representation.
    Any,
    /// The tags that were listed, at least one.
    Listed(Vec<EntityTag>),
}

impl EntityTags {
    /// Reads all values of the header; `None` if there is no tag in them or any part is malformed, which for `If-Match` is a 400.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let pieces: Vec<&str> = values.into_iter().flat_map(|value| split(value, ',')).collect();
        match pieces.as_slice() {
            [] => None,
            ["*"] => Some(Self::Any),
            pieces => pieces
                .iter()
                .map(|piece| EntityTag::parse(piece))
                .collect::<Option<_>>()
                .map(Self::Listed),
        }
    }

    /// Evaluates `If-None-Match` against the current tag: `true` means the client has it already (304).
    pub fn matches_weak(&self, current: &EntityTag) -> bool {
        self.matches(|tag| tag.matches_weak(current))
    }

    /// Evaluates `If-Match` for a file against its strong tag: `false` means 412.
    pub fn matches_strong(&self, current: &EntityTag) -> bool {
        self.matches(|tag| tag.matches_strong(current))
    }

    /// Evaluates `If-Match` for a resource against its current version: `false` means 412.
    ///
    /// FHIR's version tags are weak, so here a weak tag matches, unlike in plain HTTP.
    pub fn matches_version(&self, current: u64) -> bool {
        self.matches(|tag| tag.version() == Some(current))
    }

    fn matches(&self, predicate: impl FnMut(&EntityTag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(predicate),
        }
    }
}

/// Evaluates `If-Range` (RFC 9110 §13.1.5): whether the `Range` beside it may be honoured.
///
/// Only an equal strong tag will do; a date, a weak tag or anything malformed means the whole file.
pub fn if_range_matches(header: &str, current: &EntityTag) -> bool {
    EntityTag::parse(header).is_some_and(|tag| tag.matches_strong(current))
}

/// RFC 9110's `etagc`, narrowed to ASCII: visible characters but the quote.
fn is_opaque(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}
