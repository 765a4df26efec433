//! A store that is filled by imports and interactive writes, a way to run exports on it, and what they came to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_bulk::export::{
    ExportHandler, ExportResult, ExportSettings, ExportSpec, FileKind, GroupJoiners, Target, submit_export,
};
use fhirhose_bulk::import::{ImportHandler, ImportSettings, ImportSpec, submit_import};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::meta::write_stored;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::testing::{ManualClock, SeededEntropy};
use fhirhose_jobs::{
    Claim, Clock, Finish, Handler, JobContext, JobId, JobStore, Outcome, StopSignal, Timestamp,
};
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotBody, HotWrite, Origin, Snapshot, Write};
use fhirhose_store::{Encoding, OutputName, Store, StoreSettings};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

/// Far enough in the future for everything.
pub(super) const LATER: Duration = Duration::from_secs(3_600);

pub(super) struct World {
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    entropy: SeededEntropy,
}

/// A finished export with the text of its files.
pub(super) struct Exported {
    pub(super) job: JobId,
    pub(super) result: ExportResult,
    /// The text of each file of the result, in its order.
    pub(super) texts: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        // Small blocks, so that small stores have many.
        let mut settings = StoreSettings::default();
        settings.run.block_bytes = 4 << 10;
        let store = Store::in_memory(clock.clone(), settings).unwrap();
        Self {
            store,
            clock,
            entropy: SeededEntropy::new(11),
        }
    }

    /// Imports files or folders, in several runs.
    pub(super) async fn load(&self, path: &Path) {
        let spec = ImportSpec::of_paths([path]);
        submit_import(&self.store, spec, "loader", &self.entropy)
            .await
            .unwrap();
        let settings = ImportSettings {
            chunk_bytes: 2 << 20,
            ..ImportSettings::with_threads(2)
        };
        let handler = ImportHandler::new(self.store.clone(), None, settings);
        let context = self.claim("import", &self.jobs(), &StopSignal::new()).await;
        let result = handler.run(&context).await.unwrap();
        self.finish(&context, result).await;
    }

    /// Imports lines as one run.
    pub(super) async fn load_lines<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) {
        let folder = tempfile::tempdir().unwrap();
        let text: String = lines
            .into_iter()
            .map(|line| format!("{}\n", line.as_ref()))
            .collect();
        std::fs::write(folder.path().join("all.ndjson"), text).unwrap();
        self.load(&folder.path().join("all.ndjson")).await;
    }

    /// Creates or replaces one resource as an interactive write.
    pub(super) async fn put(&self, line: &str) -> Snapshot {
        let mut checker = LineChecker::new(LineLimits::default());
        let checked = checker.check(line.as_bytes(), None).unwrap();
        let mut body = Vec::new();
        let stored = write_stored(line.as_bytes(), &checked, None, &mut body);
        let hash = xxhash_rust::xxh3::xxh3_64(&body);
        let write = HotBody {
            owner: checked.owner.map(str::to_owned),
            others: checked.other_patients.iter().map(str::to_owned).collect(),
            body,
            splice: stored.splice,
            id_at: stored.id_at,
            hash,
            subsetted: checked.subsetted,
        };
        self.write(checked.resource_type, checked.id, HotAction::Put(write))
            .await
    }

    /// Deletes one resource; `others` are the further patients of its last version.
    pub(super) async fn delete(&self, resource_type: &str, id: &str, others: &[&str]) -> Snapshot {
        let resource_type = ResourceType::parse(resource_type).unwrap();
        let others = others.iter().map(|&other| other.to_owned()).collect();
        self.write(resource_type, id, HotAction::Delete { others }).await
    }

    async fn write(&self, resource_type: ResourceType, id: &str, action: HotAction) -> Snapshot {
        let write = HotWrite {
            resource_type,
            id: id.to_owned(),
            expect: Expect::Any,
            action,
        };
        let commit = Commit {
            write: Write::Hot(vec![write]),
            job: None,
            origin: Origin::default(),
        };
        self.store.catalog().commit(commit).await.unwrap().snapshot
    }

    /// Makes one run of all that is stored.
    pub(super) async fn compact(&self, place: &str) {
        self.store.flush(&format!("{place}-hot.run"), None).await.unwrap();
        let places: Vec<String> = self
            .store
            .catalog()
            .runs()
            .await
            .unwrap()
            .iter()
            .map(|run| run.place.clone())
            .collect();
        self.store
            .compact(&places, &format!("{place}.run"), None, |_| Ok(()))
            .await
            .unwrap();
    }

    pub(super) fn jobs(&self) -> Arc<dyn JobStore> {
        self.store.catalog().clone()
    }

    pub(super) async fn submit(&self, spec: &ExportSpec) -> fhirhose_bulk::Result<JobId> {
        submit_export(&self.store, spec, "owner", &self.entropy).await
    }

    /// Claims the one job that waits. Leases that are held are over by then.
    pub(super) async fn claim(&self, kind: &str, jobs: &Arc<dyn JobStore>, stop: &StopSignal) -> JobContext {
        let now = self.clock.now();
        let claim = Claim {
            worker: "worker",
            kinds: &[kind],
            now,
            until: now.plus(LATER),
        };
        let claimed = jobs.claim(claim).await.unwrap().expect("a job waits");
        JobContext::new(claimed, Arc::clone(jobs), self.clock.clone(), stop.clone())
    }

    pub(super) async fn finish(&self, context: &JobContext, result: Vec<u8>) {
        let now = self.clock.now();
        let end = Finish {
            outcome: Outcome::Succeeded(result),
            now,
            expires: now,
        };
        self.jobs().finish(context.lease(), end).await.unwrap();
    }

    pub(super) fn handler(&self) -> ExportHandler {
        self.handler_with(ExportSettings {
            parts_parallel: 2,
            ..ExportSettings::default()
        })
    }

    pub(super) fn handler_with(&self, settings: ExportSettings) -> ExportHandler {
        ExportHandler::new(self.store.clone(), settings)
    }

    /// Runs an export from kick-off to result.
    pub(super) async fn export(&self, spec: &ExportSpec) -> Exported {
        let job = self.submit(spec).await.unwrap();
        let context = self.claim("export", &self.jobs(), &StopSignal::new()).await;
        let result = self.handler().run(&context).await.unwrap();
        self.finish(&context, result.clone()).await;
        self.read(job, &result, &spec.target).await
    }

    /// Reads the files of a result.
    pub(super) async fn read(&self, job: JobId, result: &[u8], target: &Target) -> Exported {
        let result = ExportResult::parse(result).unwrap();
        let mut texts = Vec::new();
        for file in &result.files {
            let text = match target {
                Target::Folder(folder) => std::fs::read(folder.join(&file.name)).unwrap(),
                Target::Outputs => self.read_output(job, &file.stored_name).await,
            };
            assert_eq!(text.len() as u64, file.bytes, "{}", file.name);
            let digest: String = Sha256::digest(&text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(Some(&digest), file.sha256.as_ref(), "{}", file.name);
            texts.push(String::from_utf8(text).unwrap());
        }
        Exported { job, result, texts }
    }

    pub(super) async fn read_output(&self, job: JobId, name: &str) -> Vec<u8> {
        let name = OutputName::new(&job.to_string(), name).unwrap();
        let reader = self.store.outputs().open(&name).await.unwrap();
        let pieces: Vec<bytes::Bytes> = reader.stream(Encoding::Identity).try_collect().await.unwrap();
        pieces.concat()
    }
}

