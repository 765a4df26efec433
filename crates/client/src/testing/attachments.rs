//! Attachments: [`SourceAttachment`], as Binaries of the server.

use bytes::Bytes;
use serde_json::json;

use super::asked::Host;
use super::connection::{Answer, Request};
use super::ehr::{Inner, State};
use super::files::altered;
use super::jobs::outcome;
use super::manner::FileHost;
use super::script::Fault;

/// What lies behind the URL of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAttachment {
    /// Its media type.
    pub content_type: String,
    /// Its content; for FHIR JSON the test has it in base64 already.
    pub content: Bytes,
    /// Whether it is only given as a Binary in FHIR JSON, of which the content is base64.
    pub as_binary: bool,
}

impl SourceAttachment {
    /// A content that is given as it is.
    pub fn new(content_type: &str, content: impl Into<Bytes>) -> Self {
        Self {
            content_type: content_type.to_owned(),
            content: content.into(),
            as_binary: false,
        }
    }

    /// A content in base64 that is given as a Binary in FHIR JSON.
    pub fn binary(content_type: &str, base64: &str) -> Self {
        Self {
            as_binary: true,
            ..Self::new(content_type, base64.to_owned())
        }
    }
}

impl Inner {
    pub(super) fn attachment(
        &self,
        state: &State,
        host: Host,
        request: &Request,
        index: usize,
        fault: Option<Fault>,
    ) -> Answer {
        let wants_token = host == Host::Fhir && self.manner.tokens.is_some();
        if wants_token && !state.tokens.is_good(request, self.now()) {
            return outcome(401, "login", "the token is not good");
        }
        if host == Host::Files && request.header("authorization").is_some() {
            return Answer::new(400).body("application/xml", "<Error><Code>InvalidArgument</Code></Error>");
        }
        if let (FileHost::Redirected(status), Host::Fhir) = (self.manner.file_host, host) {
            return Answer::new(status).header("Location", format!("{}{}", self.file_origin, request.target));
        }
        let Some(attachment) = state.attachments.get(index) else {
            return outcome(404, "not-found", "there is no such Binary");
        };
        let mut content = attachment.content.clone();
        match fault {
            Some(Fault::ShortBody(by)) => content.truncate(content.len().saturating_sub(by as usize)),
            Some(Fault::Altered(thousandths)) => content = altered(&content, thousandths),
            _ => {}
        }
        let mut answer = match attachment.as_binary {
            true => {
                let data = String::from_utf8_lossy(&content);
                let content_type = &attachment.content_type;
                let binary = json!({ "resourceType": "Binary", "contentType": content_type, "data": data });
                Answer::new(200).body("application/fhir+json;charset=utf-8", binary.to_string())
            }
            false => Answer::new(200).body(&attachment.content_type, content),
        };
        answer.fault = fault;
        answer.slow = self.manner.slow_bodies;
        answer
    }
}
