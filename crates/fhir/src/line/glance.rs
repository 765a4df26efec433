//! A light look at a line: [`Glancer`] sees that it is one JSON object, and of which type and id.
//!
//! A client takes what a server has: types of other versions of FHIR, ids that R4 would not allow, a name given twice. Whether a store
//! wants such a line says [`LineChecker`](super::LineChecker).

use std::borrow::Cow;

use serde::Deserialize;

use super::quick::quick_look;
use super::refusal::{Breach, Refusal, Rule};
use super::valid_text;
use crate::json::{FaultKind, Key, Kind, Place, Quoted, Scratch, Visitor, decode, fingerprint, scan};

const RESOURCE_TYPE: u64 = fingerprint(b"resourceType");
const ID: u64 = fingerprint(b"id");
const ROOT: Place = Place(1);
const INSIDE: Place = Place(2);

/// Looks at lines one after another and keeps its memory from line to line.
#[derive(Debug)]
pub struct Glancer {
    depth_max: usize,
    scratch: Scratch,
}

/// What a line says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance<'l> {
    resource_type: Option<Text<'l>>,
    id: Option<Text<'l>>,
}

/// A string of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text<'l> {
    /// As it stands between its quotes.
    Raw(&'l [u8]),
    /// What it means.
    Meaning(Cow<'l, str>),
}

impl<'l> Glance<'l> {
    /// `resourceType`, if it is a string.
    pub fn resource_type(&self) -> Option<Cow<'l, str>> {
        self.resource_type.as_ref().map(Text::meaning)
    }

    /// `id`, if it is a string.
    pub fn id(&self) -> Option<Cow<'l, str>> {
        self.id.as_ref().map(Text::meaning)
    }

    /// Whether `resourceType` is this. Cheaper than to ask which it is.
    pub fn is_of_type(&self, name: &str) -> bool {
        match &self.resource_type {
            Some(Text::Raw(raw)) if *raw == name.as_bytes() => true,
            Some(text) => text.meaning() == name,
            None => false,
        }
    }
}

impl<'l> Text<'l> {
    fn raw(line: &'l [u8], quoted: Quoted) -> Self {
        Self::Raw(line.get(quoted.start..quoted.end).unwrap_or_default())
    }

    /// The line is known to be UTF-8.
    fn meaning(&self) -> Cow<'l, str> {
        match self {
            Self::Raw(raw) => decode(std::str::from_utf8(raw).unwrap_or_default()),
            Self::Meaning(text) => text.clone(),
        }
    }
}

impl Default for Glancer {
    fn default() -> Self {
        Self::new(100)
    }
}

impl Glancer {
    /// Makes one that follows so many objects and arrays within one another.
    pub fn new(depth_max: usize) -> Self {
        let scratch = Scratch::default();
        Self { depth_max, scratch }
    }

    /// Looks at one line, without its line break; white space around the object is fine.
    ///
    /// # Errors
    /// A [`Refusal`] for what is not UTF-8, not JSON, or not an object.
    pub fn glance<'l>(&mut self, line: &'l [u8]) -> Result<Glance<'l>, Refusal> {
        let refused = |breach: Breach| breach.refusal(None, None);
        if let Some(look) = quick_look(line, self.depth_max)
            && (look.is_ascii || simdutf8::basic::from_utf8(line).is_ok())
        {
            return Ok(Glance {
                resource_type: look.resource_type.map(|quoted| Text::raw(line, quoted)),
                id: look.id.map(|quoted| Text::raw(line, quoted)),
            });
        }
        let (text, utf8) = valid_text(line);
        utf8.map_err(refused)?;
        self.closer_look(text)
    }

    /// Says what is wrong with a line, if it is.
    pub(super) fn closer_look<'l>(&mut self, text: &'l str) -> Result<Glance<'l>, Refusal> {
        let refused = |breach: Breach| breach.refusal(None, None);
        let mut roots = Roots::new(text);
        if let Err(fault) = scan(text, self.depth_max, &mut self.scratch, &mut roots) {
            // The pass is stricter than the grammar in names given twice, half surrogate pairs and huge numbers.
            return match serde_json::from_str(text) {
                Ok(Tolerant { resource_type, id }) if roots.is_object && fault.kind() != FaultKind::Depth => {
                    Ok(Glance {
                        resource_type: resource_type.map(Text::Meaning),
                        id: id.map(Text::Meaning),
                    })
                }
                _ => Err(refused(Breach::from(fault))),
            };
        }
        if !roots.is_object {
            return Err(refused(Breach::new(
                Rule::NotAnObject,
                0,
                "the line is not a JSON object",
            )));
        }
        Ok(Glance {
            resource_type: (roots.resource_type).map(|quoted| Text::raw(text.as_bytes(), quoted)),
            id: roots.id.map(|quoted| Text::raw(text.as_bytes(), quoted)),
        })
    }
}

