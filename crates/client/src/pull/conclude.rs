//! Ends a pull on the disk: the names of the files, `manifest.json`, the journal.

use std::collections::BTreeMap;

use serde_json::json;

use super::journal::Record;
use super::report::PullReport;
use super::run::{Run, held};
use crate::Result;
use crate::receipt::{Asked, Delivery, write_manifest};

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

    /// The server's manifest with the names of the files, and the receipt.
    fn write_manifest(&self, report: &PullReport) -> Result<()> {
        let plan = held(&self.plan);
        let page = plan.pages.first().map(|page| page.json.as_str());
        let settings = &self.pull.settings;
        // What an export was asked for that was kicked off elsewhere is not known here.
        let asked = settings
            .status_url
            .is_none()
            .then(|| Asked::from(&self.pull.parameters));
        let delivery = Delivery {
            manifest: page.unwrap_or("{}"),
            entries: &BTreeMap::new(),
            source: Some(self.pull.provider.base()),
            asked,
            created_at: self.now(),
            files: &report.files,
            missing: &report.missing,
        };
        write_manifest(&self.pull.folder, &delivery, settings.receipt_key.as_deref())?;
        Ok(())
    }
}
