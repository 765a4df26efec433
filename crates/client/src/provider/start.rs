//! The kick-off (CL-03, K-05, K-22, K-23).

use std::time::Duration;

use reqwest::header::{CONTENT_LOCATION, CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode};
use url::Url;

use super::ask::Question;
use super::credentials::Credentials;
use super::page::absolute;
use super::patience::Backoff;
use super::{DataProvider, Pause, Waiting};
use crate::answer::{Answer, Reply};
use crate::kick_off::ExportParameters;
use crate::{Error, ErrorKind, Result};

/// The URL of a GET from which on a POST is tried first, in bytes: many servers take 8 KiB, headers included.
const GET_URL_BYTES_MAX: usize = 4_000;

/// An export that the server has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where it is polled: `Content-Location`, made absolute.
    pub status_url: Url,
    /// Whether the server agreed to tell the job's status apart from the question's (CL-06).
    pub has_separate_status: bool,
    /// Status and headers, for logs.
    pub answer: Answer,
}

impl DataProvider {
    /// Kicks an export off, once.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] with the server's own words; [`ErrorKind::Refused`] without asking for what the server is
    /// known not to do, and where the granted scopes leave out a type that is asked for (CL-03); [`ErrorKind::Protocol`] without
    /// `Content-Location`. Else as [`crate::Http::fetch`].
    pub async fn kick_off(&self, parameters: &ExportParameters) -> Result<Accepted> {
        let parameters = &*self.quirks.adapt(parameters)?;
        self.check_scopes(parameters).await?;
        let endpoint = parameters.endpoint(&self.base)?;
        let place = parameters.place(&endpoint);
        let mut get = endpoint.clone();
        let query = parameters.query_text(&self.quirks);
        get.set_query(Some(&query).filter(|query| !query.is_empty()).map(String::as_str));
        let ways: &[Method] = match (parameters.wants_post(), self.quirks.takes_post) {
            (true, _) => &[Method::POST],
            (false, false) => &[Method::GET],
            (false, true) if get.as_str().len() > GET_URL_BYTES_MAX => &[Method::POST, Method::GET],
            (false, true) => &[Method::GET, Method::POST],
        };
        let mut asked = None;
        for way in ways {
            let url = if *way == Method::GET { &get } else { &endpoint };
            let reply = self
                .ask(self.kick_off_question(parameters, way, url, &place))
                .await?;
            // A server that does not take this method, or a URL of this length, has not begun anything.
            let is_other_way = matches!(reply.status.as_u16(), 405 | 414 | 415 | 431 | 501);
            asked = Some(reply);
            if !is_other_way {
                break;
            }
        }
        let nothing = || Error::new(ErrorKind::Protocol, "no way to kick an export off");
        self.accepted(parameters, asked.ok_or_else(nothing)?, &place)
    }

