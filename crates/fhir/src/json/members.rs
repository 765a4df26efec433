//! Walks the members of an object, or the elements of an array, that has passed the validating pass.
//!
//! Values are stepped over, not read. Text that is not valid ends the walk early or gives odd ranges within the
//! text; it never panics and never runs for ever.

use std::ops::Range;

use super::{is_space, string::closing_quote};

/// One member of an object: offsets into the text that was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The raw name between its quotes.
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
    /// The comma before the member, if there is one.
    pub(crate) comma_before: Option<usize>,
    /// The comma after the member, if there is one.
    pub(crate) comma_after: Option<usize>,
}

impl Member {
    /// The whole member, from its name's opening quote to its value's end.
    pub(crate) fn whole(&self) -> Range<usize> {
        self.name.start - 1..self.value.end
    }
}

/// The members of an object, in the order of the text.
pub(crate) struct Members<'t> {
    bytes: &'t [u8],
    at: usize,
    comma: Option<usize>,
}

impl<'t> Members<'t> {
    /// Walks the object or array whose opening bracket stands at `open`.
    pub(crate) fn new(bytes: &'t [u8], open: usize) -> Self {
        Self {
            bytes,
            at: open + 1,
            comma: None,
        }
    }

    /// The value of the next element, for walking an array.
    pub(crate) fn next_element(&mut self) -> Option<Range<usize>> {
        self.skip_space();
        let value = self.next_value()?;
        self.next_comma();
        Some(value)
    }

    fn next_value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.at = value_end(self.bytes, start);
        (self.at > start).then_some(start..self.at)
    }

    fn next_comma(&mut self) -> Option<usize> {
        self.skip_space();
        self.comma = (self.bytes.get(self.at) == Some(&b',')).then_some(self.at);
        self.at += usize::from(self.comma.is_some());
        self.comma
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|&byte| is_space(byte)) {
            self.at += 1;
        }
    }
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.skip_space();
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let name = self.at + 1..closing_quote(self.bytes, self.at + 1);
        self.at = name.end + 1;
        self.skip_space();
        // The colon; a valid text has nothing else here.
        self.at += 1;
        self.skip_space();
        let comma_before = self.comma;
        let value = self.next_value()?;
        Some(Member {
            name,
            value,
            comma_before,
            comma_after: self.next_comma(),
        })
    }
}

/// The offset after the value that begins at `start`; `start` itself where no value begins.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => (closing_quote(bytes, start + 1) + 1).min(bytes.len()),
        Some(b'{' | b'[') => brackets_end(bytes, start),
        _ => {
            let rest = bytes.get(start..).unwrap_or_default();
            let length = rest
                .iter()
                .position(|&byte| matches!(byte, b',' | b'}' | b']') || is_space(byte));
            start + length.unwrap_or(rest.len())
        }
    }
}

fn brackets_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = closing_quote(bytes, at) + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at.min(bytes.len())
}
