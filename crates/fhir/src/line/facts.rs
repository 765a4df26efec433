//! Gathers the facts of a line while the validating pass reads it: type, id, meta, references, patients.
//!
//! `resourceType` may come last, so nothing here depends on it: references at any compartment path of any type are
//! kept with their place, and the type chooses among them at the end.

use std::ops::Range;

use crate::{
    compartment::{NOWHERE, Paths, ROOT},
    json::{Key, Kind, Place, Quoted, Visitor, decode, fingerprint},
    reference::{Reference, Target},
    resource_type::ResourceType,
};

/// Scratch beyond this many entries is given back before the next line.
const KEPT_ENTRIES_MAX: usize = 1 << 14;

const REFERENCE: u64 = fingerprint(b"reference");
const RESOURCE_TYPE: u64 = fingerprint(b"resourceType");
const ID: u64 = fingerprint(b"id");
const META: u64 = fingerprint(b"meta");

/// A root member that the checker needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Root {
    #[default]
    Missing,
    /// A string: its raw text.
    Text(Quoted),
    /// An object: the offsets of its opening bracket and after its closing one (0 until it closed).
    Object { open: usize, end: usize },
    /// Neither, or not what the member must be; its name begins here.
    Wrong(usize),
}

/// Where the id of a reference lies: in the line, or, if it was escaped, in the decoded texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdSpan {
    start: u32,
    length: u8,
    decoded: bool,
}

/// A reference of the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReferenceSpan {
    resource_type: ResourceType,
    id: IdSpan,
}

/// A reference to a patient at a compartment path of some type.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatientSpan {
    pub(super) place: Place,
    pub(super) id: IdSpan,
}

/// Lists that lines use again.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) references: Vec<ReferenceSpan>,
    pub(super) patients: Vec<PatientSpan>,
    /// The decoded texts of references that were written with escapes.
    pub(super) decoded: String,
}

impl Lists {
    pub(super) fn clear(&mut self) {
        self.references.clear();
        self.patients.clear();
        self.decoded.clear();
        self.references.shrink_to(KEPT_ENTRIES_MAX);
        self.patients.shrink_to(KEPT_ENTRIES_MAX);
        self.decoded.shrink_to(KEPT_ENTRIES_MAX);
    }
}

/// The texts that spans point into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    pub(super) line: &'a str,
    pub(super) decoded: &'a str,
}

impl<'a> Texts<'a> {
    #[inline]
    pub(super) fn id(self, span: IdSpan) -> &'a str {
        let start = span.start as usize;
        let text = if span.decoded { self.decoded } else { self.line };
        text.get(start..start + usize::from(span.length))
            .expect("spans lie within their text, on ASCII bounds")
    }

    #[inline]
    pub(super) fn reference(self, span: ReferenceSpan) -> Reference<'a> {
        Reference {
            resource_type: span.resource_type,
            id: self.id(span.id),
        }
    }
}

/// What has been gathered so far.
pub(super) struct Facts<'l> {
    line: &'l str,
    paths: &'static Paths,
    lists: &'l mut Lists,
    /// The place of the root's `meta`, one that no path has.
    meta_place: Place,
    pub(super) is_object: bool,
    pub(super) resource_type: Root,
    pub(super) id: Root,
    pub(super) meta: Root,
    pub(super) unresolvable: usize,
}

impl<'l> Facts<'l> {
    pub(super) fn new(line: &'l str, paths: &'static Paths, lists: &'l mut Lists) -> Self {
        lists.clear();
        Self {
            line,
            paths,
            lists,
            meta_place: Place(u8::MAX),
            is_object: false,
            resource_type: Root::Missing,
            id: Root::Missing,
            meta: Root::Missing,
            unresolvable: 0,
        }
    }

