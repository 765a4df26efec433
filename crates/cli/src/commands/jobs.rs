//! `fhirhose jobs`: looks after the jobs of a running server.

use super::print;
use crate::operator_access::OperatorAccess;
use crate::progress;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use fhirhose_client::{JobAction, Operator};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Lists, shows, pauses, resumes and cancels jobs of a running server
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fhirhose jobs list --data store --state running
  fhirhose jobs list --server https://example.org --token-file token
  fhirhose jobs show 0123456789abcdef0123456789abcdef
  fhirhose jobs pause 0123456789abcdef0123456789abcdef
  fhirhose jobs resume 0123456789abcdef0123456789abcdef --server http://127.0.0.1:9090
  fhirhose jobs cancel 0123456789abcdef0123456789abcdef")]
pub(crate) enum JobsCommand {
    List(List),
    Show(Show),
    Pause(Pause),
    Resume(Resume),
    Cancel(Cancel),
}

/// Where the server is, and how to print.
#[derive(Debug, Args)]
struct Server {
    #[command(flatten)]
    access: OperatorAccess,

    /// Prints the server's JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Lists jobs, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose jobs list
  fhirhose jobs list --state queued --kind export --client 127.0.0.1")]
pub(crate) struct List {
    #[command(flatten)]
    server: Server,

    /// Only those in this state: queued, running, pausing, paused, succeeded, failed or cancelled
    #[arg(long)]
    state: Option<String>,

    /// Only those of this kind: export, import or maintenance
    #[arg(long)]
    kind: Option<String>,

    /// Only those of this client
    #[arg(long)]
    client: Option<String>,

    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "JOBS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

/// Shows a job: state, progress, rate, what is left, types
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose jobs show 0123456789abcdef0123456789abcdef --json")]
pub(crate) struct Show {
    /// The job's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Pauses a job: it stops at its next checkpoint and keeps files, snapshot and progress
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose jobs pause 0123456789abcdef0123456789abcdef")]
pub(crate) struct Pause {
    /// The job's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Lets a paused job go on
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose jobs resume 0123456789abcdef0123456789abcdef")]
pub(crate) struct Resume {
    /// The job's id
    id: String,
    #[command(flatten)]
    server: Server,
}

/// Cancels a job that has not ended; what it wrote goes
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose jobs cancel 0123456789abcdef0123456789abcdef")]
pub(crate) struct Cancel {
    /// The job's id
    id: String,
    #[command(flatten)]
    server: Server,
}

impl JobsCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run().await?,
            Self::Show(Show { id, server }) => {
                let job = server.operator()?.job(&id).await?;
                server.print(&job, job_text)?;
            }
            Self::Pause(Pause { id, server }) => server.act(&id, JobAction::Pause).await?,
            Self::Resume(Resume { id, server }) => server.act(&id, JobAction::Resume).await?,
            Self::Cancel(Cancel { id, server }) => server.act(&id, JobAction::Cancel).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(&self) -> Result<()> {
        let limit = self.limit.to_string();
        let filters = [
            ("state", &self.state),
            ("kind", &self.kind),
            ("client", &self.client),
        ];
        let mut query: Vec<(&str, &str)> = vec![("limit", &limit)];
        query.extend(
            filters
                .iter()
                .filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))),
        );
        let page = self.server.operator()?.jobs(&query).await?;
        self.server.print(&page, list_text)
    }
}

impl Server {
    fn operator(&self) -> Result<Operator> {
        self.access.operator()
    }

    async fn act(&self, id: &str, action: JobAction) -> Result<()> {
        let job = self.operator()?.act(id, action).await?;
        self.print(&job, |job| {
            format!("{}\t{}\n", text(job, "id"), text(job, "state"))
        })
    }

    fn print(&self, body: &[u8], text: impl Fn(&Value) -> String) -> Result<()> {
        let json: Value = serde_json::from_slice(body).context("reading the server's answer")?;
        match self.json {
            true => print(&format!("{json}\n")),
            false => print(&text(&json)),
        }
    }
}

fn list_text(page: &Value) -> String {
    let mut out = String::from("id\tkind\tstate\tclient\tcreated\tprogress\n");
    for job in page["jobs"].as_array().into_iter().flatten() {
        let columns = ["id", "kind", "state", "client", "created"].map(|name| text(job, name));
        let _ = writeln!(out, "{}\t{}", columns.join("\t"), text(&job["progress"], "text"));
    }
    if page["next"].is_string() {
        out.push_str("… and more: use --limit or a filter\n");
    }
    out
}

fn job_text(job: &Value) -> String {
    let mut out = String::new();
    let names = [
        "id", "kind", "state", "client", "created", "started", "finished", "expires",
    ];
    for name in names.iter().filter(|name| job[**name].is_string()) {
        let _ = writeln!(out, "{name}\t{}", text(job, name));
    }
    let _ = writeln!(out, "attempts\t{}", job["attempts"]);
    let _ = writeln!(out, "progress\t{}", text(&job["progress"], "text"));
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (rows, bytes) = (number(&job["rows"]), number(&job["bytes"]));
    if rows > 0 {
        let (rows, bytes) = (progress::count(rows), progress::bytes(bytes));
        let _ = writeln!(out, "so far\t{rows} resources, {bytes}, {} files", job["files"]);
    }
    if let Some(rate) = job["rate"].as_object() {
        let rate = |name: &str| rate.get(name).and_then(Value::as_f64).unwrap_or_default();
        let (rows, bytes) = (rate("rowsPerSecond"), rate("bytesPerSecond") / 1e6);
        let _ = writeln!(out, "rate\t{rows:.0} resources/s, {bytes:.1} MB/s");
    }
    if let Some(secs) = job["estimatedSecondsLeft"].as_u64() {
        let _ = writeln!(out, "left\tabout {secs} s");
    }
    if let Some(failure) = job["failure"]["message"].as_str() {
        let _ = writeln!(out, "failure\t{failure}");
    }
    for line in job["types"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "{}\t{}\t{}", text(line, "type"), line["rows"], line["bytes"]);
    }
    out
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}
