//! Cursors: where a page ended, as a text that a client gives back unread.
//!
//! A cursor names the state of the store that the first page showed, so that all pages are of one state whatever is written
//! meanwhile. Its last part is a [`Seal`] over the rest, the query and the client: a cursor that was cut, changed, made up, put into
//! another search or given to somebody else is refused, never misread. It holds ids of resources and no secret.

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::Sequence;
use fhirhose_store::catalog::Snapshot;
use hyper::StatusCode;

use super::seal::Seal;
use crate::app::App;
use crate::problem::Problem;

/// The longest cursor that is read, in bytes: a position is a key or two of at most 64 characters an id.
const CURSOR_BYTES_MAX: usize = 1_024;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The state of the store that all pages show.
    pub(crate) snapshot: Snapshot,
    /// The number of all matches, where the first page found it out.
    pub(crate) total: Option<u64>,
    /// The place of the last entry, as the search's order has it.
    pub(crate) position: Vec<u8>,
}

impl Cursor {
    /// Writes the cursor of a search, which is named by its path and query.
    pub(crate) fn write(&self, seal: &Seal<'_>, search: &str) -> String {
        let total = self.total.map(|total| total.to_string()).unwrap_or_default();
        let text = format!(
            "{}-{}-{total}-{}",
            self.snapshot.sequence,
            self.snapshot.instant.micros(),
            hex(&self.position)
        );
        let hash = seal.hash(search, &text);
        format!("{text}-{}", hex(&hash))
    }

    /// Reads a cursor of the same search.
    ///
    /// # Errors
    /// 400 for a text that is no cursor of this search; 410 when what its state showed is not kept any more.
    pub(crate) async fn read(app: &App, seal: &Seal<'_>, search: &str, text: &str) -> Result<Self, Problem> {
        let cursor = Self::parse(seal, search, text).ok_or_else(foreign)?;
        if app.store.catalog().forgotten().await? > cursor.snapshot.sequence {
            let text =
                "the state that this search began with is not kept any more; begin again without _cursor";
            return Err(Problem::new(StatusCode::GONE, IssueCode::Expired, text));
        }
        Ok(cursor)
    }

    /// Reads a cursor without asking whether what it names is still kept.
    pub(crate) fn parse(seal: &Seal<'_>, search: &str, text: &str) -> Option<Self> {
        if text.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let (body, hash) = text.rsplit_once('-')?;
        if !seal.holds(search, body, &unhex(hash)?) {
            return None;
        }
        let mut parts = body.split('-');
        let sequence = parts.next()?.parse().ok()?;
        let instant = Instant::from_micros(parts.next()?.parse().ok()?);
        let total = Some(parts.next()?).filter(|total| !total.is_empty());
        Some(Self {
            snapshot: Snapshot {
                sequence: Sequence(sequence),
                instant,
            },
            total: total.map(str::parse).transpose().ok()?,
            position: unhex(parts.next()?)?,
        })
    }
}

/// Makes the 400 of a cursor that is none of this search.
pub(super) fn foreign() -> Problem {
    let text = "_cursor is none that this search gave out; begin without it";
    Problem::bad_request(IssueCode::Value, text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::super::seal::tests::{key_of, seal};
    use super::*;

    #[test]
    fn a_cursor_is_read_back_by_its_own_search_client_and_server_only() {
        let (key, other_key) = (key_of(1), key_of(2));
        let own = seal(&key, "client");
        let cursor = Cursor {
            snapshot: Snapshot {
                sequence: Sequence(7),
                instant: Instant::from_micros(1_000_000),
            },
            total: Some(12),
            position: vec![0, 255, 16],
        };
        let text = cursor.write(&own, "Patient?active=true");
        assert_eq!(Cursor::parse(&own, "Patient?active=true", &text), Some(cursor));
        assert_eq!(Cursor::parse(&own, "Patient?active=false", &text), None);
        for foreign in [seal(&key, "other"), seal(&key, ""), seal(&other_key, "client")] {
            assert_eq!(Cursor::parse(&foreign, "Patient?active=true", &text), None);
        }
        for end in 0..text.len() {
            assert_eq!(Cursor::parse(&own, "Patient?active=true", &text[..end]), None);
        }
        for wrong in ["", "-", "----", "7-1-12-zz-0", "ä-ä", &"0".repeat(2_000)] {
            assert_eq!(Cursor::parse(&own, "Patient?active=true", wrong), None);
        }
    }
}
