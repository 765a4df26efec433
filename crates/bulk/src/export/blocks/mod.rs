//! Output organised by instance (spec §2.6): blocks of a header, the instance, and the resources that belong to it.
//!
//! By Patient, the store's own order helps: every type is sorted by owner. A part is a range of owners; it is cut into stretches whose
//! text fits into a budget, every type of a stretch is read, and its lines are put together per patient in memory ([`gather`]). A
//! patient with more text than the budget is read twice instead: once for the length, once to write. What is in a file depends on
//! neither budget nor stretches. By Group, a block is the Group and the compartments of its members, read type by type ([`groups`]).
//!
//! By Organization, a block is the Organization and what refers to it, found by looking through all ([`organizations`]).
//!
//! A resource of several compartments rides in each of their blocks; Groups alone do not, for one with a thousand members would be there
//! a thousand times. What belongs to no instance is left out, and an outcome says so ([`left_out`]).

mod gather;
mod groups;
mod organizations;
mod owners;
mod source;
mod writer;

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{ScanRequest, Selection, Store, key};
use serde::{Deserialize, Serialize};

use super::helpers::is_helper;
use super::parts::Crew;
use super::plan::types;
use super::provenance::unowned_range;
use super::spec::ExportSpec;
use super::state::{Part, State, Work};
use super::wanted::Wanted;
use crate::{Error, ErrorKind, Result};
use owners::OwnerRange;

/// The blocks of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Blocks {
    /// Those of the patients in a range, with resources of these types.
    Patients {
        owners: OwnerRange,
        types: Vec<ResourceType>,
    },
    /// Those of all Organizations.
    Organizations { types: Vec<ResourceType> },
    /// Those of the Groups with these keys, in their order.
    Groups {
        groups: Vec<Vec<u8>>,
        types: Vec<ResourceType>,
    },
}

/// Says whether the output of a request can be organised as it asks for.
///
/// # Errors
/// [`ErrorKind::Invalid`] if not, naming the parameter.
pub(super) fn check(spec: &ExportSpec) -> Result<()> {
    let request = &spec.request;
    let invalid = |problem: &str| Err(Error::new(ErrorKind::Invalid, problem));
    let Some(by) = request.organize_output_by else {
        return Ok(());
    };
    let can_head = [
        ResourceType::PATIENT,
        ResourceType::GROUP,
        ResourceType::ORGANIZATION,
    ];
    if !can_head.contains(&by) {
        return invalid("organizeOutputBy: output can be organised by Patient, Group and Organization only");
    }
    if !spec.grants(by) {
        // The headers of blocks name the instances.
        return invalid("organizeOutputBy: the client may not read that type");
    }
    if by == ResourceType::GROUP && matches!(request.level, ExportLevel::Patient(_)) {
        return invalid("organizeOutputBy: the export of one patient cannot be organised by Group");
    }
    if request.associated_data != AssociatedData::Default {
        return invalid("includeAssociatedData is not supported together with organizeOutputBy");
    }
    Ok(())
}

/// Plans the parts of an organised export.
pub(super) async fn plan(
    store: &Store,
    spec: &ExportSpec,
    (wanted, state): (&Wanted, &State),
    by: ResourceType,
    part_bytes: u64,
) -> Result<Vec<Part>> {
    // The instance leads its block; resources of the other type of instance are in many blocks or in none.
    let mut types = types(spec);
    types.sort_by_key(|each| *each != ResourceType::PATIENT);
    if by == ResourceType::ORGANIZATION {
        return plan_organizations(store, wanted, types).await;
    }
    types.retain(|each| *each != ResourceType::GROUP);
    let cut = owners::cut(store, wanted, &types, OwnerRange::all(), part_bytes).await?;
    if by == ResourceType::GROUP {
        return groups::plan(store, &spec.request, state, cut).await;
    }
    let share = cut.text_bytes / cut.ranges.len().max(1) as u64;
    let part = |owners| {
        let types = cut.types.clone();
        Part::new(Work::Blocks(Blocks::Patients { owners, types }), share)
    };
    Ok(match cut.types.is_empty() {
        true => Vec::new(),
        false => cut.ranges.into_iter().map(part).collect(),
    })
}

/// One part: what refers to an Organization may lie anywhere.
async fn plan_organizations(store: &Store, wanted: &Wanted, types: Vec<ResourceType>) -> Result<Vec<Part>> {
    let scans: Vec<_> = types
        .iter()
        .map(|each| wanted.scan(*each, wanted.range(*each)))
        .collect();
    let outlines = store.outline(&scans, u64::MAX).await?;
    let text_bytes = outlines.iter().map(|outline| outline.text_bytes_max).sum();
    Ok(vec![Part::new(
        Work::Blocks(Blocks::Organizations { types }),
        text_bytes,
    )])
}

