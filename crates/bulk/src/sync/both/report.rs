//! What a round has come to: [`BothReport`].

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::merge::{Conflict, ConflictKind, Pair, Side};

/// Counts of one round. No ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BothReport {
    /// The number of the round.
    pub round: u64,
    /// Resources of which each side told.
    pub told: Pair<u64>,
    /// Of these, what was known already or written by an earlier round.
    pub echoes: u64,
    /// Resources that were found equal on both sides.
    pub agreed: u64,
    /// Resources that were written to each side.
    pub written: Pair<u64>,
    /// Resources that were deleted at each side.
    pub deleted: Pair<u64>,
    /// Conflicts that were found in this round.
    #[serde(serialize_with = "listed")]
    pub conflicts: BTreeMap<ConflictGroup, u64>,
    /// Conflicts that are held for review, those of earlier rounds too.
    pub held: u64,
    /// Resources that changed while the round ran: the next one looks at them again.
    pub behind: u64,
    /// Resources that a side refuses; tried again in each round.
    pub refused: u64,
    /// Of these, resources that were to be created under the id of the other side.
    pub refused_creates: u64,
    /// Lines that could not be used: no resources, or cut to some elements.
    pub unusable_lines: u64,
    /// Errors that the sides themselves tell of: what they are about did not come, and is asked for again in the next round.
    pub source_errors: u64,
}

/// Conflicts of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictGroup {
    /// The type of the resources.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// How the sides disagreed.
    pub kind: ConflictKind,
    /// Whose version stayed; `None`: they are held.
    pub winner: Option<Side>,
    /// Whether the source won because the times did not decide.
    pub is_tie: bool,
}

impl BothReport {
    /// Whether everything went over.
    pub fn is_whole(&self) -> bool {
        self.held + self.behind + self.refused + self.unusable_lines + self.source_errors == 0
    }

    pub(super) fn count(&mut self, name: &str, conflict: Conflict) {
        let resource_type = name.split('/').next().unwrap_or_default().to_owned();
        let group = ConflictGroup {
            resource_type,
            kind: conflict.kind,
            winner: conflict.winner,
            is_tie: conflict.is_tie,
        };
        *self.conflicts.entry(group).or_default() += 1;
    }
}

/// JSON has no keys but texts, so that a group carries its count.
fn listed<S: Serializer>(groups: &BTreeMap<ConflictGroup, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Counted<'a> {
        #[serde(flatten)]
        group: &'a ConflictGroup,
        count: u64,
    }
    serializer.collect_seq(groups.iter().map(|(group, &count)| Counted { group, count }))
}
