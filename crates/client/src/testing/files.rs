//! Files: links that end, codings, ranges, entity tags, and texts that are not what they were said to be.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use fhirhose_fhir::instant::Instant;

use super::asked::{Host, range_start};
use super::connection::{Answer, Request};
use super::ehr::{Inner, State};
use super::jobs::outcome;
use super::manner::{EntityTag, ExpiredLink, FileCoding, FileHost};
use super::script::Fault;

pub(super) const EXPIRED_XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Request has \
     expired</Message></Error>";
/// Lines of a member or a frame, where there are several.
const LINES_EACH: usize = 3;

impl Inner {
    pub(super) fn file_url(&self, job: usize, index: usize, now: Instant) -> String {
        let path = format!("/files/{job}/{index}?sig=secret-{}", now.micros());
        match self.manner.file_host {
            FileHost::Other => format!("{}{path}", self.file_origin),
            FileHost::Own | FileHost::Redirected(_) => self.url(&path),
        }
    }

    pub(super) fn file(
        &self,
        state: &mut State,
        host: Host,
        request: &Request,
        index: usize,
        fault: Option<Fault>,
    ) -> Answer {
        let now = self.now();
        let bears = request.header("authorization").is_some();
        let wants_token = self.manner.files_want_token && host == Host::Fhir;
        if bears && !wants_token {
            // Object stores refuse what is signed twice.
            return Answer::new(400).body("application/xml", "<Error><Code>InvalidArgument</Code></Error>");
        }
        if wants_token && self.manner.tokens.is_some() && !state.tokens.is_good(request, now) {
            return outcome(401, "login", "the token is not good");
        }
        if fault == Some(Fault::Expired) || !self.is_fresh(request, now) {
            return self.expired();
        }
        if let (FileHost::Redirected(status), Host::Fhir) = (self.manner.file_host, host) {
            return Answer::new(status).header("Location", format!("{}{}", self.file_origin, request.target));
        }
        if host == Host::Files && self.manner.file_host == FileHost::Own {
            return outcome(404, "not-found", "nothing lies here");
        }
        self.contents(state, request, index, fault)
    }

    fn is_fresh(&self, request: &Request, now: Instant) -> bool {
        let signed = request.query("sig");
        let issued = signed
            .first()
            .and_then(|sig| sig.strip_prefix("secret-")?.parse::<i64>().ok());
        let Some(issued) = issued else { return false };
        let age = Duration::from_micros(u64::try_from(now.micros() - issued).unwrap_or(0));
        self.manner.links_last.is_none_or(|lifetime| age < lifetime)
    }

    fn expired(&self) -> Answer {
        match self.manner.expired_link {
            ExpiredLink::Forbidden => Answer::new(403).body("application/xml", EXPIRED_XML),
            ExpiredLink::NotFound => Answer::new(404).body("text/html", "<html>not found</html>"),
            ExpiredLink::Gone => outcome(410, "not-found", "the file is gone"),
        }
    }

    fn contents(&self, state: &mut State, request: &Request, index: usize, fault: Option<Fault>) -> Answer {
        let text = fault.as_ref().and_then(|fault| self.wrong_text(index, fault));
        let accepts = request.header("accept-encoding").unwrap_or_default();
        let (coding, body) = match &text {
            Some(text) => coded(text, self.manner.coding, accepts),
            None => self.right_text(index, accepts),
        };
        state.files_given += 1;
        let tag = self.entity_tag(index, coding, state.files_given);
        let mut answer = Answer::new(200).header("Accept-Ranges", "bytes");
        if !coding.is_empty() {
            answer = answer
                .header("Content-Encoding", coding)
                .header("Vary", "Accept-Encoding");
        }
        if let Some(tag) = &tag {
            answer = answer.header("ETag", tag);
        }
        let short = match fault {
            Some(Fault::ShortBody(by)) => body.slice(..body.len().saturating_sub(by as usize)),
            _ => body,
        };
        let mut answer = answer.body("application/fhir+ndjson", short);
        answer.fault = fault;
        answer.slow = self.manner.slow_bodies;
        self.ranged(request, tag.as_deref(), answer)
    }

    fn right_text(&self, index: usize, accepts: &str) -> (&'static str, Bytes) {
        let coded = self.coded[index]
            .get_or_init(|| coded(&self.files[index].text, self.manner.coding, "zstd, gzip"));
        if is_accepted(coded.0, accepts) {
            return coded.clone();
        }
        ("", self.files[index].text.clone())
    }

