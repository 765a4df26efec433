//! Splices `meta`: cuts `versionId` and `lastUpdated` out of a line for storing, and puts the store's own back in.
//!
//! [`write_stored`] makes the stored body, [`write_spliced`] what goes out. Only `meta` is touched; every other byte
//! stays the sender's. The law that holds the two together: storing what was spliced gives the stored body back, byte
//! for byte, with the same [`StoredLine`].
//!
//! For that law one body has one stored form: a `meta` that stands right after the id and that the cut leaves empty is
//! dropped, because splicing puts it back at that very place. An empty `meta` anywhere else stays `{}`.

use std::ops::Range;

use crate::{
    instant::{Instant, write_instant},
    json::{Member, Members, decode, write_string},
    line::CheckedLine,
};

/// The code of the tag that marks an incomplete resource.
pub(crate) const SUBSETTED: &str = "SUBSETTED";

/// Where a line's `meta` lies and what of it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaPlace {
    /// Offsets of the object's opening bracket and after its closing one.
    object: Option<(u32, u32)>,
    /// What storing cuts out, in order; the ranges do not touch.
    cuts: [(u32, u32); 2],
    /// Whether nothing but brackets remains after the cut.
    empties: bool,
    has_source: bool,
    pub(crate) subsetted: bool,
}

/// How the stored body takes the version and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SpliceForm {
    /// There is no `meta`: a whole one goes in right after the id.
    NoMeta = 0,
    /// There is `{}`: the two members go into it.
    EmptyMeta = 1,
    /// There is a `meta` with members: the two go before them.
    Meta = 2,
}

impl SpliceForm {
    /// The form with this number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::NoMeta),
            1 => Some(Self::EmptyMeta),
            2 => Some(Self::Meta),
            _ => None,
        }
    }

    /// The form's number on disk.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Where in a stored body version and time go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Splice {
    /// The offset in the stored body: after the id's closing quote, or after `meta`'s opening bracket.
    pub at: u32,
    /// What is written there.
    pub form: SpliceForm,
}

/// A stored body's two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredLine {
    /// Where version and time go in.
    pub splice: Splice,
    /// The offset of the id's first character in the stored body.
    pub id_at: u32,
}

impl MetaPlace {
    /// A line without `meta`.
    pub(crate) fn missing() -> Self {
        Self::default()
    }

    /// Reads the valid object between two offsets; the error is the offset of a `tag` that is no array.
    pub(crate) fn read(line: &str, open: usize, end: usize) -> Result<Self, usize> {
        let mut place = Self {
            object: Some((open as u32, end as u32)),
            ..Self::default()
        };
        let mut cut: [Option<Member>; 2] = [None, None];
        let mut kept = 0;
        for member in Members::new(line.as_bytes(), open) {
            let raw = &line[member.name.clone()];
            match &*decode(raw) {
                "versionId" | "lastUpdated" => {
                    let slot = usize::from(cut[0].is_some());
                    cut[slot] = Some(member);
                    continue;
                }
                "source" => place.has_source = true,
                "tag" => place.subsetted = has_subsetted_tag(line, &member.value)?,
                _ => {}
            }
            kept += 1;
        }
        place.empties = kept == 0;
        place.cuts = cut_ranges(cut);
        Ok(place)
    }

    /// Whether the line has a `meta` at all.
    pub fn is_present(&self) -> bool {
        self.object.is_some()
    }

    /// The object's text in the line that it was found in.
    pub fn text(self, line: &[u8]) -> Option<&[u8]> {
        let (open, end) = self.object?;
        line.get(open as usize..end as usize)
    }

    /// Whether `meta.source` is there.
    pub fn has_source(&self) -> bool {
        self.has_source
    }
}

