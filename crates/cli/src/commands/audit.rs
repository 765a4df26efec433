//! `fhirhose audit`: proves the audit trail, and shows it.

use super::{print, say};
use crate::progress;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use fhirhose_fhir::instant::Instant;
use fhirhose_server::audit::{AuditFiles, AuditReport, ChainHead, FolderFiles, in_order, read_head, verify};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// So often the list of files is taken again when the server begins a new one meanwhile.
const TRIES: u32 = 3;

/// Proves the audit trail, and shows it
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Verify(Verify),
    Show(Show),
}

/// Proves that no line of the audit trail is missing or was changed
///
/// Reads files only, so a server may run meanwhile. Prints a line for each problem; exit code 1 if there is one. Whether the newest
/// lines were cut off shows against the head that the server keeps, or better against one that an earlier run has printed and that was
/// noted elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose audit verify --data store
  fhirhose audit verify --data store --head 1234:5f1c…
  fhirhose audit verify copied/audit-000000000001.ndjson copied/audit.ndjson")]
pub(crate) struct Verify {
    /// Data folder
    #[arg(
        long,
        env = "FHIRHOSE_DATA",
        value_name = "DIR",
        required_unless_present = "files"
    )]
    data: Option<PathBuf>,

    /// Files of a trail that lie elsewhere, oldest first
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A line that must be there, as an earlier run has printed it
    #[arg(long, env = "FHIRHOSE_AUDIT_HEAD", value_name = "NUMBER:HASH")]
    head: Option<ChainHead>,

    /// Prints the report as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Shows the audit trail as a table
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  fhirhose audit show --data store --client reports --since 2026-11-21T00:00:00Z"
)]
pub(crate) struct Show {
    /// Data folder
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Only what this client did
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// Only what was recorded at this instant or later
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<Instant>,
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse(text).map_err(|error| error.to_string())
}

impl AuditCommand {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Verify(verify) => verify.run(),
            Self::Show(show) => show.run(),
        }
    }
}

impl Verify {
    fn run(self) -> Result<ExitCode> {
        let report = match (&self.data, self.files.as_slice()) {
            (Some(data), []) => self.verify_folder(&data.join("audit"))?,
            (_, files) => self.verify_files(files)?,
        };
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&report)?))?;
        } else {
            print(&text(&report))?;
        }
        let verdict = if report.is_whole() { "whole" } else { "DAMAGED" };
        say(&format!(
            "{} lines, {} open: {verdict}; the head is {}",
            progress::count(report.lines),
            report.open.len(),
            report.head
        ));
        Ok(if report.is_whole() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn verify_folder(&self, folder: &Path) -> Result<AuditReport> {
        let files = trail(folder)?;
        for _ in 0..TRIES {
            // The head first: it may grow meanwhile, and so may the files, but none of them ever knows less.
            let kept = read_head(&files).context("reading the head of the audit trail")?;
            let names = in_order(files.list().context("listing the audit trail")?);
            let heads: Vec<ChainHead> = kept.into_iter().chain(self.head).collect();
            let report = verify(&files, &names, &heads).context("reading the audit trail")?;
            if names == in_order(files.list().context("listing the audit trail")?) {
                return Ok(report);
            }
        }
        bail!("the server begins new files faster than they can be read; try again")
    }

    fn verify_files(&self, paths: &[PathBuf]) -> Result<AuditReport> {
        let mut names = Vec::new();
        for path in paths {
            let path = std::path::absolute(path)?;
            names.push(path.to_string_lossy().into_owned());
        }
        // Absolute names leave any folder that they are joined to.
        let heads: Vec<ChainHead> = self.head.into_iter().collect();
        verify(&FolderFiles::at(Path::new("/")), &names, &heads).context("reading the files")
    }
}

fn text(report: &AuditReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        match (problem.file.as_str(), problem.line) {
            ("", _) => text.push_str(&format!("{}\n", problem.text)),
            (file, line) => text.push_str(&format!("{file}:{line}: {}\n", problem.text)),
        }
    }
    if report.further_problems > 0 {
        text.push_str(&format!("{} further problems\n", report.further_problems));
    }
    for number in &report.open {
        text.push_str(&format!("line {number} is open: under way, or left by a crash\n"));
    }
    text
}

impl Show {
    fn run(self) -> Result<ExitCode> {
        let files = trail(&self.data.join("audit"))?;
        print(&format!(
            "{:>8}  {:27}  {:6}  {:16}  {:1}  {:20}  ABOUT\n",
            "NUMBER", "RECORDED", "PHASE", "EVENT", "O", "CLIENT"
        ))?;
        for name in in_order(files.list().context("listing the audit trail")?) {
            let file = files
                .read_from(&name, 0)
                .with_context(|| format!("opening {name}"))?;
            for line in BufReader::new(file).lines() {
                let line = line.with_context(|| format!("reading {name}"))?;
                if let Some(row) = serde_json::from_str(&line)
                    .ok()
                    .and_then(|event| self.row(&event))
                {
                    print(&row)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Makes a row of an event that is wanted. What is not as expected stays empty: `verify` tells of it.
    fn row(&self, event: &Value) -> Option<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let recorded = text(&event["recorded"]);
        if let Some(since) = self.since
            && Instant::parse(&recorded).is_ok_and(|recorded| recorded < since)
        {
            return None;
        }
        let agents = event["agent"].as_array().into_iter().flatten();
        let asked = agents.clone().find(|agent| agent["requestor"] == true);
        let client = asked.map_or_else(String::new, |agent| text(&agent["who"]["identifier"]["value"]));
        if self.client.as_ref().is_some_and(|wanted| *wanted != client) {
            return None;
        }
        let parts = || {
            let extensions = event["extension"].as_array().into_iter().flatten();
            extensions.flat_map(|each| each["extension"].as_array().into_iter().flatten())
        };
        let number = parts().find(|part| part["url"] == "number");
        let phase = parts().find(|part| part["url"] == "phase");
        let codes = event["subtype"].as_array().into_iter().flatten();
        let code = codes.last().map(|code| text(&code["code"])).unwrap_or_default();
        Some(format!(
            "{:>8}  {:27}  {:6}  {:16}  {:1}  {:20}  {}\n",
            number
                .map(|part| part["valueDecimal"].to_string())
                .unwrap_or_default(),
            recorded,
            phase.map(|part| text(&part["valueCode"])).unwrap_or_default(),
            code,
            text(&event["outcome"]),
            client,
            about(event)
        ))
    }
}

/// What an event is about, and how it went.
fn about(event: &Value) -> String {
    let mut about = Vec::new();
    for entity in event["entity"].as_array().into_iter().flatten() {
        let what = &entity["what"];
        let name = what["reference"]
            .as_str()
            .or_else(|| what["identifier"]["value"].as_str());
        about.extend(name.map(str::to_owned));
        for detail in entity["detail"].as_array().into_iter().flatten() {
            let part = |name: &str| detail[name].as_str().unwrap_or_default();
            about.push(format!("{}={}", part("type"), part("valueString")));
        }
    }
    about.extend(event["outcomeDesc"].as_str().map(|text| format!("({text})")));
    about.join(" ")
}

fn trail(folder: &Path) -> Result<FolderFiles> {
    if !folder.is_dir() {
        bail!("there is no audit trail at {}", folder.display());
    }
    Ok(FolderFiles::at(folder))
}
