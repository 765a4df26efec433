//! Files: [`FileRequest`] says which bytes are wanted, [`OpenedFile`] gives them as they are sent (CL-04, CL-10, F-05, F-08, F-12).

use futures::StreamExt;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    IF_RANGE, RANGE,
};
use reqwest::{Method, Response, StatusCode};

use super::DataProvider;
use super::ask::Question;
use crate::answer::{Reply, is_html_type};
use crate::decode::Coding;
use crate::http::{ByteStream, content_range_start, header, name, parse};
use crate::{Error, ErrorKind, Result};

/// What is asked for of output files.
const FHIR_NDJSON: &str = "application/fhir+ndjson";

/// Which file, and from where on.
#[derive(Debug, Clone)]
pub struct FileRequest<'a> {
    /// Where it lies, absolute.
    pub url: &'a str,
    /// What the manifest says: whether credentials go along, if the URL's origin is trusted with them.
    pub requires_access_token: bool,
    /// Which media types are wanted, as `Accept` has them.
    pub accept: &'a str,
    /// What is there of it already.
    pub begun: Option<Begun>,
}

/// A file of which some bytes are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// How many bytes of the encoded form are there: the first that is wanted.
    pub from: u64,
    /// The strong ETag that came with them.
    pub etag: String,
    /// The coding in which they came.
    pub coding: Coding,
}

/// The beginning of a file's bytes.
pub struct OpenedFile {
    /// The offset of the first byte of `stream` in the encoded form: what was asked for, or 0 when the server sends everything.
    pub from: u64,
    /// The coding of the bytes.
    pub coding: Coding,
    /// The strong ETag of this form, if there is one: good for [`Begun`].
    pub etag: Option<String>,
    /// The length of the whole encoded form, if it is known. The stream fails when it ends earlier.
    pub encoded_bytes: Option<u64>,
    /// The media type, as it was sent.
    pub content_type: Option<String>,
    /// The encoded bytes.
    pub stream: ByteStream,
}

impl std::fmt::Debug for OpenedFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OpenedFile")
            .field("from", &self.from)
            .field("coding", &self.coding)
            .field("etag", &self.etag)
            .field("encoded_bytes", &self.encoded_bytes)
            .finish_non_exhaustive()
    }
}

impl<'a> FileRequest<'a> {
    /// Asks for a whole file of NDJSON.
    pub fn new(url: &'a str, requires_access_token: bool) -> Self {
        Self {
            url,
            requires_access_token,
            accept: FHIR_NDJSON,
            begun: None,
        }
    }
}

impl Begun {
    /// A file of which no byte is left to fetch.
    fn ended(&self) -> OpenedFile {
        OpenedFile {
            from: self.from,
            coding: self.coding,
            etag: Some(self.etag.clone()),
            encoded_bytes: Some(self.from),
            content_type: None,
            stream: Box::pin(futures::stream::empty()),
        }
    }
}

impl DataProvider {
    /// Begins to fetch a file, or goes on with it where the server can do so.
    ///
    /// Credentials go along only where the manifest asks for them and the URL's origin is trusted, and never through a redirect (CL-04).
    ///
    /// # Errors
    /// [`ErrorKind::LinkExpired`] when another link may help; [`ErrorKind::Changed`] when the file cannot be gone on with and is to be
    /// fetched from its beginning; [`ErrorKind::Busy`] and [`ErrorKind::Unreachable`] when trying again may help; [`ErrorKind::Protocol`]
    /// for a coding that is not known; [`ErrorKind::Refused`], [`ErrorKind::Url`] and [`ErrorKind::Forbidden`] when nothing helps.
    pub async fn open(&self, request: &FileRequest<'_>) -> Result<OpenedFile> {
        let url = parse(request.url)?;
        let place = name(&url);
        let begun = request
            .begun
            .as_ref()
            .filter(|begun| begun.from > 0 && !self.quirks.no_ranges);
        let codings = match begun {
            Some(begun) => begun.coding.token(),
            None if self.is_compressed => "zstd, gzip",
            None => Coding::Identity.token(),
        };
        let mut question =
            Question::new(Method::GET, &url, &place, request.accept).with(ACCEPT_ENCODING, codings);
        if let Some(begun) = begun {
            question = question
                .with(RANGE, &format!("bytes={}-", begun.from))
                .with(IF_RANGE, &begun.etag);
        }
        if !request.requires_access_token {
            question = question.bare();
        }
        let response = self.send(&question).await?;
        if let Some(begun) = begun
            && is_at_end(&response, begun)
        {
            return Ok(begun.ended());
        }
        if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(self.no_file(response, &place).await);
        }
        let head = Head::read(&response, request.accept, begun, &place)?;
        Ok(OpenedFile {
            from: head.from,
            coding: head.coding,
            etag: head.etag,
            encoded_bytes: head.encoded_bytes,
            content_type: header(response.headers(), CONTENT_TYPE.as_str()),
            stream: whole(
                self.http.body(response, place.clone()),
                head.from,
                head.encoded_bytes,
                place,
            ),
        })
    }

    /// Says what an answer without a file means.
    async fn no_file(&self, response: Response, place: &str) -> Error {
        let reply = match Reply::read(&self.http, response, place).await {
            Ok(reply) => reply,
            Err(error) => return error,
        };
        let code = reply.status.as_u16();
        let kind = match code {
            401 | 403 | 404 | 410 => ErrorKind::LinkExpired,
            // What object stores say of a signature or of credentials whose time is over.
            400 if contains(&reply.body, b"ExpiredToken") || contains(&reply.body, b"has expired") => {
                ErrorKind::LinkExpired
            }
            416 => ErrorKind::Changed,
            _ => return self.refusal(&reply, place),
        };
        reply.error(kind, &format!("{place} answers {}", reply.status))
    }
}

