//! Makes responses: the body type and the few shapes that every route uses.

use std::error::Error as StdError;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// The media type of a single resource.
pub(crate) const FHIR_JSON: &str = "application/fhir+json";

/// The media type of a manifest, exactly (S-10).
pub(crate) const JSON: &str = "application/json";

/// What can end a body before its time.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

/// The body of a response.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Makes a response without body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    with_body(
        status,
        Empty::new().map_err(|never| match never {}).boxed_unsync(),
    )
}

/// Makes a response with a text of this media type.
pub(crate) fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = with_body(status, body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Gives a response a text of this media type as its body.
pub(crate) fn fill(response: &mut Response<Body>, content_type: &'static str, body: impl Into<Bytes>) {
    let filled = text(response.status(), content_type, body);
    *response.body_mut() = filled.into_body();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// Makes a response whose body comes piece by piece; an error in it cuts the connection, so that it cannot look whole.
pub(crate) fn stream<E>(
    status: StatusCode,
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response<Body>
where
    E: StdError + Send + Sync + 'static,
{
    let frames = pieces
        .map_ok(Frame::data)
        .map(|piece| piece.map_err(|error| Box::new(error) as BodyError));
    with_body(status, StreamBody::new(frames).boxed_unsync())
}

/// Keeps something until the body has been sent, or cannot be.
pub(crate) fn keeping<T: Send + 'static>(response: Response<Body>, kept: T) -> Response<Body> {
    response.map(|body| {
        let kept_with = move |frame| {
            let _ = &kept;
            frame
        };
        body.map_frame(kept_with).boxed_unsync()
    })
}

/// Puts a header whose value is made of our own words and numbers.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("header values are made of visible ASCII characters");
    headers.insert(name, value);
}

/// Says that the answer holds for this moment only.
pub(crate) fn not_stored(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn with_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
