//! Stores that fail or die at a chosen operation: [`FaultyKv`] and [`FaultyFiles`], both after one [`FaultPlan`].
//!
//! One plan stands for one process. When it dies, every later call of both stores fails and has no effect, as if nobody
//! were there to make it; what a test opens next over the same inner stores is what survived.

use crate::catalog::{Batch, Durability, Kv, Space, Visit};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the operation takes effect.
    DieBefore,
    /// The process dies after it took effect and before it hears so.
    DieAfter,
    /// The process dies in the middle: the first half of the rows of an ingestion are there. What is atomic is not there at all.
    DieHalfway,
    /// The operation fails without effect, and the process lives on.
    FailBefore,
    /// The operation takes effect and is said to have failed, and the process lives on.
    FailAfter,
}

/// Which operations are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Those that change something: batches, ingestions, puts, ends of uploads, deletions and copies of files.
    Change,
    /// Reads of the key-value store, but for the look-ups of ids, which are many and all alike.
    Read,
}

/// The life of one process: at which operation what goes wrong.
#[derive(Debug)]
pub struct FaultPlan {
    state: Mutex<PlanState>,
    dead: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct PlanState {
    changes: u64,
    reads: u64,
    /// Taken when it strikes.
    fault: Option<(Operation, u64, Fault)>,
    struck: bool,
}

/// What an operation is to do.
enum Verdict {
    Go,
    Refuse,
    GoAndFail,
    GoHalfway,
}

impl FaultPlan {
    /// Nothing goes wrong; operations are counted.
    pub fn none() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            dead: watch::Sender::new(false),
        })
    }

    /// Something goes wrong at the `number`-th operation of its kind, from 0.
    pub fn at(operation: Operation, number: u64, fault: Fault) -> Arc<Self> {
        let plan = Self::none();
        plan.lock().fault = Some((operation, number, fault));
        plan
    }

    /// How many operations of a kind there were.
    pub fn count(&self, operation: Operation) -> u64 {
        let state = self.lock();
        match operation {
            Operation::Change => state.changes,
            Operation::Read => state.reads,
        }
    }

    /// Whether what was to go wrong has gone wrong.
    pub fn has_struck(&self) -> bool {
        self.lock().struck
    }

    /// Whether the process is dead.
    pub fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Waits until the process is dead; for ever if it does not die.
    pub async fn died(&self) {
        let died = self.dead.subscribe().wait_for(|dead| *dead).await.map(|_| ());
        died.expect("the sender is borrowed, so it lives");
    }

    fn lock(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, operation: Operation) -> Verdict {
        let mut state = self.lock();
        if self.is_dead() {
            return Verdict::Refuse;
        }
        let counter = match operation {
            Operation::Change => &mut state.changes,
            Operation::Read => &mut state.reads,
        };
        let number = *counter;
        *counter += 1;
        let strikes = state
            .fault
            .take_if(|(of, at, _)| *of == operation && *at == number);
        let Some((_, _, fault)) = strikes else {
            return Verdict::Go;
        };
        state.struck = true;
        let dies = matches!(fault, Fault::DieBefore | Fault::DieAfter | Fault::DieHalfway);
        self.dead.send_replace(dies);
        match fault {
            Fault::DieBefore | Fault::FailBefore => Verdict::Refuse,
            Fault::DieAfter | Fault::FailAfter => Verdict::GoAndFail,
            Fault::DieHalfway => Verdict::GoHalfway,
        }
    }

    /// For an operation that takes place as a whole or not at all.
    fn around<T, E>(
        &self,
        operation: Operation,
        refusal: impl Fn() -> E,
        act: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match self.next(operation) {
            Verdict::Go => act(),
            Verdict::Refuse | Verdict::GoHalfway => Err(refusal()),
            Verdict::GoAndFail => act().and_then(|_| Err(refusal())),
        }
    }

    async fn around_file<T>(
        &self,
        act: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        match self.next(Operation::Change) {
            Verdict::Go => act.await,
            Verdict::Refuse | Verdict::GoHalfway => Err(file_refusal()),
            Verdict::GoAndFail => act.await.and_then(|_| Err(file_refusal())),
        }
    }

    fn check_alive(&self) -> object_store::Result<()> {
        if self.is_dead() {
            Err(file_refusal())
        } else {
            Ok(())
        }
    }
}

