//! What an export would come to, before it is made: [`estimate`], from the footers of the runs alone. No body is read.

use std::time::Duration;

use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{JobFilter, JobState, StopSignal};
use fhirhose_store::catalog::{KeyRange, RunRecord};
use fhirhose_store::{Outline, ScanRequest, Selection, Sequence, Store};
use serde::Serialize;
use std::sync::Arc;

use super::cohort::Resolved;
use super::patients::filters_decide;
use super::plan::types;
use super::result::ExportResult;
use super::spec::{EXPORT, ExportSpec, check};
use super::state::State;
use super::wanted::Wanted;
use crate::Result;

/// The rate that is assumed where no export was measured, in bytes of text a second: half of what two cores do.
const BYTES_PER_SECOND_ASSUMED: u64 = 200 << 20;

/// Finished exports that are looked at for a rate, newest first.
const EXPORTS_MEASURED_MAX: usize = 16;

/// An export of less text says more of its start than of its rate.
const MEASURED_BYTES_MIN: u64 = 16 << 20;

/// The members `versionId` and `lastUpdated` that each line has on its way out, in bytes, at most.
const META_BYTES_MAX: u64 = 96;

/// What an export would come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The types of which something would be exported, sorted by name.
    pub types: Vec<TypeEstimate>,
    /// Resources of all types.
    pub rows: u64,
    /// Their text, in bytes. Always an upper bound.
    pub bytes: u64,
    /// Whether every row count is exact; else they are upper bounds, for blocks of other patients' and ended versions are in them.
    pub is_exact: bool,
    /// Whether there are parameters that only make it less and that nobody has evaluated: `_until`, `_typeFilter`, `_elements`, and
    /// the filters of a cohort, for which all patients are counted.
    pub is_filtered: bool,
    /// How long it would take, in seconds.
    pub seconds: f64,
    /// The rate behind that, in bytes of text a second.
    pub bytes_per_second: u64,
    /// Where the rate is from.
    pub rate: Rate,
}

/// What an export would take of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeEstimate {
    /// The type.
    #[serde(rename = "type")]
    pub resource_type: ResourceType,
    /// Resources.
    pub rows: u64,
    /// Their text, in bytes, at most.
    pub bytes: u64,
    /// Whether `rows` is exact; else it is an upper bound.
    pub is_exact: bool,
}

/// Where a rate is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// The exports of this store that ended last.
    Measured,
    /// Nobody has measured any: a number for a small machine.
    Assumed,
}

/// Says what an export would come to if it were asked for now. Deletions and what is added from outside of the compartments are not in it.
///
/// Memory and time: the index of the runs, and the members of a Group; nothing grows with the text.
///
/// # Errors
/// As [`submit_export`](super::submit_export) for a request that it would refuse; what the store gives.
pub async fn estimate(store: &Store, spec: &ExportSpec) -> Result<Estimate> {
    check(store, spec).await?;
    let catalog = store.catalog();
    let snapshot = catalog.snapshot().await?;
    let after = match spec.request.since {
        Some(since) => catalog.sequence_at(since).await?.min(snapshot.sequence),
        None => Sequence::ZERO,
    };
    let mut state = State::at(snapshot, after);
    state.oldest_read = spec.request.since.map(|_| after);
    let mut spec = spec.clone().joiners();
    // Who holds to filters only their bodies tell; all patients are the upper bound.
    let is_cohort = match &spec.request.level {
        ExportLevel::Group(group) => filters_decide(store, group).await?,
        _ => false,
    };
    if is_cohort {
        spec.request.level = ExportLevel::AllPatients;
    }
    let resolved = Resolved::find(store, &spec, &state, &StopSignal::new()).await?;
    let wanted = Wanted::new(&spec.request, resolved.whose, resolved.joined, state);
    let types = types(&spec);
    let scans: Vec<_> = types
        .iter()
        .map(|each| wanted.scan(*each, wanted.range(*each)))
        .collect();
    let outlines = store.outline(&scans, u64::MAX).await?;
    let runs = catalog.runs().await?;
    let is_filtered = is_cohort
        || spec.request.until.is_some()
        || !spec.request.type_filters.is_empty()
        || spec.request.elements.is_some();
    let may_be_exact = !is_cohort && spec.request.until.is_none() && spec.request.type_filters.is_empty();
    let mut estimates = Vec::new();
    for ((resource_type, scan), outline) in types.into_iter().zip(&scans).zip(outlines) {
        if outline.text_bytes_max > 0 {
            let is_exact = may_be_exact && is_exact(store, &runs, resource_type, scan).await?;
            estimates.push(of_type(resource_type, &outline, is_exact));
        }
    }
    let bytes = estimates.iter().map(|each| each.bytes).sum();
    let (bytes_per_second, rate) = match measured_rate(store).await? {
        Some(measured) => (measured, Rate::Measured),
        None => (BYTES_PER_SECOND_ASSUMED, Rate::Assumed),
    };
    Ok(Estimate {
        rows: estimates.iter().map(|each| each.rows).sum(),
        is_exact: estimates.iter().all(|each| each.is_exact),
        types: estimates,
        bytes,
        is_filtered,
        seconds: bytes as f64 / bytes_per_second as f64,
        bytes_per_second,
        rate,
    })
}

