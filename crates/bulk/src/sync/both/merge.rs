//! What is to be done with one resource, from what both sides have and what they agreed on last: [`decide`], pure.
//!
//! The rules, in this order:
//!
//! 1. A side that has what it agreed on, or a version that was written here, has not changed: what it tells is an echo.
//! 2. Who alone changed is followed: its content is written to the other side, its deletion is done there.
//! 3. Both with the same content, or both gone, agree.
//! 4. Anything else is a conflict and goes by the [`ConflictPolicy`].

use std::fmt;
use std::str::FromStr;

use fhirhose_fhir::content_hash::ContentHash;
use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first.
    Source,
    /// The second.
    Target,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Something of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pair<T> {
    /// That of the source.
    pub source: T,
    /// That of the target.
    pub target: T,
}

impl<T> Pair<T> {
    /// That of a side.
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// That of a side, to change it.
    pub fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// Who wins where both sides changed a resource differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictPolicy {
    /// The greater `meta.lastUpdated`; the source where that does not decide. An edit wins against a deletion, whose time nobody tells.
    Newest,
    /// The source.
    Source,
    /// The target.
    Target,
    /// Nobody: both stay as they are until somebody decides, or an edit makes them equal.
    Hold,
}

impl fmt::Display for ConflictPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newest => "newest",
            Self::Source => "source",
            Self::Target => "target",
            Self::Hold => "hold",
        })
    }
}

impl FromStr for ConflictPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "newest" => Ok(Self::Newest),
            "source" => Ok(Self::Source),
            "target" => Ok(Self::Target),
            "hold" => Ok(Self::Hold),
            _ => Err("a policy is newest, source, target or hold"),
        }
    }
}

/// What a side had when the two agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its content.
    pub content: ContentHash,
    /// Its `meta.versionId`, as far as it is known.
    pub version: Option<String>,
    /// Whether that version was written here and nobody has seen yet what the server made of it.
    pub is_ours: bool,
}

/// What a side has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its content.
    pub content: ContentHash,
    /// Its `meta.versionId`.
    pub version: Option<String>,
    /// Its `meta.lastUpdated`.
    pub updated: Option<Instant>,
}

/// What a side tells in a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Now {
    /// Nothing: it is as before.
    #[default]
    Untold,
    /// It has this.
    There(Present),
    /// It has none.
    Gone,
}

/// How two sides disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// Both have it, with different contents.
    EditEdit,
    /// One has deleted what the other has changed.
    DeleteEdit,
}

/// A conflict and how it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// How the sides disagree.
    pub kind: ConflictKind,
    /// Whose state goes over; `None`: it is held.
    pub winner: Option<Side>,
    /// Whether the times were equal or missing, so that the source won as such.
    pub is_tie: bool,
}

/// What must be so at a side for a write to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// There is nothing.
    Nothing,
    /// It has this version.
    Version(String),
    /// It has this content, of which no version is known: it is read before.
    Content(ContentHash),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing; nothing new is known either.
    Nothing,
    /// Both have this: it is written down.
    Agree(Pair<Known>),
    /// Both have none: it is written down.
    Forget,
    /// The other side's content goes to this one.
    Write(Side, Over),
    /// It is deleted at this side.
    Delete(Side, Over),
    /// It stays as it is.
    Hold,
}

/// What is to be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub step: Step,
    /// How many sides told of nothing but what was known, or written here.
    pub echoes: u64,
    /// Set where the sides had to be decided between.
    pub conflict: Option<Conflict>,
}

/// A side's state against what was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    Edited,
    Deleted,
}