/// Writes what is left of a part.
pub(super) fn run(crew: &Arc<Crew>, number: usize, part: &Part, blocks: &Blocks) -> Result<()> {
    match blocks {
        Blocks::Patients { owners, types } => gather::run(crew, number, part, (owners, types)),
        Blocks::Organizations { types } => organizations::run(crew, number, part, types),
        Blocks::Groups { groups, types } => groups::run(crew, number, part, (groups, types)),
    }
}

/// What the receiver of an organised export should know: which types have resources that are in no block.
pub(super) async fn left_out(
    store: &Store,
    spec: &ExportSpec,
    wanted: &Wanted,
) -> Result<Vec<OperationOutcome>> {
    let request = &spec.request;
    let Some(by) = request.organize_output_by else {
        return Ok(Vec::new());
    };
    let mut outcomes = left_out_beside(store, spec, by, wanted).await?;
    if by == ResourceType::ORGANIZATION {
        let text = "organizeOutputBy: resources that refer to no Organization are in no block and left out";
        outcomes.push(OperationOutcome::information(text));
        return Ok(outcomes);
    }
    if by == ResourceType::GROUP {
        let text = "organizeOutputBy: resources of patients who are in no Group are in no block and left out";
        outcomes.push(OperationOutcome::information(text));
    }
    if matches!(request.level, ExportLevel::System) {
        let mut names = Vec::new();
        for each in types(spec) {
            let scan = wanted.scan(each, without_owner(each));
            if each != ResourceType::GROUP && shows_any(store, scan).await? {
                names.push(each.name());
            }
        }
        if !names.is_empty() {
            let text = format!(
                "organizeOutputBy: resources that belong to no patient are in no block and left out, of the types {}",
                names.join(", ")
            );
            outcomes.push(OperationOutcome::information(text));
        }
    }
    if by == ResourceType::PATIENT && spec.may_hold(ResourceType::GROUP) {
        let text =
            "organizeOutputBy: Group resources are left out, for they would be in the block of each member";
        outcomes.push(OperationOutcome::information(text));
    }
    Ok(outcomes)
}

/// What an export of patients has beside their compartments, which no block has.
async fn left_out_beside(
    store: &Store,
    spec: &ExportSpec,
    by: ResourceType,
    wanted: &Wanted,
) -> Result<Vec<OperationOutcome>> {
    let (request, mut outcomes) = (&spec.request, Vec::new());
    if request.level == ExportLevel::System {
        return Ok(outcomes);
    }
    let comes = |each: ResourceType| is_helper(each) && each != by && spec.may_hold(each);
    if spec.helper_resources && ResourceType::all().any(comes) {
        let text = "organizeOutputBy: helper resources, such as Practitioner and Location, are in no block and left out";
        outcomes.push(OperationOutcome::information(text));
    }
    let unowned = ScanRequest {
        selection: Selection::All,
        ..wanted.scan(ResourceType::PROVENANCE, unowned_range())
    };
    if types(spec).contains(&ResourceType::PROVENANCE) && shows_any(store, unowned).await? {
        let text = "organizeOutputBy: Provenance that names no Patient is in no block and left out";
        outcomes.push(OperationOutcome::information(text));
    }
    Ok(outcomes)
}

/// Whether a scan shows anything.
async fn shows_any(store: &Store, request: ScanRequest) -> Result<bool> {
    let outlines = store.outline(std::slice::from_ref(&request), u64::MAX).await?;
    if outlines.iter().all(|outline| outline.text_bytes_max == 0) {
        return Ok(false);
    }
    let scan = store.scan(request).await?;
    let looked = tokio::task::spawn_blocking(move || {
        let mut found = false;
        let shown = scan.for_each(&mut |_| {
            found = true;
            Ok(ControlFlow::Break(()))
        });
        shown.map(|()| found)
    });
    let panicked = |panic| Error::new(ErrorKind::Storage, "looking for resources").with_source(panic);
    Ok(looked.await.map_err(panicked)??)
}

fn without_owner(resource_type: ResourceType) -> KeyRange {
    let mut prefix = vec![resource_type.code()];
    key::push_owner(None, &mut prefix);
    KeyRange::of_prefix(prefix)
}
