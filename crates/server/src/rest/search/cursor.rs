//! Cursors: where a page ended, as a text that a client gives back unread.
//!
//! A cursor names the state of the store that the first page showed, so that all pages are of one state whatever is written
//! meanwhile. Its last part is a checksum over the rest and the query: a cursor that was cut, changed or put into another search is
//! refused, never misread. It holds ids of resources and no secret; whoever makes one up sees what a search would show him.

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::Sequence;
use fhirhose_store::catalog::Snapshot;
use hyper::StatusCode;
use xxhash_rust::xxh3::xxh3_64;

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
    pub(crate) fn write(&self, search: &str) -> String {
        let total = self.total.map(|total| total.to_string()).unwrap_or_default();
        let text = format!(
            "{}-{}-{total}-{}",
            self.snapshot.sequence,
            self.snapshot.instant.micros(),
            hex(&self.position)
        );
        let sum = checksum(search, &text);
        format!("{text}-{sum:016x}")
    }

    /// Reads a cursor of the same search.
    ///
    /// # Errors
    /// 400 for a text that is no cursor of this search; 410 when what its state showed is not kept any more.
    pub(crate) async fn read(app: &App, search: &str, text: &str) -> Result<Self, Problem> {
        let cursor = Self::parse(search, text).ok_or_else(|| {
            let text = "_cursor is none that this search gave out; begin without it";
            Problem::bad_request(IssueCode::Value, text)
        })?;
        if app.store.catalog().forgotten().await? > cursor.snapshot.sequence {
            let text =
                "the state that this search began with is not kept any more; begin again without _cursor";
            return Err(Problem::new(StatusCode::GONE, IssueCode::Expired, text));
        }
        Ok(cursor)
    }

    /// Reads a cursor without asking whether what it names is still kept.
    pub(crate) fn parse(search: &str, text: &str) -> Option<Self> {
        if text.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let (body, sum) = text.rsplit_once('-')?;
        if format!("{:016x}", checksum(search, body)) != sum {
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

fn checksum(search: &str, text: &str) -> u64 {
    xxh3_64([search, "\n", text].concat().as_bytes())
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
    use super::*;

    #[test]
    fn a_cursor_is_read_back_by_its_own_search_only() {
        let cursor = Cursor {
            snapshot: Snapshot {
                sequence: Sequence(7),
                instant: Instant::from_micros(1_000_000),
            },
            total: Some(12),
            position: vec![0, 255, 16],
        };
        let text = cursor.write("Patient?active=true");
        assert_eq!(Cursor::parse("Patient?active=true", &text), Some(cursor));
        assert_eq!(Cursor::parse("Patient?active=false", &text), None);
        for end in 0..text.len() {
            assert_eq!(Cursor::parse("Patient?active=true", &text[..end]), None);
        }
        for wrong in ["", "-", "----", "7-1-12-zz-0", "ä-ä", &"0".repeat(2_000)] {
            assert_eq!(Cursor::parse("Patient?active=true", wrong), None);
        }
    }
}