    fn entity_tag(&self, index: usize, coding: &str, given: u64) -> Option<String> {
        match self.manner.entity_tag {
            EntityTag::Strong => Some(format!("\"file-{index}-{coding}\"")),
            EntityTag::Weak => Some(format!("W/\"file-{index}\"")),
            EntityTag::None => None,
            EntityTag::Restless => Some(format!("\"{given}\"")),
        }
    }

    fn ranged(&self, request: &Request, tag: Option<&str>, mut answer: Answer) -> Answer {
        let Some(from) = range_start(&request.headers) else {
            return answer;
        };
        let fault = answer.fault.clone();
        let total = answer.body.len() as u64;
        let matches = request
            .header("if-range")
            .is_none_or(|asked| tag == Some(asked) && !asked.starts_with("W/"));
        if self.manner.ignores_ranges || fault == Some(Fault::IgnoresRange) || !matches {
            return answer;
        }
        if from >= total || fault == Some(Fault::RangeRefused) {
            return Answer::new(416).header("Content-Range", format!("bytes */{total}"));
        }
        let said = match fault {
            Some(Fault::OtherRange) => from / 2,
            _ => from,
        };
        let taken = match fault {
            Some(Fault::OtherBytes) => from.saturating_sub(1),
            _ => said,
        };
        let length = total - said;
        answer.body = answer.body.slice(taken as usize..(taken + length) as usize);
        answer.status = 206;
        answer.header("Content-Range", format!("bytes {said}-{}/{total}", total - 1))
    }

    /// A text that is not the one that the manifest spoke of.
    fn wrong_text(&self, index: usize, fault: &Fault) -> Option<Bytes> {
        let text = &self.files[index].text;
        let first_end = text
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(text.len(), |at| at + 1);
        let (first, rest) = text.split_at(first_end);
        match fault {
            Fault::Altered(thousandths) => Some(altered(text, *thousandths)),
            Fault::BrokenLine => Some([&b"{\"resourceType\":\"Pat\n"[..], rest].concat().into()),
            Fault::OtherType => Some(
                [&b"{\"resourceType\":\"Basic\",\"id\":\"x\"}\n"[..], rest]
                    .concat()
                    .into(),
            ),
            Fault::RepeatedLine => {
                let body = text.strip_suffix(b"\n").unwrap_or(text);
                let last = body
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                Some([first, &text[..last]].concat().into())
            }
            Fault::OtherFile => Some(self.files[(index + 1) % self.files.len()].text.clone()),
            _ => None,
        }
    }
}

/// Changes a letter or a digit at or behind a part of the text, within a value if there is one.
pub(super) fn altered(text: &[u8], thousandths: u16) -> Bytes {
    let mut text = text.to_vec();
    let begin = text.len() * usize::from(thousandths.min(999)) / 1_000;
    if let Some(at) = (begin..text.len()).find(|at| text[*at].is_ascii_digit()) {
        text[at] = if text[at] == b'7' { b'8' } else { b'7' };
    }
    text.into()
}

fn is_accepted(coding: &str, accepts: &str) -> bool {
    let named = |name: &str| {
        accepts
            .split(',')
            .any(|item| item.split(';').next().unwrap_or_default().trim() == name)
    };
    match coding {
        "" => true,
        "gzip, gzip" => named("gzip"),
        // A server that does what nobody asked for.
        "snail" => true,
        name => named(name),
    }
}

fn coded(text: &[u8], coding: FileCoding, accepts: &str) -> (&'static str, Bytes) {
    let parts = || {
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let parts = lines.chunks(LINES_EACH).map(<[&[u8]]>::concat);
        parts.collect::<Vec<_>>()
    };
    let (name, bytes) = match coding {
        FileCoding::Identity => ("", text.to_vec()),
        FileCoding::Gzip => ("gzip", gzip(text)),
        FileCoding::GzipMembers => ("gzip", parts().iter().flat_map(|part| gzip(part)).collect()),
        FileCoding::Zstd => ("zstd", zstd(text)),
        FileCoding::ZstdFrames => ("zstd", parts().iter().flat_map(|part| zstd(part)).collect()),
        FileCoding::GzipTwice => ("gzip, gzip", gzip(&gzip(text))),
        FileCoding::Unknown => ("snail", text.to_vec()),
    };
    if is_accepted(name, accepts) {
        (name, bytes.into())
    } else {
        ("", Bytes::copy_from_slice(text))
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).expect("memory takes all");
    out.finish().expect("memory takes all")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).expect("memory takes all")
}
