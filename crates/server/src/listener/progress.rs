//! Cuts clients off that hold a connection and take nothing: [`Progress`].

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How much a client must take of what waits for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProgressLimits {
    /// In each such time of waiting for the client …
    pub(crate) window: Duration,
    /// … it must take so many bytes.
    pub(crate) bytes_min: usize,
}

/// A stream that can be asked for room when it has told of none.
pub(crate) trait WriteNow {
    /// Writes what there is room for, without waiting for any.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; else what writing gives.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl WriteNow for TcpStream {
    /// Linux tells of room only when a third of the send buffer is free. That can be more than a slow client takes in a minute,
    /// while every bit of room can be written to.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let same = self.as_fd().try_clone_to_owned()?;
        std::net::TcpStream::from(same).write(bytes)
    }
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

impl<S: WriteNow> Progress<S> {
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

    /// Accounts for one write of these bytes.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(taken)) => {
                self.took(taken);
                Poll::Ready(Ok(taken))
            }
            Poll::Pending => self.wait(context, bytes),
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

    fn wait(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.limits.window.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            timer.as_mut().reset(now + left);
        }
        ready!(timer.as_mut().poll(context));
        match self.stream.write_now(bytes) {
            Ok(taken) if taken > 0 => {
                self.took(taken);
                Poll::Ready(Ok(taken))
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Poll::Ready(Err(error)),
            _ => {
                let text = "the client takes too little of the answer";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
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

impl<S: AsyncWrite + WriteNow + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.account(context, bytes, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.account(context, first.map_or(&[], |piece| piece), written)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const LIMITS: ProgressLimits = ProgressLimits {
        window: Duration::from_millis(200),
        bytes_min: 1_000,
    };

    impl WriteNow for DuplexStream {
        /// It always tells of room.
        fn write_now(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[tokio::test]
    async fn a_slow_client_stays_although_the_system_tells_of_no_room_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut client = TcpStream::connect(address).await.expect("a connection");
        let (server, _) = listener.accept().await.expect("its other end");
        let window = Duration::from_secs(1);
        let mut server = Progress::new(server, ProgressLimits { window, ..LIMITS });
        let writing = async {
            loop {
                server.write_all(&[0; 65_536]).await?;
            }
        };
        // A third of the buffers of a connection on this machine takes longer than the window at this pace.
        let reading = async {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            let mut piece = vec![0; 16_384];
            for _ in 0..60 {
                pace.tick().await;
                client.read_exact(&mut piece).await?;
            }
            io::Result::Ok(())
        };
        let ended: io::Result<()> = tokio::select! {
            failed = writing => failed,
            read = reading => read,
        };
        ended.expect("nobody is cut off");
    }

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
