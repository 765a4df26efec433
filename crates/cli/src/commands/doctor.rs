//! `fhirhose doctor`: looks how a server does Bulk Data, and what a pull will do about it.

use super::{print, say};
use crate::export_args::group_id;
use crate::failure::usage;
use crate::provider_args::{ProviderArgs, ProviderUrl};
use crate::typed::Typed;
use anyhow::{Context, Result};
use clap::{Args, value_parser};
use fhirhose_client::QuirkProfile;
use fhirhose_client::doctor::{Check, Diagnosis, Doctor, DoctorSettings, Exports, Outlook, Verdict};
use fhirhose_fhir::id::Id;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Looks how a server does Bulk Data, and what a pull will do about it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose doctor https://ehr.example.org/fhir
  fhirhose doctor https://ehr.example.org/fhir --group 42 --client-id me --key key.pem
  fhirhose doctor https://ehr.example.org/fhir --no-export --json
  fhirhose doctor --list-quirks
  fhirhose doctor --show-quirks epic > mine.json

It sends some ten requests, one after the other, with a pause between them: the CapabilityStatement, the
smart-configuration, one token, one export of the Patients that changed within the last second, its status, a file
from its second byte on and once more compressed, DELETE. No wrong token or signature is ever tried.

Exit codes: 0 a pull can work, whatever differs; 1 it cannot.")]
pub(crate) struct DoctorCommand {
    #[command(flatten)]
    typed: Typed,

    #[command(flatten)]
    server: ProviderUrl,

    /// Group to export, by its id, for servers that export Groups only
    #[arg(short = 'g', long, value_name = "ID")]
    group: Option<String>,

    /// Begins no export
    #[arg(long)]
    no_export: bool,

    /// Begins an export even where a client has few, such as one of a Group in a day
    #[arg(long, conflicts_with = "no_export")]
    export: bool,

    /// How often the status of the export is asked at most
    #[arg(long, default_value_t = 12, value_name = "TIMES", value_parser = value_parser!(u32).range(1..=1000))]
    polls_max: u32,

    /// Pause between two requests, in milliseconds
    #[arg(long, default_value_t = 500, value_name = "MILLISECONDS", value_parser = value_parser!(u64).range(..=60_000))]
    pause_millis: u64,

    /// Prints the diagnosis as JSON on stdout
    #[arg(long)]
    json: bool,

    /// Lists the kinds of servers that are known
    #[arg(long, conflicts_with_all = ["show_quirks", "url", "fhir_url", "group", "no_export", "export", "json"])]
    list_quirks: bool,

    /// Prints what is known of a kind of server, as a file that --quirks takes
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "fhir_url", "group", "no_export", "export", "json"])]
    show_quirks: Option<String>,

    #[command(flatten)]
    access: ProviderArgs,
}

impl DoctorCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        if self.list_quirks {
            print(&kinds())?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(name) = &self.show_quirks {
            let profile = QuirkProfile::named(name);
            let profile =
                profile.ok_or_else(|| usage(format!("there are no quirks `{name}` (--list-quirks)")))?;
            let text = serde_json::to_string_pretty(profile).context("writing quirks")?;
            print(&format!("{text}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let diagnosis = self.doctor().await?.examine().await;
        match self.json {
            true => {
                let text = serde_json::to_string_pretty(&diagnosis).context("writing the diagnosis")?;
                print(&format!("{text}\n"))?;
            }
            false => print(&self.told(&diagnosis))?,
        }
        Ok(match diagnosis.outlook {
            Outlook::WillNotWork => ExitCode::FAILURE,
            Outlook::Works | Outlook::WorksWithWorkarounds | Outlook::NotTried => ExitCode::SUCCESS,
        })
    }

    async fn doctor(&self) -> Result<Doctor> {
        let base = self.server.base()?;
        self.access.check(&self.typed)?;
        let http = self.access.http(&base)?;
        let tokens = match self.access.tokens(&http, &base).await {
            Err(error) if error.downcast_ref::<fhirhose_client::Error>().is_some() => {
                // A server that does not say where it gives tokens is a finding, not the end.
                say(&format!("no token can be asked for: {error}"));
                None
            }
            tokens => tokens?,
        };
        Ok(Doctor {
            provider: self.access.speaking(&http, &base, tokens.clone())?,
            tokens,
            profile: self.access.quirks()?,
            settings: DoctorSettings {
                group: self.group()?,
                exports: match (self.no_export, self.export) {
                    (true, _) => Exports::Never,
                    (false, true) => Exports::Always,
                    (false, false) => Exports::WhereCheap,
                },
                pause_millis: self.pause_millis,
                polls_max: self.polls_max,
                ..DoctorSettings::default()
            },
        })
    }

    fn group(&self) -> Result<Option<Id>> {
        self.group.as_deref().map(group_id).transpose()
    }

    fn told(&self, diagnosis: &Diagnosis) -> String {
        let mut text = summary(diagnosis);
        text.push('\n');
        for check in &diagnosis.checks {
            tell(&mut text, check);
        }
        if !diagnosis.known.is_empty() {
            let _ = writeln!(
                text,
                "\nKnown of {} (quirks `{}`):",
                diagnosis.kind, diagnosis.quirks
            );
        }
        for known in &diagnosis.known {
            let mark = if known.has_workaround { '*' } else { '-' };
            let _ = writeln!(text, "  {mark} {}", known.says);
            if let Some(advice) = &known.advice {
                let _ = writeln!(text, "    {advice}");
            }
        }
        if diagnosis.known.iter().any(|known| known.has_workaround) {
            text.push_str("  (* a pull does something about it by itself)\n");
        }
        if diagnosis.outlook != Outlook::WillNotWork {
            let _ = writeln!(
                text,
                "\nTo pull from it:\n  {}",
                self.command_line(&diagnosis.server)
            );
        }
        text
    }

    /// The command for a pull. What was given to come in is not repeated: it may be secret.
    fn command_line(&self, server: &str) -> String {
        let mut line = format!("fhirhose pull {server} --out DIR");
        if let Ok(Some(group)) = self.group() {
            let _ = write!(line, " --group {group}");
        }
        if self.access.has_client() {
            line.push_str(" --client-id ID --key FILE");
        }
        line
    }
}

fn summary(diagnosis: &Diagnosis) -> String {
    let verdict = match diagnosis.outlook {
        Outlook::Works => "a pull works",
        Outlook::WorksWithWorkarounds => "a pull works; some things are done differently for this server",
        Outlook::NotTried => "a pull may work; no export was tried",
        Outlook::WillNotWork => "a pull will not work",
    };
    let mut text = format!("{} ({}): {verdict}\n", diagnosis.server, diagnosis.kind);
    for reason in &diagnosis.reasons {
        let _ = writeln!(text, "  because {reason}");
    }
    text
}

fn tell(text: &mut String, check: &Check) {
    let verdict = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Differs => "differs",
        Verdict::Failed => "FAILED",
        Verdict::NotTried => "not tried",
    };
    let _ = writeln!(
        text,
        "{verdict:<10} {:<5} {:<25} {}",
        check.id, check.title, check.seen
    );
    for (what, words) in [("standard", check.standard), ("pull", check.workaround)] {
        if let Some(words) = words {
            let _ = writeln!(text, "{:<43}{what}: {words}", "");
        }
    }
}

fn kinds() -> String {
    let mut text = String::new();
    for profile in QuirkProfile::known() {
        let _ = writeln!(text, "{:<14} {}: {}", profile.name, profile.title, profile.about);
    }
    text
}
