//! The key that signs the server's tokens: a record, so that tokens count after a restart and on every node.

use std::error::Error as StdError;

use fhirhose_auth::SigningKey;
use fhirhose_store::Store;
use fhirhose_store::catalog::{RecordExpect, RecordKind};

use super::smart::TOKEN_ALGORITHM;
use crate::{Error, ErrorKind, Result};

/// The record's name.
const NAME: &[u8] = b"token-signing";

/// Reads the key, or makes it.
///
/// # Errors
/// [`ErrorKind::Authority`] when the store does not answer, or the record holds no key.
pub(super) async fn key(store: &Store) -> Result<SigningKey> {
    if let Some(key) = read(store).await? {
        return Ok(key);
    }
    let made = SigningKey::generate(TOKEN_ALGORITHM)
        .map_err(|source| failed("making the key that signs tokens", source))?;
    let text = made.private_jwk().to_string();
    let kept = store
        .catalog()
        .put_record(RecordKind::Key, NAME, text.as_bytes(), RecordExpect::Absent)
        .await;
    if kept.map_err(|source| failed("keeping the key that signs tokens", source))? {
        return Ok(made);
    }
    // Another process was faster.
    let other = read(store).await?;
    other.ok_or_else(|| Error::new(ErrorKind::Authority, "the key that signs tokens comes and goes"))
}

async fn read(store: &Store) -> Result<Option<SigningKey>> {
    let reading = "reading the key that signs tokens";
    let record = store.catalog().record(RecordKind::Key, NAME).await;
    let record = record.map_err(|source| failed(reading, source))?;
    let read = record.map(|text| SigningKey::from_jwk(&text)).transpose();
    read.map_err(|source| failed(reading, source))
}

/// Makes an error of this crate that says what was being done.
pub(super) fn failed(what: &'static str, source: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Authority, what).caused_by(source)
}
