//! Checks one NDJSON line and gathers what the store needs to know of it, in one pass over its bytes.
//!
//! [`LineChecker::check`] either vouches for a line, as a [`CheckedLine`], or refuses it with a [`Refusal`] that names
//! the [`Rule`]. A checked line is a whole, strict JSON object of a known R4 type with a valid id. Nothing is rewritten
//! here, and resources are not validated against profiles: unknown elements and odd values pass as they are.
//!
//! ```
//! use fhirhose_fhir::line::{LineChecker, LineLimits};
//!
//! let mut checker = LineChecker::new(LineLimits::default());
//! let line = br#"{"resourceType":"Goal","id":"g1","subject":{"reference":"Patient/p1"}}"#;
//! let checked = checker.check(line, None).expect("a good line");
//! assert_eq!((checked.id, checked.owner), ("g1", Some("p1")));
//! ```

mod facts;
mod glance;
mod quick;
mod refusal;

pub use glance::{Glance, Glancer};
pub use refusal::{Refusal, Rule};

use facts::{Facts, Lists, PatientSpan, ReferenceSpan, Root, Texts};
use refusal::Breach;

use crate::{
    compartment::{NO_RANK, Paths},
    id::is_valid_id,
    json::{Quoted, Scratch, decode, scan},
    meta::MetaPlace,
    reference::Reference,
    resource_type::ResourceType,
};

/// How much a line may ask of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLimits {
    /// The longest line in bytes, without its line break; at most 4 GiB - 1 counts.
    pub line_bytes_max: usize,
    /// The most objects and arrays within one another, the resource itself included.
    pub depth_max: usize,
}

impl Default for LineLimits {
    /// 64 MiB and a depth of 100.
    fn default() -> Self {
        Self {
            line_bytes_max: 64 << 20,
            depth_max: 100,
        }
    }
}

/// Checks lines one after another and keeps its memory from line to line.
#[derive(Debug)]
pub struct LineChecker {
    limits: LineLimits,
    paths: &'static Paths,
    scratch: Scratch,
    lists: Lists,
}

/// A line that has passed, and the facts about it; everything borrows from the line and the checker.
#[derive(Clone, Copy, Debug)]
pub struct CheckedLine<'a> {
    /// The resource's type.
    pub resource_type: ResourceType,
    /// The resource's logical id.
    pub id: &'a str,
    /// The offset in the line of the id's first character, just after the opening quote.
    pub id_at: usize,
    /// Where `meta` is and what it holds.
    pub meta: MetaPlace,
    /// The id of the patient in whose compartment the resource sits: a Patient's own id; else the first reference to
    /// a Patient at the first of the type's compartment paths that has one.
    pub owner: Option<&'a str>,
    /// The further patients that any compartment path names: sorted, each once, never the owner.
    pub other_patients: OtherPatients<'a>,
    /// Every literal reference at any depth, in the order of the line; a direct repeat is left out.
    pub references: References<'a>,
    /// How many references can never be looked up: `urn:…` and conditional ones.
    pub unresolvable: usize,
    /// Whether `meta.tag` holds the code `SUBSETTED`.
    pub subsetted: bool,
}

/// The references of a checked line; iterates over [`Reference`].
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    texts: Texts<'a>,
    spans: &'a [ReferenceSpan],
}

/// The further patients of a checked line; iterates over their ids.
#[derive(Clone, Copy, Debug)]
pub struct OtherPatients<'a> {
    texts: Texts<'a>,
    spans: &'a [PatientSpan],
}

impl LineChecker {
    /// Makes a checker with these limits.
    pub fn new(limits: LineLimits) -> Self {
        let line_bytes_max = limits.line_bytes_max.min(u32::MAX as usize);
        let limits = LineLimits {
            line_bytes_max,
            ..limits
        };
        Self {
            limits,
            paths: Paths::shared(),
            scratch: Scratch::default(),
            lists: Lists::default(),
        }
    }

