//! Makes one side like the other, where they differ: [`Repair`].

use std::sync::Arc;

use async_trait::async_trait;
use fhirhose_fhir::resource_type::ResourceType;
use serde::Serialize;

use super::compare::{Differences, Found};
use super::side::ReconcileSide;
use crate::Result;
use crate::sync::both::{Over, Pair, Peer, Side, Write, Written};

/// Resources that are written in one call.
const BATCH: usize = 100;

/// What a repair has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairReport {
    /// Resources that were written.
    pub written: u64,
    /// Resources that were deleted.
    pub deleted: u64,
    /// Resources that are too many, and were left because nobody asked for deletions.
    pub left: u64,
    /// Resources that changed since they were compared, and were left.
    pub behind: u64,
    /// Resources that the server refused.
    pub refused: u64,
}

impl RepairReport {
    /// Whether every difference is gone.
    pub fn is_whole(&self) -> bool {
        self.left + self.behind + self.refused == 0
    }
}

/// Writes what differs from one side to the other. Nothing is written over what has changed since it was compared.
pub struct Repair<'a> {
    /// Where the right contents are.
    pub from: &'a dyn ReconcileSide,
    /// Which of the two compared sides that is.
    pub from_side: Side,
    /// What is written to.
    pub to: Arc<dyn Peer>,
    /// Whether what only the other side has is deleted there.
    pub deletes: bool,
    /// What was done so far.
    pub report: RepairReport,
}

impl Repair<'_> {
    async fn send(&mut self, writes: Vec<Write>) -> Result<()> {
        for some in writes.chunks(BATCH) {
            for (write, written) in some.iter().zip(self.to.write(some).await?) {
                let report = &mut self.report;
                *match (written, &write.text) {
                    (Written::Done { .. }, Some(_)) => &mut report.written,
                    (Written::Done { .. }, None) => &mut report.deleted,
                    (Written::Behind, _) => &mut report.behind,
                    (Written::Refused { .. }, _) => &mut report.refused,
                } += 1;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Differences for Repair<'_> {
    async fn hear(&mut self, resource_type: ResourceType, found: &Found) -> Result<()> {
        let to = self.from_side.other();
        let over = |contents: &Pair<_>| match contents.of(to) {
            None => Over::Nothing,
            Some(content) => Over::Content(*content),
        };
        let name = |id: &str| format!("{resource_type}/{id}");
        let (right, wrong): (Vec<_>, Vec<_>) = found
            .iter()
            .partition(|(_, contents)| contents.of(self.from_side).is_some());
        for some in right.chunks(BATCH) {
            let ids: Vec<String> = some.iter().map(|(id, _)| (*id).clone()).collect();
            let texts = self.from.texts(resource_type, &ids).await?;
            let mut writes = Vec::new();
            for ((id, contents), text) in some.iter().zip(texts) {
                match text {
                    None => self.report.behind += 1,
                    Some(text) => writes.push(Write {
                        name: name(id),
                        text: Some(text),
                        over: over(contents),
                    }),
                }
            }
            self.send(writes).await?;
        }
        if !self.deletes {
            self.report.left += wrong.len() as u64;
            return Ok(());
        }
        let deletions = wrong.into_iter().map(|(id, contents)| Write {
            name: name(id),
            text: None,
            over: over(contents),
        });
        self.send(deletions.collect()).await
    }
}
