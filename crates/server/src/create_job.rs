//! Creating a resource as a job, for clients that ask for it with `Prefer: respond-async` (C-01; FHIR R4, asynchronous pattern).
//!
//! The job is durable before the client hears 202. The resource was checked then, and its id is part of the job, so a job that runs
//! twice creates once.

use async_trait::async_trait;
use fhirhose_fhir::line::LineLimits;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, Cleanup, Entropy, Handler, JobContext, JobError, JobId, JobRecord, NewJob};
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotWrite, JobWrite, Origin, Snapshot, Write};
use fhirhose_store::{ErrorKind, Store};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::resource::{Prepared, prepare_line};

/// The kind of these jobs.
pub(crate) const CREATE: &str = "create";

/// What a job creates.
#[derive(Debug, Serialize, Deserialize)]
struct CreateSpec {
    resource_type: ResourceType,
    /// The resource with its id, on one line, without version.
    text: String,
}

/// What a job created.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    pub(crate) version: Snapshot,
}

impl Created {
    /// Reads the result of a job.
    ///
    /// # Errors
    /// 500 for what is none.
    pub(crate) fn parse(result: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(result).map_err(|_| Problem::internal())
    }
}

/// Records the creation of a prepared resource; durable when this returns.
///
/// # Errors
/// What the job store gives.
pub(crate) async fn submit_create(
    store: &Store,
    prepared: Prepared,
    client: &str,
    entropy: &dyn Entropy,
) -> Result<JobId, Problem> {
    let spec = CreateSpec {
        resource_type: prepared.resource_type,
        // A checked line is UTF-8.
        text: String::from_utf8(prepared.body.body).map_err(|_| Problem::internal())?,
    };
    let id = JobId::random(entropy);
    let job = NewJob {
        id,
        kind: CREATE.to_owned(),
        spec: serde_json::to_vec(&spec).map_err(|_| Problem::internal())?,
        owner: client.to_owned(),
        created: store.clock().now(),
    };
    store.catalog().create(job).await?;
    Ok(id)
}

/// Runs creations.
pub(crate) struct CreateHandler {
    pub(crate) store: Store,
}

#[async_trait]
impl Handler for CreateHandler {
    fn kind(&self) -> &'static str {
        CREATE
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let spec: CreateSpec = serde_json::from_slice(&context.record().spec)
            .map_err(|source| JobError::failed("invalid-spec", &source))?;
        // It was checked when it was taken, whatever the limits were then: these are the widest that there are.
        let limits = LineLimits {
            line_bytes_max: usize::MAX,
            depth_max: 10_000,
        };
        let prepared = prepare_line(limits, spec.text.as_bytes(), spec.resource_type)
            .map_err(|refusal| JobError::failed("invalid-spec", &refusal))?;
        let id = prepared.id.clone();
        let version = self.commit(context, prepared).await?;
        let created = Created {
            resource_type: spec.resource_type,
            id,
            version,
        };
        serde_json::to_vec(&created).map_err(|source| JobError::failed("storage", &source))
    }

    async fn clean(&self, _job: &JobRecord) -> Result<Cleanup, JobError> {
        Ok(Cleanup::Done)
    }
}

impl CreateHandler {
    async fn commit(&self, context: &JobContext, prepared: Prepared) -> Result<Snapshot, JobError> {
        let (resource_type, id) = (prepared.resource_type, prepared.id.clone());
        let commit = Commit {
            write: Write::Hot(vec![HotWrite {
                resource_type,
                id: id.clone(),
                expect: Expect::Absent,
                action: HotAction::Put(prepared.body),
            }]),
            job: Some(JobWrite {
                lease: *context.lease(),
                checkpoint: Box::new(|_| Checkpoint::new()),
            }),
            origin: Origin {
                job: context.record().id.to_string(),
                ..Origin::default()
            },
        };
        match self.store.catalog().commit(commit).await {
            Ok(committed) => Ok(committed.snapshot),
            // The id is the job's own: the resource is there because the job got so far before.
            Err(error) if error.kind() == ErrorKind::Conflict => self.first_version(resource_type, &id).await,
            Err(error) => Err(fhirhose_bulk::Error::from(error).into()),
        }
    }

    async fn first_version(&self, resource_type: ResourceType, id: &str) -> Result<Snapshot, JobError> {
        let failed = |error| JobError::from(fhirhose_bulk::Error::from(error));
        let catalog = self.store.catalog();
        let newest = catalog.newest(&[(resource_type, id)]).await.map_err(failed)?;
        let sequence = newest.into_iter().flatten().map(|newest| newest.sequence).next();
        let sequence = sequence.unwrap_or_default();
        let instant = catalog.instant_of(sequence).await.map_err(failed)?;
        let instant = instant.unwrap_or(fhirhose_fhir::instant::Instant::MIN);
        Ok(Snapshot { sequence, instant })
    }
}
