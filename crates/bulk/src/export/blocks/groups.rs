//! Blocks of Groups: the Group, and the compartments of its members.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::export_request::{ExportLevel, ExportRequest};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{ScanRequest, Selection, Sequence, Store, key};
use tokio::runtime::Handle;

use super::Blocks;
use super::owners::Cut;
use super::source::{Source, Take};
use super::writer::BlockWriter;
use crate::export::cohort::{Resolved, row_key};
use crate::export::parts::Crew;
use crate::export::state::{Next, Part, State, Work};
use crate::export::wanted::Wanted;
use crate::{Error, ErrorKind, Result};

/// Groups that make up a part; those of one part share files.
const GROUPS_PER_PART: usize = 100;

/// Groups that one export can be organised by: their keys are in memory.
const GROUPS_MAX: usize = 1_000_000;

/// Plans the parts: the Group of the level, or all Groups of the snapshot.
pub(super) async fn plan(
    store: &Store,
    request: &ExportRequest,
    state: &State,
    cut: Cut,
) -> Result<Vec<Part>> {
    let only = match &request.level {
        ExportLevel::Group(id) => Some(id.clone()),
        ExportLevel::System | ExportLevel::AllPatients | ExportLevel::Patient(_) => None,
    };
    let scan = store.scan(ScanRequest {
        range: KeyRange::of_type(ResourceType::GROUP),
        snapshot: state.snapshot.sequence,
        after: Sequence::ZERO,
        selection: Selection::All,
    });
    let scan = scan.await?;
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        scan.for_each(&mut |row| {
            if only.as_ref().is_none_or(|only| only.as_str() == row.id) {
                keys.push(row_key(ResourceType::GROUP, &row));
            }
            Ok(match keys.len() > GROUPS_MAX {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        Ok(keys)
    });
    let panicked = |panic| Error::new(ErrorKind::Storage, "listing Groups").with_source(panic);
    let keys = read.await.map_err(panicked)??;
    if keys.len() > GROUPS_MAX {
        let problem = format!("organizeOutputBy: there are more than {GROUPS_MAX} Groups");
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let parts = keys.len().div_ceil(GROUPS_PER_PART).max(1) as u64;
    let part = |groups: &[Vec<u8>]| {
        let (groups, types) = (groups.to_vec(), cut.types.clone());
        Part::new(
            Work::Blocks(Blocks::Groups { groups, types }),
            cut.text_bytes / parts,
        )
    };
    Ok(keys.chunks(GROUPS_PER_PART).map(part).collect())
}

/// Writes the blocks of a part's Groups from where it got to.
pub(super) fn run(
    crew: &Arc<Crew>,
    number: usize,
    part: &Part,
    (groups, types): (&[Vec<u8>], &[ResourceType]),
) -> Result<()> {
    let mut writer = BlockWriter::new(crew, number, part, ResourceType::GROUP);
    let begun = match &part.next {
        Next::Line { block, .. } => groups.iter().position(|key| key == block).unwrap_or_default(),
        Next::Start | Next::Key(_) | Next::Done => 0,
    };
    for key in &groups[begun..] {
        let wanted = Handle::current().block_on(members_of(crew, key))?;
        let source = Source {
            crew,
            wanted: &wanted,
            types,
        };
        let mut length = writer.measure(key)?;
        let _ended = visit(&source, key, &mut |_, line| Ok(length.add(line, crew)))?;
        if crew.go_on_in_file().is_break() {
            return Ok(());
        }
        if length.is_empty() {
            continue;
        }
        let begun = writer.begin(key, length.bytes())?;
        if begun.is_break() || visit(&source, key, &mut |_, line| writer.line(line))?.is_break() {
            return Ok(());
        }
    }
    Ok(writer.finish()?)
}

/// What the export would want of the members if it were of this Group.
async fn members_of(crew: &Crew, key: &[u8]) -> Result<Wanted> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "reading the key of a Group");
    let parts = key::decode(key).ok_or_else(corrupt)?;
    let mut spec = crew.spec.clone();
    spec.request.level = ExportLevel::Group(Id::parse(&parts.id).ok_or_else(corrupt)?);
    let resolved = Resolved::find(&crew.store, &spec, &crew.state, crew.stop_signal()).await?;
    Ok(Wanted::new(
        &spec.request,
        resolved.whose,
        resolved.joined,
        crew.state,
    ))
}

/// Shows the lines of a Group's block: itself, if it is wanted, then type by type what its members have.
fn visit(source: &Source<'_>, group: &[u8], take: &mut Take<'_>) -> Result<ControlFlow<()>> {
    let crew = source.crew;
    if crew.spec.may_hold(ResourceType::GROUP) {
        let of_group = Source {
            wanted: &crew.wanted,
            ..*source
        };
        let request = ScanRequest {
            selection: Selection::All,
            ..crew
                .wanted
                .scan(ResourceType::GROUP, KeyRange::of_prefix(group.to_vec()))
        };
        let flow = of_group.visit_rows(ResourceType::GROUP, request, &mut |_, line| take(group, line))?;
        if flow.is_break() {
            return Ok(flow);
        }
    }
    for &resource_type in source.types {
        let request = source
            .wanted
            .scan(resource_type, source.wanted.range(resource_type));
        let flow = source.visit_rows(resource_type, request, &mut |_, line| take(group, line))?;
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}
