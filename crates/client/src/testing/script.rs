//! What goes wrong at which request: [`Strike`], data that a seed can draw.

use super::manner::RetryAfter;

/// Which requests a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Discovery: `.well-known/smart-configuration`.
    Discovery,
    /// The token endpoint.
    Token,
    /// Kick-offs.
    KickOff,
    /// The status URL and the manifest that it becomes.
    Status,
    /// Pages of the manifest behind the first.
    NextPage,
    /// One file, by its place in the settings.
    File(usize),
    /// Any file.
    AnyFile,
    /// One attachment, in the order in which the server was given them.
    Attachment(usize),
    /// The DELETE of a job.
    Delete,
}

/// A fault with when and where it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// What is asked.
    pub place: Place,
    /// How many such requests pass before.
    pub after: u32,
    /// How many it strikes then.
    pub times: u32,
    /// What goes wrong.
    pub fault: Fault,
}

impl Strike {
    /// Strikes the first such request.
    pub fn once(place: Place, fault: Fault) -> Self {
        Self::times(1, place, fault)
    }

    /// Strikes the first few.
    pub fn times(times: u32, place: Place, fault: Fault) -> Self {
        Self {
            place,
            after: 0,
            times,
            fault,
        }
    }

    /// Strikes all of them.
    pub fn always(place: Place, fault: Fault) -> Self {
        Self::times(u32::MAX, place, fault)
    }

    /// Lets so many pass first.
    #[must_use]
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }
}

/// Where a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before a word of the answer.
    Before,
    /// Within the head.
    Head,
    /// After so many bytes of the body, of which all were announced; the last byte is never sent.
    Body(u64),
    /// Nowhere: it stays open after so many bytes, and nothing more comes.
    Silence(u64),
}

/// What an answer that is put in place of the right one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Nothing.
    Nothing,
    /// A page of a proxy.
    Html,
    /// An error of an object store.
    Xml,
    /// An OperationOutcome whose code is `transient`.
    Transient,
    /// An OperationOutcome whose code is `exception`.
    Exception,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its `Retry-After`.
        retry_after: RetryAfter,
        /// Its body.
        words: Words,
    },
    /// The connection ends.
    Cut(Cut),
    /// The body ends so many bytes early, and its length is announced as if that were all (a writer that died).
    ShortBody(u64),
    /// `Content-Length` is so much smaller than the body.
    AnnouncesLess(u64),
    /// `Content-Length` is so much larger than the body.
    AnnouncesMore(u64),
    /// Chunks, and the last one never comes.
    EndlessChunks,
    /// One byte of the text, at this part of it in thousandths, is another; within a string if there is one near.
    Altered(u16),
    /// A line that is no JSON.
    BrokenLine,
    /// A line with a resource of another type.
    OtherType,
    /// The first line twice, the last one missing: the number of lines is right.
    RepeatedLine,
    /// The text of the file that comes next in the settings.
    OtherFile,
    /// `Range` is not heard: everything comes, with 200.
    IgnoresRange,
    /// 206, with the bytes from another offset on, and a `Content-Range` that says so.
    OtherRange,
    /// 206, with a `Content-Range` that fits and bytes that do not.
    OtherBytes,
    /// 416 whatever the range is.
    RangeRefused,
    /// The link has expired, whatever its age.
    Expired,
    /// The token is not taken, whatever its age; it is never taken again.
    TokenRefused,
    /// Some bytes of the body and some values of headers are others, as the seed has it.
    Garbled(u64),
}

impl Fault {
    /// An answer without `Retry-After`.
    pub fn answer(status: u16, words: Words) -> Self {
        Self::answer_later(status, RetryAfter::None, words)
    }

    /// An answer that says when to come again.
    pub fn answer_later(status: u16, retry_after: RetryAfter, words: Words) -> Self {
        Self::Answer {
            status,
            retry_after,
            words,
        }
    }
}

/// A script that is being played.
#[derive(Debug)]
pub(super) struct Script(Vec<Strike>);

impl Script {
    pub(super) fn new(strikes: Vec<Strike>) -> Self {
        Self(strikes)
    }

    pub(super) fn push(&mut self, strike: Strike) {
        self.0.push(strike);
    }

    /// What goes wrong with the request that comes now. One strike strikes it; the others wait.
    pub(super) fn next(&mut self, place: Place) -> Option<Fault> {
        for strike in &mut self.0 {
            let is_file = matches!(place, Place::File(_)) && strike.place == Place::AnyFile;
            if (strike.place != place && !is_file) || strike.times == 0 {
                continue;
            }
            if strike.after > 0 {
                strike.after -= 1;
                continue;
            }
            if strike.times != u32::MAX {
                strike.times -= 1;
            }
            return Some(strike.fault.clone());
        }
        None
    }
}
