//! Scopes of SMART 1 and 2 at system level, and those of our own: [`Scopes`].
//!
//! `AuditEvent` is apart: no wildcard covers it, neither in a request nor in a policy. It is granted by its name or not at all.

use std::collections::BTreeSet;
use std::fmt;

use fhirhose_fhir::other_versions::is_type_of_another_version;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Characters of a list of scopes at most: a client that asks for each type of R4 in both forms needs some 8,000.
const SCOPE_CHARS_MAX: usize = 32 << 10;

/// What may be done with resources of a type: a set of create, read, update, delete and search.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Actions(u8);

impl Actions {
    /// None.
    pub const NONE: Self = Self(0);
    /// `c`
    pub const CREATE: Self = Self(1);
    /// `r`
    pub const READ: Self = Self(2);
    /// `u`
    pub const UPDATE: Self = Self(4);
    /// `d`
    pub const DELETE: Self = Self(8);
    /// `s`
    pub const SEARCH: Self = Self(16);
    /// `rs`, which is `read` of SMART 1.
    pub const READING: Self = Self(2 | 16);
    /// `cud`, which is `write` of SMART 1.
    pub const WRITING: Self = Self(1 | 4 | 8);
    /// `cruds`, which is `*` of SMART 1.
    pub const ALL: Self = Self(31);

    const LETTERS: [(char, Self); 5] = [
        ('c', Self::CREATE),
        ('r', Self::READ),
        ('u', Self::UPDATE),
        ('d', Self::DELETE),
        ('s', Self::SEARCH),
    ];

    /// Those of either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both sets.
    #[must_use]
    pub const fn in_common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is nothing in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads what follows the dot: letters in the order of `cruds` each once at most, or a word of SMART 1.
    fn parse(text: &str) -> Option<(Self, Form)> {
        match text {
            "read" => return Some((Self::READING, Form::V1)),
            "write" => return Some((Self::WRITING, Form::V1)),
            "*" => return Some((Self::ALL, Form::V1)),
            _ => {}
        }
        let (mut found, mut rest) = (Self::NONE, text);
        for (letter, action) in Self::LETTERS {
            if let Some(after) = rest.strip_prefix(letter) {
                (found, rest) = (found.with(action), after);
            }
        }
        (rest.is_empty() && !found.is_empty()).then_some((found, Form::V2))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, action) in Self::LETTERS {
            if self.contains(action) {
                write!(out, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// The words in which actions are asked for and granted: clients are answered in their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `read`, `write`, `*`.
    V1,
    /// A subset of `cruds`.
    V2,
}

/// What a scope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// `*`: every type but `AuditEvent`.
    Every,
    /// One type.
    Type(ResourceType),
}

impl Subject {
    /// Whether the subject is or holds a type.
    pub fn covers(self, resource_type: ResourceType) -> bool {
        match self {
            Self::Every => resource_type != ResourceType::AUDIT_EVENT,
            Self::Type(own) => own == resource_type,
        }
    }

    fn in_common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Every, Self::Every) => Some(Self::Every),
            (Self::Type(own), other) => other.covers(own).then_some(self),
            (Self::Every, Self::Type(other_type)) => self.covers(other_type).then_some(other),
        }
    }
}

/// A scope that is for an operation and not for types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamedScope {
    /// `system/bulk-submit`, of the STU4 ballot.
    BulkSubmit,
    /// `system/bulk-import`, ours: `$import`.
    BulkImport,
    /// `system/operator`, ours: the operator's routes, such as `/jobs`.
    Operator,
}

impl NamedScope {
    const ALL: [Self; 3] = [Self::BulkSubmit, Self::BulkImport, Self::Operator];

    /// How it is written, with `system/`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::BulkSubmit => "system/bulk-submit",
            Self::BulkImport => "system/bulk-import",
            Self::Operator => "system/operator",
        }
    }
}

/// One scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `system/Patient.rs`, `system/*.read` …
    Resources {
        /// Of which types.
        subject: Subject,
        /// What.
        actions: Actions,
        /// In which words.
        form: Form,
    },
    /// An operation's.
    Named(NamedScope),
}

