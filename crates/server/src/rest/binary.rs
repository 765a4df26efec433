//! Binaries as what they hold (F-11; FHIR R4, Binary): the content with its own type, for clients that do not ask for FHIR JSON.

use std::borrow::Cow;

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::Resource;
use hyper::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Deserialize;

use crate::answer::{self, Body};
use crate::call::Call;
use crate::problem::Problem;
use crate::resource::describe;

/// What a Binary is sent as when it does not say, or says nothing that a header can carry.
const UNKNOWN_TYPE: &str = "application/octet-stream";

#[derive(Deserialize)]
struct WireBinary<'a> {
    #[serde(rename = "contentType", borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

/// Whether a client asks for the resource and not for its content: by `_format`, or by naming FHIR JSON in `Accept`.
pub(crate) fn wants_resource(call: &Call) -> bool {
    let accepts = call.values(ACCEPT).flat_map(|value| value.split(','));
    let mut types = accepts.map(|each| each.split(';').next().unwrap_or_default().trim());
    !call.query().is_empty() || types.any(|each| each.eq_ignore_ascii_case("application/fhir+json"))
}

/// Answers with the content of a Binary.
///
/// # Errors
/// 406 when the client takes neither the content's type nor FHIR JSON, 422 for data that is not base64.
pub(crate) fn respond_with_content(call: &Call, resource: &Resource) -> Result<Response<Body>, Problem> {
    let binary: WireBinary<'_> = serde_json::from_slice(&resource.text).map_err(|_| unreadable())?;
    let content_type = binary.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
    let content_type =
        HeaderValue::from_str(content_type).unwrap_or_else(|_| HeaderValue::from_static(UNKNOWN_TYPE));
    let name = content_type.to_str().unwrap_or(UNKNOWN_TYPE);
    if !takes(call, name.split(';').next().unwrap_or_default().trim()) {
        let text = format!(
            "the content is {name}, which the Accept header excludes; application/fhir+json can be sent too"
        );
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            IssueCode::NotSupported,
            text,
        ));
    }
    let data = decode(binary.data.as_deref().unwrap_or_default()).ok_or_else(unreadable)?;
    let mut response = answer::text(StatusCode::OK, UNKNOWN_TYPE, data);
    let headers = response.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, content_type);
    describe(headers, resource.version);
    // Whoever sent the content chose its type: a browser must not run it as a page of this server.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

/// Whether the `Accept` header covers a media type; without the header all is taken.
fn takes(call: &Call, media_type: &str) -> bool {
    let main = media_type.split('/').next().unwrap_or_default();
    let mut ranges = call.values(ACCEPT).flat_map(|value| value.split(',')).peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            let name = name.trim();
            let is_excluded = parameters
                .split(';')
                .any(|each| matches!(each.trim(), "q=0" | "q=0.0"));
            let covers = name == "*/*" || name.eq_ignore_ascii_case(media_type);
            let covers = covers
                || name
                    .strip_suffix("/*")
                    .is_some_and(|it| it.eq_ignore_ascii_case(main));
            covers && !is_excluded
        })
}

fn unreadable() -> Problem {
    let text = "the Binary's data is not base64; ask for application/fhir+json to get the resource as it is";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, IssueCode::Structure, text)
}

/// Decodes base64 of the standard alphabet, with or without padding; white space is skipped.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, false);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding = true;
                continue;
            }
            _ => return None,
        };
        if padding {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    // What is left is at most four zero bits of the last character.
    (count < 6 && bits & ((1 << count) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_decoded_or_refused() {
        for (text, expected) in [
            ("", ""),
            ("TQ==", "M"),
            ("TWE=", "Ma"),
            ("TWFu", "Man"),
            ("TW\nFu\r\n TWE", "ManMa"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(expected.as_bytes()), "{text}");
        }
        for wrong in ["T", "TWFuT", "TW=u", "TW-u", "TWF\u{e4}", "TR=="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
