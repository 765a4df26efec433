//! `fhirhose reconcile`: compares two sides, and makes one like the other on request.

use super::{interruptible, print, say};
use crate::failure::{PARTIAL, usage};
use crate::progress::count;
use crate::provider_args::{OtherProviderArgs, ProviderArgs, is_url};
use crate::typed::Typed;
use crate::workspace;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use fhirhose_bulk::reconcile::{
    Difference, Differences, FolderLimits, FolderSide, Found, ReconcileSide, Repair, RepairReport,
    ServerSide, StoreSide, TypeReport, compare_type, types_of,
};
use fhirhose_bulk::sync::both::{FhirPeer, Pair, Side};
use fhirhose_client::pull::{Pull, PullSettings, Quiet};
use fhirhose_client::{DataProvider, ExportParameters};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::OpenMode;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Compares two sides, and repairs one by the other on request
///
/// A side is a FHIR server's base URL, a data folder as store:DIR, or a folder of NDJSON such as a pull leaves it. Types are compared by
/// their counts, then by trees of hashes, which are descended only where they differ; servers without such trees are exported whole for
/// it. What servers set in meta (version, time, source) does not count. Exit code 0 when both hold the same, 3 when not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fhirhose reconcile https://ehr.example.org/fhir store:replica
  fhirhose reconcile files http://127.0.0.1:8080/fhir --type Patient,Observation --repair a-to-b")]
pub(crate) struct Reconcile {
    #[command(flatten)]
    typed: Typed,

    /// The first side: URL, store:DIR, or DIR
    #[arg(value_name = "A")]
    a: String,

    /// The second side
    #[arg(value_name = "B")]
    b: String,

    /// Only these types
    #[arg(
        short = 't',
        long = "type",
        alias = "_type",
        value_name = "TYPE,…",
        value_delimiter = ','
    )]
    types: Vec<String>,

    /// Writes what differs from one side to the other, which must be a server
    #[arg(long, value_name = "DIRECTION")]
    repair: Option<Direction>,

    /// Deletes, too, what only the repaired side has
    #[arg(long, requires = "repair")]
    repair_deletes: bool,

    /// Writes a line of JSON for each resource that differs into this file; it holds ids
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,

    /// Prints the report as JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    access: ProviderArgs,

    #[command(flatten)]
    other: OtherProviderArgs,
}

/// Which side is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// The first.
    AToB,
    /// The second.
    BToA,
}

/// A side that is open, with what it was fetched into.
struct Opened {
    side: Box<dyn ReconcileSide>,
    provider: Option<DataProvider>,
    /// Lines that are no whole resources or tell of errors of the export: what they are about is not known.
    unusable_lines: u64,
    /// Held as long as the side is read.
    _fetched: Option<Fetched>,
}

/// A folder that goes when nobody needs it.
struct Fetched(PathBuf);

