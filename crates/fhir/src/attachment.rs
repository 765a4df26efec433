//! Attachments: the URLs of those that leave the server made absolute (F-11, K-12), and those of files that came led elsewhere.
//!
//! FHIR reads a relative `Attachment.url` below the server's base; a receiver of files knows no base. [`write_absolute`] touches only these
//! URLs. Where an attachment has its content as `data` too, the URL is left out: receivers take one of them. [`rewrite`] is for such a
//! receiver: it is asked of each attachment whose content lies behind a URL what becomes of it. Both keep every other byte.

use std::borrow::Cow;
use std::convert::Infallible;
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

/// An attachment whose content lies behind a URL, as it stands in a resource: without `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment<'t> {
    /// Where the content lies.
    pub url: Cow<'t, str>,
    /// Its media type.
    pub content_type: Option<Cow<'t, str>>,
    /// How many bytes it is said to have.
    pub size: Option<u64>,
    /// What is said to be its hash; nothing has looked at it.
    pub hash: Option<Cow<'t, str>>,
}

/// What becomes of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Its content lies there.
    Url(String),
    /// Its content stands in it, in the place of the URL.
    Data {
        /// The content, in base64.
        base64: String,
        /// How many bytes that is.
        bytes: u64,
        /// Its media type, which replaces what is there.
        content_type: Option<String>,
    },
}

/// Appends a valid resource's text with the URLs of its attachments absolute below `base_url` to `out`.
///
/// Gives `false`, and appends nothing, when nothing is to be changed: nearly always, and then it costs a search for two words.
pub fn write_absolute(text: &[u8], base_url: &str, out: &mut Vec<u8>) -> bool {
    if !may_change(text) {
        return false;
    }
    let mut edits = Vec::new();
    for open in attachments(text) {
        edits.extend(edit(text, open, base_url));
    }
    write_edited(text, edits, out)
}

/// Appends a valid resource's text with its attachments changed as `decide` says to `out`; it is asked of those that have a URL and no `data`,
/// in the order of the text.
///
/// Gives `false`, and appends nothing, when nothing is to be changed.
///
/// # Errors
/// Those of `decide`; nothing is appended then.
pub fn rewrite<E>(
    text: &[u8],
    mut decide: impl FnMut(&Attachment<'_>) -> Result<Change, E>,
    out: &mut Vec<u8>,
) -> Result<bool, E> {
    if URL.find(text).is_none() {
        return Ok(false);
    }
    let mut edits = Vec::new();
    for open in attachments(text) {
        let parts = Parts::of(text, open);
        if let Some(attachment) = parts.linked(text) {
            parts.change(text, decide(&attachment)?, &mut edits);
        }
    }
    Ok(write_edited(text, edits, out))
}

/// Tells of each attachment of a valid resource that has a URL and no `data`, in the order of the text.
pub fn look(text: &[u8], mut see: impl FnMut(&Attachment<'_>)) {
    let kept = rewrite(
        text,
        |attachment| {
            see(attachment);
            Ok::<_, Infallible>(Change::Keep)
        },
        &mut Vec::new(),
    );
    debug_assert_eq!(kept, Ok(false));
}

/// Reads a URL of an attachment as FHIR does: one that is relative lies below the server's base.
pub fn absolute_url<'u>(url: &'u str, base_url: &str) -> Cow<'u, str> {
    match is_relative(url) {
        true => below(base_url, url).into(),
        false => url.into(),
    }
}