fn refusal() -> Error {
    Error::new(ErrorKind::Storage, "the key-value store is made to fail")
}

fn file_refusal() -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultyFiles",
        source: "the files are made to fail".into(),
    }
}

/// A key-value store that goes wrong as planned.
pub struct FaultyKv {
    inner: Arc<dyn Kv>,
    plan: Arc<FaultPlan>,
}

impl FaultyKv {
    /// One process's view of `inner`, which outlives it.
    pub fn new(inner: Arc<dyn Kv>, plan: Arc<FaultPlan>) -> Self {
        Self { inner, plan }
    }

    fn read<T>(&self, space: Space, act: impl FnOnce() -> Result<T>) -> Result<T> {
        if space == Space::Id {
            return if self.plan.is_dead() {
                Err(refusal())
            } else {
                act()
            };
        }
        self.plan.around(Operation::Read, refusal, act)
    }
}

impl Kv for FaultyKv {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(space, || self.inner.get(space, key))
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()> {
        self.read(space, || self.inner.scan(space, from, to, visit))
    }

    fn last_key(&self, space: Space) -> Result<Option<Vec<u8>>> {
        self.read(space, || self.inner.last_key(space))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.plan
            .around(Operation::Change, refusal, || self.inner.write(batch, durability))
    }

    fn ingest(&self, space: Space, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<()> {
        match self.plan.next(Operation::Change) {
            Verdict::Go => self.inner.ingest(space, rows),
            Verdict::Refuse => Err(refusal()),
            Verdict::GoAndFail => self.inner.ingest(space, rows).and_then(|()| Err(refusal())),
            Verdict::GoHalfway => {
                let mut rows: Vec<_> = rows.collect();
                rows.truncate(rows.len() / 2);
                self.inner
                    .ingest(space, &mut rows.into_iter())
                    .and_then(|()| Err(refusal()))
            }
        }
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

/// Files that go wrong as planned.
#[derive(Debug)]
pub struct FaultyFiles {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<FaultPlan>,
}

impl FaultyFiles {
    /// One process's view of `inner`, which outlives it.
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Arc<FaultPlan>) -> Self {
        Self { inner, plan }
    }
}

impl std::fmt::Display for FaultyFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyFiles")
    }
}

#[async_trait]
impl ObjectStore for FaultyFiles {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.plan
            .around_file(self.inner.put_opts(path, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.plan.check_alive()?;
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyUpload {
            inner,
            plan: Arc::clone(&self.plan),
        }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.plan.check_alive()?;
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.plan.check_alive()?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let refused = futures::stream::once(async { Err(file_refusal()) });
        match self.plan.next(Operation::Change) {
            Verdict::Go => self.inner.delete_stream(paths),
            Verdict::Refuse | Verdict::GoHalfway => refused.boxed(),
            Verdict::GoAndFail => self.inner.delete_stream(paths).chain(refused).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.plan.check_alive() {
            Ok(()) => self.inner.list(prefix),
            Err(dead) => futures::stream::once(async { Err(dead) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.plan.check_alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.plan
            .around_file(self.inner.copy_opts(from, to, options))
            .await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<FaultPlan>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.plan.check_alive() {
            Ok(()) => self.inner.put_part(data),
            Err(dead) => futures::future::ready(Err(dead)).boxed(),
        }
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        self.plan.around_file(self.inner.complete()).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.plan.check_alive()?;
        self.inner.abort().await
    }
}
