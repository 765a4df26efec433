//! A server with faults and a folder for what is pulled from it: [`Case`], on which the tests of pulls stand.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::pull::{FileKind, Pull, PullEvent, PullReport, PullSettings, Quiet, Watch};
use fhirhose_client::testing::{
    Asked, EhrSettings, FaultyEhr, Manner, Place, SimulatedClock, SourceFile, Strike, TokenManner,
};
use fhirhose_client::{
    DataProvider, ExportParameters, Http, HttpSettings, Quirks, Result, SmartSettings, TokenSource,
};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::Value;
use tokio::sync::Notify;

const CLIENT_ID: &str = "warehouse";

/// How long tokens are good: less than most exports take.
const TOKEN_SECS: u64 = 300;

/// A server, a folder, and how it is pulled from the one into the other.
pub(crate) struct Case {
    pub(crate) clock: SimulatedClock,
    pub(crate) ehr: FaultyEhr,
    pub(crate) place: tempfile::TempDir,
    pub(crate) parameters: ExportParameters,
    pub(crate) settings: PullSettings,
    pub(crate) quirks: Quirks,
    /// How long a server may be silent, in real time.
    pub(crate) read_timeout_secs: u64,
}

impl Case {
    pub(crate) async fn of(files: Vec<SourceFile>, manner: Manner, script: Vec<Strike>) -> Self {
        let clock = SimulatedClock::default();
        Self {
            ehr: ehr(&clock, files, manner, script).await,
            clock,
            place: tempfile::tempdir().unwrap(),
            parameters: ExportParameters::new(ExportLevel::AllPatients),
            settings: PullSettings::default(),
            quirks: Quirks::default(),
            read_timeout_secs: 2,
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.place.path().join("pulled")
    }

    pub(crate) fn pull(&self) -> Pull {
        let http = Http::new(&HttpSettings {
            read_timeout_secs: self.read_timeout_secs,
            ..HttpSettings::default()
        })
        .unwrap();
        let provider = DataProvider::new(&http, &self.ehr.base()).unwrap();
        let mut provider = provider
            .with_clock(Arc::new(self.clock.clone()))
            .with_quirks(self.quirks.clone());
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

    /// One try a file.
    pub(crate) fn hasty(&self) -> Pull {
        let mut pull = self.pull();
        pull.settings.file_attempts_max = 1;
        pull.settings.file_busy_max = 1;
        pull
    }

    pub(crate) async fn run(&self, watch: &dyn Watch) -> Result<PullReport> {
        self.pull().run(watch).await
    }

    /// Pulls, and finds everything.
    pub(crate) async fn whole(&self) -> PullReport {
        let report = self.run(&Quiet).await;
        let report = report.unwrap_or_else(|error| panic!("{}", chain(&error)));
        self.assert_whole(&report);
        report
    }

    /// Nothing is missing, and what is told of the files is true.
    pub(crate) fn assert_whole(&self, report: &PullReport) {
        assert_eq!(report.missing, [], "nothing is missing");
        self.assert_equal();
        for (name, file) in names(self.ehr.files()).iter().zip(self.ehr.files()) {
            let told = report.files.iter().find(|told| told.name == *name);
            let told = told.unwrap_or_else(|| panic!("{name} is not told: {report:?}"));
            assert_eq!(
                (told.bytes, told.lines),
                (file.text.len() as u64, file.lines()),
                "{name}"
            );
        }
    }

    /// Every file of the server is there under its name with its bytes, nothing else is, and nothing is left half done.
    pub(crate) fn assert_equal(&self) {
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
        self.assert_ended();
    }

    /// There is a manifest with its time, no secret, and nothing that is under way.
    pub(crate) fn assert_ended(&self) {
        let manifest: Value = serde_json::from_str(&self.text("manifest.json")).unwrap();
        assert!(manifest["transactionTime"].is_string(), "{manifest}");
        for name in ["manifest.json", "log.ndjson"] {
            let text = self.text(name);
            assert!(!text.contains("secret-"), "a secret is in {name}: {text}");
        }
        let left = std::fs::read_dir(self.folder().join(".fhirhose-pull")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        let is_partial = |name: &std::ffi::OsString| name.to_string_lossy().ends_with("partial");
        assert!(!left.iter().any(is_partial), "{left:?}");
    }

    pub(crate) fn asked(&self, place: Place) -> Vec<Asked> {
        self.ehr.asked_at(place)
    }

    /// Which files were asked for, one after another.
    pub(crate) fn files_asked(&self) -> Vec<usize> {
        let asked = self.asked(Place::AnyFile);
        asked.iter().filter_map(Asked::file).collect()
    }

    /// What was answered for a file: status, and where the request began.
    pub(crate) fn fetches(&self, index: usize) -> Vec<(u16, Option<u64>)> {
        let asked = self.asked(Place::File(index));
        asked
            .iter()
            .map(|asked| (asked.status, asked.range_start()))
            .collect()
    }

    /// A file of the folder.
    pub(crate) fn text(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder().join(name));
        text.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The lines of the log, in order.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.text("log.ndjson")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What the log says of each event of a name.
    pub(crate) fn log_of(&self, event: &str) -> Vec<Value> {
        let log = self.log().into_iter();
        log.filter(|line| line["eventId"] == event)
            .map(|line| line["eventDetail"].clone())
            .collect()
    }
}

/// Ends a pull at an event.
struct Cutter {
    events: AtomicU64,
    /// The event that is the last.
    at: u64,
    cut: Notify,
}

impl Watch for Cutter {
    fn hear(&self, _event: &PullEvent<'_>) {
        if self.events.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.cut.notify_one();
        }
    }
}

/// Pulls until the n-th event, then drops everything; the report if it ended before.
pub(crate) async fn cut_at(case: &Case, at: u64) -> Option<PullReport> {
    let cutter = Cutter {
        events: AtomicU64::new(0),
        at,
        cut: Notify::new(),
    };
    tokio::select! {
        biased;
        () = cutter.cut.notified() => None,
        report = case.run(&cutter) => Some(report.unwrap()),
    }
}

/// A server with these files.
pub(crate) async fn ehr(
    clock: &SimulatedClock,
    files: Vec<SourceFile>,
    manner: Manner,
    script: Vec<Strike>,
) -> FaultyEhr {
    let settings = EhrSettings {
        files,
        manner,
        script,
    };
    FaultyEhr::simulated(settings, clock).await
}

/// What a manner needs that wants tokens.
pub(crate) fn tokens() -> Option<TokenManner> {
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

/// The names that files get: by kind, numbered by type.
pub(crate) fn names(files: &[SourceFile]) -> Vec<String> {
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
pub(crate) fn data_files(folder: &Path) -> Vec<String> {
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

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