/// The same members, read by a parser that holds to no more than the grammar.
#[derive(Deserialize)]
struct Tolerant<'l> {
    #[serde(borrow, rename = "resourceType")]
    resource_type: Option<Cow<'l, str>>,
    #[serde(borrow)]
    id: Option<Cow<'l, str>>,
}

/// The root members that matter.
struct Roots<'l> {
    text: &'l str,
    is_object: bool,
    resource_type: Option<Quoted>,
    id: Option<Quoted>,
}

impl<'l> Roots<'l> {
    fn new(text: &'l str) -> Self {
        Self {
            text,
            is_object: false,
            resource_type: None,
            id: None,
        }
    }
}

impl Visitor for Roots<'_> {
    const ROOT_NAMES_ONLY: bool = true;

    #[inline]
    fn root(&mut self, kind: Kind) -> Place {
        self.is_object = kind == Kind::Object;
        if self.is_object { ROOT } else { INSIDE }
    }

    #[inline]
    fn open(&mut self, _place: Place, _key: Key, _kind: Kind, _at: usize) -> Place {
        INSIDE
    }

    #[inline]
    fn close(&mut self, _place: Place, _end: usize) {}

    #[inline]
    fn string(&mut self, place: Place, key: Key, value: Quoted) {
        if place != ROOT {
            return;
        }
        match key.fingerprint {
            RESOURCE_TYPE if key.is(self.text, RESOURCE_TYPE, "resourceType") => {
                self.resource_type = Some(value);
            }
            ID if key.is(self.text, ID, "id") => self.id = Some(value),
            _ => {}
        }
    }

    #[inline]
    fn scalar(&mut self, _place: Place, _key: Key) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(line: &str) -> Option<(String, String)> {
        let mut glancer = Glancer::default();
        let glance = glancer.glance(line.as_bytes()).ok()?;
        let text = |part: Option<Cow<'_, str>>| part.map(Cow::into_owned).unwrap_or_default();
        Some((text(glance.resource_type()), text(glance.id())))
    }

    #[test]
    fn types_and_ids_that_r4_does_not_know_pass() {
        let line = br#"{"resourceType":"Pa\u0074ient"}"#;
        let escaped = Glancer::default().glance(line).unwrap().is_of_type("Patient");
        assert!(escaped && !Glancer::default().glance(b"{}").unwrap().is_of_type(""));
        let seen = glance(r#"{"id":"a b/c","x":{"id":"inner"},"resourceType":"NutritionIntake"}"#);
        assert_eq!(seen, Some(("NutritionIntake".to_owned(), "a b/c".to_owned())));
        assert_eq!(
            glance(" {} \r"),
            Some(Default::default()),
            "neither is said to be there"
        );
        assert_eq!(
            glance(r#"{"\u0069d":"\u0041"}"#),
            Some((String::new(), "A".to_owned()))
        );
    }

    #[test]
    fn what_only_strict_readers_refuse_passes() {
        for twice in [
            r#"{"resourceType":"Patient","id":"1","x":1,"x":2}"#,
            r#"{"resourceType":"Patient","x":{"id":"2","id":"3"},"id":"1"}"#,
        ] {
            assert_eq!(glance(twice), Some(("Patient".to_owned(), "1".to_owned())));
        }
        let half = r#"{"resourceType":"Patient","id":"1","x":"\ud800"}"#;
        assert_eq!(glance(half), Some(("Patient".to_owned(), "1".to_owned())));
    }

    #[test]
    fn what_is_not_one_object_does_not_pass() {
        for line in [
            "",
            "[]",
            "1",
            "null",
            r#"{"id":"1"}{"id":"2"}"#,
            r#"{"id":"1""#,
            "<html>",
            "{'id':1}",
        ] {
            assert_eq!(glance(line), None, "{line}");
        }
        assert!(Glancer::default().glance(b"{\"id\":\"\xff\"}").is_err());
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(glance(&format!("{{\"x\":{deep}}}")), None);
    }
}
