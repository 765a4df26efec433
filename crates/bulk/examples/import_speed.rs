//! Measures an import into a fresh embedded store: `import_speed FOLDER [RESOURCES] [THREADS] [CHUNK_MIB]`.
//!
//! FOLDER is filled with generated NDJSON first if it is not there, one file a type. Prints one line of figures.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhirhose_bulk::generate::Population;
use fhirhose_bulk::import::{ImportHandler, ImportResult, ImportSettings, ImportSpec, submit_import};
use fhirhose_jobs::{Claim, Clock, Handler, JobContext, JobStore, StopSignal, SystemClock, SystemEntropy};
use fhirhose_store::{DataFolder, Holder, OpenMode, Store, StoreSettings};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let resources = number(1_000_000)?;
    let threads = number(2)?;
    let chunk_bytes = number(64)? << 20;
    if !folder.exists() {
        generate(&folder, resources as u64)?;
    }
    let settings = ImportSettings {
        chunk_bytes,
        ..ImportSettings::with_threads(threads)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()?;
    runtime.block_on(import(&folder, settings))
}

fn generate(folder: &Path, resources: u64) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    let mut files: BTreeMap<&str, BufWriter<File>> = BTreeMap::new();
    for resource in Population::for_resources(1, resources).resources() {
        let name = resource.resource_type;
        if !files.contains_key(name) {
            files.insert(
                name,
                BufWriter::new(File::create(folder.join(format!("{name}.ndjson")))?),
            );
        }
        let file = files.get_mut(name).ok_or("it was just made")?;
        file.write_all(resource.line.trim_ascii_end())?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

async fn import(folder: &Path, settings: ImportSettings) -> Outcome<()> {
    let data = folder.with_extension("store");
    let clock = Arc::new(SystemClock);
    let holder = Holder::this_process("import_speed", "now");
    let data_folder = DataFolder::open(&data, OpenMode::Create, &holder)?;
    let store = Store::open(data_folder, clock.clone(), StoreSettings::default()).await?;
    submit_import(&store, ImportSpec::of_paths([folder]), "", &SystemEntropy).await?;
    let now = clock.now();
    let until = now.plus(Duration::from_secs(3_600));
    let claim = Claim {
        worker: "one",
        kinds: &["import"],
        now,
        until,
    };
    let claimed = store.catalog().claim(claim).await?.ok_or("no job waits")?;
    let jobs: Arc<dyn JobStore> = store.catalog().clone();
    let context = JobContext::new(claimed, jobs, clock, StopSignal::new());
    let handler = ImportHandler::new(store.clone(), None, settings);
    let began = Instant::now();
    let result = ImportResult::parse(&handler.run(&context).await?)?;
    let secs = began.elapsed().as_secs_f64();
    print_figures(&result, secs);
    drop((handler, context, store));
    std::fs::remove_dir_all(data)?;
    Ok(())
}

fn print_figures(result: &ImportResult, secs: f64) {
    let counts = result.counts();
    let megabytes = result.text_bytes as f64 / 1e6;
    println!(
        "{} resources, {megabytes:.0} MB in {secs:.2} s: {:.0} resources/s, {:.0} MB/s; rejected {}, dangling {}",
        counts.taken(),
        counts.taken() as f64 / secs,
        megabytes / secs,
        counts.rejected,
        result.dangling.references,
    );
}
