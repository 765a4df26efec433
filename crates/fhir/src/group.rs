//! The members of a Group resource at an instant (spec G-06), and the filters of a cohort (spec §4.3).
//!
//! [`GroupMembers::read`] gives the patients and the nested Groups that are members now, and counts the members that an export by
//! patient cannot follow. Expanding nested Groups is the caller's part, as is stopping when they form a circle.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::id::Id;
use crate::instant::Instant;
use crate::outcome::{Issue, IssueCode};
use crate::reference::Target;
use crate::resource_type::ResourceType;
use crate::search::Criteria;

/// The modifier extension that makes a Group a cohort by characteristics (C-02).
pub const MEMBER_FILTER: &str = "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter";

/// The one language of member filters that is understood.
pub const FILTER_LANGUAGE: &str = "application/x-fhir-query";

/// Most member filters of one Group: each costs a scan at every export.
pub const MEMBER_FILTERS_MAX: usize = 32;

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
    /// Whether the Group lists members at all, current ones or not: if it does, only they can be in a cohort (C-03).
    pub lists_members: bool,
    /// The `member-filter`s, in their order; a patient must hold to each (C-03).
    pub filters: Vec<MemberFilter>,
}

/// One `member-filter` as the Group has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFilter {
    /// `valueExpression.language`.
    pub language: String,
    /// `valueExpression.expression`: a query such as `Encounter?date=ge2020`.
    pub expression: String,
}

impl MemberFilter {
    /// Compiles the filter, or says why it cannot be supported, naming what it is: for the creation of a Group (C-04) and for its
    /// export alike. `base_url` is the server's own FHIR base; `index` counts the Group's filters from 0.
    ///
    /// # Errors
    /// An issue for each problem of the language or the query.
    pub fn compile(&self, index: usize, base_url: &str) -> std::result::Result<Criteria, Vec<Issue>> {
        let place = format!("Group.modifierExtension[{index}].valueExpression");
        if self.language != FILTER_LANGUAGE {
            let text = format!("member-filter: its language is not supported; use {FILTER_LANGUAGE}");
            let issue = Issue::error(IssueCode::NotSupported, text);
            return Err(vec![issue.with_expression(place + ".language")]);
        }
        let at_place = |issue: Issue| issue.with_expression(place.clone() + ".expression");
        let criteria = Criteria::parse(&self.expression, base_url)
            .map_err(|issues| issues.into_iter().map(at_place).collect::<Vec<_>>())?;
        if !criteria.resource_type().in_patient_compartment() {
            let name = criteria.resource_type();
            let text = format!(
                "member-filter: {name} is not in the Patient compartment, so it says nothing of a patient"
            );
            return Err(vec![at_place(Issue::error(IssueCode::NotSupported, text))]);
        }
        Ok(criteria)
    }
}

impl GroupMembers {
    /// Reads the members of `group`, the JSON of one Group resource, as they are `at` an instant.
    ///
    /// Left out are members with `inactive: true` and those whose `period.end` has passed. A partial end date counts to the end of that
    /// day, month or year in UTC; a full one to its microsecond. An absolute reference counts by its tail, `Type/id`.
    ///
    /// # Errors
    /// [`ErrorKind::Json`] if it is not JSON or a member has another JSON type than FHIR gives it; [`ErrorKind::Invalid`] if it is no Group, has
    /// more than [`MEMBER_FILTERS_MAX`] filters, or a `period.end` is no FHIR dateTime: guessing would export somebody who left, or lose somebody.
    pub fn read(group: &[u8], at: Instant) -> Result<Self> {
        let wire: WireGroup<'_> =
            serde_json::from_slice(group).map_err(|source| Error::json("the Group", &source))?;
        if wire.resource_type != "Group" {
            return Err(Error::new(ErrorKind::Invalid, "the resource is not a Group"));
        }
        let mut members = Self {
            lists_members: !wire.member.is_empty(),
            filters: wire
                .modifiers
                .into_iter()
                .filter_map(WireExtension::filter)
                .collect(),
            ..Self::default()
        };
        if members.filters.len() > MEMBER_FILTERS_MAX {
            let text = format!("the Group has more than {MEMBER_FILTERS_MAX} member filters");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
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
    #[serde(rename = "modifierExtension", default, borrow)]
    modifiers: Vec<WireExtension<'a>>,
}

#[derive(Deserialize)]
struct WireExtension<'a> {
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    #[serde(rename = "valueExpression", default, borrow)]
    value: Option<WireExpression<'a>>,
}

#[derive(Deserialize, Default)]
struct WireExpression<'a> {
    #[serde(borrow)]
    language: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expression: Option<Cow<'a, str>>,
}

impl WireExtension<'_> {
    /// The member filter that it is, if it is one; without a language or an expression it still is one, that nobody can support.
    fn filter(self) -> Option<MemberFilter> {
        if self.url.as_deref() != Some(MEMBER_FILTER) {
            return None;
        }
        let value = self.value.unwrap_or_default();
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
        Some(MemberFilter {
            language: text(value.language),
            expression: text(value.expression),
        })
    }
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
