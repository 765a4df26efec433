//! Ends a pull on the disk: the names of the files, `manifest.json` with its receipt, the journal.

use std::collections::{BTreeMap, HashMap};

use fhirhose_fhir::manifest::{CHECKSUM_EXTENSION, LENGTH_EXTENSION};
use serde_json::{Map, Value, json};

use super::journal::Record;
use super::plan::{Page, Plan};
use super::report::{PullReport, PulledFile};
use super::run::{Run, held};
use crate::receipt::{Asked, Delivery, LISTS, clean_request, entry, write_manifest};
use crate::{Error, ErrorKind, Result};

/// The last event of a pull in the log.
const COMPLETE: &str = "export_complete";

impl Run<'_> {
    /// Makes everything last and writes the manifest, which says that the folder is finished and what is missing.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn conclude(&self) -> Result<PullReport> {
        let report = self.report();
        self.folder
            .sync(report.files.iter().map(|file| file.name.clone()))?;
        if self.pull.settings.page_folders {
            self.write_pages(&report)?;
        }
        self.write_manifest(&report)?;
        // Before the record, which keeps the next run from coming here.
        self.log.write(self.now(), COMPLETE, self.summary(&report))?;
        if report.is_whole() {
            held(&self.journal).keep(&Record::Written {
                report: report.clone(),
            })?;
        }
        Ok(report)
    }

    /// Writes into the log how a pull has ended that an earlier run has brought to its end, if a power cut has taken that line away.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn log_end(&self, report: &PullReport) -> Result<()> {
        self.log.write_once(self.now(), COMPLETE, self.summary(report))
    }

    fn summary(&self, report: &PullReport) -> Value {
        json!({
            "files": report.files.len(),
            "resources": report.files.iter().map(|file| file.lines).sum::<u64>(),
            "bytes": report.files.iter().map(|file| file.bytes).sum::<u64>(),
            "attachments": report.attachments.map_or(0, |attachments| attachments.files),
            "duration": self.duration_ms(),
        })
    }

    fn write_manifest(&self, report: &PullReport) -> Result<()> {
        let (mut manifest, entries) = {
            let plan = held(&self.plan);
            let first = plan.pages.first().map(|page| page.json.as_str());
            (object(first.unwrap_or("{}"))?, entries(&plan, report)?)
        };
        let time = report.transaction_time.as_str();
        manifest.insert("transactionTime".to_owned(), time.into());
        let settings = &self.pull.settings;
        // What an export was asked for that was kicked off elsewhere is not known here.
        let is_ours = settings.status_url.is_none();
        let delivery = Delivery {
            manifest: &Value::Object(manifest).to_string(),
            entries: &entries,
            source: Some(self.pull.provider.base()),
            asked: is_ours.then(|| Asked::from(&self.pull.parameters)),
            created_at: self.now(),
            files: &report.files,
            missing: &report.missing,
        };
        write_manifest(self.folder.root(), &delivery, settings.receipt_key.as_deref()).map(|_| ())
    }

    /// Gives the folder of each page a manifest of its own.
    fn write_pages(&self, report: &PullReport) -> Result<()> {
        let plan = held(&self.plan);
        let entries = entries(&plan, report)?;
        let pulled: HashMap<&str, &PulledFile> =
            report.files.iter().map(|file| (&*file.name, file)).collect();
        for (index, page) in plan.pages.iter().enumerate() {
            let mut manifest = object(&page.json)?;
            manifest.remove("link");
            clean_request(&mut manifest);
            for (list, kind) in LISTS {
                if !manifest.contains_key(list) {
                    continue;
                }
                let files = plan
                    .files
                    .iter()
                    .filter(|file| file.page == index && file.kind == kind);
                let files = files.filter_map(|file| pulled.get(&*file.name));
                let local: Vec<Value> = files
                    .map(|file| page_entry(file, index, entries.get(&file.name)))
                    .collect();
                manifest.insert(list.to_owned(), local.into());
            }
            let text = serde_json::to_string_pretty(&Value::Object(manifest)).expect("plain data");
            self.folder
                .put(&format!("{index}/manifest.json"), text.as_bytes())?;
        }
        Ok(())
    }
}

/// The entry of a file in the manifest of its page's folder.
fn page_entry(file: &PulledFile, page: usize, of_server: Option<&Value>) -> Value {
    let prefix = format!("{page}/");
    let mut entry = entry(file, of_server);
    for member in ["url", "continuesInFile"] {
        let within = entry[member].as_str().and_then(|name| name.strip_prefix(&prefix));
        if let Some(within) = within.map(str::to_owned) {
            entry[member] = within.into();
        }
    }
    entry
}

/// What the server says of each file, by its name here; `continuesInFile` names the file here too, and checksum and length are of the file here, whose
/// lines may lead to attachments.
fn entries(plan: &Plan, report: &PullReport) -> Result<BTreeMap<String, Value>> {
    let pulled: HashMap<&str, &PulledFile> = report.files.iter().map(|file| (&*file.name, file)).collect();
    let names: HashMap<&str, &str> = plan.files.iter().map(|file| (&*file.url, &*file.name)).collect();
    let mut entries = BTreeMap::new();
    for page in &plan.pages {
        let manifest = object(&page.json)?;
        let lists = LISTS
            .iter()
            .filter_map(|(list, _)| manifest.get(*list)?.as_array());
        for item in lists.flatten() {
            let Some(name) = named(page, &item["url"], &names) else {
                continue;
            };
            let mut entry = item.clone();
            let next = named(page, &item["continuesInFile"], &names);
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("continuesInFile");
            }
            if let Some(next) = next {
                entry["continuesInFile"] = next.into();
            }
            if let Some(file) = pulled.get(name) {
                let checksum = format!("sha256:{}", file.sha256);
                renew(&mut entry, CHECKSUM_EXTENSION, "valueString", checksum.into());
                renew(&mut entry, LENGTH_EXTENSION, "valueDecimal", file.bytes.into());
            }
            entries.insert(name.to_owned(), entry);
        }
    }
    Ok(entries)
}

/// Gives an entry that has this extension, in an array or in an object by URL, another value.
fn renew(entry: &mut Value, extension: &str, member: &str, value: Value) {
    let found = match entry.get_mut("extension") {
        Some(Value::Array(list)) => list.iter_mut().find(|each| each["url"] == extension),
        Some(Value::Object(by_url)) => by_url.get_mut(extension),
        _ => None,
    };
    if let Some(found) = found.and_then(|found| found.get_mut(member)) {
        *found = value;
    }
}

/// The file here that a URL of a page means.
fn named<'p>(page: &Page, url: &Value, names: &HashMap<&str, &'p str>) -> Option<&'p str> {
    let url = page.url.join(url.as_str()?).ok()?;
    names.get(url.as_str()).copied()
}

fn object(json: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(json)
        .map_err(|source| Error::new(ErrorKind::Protocol, "reading the manifest").caused_by(source))
}
