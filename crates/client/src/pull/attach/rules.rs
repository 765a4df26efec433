//! Which attachments are fetched, what is asked for, and what becomes of their contents: [`Rules`].

use fhirhose_fhir::attachment::{Attachment, absolute_url};
use sha2::{Digest, Sha256};
use url::Url;

use super::known::UrlKey;
use crate::pull::AttachmentSettings;

pub(super) const FHIR_JSON: &str = "application/fhir+json";

/// The longest extension of a file's name, in bytes.
const EXTENSION_BYTES_MAX: usize = 8;

/// Extensions of media types whose second part is none.
const EXTENSIONS: [(&str, &str); 27] = [
    ("application/dicom", "dcm"),
    ("application/fhir+json", "json"),
    ("application/fhir+xml", "xml"),
    ("application/gzip", "gz"),
    ("application/hl7-cda+xml", "xml"),
    ("application/hl7-sda+xml", "xml"),
    ("application/hl7-v3+xml", "xml"),
    ("application/msword", "doc"),
    ("application/octet-stream", ""),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/x-hl7", "hl7"),
    ("audio/mpeg", "mp3"),
    ("audio/x-wav", "wav"),
    ("image/jpeg", "jpg"),
    ("image/svg+xml", "svg"),
    ("image/tiff", "tif"),
    ("text/cda+xml", "xml"),
    ("text/css", "css"),
    ("text/javascript", "js"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
    ("text/x-hl7-text+xml", "xml"),
    ("video/mpeg", "mpg"),
    ("video/quicktime", "mov"),
];

/// What a pull was asked to do with attachments.
#[derive(Debug)]
pub(super) struct Rules {
    /// The FHIR base URL.
    pub(super) base: String,
    pub(super) line_bytes_max: usize,
    pub(super) settings: AttachmentSettings,
}

impl Rules {
    /// Where the content of an attachment is fetched; `None` for one that stays as it is: of a type that was not asked for, or behind what
    /// is no http or https URL.
    pub(super) fn url(&self, attachment: &Attachment<'_>) -> Option<Url> {
        let types = &self.settings.types;
        if !types.is_empty() && !is_of(types, attachment.content_type.as_deref()) {
            return None;
        }
        if attachment.url.is_empty() || attachment.url.starts_with('#') {
            return None;
        }
        let mut url = Url::parse(&absolute_url(&attachment.url, &self.base)).ok()?;
        // It is the reader's, and not the server's.
        url.set_fragment(None);
        matches!(url.scheme(), "http" | "https").then_some(url)
    }

    /// Whether a content is put into its resource.
    pub(super) fn inlines(&self, media_type: Option<&str>, bytes: u64) -> bool {
        bytes < self.settings.inline_below_bytes && is_of(&self.settings.inline_types, media_type)
    }
}

/// What a URL is remembered by.
pub(super) fn key(url: &Url) -> UrlKey {
    let digest = Sha256::digest(url.as_str().as_bytes());
    let mut key = UrlKey::default();
    let length = key.len();
    key.copy_from_slice(&digest[..length]);
    key
}

/// Whether a media type is one of these, or begins with one.
fn is_of(types: &[String], media_type: Option<&str>) -> bool {
    let Some(media_type) = media_type.map(|text| text.trim().to_ascii_lowercase()) else {
        return false;
    };
    let begins = |known: &String| media_type.starts_with(&known.trim().to_ascii_lowercase());
    types.iter().any(begins)
}

/// A media type without its parameters, in lower case.
pub(super) fn essence(media_type: &str) -> String {
    let before = media_type.split(';').next().unwrap_or_default();
    before.trim().to_ascii_lowercase()
}

/// What is asked for: the type of the attachment, else the resource where it is a Binary, else anything.
pub(super) fn accept(content_type: Option<&str>, url: &Url) -> String {
    let is_type = |text: &&str| text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_binary = || {
        url.path_segments()
            .is_some_and(|mut parts| parts.any(|part| part == "Binary"))
    };
    match content_type.filter(is_type) {
        Some(content_type) => content_type.to_owned(),
        None if is_binary() => FHIR_JSON.to_owned(),
        None => "*/*".to_owned(),
    }
}

/// The extension of a file by its media type, else by its URL; empty if neither says one.
pub(super) fn extension(media_type: Option<&str>, url: &Url) -> String {
    let named = media_type.map(essence).unwrap_or_default();
    let known = EXTENSIONS.iter().find(|(name, _)| *name == named);
    let by_type = match known {
        Some((_, extension)) => (*extension).to_owned(),
        None => {
            let name = named.split_once('/').map_or("", |(_, name)| name);
            let name = name.rsplit('+').next().unwrap_or_default();
            name.strip_prefix("x-").unwrap_or(name).to_owned()
        }
    };
    let last = url.path_segments().and_then(|mut parts| parts.next_back());
    let by_path = last.and_then(|name| Some(name.rsplit_once('.')?.1.to_ascii_lowercase()));
    let is_good = |text: &String| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=EXTENSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
    };
    let found = [Some(by_type), by_path].into_iter().flatten().find(is_good);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_come_from_the_type_then_from_the_path() {
        for (media_type, path, expected) in [
            (Some("text/plain; charset=utf-8"), "/Binary/1", "txt"),
            (Some("Application/PDF"), "/Binary/1.txt", "pdf"),
            (Some("image/jpeg"), "/x", "jpg"),
            (Some("application/atom+xml"), "/x", "xml"),
            (Some("image/x-icon"), "/x", "icon"),
            (Some("application/octet-stream"), "/scan.TIFF", "tiff"),
            (Some("application/vnd.unknown-thing"), "/scan.abc", "abc"),
            (None, "/scan.pdf", "pdf"),
            (None, "/scan.not-one", ""),
            (None, "/scan.longerthan8", ""),
            (Some("nonsense"), "/Binary/1", ""),
            (Some("text/../../x"), "/Binary/1", ""),
        ] {
            let url = Url::parse(&format!("https://ehr.example{path}")).unwrap();
            assert_eq!(extension(media_type, &url), expected, "{media_type:?} {path}");
        }
    }

    #[test]
    fn the_type_is_asked_for_then_the_resource_then_anything() {
        let url = |text: &str| Url::parse(text).unwrap();
        let binary = url("https://ehr.example/r4/Binary/1");
        assert_eq!(
            accept(Some("text/plain; charset=utf-8"), &binary),
            "text/plain; charset=utf-8"
        );
        assert_eq!(accept(None, &binary), FHIR_JSON);
        assert_eq!(accept(Some("no\r\ntype/x"), &binary), FHIR_JSON);
        assert_eq!(accept(None, &url("https://ehr.example/scan.pdf")), "*/*");
    }

    #[test]
    fn attachments_of_other_types_and_behind_other_urls_stay() {
        let rules = |types: &[&str]| Rules {
            base: "https://ehr.example/r4".to_owned(),
            line_bytes_max: 1_000,
            settings: AttachmentSettings {
                types: types.iter().map(ToString::to_string).collect(),
                ..AttachmentSettings::default()
            },
        };
        let fetched = |types: &[&str], content_type: Option<&str>, url: &str| {
            let url = rules(types).url(&Attachment {
                url: url.into(),
                content_type: content_type.map(Into::into),
                size: None,
                hash: None,
            });
            url.map(String::from)
        };
        let relative = fetched(&[], None, "Binary/1#page=2");
        assert_eq!(relative.as_deref(), Some("https://ehr.example/r4/Binary/1"));
        for other in [
            "#c",
            "data:text/plain,x",
            "urn:uuid:1",
            "ftp://x/y",
            "//host/x",
            "",
        ] {
            assert_eq!(fetched(&[], None, other), None, "{other}");
        }
        assert!(fetched(&["TEXT/"], Some("text/plain"), "a").is_some());
        assert!(
            fetched(
                &["application/pdf", "text/plain"],
                Some("text/plain; charset=x"),
                "a"
            )
            .is_some()
        );
        assert_eq!(fetched(&["text/"], Some("image/png"), "a"), None);
        assert_eq!(fetched(&["text/"], None, "a"), None);
    }
}
