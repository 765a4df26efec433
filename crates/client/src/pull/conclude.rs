//! Ends a pull on the disk: the names of the files, `manifest.json`, the journal.

use serde_json::{Map, Value, json};

use super::journal::Record;
use super::plan::Plan;
use super::report::{FileKind, PullReport};
use super::run::{Run, held};
use crate::{Error, ErrorKind, Result};

impl Run<'_> {
    /// Makes everything last and writes the manifest, which says that the folder is finished.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn conclude(&self) -> Result<PullReport> {
        let report = self.report();
        self.folder
            .sync(report.files.iter().map(|file| file.name.clone()))?;
        self.write_manifest(&report)?;
        if report.is_whole() {
            held(&self.journal).keep(&Record::Written {
                report: report.clone(),
            })?;
        }
        let detail = json!({
            "files": report.files.len(),
            "resources": report.files.iter().map(|file| file.lines).sum::<u64>(),
            "bytes": report.files.iter().map(|file| file.bytes).sum::<u64>(),
            "attachments": 0,
            "duration": self.duration_ms(),
        });
        self.log.write(self.now(), "export_complete", detail)?;
        Ok(report)
    }

    fn write_manifest(&self, report: &PullReport) -> Result<()> {
        let plan = held(&self.plan);
        let mut manifest = first_page(&plan)?;
        manifest.remove("link");
        let outcomes = if manifest.contains_key("outcome") {
            "outcome"
        } else {
            "error"
        };
        for (list, kind) in [
            ("output", FileKind::Output),
            ("deleted", FileKind::Deleted),
            (outcomes, FileKind::Error),
        ] {
            let files = report.files.iter().filter(|file| file.kind == kind);
            let entries: Vec<Value> = files
                .map(|file| {
                    let mut entry = json!({ "url": file.name, "count": file.lines, "fileSize": file.bytes });
                    if let Some(resource_type) = &file.resource_type {
                        entry["type"] = json!(resource_type);
                    }
                    entry
                })
                .collect();
            manifest.insert(list.to_owned(), entries.into());
        }
        let text = serde_json::to_string_pretty(&Value::Object(manifest)).expect("plain data");
        self.folder.put("manifest.json", text.as_bytes())
    }
}

fn first_page(plan: &Plan) -> Result<Map<String, Value>> {
    let page = plan.pages.first().map(|page| page.json.as_str());
    serde_json::from_str(page.unwrap_or("{}"))
        .map_err(|source| Error::new(ErrorKind::Protocol, "reading the manifest").caused_by(source))
}
