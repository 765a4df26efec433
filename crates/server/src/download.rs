//! Serves a finished output file: encodings, entity tags, byte ranges (F-01, F-02, F-08, F-12).

use fhirhose_fhir::accept::{ContentEncoding, negotiate_encoding};
use fhirhose_fhir::etag::{EntityTag, EntityTags, if_range_matches};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::range::{ByteRange, RangeRequest, parse_range, unsatisfied_content_range};
use fhirhose_store::{Encoding, ErrorKind, OutputName, OutputReader};
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use hyper::{Response, StatusCode};

use crate::answer::{self, Body};
use crate::audit::{self, Act};
use crate::call::{Answer, Call};
use crate::floods::throttled;
use crate::problem::Problem;

/// The media type of NDJSON files, exactly (F-02).
pub(crate) const FHIR_NDJSON: &str = "application/fhir+ndjson";

/// The media type of lines that may be anything.
pub(crate) const BYTES: &str = "application/octet-stream";

/// Answers with a file. The job's files stay until the last byte is sent (D-06).
///
/// `HEAD` gets the same headers; hyper leaves the body out, so nothing is read.
///
/// # Errors
/// 404 when the file has gone, 406 when no encoding will do, 416 for a range outside the file, 429 while the client downloads as many
/// files as it may at a time.
pub(crate) async fn serve(call: &Call, name: &OutputName, content_type: &'static str) -> Answer {
    let place = call.app.floods.download(call.grant());
    let place = place.map_err(|wait| throttled("this client downloads too many files at a time", wait))?;
    let reader = match call.app.store.outputs().open(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone()),
        opened => opened?,
    };
    let encoding = negotiate_encoding(call.values(ACCEPT_ENCODING)).ok_or_else(|| {
        let text = "the file can be sent as gzip, zstd or identity; Accept-Encoding excludes them";
        Problem::new(StatusCode::NOT_ACCEPTABLE, IssueCode::NotSupported, text)
    })?;
    let file = File {
        tag: reader.etag(form(encoding)),
        reader,
        encoding,
    };
    let mut response = file.respond(call)?;
    if response.status().is_success() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if !call.is_head() {
            // It is told before the first byte is sent.
            let open = call.app.audit.open(Act::Download).await?;
            response = audit::closing(response, open);
        }
    }
    Ok(answer::keeping(response, place))
}

/// Makes the 404 of a file that is not, or no longer, there (D-05).
pub(crate) fn gone() -> Problem {
    Problem::not_found("there is no such file; the job may have been deleted or have expired")
}

struct File {
    reader: OutputReader,
    encoding: ContentEncoding,
    /// With its quotes.
    tag: String,
}

impl File {
    fn respond(&self, call: &Call) -> Answer {
        let tag = EntityTag::parse(&self.tag);
        let known = EntityTags::parse(call.values(IF_NONE_MATCH));
        if known.is_some_and(|known| tag.as_ref().is_some_and(|tag| known.matches_weak(tag))) {
            return Ok(self.described(answer::empty(StatusCode::NOT_MODIFIED)));
        }
        let Some(length_bytes) = self.ranged_bytes() else {
            return Ok(self.whole());
        };
        let honoured = call
            .value(IF_RANGE)
            .is_none_or(|header| tag.as_ref().is_some_and(|tag| if_range_matches(header, tag)));
        match parse_range(call.value(RANGE).filter(|_| honoured), length_bytes) {
            RangeRequest::Whole => Ok(self.whole()),
            RangeRequest::Part(range) => Ok(self.part(range, length_bytes).unwrap_or_else(|| self.whole())),
            RangeRequest::Unsatisfiable => {
                let text = "the range lies outside of the file";
                let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, IssueCode::Value, text);
                Err(problem.with_header(CONTENT_RANGE, unsatisfied_content_range(length_bytes)))
            }
        }
    }

    /// The length of a form of which there are ranges: those that lie there. gzip has no fixed bytes until it is made.
    fn ranged_bytes(&self) -> Option<u64> {
        match self.encoding {
            ContentEncoding::Identity | ContentEncoding::Zstd => self.reader.length(form(self.encoding)),
            ContentEncoding::Gzip => None,
        }
    }

    fn whole(&self) -> Response<Body> {
        let encoding = form(self.encoding);
        let mut response = self.described(answer::stream(StatusCode::OK, self.reader.stream(encoding)));
        if let Some(length_bytes) = self.reader.length(encoding) {
            set_length(response.headers_mut(), length_bytes);
        }
        response
    }

    fn part(&self, range: ByteRange, length_bytes: u64) -> Option<Response<Body>> {
        let pieces = self
            .reader
            .part(form(self.encoding), range.first..range.last + 1)?;
        let mut response = self.described(answer::stream(StatusCode::PARTIAL_CONTENT, pieces));
        set_length(response.headers_mut(), range.bytes());
        answer::set(
            response.headers_mut(),
            CONTENT_RANGE,
            &range.content_range(length_bytes),
        );
        Some(response)
    }

    /// Adds what all answers about this form of the file have.
    fn described(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        answer::set(headers, ETAG, &self.tag);
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        // The file never changes, but it goes, and its URL is a secret: only the client itself may keep it.
        answer::set(headers, hyper::header::CACHE_CONTROL, "private, no-cache");
        if let Some(coding) = self.encoding.header() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let ranges = self.ranged_bytes().map_or("none", |_| "bytes");
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static(ranges));
        response
    }
}

fn set_length(headers: &mut HeaderMap, length_bytes: u64) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length_bytes));
}

/// The store's word for an encoding that was agreed on.
fn form(encoding: ContentEncoding) -> Encoding {
    match encoding {
        ContentEncoding::Identity => Encoding::Identity,
        ContentEncoding::Gzip => Encoding::Gzip,
        ContentEncoding::Zstd => Encoding::Zstd,
    }
}
