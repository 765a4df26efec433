//! What was looked at and what was seen: [`Check`], and what it comes to: [`Diagnosis`].

use serde::Serialize;
use url::Url;

use crate::quirks::{Difference, QuirkProfile};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As the standard says.
    Ok,
    /// Otherwise than the standard says, or less than it recommends.
    Differs,
    /// It does not work.
    Failed,
    /// It was not looked at.
    NotTried,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The requirement that it is about.
    pub id: &'static str,
    /// What was looked at.
    pub title: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What the standard says, where that is not what was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard: Option<&'static str>,
    /// What a pull does about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workaround: Option<&'static str>,
    /// Whether a pull cannot do without.
    #[serde(skip)]
    pub(super) is_vital: bool,
}

impl Check {
    pub(super) fn ok(id: &'static str, title: &'static str, seen: impl Into<String>) -> Self {
        Self {
            id,
            title,
            verdict: Verdict::Ok,
            seen: seen.into(),
            standard: None,
            workaround: None,
            is_vital: false,
        }
    }

    pub(super) fn differs(
        id: &'static str,
        title: &'static str,
        seen: impl Into<String>,
        standard: &'static str,
    ) -> Self {
        Self {
            verdict: Verdict::Differs,
            standard: Some(standard),
            ..Self::ok(id, title, seen)
        }
    }

    /// A pull cannot do without it.
    pub(super) fn failed(
        id: &'static str,
        title: &'static str,
        seen: impl Into<String>,
        standard: &'static str,
    ) -> Self {
        Self {
            verdict: Verdict::Failed,
            standard: Some(standard),
            is_vital: true,
            ..Self::ok(id, title, seen)
        }
    }

    pub(super) fn not_tried(id: &'static str, title: &'static str, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::NotTried,
            ..Self::ok(id, title, why)
        }
    }

    /// Says what a pull does about it.
    pub(super) fn so(self, workaround: &'static str) -> Self {
        Self {
            workaround: Some(workaround),
            ..self
        }
    }
}

/// Whether a pull will work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// Yes, and the server does as the standard says.
    Works,
    /// Yes, though the server differs.
    WorksWithWorkarounds,
    /// As far as was looked; no export was tried.
    NotTried,
    /// No.
    WillNotWork,
}

/// A way in which servers of this kind are known to differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownDifference {
    /// What such servers do.
    pub says: String,
    /// Whether a pull does something differently for it.
    pub has_workaround: bool,
    /// What a person should know or do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

/// What an examination came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The FHIR base URL, without a query.
    pub server: String,
    /// Whether a pull will work.
    pub outlook: Outlook,
    /// What stands in the way of a pull.
    pub reasons: Vec<String>,
    /// The kind of server: the name of its quirks.
    pub quirks: String,
    /// The kind of server, for people.
    pub kind: String,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What is known of servers of this kind.
    pub known: Vec<KnownDifference>,
}

impl Diagnosis {
    pub(super) fn of(base: &Url, profile: Option<QuirkProfile>, checks: Vec<Check>) -> Self {
        let has = |verdict: Verdict| checks.iter().any(|check| check.verdict == verdict);
        let has_exported = checks
            .iter()
            .any(|check| check.id == "K-40" && check.verdict != Verdict::NotTried);
        let vital = |check: &&Check| check.verdict == Verdict::Failed && check.is_vital;
        let reasons: Vec<String> = checks
            .iter()
            .filter(vital)
            .map(|check| format!("{}: {}", check.title, check.seen))
            .collect();
        let known = profile.iter().flat_map(|profile| &profile.differences);
        let known: Vec<KnownDifference> = known.map(KnownDifference::of).collect();
        let needs_work =
            has(Verdict::Differs) || has(Verdict::Failed) || known.iter().any(|known| known.has_workaround);
        let outlook = match (reasons.is_empty(), has_exported, needs_work) {
            (false, ..) => Outlook::WillNotWork,
            (true, false, _) => Outlook::NotTried,
            (true, true, true) => Outlook::WorksWithWorkarounds,
            (true, true, false) => Outlook::Works,
        };
        let named = |name: fn(&QuirkProfile) -> &String, none: &str| {
            profile
                .as_ref()
                .map_or_else(|| none.to_owned(), |profile| name(profile).clone())
        };
        Self {
            server: crate::http::name(base),
            outlook,
            reasons,
            quirks: named(|profile| &profile.name, "standard"),
            kind: named(|profile| &profile.title, "not known"),
            known,
            checks,
        }
    }
}

impl KnownDifference {
    fn of(difference: &Difference) -> Self {
        Self {
            says: difference.says.clone(),
            has_workaround: !difference.workaround.is_empty(),
            advice: difference.advice.clone(),
            sources: difference.sources.clone(),
        }
    }
}