/// Whether the tag array at `value` has the code `SUBSETTED`; the error is the offset of a tag that is no array.
pub(crate) fn has_subsetted_tag(line: &str, value: &Range<usize>) -> Result<bool, usize> {
    let bytes = line.as_bytes();
    if bytes.get(value.start) != Some(&b'[') {
        return Err(value.start);
    }
    let mut codings = Members::new(bytes, value.start);
    while let Some(coding) = codings.next_element() {
        if bytes.get(coding.start) == Some(&b'{') && is_subsetted(line, coding.start) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_subsetted(line: &str, coding: usize) -> bool {
    Members::new(line.as_bytes(), coding).any(|member| {
        let value = &line[member.value];
        decode(&line[member.name]) == "code"
            && value
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'))
                .is_some_and(|text| decode(text) == SUBSETTED)
    })
}

/// What to cut for up to two members, each with one comma, so that what remains is an object.
fn cut_ranges(members: [Option<Member>; 2]) -> [(u32, u32); 2] {
    let none = (0, 0);
    match members {
        [None, _] => [none, none],
        [Some(only), None] => [cut_range(&only), none],
        [Some(first), Some(second)]
            if second.comma_before == first.comma_after && second.comma_after.is_none() =>
        {
            // Both at the end: they go together, with the comma before the first.
            [(cut_start(&first), second.value.end as u32), none]
        }
        [Some(first), Some(second)] => [cut_range(&first), cut_range(&second)],
    }
}

/// A member and the comma after it; for the last member the comma before it.
fn cut_range(member: &Member) -> (u32, u32) {
    match member.comma_after {
        Some(comma) => (member.whole().start as u32, comma as u32 + 1),
        None => (cut_start(member), member.value.end as u32),
    }
}

fn cut_start(member: &Member) -> u32 {
    member.comma_before.unwrap_or(member.whole().start) as u32
}

/// Appends the stored form of a checked line to `out`, which may hold other things before it.
///
/// `meta.versionId` and `meta.lastUpdated` are cut out, each with one comma; `source`, if given, becomes `meta.source`
/// where there is none. Every other byte stays. `line` must be the line that was checked.
pub fn write_stored(
    line: &[u8],
    checked: &CheckedLine<'_>,
    source: Option<&str>,
    out: &mut Vec<u8>,
) -> StoredLine {
    let meta = &checked.meta;
    let source = source.filter(|_| !meta.has_source);
    let id_end = checked.id_at + checked.id.len() + 1;
    let mut body = Body {
        line,
        done: 0,
        start: out.len(),
        out,
    };
    let Some((open, end)) = meta.object else {
        return body.without_meta(checked.id_at, id_end, id_end, source);
    };
    let (open, end) = (open as usize, end as usize);
    let inner: usize = meta.cuts.iter().map(|(from, to)| (to - from) as usize).sum();
    let nothing_remains = end - open - 2 == inner;
    if nothing_remains && line.get(id_end..open) == Some(br#","meta":"#) {
        return body.without_meta(checked.id_at, id_end, end, source);
    }
    // Members' offsets shift by what is cut or put in before them; the id may come on either side of meta.
    let mut form = if meta.empties {
        SpliceForm::EmptyMeta
    } else {
        SpliceForm::Meta
    };
    body.copy_to(open + 1);
    let at = body.written();
    if let Some(source) = source {
        body.write_source(source);
        if !meta.empties {
            body.out.push(b',');
        }
        form = SpliceForm::Meta;
    }
    for (from, to) in meta.cuts {
        body.cut(from as usize, to as usize);
    }
    let shifted = if checked.id_at < open {
        checked.id_at as u32
    } else {
        body.place_of(checked.id_at)
    };
    body.copy_to(line.len());
    StoredLine {
        splice: Splice { at, form },
        id_at: shifted,
    }
}

/// A stored body in the making.
struct Body<'b> {
    line: &'b [u8],
    /// How much of the line has been copied or cut.
    done: usize,
    /// Where the body starts in `out`.
    start: usize,
    out: &'b mut Vec<u8>,
}

impl Body<'_> {
    /// Writes a line that has no `meta` to keep: what lies in `id_end..resume` is dropped.
    fn without_meta(
        &mut self,
        id_at: usize,
        id_end: usize,
        resume: usize,
        source: Option<&str>,
    ) -> StoredLine {
        self.copy_to(id_end);
        let mut splice = Splice {
            at: self.written(),
            form: SpliceForm::NoMeta,
        };
        if let Some(source) = source {
            self.out.extend_from_slice(br#","meta":{"#);
            splice = Splice {
                at: self.written(),
                form: SpliceForm::Meta,
            };
            self.write_source(source);
            self.out.push(b'}');
        }
        self.cut(id_end, resume);
        self.copy_to(self.line.len());
        StoredLine {
            splice,
            id_at: id_at as u32,
        }
    }

    fn copy_to(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.line.get(self.done..end).unwrap_or_default());
        self.done = self.done.max(end);
    }

    fn cut(&mut self, from: usize, to: usize) {
        if from < to {
            self.copy_to(from);
            self.done = to;
        }
    }

    fn written(&self) -> u32 {
        (self.out.len() - self.start) as u32
    }

    /// Where a place of the line that is still to be copied will lie in the body.
    fn place_of(&self, at: usize) -> u32 {
        self.written() + (at - self.done) as u32
    }

    fn write_source(&mut self, source: &str) {
        self.out.extend_from_slice(br#""source":"#);
        write_string(source, self.out);
    }
}

/// Appends a stored body with its `meta.versionId` and `meta.lastUpdated` to `out`.
///
/// A splice that does not belong to the body gives a text that is not a resource, but no panic.
pub fn write_spliced(body: &[u8], splice: Splice, version: u64, last_updated: Instant, out: &mut Vec<u8>) {
    let (before, after) = body.split_at_checked(splice.at as usize).unwrap_or((body, &[]));
    out.reserve(body.len() + 96);
    out.extend_from_slice(before);
    if splice.form == SpliceForm::NoMeta {
        out.extend_from_slice(br#","meta":{"#);
    }
    out.extend_from_slice(br#""versionId":""#);
    write_number(version, out);
    out.extend_from_slice(br#"","lastUpdated":""#);
    write_instant(last_updated, out);
    out.push(b'"');
    match splice.form {
        SpliceForm::NoMeta => out.push(b'}'),
        SpliceForm::EmptyMeta => {}
        SpliceForm::Meta => out.push(b','),
    }
    out.extend_from_slice(after);
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}
