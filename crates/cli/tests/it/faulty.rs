//! A server with faults beside the binary: [`Ehr`], and what it can hold.

use crate::sample::write_population;
use fhirhose_client::testing::{EhrSettings, FaultyEhr, Random, SourceFile};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use tokio::runtime::{Builder, Runtime};

/// A faulty EHR with a thread of its own.
pub(crate) struct Ehr {
    ehr: FaultyEhr,
    _runtime: Runtime,
}

impl Ehr {
    pub(crate) fn start(settings: EhrSettings) -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        Self {
            ehr: runtime.block_on(FaultyEhr::start(settings)),
            _runtime: runtime,
        }
    }

    /// One that only holds this.
    pub(crate) fn with(files: Vec<SourceFile>) -> Self {
        Self::start(EhrSettings {
            files,
            ..EhrSettings::default()
        })
    }
}

impl Deref for Ehr {
    type Target = FaultyEhr;

    fn deref(&self) -> &FaultyEhr {
        &self.ehr
    }
}

/// So many Patients, a kilobyte each, that cannot be compressed to nothing.
pub(crate) fn patients(number: u64) -> SourceFile {
    let mut random = Random::new(number);
    let mut text = String::new();
    for id in 0..number {
        let noise: String = (0..60)
            .map(|_| format!("{:016x}", random.below(u64::MAX)))
            .collect();
        text +=
            &format!("{{\"resourceType\":\"Patient\",\"id\":\"p{id}\",\"implicitRules\":\"urn:{noise}\"}}\n");
    }
    SourceFile::output("Patient", text)
}

/// Each type of the sample as a file of at most so many bytes.
pub(crate) fn sample(population: &Path, bytes_max: usize) -> Vec<SourceFile> {
    write_population(population);
    let entries = std::fs::read_dir(population).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let file = |path: PathBuf| {
        let mut text = std::fs::read(&path).unwrap();
        if text.len() > bytes_max {
            text.truncate(bytes_max);
            let end = text.iter().rposition(|byte| *byte == b'\n');
            text.truncate(end.map_or(0, |at| at + 1));
        }
        SourceFile::output(path.file_stem().unwrap().to_str().unwrap(), text)
    };
    paths.into_iter().map(file).collect()
}