    /// Checks one line, without its line break, and gathers its facts; `declared` is the type that the input promises.
    ///
    /// White space around the value and a carriage return are accepted; a line feed inside the line is not, so that a
    /// checked line stays one line.
    ///
    /// # Errors
    /// A [`Refusal`] with the first rule that the line breaks: the limit, then UTF-8, then JSON, then the resource.
    pub fn check<'a>(
        &'a mut self,
        line: &'a [u8],
        declared: Option<ResourceType>,
    ) -> Result<CheckedLine<'a>, Refusal> {
        if line.len() > self.limits.line_bytes_max {
            let message = format!("the line is longer than {} bytes", self.limits.line_bytes_max);
            return Err(
                Breach::new(Rule::LineTooLong, self.limits.line_bytes_max, message).refusal(None, None),
            );
        }
        let (text, utf8) = valid_text(line);
        let mut facts = Facts::new(text, self.paths, &mut self.lists);
        let scanned = scan(text, self.limits.depth_max, &mut self.scratch, &mut facts);
        let verdict = utf8
            .and(scanned.map_err(Breach::from))
            .and_then(|()| judge(&facts, text, declared));
        let verdict =
            verdict.map_err(|breach| breach.refusal(known_type(&facts, text), known_id(&facts, text)))?;
        let unresolvable = facts.unresolvable;
        Ok(self.checked(text, verdict, unresolvable))
    }

    /// Chooses owner and other patients by the type, and hands everything out.
    fn checked<'a>(
        &'a mut self,
        line: &'a str,
        verdict: Verdict<'a>,
        unresolvable: usize,
    ) -> CheckedLine<'a> {
        let Lists {
            references,
            patients,
            decoded,
        } = &mut self.lists;
        let texts = Texts { line, decoded };
        let rank = |span: &PatientSpan| self.paths.rank(verdict.resource_type, span.place);
        patients.retain(|span| rank(span) != NO_RANK);
        let owner = if verdict.resource_type == ResourceType::PATIENT {
            Some(verdict.id)
        } else {
            patients
                .iter()
                .min_by_key(|span| rank(span))
                .map(|span| texts.id(span.id))
        };
        patients.retain(|span| Some(texts.id(span.id)) != owner);
        patients.sort_unstable_by_key(|span| texts.id(span.id));
        patients.dedup_by_key(|span| texts.id(span.id));
        CheckedLine {
            resource_type: verdict.resource_type,
            id: verdict.id,
            id_at: verdict.id_at,
            meta: verdict.meta,
            owner,
            other_patients: OtherPatients {
                texts,
                spans: patients,
            },
            references: References {
                texts,
                spans: references,
            },
            unresolvable,
            subsetted: verdict.meta.subsetted,
        }
    }
}

/// What the root members say, once they are good.
struct Verdict<'a> {
    resource_type: ResourceType,
    id: &'a str,
    id_at: usize,
    meta: MetaPlace,
}

/// The line as text, as far as it is UTF-8, and the breach if that is not all of it.
fn valid_text(line: &[u8]) -> (&str, Result<(), Breach>) {
    if let Ok(text) = simdutf8::basic::from_utf8(line) {
        return match memchr::memchr(b'\n', line) {
            None => (text, Ok(())),
            Some(at) => (
                text,
                Err(Breach::new(Rule::Json, at, "the line holds a line break")),
            ),
        };
    }
    let valid = match simdutf8::compat::from_utf8(line) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    let text = std::str::from_utf8(&line[..valid]).unwrap_or_default();
    (text, Err(Breach::new(Rule::Utf8, valid, "the line is not UTF-8")))
}

