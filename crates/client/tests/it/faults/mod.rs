//! Pulls from a faulty EHR: each ends with every byte, or says exactly what is missing.

mod bodies;
mod chaos;
mod crash;
mod links;
mod manifests;
mod waits;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::pull::{FileKind, Pull, PullReport, PullSettings, Quiet, Watch};
use fhirhose_client::testing::{
    Asked, EhrSettings, FaultyEhr, Manner, Place, SimulatedClock, SourceFile, Strike, TokenManner,
};
use fhirhose_client::{
    DataProvider, ExportParameters, Http, HttpSettings, Result, SmartSettings, TokenSource,
};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::Value;

const CLIENT_ID: &str = "warehouse";

/// How long tokens are good: less than most exports take.
const TOKEN_SECS: u64 = 300;

/// A server with faults, and a folder for what is pulled from it.
struct Case {
    clock: SimulatedClock,
    ehr: FaultyEhr,
    place: tempfile::TempDir,
    parameters: ExportParameters,
    settings: PullSettings,
}

impl Case {
    async fn new(manner: Manner, script: Vec<Strike>) -> Self {
        Self::of(population(), manner, script).await
    }

    async fn of(files: Vec<SourceFile>, manner: Manner, script: Vec<Strike>) -> Self {
        let clock = SimulatedClock::default();
        let settings = EhrSettings {
            files,
            manner,
            script,
        };
        Self {
            ehr: FaultyEhr::simulated(settings, &clock).await,
            clock,
            place: tempfile::tempdir().unwrap(),
            parameters: ExportParameters::new(ExportLevel::AllPatients),
            settings: PullSettings::default(),
        }
    }

    /// One strike, and how a pull through it ends.
    async fn struck(strike: Strike) -> (Self, PullReport) {
        let case = Self::new(Manner::default(), vec![strike]).await;
        let report = case.whole().await;
        (case, report)
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("pulled")
    }

    async fn pull(&self) -> Pull {
        let http = http();
        let provider = DataProvider::new(&http, &self.ehr.base()).unwrap();
        let mut provider = provider.with_clock(Arc::new(self.clock.clone()));
        if self.ehr.manner().tokens.is_some() {
            let settings = SmartSettings {
                client_id: CLIENT_ID.to_owned(),
                key: SigningKey::from_pem(&key().to_pem())
                    .unwrap()
                    .with_kid(key().kid()),
                jku: None,
                scopes: "system/*.rs".to_owned(),
            };
            provider = provider.with_tokens(TokenSource::at(&http, &self.ehr.token_url(), settings).unwrap());
        }
        Pull {
            provider,
            parameters: self.parameters.clone(),
            folder: self.folder(),
            settings: self.settings.clone(),
        }
    }

    async fn run(&self, watch: &dyn Watch) -> Result<PullReport> {
        self.pull().await.run(watch).await
    }

    /// Pulls, and finds everything.
    async fn whole(&self) -> PullReport {
        let report = self.run(&Quiet).await;
        let report = report.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(report.missing, [], "nothing is missing");
        self.assert_equal();
        report
    }

    /// Every file of the population is there under its name with its bytes, and nothing else is.
    fn assert_equal(&self) {
        let expected = names(self.ehr.files());
        let mut found = data_files(&self.folder());
        for (name, file) in expected.iter().zip(self.ehr.files()) {
            let at = found.iter().position(|own| own == name);
            let at = at.unwrap_or_else(|| panic!("{name} is not there: {found:?}"));
            found.remove(at);
            let bytes = std::fs::read(self.folder().join(name)).unwrap();
            assert!(
                bytes == file.text,
                "{name} differs: {} bytes of {}",
                bytes.len(),
                file.text.len()
            );
        }
        assert_eq!(found, Vec::<String>::new(), "files that nobody knows");
        let manifest = std::fs::read(self.folder().join("manifest.json")).expect("the manifest is there");
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert!(manifest["transactionTime"].is_string(), "{manifest}");
        let secret = String::from_utf8(std::fs::read(self.folder().join("log.ndjson")).unwrap()).unwrap();
        assert!(!secret.contains("secret-"), "a secret is in the log: {secret}");
        assert!(
            !manifest.to_string().contains("secret-"),
            "a secret is in the manifest"
        );
    }

    fn asked(&self, place: Place) -> Vec<Asked> {
        self.ehr.asked_at(place)
    }

    /// What was answered for a file: status, and where the request began.
    fn fetches(&self, index: usize) -> Vec<(u16, Option<u64>)> {
        let asked = self.asked(Place::File(index));
        asked
            .iter()
            .map(|asked| (asked.status, asked.range_start()))
            .collect()
    }

    /// The events of the log by their names, in order.
    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join("log.ndjson")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn log_of(&self, event: &str) -> Vec<Value> {
        let mut log = self.log();
        log.retain(|line| line["eventId"] == event);
        log
    }
}

/// What a manner needs that wants tokens.
fn tokens() -> Option<TokenManner> {
    Some(TokenManner {
        client_id: CLIENT_ID.to_owned(),
        keys: key().to_jwks(),
        lifetime_secs: TOKEN_SECS,
    })
}

fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Es384).unwrap())
}

fn http() -> Http {
    Http::new(&HttpSettings {
        read_timeout_secs: 2,
        ..HttpSettings::default()
    })
    .unwrap()
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

/// The names that files get: by kind, numbered by type.
fn names(files: &[SourceFile]) -> Vec<String> {
    let mut names = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let is_alike =
            |other: &&SourceFile| (other.kind, &other.resource_type) == (file.kind, &file.resource_type);
        let number = files[..=index].iter().filter(is_alike).count();
        let folder = match file.kind {
            FileKind::Output => "",
            FileKind::Deleted => "deleted/",
            FileKind::Error => "error/",
        };
        names.push(format!("{folder}{number}.{}.ndjson", file.resource_type));
    }
    names
}

/// The files of data in a folder, by their paths in it.
fn data_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for sub in ["", "deleted", "error"] {
        let Ok(entries) = std::fs::read_dir(folder.join(sub)) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_file() && name != "manifest.json" && !name.starts_with("log.") {
                let name = if sub.is_empty() {
                    name.to_owned()
                } else {
                    format!("{sub}/{name}")
                };
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
