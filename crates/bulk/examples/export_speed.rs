//! Measures exports of an embedded store to plain files: `export_speed STORE OUT LEVEL [QUERY] [TIMES]`.
//!
//! LEVEL is `system`, `patients`, or a Group's id. Prints one line for each time: a job from its submission to its result.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_bulk::export::{ExportHandler, ExportResult, ExportSettings, ExportSpec, Target, submit_export};
use fhirhose_fhir::export_request::{ExportLevel, KickOff};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{
    Claim, Clock, Finish, Handler, JobContext, JobStore, Outcome, StopSignal, SystemClock, SystemEntropy,
};
use fhirhose_store::{DataFolder, Hashing, Holder, OpenMode, Store, StoreSettings};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, out, level, rest @ ..] = arguments.as_slice() else {
        return Err("which store, folder and level?".into());
    };
    let level = match level.as_str() {
        "system" => ExportLevel::System,
        "patients" => ExportLevel::AllPatients,
        group => ExportLevel::Group(Id::parse(group).ok_or("not an id")?),
    };
    let query = rest.first().map_or("", String::as_str);
    let times = rest.get(1).map_or(Ok(1), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()?;
    runtime.block_on(measure(data, &PathBuf::from(out), &level, query, times))
}

async fn measure(data: &str, out: &PathBuf, level: &ExportLevel, query: &str, times: usize) -> Fallible<()> {
    let holder = Holder::this_process("export_speed", "now");
    let folder = DataFolder::open(data, OpenMode::Existing, &holder)?;
    let store = Store::open(folder, Arc::new(SystemClock), StoreSettings::default()).await?;
    for _ in 0..times {
        let kick_off = KickOff::new(level.clone(), Instant::MAX);
        let request = kick_off.read_query(query).map_err(|outcome| outcome.to_json())?;
        let spec = match out.as_os_str() == "-" {
            true => ExportSpec::new(request, Target::Outputs),
            false => ExportSpec::new(request, Target::Folder(out.clone())),
        };
        export(&store, &spec).await?;
        if out.exists() {
            std::fs::remove_dir_all(out)?;
        }
    }
    Ok(())
}

async fn export(store: &Store, spec: &ExportSpec) -> Fallible<()> {
    let began = std::time::Instant::now();
    submit_export(store, spec, "", &SystemEntropy).await?;
    let submitted = began.elapsed();
    let now = SystemClock.now();
    let claim = Claim {
        worker: "one",
        kinds: &["export"],
        now,
        until: now.plus(Duration::from_secs(3_600)),
    };
    let claimed = store.catalog().claim(claim).await?.ok_or("no job waits")?;
    let jobs: Arc<dyn JobStore> = store.catalog().clone();
    let context = JobContext::new(claimed, jobs, Arc::new(SystemClock), StopSignal::new());
    let mut settings = ExportSettings::default();
    if std::env::var_os("NO_HASH").is_some() {
        settings.folder_hashing = Hashing::FingerprintOnly;
    }
    let handler = ExportHandler::new(store.clone(), settings);
    let result = handler.run(&context).await?;
    let ran = began.elapsed();
    let end = Finish {
        outcome: Outcome::Succeeded(result.clone()),
        now,
        expires: now,
    };
    context_finish(store, &context, end).await?;
    let ended = began.elapsed();
    let result = ExportResult::parse(&result)?;
    handler.clean(context.record()).await?;
    store.catalog().remove(&context.record().id).await?;
    let rows: u64 = result.files.iter().map(|file| file.count).sum();
    let bytes: u64 = result.files.iter().map(|file| file.bytes).sum();
    println!(
        "{rows} resources, {:.1} MB, {} files: submitted {:.1} ms, run {:.1} ms, finished {:.1} ms; {:.0} resources/s",
        bytes as f64 / 1e6,
        result.files.len(),
        submitted.as_secs_f64() * 1e3,
        (ran - submitted).as_secs_f64() * 1e3,
        (ended - ran).as_secs_f64() * 1e3,
        rows as f64 / ended.as_secs_f64(),
    );
    Ok(())
}

async fn context_finish(store: &Store, context: &JobContext, end: Finish) -> Fallible<()> {
    Ok(store.catalog().finish(context.lease(), end).await?)
}