impl Exported {
    /// The lines of one kind by type and id, after checking what holds for every file: no file is empty, `count` is its number of
    /// lines, it holds its type alone, and no resource comes twice.
    pub(super) fn lines(&self, kind: FileKind) -> BTreeMap<(String, String), String> {
        let mut found = BTreeMap::new();
        for (file, text) in self
            .result
            .files
            .iter()
            .zip(&self.texts)
            .filter(|(file, _)| file.kind == kind)
        {
            assert!(
                file.count > 0 && text.ends_with('\n'),
                "{} is empty or cut",
                file.name
            );
            assert_eq!(text.lines().count() as u64, file.count, "{}", file.name);
            for line in text.lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(
                    value["resourceType"],
                    file.resource_type.as_deref().unwrap(),
                    "{}",
                    file.name
                );
                let id = value["id"].as_str().unwrap_or_default().to_owned();
                let of_type = file.resource_type.clone().unwrap();
                let repeated = found.insert((of_type, id), line.to_owned());
                assert!(
                    repeated.is_none() || kind != FileKind::Output,
                    "{} repeats a resource",
                    file.name
                );
            }
        }
        found
    }

    /// `Type/id` of all output.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.lines(FileKind::Output)
            .into_keys()
            .map(|(resource_type, id)| format!("{resource_type}/{id}"))
            .collect()
    }

    /// `Type/id` of all deletions, each of which is one entry of a transaction (M-31).
    pub(super) fn deleted(&self) -> BTreeSet<String> {
        let mut deleted = BTreeSet::new();
        let of_deletions =
            |(file, _): &(&fhirhose_bulk::export::ResultFile, &String)| file.kind == FileKind::Deleted;
        for (_, text) in self.result.files.iter().zip(&self.texts).filter(of_deletions) {
            for line in text.lines() {
                let bundle: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(
                    (&bundle["resourceType"], &bundle["type"]),
                    (&"Bundle".into(), &"transaction".into())
                );
                for entry in bundle["entry"].as_array().unwrap() {
                    assert_eq!(entry["request"]["method"], "DELETE");
                    assert!(deleted.insert(entry["request"]["url"].as_str().unwrap().to_owned()));
                }
            }
        }
        deleted
    }

    /// Name and text of each file: what two equal exports have in common.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        self.result
            .files
            .iter()
            .map(|file| file.name.clone())
            .zip(self.texts.iter().cloned())
            .collect()
    }
}

/// An export of a level with a query, as a kick-off makes it; of what is asked for and nothing that comes with it.
pub(super) fn spec(level: ExportLevel, query: &str) -> ExportSpec {
    ExportSpec {
        helper_resources: false,
        group_joiners: GroupJoiners::ChangesOnly,
        ..ExportSpec::new(request(level, query), Target::Outputs)
    }
}

pub(super) fn request(level: ExportLevel, query: &str) -> ExportRequest {
    let url = format!("http://localhost/fhir/$export?{query}");
    let kick_off = KickOff {
        base_url: "http://localhost/fhir",
        request_url: &url,
        ..KickOff::new(level, Instant::MAX)
    };
    kick_off.read_query(query).unwrap()
}

pub(super) fn group(id: &str) -> ExportLevel {
    ExportLevel::Group(Id::parse(id).unwrap())
}

pub(super) fn patient(id: &str) -> ExportLevel {
    ExportLevel::Patient(Id::parse(id).unwrap())
}

/// A line without what an export puts into it, for a source that has no `meta`.
pub(super) fn without_meta(line: &str) -> String {
    let start = line
        .find(r#","meta":{"versionId":""#)
        .expect("an exported resource has its version");
    let end = start + line[start..].find('}').unwrap() + 1;
    let meta: serde_json::Value = serde_json::from_str(&line[start + r#","meta":"#.len()..end]).unwrap();
    assert!(Instant::parse(meta["lastUpdated"].as_str().unwrap()).is_ok());
    format!("{}{}", &line[..start], &line[end..])
}