fn judge<'a>(
    facts: &Facts<'_>,
    line: &'a str,
    declared: Option<ResourceType>,
) -> Result<Verdict<'a>, Breach> {
    if !facts.is_object {
        return Err(Breach::new(Rule::NotAnObject, 0, "the line is not a JSON object"));
    }
    let resource_type = judge_type(facts, line, declared)?;
    let (id, id_at) = judge_id(facts, line)?;
    let meta = match facts.meta {
        Root::Object { open, end } => MetaPlace::read(line, open, end),
        Root::Missing => Ok(MetaPlace::missing()),
        Root::Text(Quoted { start: at, .. }) | Root::Wrong(at) => Err(at),
    };
    let meta =
        meta.map_err(|at| Breach::new(Rule::Meta, at, "meta is not an object, or its tag not an array"))?;
    Ok(Verdict {
        resource_type,
        id,
        id_at,
        meta,
    })
}

fn judge_type(facts: &Facts<'_>, line: &str, declared: Option<ResourceType>) -> Result<ResourceType, Breach> {
    let name = match facts.resource_type {
        Root::Text(name) => name,
        Root::Missing => {
            return Err(Breach::new(
                Rule::ResourceTypeMissing,
                0,
                "the resource has no resourceType",
            ));
        }
        Root::Object { open: at, .. } | Root::Wrong(at) => {
            return Err(Breach::new(
                Rule::ResourceTypeMissing,
                at,
                "the resourceType is not a string",
            ));
        }
    };
    let Some(resource_type) = known_type(facts, line) else {
        let message = "the resourceType is not a resource type of FHIR R4";
        return Err(Breach::new(Rule::ResourceTypeUnknown, name.start, message));
    };
    match declared {
        Some(declared) if declared != resource_type => {
            let message = format!("the input declares {declared}, the line is {resource_type}");
            Err(Breach::new(Rule::ResourceTypeMismatch, name.start, message))
        }
        _ => Ok(resource_type),
    }
}

fn judge_id<'a>(facts: &Facts<'_>, line: &'a str) -> Result<(&'a str, usize), Breach> {
    let quoted = match facts.id {
        Root::Text(quoted) => quoted,
        Root::Missing => return Err(Breach::new(Rule::IdMissing, 0, "the resource has no id")),
        Root::Object { open: at, .. } | Root::Wrong(at) => {
            return Err(Breach::new(Rule::IdInvalid, at, "the id is not a string"));
        }
    };
    // An escape in an id would be needless, and the id must be readable from the stored bytes.
    let id = &line[quoted.start..quoted.end];
    if !is_valid_id(id.as_bytes()) {
        let message = "the id is not 1 to 64 of the characters A-Z a-z 0-9 - .";
        return Err(Breach::new(Rule::IdInvalid, quoted.start, message));
    }
    Ok((id, quoted.start))
}

fn known_type(facts: &Facts<'_>, line: &str) -> Option<ResourceType> {
    let Root::Text(name) = facts.resource_type else {
        return None;
    };
    let raw = &line[name.start..name.end];
    ResourceType::parse(raw).or_else(|| ResourceType::parse(&decode(raw)))
}

fn known_id(facts: &Facts<'_>, line: &str) -> Option<String> {
    let Root::Text(id) = facts.id else {
        return None;
    };
    let id = &line[id.start..id.end];
    is_valid_id(id.as_bytes()).then(|| id.to_owned())
}

impl Breach {
    #[cold]
    fn refusal(self, resource_type: Option<ResourceType>, id: Option<String>) -> Refusal {
        let Self {
            rule,
            at: offset,
            message,
        } = self;
        Refusal {
            rule,
            offset,
            message,
            resource_type,
            id,
        }
    }
}

impl<'a> References<'a> {
    /// How many references there are.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// Iterates over the references.
    pub fn iter(self) -> impl Iterator<Item = Reference<'a>> + Clone {
        self.spans.iter().map(move |&span| self.texts.reference(span))
    }
}

impl<'a> OtherPatients<'a> {
    /// How many patients there are.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// Iterates over the patients' ids.
    pub fn iter(self) -> impl Iterator<Item = &'a str> + Clone {
        self.spans.iter().map(move |span| self.texts.id(span.id))
    }
}
