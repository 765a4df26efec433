//! What the server was asked: [`Asked`].

use super::script::Place;

/// Which of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The FHIR server.
    Fhir,
    /// Where the files may lie.
    Files,
}

/// A request, as it came, and what it was answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who was asked.
    pub host: Host,
    /// What was meant, if the path has a meaning.
    pub place: Option<Place>,
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, values as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The status of the answer; 0 where none was given.
    pub status: u16,
}

impl Asked {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The first byte that a `Range` asks for; `None` without one.
    pub fn range_start(&self) -> Option<u64> {
        range_start(&self.headers)
    }

    /// Which file was asked for.
    pub fn file(&self) -> Option<usize> {
        match self.place {
            Some(Place::File(index)) => Some(index),
            _ => None,
        }
    }

    /// The path, without its query.
    pub fn path(&self) -> &str {
        path(&self.target)
    }

    /// The values of a parameter of the query, decoded.
    pub fn query(&self, name: &str) -> Vec<String> {
        query(&self.target, name)
    }
}

pub(super) fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| value.as_str())
}

pub(super) fn range_start(headers: &[(String, String)]) -> Option<u64> {
    let range = header(headers, "range")?.strip_prefix("bytes=")?;
    range.split('-').next()?.parse().ok()
}

pub(super) fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

pub(super) fn query(target: &str, name: &str) -> Vec<String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}
