//! Whether two folders can be compared, and how far: [`Scope`].
//!
//! What is in A and not in B counts as removed only where B was asked for it. What would make it seem removed otherwise is refused.

use std::collections::BTreeSet;

use fhirhose_client::pull::FileKind;
use fhirhose_client::receipt::{Asked, PulledFolder};
use fhirhose_fhir::instant::Instant;

use super::DiffSettings;
use crate::{Error, ErrorKind, Result};

/// What of two folders is compared.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The `transactionTime` of B.
    pub(super) transaction_time: String,
    /// The `transactionTime` of A.
    pub(super) since: Option<String>,
    /// What the result was asked for, as it were.
    pub(super) asked: Option<Asked>,
    /// What a reader should know.
    pub(super) notes: Vec<String>,
    /// Only these types; all where there is none.
    only: Option<BTreeSet<String>>,
    /// The types that B was asked for; all where there is none.
    asked_of_b: Option<BTreeSet<String>>,
}

impl Scope {
    /// Decides what is compared.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the reason, if nothing sound would come of it.
    pub(super) fn of(a: &PulledFolder, b: &PulledFolder, settings: &DiffSettings) -> Result<Self> {
        let transaction_time = settings.transaction_time.as_deref().or(b.transaction_time());
        let transaction_time = transaction_time.ok_or_else(|| {
            invalid("the newer folder has no transactionTime: say with --transaction-time of when it is")
        })?;
        check_order(a.transaction_time(), transaction_time)?;
        for (folder, which) in [(a, "older"), (b, "newer")] {
            check_full(folder, which, settings)?;
        }
        if let (Some(of_a), Some(of_b)) = (a.asked(), b.asked()) {
            check_same(of_a, of_b)?;
        }
        let mut notes = Vec::new();
        if a.source() != b.source() {
            notes.push("the two are from different servers, or one does not say from which".to_owned());
        }
        let only: BTreeSet<String> = settings.types.iter().cloned().collect();
        let only = (!only.is_empty()).then_some(only);
        let asked_of_b = match &only {
            Some(only) => Some(only.clone()),
            None => types_of(a, b, &mut notes),
        };
        Ok(Self {
            transaction_time: transaction_time.to_owned(),
            since: a.transaction_time().map(str::to_owned),
            asked: b
                .asked()
                .map(|asked| asked_since(asked, a.transaction_time(), &settings.types)),
            notes,
            only,
            asked_of_b,
        })
    }

    /// Whether resources of a type are compared at all.
    pub(super) fn compares(&self, resource_type: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(resource_type))
    }

    /// Whether a resource that is not in B is gone.
    pub(super) fn can_be_gone(&self, resource_type: &str) -> bool {
        let asked = self.asked_of_b.as_ref();
        asked.is_none_or(|asked| asked.contains(resource_type))
    }
}

fn check_order(of_a: Option<&str>, of_b: &str) -> Result<()> {
    let of_a = of_a.and_then(|time| Instant::parse(time).ok());
    let of_b = Instant::parse(of_b).ok();
    if of_a.zip(of_b).is_some_and(|(a, b)| a > b) {
        return Err(invalid(
            "the first folder is newer than the second: give the older one first",
        ));
    }
    Ok(())
}

/// A folder must hold everything that was asked for, and not only what changed.
fn check_full(folder: &PulledFolder, which: &str, settings: &DiffSettings) -> Result<()> {
    let missing = folder.receipt().map_or(0, |receipt| receipt.missing.len());
    if missing > 0 {
        return Err(invalid(format!(
            "the {which} folder lacks {missing} files that could not be had: pull them first"
        )));
    }
    let Some(asked) = folder.asked() else {
        return Ok(());
    };
    if asked.since.is_some() || asked.until.is_some() {
        return Err(invalid(format!(
            "the {which} folder holds only a span of time (_since or _until): two full pulls are compared"
        )));
    }
    if !asked.elements.is_empty() && !settings.subsetted {
        return Err(invalid(format!(
            "the {which} folder holds parts of resources (_elements): --subsetted compares them nevertheless"
        )));
    }
    Ok(())
}

/// The same but for `_type` must have been asked for.
fn check_same(a: &Asked, b: &Asked) -> Result<()> {
    let differs = [
        ("level", a.level != b.level),
        ("patient", a.patients_sha256 != b.patients_sha256),
        ("_typeFilter", sorted(&a.type_filters) != sorted(&b.type_filters)),
        ("_elements", sorted(&a.elements) != sorted(&b.elements)),
        (
            "includeAssociatedData",
            sorted(&a.include_associated_data) != sorted(&b.include_associated_data),
        ),
        ("further parameters", sorted(&a.custom) != sorted(&b.custom)),
    ];
    let differs: Vec<&str> = differs
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect();
    if differs.is_empty() {
        return Ok(());
    }
    Err(invalid(format!(
        "the two folders were not asked for the same: {} differ",
        differs.join(", ")
    )))
}

fn sorted<T: Ord>(values: &[T]) -> Vec<&T> {
    let mut values: Vec<&T> = values.iter().collect();
    values.sort_unstable();
    values
}

/// The types of which B was asked for all, `None` for every type; notes what is left out.
fn types_of(a: &PulledFolder, b: &PulledFolder, notes: &mut Vec<String>) -> Option<BTreeSet<String>> {
    let in_a = types_there(a);
    let (asked, why) = match b.asked() {
        Some(asked) if asked.types.is_empty() => return None,
        Some(asked) => (asked.types.iter().cloned().collect(), "did not ask for it"),
        None => (
            types_there(b),
            "has none of it and no receipt that says whether it was asked for; --type compares it",
        ),
    };
    let left_out: Vec<&String> = in_a.difference(&asked).collect();
    notes.extend(
        left_out
            .into_iter()
            .map(|each| format!("{each} is in the older folder, but not compared: the newer one {why}")),
    );
    Some(asked)
}

fn types_there(folder: &PulledFolder) -> BTreeSet<String> {
    let files = folder.files().iter().filter(|file| file.kind == FileKind::Output);
    files.filter_map(|file| file.resource_type.clone()).collect()
}

fn asked_since(asked: &Asked, since: Option<&str>, only: &[String]) -> Asked {
    let mut asked = asked.clone();
    asked.since = since.map(str::to_owned);
    if !only.is_empty() {
        asked.types = only.to_vec();
    }
    asked
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, why)
}
