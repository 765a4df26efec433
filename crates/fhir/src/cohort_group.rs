//! What a Group must be to define a cohort by filters (spec §4.3, profile `bulk-cohort-group`).
//!
//! A Group without a `member-filter` is no business of this module. One with it is held to the profile when it is written, and to the
//! filters that the server can evaluate (C-02 to C-05, C-08): what cannot be exported as it is meant must not be stored as if it could.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::group::{GroupMembers, MEMBER_FILTER};
use crate::instant::Instant;
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};
use crate::reference::Target;

/// The extension that says when members were last found; a server that finds them at each export leaves it out (C-05).
const MEMBERS_REFRESHED: &str = "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/members-refreshed";

/// Checks a Group that is about to be written; one without a `member-filter` passes.
///
/// # Errors
/// An outcome with each rule of the profile that it breaks, and each filter that cannot be evaluated.
pub fn check_cohort(group: &[u8], base_url: &str, at: Instant) -> Result<(), OperationOutcome> {
    let malformed = |problem: String| OperationOutcome::error(IssueCode::Structure, problem);
    let wire: WireGroup<'_> = serde_json::from_slice(group)
        .map_err(|_| malformed("the Group has an element of another JSON type".into()))?;
    if !wire.modifiers.iter().any(|modifier| modifier.is(MEMBER_FILTER)) {
        return Ok(());
    }
    let members = GroupMembers::read(group, at).map_err(|error| malformed(error.to_string()))?;
    let mut findings = Findings::default();
    wire.check(&mut findings);
    if members.filters.len()
        != wire
            .modifiers
            .iter()
            .filter(|modifier| modifier.is(MEMBER_FILTER))
            .count()
    {
        let text = "each member-filter has one valueExpression with language and expression";
        findings.push(Issue::error(IssueCode::Required, text).with_expression("Group.modifierExtension"));
    }
    for (index, filter) in members.filters.iter().enumerate() {
        if let Err(issues) = filter.compile(index, base_url) {
            issues.into_iter().for_each(|issue| findings.push(issue));
        }
    }
    findings.or(())
}

#[derive(Deserialize)]
struct WireGroup<'a> {
    #[serde(rename = "type", borrow)]
    group_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    actual: Option<bool>,
    characteristic: Option<IgnoredAny>,
    #[serde(default, borrow)]
    member: Vec<WireMember<'a>>,
    #[serde(default, borrow)]
    extension: Vec<WireExtension<'a>>,
    #[serde(rename = "modifierExtension", default, borrow)]
    modifiers: Vec<WireExtension<'a>>,
}

#[derive(Deserialize)]
struct WireMember<'a> {
    #[serde(borrow)]
    entity: Option<WireEntity<'a>>,
}

#[derive(Deserialize)]
struct WireEntity<'a> {
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WireExtension<'a> {
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
}

impl WireExtension<'_> {
    fn is(&self, url: &str) -> bool {
        self.url.as_deref() == Some(url)
    }
}

impl WireGroup<'_> {
    /// Holds the Group to the profile's rules beside the filters themselves.
    fn check(&self, findings: &mut Findings) {
        let mut broken = |code, text: &str, element: &str| {
            let issue = Issue::error(code, format!("a Group with a member-filter: {text}"));
            findings.push(issue.with_expression(format!("Group.{element}")));
        };
        if !matches!(
            self.group_type.as_deref(),
            Some("person" | "practitioner" | "device")
        ) {
            broken(IssueCode::Value, "type is person, practitioner or device", "type");
        }
        if self.name.as_deref().is_none_or(str::is_empty) {
            broken(IssueCode::Required, "name is required", "name");
        }
        if self.characteristic.is_some() {
            broken(
                IssueCode::Value,
                "characteristic is not allowed",
                "characteristic",
            );
        }
        if self.actual != Some(!self.member.is_empty()) {
            let text = "actual is true if there are members and false if there are none";
            broken(IssueCode::Invariant, text, "actual");
        }
        if !self.member.iter().all(WireMember::is_allowed) {
            let text = "a member is a reference to a Patient, Practitioner, Device or Group";
            broken(IssueCode::Value, text, "member.entity");
        }
        if self
            .extension
            .iter()
            .any(|extension| extension.is(MEMBERS_REFRESHED))
        {
            let text = "members are found anew at each export, so members-refreshed must be left out";
            broken(IssueCode::Value, text, "extension");
        }
    }
}

impl WireMember<'_> {
    fn is_allowed(&self) -> bool {
        let reference = self
            .entity
            .as_ref()
            .and_then(|entity| entity.reference.as_deref());
        match reference.map(Target::parse) {
            Some(Target::Resource(target)) => {
                matches!(
                    target.resource_type.name(),
                    "Patient" | "Practitioner" | "Device" | "Group"
                )
            }
            _ => false,
        }
    }
}
