//! The seal of cursors: a keyed hash, by which only what this server gave to this client is taken back.
//!
//! The key is a record of the store, made at random when the first cursor is, so that cursors outlive a restart and hold on every
//! node.

use fhirhose_jobs::Entropy;
use fhirhose_store::Store;
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use ring::hmac;

use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;

/// The name of the key's record.
const KEY_NAME: &[u8] = b"cursors";

/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// Seals the cursors of one client.
pub(crate) struct Seal<'a> {
    key: &'a hmac::Key,
    holder: &'a str,
}

impl<'a> Seal<'a> {
    /// Makes the seal of cursors that a request gives out and takes back.
    ///
    /// # Errors
    /// What the store gives when the key is read first.
    pub(crate) async fn of(app: &'a App, rights: &'a Rights) -> Result<Self, Problem> {
        let key = app.cursor_key.get_or_try_init(|| key(&app.store, &*app.entropy));
        Ok(Self {
            key: key.await?,
            holder: rights.holder(),
        })
    }

    /// Hashes a text of a search, which is named by its path and query.
    pub(super) fn hash(&self, search: &str, text: &str) -> Vec<u8> {
        hmac::sign(self.key, self.sealed(search, text).as_bytes())
            .as_ref()
            .to_vec()
    }

    /// Whether a hash is that of a text, in a time that does not tell by how much it is not.
    pub(super) fn holds(&self, search: &str, text: &str, hash: &[u8]) -> bool {
        hmac::verify(self.key, self.sealed(search, text).as_bytes(), hash).is_ok()
    }

    /// No client's id and no cursor has a line end, so one text stands for one client, search and cursor.
    fn sealed(&self, search: &str, text: &str) -> String {
        [self.holder, "\n", search, "\n", text].concat()
    }
}

/// Reads the key, or makes it; of two nodes that make it at a time one is taken.
async fn key(store: &Store, entropy: &dyn Entropy) -> Result<hmac::Key, Problem> {
    let catalog = store.catalog();
    let mut secret = catalog.record(RecordKind::Key, KEY_NAME).await?;
    if secret.is_none() {
        let mut made = [0; KEY_BYTES];
        entropy.fill(&mut made);
        catalog
            .put_record(RecordKind::Key, KEY_NAME, &made, RecordExpect::Absent)
            .await?;
        secret = catalog.record(RecordKind::Key, KEY_NAME).await?;
    }
    let secret = secret.ok_or_else(Problem::internal)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A seal of a key that no store has.
    pub(in super::super) fn seal<'a>(key: &'a hmac::Key, holder: &'a str) -> Seal<'a> {
        Seal { key, holder }
    }

    pub(in super::super) fn key_of(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; KEY_BYTES])
    }
}
