//! The bytes of an answer, held to the limits of the policy: [`limited`].

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::guard::FetchPolicy;
use crate::{Error, ErrorKind, Result};

/// How much waiting one look at the pace spans.
const PACE_SPAN: Duration = Duration::from_secs(60);

/// More than this is no limit, and instants beyond it may not be known to the machine.
const FETCH_SECS_MOST: u64 = 10 * 365 * 24 * 60 * 60;

/// What one body may do.
pub(crate) struct BodyLimits {
    pub(crate) until: Instant,
    pub(crate) bytes_max: u64,
    pub(crate) pace: Pace,
}

impl BodyLimits {
    /// Those of a fetch that begins now.
    pub(crate) fn of(policy: &FetchPolicy) -> Self {
        Self {
            until: Instant::now() + Duration::from_secs(policy.fetch_secs_max.min(FETCH_SECS_MOST)),
            bytes_max: policy.fetch_bytes_max.unwrap_or(u64::MAX),
            pace: Pace::new(policy.minute_bytes_min),
        }
    }
}

/// Sees whether a server sends in earnest. Only time spent waiting for it counts, not time that the reader takes.
pub(crate) struct Pace {
    bytes_min: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(bytes_min: u64) -> Self {
        Self {
            bytes_min,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Takes note of bytes that were waited for; false when too few have come in a minute of waiting.
    pub(crate) fn holds(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < PACE_SPAN {
            return true;
        }
        let holds = self.bytes >= self.bytes_min;
        *self = Self::new(self.bytes_min);
        holds
    }
}

/// Passes chunks on until a limit is reached; an error is the last item.
pub(crate) fn limited(
    chunks: impl Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
    limits: BodyLimits,
    place: String,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let begin = Some((chunks, limits, place));
    futures::stream::unfold(begin, |state| async move {
        let (mut chunks, mut limits, place) = state?;
        let asked = Instant::now();
        let next = timeout_at(limits.until, chunks.next()).await;
        let problem = match next {
            Ok(None) => return None,
            Ok(Some(Err(error))) => error,
            Ok(Some(Ok(chunk))) => match chunk_problem(&mut limits, asked.elapsed(), &chunk) {
                None => return Some((Ok(chunk), Some((chunks, limits, place)))),
                Some((kind, problem)) => Error::new(kind, format!("reading {place}: {problem}")),
            },
            Err(_) => Error::new(
                ErrorKind::Unreachable,
                format!("reading {place}: it takes longer than is allowed"),
            ),
        };
        Some((Err(problem), None))
    })
}

fn chunk_problem(
    limits: &mut BodyLimits,
    waited: Duration,
    chunk: &Bytes,
) -> Option<(ErrorKind, &'static str)> {
    let bytes = chunk.len() as u64;
    match limits.bytes_max.checked_sub(bytes) {
        None => return Some((ErrorKind::Refused, "it is longer than is allowed")),
        Some(left) => limits.bytes_max = left,
    }
    let slow = (ErrorKind::Unreachable, "the server sends too slowly");
    (!limits.pace.holds(waited, bytes)).then_some(slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drips_is_left_and_a_reader_that_dawdles_is_not() {
        let second = Duration::from_secs(1);
        let mut dripping = Pace::new(1_024);
        let held = (0..120).take_while(|_| dripping.holds(second, 1)).count();
        assert_eq!(held, 59, "a minute of waiting");
        let mut steady = Pace::new(1_024);
        assert!((0..600).all(|_| steady.holds(second, 20)));
        // The reader's own time is never told to it.
        let mut dawdling = Pace::new(1_024);
        assert!((0..10_000).all(|_| dawdling.holds(Duration::ZERO, 1)));
    }
}