/// What the head of an answer says of the file.
struct Head {
    from: u64,
    coding: Coding,
    etag: Option<String>,
    encoded_bytes: Option<u64>,
}

impl Head {
    fn read(response: &Response, accept: &str, begun: Option<&Begun>, place: &str) -> Result<Self> {
        let headers = response.headers();
        let content_type = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        if is_html_type(&content_type) && !accept.to_ascii_lowercase().contains("html") {
            let problem = format!("{place} answers with a page of HTML in the place of a file");
            return Err(Error::new(ErrorKind::Busy, problem));
        }
        // What is wanted as gzip stays it.
        let named = if accept == FHIR_NDJSON { &*content_type } else { "" };
        let coding = coding(headers, named)
            .map_err(|error| Error::new(error.kind(), format!("fetching {place}")).caused_by(error))?;
        let etag = header(headers, ETAG.as_str()).filter(|etag| etag.starts_with('"') && etag.len() > 2);
        let length = header(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
        if response.status() == StatusCode::OK {
            return Ok(Self {
                from: 0,
                coding,
                etag,
                encoded_bytes: length,
            });
        }
        let changed = |why: &str| Err(Error::new(ErrorKind::Changed, format!("{place} {why}")));
        let from = content_range_start(headers, place)?;
        let Some(begun) = begun else {
            return changed("answers with a part of the file, which was not asked for");
        };
        if from != begun.from {
            return changed("answers with another part of the file than was asked for");
        }
        if coding != begun.coding {
            return changed("answers with a part of another form of the file");
        }
        if etag.as_ref().is_some_and(|etag| *etag != begun.etag) {
            return changed("answers with a part of another version of the file");
        }
        let total = header(headers, CONTENT_RANGE.as_str())
            .and_then(|range| range.rsplit_once('/')?.1.trim().parse::<u64>().ok());
        Ok(Self {
            from,
            coding,
            etag: Some(begun.etag.clone()),
            encoded_bytes: total.or(length.map(|length| length.saturating_add(from))),
        })
    }
}

/// Whether there is nothing from there on because that is the end: the connection broke behind the last byte. Had the file changed,
/// `If-Range` would have made the server send all of it.
fn is_at_end(response: &Response, begun: &Begun) -> bool {
    let range = header(response.headers(), CONTENT_RANGE.as_str());
    let is_end = |range: String| range.trim() == format!("bytes */{}", begun.from);
    response.status() == StatusCode::RANGE_NOT_SATISFIABLE && range.is_some_and(is_end)
}

/// How the bytes are encoded. A `.gz` file that is called one instead of being labelled is taken as what it is.
fn coding(headers: &HeaderMap, content_type: &str) -> Result<Coding> {
    let labels = headers.get_all(CONTENT_ENCODING).iter();
    let labels: Vec<&str> = labels.map(|label| label.to_str().unwrap_or("?")).collect();
    let is_gzip_file = matches!(content_type.trim(), "application/gzip" | "application/x-gzip");
    match Coding::parse(&labels.join(", "))? {
        Coding::Identity if is_gzip_file => Ok(Coding::Gzip),
        coding => Ok(coding),
    }
}

/// Fails when the stream ends before the whole has come: what a part that is shorter than asked for would hide.
fn whole(stream: ByteStream, from: u64, encoded_bytes: Option<u64>, place: String) -> ByteStream {
    let Some(end) = encoded_bytes else {
        return stream;
    };
    let begin = Some((stream, from, place));
    Box::pin(futures::stream::unfold(begin, move |state| async move {
        let (mut stream, at, place) = state?;
        match stream.next().await {
            Some(Ok(chunk)) => {
                let at = at + chunk.len() as u64;
                Some((Ok(chunk), Some((stream, at, place))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if at < end => {
                let problem = format!("reading {place}: the body ends {} bytes short", end - at);
                Some((Err(Error::new(ErrorKind::Unreachable, problem)), None))
            }
            None => None,
        }
    }))
}

fn contains(body: &[u8], words: &[u8]) -> bool {
    body.windows(words.len()).any(|window| window == words)
}
