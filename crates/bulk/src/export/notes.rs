//! What the receiver of an export should know beside its resources: [`Notes`], written as OperationOutcomes (spec §2.3).

use fhirhose_fhir::id::Id;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};
use fhirhose_fhir::resource_type::ResourceType;

use super::helpers::is_helper;
use super::roster::Roster;
use super::spec::ExportSpec;

/// Patients that are named in one outcome.
const NAMED_PER_OUTCOME: usize = 100;

/// Patients who left a Group that are named; of more only the number is told.
const NAMED_MAX: usize = 100_000;

/// What is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Parameters that were left aside (K-22).
    pub(super) ignored: Vec<OperationOutcome>,
    /// What the client may not read.
    pub(super) withheld: Vec<OperationOutcome>,
    /// Requested types that are in no compartment, and of which nothing comes otherwise.
    pub(super) types_outside: Vec<ResourceType>,
    /// What is in no block of output that is organised by instance.
    pub(super) left_out: Vec<OperationOutcome>,
    /// Members that are no patients and no Groups.
    pub(super) other_members: u64,
    /// Members that cannot be looked up.
    pub(super) unresolvable_members: u64,
    /// Nested Groups that the snapshot does not have.
    pub(super) missing_groups: u64,
    /// Patients of the request who were no members when the export began.
    pub(super) strangers: u64,
    /// Members who left the Group since `_since` (G-05).
    pub(super) left: Vec<Id>,
    /// Members who joined since then, if they come with their whole history (G-04).
    pub(super) joined: u64,
    /// Whether nobody knows who was a member at `_since`.
    pub(super) members_forgotten: bool,
    /// Whether deletions are listed whose last versions nobody has any more to hold them to `_typeFilter`.
    pub(super) deletions_unfiltered: bool,
}

impl Notes {
    /// What is known from the request alone.
    pub(super) fn of(spec: &ExportSpec) -> Self {
        let types = spec.request.types.iter().flatten().copied();
        let types = types.filter(|each| spec.may_hold(*each));
        let comes = |each: &ResourceType| {
            each.in_patient_compartment() || (spec.helper_resources && is_helper(*each))
        };
        Self {
            ignored: spec.request.ignored.clone(),
            withheld: spec.withheld(),
            types_outside: types.filter(|each| !comes(each)).collect(),
            ..Self::default()
        }
    }

    /// Adds what was found out about the members of a Group.
    pub(super) fn add(&mut self, roster: &Roster) {
        self.other_members += roster.others;
        self.unresolvable_members += roster.unresolvable;
        self.missing_groups += roster.missing_groups;
    }

    /// One OperationOutcome for each thing to be known.
    pub(super) fn outcomes(&self) -> Vec<OperationOutcome> {
        let mut outcomes = self.ignored.clone();
        outcomes.extend_from_slice(&self.withheld);
        for outside in &self.types_outside {
            let text =
                format!("_type: {outside} is not in the Patient compartment; this export has none of it");
            outcomes.push(OperationOutcome::information(text));
        }
        outcomes.extend_from_slice(&self.left_out);
        self.tell_of_members(&mut outcomes);
        self.tell_of_changes(&mut outcomes);
        if self.deletions_unfiltered {
            let text = "_typeFilter: some resources were deleted so long ago that what they held is gone; they are listed as deleted \
                        whether or not they matched";
            outcomes.push(incomplete(text.to_owned()));
        }
        outcomes
    }

    fn tell_of_members(&self, outcomes: &mut Vec<OperationOutcome>) {
        if self.other_members > 0 {
            let count = self.other_members;
            let text =
                format!("{count} members of the Group are not patients; nothing was exported for them");
            outcomes.push(OperationOutcome::information(text));
        }
        if self.unresolvable_members > 0 {
            let count = self.unresolvable_members;
            outcomes.push(incomplete(format!(
                "{count} members of the Group have no reference to follow"
            )));
        }
        if self.missing_groups > 0 {
            let count = self.missing_groups;
            outcomes.push(incomplete(format!(
                "{count} Groups that are members of the Group do not exist"
            )));
        }
        if self.strangers > 0 {
            let count = self.strangers;
            outcomes.push(incomplete(format!(
                "patient: {count} of them are not members of the Group; nothing was exported for them"
            )));
        }
    }

    fn tell_of_changes(&self, outcomes: &mut Vec<OperationOutcome>) {
        if self.members_forgotten {
            let text = "_since: who was a member of the Group at that time is not known any more; members who joined since then come with \
                        what changed, and members who left are not named";
            outcomes.push(incomplete(text.to_owned()));
        }
        if self.joined > 0 {
            let count = self.joined;
            let text = format!(
                "_since: {count} members joined the Group since then; they come with all that there is of them"
            );
            outcomes.push(OperationOutcome::information(text));
        }
        let named = &self.left[..self.left.len().min(NAMED_MAX)];
        for some in named.chunks(NAMED_PER_OUTCOME) {
            let issues = some.iter().map(|id| {
                let text = format!("Patient/{} is no longer a member of the Group", id.as_str());
                Issue::new(Severity::Information, IssueCode::Informational, text)
            });
            outcomes.push(OperationOutcome {
                issues: issues.collect(),
            });
        }
        if self.left.len() > NAMED_MAX {
            let count = self.left.len() - NAMED_MAX;
            let text = format!("{count} more patients are no longer members of the Group");
            outcomes.push(OperationOutcome::information(text));
        }
    }
}

fn incomplete(text: String) -> OperationOutcome {
    OperationOutcome::warning(IssueCode::Incomplete, text)
}
