//! The body of a file, from where it was: [`Body`] knows how far it has come and whether an answer goes on there.

use super::journal::Record;
use super::plan::Planned;
use super::sink::Message;
use crate::decode::{Coding, RestartPoint};
use crate::provider::{Begun, DataProvider, FileRequest, OpenedFile};
use crate::{Error, ErrorKind, Result};

/// What has come of a body, in this run or in one before.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    /// What must be the same for a body to be gone on with.
    pub(super) etag: Option<String>,
    pub(super) coding: Coding,
    /// Where a decoder can begin, if none is at work.
    pub(super) restart: RestartPoint,
    /// The next encoded byte that the decoder at work wants.
    pub(super) next: Option<u64>,
}

impl Body {
    /// How many bytes of the encoded form have come.
    pub(super) fn come(&self) -> u64 {
        self.next.unwrap_or(self.restart.encoded)
    }

    /// Asks for the rest, where the server has said how to know that it is the same; else for all of it.
    ///
    /// # Errors
    /// As [`DataProvider::open`].
    pub(super) async fn open(&self, provider: &DataProvider, file: &Planned) -> Result<OpenedFile> {
        let mut request = FileRequest::new(&file.url, file.requires_access_token);
        request.begun = self.etag.clone().map(|etag| Begun {
            from: self.come(),
            etag,
            coding: self.coding,
        });
        provider.open(&request).await
    }

    /// Forgets all of it: the next answer is taken from its first byte.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Says how the writer is to take an answer, and whether it begins anew.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] for a part of something else; everything is to be asked for then.
    pub(super) fn meet(&mut self, name: &str, opened: &OpenedFile) -> Result<Meeting> {
        let is_same = self.etag.is_some() && self.etag == opened.etag && self.coding == opened.coding;
        let from = opened.from;
        if is_same && self.next == Some(from) {
            return Ok(Meeting::default());
        }
        if is_same && self.next.is_none() && from == self.restart.encoded {
            self.next = Some(from);
            return Ok(Meeting::begin(opened.coding, self.restart));
        }
        if from > 0 {
            return Err(Error::new(ErrorKind::Changed, "the server has another file now"));
        }
        let had = self.come();
        self.next = Some(0);
        let mut meeting = Meeting::begin(opened.coding, RestartPoint::default());
        if !is_same {
            self.etag.clone_from(&opened.etag);
            self.coding = opened.coding;
            meeting.is_anew = true;
            meeting.throws_away = had > 0;
            let begun = Record::Begun {
                file: name.to_owned(),
                etag: self.etag.clone(),
                coding: self.coding,
            };
            meeting.messages.insert(0, Message::Reset(Box::new(begun)));
        }
        Ok(meeting)
    }
}

/// What the writer has to be told before the bytes of an answer.
#[derive(Default)]
pub(super) struct Meeting {
    pub(super) messages: Vec<Message>,
    /// Whether the body is taken from its first byte.
    pub(super) is_anew: bool,
    /// Whether bytes of it were there.
    pub(super) throws_away: bool,
}

impl Meeting {
    fn begin(coding: Coding, from: RestartPoint) -> Self {
        Self {
            messages: vec![Message::Begin { coding, from }],
            ..Self::default()
        }
    }
}
