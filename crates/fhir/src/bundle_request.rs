//! Bundles that ask for something: `batch` and `transaction` (FHIR R4, http).
//!
//! [`BundleRequest::parse`] reads the envelope and leaves each resource as the text that it is. [`relink`] puts the ids that entries
//! get into the references of others.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::json_problem;
use crate::json::{Members, closing_quote, decode, write_string};
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};

/// Objects and arrays within one another that a Bundle may have: its links are looked for level by level.
const DEPTH_MAX: usize = 200;

/// A Bundle with requests.
#[derive(Debug)]
pub struct BundleRequest<'a> {
    /// Whether all entries are done or none.
    pub is_transaction: bool,
    /// The entries in their order.
    pub entries: Vec<RequestEntry<'a>>,
}

/// What one entry asks for.
#[derive(Debug)]
pub struct RequestEntry<'a> {
    /// By which other entries refer to the resource.
    pub full_url: Option<Cow<'a, str>>,
    /// The HTTP verb.
    pub method: Method,
    /// The URL, relative to the base or absolute.
    pub url: Cow<'a, str>,
    /// `ifMatch`
    pub if_match: Option<Cow<'a, str>>,
    /// `ifNoneMatch`
    pub if_none_match: Option<Cow<'a, str>>,
    /// `ifModifiedSince`
    pub if_modified_since: Option<Cow<'a, str>>,
    /// `ifNoneExist`
    pub if_none_exist: Option<Cow<'a, str>>,
    /// The resource's text.
    pub resource: Option<&'a str>,
}

/// The verb of an entry, in the order in which a transaction does them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `DELETE`
    Delete,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

impl<'a> BundleRequest<'a> {
    /// Reads a Bundle of at most `entries_max` entries.
    ///
    /// # Errors
    /// An outcome with every problem of the envelope: not JSON, nested deeper than 200, another resource, another type of Bundle, an
    /// entry without request.
    pub fn parse(body: &'a [u8], entries_max: usize) -> Result<Self, OperationOutcome> {
        let fault = |text: String| OperationOutcome::error(IssueCode::Structure, text);
        let wire: WireBundle<'a> = serde_json::from_slice(body)
            .map_err(|source| fault(format!("the Bundle {}", json_problem(&source))))?;
        // The text of a resource is not read yet, so nothing has bounded it.
        if is_deeper(body, DEPTH_MAX) {
            return Err(fault(format!("the Bundle is nested deeper than {DEPTH_MAX}")));
        }
        if wire.resource_type != "Bundle" {
            return Err(fault("the body is not a Bundle".to_owned()));
        }
        let is_transaction = match wire.bundle_type.as_deref() {
            Some("transaction") => true,
            Some("batch") => false,
            _ => {
                let text = "the Bundle's type is neither batch nor transaction";
                return Err(OperationOutcome::error(IssueCode::NotSupported, text));
            }
        };
        let list = wire.entry.map_or("[]", RawValue::get);
        if !list.starts_with('[') {
            return Err(fault("Bundle.entry is not an array".to_owned()));
        }
        let mut findings = Findings::default();
        let mut entries = Vec::new();
        let mut elements = Members::new(list.as_bytes(), 0);
        while let Some(place) = elements.next_element() {
            if entries.len() == entries_max {
                let text = format!("the Bundle has more than {entries_max} entries");
                return Err(OperationOutcome::error(IssueCode::TooCostly, text));
            }
            let number = entries.len();
            match RequestEntry::parse(&list[place]) {
                Ok(entry) => entries.push(entry),
                Err(problem) => {
                    let issue = Issue::error(IssueCode::Structure, problem);
                    findings.push(issue.with_expression(format!("Bundle.entry[{number}]")));
                    // The numbers of those behind it stay right.
                    entries.push(RequestEntry::nothing());
                }
            }
        }
        findings.or(Self {
            is_transaction,
            entries,
        })
    }
}