fn write_edited(text: &[u8], mut edits: Vec<Edit>, out: &mut Vec<u8>) -> bool {
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
    let is_raw_relative = |raw: &str| is_relative(&decode(raw));
    DATA.find(text).is_some() || urls.any(|at| string_member(text, at + 5).is_some_and(is_raw_relative))
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
fn is_relative(url: &str) -> bool {
    let scheme_end = url.find([':', '/', '?', '#']);
    let has_scheme = scheme_end.is_some_and(|at| at > 0 && url.as_bytes()[at] == b':');
    !(url.is_empty() || has_scheme || url.starts_with('#') || url.starts_with("//"))
}

fn below(base_url: &str, url: &str) -> String {
    let base = base_url.trim_end_matches('/');
    format!("{base}/{}", url.trim_start_matches('/'))
}

/// Where the brackets of attachments open, in the order of the text.
fn attachments(text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    walk(text, 0..text.len(), false, DEPTH_MAX, &mut found);
    found
}

fn walk(text: &[u8], value: Range<usize>, is_attachment: bool, depth: usize, found: &mut Vec<usize>) {
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
                found.push(open);
            }
            for member in Members::new(text, open) {
                let is_attachment = names_attachment(&text[member.name.clone()]);
                walk(text, member.value, is_attachment, depth - 1, found);
            }
        }
        Some(b'[') => {
            let mut elements = Members::new(text, open);
            while let Some(element) = elements.next_element() {
                walk(text, element, is_attachment, depth - 1, found);
            }
        }
        _ => {}
    }
}

fn names_attachment(name: &[u8]) -> bool {
    name.ends_with(b"Attachment") || NAMES.iter().any(|known| known.as_bytes() == name)
}

/// The members of an attachment that matter here.
#[derive(Default)]
struct Parts {
    url: Option<Member>,
    has_data: bool,
    content_type: Option<Member>,
    size: Option<Member>,
    hash: Option<Member>,
}

impl Parts {
    /// Of the attachment whose bracket opens at `open`.
    fn of(text: &[u8], open: usize) -> Self {
        let mut parts = Self::default();
        for member in Members::new(text, open) {
            match &text[member.name.clone()] {
                b"url" => parts.url = Some(member),
                b"data" => parts.has_data = true,
                b"contentType" => parts.content_type = Some(member),
                b"size" => parts.size = Some(member),
                b"hash" => parts.hash = Some(member),
                _ => {}
            }
        }
        parts
    }

    fn linked<'t>(&self, text: &'t [u8]) -> Option<Attachment<'t>> {
        let string = |member: &Option<Member>| {
            let member = member.as_ref()?;
            string_member(text, member.name.end + 1).map(decode)
        };
        if self.has_data {
            return None;
        }
        Some(Attachment {
            url: string(&self.url)?,
            content_type: string(&self.content_type),
            size: self.size.as_ref().and_then(|size| {
                // R5 writes it as a string.
                let raw = std::str::from_utf8(&text[size.value.clone()]).ok()?;
                raw.trim_matches('"').parse().ok()
            }),
            hash: string(&self.hash),
        })
    }

    fn change(&self, text: &[u8], change: Change, edits: &mut Vec<Edit>) {
        let Some(url) = &self.url else { return };
        let mut put = |range: Range<usize>, text: Vec<u8>| edits.push(Edit { range, text });
        match change {
            Change::Keep => {}
            Change::Url(to) => put(url.value.clone(), quoted(&to)),
            Change::Data {
                base64,
                bytes,
                content_type,
            } => {
                let mut inserted = Vec::with_capacity(base64.len() + 80);
                if let Some(content_type) = content_type.as_deref().map(quoted) {
                    match &self.content_type {
                        Some(known) => put(known.value.clone(), content_type),
                        None => inserted.extend([b"\"contentType\":", &content_type[..], b","].concat()),
                    }
                }
                inserted.extend_from_slice(b"\"data\":\"");
                inserted.extend_from_slice(base64.as_bytes());
                inserted.push(b'"');
                match &self.size {
                    Some(known) if text.get(known.value.start) == Some(&b'"') => {
                        put(known.value.clone(), quoted(&bytes.to_string()));
                    }
                    Some(known) => put(known.value.clone(), bytes.to_string().into()),
                    None => inserted.extend(format!(",\"size\":{bytes}").bytes()),
                }
                put(url.whole(), inserted);
            }
        }
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut written);
    written
}

/// What is to be changed in the attachment whose bracket opens at `open`.
fn edit(text: &[u8], open: usize, base_url: &str) -> Option<Edit> {
    let parts = Parts::of(text, open);
    let url = parts.url?;
    if parts.has_data {
        return Some(Edit {
            range: with_one_comma(&url),
            text: Vec::new(),
        });
    }
    let raw = decode(string_member(text, url.name.end + 1)?);
    is_relative(&raw).then(|| Edit {
        range: url.value,
        text: quoted(&below(base_url, &raw)),
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
