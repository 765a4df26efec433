//! The memory store against the conformance suite.

use std::sync::Arc;

use fhirhose_jobs::{JobStore, testing};

#[tokio::test]
async fn memory_store_conforms() {
    testing::conformance(async || Arc::new(testing::MemoryJobStore::new()) as Arc<dyn JobStore>).await;
}
