//! Cuts clients off that hold a connection and take nothing: [`Progress`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How much a client must take of what waits for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProgressLimits {
    /// In each such time of waiting for the client …
    pub(crate) window: Duration,
    /// … it must take so many bytes.
    pub(crate) bytes_min: usize,
}

/// A stream on which writing fails once the other end takes too little.
///
/// Only time in which something waits to be taken counts: a server that is slow itself cuts nobody off.
pub(crate) struct Progress<S> {
    stream: S,
    limits: ProgressLimits,
    /// Since when a write waits.
    waiting: Option<Instant>,
    /// How long writes have waited since `bytes_min` were taken last.
    waited: Duration,
    /// How much was taken since then.
    taken: usize,
    /// Wakes a write that has waited too long; kept for the next.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Progress<S> {
    pub(crate) fn new(stream: S, limits: ProgressLimits) -> Self {
        Self {
            stream,
            limits,
            waiting: None,
            waited: Duration::ZERO,
            taken: 0,
            timer: None,
        }
    }

    /// Accounts for one write.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => self.wait(context),
            failed => failed,
        }
    }

    fn took(&mut self, bytes: usize) {
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= self.limits.bytes_min {
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
    }

    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let left = self.limits.window.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            timer.as_mut().reset(now + left);
        }
        ready!(timer.as_mut().poll(context));
        let text = "the client takes too little of the answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.account(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.account(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    const LIMITS: ProgressLimits = ProgressLimits {
        window: Duration::from_millis(200),
        bytes_min: 1_000,
    };

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off() {
        let (server, _client) = duplex(100);
        let mut server = Progress::new(server, LIMITS);
        let written = timeout(Duration::from_secs(30), server.write_all(&[0; 5_000])).await;
        let error = written.expect("it ends").expect_err("it is cut off");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_a_byte_at_a_time_is_cut_off_too() {
        let (server, mut client) = duplex(100);
        let mut server = Progress::new(server, LIMITS);
        let trickle = async {
            let mut bytes = tokio::time::interval(Duration::from_millis(20));
            loop {
                bytes.tick().await;
                if client.read_u8().await.is_err() {
                    break;
                }
            }
        };
        let writing = async {
            let written = server.write_all(&[0; 5_000]).await;
            drop(server);
            written
        };
        let (written, ()) = tokio::join!(writing, trickle);
        assert_eq!(
            written.expect_err("it is cut off").kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[tokio::test]
    async fn who_takes_what_there_is_stays_however_slow_the_server_is() {
        let (server, mut client) = duplex(100);
        let window = Duration::from_secs(1);
        let mut server = Progress::new(server, ProgressLimits { window, ..LIMITS });
        let reading = async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.map(|_| all.len())
        };
        let writing = async move {
            let mut pauses = tokio::time::interval(Duration::from_millis(600));
            for _ in 0..3 {
                pauses.tick().await;
                server.write_all(&[0; 300]).await?;
            }
            io::Result::Ok(())
        };
        let (read, written) = tokio::join!(reading, writing);
        written.expect("nobody is cut off");
        assert_eq!(read.expect("the whole text"), 900);
    }
}
