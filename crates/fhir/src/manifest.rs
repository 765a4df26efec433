//! The output manifest of a finished export (spec §2.2): written in the shape of STU3, read from any server.
//!
//! [`Manifest::to_json`] is the server's side, [`Manifest::parse`] the client's. The reader takes the shapes of STU1 to the STU4 ballot,
//! and refuses what it would have to leave out: manifests of several pages and files organised by instance.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::instant::Instant;

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// The type of every resource in it; `Bundle` in `deleted`, `OperationOutcome` in `error`.
    ///
    /// A name of 1 to 64 ASCII letters and digits, not a [`ResourceType`](crate::resource_type::ResourceType): a server of another FHIR version may
    /// have types that R4 does not know, and a client wants those files too.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Where it is: absolute when we write it; a foreign server's may be relative to its status URL.
    pub url: String,
    /// The number of lines in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// What a finished export hands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "WireManifest")]
pub struct Manifest {
    /// The snapshot's instant: nothing later is in the files, and everything that matches up to and including it is.
    pub transaction_time: Instant,
    /// The exact kick-off URL; empty when a server leaves it out (STU4).
    pub request: String,
    /// Whether the files want the client's token. A client must not send it when this is `false` (F-05).
    pub requires_access_token: bool,
    /// Files of resources.
    pub output: Vec<ManifestFile>,
    /// Files of transaction Bundles with deletions (M-30, M-31); left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<ManifestFile>,
    /// Files of OperationOutcomes.
    pub error: Vec<ManifestFile>,
}

impl Manifest {
    /// Writes the STU3 shape: one compact JSON object (`application/json`), with `output` and `error` always there.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a manifest has only string keys, which always serialise")
    }

    /// Reads the manifest of any server; the caller bounds the size of `body`.
    ///
    /// Tolerated: missing or null lists, `outcome` for `error` (STU4), no `request`, `requiresAccessToken` as a string, items of
    /// `deleted` and `error` without a type, `count` as a string or null, and unknown members. A missing
    /// `requiresAccessToken` is read as `false`, the side on which no token leaks.
    ///
    /// # Errors
    /// [`ErrorKind::Json`] if it is not JSON of that shape; [`ErrorKind::Invalid`] if `transactionTime` is no instant, an item has no URL
    /// or a type that is no name; [`ErrorKind::Unsupported`] if it goes on on another page (`link`) or is organised by instance
    /// (`outputOrganizedBy`): reading on would lose data.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let wire: WireManifest =
            serde_json::from_slice(body).map_err(|source| Error::json("the manifest", &source))?;
        Self::try_from(wire)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    transaction_time: String,
    request: Option<String>,
    requires_access_token: Option<Loose<bool>>,
    output: Option<Vec<WireFile>>,
    deleted: Option<Vec<WireFile>>,
    error: Option<Vec<WireFile>>,
    outcome: Option<Vec<WireFile>>,
    output_organized_by: Option<String>,
    link: Option<Vec<WireLink>>,
}

#[derive(Deserialize)]
struct WireFile {
    r#type: Option<String>,
    url: Option<String>,
    count: Option<Loose<u64>>,
}

#[derive(Deserialize)]
struct WireLink {
    relation: Option<String>,
}

/// A value as itself or, as some servers write it, as a string.
struct Loose<T>(T);

impl<'de, T: Deserialize<'de> + std::str::FromStr> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<T> {
            Itself(T),
            Text(String),
        }
        match Either::<T>::deserialize(deserializer)? {
            Either::Itself(value) => Ok(Self(value)),
            Either::Text(text) => text
                .parse()
                .map(Self)
                .map_err(|_| serde::de::Error::custom("a text that is no such value")),
        }
    }
}

impl TryFrom<WireManifest> for Manifest {
    type Error = Error;

    fn try_from(wire: WireManifest) -> Result<Self> {
        refuse_what_would_be_lost(&wire)?;
        let transaction_time = Instant::parse(&wire.transaction_time).map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                "the manifest's transactionTime is not an instant",
            )
        })?;
        let mut error = files(wire.error, "error", Some("OperationOutcome"))?;
        error.extend(files(wire.outcome, "outcome", Some("OperationOutcome"))?);
        Ok(Self {
            transaction_time,
            request: wire.request.unwrap_or_default(),
            requires_access_token: wire.requires_access_token.is_some_and(|flag| flag.0),
            output: files(wire.output, "output", None)?,
            deleted: files(wire.deleted, "deleted", Some("Bundle"))?,
            error,
        })
    }
}

fn refuse_what_would_be_lost(wire: &WireManifest) -> Result<()> {
    if wire.output_organized_by.is_some() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the manifest's files are organised by instance",
        ));
    }
    let links = wire.link.as_deref().unwrap_or_default();
    if links.iter().any(|link| link.relation.as_deref() == Some("next")) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the manifest goes on on another page",
        ));
    }
    Ok(())
}

fn files(items: Option<Vec<WireFile>>, list: &str, usual_type: Option<&str>) -> Result<Vec<ManifestFile>> {
    let items = items.unwrap_or_default();
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| file(item, usual_type, &format!("{list}[{index}]")))
        .collect()
}

fn file(item: WireFile, usual_type: Option<&str>, place: &str) -> Result<ManifestFile> {
    let invalid = |problem: &str| Error::new(ErrorKind::Invalid, format!("the manifest's {place} {problem}"));
    let resource_type = item
        .r#type
        .or(usual_type.map(str::to_owned))
        .ok_or_else(|| invalid("has no type"))?;
    // The type becomes a part of file names on the client's disk.
    if !(1..=64).contains(&resource_type.len())
        || !resource_type.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(invalid("has a type that is not a name"));
    }
    let url = item
        .url
        .filter(|url| !url.is_empty())
        .ok_or_else(|| invalid("has no url"))?;
    Ok(ManifestFile {
        resource_type,
        url,
        count: item.count.map(|count| count.0),
    })
}
