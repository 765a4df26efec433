//! What a client can take: `Accept` of a kick-off (K-20) and `Accept-Encoding` of a download (F-08).
//!
//! [`accepts_fhir_json`] tells missing, acceptable and unacceptable apart and leaves the strictness to the server.
//! [`negotiate_encoding`] picks the content coding of a file. Byte ranges and entity tags are in [`range`](crate::range) and
//! [`etag`](crate::etag).

use crate::header::{Weighted, split, weighted};

/// Whether a client takes `application/fhir+json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FhirJson {
    /// There was no `Accept` header, or an empty one: the server may assume FHIR JSON or refuse (K-20).
    Missing,
    /// FHIR JSON is fine: named so, as `application/json`, or covered by a wildcard.
    Acceptable,
    /// The client wants something else.
    Unacceptable,
}

/// Reads the `Accept` header of a kick-off; several headers are to be joined by commas first.
///
/// The most specific media range that covers a type decides (RFC 9110 §12.5.1). `application/json` counts as FHIR JSON.
pub fn accepts_fhir_json(header: Option<&str>) -> FhirJson {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return FhirJson::Missing;
    };
    let ranges: Vec<Weighted<'_>> = split(header, ',').filter_map(weighted).collect();
    let takes = |media_type: &str| {
        let exact = weight_of(&ranges, media_type);
        let wide = || weight_of(&ranges, "application/*").or_else(|| weight_of(&ranges, "*/*"));
        exact.or_else(wide).unwrap_or(0) > 0
    };
    if takes("application/fhir+json") || takes("application/json") {
        FhirJson::Acceptable
    } else {
        FhirJson::Unacceptable
    }
}

/// A content coding in which a file can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// The bytes as they are; the only form with byte ranges.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl ContentEncoding {
    /// Gives the value for `Content-Encoding`; identity is said by leaving the header out.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Picks the content coding for a download from all values of `Accept-Encoding` (F-08).
///
/// The highest weight wins; at equal weight zstd, then gzip, then identity. Without the header the bytes go out as they are.
/// A `*` stands for gzip, which every Bulk Data client must take, but never for zstd, which F-08 allows only when listed.
///
/// Returns `None` when the client excludes identity and offers nothing else that is known here (406).
pub fn negotiate_encoding<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<ContentEncoding> {
    let offers: Vec<Weighted<'_>> = values
        .into_iter()
        .flat_map(|value| split(value, ','))
        .filter_map(weighted)
        .collect();
    let any = weight_of(&offers, "*");
    let zstd = weight_of(&offers, "zstd").unwrap_or(0);
    let gzip = weight_of(&offers, "gzip")
        .or_else(|| weight_of(&offers, "x-gzip"))
        .or(any)
        .unwrap_or(0);
    let identity = weight_of(&offers, "identity");
    // Identity that is not spoken of is acceptable, but a client that lists codings prefers them.
    let excluded = identity.or(any) == Some(0);
    let identity = identity.unwrap_or(0);
    let best = zstd.max(gzip).max(identity);
    match best {
        0 if excluded => None,
        0 => Some(ContentEncoding::Identity),
        _ if zstd == best => Some(ContentEncoding::Zstd),
        _ if gzip == best => Some(ContentEncoding::Gzip),
        _ => Some(ContentEncoding::Identity),
    }
}

fn weight_of(list: &[Weighted<'_>], name: &str) -> Option<u16> {
    list.iter()
        .find(|element| element.name.eq_ignore_ascii_case(name))
        .map(|element| element.weight)
}
