//! `GET /health`: whether the server answers and its catalog can be read.

use hyper::StatusCode;

use crate::answer::{self, JSON};
use crate::call::{Answer, Call};

/// Answers 200 with `{"status":"ok"}`, or what went wrong with the catalog.
pub(super) async fn health(call: Call) -> Answer {
    call.app.store.catalog().stats().await?;
    let mut response = answer::text(StatusCode::OK, JSON, r#"{"status":"ok"}"#);
    answer::not_stored(response.headers_mut());
    Ok(response)
}
