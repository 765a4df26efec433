//! `fhirhose pull`: from any Bulk Data server into a folder.

mod attachments;
mod destination;
mod into;
mod table;
mod watch;

use super::{AGAIN, interruptible, print, say};
use crate::export_args::ExportArgs;
use crate::failure::{PARTIAL, usage};
use crate::provider_args::{ProviderArgs, ProviderUrl};
use crate::receipt_key::ReceiptKeyArgs;
use crate::settings_file::FileSecrets;
use crate::typed::Typed;
use anyhow::Result;
use attachments::AttachmentArgs;
use clap::{Args, ValueEnum, value_parser};
use destination::{BucketPlace, DestinationArgs, Place, staging_of};
use fhirhose_client::pull::{self, MissingFile, PullReport, PullSettings};
use fhirhose_client::{Delivered, DeliveredPull, ExportParameters};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::json;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use url::Url;
use watch::{Bars, Events, Lines, Teller};

/// Pulls an export from a Bulk Data server into a folder, and goes on where it was
///
/// Kicks off, polls as the server asks, downloads side by side, and proves each file before it appears under its name. Interrupted,
/// killed or disconnected, the same command goes on: same export, same files, from the byte where it was. The server is told that its
/// files can go when everything is safe.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pull {
    #[command(flatten)]
    typed: Typed,

    #[command(flatten)]
    url: ProviderUrl,

    #[command(flatten)]
    destination: DestinationArgs,

    #[command(flatten)]
    export: ExportArgs,

    #[command(flatten)]
    provider: ProviderArgs,

    /// Files that are fetched at a time
    #[arg(
        long,
        alias = "parallelDownloads",
        env = "FHIRHOSE_PARALLEL_DOWNLOADS",
        default_value_t = NonZeroUsize::new(5).expect("five is not zero"),
        value_name = "N",
        help_heading = "How to pull"
    )]
    parallel_downloads: NonZeroUsize,

    /// How often a file is tried
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "How to pull")]
    file_attempts_max: u32,

    /// How long the server may work on the export, in seconds
    #[arg(long, default_value_t = 30 * 24 * 60 * 60, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..), help_heading = "How to pull")]
    export_secs_max: u64,

    /// The longest line that is taken, in bytes
    #[arg(long, default_value_t = NonZeroUsize::new(64 << 20).expect("it is not zero"), value_name = "BYTES", help_heading = "How to pull")]
    line_bytes_max: NonZeroUsize,

    /// Goes on with an export that was kicked off elsewhere, by its status URL
    #[arg(long, value_name = "URL", help_heading = "How to pull")]
    status: Option<Url>,

    /// Puts the files of each page of a manifest into a folder of its own: 0, 1, …
    #[arg(long, help_heading = "How to pull")]
    page_folders: bool,

    /// Takes files whose number of lines is not the manifest's `count`
    #[arg(long, help_heading = "How to pull")]
    no_count_check: bool,

    /// Takes resources of another type than the manifest says of their file
    #[arg(long, help_heading = "How to pull")]
    no_type_check: bool,

    /// Notes each answer of the status in log.ndjson
    #[arg(long, help_heading = "How to pull")]
    log_status_progress: bool,

    /// Writes no log.ndjson
    #[arg(long, conflicts_with = "log_status_progress", help_heading = "How to pull")]
    no_log: bool,

    /// Leaves export and files on the server at the end
    #[arg(long, help_heading = "How to pull")]
    no_delete: bool,

    #[command(flatten)]
    attachments: AttachmentArgs,

    #[command(flatten)]
    receipt_key: ReceiptKeyArgs,

    /// How progress is told on stderr [default: cli on a terminal, else text]
    #[arg(long, value_enum, value_name = "HOW", conflicts_with = "json")]
    reporter: Option<Reporter>,

    /// Prints each event as a line of JSON on stdout, the report as the last one
    #[arg(long)]
    json: bool,
}

/// Files that go to object storage at a time.
const DELIVERIES: usize = 3;

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reporter {
    /// Bars, one a file; where stderr is no terminal, lines.
    Cli,
    /// Lines, one a file.
    Text,
}

const EXAMPLES: &str = "\
Examples:
  fhirhose pull https://bulk-data.smarthealthit.org/fhir --out files
  fhirhose pull https://ehr.example.org/fhir --out diabetes --group 1234 --type Patient,Condition,Observation \\
    --client-id my-app --key private-key.pem
  fhirhose pull https://ehr.example.org/fhir --out s3://bucket/night
  fhirhose pull https://ehr.example.org/fhir --into store
  fhirhose pull https://ehr.example.org/fhir --out notes --type DocumentReference --download-attachments=text/,application/pdf
  fhirhose pull https://ehr.example.org/fhir --out changes --since 2026-11-20T02:00:00.123Z
  fhirhose pull -f https://ehr.example.org/fhir -d files -g 1234 --_type Patient     as bulk-data-client has it
  fhirhose pull --config config.js                                                   with its settings, too

Exit codes: 0 everything is there; 1 failed; 2 wrong usage; 3 some files or attachments are missing; 4 another process pulls into this folder;
5 no space left on the disk. After 1, 3 and 5 the same command goes on where it was.";