impl Fetched {
    /// Makes a folder that was not there: what somebody else has left, or made there, is not taken for ours.
    fn new() -> Result<Self> {
        let root = std::env::temp_dir();
        for number in 0..1_000 {
            let path = root.join(format!("fhirhose-reconcile-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made.with_context(|| format!("making {}", path.display()))?,
            }
        }
        anyhow::bail!("no name is free in {}", root.display())
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // What is left is in the system's temporary folder, readable by its owner only.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lists what differs, and hands it on.
struct Listed<'a> {
    file: Option<File>,
    repair: Option<Repair<'a>>,
}

impl Reconcile {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let types = self.types()?;
        self.check()?;
        // What was fetched to be compared goes, however this ends.
        let again = "run the same command again, which begins anew";
        interruptible(self.compare(types), again).await?
    }

    /// Refuses flags that are for servers where there are none.
    fn check(&self) -> Result<()> {
        let other = &OtherProviderArgs::FLAGS;
        let servers = [&self.a, &self.b].iter().filter(|side| is_url(side)).count();
        match servers {
            0 => {
                let why = "is for a side that is a server";
                self.typed.refuse(&ProviderArgs::IDENTITY, why)?;
                self.typed.refuse(&ProviderArgs::CONNECTION, why)?;
                self.typed.refuse(other, why)?;
            }
            1 => {
                let why = "is for a second server; the plain flags are for the one that there is";
                self.typed.refuse(other, why)?;
            }
            _ => self.other.check(&self.typed)?,
        }
        self.access.check(&self.typed)
    }

    /// How the sides that are servers are spoken to. The plain flags are for the first server, whichever side that is.
    fn access(&self) -> Pair<ProviderArgs> {
        let first = self.access.clone();
        let second = match is_url(&self.a) {
            true => self.access.of_other(&self.other),
            false => self.access.clone(),
        };
        let (source, target) = match self.repair {
            None => (first, second),
            Some(Direction::AToB) => (first, second.for_writing()),
            Some(Direction::BToA) => (first.for_writing(), second),
        };
        Pair { source, target }
    }

    async fn compare(&self, types: Vec<ResourceType>) -> Result<ExitCode> {
        let access = self.access();
        let a = self.open(&self.a, &types, &access.source).await?;
        let b = self.open(&self.b, &types, &access.target).await?;
        let sides = Pair {
            source: &*a.side,
            target: &*b.side,
        };
        let types = match types.is_empty() {
            true => types_of(&[sides.source, sides.target]).await?,
            false => types,
        };
        let mut listed = Listed {
            file: self.list.as_deref().map(list_file).transpose()?,
            repair: self.repair(&a, &b)?,
        };
        let mut reports = BTreeMap::new();
        for resource_type in types {
            let report = Box::pin(compare_type(sides, resource_type, &mut listed)).await?;
            if report != TypeReport::default() {
                reports.insert(resource_type, report);
            }
        }
        let repaired = listed.repair.map(|repair| repair.report);
        self.tell(sides, &reports, repaired)?;
        let is_equal = reports.values().all(TypeReport::is_equal);
        let is_done = match repaired {
            Some(repaired) => repaired.is_whole(),
            None => is_equal,
        };
        Ok(match is_done {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(PARTIAL),
        })
    }

    fn types(&self) -> Result<Vec<ResourceType>> {
        let known = |name: &String| {
            ResourceType::parse(name)
                .ok_or_else(|| usage(format!("--type: {name} is no resource type of FHIR R4")))
        };
        self.types.iter().map(known).collect()
    }

    async fn open(&self, what: &str, types: &[ResourceType], access: &ProviderArgs) -> Result<Opened> {
        if let Some(folder) = what.strip_prefix("store:") {
            let store = workspace::open(Path::new(folder), OpenMode::Existing, "reconcile", None).await?;
            return Ok(Opened {
                side: Box::new(StoreSide::new(store, what.to_owned()).await?),
                provider: None,
                unusable_lines: 0,
                _fetched: None,
            });
        }
        if is_url(what) {
            return Box::pin(server(what, types, access)).await;
        }
        let side = folder(PathBuf::from(what)).await?;
        Ok(Opened {
            unusable_lines: side.unusable_lines(),
            side: Box::new(side),
            provider: None,
            _fetched: None,
        })
    }

    fn repair<'a>(&self, a: &'a Opened, b: &'a Opened) -> Result<Option<Repair<'a>>> {
        let Some(direction) = self.repair else {
            return Ok(None);
        };
        let (from, from_side, to) = match direction {
            Direction::AToB => (a, Side::Source, b),
            Direction::BToA => (b, Side::Target, a),
        };
        let provider = to.provider.clone().ok_or_else(|| {
            usage("--repair writes to a server; a folder is pulled or loaded anew, or served by `fhirhose serve`")
        })?;
        if self.repair_deletes && from.unusable_lines > 0 {
            let lines = count(from.unusable_lines);
            anyhow::bail!(
                "{lines} lines are no whole resources or tell of errors of the export: what they are about would be deleted; leave \
                 --repair-deletes out"
            );
        }
        let parameters = ExportParameters::new(ExportLevel::System);
        Ok(Some(Repair {
            from: &*from.side,
            from_side,
            to: Arc::new(FhirPeer::new(provider, parameters, PullSettings::default())),
            deletes: self.repair_deletes,
            report: RepairReport::default(),
        }))
    }

    fn tell(
        &self,
        sides: Pair<&dyn ReconcileSide>,
        reports: &BTreeMap<ResourceType, TypeReport>,
        repaired: Option<RepairReport>,
    ) -> Result<()> {
        let is_equal = reports.values().all(TypeReport::is_equal);
        if self.json {
            let side = |side: &dyn ReconcileSide| json!({ "name": side.name(), "isFetchedWhole": side.is_fetched_whole() });
            let report = json!({
                "a": side(sides.source),
                "b": side(sides.target),
                "isEqual": is_equal,
                "types": reports,
                "repaired": repaired,
            });
            return print(&format!("{report}\n"));
        }
        let mut text = String::new();
        for (resource_type, report) in reports {
            let verdict = match report.is_equal() {
                true => "equal".to_owned(),
                false => format!(
                    "missing in A {}, missing in B {}, different {}",
                    count(report.missing_in_a),
                    count(report.missing_in_b),
                    count(report.different)
                ),
            };
            let (in_a, in_b) = (count(report.in_a), count(report.in_b));
            text.push_str(&format!("{resource_type}: A {in_a}, B {in_b}: {verdict}\n"));
        }
        print(&text)?;
        if let Some(repaired) = repaired {
            let RepairReport {
                written,
                deleted,
                left,
                behind,
                refused,
            } = repaired;
            say(&format!(
                "repaired: {written} written, {deleted} deleted; {left} left for want of --repair-deletes, {behind} changed meanwhile, \
                 {refused} refused"
            ));
        }
        say(match (is_equal, repaired) {
            (true, _) => "both sides hold the same",
            (false, Some(repaired)) if repaired.is_whole() => {
                "the sides differed; every difference was repaired"
            }
            (false, _) => "the sides differ",
        });
        Ok(())
    }
}

/// Opens a server: by its own trees, else by an export of all that is compared.
async fn server(base: &str, types: &[ResourceType], access: &ProviderArgs) -> Result<Opened> {
    let provider = Box::pin(access.provider(base)).await?;
    // Of a type that is compared anyway: the token need not reach any other.
    let probe = types.first().copied().unwrap_or(ResourceType::PATIENT);
    if let Some(side) = ServerSide::new(provider.clone(), probe).await? {
        return Ok(Opened {
            side: Box::new(side),
            provider: Some(provider),
            unusable_lines: 0,
            _fetched: None,
        });
    }
    say(&format!(
        "{base} has no trees of hashes: it is exported whole to be compared"
    ));
    let fetched = Fetched::new()?;
    let mut parameters = ExportParameters::new(ExportLevel::System);
    parameters.types = types.iter().map(|each| each.name().to_owned()).collect();
    let pull = Pull {
        provider: provider.clone(),
        parameters,
        folder: fetched.0.clone(),
        settings: PullSettings::default(),
    };
    let report = Box::pin(pull.run(&Quiet)).await?;
    if !report.is_whole() {
        anyhow::bail!("{} files of {base} could not be had", report.missing.len());
    }
    let side = match report.files.is_empty() {
        true => FolderSide::default(),
        false => folder(fetched.0.clone()).await?,
    };
    Ok(Opened {
        unusable_lines: side.unusable_lines(),
        side: Box::new(side.fetched_from(base)),
        provider: Some(provider),
        _fetched: Some(fetched),
    })
}

async fn folder(path: PathBuf) -> Result<FolderSide> {
    let side =
        tokio::task::spawn_blocking(move || FolderSide::open(&path, FolderLimits::default())).await??;
    if side.unusable_lines() > 0 {
        say(&format!(
            "{} lines are no whole resources, or tell of errors of the export: what they are about was left out",
            count(side.unusable_lines())
        ));
    }
    Ok(side)
}

fn list_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("making {}", path.display()))
}

#[async_trait::async_trait]
impl Differences for Listed<'_> {
    async fn hear(&mut self, resource_type: ResourceType, found: &Found) -> fhirhose_bulk::Result<()> {
        if let Some(file) = &mut self.file {
            let mut text = String::new();
            for (id, contents) in found {
                let line = json!({ "type": resource_type, "id": id, "difference": Difference::of(contents) });
                text.push_str(&format!("{line}\n"));
            }
            let written = file.write_all(text.as_bytes());
            written.map_err(|source| fhirhose_bulk::Error::io("writing the list of differences", source))?;
        }
        match &mut self.repair {
            Some(repair) => repair.hear(resource_type, found).await,
            None => Ok(()),
        }
    }
}