/// Whether objects and arrays of a JSON text lie deeper within one another.
fn is_deeper(text: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = closing_quote(text, at) + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

impl<'a> RequestEntry<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let wire: WireEntry<'a> =
            serde_json::from_str(text).map_err(|source| format!("the entry {}", json_problem(&source)))?;
        let request = wire.request.ok_or("the entry has no request")?;
        let method = match &*request.method {
            "DELETE" => Method::Delete,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => return Err("request.method is no verb that R4 has".to_owned()),
        };
        Ok(Self {
            full_url: wire.full_url,
            method,
            url: request.url,
            if_match: request.if_match,
            if_none_match: request.if_none_match,
            if_modified_since: request.if_modified_since,
            if_none_exist: request.if_none_exist,
            resource: wire.resource.map(RawValue::get),
        })
    }

    fn nothing() -> Self {
        Self {
            full_url: None,
            method: Method::Get,
            url: Cow::Borrowed(""),
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_none_exist: None,
            resource: None,
        }
    }
}

#[derive(Deserialize)]
struct WireBundle<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    bundle_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    entry: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry<'a> {
    #[serde(borrow)]
    full_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<WireRequest<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    if_match: Option<Cow<'a, str>>,
    #[serde(borrow)]
    if_none_match: Option<Cow<'a, str>>,
    #[serde(borrow)]
    if_modified_since: Option<Cow<'a, str>>,
    #[serde(borrow)]
    if_none_exist: Option<Cow<'a, str>>,
}

/// Members whose text can be a link to an entry of the Bundle: references, and elements that R4 types as uri or url.
const LINKS: [&str; 5] = ["reference", "url", "uri", "valueUri", "valueUrl"];

/// Gives a resource's text with its links replaced where `lookup` knows another text for a member's name and text; every other byte
/// stays.
///
/// `text` comes out of a [`BundleRequest`], which bounds how deep it is nested.
pub fn relink<'t>(text: &'t str, mut lookup: impl FnMut(&str, &str) -> Option<String>) -> Cow<'t, str> {
    let mut relinker = Relinker {
        text,
        done: 0,
        out: Vec::new(),
        lookup: &mut lookup,
    };
    relinker.value(text.find('{').unwrap_or(text.len()), None);
    if relinker.done == 0 {
        return Cow::Borrowed(text);
    }
    let mut out = relinker.out;
    out.extend_from_slice(&text.as_bytes()[relinker.done..]);
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

struct Relinker<'t, 'l> {
    text: &'t str,
    /// Up to here the text is in `out`.
    done: usize,
    out: Vec<u8>,
    lookup: &'l mut dyn FnMut(&str, &str) -> Option<String>,
}

impl Relinker<'_, '_> {
    fn value(&mut self, at: usize, name: Option<&str>) {
        let bytes = self.text.as_bytes();
        match bytes.get(at) {
            Some(b'{') => {
                for member in Members::new(bytes, at) {
                    let name = decode(&self.text[member.name.clone()]);
                    match bytes.get(member.value.start) {
                        Some(b'"') => self.string(&member.value, &name),
                        _ => self.value(member.value.start, Some(&name)),
                    }
                }
            }
            Some(b'[') => {
                let mut elements = Members::new(bytes, at);
                while let Some(element) = elements.next_element() {
                    match (bytes.get(element.start), name) {
                        (Some(b'"'), Some(name)) => self.string(&element, name),
                        _ => self.value(element.start, name),
                    }
                }
            }
            _ => {}
        }
    }

    fn string(&mut self, place: &std::ops::Range<usize>, name: &str) {
        if !LINKS.contains(&name) {
            return;
        }
        let raw = self
            .text
            .get(place.start + 1..place.end.saturating_sub(1))
            .unwrap_or_default();
        if let Some(new) = (self.lookup)(name, &decode(raw)) {
            self.out
                .extend_from_slice(&self.text.as_bytes()[self.done..place.start]);
            write_string(&new, &mut self.out);
            self.done = place.end;
        }
    }
}
