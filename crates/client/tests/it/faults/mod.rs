//! Pulls from a faulty EHR: each ends with every byte, or says exactly what is missing.

mod bodies;
mod chaos;
mod crash;
mod ends;
mod links;
mod manifests;
mod waits;

use fhirhose_client::pull::PullReport;
use fhirhose_client::testing::{Manner, SourceFile, Strike};

use crate::case::{Case, chain, data_files, names, tokens};

impl Case {
    async fn new(manner: Manner, script: Vec<Strike>) -> Self {
        Self::of(population(), manner, script).await
    }

    /// One strike, and how a pull through it ends.
    async fn struck(strike: Strike) -> (Self, PullReport) {
        let case = Self::new(Manner::default(), vec![strike]).await;
        let report = case.whole().await;
        (case, report)
    }
}

/// Two files of Patients, some of other types, deletions, and what the server has to say.
fn population() -> Vec<SourceFile> {
    let deletion = "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[{\"request\":{\"method\":\"DELETE\",\"url\":\
         \"Patient/gone\"}}]}\n";
    let outcome = "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\",\"code\":\"processing\"}]}\n";
    vec![
        SourceFile::output("Patient", resources("Patient", 0, 40)),
        SourceFile::output("Observation", resources("Observation", 0, 90)),
        SourceFile::output("Patient", resources("Patient", 40, 7)),
        SourceFile::output("Encounter", resources("Encounter", 0, 1)),
        SourceFile::output("Condition", ""),
        SourceFile::deleted(deletion),
        SourceFile::error(outcome),
    ]
}

/// The place of the largest file of [`population`].
const LARGEST: usize = 1;

fn resources(kind: &str, begin: usize, count: usize) -> String {
    let line = |number: usize| {
        let id = begin + number;
        let text = format!("Größe {} kg – {}", id * 37 % 1_000, "abc ".repeat(id % 9));
        format!("{{\"resourceType\":\"{kind}\",\"id\":\"{kind}-{id}\",\"text\":{{\"div\":\"{text}\"}}}}\n")
    };
    (0..count).map(line).collect()
}
