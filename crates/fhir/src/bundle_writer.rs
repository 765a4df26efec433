//! Writes Bundles around resources whose text stays as it is: searches, histories, and answers to batches and transactions.

use crate::json::write_string;

/// Writes one Bundle, entry by entry.
pub struct BundleWriter {
    text: Vec<u8>,
    has_entries: bool,
}

/// One entry; what is `None` or empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct BundleEntry<'a> {
    /// `fullUrl`
    pub full_url: Option<&'a str>,
    /// The resource's JSON, which is not looked at.
    pub resource: Option<&'a [u8]>,
    /// `search.mode`: `match`, `include` or `outcome`.
    pub mode: Option<&'a str>,
    /// `request.method` and `request.url`
    pub request: Option<(&'a str, &'a str)>,
    /// `response`
    pub response: Option<EntryResponse<'a>>,
}

/// What became of an entry's request.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntryResponse<'a> {
    /// The HTTP status with its reason.
    pub status: &'a str,
    /// The URL of the version that was made.
    pub location: Option<&'a str>,
    /// The entity tag of the version.
    pub etag: Option<&'a str>,
    /// When the version was made, as an instant.
    pub last_modified: Option<&'a str>,
    /// An OperationOutcome as JSON.
    pub outcome: Option<&'a [u8]>,
}

impl BundleWriter {
    /// Begins a Bundle of a type, such as `searchset`, with links by relation and URL.
    pub fn new(bundle_type: &str, total: Option<u64>, links: &[(&str, &str)]) -> Self {
        let mut writer = Self {
            text: br#"{"resourceType":"Bundle","type":"#.to_vec(),
            has_entries: false,
        };
        writer.string(bundle_type);
        if let Some(total) = total {
            writer.raw(format!(r#","total":{total}"#).as_bytes());
        }
        for (number, (relation, url)) in links.iter().enumerate() {
            writer.raw(if number == 0 { br#","link":["# } else { b"," });
            writer.raw(br#"{"relation":"#);
            writer.string(relation);
            writer.raw(br#","url":"#);
            writer.string(url);
            writer.raw(b"}");
        }
        if !links.is_empty() {
            writer.raw(b"]");
        }
        writer
    }

    /// Adds an entry.
    pub fn entry(&mut self, entry: &BundleEntry<'_>) {
        self.raw(if self.has_entries {
            b",{"
        } else {
            br#","entry":[{"#
        });
        self.has_entries = true;
        let mut comma: &[u8] = b"";
        let mut member = |writer: &mut Self, name: &str| {
            writer.raw(comma);
            comma = b",";
            writer.raw(format!(r#""{name}":"#).as_bytes());
        };
        if let Some(url) = entry.full_url {
            member(self, "fullUrl");
            self.string(url);
        }
        if let Some(resource) = entry.resource {
            member(self, "resource");
            self.raw(resource);
        }
        if let Some(mode) = entry.mode {
            member(self, "search");
            self.object(&[("mode", Some(mode))]);
        }
        if let Some((method, url)) = entry.request {
            member(self, "request");
            self.object(&[("method", Some(method)), ("url", Some(url))]);
        }
        if let Some(response) = &entry.response {
            member(self, "response");
            self.response(response);
        }
        self.raw(b"}");
    }

    /// Ends the Bundle and gives its text.
    pub fn finish(mut self) -> Vec<u8> {
        if self.has_entries {
            self.raw(b"]");
        }
        self.raw(b"}");
        self.text
    }

    fn response(&mut self, response: &EntryResponse<'_>) {
        self.object(&[
            ("status", Some(response.status)),
            ("location", response.location),
            ("etag", response.etag),
            ("lastModified", response.last_modified),
        ]);
        if let Some(outcome) = response.outcome {
            self.text.pop();
            self.raw(br#","outcome":"#);
            self.raw(outcome);
            self.raw(b"}");
        }
    }

    fn object(&mut self, members: &[(&str, Option<&str>)]) {
        self.raw(b"{");
        let present = members
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        for (number, (name, value)) in present.enumerate() {
            if number > 0 {
                self.raw(b",");
            }
            self.string(name);
            self.raw(b":");
            self.string(value);
        }
        self.raw(b"}");
    }

    fn string(&mut self, text: &str) {
        write_string(text, &mut self.text);
    }

    fn raw(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
}