    /// The root member that a key names, if it is one that the checker needs.
    #[inline]
    fn root_member(&mut self, key: Key) -> Option<&mut Root> {
        match key.fingerprint {
            RESOURCE_TYPE if key.is(self.line, RESOURCE_TYPE, "resourceType") => {
                Some(&mut self.resource_type)
            }
            ID if key.is(self.line, ID, "id") => Some(&mut self.id),
            META if key.is(self.line, META, "meta") => Some(&mut self.meta),
            _ => None,
        }
    }

    #[inline]
    fn reference(&mut self, place: Place, value: Quoted) {
        let raw = &self.line[value.start..value.end];
        let decoded = value.escaped.then(|| decode(raw));
        let text = decoded.as_deref().unwrap_or(raw);
        let reference = match Target::parse(text) {
            Target::Resource(reference) => reference,
            Target::Unresolvable => return self.unresolvable += 1,
            Target::Other => return,
        };
        let id = match &decoded {
            None => self.span_in_line(reference.id, value.start..value.end),
            Some(_) => span_in_decoded(reference.id, &mut self.lists.decoded),
        };
        self.keep(
            place,
            ReferenceSpan {
                resource_type: reference.resource_type,
                id,
            },
        );
    }

    /// The id is the text's end, or stands before `/_history/`.
    #[inline]
    fn span_in_line(&self, id: &str, value: Range<usize>) -> IdSpan {
        let raw = &self.line[value.clone()];
        let within = if raw.ends_with(id) {
            raw.len() - id.len()
        } else {
            raw.rfind(id).unwrap_or(0)
        };
        IdSpan {
            start: (value.start + within) as u32,
            length: id.len() as u8,
            decoded: false,
        }
    }

    #[inline]
    fn keep(&mut self, place: Place, span: ReferenceSpan) {
        if span.resource_type == ResourceType::PATIENT && place != NOWHERE && place != ROOT {
            self.lists.patients.push(PatientSpan { place, id: span.id });
        }
        let texts = Texts {
            line: self.line,
            decoded: &self.lists.decoded,
        };
        let again = (self.lists.references.last())
            .is_some_and(|last| texts.reference(*last) == texts.reference(span));
        if !again {
            self.lists.references.push(span);
        }
    }
}

fn span_in_decoded(id: &str, decoded: &mut String) -> IdSpan {
    let start = decoded.len() as u32;
    decoded.push_str(id);
    IdSpan {
        start,
        length: id.len() as u8,
        decoded: true,
    }
}

impl Visitor for Facts<'_> {
    fn root(&mut self, kind: Kind) -> Place {
        self.is_object = kind == Kind::Object;
        if self.is_object { ROOT } else { NOWHERE }
    }

    #[inline]
    fn open(&mut self, place: Place, key: Key, kind: Kind, at: usize) -> Place {
        if place == NOWHERE || place == self.meta_place {
            return NOWHERE;
        }
        if place == ROOT
            && let Some(member) = self.root_member(key)
        {
            *member = match kind {
                Kind::Object => Root::Object { open: at, end: 0 },
                _ => Root::Wrong(key.start as usize),
            };
            let is_meta = kind == Kind::Object && key.fingerprint == META;
            return if is_meta { self.meta_place } else { NOWHERE };
        }
        self.paths.child(place, key, self.line)
    }

    #[inline]
    fn close(&mut self, place: Place, end_at: usize) {
        if place == self.meta_place
            && let Root::Object { end, .. } = &mut self.meta
        {
            *end = end_at;
        }
    }

    #[inline]
    fn string(&mut self, place: Place, key: Key, value: Quoted) {
        if key.is(self.line, REFERENCE, "reference") {
            self.reference(place, value);
        } else if place == ROOT
            && let Some(member) = self.root_member(key)
        {
            *member = Root::Text(value);
        }
    }

    #[inline]
    fn scalar(&mut self, place: Place, key: Key) {
        if place == ROOT
            && let Some(member) = self.root_member(key)
        {
            *member = Root::Wrong(key.start as usize);
        }
    }
}
