//! HTTP/1.1 by hand: reads requests, and writes answers whole or broken.

use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::manner::SlowBodies;
use super::script::{Cut, Fault};

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer as it ought to go out, and how it breaks on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// Of all faults, those that break the sending.
    pub(super) fault: Option<Fault>,
    pub(super) slow: Option<SlowBodies>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.push(("Content-Type", content_type.to_owned()));
        self.body = body.into();
        self
    }
}

/// Reads the next request of a connection; `None` at its end, or for what is none.
pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Some(0), |(_, length)| length.parse().ok())?;
    if length > BODY_BYTES_MAX {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        method,
        target,
        headers,
        body,
    })
}

/// Writes an answer; whether the connection can go on.
pub(super) async fn write(stream: &mut BufReader<TcpStream>, answer: Answer) -> bool {
    let stream = stream.get_mut();
    let length = answer.body.len() as u64;
    let head = |announced: Option<u64>| head(&answer, announced);
    let sent = match answer.fault {
        Some(Fault::Cut(Cut::Before)) => return false,
        Some(Fault::Cut(Cut::Head)) => {
            let head = head(Some(length));
            let _ = stream.write_all(&head.as_bytes()[..head.len() / 2]).await;
            return ended(stream).await;
        }
        Some(Fault::Cut(Cut::Body(at) | Cut::Silence(at))) => {
            let _ = stream.write_all(head(Some(length)).as_bytes()).await;
            let part = &answer.body[..at.min(length.saturating_sub(1)) as usize];
            let _ = send(stream, part, answer.slow).await;
            if matches!(answer.fault, Some(Fault::Cut(Cut::Silence(_)))) {
                std::future::pending::<()>().await;
            }
            return ended(stream).await;
        }
        Some(Fault::EndlessChunks) => {
            let _ = stream.write_all(head(None).as_bytes()).await;
            for part in answer.body.chunks(1_000) {
                let _ = stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await;
                let _ = stream.write_all(part).await;
                let _ = stream.write_all(b"\r\n").await;
            }
            return ended(stream).await;
        }
        Some(Fault::AnnouncesLess(by)) => {
            let _ = stream
                .write_all(head(Some(length.saturating_sub(by))).as_bytes())
                .await;
            let _ = send(stream, &answer.body, answer.slow).await;
            return ended(stream).await;
        }
        Some(Fault::AnnouncesMore(by)) => {
            let _ = stream.write_all(head(Some(length + by)).as_bytes()).await;
            let _ = send(stream, &answer.body, answer.slow).await;
            return ended(stream).await;
        }
        _ => {
            async {
                stream.write_all(head(Some(length)).as_bytes()).await?;
                send(stream, &answer.body, answer.slow).await?;
                stream.flush().await
            }
            .await
        }
    };
    sent.is_ok()
}

/// What is on its way arrives before the end does.
async fn ended(stream: &mut TcpStream) -> bool {
    let _ = stream.shutdown().await;
    // Who closes with unread bytes in its ear cuts off what it has sent.
    let mut rest = [0; 1_024];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
    false
}

async fn send(stream: &mut TcpStream, bytes: &[u8], slow: Option<SlowBodies>) -> std::io::Result<()> {
    let Some(slow) = slow else {
        return stream.write_all(bytes).await;
    };
    for part in bytes.chunks(slow.bytes) {
        stream.write_all(part).await?;
        tokio::time::sleep(slow.pause).await;
    }
    Ok(())
}

fn head(answer: &Answer, announced: Option<u64>) -> String {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &announced.map_or("Transfer-Encoding: chunked\r\n".to_owned(), |length| {
        format!("Content-Length: {length}\r\n")
    });
    head + "\r\n"
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        206 => "Partial Content",
        302 => "Found",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        410 => "Gone",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
