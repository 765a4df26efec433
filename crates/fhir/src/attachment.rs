//! Attachments of resources that leave the server: their URLs made absolute (F-11, K-12).
//!
//! FHIR reads a relative `Attachment.url` below the server's base; a receiver of files knows no base. Only these URLs are touched,
//! every other byte is kept. Where an attachment has its content as `data` too, the URL is left out: receivers take one of them.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::{Member, Members, closing_quote, decode, is_space, write_string};

/// R4's elements of the type Attachment whose names do not end in `Attachment`. Other elements of these names have no `url`.
const NAMES: [&str; 6] = [
    "attachment",
    "content",
    "document",
    "image",
    "photo",
    "presentedForm",
];

/// Objects and arrays within one another that are looked into; the importer's own limit is below it.
const DEPTH_MAX: usize = 200;

static URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"url\""));
static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"data\""));

/// A stretch of the text that goes out as something else.
struct Edit {
    range: Range<usize>,
    text: Vec<u8>,
}

/// Appends a valid resource's text with the URLs of its attachments absolute below `base_url` to `out`.
///
/// Gives `false`, and appends nothing, when nothing is to be changed: nearly always, and then it costs a search for two words.
pub fn write_absolute(text: &[u8], base_url: &str, out: &mut Vec<u8>) -> bool {
    if !may_change(text) {
        return false;
    }
    let mut edits = Vec::new();
    walk(text, 0..text.len(), false, base_url, DEPTH_MAX, &mut edits);
    if edits.is_empty() {
        return false;
    }
    edits.sort_by_key(|edit| edit.range.start);
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&text[from..edit.range.start]);
        out.extend_from_slice(&edit.text);
        from = edit.range.end;
    }
    out.extend_from_slice(&text[from..]);
    true
}

/// Whether some member `url` is relative, or stands in a text that also has a member `data`.
fn may_change(text: &[u8]) -> bool {
    let mut urls = URL.find_iter(text).peekable();
    if urls.peek().is_none() {
        return false;
    }
    DATA.find(text).is_some() || urls.any(|at| string_member(text, at + 5).is_some_and(is_relative))
}

/// The raw text of the string behind a member's name and colon.
fn string_member(text: &[u8], name_end: usize) -> Option<&str> {
    let skip = |mut at: usize| {
        while text.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        at
    };
    let colon = skip(name_end);
    let open = skip(colon + 1);
    if text.get(colon) != Some(&b':') || text.get(open) != Some(&b'"') {
        return None;
    }
    let raw = text.get(open + 1..closing_quote(text, open + 1))?;
    std::str::from_utf8(raw).ok()
}

/// Whether a URL stands below a base: it has no scheme, names no other host and no contained resource.
fn is_relative(raw: &str) -> bool {
    let url = decode(raw);
    let scheme_end = url.find([':', '/', '?', '#']);
    let has_scheme = scheme_end.is_some_and(|at| at > 0 && url.as_bytes()[at] == b':');
    !(url.is_empty() || has_scheme || url.starts_with('#') || url.starts_with("//"))
}

fn walk(
    text: &[u8],
    value: Range<usize>,
    is_attachment: bool,
    base_url: &str,
    depth: usize,
    edits: &mut Vec<Edit>,
) {
    let open = value.start
        + text[value.clone()]
            .iter()
            .take_while(|&&byte| is_space(byte))
            .count();
    if depth == 0 {
        return;
    }
    match text.get(open) {
        Some(b'{') => {
            if is_attachment {
                edits.extend(edit(text, open, base_url));
            }
            for member in Members::new(text, open) {
                let name = &text[member.name.clone()];
                walk(
                    text,
                    member.value,
                    names_attachment(name),
                    base_url,
                    depth - 1,
                    edits,
                );
            }
        }
        Some(b'[') => {
            let mut elements = Members::new(text, open);
            while let Some(element) = elements.next_element() {
                walk(text, element, is_attachment, base_url, depth - 1, edits);
            }
        }
        _ => {}
    }
}

fn names_attachment(name: &[u8]) -> bool {
    name.ends_with(b"Attachment") || NAMES.iter().any(|known| known.as_bytes() == name)
}

/// What is to be changed in the attachment whose bracket opens at `open`.
fn edit(text: &[u8], open: usize, base_url: &str) -> Option<Edit> {
    let mut members = Members::new(text, open);
    let (mut url, mut has_data) = (None, false);
    for member in members.by_ref() {
        match &text[member.name.clone()] {
            b"url" => url = Some(member),
            b"data" => has_data = true,
            _ => {}
        }
    }
    let url = url?;
    if has_data {
        return Some(Edit {
            range: with_one_comma(&url),
            text: Vec::new(),
        });
    }
    let raw = string_member(text, url.name.end + 1).filter(|raw| is_relative(raw))?;
    let mut absolute = Vec::new();
    let base = base_url.trim_end_matches('/');
    write_string(
        &format!("{base}/{}", decode(raw).trim_start_matches('/')),
        &mut absolute,
    );
    Some(Edit {
        range: url.value,
        text: absolute,
    })
}

fn with_one_comma(member: &Member) -> Range<usize> {
    let whole = member.whole();
    match (member.comma_before, member.comma_after) {
        (Some(comma), _) => comma..whole.end,
        (None, Some(comma)) => whole.start..comma + 1,
        (None, None) => whole,
    }
}