    /// Kicks an export off, trying again while there is trouble that passes, as long as [`Patience`](super::Patience) says.
    ///
    /// An answer that got lost leaves an export behind of which nobody knows the URL; the next try begins another.
    ///
    /// # Errors
    /// As [`kick_off`](Self::kick_off), of the last try.
    pub async fn kick_off_patiently(
        &self,
        parameters: &ExportParameters,
        waiting: &dyn Waiting,
    ) -> Result<Accepted> {
        let patience = &self.patience;
        let mut backoff = Backoff::new(patience, self.base.as_str());
        let (began, mut attempts) = (self.clock.now(), 0);
        loop {
            let error = match self.kick_off(parameters).await {
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable) => error,
                done => return done,
            };
            attempts += 1;
            let wait = backoff.wait(error.retry_after());
            let is_queue = error.answer().is_some_and(|answer| answer.status == 429)
                && self.quirks.busy_kick_off_secs_max > 0;
            let (attempts_max, secs_max) = match is_queue {
                true => (u32::MAX, self.quirks.busy_kick_off_secs_max),
                false => (patience.kick_off_attempts_max, patience.kick_off_secs_max),
            };
            let until = self.clock.now().since(began) + wait;
            if attempts >= attempts_max || until > Duration::from_secs(secs_max) {
                return Err(error);
            }
            waiting.pause(&Pause {
                progress: None,
                trouble: Some(&error),
                wait,
            });
            self.clock.sleep(wait).await;
        }
    }

    fn kick_off_question<'a>(
        &self,
        parameters: &ExportParameters,
        method: &Method,
        url: &'a Url,
        place: &'a str,
    ) -> Question<'a> {
        let mut prefer = "respond-async".to_owned();
        if parameters.lenient {
            prefer.push_str(", handling=lenient");
        }
        if parameters.separate_status {
            prefer.push_str(", separate-export-status");
        }
        let question = Question::new(method.clone(), url, place, "application/fhir+json")
            .with(HeaderName::from_static("prefer"), &prefer);
        match *method {
            Method::GET => question,
            _ => question
                .with(CONTENT_TYPE, "application/fhir+json")
                .with_body(parameters.body().to_string()),
        }
    }

    fn accepted(&self, parameters: &ExportParameters, reply: Reply, place: &str) -> Result<Accepted> {
        if reply.status != StatusCode::ACCEPTED {
            return Err(parameters.redacted(self.refusal(&reply, place)));
        }
        let location = reply.header(CONTENT_LOCATION.as_str());
        let status_url = location.and_then(|location| absolute(&reply.url, location.trim()).ok());
        let status_url = status_url
            .ok_or_else(|| reply.error(ErrorKind::Protocol, &format!("{place} gives no Content-Location")))?;
        let applied = reply.headers.get_all("preference-applied").iter();
        let has_separate_status = applied
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .any(|word| word.trim().eq_ignore_ascii_case("separate-export-status"));
        Ok(Accepted {
            status_url,
            has_separate_status,
            answer: reply.answer(),
        })
    }

    /// Refuses before anything is asked what the granted scopes leave out (CL-03). A grant in words that are no scopes of SMART is
    /// taken as it is: the server says itself what it refuses.
    async fn check_scopes(&self, parameters: &ExportParameters) -> Result<()> {
        let Credentials::Tokens(tokens) = &self.credentials else {
            return Ok(());
        };
        if parameters.types.is_empty() {
            return Ok(());
        }
        let token = tokens.token_by(&*self.clock).await?;
        let types = parameters.types.iter().flat_map(|types| types.split(','));
        let missing: Vec<&str> = types
            .filter(|name| !reads(token.scope_text(), name.trim()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let problem = format!(
            "the server has granted `{}`, which does not let {} be read",
            crate::answer::clipped(token.scope_text()),
            missing.join(", ")
        );
        Err(Error::new(ErrorKind::Refused, problem))
    }
}

/// Whether scopes of SMART 1 or 2 let a type be read, as far as can be told.
fn reads(scopes: &str, resource_type: &str) -> bool {
    let mut is_smart = false;
    for scope in scopes.split_whitespace() {
        let Some((subject, actions)) = scope
            .strip_prefix("system/")
            .and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        is_smart = true;
        // A scope of SMART 2 may go on with a query, which leaves some of the type.
        let actions = actions.split('?').next().unwrap_or_default();
        let has_read = matches!(actions, "read" | "*") || (actions != "write" && actions.contains('r'));
        if has_read && (subject == "*" || subject == resource_type) {
            return true;
        }
    }
    !is_smart
}

#[cfg(test)]
mod tests {
    use super::reads;

    #[test]
    fn scopes_of_both_versions_tell_what_can_be_read_cl_03() {
        for (scopes, is_read) in [
            ("system/*.read", true),
            ("system/*.*", true),
            ("system/*.rs", true),
            ("system/Patient.rs system/Observation.r", true),
            ("system/Observation.rs?category=laboratory", true),
            ("openid", true),
            ("", true),
            ("system/Patient.rs", false),
            ("system/Observation.s", false),
            ("system/*.write", false),
            ("system/Observation.cud", false),
        ] {
            assert_eq!(reads(scopes, "Observation"), is_read, "{scopes}");
        }
    }
}
