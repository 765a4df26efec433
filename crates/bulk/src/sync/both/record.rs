//! The lines of the ledger: [`Record`], each with a checksum of its own.

use fhirhose_fhir::content_hash::ContentHash;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::merge::{Known, Pair, Side};

/// The number of this form of the ledger.
pub(super) const FORMAT: u32 = 1;

/// One thing that is known from its line on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub(super) enum Record {
    /// Between whom; the first line of a ledger.
    Begin {
        format: u32,
        source: String,
        target: String,
    },
    /// Both have this.
    Agreed {
        name: String,
        source: KnownText,
        target: KnownText,
    },
    /// Both have none.
    Forgotten { name: String },
    /// It is about to be written to a side, or deleted there where there is no content.
    Intent {
        name: String,
        to: Side,
        content: Option<Hex>,
    },
    /// It is not settled and will be looked at again in the next round.
    Carried { name: String, carried: Carried },
    /// It is settled.
    Settled { name: String },
    /// All until these times was taken over: the end of a round. None where a side has not told of everything yet.
    Cursors {
        round: u64,
        cursors: Pair<Option<String>>,
    },
}

/// Why a resource is looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Carried {
    /// A side had changed it meanwhile.
    Behind,
    /// A side refused it.
    Refused {
        /// Which.
        by: Side,
        /// With which HTTP status.
        status: u16,
        /// Whether it was to be created there under the other side's id.
        creates: bool,
    },
    /// It is held for review.
    Held {
        /// The contents that are held, by which a new conflict is told from the same one.
        #[serde(with = "contents")]
        contents: Pair<Option<ContentHash>>,
        /// Who wins, once somebody has decided.
        winner: Option<Side>,
    },
}

/// A content hash as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hex(pub(super) ContentHash);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

mod contents {
    use super::{ContentHash, Hex, Pair};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        pair: &Pair<Option<ContentHash>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let pair = Pair {
            source: pair.source.map(Hex),
            target: pair.target.map(Hex),
        };
        pair.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Pair<Option<ContentHash>>, D::Error> {
        let pair = Pair::<Option<Hex>>::deserialize(deserializer)?;
        Ok(Pair {
            source: pair.source.map(|hex| hex.0),
            target: pair.target.map(|hex| hex.0),
        })
    }
}

/// What a side had, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownText {
    content: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ours: bool,
}

impl From<&Known> for KnownText {
    fn from(known: &Known) -> Self {
        Self {
            content: Hex(known.content),
            version: known.version.clone(),
            ours: known.is_ours,
        }
    }
}

impl From<KnownText> for Known {
    fn from(text: KnownText) -> Self {
        Self {
            content: text.content.0,
            version: text.version,
            is_ours: text.ours,
        }
    }
}

impl Record {
    pub(super) fn agreed(name: &str, pair: &Pair<Known>) -> Self {
        Self::Agreed {
            name: name.to_owned(),
            source: (&pair.source).into(),
            target: (&pair.target).into(),
        }
    }

    /// Appends the line: the checksum in 16 hexadecimal digits, a space, JSON, a line feed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let json = serde_json::to_vec(self).expect("records are strings and numbers");
        out.extend_from_slice(format!("{:016x} ", xxh3_64(&json)).as_bytes());
        out.extend_from_slice(&json);
        out.push(b'\n');
    }

    /// Reads a line without its line feed; `None` for one that is torn or damaged.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let (sum, json) = line.split_at_checked(17)?;
        let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
        let sum = u64::from_str_radix(sum, 16).ok()?;
        (sum == xxh3_64(json))
            .then(|| serde_json::from_slice(json).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_of_the_first_form_are_read() {
        let json = br#"{"record":"cursors","round":3,"cursors":{"source":"a","target":"b"}}"#;
        let mut line = format!("{:016x} ", xxh3_64(json)).into_bytes();
        line.extend_from_slice(json);
        let cursors = Pair {
            source: Some("a".to_owned()),
            target: Some("b".to_owned()),
        };
        assert_eq!(Record::read(&line), Some(Record::Cursors { round: 3, cursors }));
    }
}