/// Decides what is done with one resource. `agreed` is `None` for one that neither had when they agreed last.
pub fn decide(agreed: Option<&Pair<Known>>, now: &Pair<Now>, policy: ConflictPolicy) -> Decision {
    let of = |side: Side| change(agreed.map(|known| known.of(side)), now.of(side));
    let (source, target) = (of(Side::Source), of(Side::Target));
    let told = |side: Side, change: Change| *now.of(side) != Now::Untold && change == Change::Same;
    let echoes = u64::from(told(Side::Source, source)) + u64::from(told(Side::Target, target));
    let (step, conflict) = match (source, target) {
        (Change::Same, Change::Same) => (unchanged(agreed, now), None),
        (_, Change::Same) => (follow(agreed, now, Side::Source), None),
        (Change::Same, _) => (follow(agreed, now, Side::Target), None),
        (Change::Deleted, Change::Deleted) => (Step::Forget, None),
        _ => match (present(now.of(Side::Source)), present(now.of(Side::Target))) {
            (Some(source), Some(target)) if source.content == target.content => {
                let known = |present: &Present| Known {
                    content: present.content,
                    version: present.version.clone(),
                    is_ours: false,
                };
                let agreed = Pair {
                    source: known(source),
                    target: known(target),
                };
                (Step::Agree(agreed), None)
            }
            (source, target) => {
                let conflict = settle(source, target, policy);
                let step = match conflict.winner {
                    Some(winner) => follow(agreed, now, winner),
                    None => Step::Hold,
                };
                (step, Some(conflict))
            }
        },
    };
    Decision {
        step,
        echoes,
        conflict,
    }
}

fn present(now: &Now) -> Option<&Present> {
    match now {
        Now::There(present) => Some(present),
        Now::Untold | Now::Gone => None,
    }
}

fn change(known: Option<&Known>, now: &Now) -> Change {
    match (now, known) {
        (Now::Untold, _) | (Now::Gone, None) => Change::Same,
        (Now::Gone, Some(_)) => Change::Deleted,
        (Now::There(_), None) => Change::Edited,
        (Now::There(present), Some(known)) => {
            let is_our_version = known.is_ours && known.version.is_some() && known.version == present.version;
            match is_our_version || known.content == present.content {
                true => Change::Same,
                false => Change::Edited,
            }
        }
    }
}

/// Takes over what echoes tell: the version, and what a server made of what was written to it.
fn unchanged(agreed: Option<&Pair<Known>>, now: &Pair<Now>) -> Step {
    let Some(agreed) = agreed else {
        return Step::Nothing;
    };
    let mut fresh = agreed.clone();
    for side in [Side::Source, Side::Target] {
        if let Some(present) = present(now.of(side)) {
            *fresh.of_mut(side) = Known {
                content: present.content,
                version: present.version.clone(),
                is_ours: false,
            };
        }
    }
    match fresh == *agreed {
        true => Step::Nothing,
        false => Step::Agree(fresh),
    }
}

/// Brings the state of one side to the other.
fn follow(agreed: Option<&Pair<Known>>, now: &Pair<Now>, from: Side) -> Step {
    let to = from.other();
    let over = match (now.of(to), agreed) {
        (Now::There(present), _) => over(&present.version, present.content),
        (Now::Gone, _) | (Now::Untold, None) => Over::Nothing,
        (Now::Untold, Some(agreed)) => over(&agreed.of(to).version, agreed.of(to).content),
    };
    match (now.of(from), &over) {
        (Now::There(_), _) => Step::Write(to, over),
        // Whoever is followed has changed, so it has told of itself.
        (Now::Gone | Now::Untold, Over::Nothing) => Step::Forget,
        (Now::Gone | Now::Untold, _) => Step::Delete(to, over),
    }
}

fn over(version: &Option<String>, content: ContentHash) -> Over {
    match version {
        Some(version) => Over::Version(version.clone()),
        None => Over::Content(content),
    }
}

fn settle(source: Option<&Present>, target: Option<&Present>, policy: ConflictPolicy) -> Conflict {
    let kind = match (source, target) {
        (Some(_), Some(_)) => ConflictKind::EditEdit,
        _ => ConflictKind::DeleteEdit,
    };
    let mut is_tie = false;
    let winner = match policy {
        ConflictPolicy::Source => Some(Side::Source),
        ConflictPolicy::Target => Some(Side::Target),
        ConflictPolicy::Hold => None,
        ConflictPolicy::Newest => Some(match (source, target) {
            (Some(source), Some(target)) => match (source.updated, target.updated) {
                (Some(source), Some(target)) if source > target => Side::Source,
                (Some(source), Some(target)) if source < target => Side::Target,
                _ => {
                    is_tie = true;
                    Side::Source
                }
            },
            (None, _) => Side::Target,
            (Some(_), None) => Side::Source,
        }),
    };
    Conflict { kind, winner, is_tie }
}

#[cfg(test)]
mod tests;
