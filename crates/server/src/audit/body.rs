//! The body of a download: counts what is sent, and closes the event of it at the end, or where it breaks off.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::{Response, StatusCode};

use super::record::OpenEvent;
use crate::answer::{Body, BodyError};

/// Makes a response close an event when its body has been sent.
pub(crate) fn closing(response: Response<Body>, open: OpenEvent) -> Response<Body> {
    let length = response.headers().get(CONTENT_LENGTH);
    let expected_bytes = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let status = response.status();
    response.map(|body| {
        let closing = Closing {
            body,
            open: Some(open),
            status,
            sent_bytes: 0,
            expected_bytes,
        };
        closing.boxed_unsync()
    })
}

struct Closing {
    body: Body,
    /// Taken when it is closed.
    open: Option<OpenEvent>,
    status: StatusCode,
    sent_bytes: u64,
    /// How many there are, where the head says so: then nobody asks for the end.
    expected_bytes: Option<u64>,
}

impl Closing {
    fn close(&mut self, status: StatusCode, text: Option<&str>) {
        if let Some(mut open) = self.open.take() {
            open.told.add_detail("bytes", self.sent_bytes);
            open.told.add_detail("whole", text.is_none());
            open.told.text = text.map(str::to_owned);
            open.close(status);
        }
    }
}

impl HttpBody for Closing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(Some(Err(_))) => {
                let text = "the file could not be read to its end";
                self.close(StatusCode::INTERNAL_SERVER_ERROR, Some(text));
            }
            Poll::Ready(None) => {
                let status = self.status;
                self.close(status, None);
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let is_whole = self.expected_bytes == Some(self.sent_bytes) || self.body.is_end_stream();
        match is_whole {
            true => self.close(self.status, None),
            false => self.close(
                StatusCode::BAD_REQUEST,
                Some("the client went away before the end of the file"),
            ),
        }
    }
}