fn of_type(resource_type: ResourceType, outline: &Outline, is_exact: bool) -> TypeEstimate {
    TypeEstimate {
        resource_type,
        rows: outline.rows_max,
        bytes: outline.text_bytes_max + outline.rows_max * META_BYTES_MAX,
        is_exact,
    }
}

/// Whether the blocks of a scan hold nothing but what it shows: all of a type in which no version has ended.
async fn is_exact(
    store: &Store,
    runs: &[Arc<RunRecord>],
    resource_type: ResourceType,
    scan: &ScanRequest,
) -> Result<bool> {
    let whole = KeyRange::of_type(resource_type);
    if scan.range != whole || scan.after > Sequence::ZERO || !matches!(scan.selection, Selection::All) {
        return Ok(false);
    }
    let as_shown = |run: &RunRecord| run.stillborn.is_empty() && run.newest <= scan.snapshot;
    let holds_type = |run: &RunRecord| {
        let mut counts = run.summary.types.iter();
        counts.any(|count| count.resource_type == resource_type)
    };
    let in_runs = runs.iter().all(|run| as_shown(run) || !holds_type(run));
    let catalog = store.catalog();
    Ok(in_runs && catalog.dead(&whole, 1).await?.is_empty() && catalog.hot(&whole, 1).await?.is_empty())
}

/// The text a second of the exports that ended last, if any was large enough to tell.
async fn measured_rate(store: &Store) -> Result<Option<u64>> {
    let filter = JobFilter {
        state: Some(JobState::Succeeded),
        kind: Some(EXPORT.to_owned()),
        limit: Some(EXPORTS_MEASURED_MAX),
        ..JobFilter::default()
    };
    let jobs = store.catalog().jobs(&filter).await;
    let (mut bytes, mut time) = (0, Duration::ZERO);
    for job in jobs.map_err(fhirhose_store::Error::from)? {
        let (Some(result), Some(started), Some(finished)) = (&job.result, job.started, job.finished) else {
            continue;
        };
        let files = ExportResult::parse(result)?.files;
        let text: u64 = files.iter().map(|file| file.bytes).sum();
        if text >= MEASURED_BYTES_MIN {
            bytes += text;
            time += finished.since(started);
        }
    }
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let rate = |bytes: u64| u128::from(bytes) * 1_000_000 / u128::from(micros.max(1));
    Ok((bytes > 0).then(|| u64::try_from(rate(bytes)).unwrap_or(u64::MAX).max(1)))
}