impl Pull {
    /// Takes what the settings file has and no command line shows.
    pub(crate) fn take_secrets(&mut self, secrets: FileSecrets) {
        self.provider.take_key(secrets.private_key);
        self.destination.take_aws(secrets.aws);
    }

    /// Pulls, tells what is there and what is missing, and says by the exit code whether that is everything.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let base = self.url.base()?;
        let parameters = self.export.parameters()?;
        if self.status.is_some() && parameters != ExportParameters::new(ExportLevel::AllPatients) {
            return Err(usage(
                "--status goes on with an export: what it exports was said when it was kicked off",
            ));
        }
        let mut settings = self.settings()?;
        self.provider.check(&self.typed)?;
        let place = self.destination.place(&self.typed)?;
        let is_into_store = matches!(place, Place::Store(_));
        settings.attachments = self.attachments.settings(&self.typed, is_into_store)?;
        let folder = match &place {
            Place::Folder(folder) => folder.clone(),
            Place::Bucket(place) => place.staging.clone(),
            Place::Store(data) => staging_of(data),
        };
        if let Place::Store(data) = &place {
            into::prepare(data, self.destination.output_key()).await?;
        }
        let pull = pull::Pull {
            provider: self.provider.provider(&base).await?,
            parameters,
            folder,
            settings,
        };
        match place {
            Place::Folder(folder) => {
                let report = self.pull(&pull).await?;
                self.tell(&report, &folder.display().to_string())
            }
            Place::Bucket(place) => self.deliver(pull, place).await,
            Place::Store(data) => self.pull_into(&pull, &data).await,
        }
    }

    /// Pulls into a folder.
    async fn pull(&self, pull: &pull::Pull) -> Result<PullReport> {
        let teller = self.teller();
        let report = interruptible(pull.run(&*teller), AGAIN).await;
        teller.end();
        Ok(report??)
    }

    /// Pulls into object storage.
    async fn deliver(&self, pull: pull::Pull, place: BucketPlace) -> Result<ExitCode> {
        let teller = self.teller();
        let delivered = DeliveredPull {
            pull,
            to: Box::new(place.bucket),
            journal: place.journal,
            parallel: DELIVERIES,
        };
        let report = interruptible(delivered.run(&*teller), AGAIN).await;
        teller.end();
        match report?? {
            Delivered::Pulled(report) => self.tell(&report, &place.url),
            Delivered::AlreadyThere => {
                say(&format!("everything is in {} already", place.url));
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Pulls into a store.
    async fn pull_into(&self, pull: &pull::Pull, data: &Path) -> Result<ExitCode> {
        let report = self.pull(pull).await?;
        let told = self.tell(&report, &pull.folder.display().to_string())?;
        if !report.is_whole() {
            return Ok(told);
        }
        let applied = into::apply(data, self.destination.output_key());
        let applied = interruptible(applied, AGAIN).await??;
        if self.json {
            let event = json!({
                "event": "applied", "put": applied.put, "deleted": applied.deleted, "refused": applied.refused,
            });
            print(&format!("{event}\n"))?;
        }
        match applied.refused {
            0 => Ok(ExitCode::SUCCESS),
            _ => Ok(ExitCode::from(PARTIAL)),
        }
    }

    fn settings(&self) -> Result<PullSettings> {
        Ok(PullSettings {
            parallel_downloads: self.parallel_downloads.get(),
            file_attempts_max: self.file_attempts_max,
            export_secs_max: self.export_secs_max,
            line_bytes_max: self.line_bytes_max.get(),
            count_is_binding: !self.no_count_check,
            type_is_binding: !self.no_type_check,
            page_folders: self.page_folders,
            log: !self.no_log,
            log_status_progress: self.log_status_progress,
            status_url: self.status.clone(),
            deletes_job: !self.no_delete,
            receipt_key: self.receipt_key.key()?.map(Arc::new),
            ..PullSettings::default()
        })
    }

    fn teller(&self) -> Box<dyn Teller> {
        let is_watched = std::io::stderr().is_terminal() && self.reporter != Some(Reporter::Text);
        match (self.json, is_watched) {
            (true, _) => Box::new(Events::default()),
            (false, true) => Box::new(Bars::new()),
            (false, false) => Box::new(Lines::default()),
        }
    }

    fn tell(&self, report: &PullReport, place: &str) -> Result<ExitCode> {
        if self.json {
            print(&table::event(report)?)?;
        } else {
            print(&table::files(report))?;
        }
        say(&table::summary(report, place));
        match report.is_whole() {
            true => Ok(ExitCode::SUCCESS),
            false => {
                say("hint: the server keeps the export: run the same command again to fetch what is missing");
                if report.missing.iter().all(is_attachment) {
                    say(
                        "hint: or once more with --ignore-attachment-errors, which leaves these attachments at the server",
                    );
                }
                Ok(ExitCode::from(PARTIAL))
            }
        }
    }
}

/// Whether what is missing is no file of the manifest.
fn is_attachment(missing: &MissingFile) -> bool {
    missing.name.starts_with("attachment in ")
}
