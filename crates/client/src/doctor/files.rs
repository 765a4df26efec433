//! The manifest and a first look at a file.

use serde_json::Value;
use url::Url;

use super::ask::{Seen, told};
use super::{Check, Examination};
use crate::Result;

/// What is asked for of files.
const NDJSON: (&str, &str) = ("Accept", "application/fhir+ndjson");

impl Examination {
    /// Looks at the manifest and gives it, if it is one.
    pub(super) fn look_at_manifest(&mut self, seen: &Seen) -> Option<Value> {
        let (id, title) = ("S-10", "Manifest");
        let manifest: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        if !manifest["transactionTime"].is_string() {
            let rule = "a manifest in JSON with transactionTime";
            self.note(Check::failed(id, title, "200 without a manifest", rule));
            return None;
        }
        let mut wrong = Vec::new();
        if !seen.content_type().starts_with("application/json") {
            wrong.push(format!(
                "Content-Type `{}`",
                super::ask::shown(&seen.content_type())
            ));
        }
        if seen.header("expires").is_none() {
            wrong.push("no Expires".to_owned());
        }
        for member in ["request", "requiresAccessToken", "output", "error"] {
            // STU4 has no `request` and calls `error` `outcome`.
            let is_newer = member == "error" && manifest["outcome"].is_array();
            if manifest[member].is_null() && !is_newer {
                wrong.push(format!("no `{member}`"));
            }
        }
        let files = outputs(&manifest);
        if files.iter().any(|(_, url)| Url::parse(url).is_err()) {
            wrong.push("relative URLs of files".to_owned());
        }
        let said = format!("200, {} files", files.len());
        self.note(match wrong.is_empty() {
            true => Check::ok(id, title, said),
            false => Check::differs(
                id,
                title,
                format!("{said}; {}", wrong.join(", ")),
                "application/json with Expires, all members, and absolute URLs",
            )
            .so("Manifests of every version and with gaps are read."),
        });
        let (id, title) = ("K-07", "_type");
        let strangers = files.iter().filter(|(kind, _)| kind != "Patient").count();
        if strangers > 0 {
            let said = format!("{strangers} files of other types than Patient, which alone was asked for");
            let rule = "an export has the types that were asked for";
            let check = Check::differs(id, title, said, rule);
            self.note(
                check.so("Files are kept under their types; a kick-off by POST (--post) may be read better."),
            );
        } else if !files.is_empty() {
            self.note(Check::ok(id, title, "only the type that was asked for"));
        }
        Some(manifest)
    }

    /// Asks for the first file from its second byte on, and compressed; nothing of it is read.
    pub(super) async fn look_at_files(&mut self, status_url: &Url, manifest: &Value) {
        let flag = &manifest["requiresAccessToken"];
        let wants_token = flag == true || flag == "true";
        let first = outputs(manifest).into_iter().next();
        let url = first.and_then(|(_, url)| status_url.join(&url).ok());
        let Some(url) = url else {
            let why = "no patient changed within the last second, so there was no file";
            self.note(Check::not_tried("F-12", "Ranges", why));
            return self.note(Check::not_tried("F-08", "Compression", why));
        };
        self.pause().await;
        // Without an end, as a pull asks that goes on.
        let headers = [NDJSON, ("Accept-Encoding", "identity"), ("Range", "bytes=1-")];
        let asked = self.ask_for_file(&url, wants_token, &headers).await;
        self.note(ranges(asked));
        self.pause().await;
        let headers = [NDJSON, ("Accept-Encoding", "zstd, gzip")];
        let asked = self.ask_for_file(&url, wants_token, &headers).await;
        self.look_at_encoding(asked);
    }

    fn look_at_encoding(&mut self, asked: Result<Seen>) {
        let (id, title) = ("F-08", "Compression");
        let seen = match asked {
            Ok(seen) if seen.status.is_success() => seen,
            Ok(seen) => {
                return self.note(Check::not_tried(
                    id,
                    title,
                    format!("the file answers {}", seen.status),
                ));
            }
            Err(error) => return self.note(Check::not_tried(id, title, told(&error))),
        };
        let coding = seen
            .header("content-encoding")
            .unwrap_or_else(|| "identity".to_owned());
        self.note(match coding.as_str() {
            "gzip" | "zstd" => Check::ok(id, title, coding),
            "identity" => Check::differs(
                id,
                title,
                "none",
                "files come compressed to who takes it (SHOULD)",
            )
            .so("Files are fetched as they are."),
            _ => Check::differs(id, title, coding, "one of the codings that were offered"),
        });
        let (id, title) = ("F-02", "Content-Type of files");
        let content_type = seen.content_type();
        self.note(match content_type.starts_with("application/fhir+ndjson") {
            true => Check::ok(id, title, content_type),
            false => Check::differs(
                id,
                title,
                format!("`{}`", super::ask::shown(&content_type)),
                "application/fhir+ndjson",
            )
            .so("Files are read by their lines, whatever they are called."),
        });
    }
}

/// Types and URLs of the output files.
fn outputs(manifest: &Value) -> Vec<(String, String)> {
    let files = manifest["output"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    files
        .map(|file| (text(&file["type"]), text(&file["url"])))
        .collect()
}

/// Whether a `Content-Range` has everything from the second byte on.
fn is_rest(range: &str) -> bool {
    let parts = range
        .strip_prefix("bytes 1-")
        .and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(last, length)| {
        let (last, length) = (last.parse::<u64>(), length.parse::<u64>());
        last.is_ok_and(|last| length.is_ok_and(|length| last.checked_add(1) == Some(length)))
    })
}

fn ranges(asked: Result<Seen>) -> Check {
    let (id, title) = ("F-12", "Ranges");
    let rule = "206 with all bytes from there on, and a strong ETag (recommended; not part of the guide)";
    let seen = match asked {
        Ok(seen) => seen,
        Err(error) => {
            return Check::failed(
                "F-03",
                "File",
                told(&error),
                "a file of the manifest can be fetched",
            );
        }
    };
    let again = "A file that breaks off is fetched from its beginning.";
    let range = seen.header("content-range").unwrap_or_default();
    let has_etag = seen.header("etag").is_some_and(|etag| etag.starts_with('"'));
    match seen.status.as_u16() {
        206 if !is_rest(&range) => {
            Check::differs(id, title, "206 with another range than was asked for", rule).so(again)
        }
        206 if has_etag => Check::ok(
            id,
            title,
            "206 with a strong ETag: what breaks off goes on where it was",
        ),
        206 => Check::differs(id, title, "206 without a strong ETag", rule).so(again),
        200 => Check::differs(id, title, "none: 200 with the whole file", rule).so(again),
        301..=308 => Check::ok(
            "F-10",
            "Redirect of files",
            "to another URL, which is asked without the token",
        ),
        _ => Check::failed(
            "F-03",
            "File",
            seen.words(),
            "a file of the manifest can be fetched",
        ),
    }
}
