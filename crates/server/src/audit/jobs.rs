//! Tells of the ends of jobs: [`Audited`] runs a handler and says what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_bulk::export::{EXPORT, ExportResult, ResultFile};
use fhirhose_bulk::import::{IMPORT, ImportResult};
use fhirhose_jobs::{Cleanup, Failure, Handler, JobContext, JobError, JobRecord};
use hyper::StatusCode;

use super::act::Act;
use super::record::Audit;
use super::shape::{Told, Who};
use crate::problem::Problem;

/// How long a job waits whose end cannot be told.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs another handler, tells of the end of each job, and of what is gone when it is cleaned.
pub(crate) struct Audited<H> {
    pub(crate) handler: H,
    pub(crate) audit: Audit,
}

#[async_trait]
impl<H: Handler> Handler for Audited<H> {
    fn kind(&self) -> &'static str {
        self.handler.kind()
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let ended = self.handler.run(context).await;
        let mut told = about(Act::JobEnd, context.record());
        match &ended {
            Ok(result) => told.details.extend(totals(self.kind(), result)),
            Err(JobError::Failed(failure)) => {
                told.status = StatusCode::INTERNAL_SERVER_ERROR;
                told.text = Some(format!("the job failed: {}", failure.code));
            }
            // It goes on later, here or elsewhere.
            Err(_) => return ended,
        }
        self.audit.record(&told).await.map_err(put_off)?;
        ended
    }

    async fn give_up(&self, job: &JobRecord, failure: &Failure) -> Result<(), JobError> {
        self.handler.give_up(job, failure).await?;
        let mut told = about(Act::JobEnd, job);
        told.status = StatusCode::INTERNAL_SERVER_ERROR;
        told.text = Some(format!("the job failed: {}", failure.code));
        self.audit.record(&told).await.map_err(put_off)
    }

    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        let cleaned = self.handler.clean(job).await?;
        if cleaned == Cleanup::Done {
            let told = about(Act::JobExpiry, job);
            self.audit.record(&told).await.map_err(put_off)?;
        }
        Ok(cleaned)
    }
}

fn about(act: Act, job: &JobRecord) -> Told {
    let told = Told::new(act, Who::owner(&job.owner)).of_job(job.id);
    let told = told.with("kind", &job.kind);
    match act {
        Act::JobExpiry => told.with("state", format!("{:?}", job.state).to_lowercase()),
        _ => told,
    }
}

/// Sums up what a job came to.
fn totals(kind: &str, result: &[u8]) -> Vec<(&'static str, String)> {
    if kind == IMPORT {
        let Ok(result) = ImportResult::parse(result) else {
            return Vec::new();
        };
        let types: Vec<&str> = result
            .types
            .iter()
            .map(|taken| taken.resource_type.name())
            .collect();
        return vec![
            ("bytes", result.text_bytes.to_string()),
            ("types", types.join(",")),
        ];
    }
    let Some(result) = (kind == EXPORT)
        .then(|| ExportResult::parse(result).ok())
        .flatten()
    else {
        return Vec::new();
    };
    let types: BTreeSet<&str> = result
        .files
        .iter()
        .filter_map(|file| file.resource_type.as_deref())
        .collect();
    let sum = |of: fn(&ResultFile) -> u64| result.files.iter().map(of).sum::<u64>().to_string();
    vec![
        ("files", result.files.len().to_string()),
        ("resources", sum(|file| file.count)),
        ("bytes", sum(|file| file.bytes)),
        ("types", types.into_iter().collect::<Vec<_>>().join(",")),
    ]
}

/// A job whose end cannot be told has not ended: it is run again from its last checkpoint.
fn put_off(_: Problem) -> JobError {
    JobError::Retry {
        after: PAUSE,
        cause: Failure::new("audit", "the audit trail cannot be written"),
    }
}