impl Scope {
    /// Reads one scope.
    ///
    /// # Errors
    /// See [`ScopeFault`].
    pub fn parse(text: &str) -> Result<Self, ScopeFault> {
        if let Some(named) = NamedScope::ALL.into_iter().find(|named| named.text() == text) {
            return Ok(Self::Named(named));
        }
        let context = ["patient/", "user/", "launch"];
        if context.iter().any(|start| text.starts_with(start)) {
            return Err(ScopeFault::NotSystem);
        }
        let rest = text.strip_prefix("system/").ok_or(ScopeFault::Malformed)?;
        let (subject, actions) = rest.split_once('.').ok_or(ScopeFault::Malformed)?;
        if actions.contains('?') {
            return Err(ScopeFault::Filtered);
        }
        let subject = match subject {
            "*" => Subject::Every,
            name => Subject::Type(ResourceType::parse(name).ok_or(ScopeFault::UnknownType)?),
        };
        let (actions, form) = Actions::parse(actions).ok_or(ScopeFault::UnknownAction)?;
        Ok(Self::Resources {
            subject,
            actions,
            form,
        })
    }

    /// Whether nothing can be read by it: a client that may only read must not even ask.
    pub fn is_write_only(self) -> bool {
        match self {
            Self::Resources { actions, .. } => actions.in_common(Actions::READING).is_empty(),
            Self::Named(_) => false,
        }
    }

    /// Whether it allows all that another does.
    fn contains(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Resources { subject, actions, .. },
                Self::Resources {
                    subject: other_subject,
                    actions: other_actions,
                    ..
                },
            ) => subject.in_common(other_subject) == Some(other_subject) && actions.contains(other_actions),
            _ => self == other,
        }
    }

    fn in_common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (
                Self::Resources {
                    subject,
                    actions,
                    form,
                },
                Self::Resources {
                    subject: other_subject,
                    actions: other_actions,
                    ..
                },
            ) => {
                let (subject, actions) = (
                    subject.in_common(other_subject)?,
                    actions.in_common(other_actions),
                );
                let whole = [Actions::READING, Actions::WRITING, Actions::ALL].contains(&actions);
                // SMART 1 has no word for less than all reading or all writing.
                let form = if whole { form } else { Form::V2 };
                (!actions.is_empty()).then_some(Self::Resources {
                    subject,
                    actions,
                    form,
                })
            }
            (Self::Named(own), Self::Named(other)) => (own == other).then_some(self),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, actions, form) = match self {
            Self::Named(named) => return out.write_str(named.text()),
            Self::Resources {
                subject,
                actions,
                form,
            } => (subject, actions, form),
        };
        match subject {
            Subject::Every => out.write_str("system/*.")?,
            Subject::Type(resource_type) => write!(out, "system/{resource_type}.")?,
        }
        match (form, *actions) {
            (Form::V1, Actions::READING) => out.write_str("read"),
            (Form::V1, Actions::WRITING) => out.write_str("write"),
            (Form::V1, Actions::ALL) => out.write_str("*"),
            _ => write!(out, "{actions}"),
        }
    }
}

/// Why a list of scopes is refused. The texts quote nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeFault {
    /// There is none.
    #[error("no scope is asked for")]
    Empty,
    /// There are too many.
    #[error("the scopes are longer than {SCOPE_CHARS_MAX} characters")]
    TooLong,
    /// It is not `system/Type.actions`.
    #[error("a scope is not of the form system/Type.actions")]
    Malformed,
    /// It needs a user or a patient in context.
    #[error("a scope is not a system scope; backend services have no patient, user or launch context")]
    NotSystem,
    /// There is no such type.
    #[error("a scope names no resource type of FHIR R4")]
    UnknownType,
    /// It is not a word of SMART 1 and no subset of `cruds` in that order.
    #[error("a scope's actions are neither read, write or * nor a part of cruds in that order")]
    UnknownAction,
    /// It has a filter, which would be granted and not held.
    #[error("a scope has a filter, which is not supported; ask for the whole type and filter by _typeFilter")]
    Filtered,
}

