//! The members of a Group resource at an instant (spec G-06).
//!
//! [`GroupMembers::read`] gives the patients and the nested Groups that are members now, and counts the members that an export by
//! patient cannot follow. Expanding nested Groups is the caller's part, as is stopping when they form a circle.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::id::Id;
use crate::instant::Instant;
use crate::reference::Target;
use crate::resource_type::ResourceType;

const DAY_MICROS: i64 = 86_400_000_000;

/// Who is in a Group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMembers {
    /// Patients, in ascending order, each once.
    pub patients: Vec<Id>,
    /// Nested Groups, in ascending order, each once.
    pub groups: Vec<Id>,
    /// Members of another type (Practitioner, Device …): not followed by an export of patients.
    pub others: u64,
    /// Members without a literal reference to `Type/id`: contained, by identifier only, `urn:` or conditional. Nobody can look them up.
    pub unresolvable: u64,
}

impl GroupMembers {
    /// Reads the members of `group`, the JSON of one Group resource, as they are `at` an instant.
    ///
    /// Left out are members with `inactive: true` and those whose `period.end` has passed. A partial end date counts to the end of that
    /// day, month or year in UTC; a full one to its microsecond. An absolute reference counts by its tail, `Type/id`.
    ///
    /// # Errors
    /// [`ErrorKind::Json`] if it is not JSON or a member has another JSON type than FHIR gives it; [`ErrorKind::Invalid`] if it is no Group,
    /// or a `period.end` is no FHIR dateTime: guessing would export somebody who left, or lose somebody.
    pub fn read(group: &[u8], at: Instant) -> Result<Self> {
        let wire: WireGroup<'_> =
            serde_json::from_slice(group).map_err(|source| Error::json("the Group", &source))?;
        if wire.resource_type != "Group" {
            return Err(Error::new(ErrorKind::Invalid, "the resource is not a Group"));
        }
        let mut members = Self::default();
        for (index, member) in wire.member.into_iter().enumerate() {
            if member.is_current(index, at)? {
                members.add(member.entity.reference.as_deref());
            }
        }
        for ids in [&mut members.patients, &mut members.groups] {
            ids.sort_unstable();
            ids.dedup();
        }
        Ok(members)
    }

    fn add(&mut self, reference: Option<&str>) {
        let Some(Target::Resource(target)) = reference.map(Target::parse) else {
            self.unresolvable += 1;
            return;
        };
        let id = Id::parse(target.id).expect("a literal reference holds a valid id");
        match target.resource_type {
            ResourceType::PATIENT => self.patients.push(id),
            ResourceType::GROUP => self.groups.push(id),
            _ => self.others += 1,
        }
    }
}

#[derive(Deserialize)]
struct WireGroup<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(default, borrow)]
    member: Vec<WireMember<'a>>,
}

#[derive(Deserialize)]
struct WireMember<'a> {
    #[serde(borrow)]
    entity: WireEntity<'a>,
    #[serde(default)]
    inactive: bool,
    #[serde(borrow)]
    period: Option<WirePeriod<'a>>,
}

#[derive(Deserialize)]
struct WireEntity<'a> {
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WirePeriod<'a> {
    #[serde(borrow)]
    end: Option<Cow<'a, str>>,
}

impl WireMember<'_> {
    fn is_current(&self, index: usize, at: Instant) -> Result<bool> {
        if self.inactive {
            return Ok(false);
        }
        let Some(end) = self.period.as_ref().and_then(|period| period.end.as_deref()) else {
            return Ok(true);
        };
        let last = last_micros(end).ok_or_else(|| {
            let problem = format!("the Group's member[{index}].period.end is not a FHIR dateTime");
            Error::new(ErrorKind::Invalid, problem)
        })?;
        Ok(at.micros() <= last)
    }
}

/// The last microsecond that a FHIR dateTime covers; `None` if it is none.
fn last_micros(text: &str) -> Option<i64> {
    if !text.is_ascii() {
        return None;
    }
    let start_of = |date: String| Some(Instant::parse(&format!("{date}T00:00:00Z")).ok()?.micros());
    let next = match text.len() {
        4 => start_of(format!("{text}-12-31"))? + DAY_MICROS,
        7 if text.ends_with("-12") => start_of(format!("{text}-31"))? + DAY_MICROS,
        7 => {
            let month: u8 = text[5..].parse().ok()?;
            // The month itself must be one, before the next one is asked for.
            start_of(format!("{text}-01"))?;
            start_of(format!("{}{:02}-01", &text[..5], month + 1))?
        }
        10 => start_of(text.to_owned())? + DAY_MICROS,
        _ => return Some(Instant::parse(text).ok()?.micros()),
    };
    Some(next - 1)
}
