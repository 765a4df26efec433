//! One value inside of a resource's text, looked at in place.

use std::{borrow::Cow, ops::Range};

use crate::json::{Members, decode};

/// A JSON value: where it lies in a resource's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'b> {
    body: &'b [u8],
    start: usize,
    end: usize,
}

impl<'b> Value<'b> {
    /// The whole text; white space before it is passed over.
    pub(super) fn whole(body: &'b [u8]) -> Self {
        let start = body
            .iter()
            .position(|&byte| !crate::json::is_space(byte))
            .unwrap_or(body.len());
        Self {
            body,
            start,
            end: body.len(),
        }
    }

    fn within(self, range: Range<usize>) -> Self {
        Self {
            body: self.body,
            start: range.start,
            end: range.end,
        }
    }

    /// The value's text.
    pub(super) fn raw(self) -> &'b [u8] {
        self.body.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_object(self) -> bool {
        self.body.get(self.start) == Some(&b'{')
    }

    pub(super) fn is_array(self) -> bool {
        self.body.get(self.start) == Some(&b'[')
    }

    pub(super) fn is_null(self) -> bool {
        self.body.get(self.start) == Some(&b'n')
    }

    /// What lies between the quotes of a string, escapes and all.
    pub(super) fn raw_string(self) -> Option<&'b [u8]> {
        self.raw().strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// What a string means.
    pub(super) fn string(self) -> Option<Cow<'b, str>> {
        std::str::from_utf8(self.raw_string()?).ok().map(decode)
    }

    /// The text of a number or of `true` and `false`.
    pub(super) fn scalar(self) -> Option<&'b str> {
        let raw = self.raw();
        let plain = matches!(raw.first()?, b'-' | b'0'..=b'9' | b't' | b'f');
        std::str::from_utf8(raw).ok().filter(|_| plain)
    }

    /// Whether it is a string that means this text.
    pub(super) fn is_text(self, text: &str) -> bool {
        self.raw_string().is_some_and(|raw| means(raw, text))
    }

    /// The members of an object with their raw names; none if it is no object.
    pub(super) fn members(self) -> impl Iterator<Item = (&'b [u8], Value<'b>)> {
        let members = self.is_object().then(|| Members::new(self.body, self.start));
        members.into_iter().flatten().map(move |member| {
            let name = self.body.get(member.name).unwrap_or_default();
            (name, self.within(member.value))
        })
    }

    /// The member of an object.
    pub(super) fn member(self, name: &str) -> Option<Value<'b>> {
        self.members()
            .find(|(raw, _)| means(raw, name))
            .map(|(_, value)| value)
    }

    /// The elements of an array; of anything else itself.
    pub(super) fn elements(self) -> impl Iterator<Item = Value<'b>> {
        let mut members = self.is_array().then(|| Members::new(self.body, self.start));
        let mut single = (!self.is_array()).then_some(self);
        std::iter::from_fn(move || match &mut members {
            Some(members) => members.next_element().map(|range| self.within(range)),
            None => single.take(),
        })
    }
}

/// Whether the raw text of a JSON string means this text.
#[inline]
pub(super) fn means(raw: &[u8], text: &str) -> bool {
    // A text with escapes is longer than what it means.
    raw == text.as_bytes() || (raw.len() > text.len() && raw.contains(&b'\\') && decoded_means(raw, text))
}

#[cold]
fn decoded_means(raw: &[u8], text: &str) -> bool {
    std::str::from_utf8(raw).is_ok_and(|raw| decode(raw) == text)
}