/// A list of scopes, sorted, each once. May be empty; what is read from a text is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads scopes that are parted by spaces.
    ///
    /// # Errors
    /// See [`ScopeFault`]; one that is refused refuses all.
    pub fn parse(text: &str) -> Result<Self, ScopeFault> {
        Self::gather(text, |piece| Scope::parse(piece).map(Some))
    }

    /// Reads the scopes that a client asks for, parted by spaces.
    ///
    /// Clients ask for every type that they know: scopes on types of other published versions of FHIR are left out, so what is
    /// read may be empty.
    ///
    /// # Errors
    /// See [`ScopeFault`]; one that is refused refuses all.
    pub fn parse_asked(text: &str) -> Result<Self, ScopeFault> {
        Self::gather(text, |piece| match Scope::parse(piece) {
            Err(ScopeFault::UnknownType) => foreign(piece),
            parsed => parsed.map(Some),
        })
    }

    /// Reads what of a text are scopes that are known here, and leaves out the rest: tokens of other authorization servers hold
    /// scopes for others too.
    pub fn parse_known(text: &str) -> Self {
        // What is too long or empty is known not to be ours.
        Self::gather(text, |piece| Ok(Scope::parse(piece).ok())).unwrap_or_default()
    }

    fn gather(
        text: &str,
        read: impl Fn(&str) -> Result<Option<Scope>, ScopeFault>,
    ) -> Result<Self, ScopeFault> {
        if text.len() > SCOPE_CHARS_MAX {
            return Err(ScopeFault::TooLong);
        }
        let mut pieces = text.split(' ').filter(|piece| !piece.is_empty()).peekable();
        if pieces.peek().is_none() {
            return Err(ScopeFault::Empty);
        }
        pieces.filter_map(|piece| read(piece).transpose()).collect()
    }

    /// Whether anything may be written, resources or by an operation.
    pub fn has_writing(&self) -> bool {
        self.iter().any(|scope| match scope {
            Scope::Resources { actions, .. } => !actions.in_common(Actions::WRITING).is_empty(),
            Scope::Named(named) => named != NamedScope::Operator,
        })
    }

    /// All that there is: what everybody may do where there is no authorization.
    pub fn everything() -> Self {
        let resources = |subject| Scope::Resources {
            subject,
            actions: Actions::ALL,
            form: Form::V2,
        };
        [
            resources(Subject::Every),
            resources(Subject::Type(ResourceType::AUDIT_EVENT)),
        ]
        .into_iter()
        .chain(NamedScope::ALL.map(Scope::Named))
        .collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in their order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// What of these scopes a policy has too, each in the words in which it was asked for. May be empty.
    ///
    /// What one scope comes to by one part of a policy is left out where it comes to more by another.
    #[must_use]
    pub fn narrowed(&self, policy: &Self) -> Self {
        let mut narrowed = BTreeSet::new();
        for own in self.iter() {
            let parts: BTreeSet<Scope> = policy.iter().filter_map(|other| own.in_common(other)).collect();
            let is_more = |part: &Scope| !parts.iter().any(|other| other != part && other.contains(*part));
            narrowed.extend(parts.iter().copied().filter(is_more));
        }
        narrowed.into_iter().collect()
    }

    /// Whether all of `actions` may be done with a type.
    pub fn allows(&self, actions: Actions, resource_type: ResourceType) -> bool {
        self.on(|subject| subject.covers(resource_type)).contains(actions)
    }

    /// Whether all of `actions` may be done with every type (`AuditEvent` apart).
    pub fn allows_every(&self, actions: Actions) -> bool {
        self.on(|subject| subject == Subject::Every).contains(actions)
    }

    /// The types with which all of `actions` may be done.
    pub fn types(&self, actions: Actions) -> BTreeSet<ResourceType> {
        ResourceType::all()
            .filter(|known| self.allows(actions, *known))
            .collect()
    }

    /// Whether an operation's scope is there.
    pub fn has(&self, named: NamedScope) -> bool {
        self.0.contains(&Scope::Named(named))
    }

    fn on(&self, is_meant: impl Fn(Subject) -> bool) -> Actions {
        self.iter().fold(Actions::NONE, |all, scope| match scope {
            Scope::Resources { subject, actions, .. } if is_meant(subject) => all.with(actions),
            _ => all,
        })
    }
}

/// Leaves out a scope on a type of another version, if there is nothing else wrong with it.
fn foreign(piece: &str) -> Result<Option<Scope>, ScopeFault> {
    let named = piece
        .strip_prefix("system/")
        .and_then(|rest| rest.split_once('.'));
    match named {
        Some((name, actions)) if is_type_of_another_version(name) => {
            Scope::parse(&format!("system/*.{actions}")).map(|_| None)
        }
        _ => Err(ScopeFault::UnknownType),
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, scope) in self.iter().enumerate() {
            let gap = if number == 0 { "" } else { " " };
            write!(out, "{gap}{scope}")?;
        }
        Ok(())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::parse(&text) {
            Err(ScopeFault::Empty) => Ok(Self::default()),
            parsed => parsed.map_err(de::Error::custom),
        }
    }
}
