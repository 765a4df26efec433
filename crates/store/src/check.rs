//! Verifies a whole store: every block's checksum, every row's place in the order, every live version's file.

use crate::catalog::RunRecord;
use crate::run::Block;
use crate::scan::RunHandle;
use crate::store::Store;
use crate::{Error, ErrorKind, Result};
use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Run files that were read.
    pub runs: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes of text that were read.
    pub text_bytes: u64,
    /// What is wrong, one sentence each, naming file and block; empty when the store is whole.
    pub problems: Vec<String>,
}

impl Store {
    /// Reads everything and reports what is wrong; goes on after a problem. `progress` hears of rows done.
    ///
    /// # Errors
    /// What reading the catalog gives; damage of run files is in the report, not an error.
    pub async fn check(&self, mut progress: impl FnMut(&CheckReport) + Send) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for record in self.catalog().runs().await? {
            report.runs += 1;
            match self.layout(|run| run.place == record.place).await {
                Ok(handles) => {
                    for handle in handles {
                        self.check_run(&handle, &mut report, &mut progress).await;
                    }
                }
                Err(error) => report.problems.push(chain(&error)),
            }
        }
        Ok(report)
    }

    async fn check_run(
        &self,
        handle: &RunHandle,
        report: &mut CheckReport,
        progress: &mut (impl FnMut(&CheckReport) + Send),
    ) {
        let (mut rows, mut last_key) = (0, Vec::new());
        for at in 0..handle.run.blocks().len() {
            match self.check_block(handle, at, &mut last_key).await {
                Ok((block_rows, text_bytes)) => {
                    rows += block_rows;
                    report.rows += block_rows;
                    report.text_bytes += text_bytes;
                }
                Err(error) => report.problems.push(chain(&error)),
            }
            report.blocks += 1;
            progress(report);
        }
        let record: &RunRecord = &handle.record;
        if rows != record.summary.rows {
            let problem = format!(
                "run {}: {} rows, the catalog has {}",
                record.place, rows, record.summary.rows
            );
            report.problems.push(problem);
        }
    }

    async fn check_block(&self, handle: &RunHandle, at: usize, last_key: &mut Vec<u8>) -> Result<(u64, u64)> {
        let bytes = handle
            .run
            .fetch(&*self.inner.files, &handle.path, at..at + 1)
            .await?;
        let (handle, mut last) = (handle.clone(), std::mem::take(last_key));
        let read = tokio::task::spawn_blocking(move || {
            let own = handle.record.own;
            let mut block = Block::new();
            handle
                .run
                .decode(at, &bytes, (own.sequence, own.instant), &mut block)?;
            let code = handle.run.blocks()[at].resource_type.code();
            for row in 0..block.len() {
                let mut key = vec![code];
                key.extend_from_slice(block.owner_key(row));
                crate::key::push_id(block.id(row), &mut key);
                if key < last {
                    let place = &handle.record.place;
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("run {place}, block {at}: rows out of order"),
                    ));
                }
                last = key;
            }
            Ok((
                block.len() as u64,
                handle.run.blocks()[at].text_bytes.into(),
                last,
            ))
        });
        let read = read
            .await
            .map_err(|panic| Error::new(ErrorKind::Storage, "checking a block").with_source(panic))?;
        let (rows, text_bytes, last) = read?;
        *last_key = last;
        Ok((rows, text_bytes))
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
