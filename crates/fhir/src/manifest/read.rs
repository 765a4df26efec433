//! Reads manifests as servers in the field write them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{CHECKSUM_EXTENSION, LENGTH_EXTENSION, Manifest, ManifestFile, Received};
use crate::error::{Error, ErrorKind, Result};
use crate::instant::Instant;
use crate::outcome::Severity;
use crate::resource_type::ResourceType;

pub(super) fn read(body: &[u8]) -> Result<Received> {
    let wire: WireManifest =
        serde_json::from_slice(body).map_err(|source| Error::json("the manifest", &source))?;
    let instant = Instant::parse(&wire.transaction_time).ok();
    let output_organized_by = wire.output_organized_by.as_deref().map(organizer).transpose()?;
    let next = next(wire.link.unwrap_or_default())?;
    let mut error = files(wire.error, "error", Some("OperationOutcome"))?;
    error.extend(files(wire.outcome, "outcome", Some("OperationOutcome"))?);
    let output = files(wire.output, "output", None)?;
    if output_organized_by.is_none() && output.iter().any(|file| file.resource_type.is_none()) {
        let problem = "the manifest's output has a file without a type";
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    let manifest = Manifest {
        transaction_time: instant.unwrap_or(Instant::MIN),
        request: wire.request.unwrap_or_default(),
        requires_access_token: wire.requires_access_token.is_some_and(|flag| flag.0),
        output_organized_by,
        output,
        deleted: files(wire.deleted, "deleted", Some("Bundle"))?,
        error,
        next,
    };
    Ok(Received {
        manifest,
        transaction_time: wire.transaction_time,
        instant,
    })
}

fn organizer(name: &str) -> Result<ResourceType> {
    ResourceType::parse(name).ok_or_else(|| {
        let problem = "the manifest's files are organised by a type that R4 does not have";
        Error::new(ErrorKind::Unsupported, problem)
    })
}

fn next(links: Vec<WireLink>) -> Result<Option<String>> {
    let mut nexts = links
        .into_iter()
        .filter(|link| link.relation.as_deref() == Some("next"));
    let Some(first) = nexts.next() else {
        return Ok(None);
    };
    if nexts.next().is_some() {
        let problem = "the manifest goes on on several pages at once";
        return Err(Error::new(ErrorKind::Unsupported, problem));
    }
    match first.url.filter(|url| !url.is_empty()) {
        Some(url) => Ok(Some(url)),
        None => Err(Error::new(
            ErrorKind::Invalid,
            "the manifest's link to the next page has no url",
        )),
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
    #[serde(rename = "fileSize")]
    file_size: Option<Loose<u64>>,
    #[serde(rename = "continuesInFile")]
    continues_in_file: Option<String>,
    #[serde(rename = "countSeverity")]
    count_severity: Option<Vec<WireSeverity>>,
    extension: Option<Value>,
}

#[derive(Deserialize)]
struct WireSeverity {
    code: Option<String>,
    count: Option<Loose<u64>>,
}

#[derive(Deserialize)]
struct WireLink {
    relation: Option<String>,
    url: Option<String>,
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
    let resource_type = item.r#type.or(usual_type.map(str::to_owned));
    // The type becomes a part of file names on the client's disk.
    let is_name = |name: &String| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if !resource_type.as_ref().is_none_or(is_name) {
        return Err(invalid("has a type that is not a name"));
    }
    let url = item
        .url
        .filter(|url| !url.is_empty())
        .ok_or_else(|| invalid("has no url"))?;
    let severities = item.count_severity.unwrap_or_default();
    Ok(ManifestFile {
        resource_type,
        url,
        count: item.count.map(|count| count.0),
        file_size: (item.file_size.map(|bytes| bytes.0)).or_else(|| length(item.extension.as_ref()?)),
        continues_in_file: item.continues_in_file,
        severities: severities.into_iter().filter_map(severity).collect(),
        sha256: item.extension.as_ref().and_then(sha256),
    })
}

/// A severity that R4 does not know (`success`) counts nothing that a client has to look at.
fn severity(wire: WireSeverity) -> Option<(Severity, u64)> {
    let code = match wire.code?.as_str() {
        "fatal" => Severity::Fatal,
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        "information" => Severity::Information,
        _ => return None,
    };
    Some((code, wire.count?.0))
}

/// One extension of an array of Extensions, or of an object by URL.
fn extension<'e>(extensions: &'e Value, url: &str) -> Option<&'e Value> {
    match extensions {
        Value::Array(list) => list.iter().find(|item| item["url"] == url),
        by_url => by_url.get(url),
    }
}

/// The length in bytes among the extensions: a decimal to those who give it.
fn length(extensions: &Value) -> Option<u64> {
    let value = &extension(extensions, LENGTH_EXTENSION)?["valueDecimal"];
    serde_json::from_value::<Loose<u64>>(value.clone())
        .ok()
        .map(|bytes| bytes.0)
}

/// The checksum among the extensions.
fn sha256(extensions: &Value) -> Option<String> {
    let digest = extension(extensions, CHECKSUM_EXTENSION)?["valueString"]
        .as_str()?
        .strip_prefix("sha256:")?;
    let is_hex = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| digest.to_ascii_lowercase())
}
