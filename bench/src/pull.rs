//! Pulling from a server of ours on loopback, held against plain parallel GETs of the same files.
//!
//! The server is a process of its own, so that processor time and memory are the client's alone. All scenarios begin when the export
//! is done: what is measured is getting its files.

use crate::measure::Measured;
use crate::scenarios::{Folders, clear, generate, open};
use anyhow::{Context, Result, ensure};
use fhirhose_client::pull::{Pull, PullSettings, Quiet};
use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings, ManifestPage, Status};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::SystemEntropy;
use fhirhose_server::audit::MemoryFiles;
use fhirhose_server::{Components, FloodSettings, ServerSettings};
use futures::StreamExt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use url::Url;

/// Files that are fetched at a time, by either.
const PARALLEL: usize = 5;

/// Between two polls of the export that both find done.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// Which of the two is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Plain GETs, written to files as they come.
    Copy,
    /// Likewise, and each file is on the disk before it counts, as a pull has it.
    SyncedCopy,
    /// A pull, with its proofs, its journal and its receipt.
    Pull,
}

/// Serves the store until standard input ends; its FHIR base is the first line of standard output.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) async fn serve(folders: &Folders) -> Result<()> {
    let store = open(folders).await?;
    let settings = ServerSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        floods: FloodSettings {
            polls_burst_max: 10_000,
            ..FloodSettings::default()
        },
        ..ServerSettings::default()
    };
    let bound = fhirhose_server::bind(settings).await?;
    let components = Components {
        store,
        fetch: None,
        http: None,
        entropy: Arc::new(SystemEntropy),
        audit: Arc::new(MemoryFiles::default()),
    };
    println!("{}", bound.base_url());
    std::io::stdout().flush()?;
    let ended = async {
        let reading = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        // However it ends, nobody wants the server any more.
        let _ = reading.await;
    };
    bound.serve(components, ended).await?;
    Ok(())
}

/// Measures one way of getting the files of an export of everything.
pub(crate) async fn measured(folders: &Folders, way: Way, dir: &Path, resources: u64) -> Result<Measured> {
    clear(&folders.out)?;
    let server = Served::start(dir, resources)?;
    let http = Http::new(&HttpSettings::default())?;
    let provider = DataProvider::new(&http, &server.base)?;
    let parameters = ExportParameters::new(ExportLevel::System);
    let accepted = provider.kick_off(&parameters).await?;
    let page = finished(&provider, &accepted.status_url).await?;
    let cpu_before = crate::measure::cpu_secs()?;
    let began = Instant::now();
    let (rows, bytes) = match way {
        Way::Copy => copy(&http, &page, &folders.out, false).await?,
        Way::SyncedCopy => copy(&http, &page, &folders.out, true).await?,
        Way::Pull => {
            let pull = Pull {
                provider,
                parameters,
                folder: folders.out.clone(),
                settings: PullSettings {
                    parallel_downloads: PARALLEL,
                    status_url: Some(accepted.status_url),
                    ..PullSettings::default()
                },
            };
            let report = pull.run(&Quiet).await?;
            ensure!(report.is_whole(), "the pull is not whole");
            let files = report.files.iter();
            files.fold((0, 0), |sum, file| (sum.0 + file.lines, sum.1 + file.bytes))
        }
    };
    let wall_secs = began.elapsed().as_secs_f64();
    let cpu_secs = crate::measure::cpu_secs()? - cpu_before;
    let expected = generate(folders, resources)?.resources;
    // The scenario of cohorts leaves a Group in the store.
    ensure!(rows >= expected, "{rows} rows came of {expected}");
    drop(server);
    clear(&folders.out)?;
    Ok(Measured {
        resources: rows,
        text_bytes: bytes,
        wall_secs,
        cpu_secs,
        peak_bytes: crate::measure::peak_bytes()?,
        disk_bytes: 0,
    })
}

/// Pulls everything into a folder and gives the bytes of text.
pub(crate) async fn pulled(server: &Served, folder: &Path) -> Result<u64> {
    let http = Http::new(&HttpSettings::default())?;
    let pull = Pull {
        provider: DataProvider::new(&http, &server.base)?,
        parameters: ExportParameters::new(ExportLevel::System),
        folder: folder.to_owned(),
        settings: PullSettings::default(),
    };
    let report = pull.run(&Quiet).await?;
    ensure!(report.is_whole(), "the pull is not whole");
    Ok(report.files.iter().map(|file| file.bytes).sum())
}

async fn finished(provider: &DataProvider, status_url: &Url) -> Result<ManifestPage> {
    loop {
        match provider.status(status_url).await? {
            Status::Complete(page) => return Ok(page),
            Status::Running { .. } => tokio::time::sleep(POLL_PAUSE).await,
        }
    }
}

/// Fetches each file and writes it, five at a time; gives the rows that the manifest tells and the bytes that came.
async fn copy(http: &Http, page: &ManifestPage, out: &Path, syncs: bool) -> Result<(u64, u64)> {
    std::fs::create_dir_all(out)?;
    let files = page.manifest.output.iter().enumerate();
    let copies = files.map(|(number, file)| async move {
        let mut fetched = http.fetch(&file.url, 0, None).await?;
        let mut target = tokio::fs::File::create(out.join(format!("{number}.ndjson"))).await?;
        let mut bytes = 0;
        while let Some(chunk) = fetched.stream.next().await {
            let chunk = chunk?;
            bytes += chunk.len() as u64;
            target.write_all(&chunk).await?;
        }
        target.flush().await?;
        if syncs {
            target.sync_all().await?;
        }
        anyhow::Ok((file.count.unwrap_or_default(), bytes))
    });
    let mut copies = futures::stream::iter(copies).buffer_unordered(PARALLEL);
    let mut sum = (0, 0);
    while let Some(copied) = copies.next().await {
        let (rows, bytes) = copied?;
        sum = (sum.0 + rows, sum.1 + bytes);
    }
    Ok(sum)
}

/// A server in a process of its own, which ends with this.
pub(crate) struct Served {
    child: Child,
    base: String,
}

impl Served {
    /// Starts it on the store of so many resources.
    pub(crate) fn start(dir: &Path, resources: u64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.args(["--scenario", "serve", "--resources", &resources.to_string()]);
        let mut child = command
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting the server")?;
        let mut base = String::new();
        let out = child.stdout.take().context("the server's output")?;
        BufReader::new(out).read_line(&mut base)?;
        ensure!(base.starts_with("http://"), "the server did not start");
        let base = base.trim_end().to_owned();
        Ok(Self { child, base })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Its standard input ends, and with it the server; one that does not end is not waited for.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
