//! One export of almost nothing, from kick-off to DELETE.

use std::time::Duration;

use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::instant::Instant;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::ask::{Seen, shown, told};
use super::{Check, Examination, Exports};
use crate::kick_off::ExportParameters;
use crate::quirks::QuirkLevel;
use crate::retry_after;

const KICK_OFF: (&str, &str) = ("K-40", "Kick-off");
const STATUS: (&str, &str) = ("S-07", "Status");

/// The longest text that `X-Progress` may have, in characters.
const PROGRESS_CHARS_MAX: usize = 100;

impl Examination {
    /// Exports the patients changed within the last second, looks at what comes, and has it deleted.
    pub(super) async fn export(&mut self) {
        let (id, title) = KICK_OFF;
        if let Some(why) = self.why_no_export() {
            return self.note(Check::not_tried(id, title, why));
        }
        self.pause().await;
        let Some(status_url) = self.kick_off().await else {
            return;
        };
        if let Some(manifest) = self.poll(&status_url).await {
            self.look_at_files(&status_url, &manifest).await;
        }
        self.pause().await;
        self.delete(&status_url).await;
    }

    fn why_no_export(&self) -> Option<String> {
        let quirks = self.provider.quirks();
        let level = match self.settings.group {
            Some(_) => QuirkLevel::Group,
            None => QuirkLevel::Patient,
        };
        match self.settings.exports {
            Exports::Never => return Some("as was asked".to_owned()),
            Exports::WhereCheap if quirks.exports_are_scarce => {
                let why =
                    "such servers let a client export a Group once in a while, and this would use it up";
                return Some(format!("{why} (--export to try nevertheless)"));
            }
            Exports::WhereCheap | Exports::Always => {}
        }
        let has_level = quirks.levels.is_empty() || quirks.levels.contains(&level);
        if has_level {
            return None;
        }
        Some(match level {
            QuirkLevel::Group => "such servers have no export of Groups".to_owned(),
            _ => "such servers have no export of all patients: name a Group (--group)".to_owned(),
        })
    }

    /// Kicks off and gives the status URL.
    async fn kick_off(&mut self) -> Option<Url> {
        let (id, title) = KICK_OFF;
        let url = match ExportParameters::new(self.level()).endpoint(self.provider.base()) {
            Ok(url) => self.with_query(url),
            Err(error) => {
                self.note(Check::failed(id, title, told(&error), "the base URL has a path"));
                return None;
            }
        };
        let headers = [("Accept", "application/fhir+json"), ("Prefer", "respond-async")];
        let seen = match self.ask(Method::GET, &url, &headers).await {
            Ok(seen) => seen,
            Err(error) => {
                let rule = "202 Accepted with the URL of the status";
                self.note(Check::failed(id, title, told(&error), rule));
                return None;
            }
        };
        if seen.status.as_u16() != 202 {
            self.note(self.refused(&seen));
            return None;
        }
        let location = seen.header("content-location").unwrap_or_default();
        let status_url = url.join(&location).ok().filter(|_| !location.is_empty());
        let rule = "`Content-Location` is the absolute URL of the status";
        let check = match &status_url {
            None => Check::failed(id, title, "202 without a Content-Location that can be read", rule),
            Some(_) if Url::parse(&location).is_err() => {
                Check::differs(id, title, "202 with a relative Content-Location", rule)
                    .so("It is taken as relative to the kick-off.")
            }
            Some(status) if status.origin() != self.provider.base().origin() => Check::differs(
                id,
                title,
                "202; the status lies at another origin",
                "tokens are for one origin",
            )
            .so("The token is not sent there."),
            Some(_) => Check::ok(id, title, "202 with an absolute Content-Location"),
        };
        self.note(check);
        if !seen.body.is_empty() && !seen.has_outcome() {
            let rule = "a body is an OperationOutcome, or there is none";
            self.note(
                Check::differs("K-41", "Body of the kick-off", "something else", rule).so("It is not read."),
            );
        }
        status_url
    }

    /// Patients changed within the last second, of which there are few.
    fn with_query(&self, mut url: Url) -> Url {
        let second_ago = self.provider.clock().now().micros().saturating_sub(1_000_000);
        let since = Instant::from_micros(second_ago).to_string();
        url.query_pairs_mut()
            .append_pair("_type", "Patient")
            .append_pair("_since", &since);
        url
    }

    fn refused(&self, seen: &Seen) -> Check {
        let (id, title) = KICK_OFF;
        let said = seen.words();
        match seen.status.as_u16() {
            401 | 403 if !self.provider.has_credentials() => Check::failed(
                id,
                title,
                format!("{said}; no token was sent"),
                "a server with authorization wants the token of a registered client (--client-id and --key)",
            ),
            429 => Check::differs(
                id,
                title,
                said,
                "429 says that there are too many exports; try again later",
            )
            .so("A pull waits, as Retry-After asks, and tries again."),
            404 | 405 | 501 => {
                let rule = match self.level() {
                    ExportLevel::Group(_) => "`Group/[id]/$export` exports a Group that there is",
                    _ => "`Patient/$export` exports all patients; where it does not, name a Group (--group)",
                };
                Check::failed(id, title, said, rule)
            }
            _ => Check::failed(id, title, said, "202 Accepted with the URL of the status"),
        }
    }

    /// Polls a bounded number of times; gives the manifest, if it came.
    async fn poll(&mut self, status_url: &Url) -> Option<Value> {
        let (id, title) = STATUS;
        let rule = "202 while the export runs, 200 with the manifest at its end";
        let mut is_first = true;
        for _ in 0..self.settings.polls_max {
            let asked = self
                .ask(Method::GET, status_url, &[("Accept", "application/json")])
                .await;
            let seen = match asked {
                Ok(seen) => seen,
                Err(error) => {
                    self.note(Check::failed(id, title, told(&error), rule));
                    return None;
                }
            };
            match seen.status.as_u16() {
                200 => return self.look_at_manifest(&seen),
                202 if is_first => self.look_at_progress(&seen),
                202 | 429 => {}
                _ => {
                    self.note(Check::failed(id, title, seen.words(), rule));
                    return None;
                }
            }
            is_first = false;
            let wait = self.retry_after(&seen).unwrap_or(Duration::from_secs(1));
            let most = Duration::from_secs(self.settings.poll_wait_secs_max);
            self.provider.clock().sleep(wait.min(most)).await;
        }
        let said = format!(
            "still at work after {} questions; manifest and files were not seen",
            self.settings.polls_max
        );
        self.note(Check::not_tried("S-10", "Manifest", said));
        None
    }

    fn retry_after(&self, seen: &Seen) -> Option<Duration> {
        let value = seen.header("retry-after");
        retry_after::parse(value.as_deref(), self.provider.clock().now(), Duration::MAX)
    }

    fn look_at_progress(&mut self, seen: &Seen) {
        let progress = seen.header("x-progress").unwrap_or_default();
        let (id, title) = ("S-05", "X-Progress");
        self.note(match progress.chars().count() {
            0 => Check::ok(id, title, "none, which is allowed"),
            length if length >= PROGRESS_CHARS_MAX => Check::differs(
                id,
                title,
                format!("a text of {length} characters"),
                "fewer than 100 characters",
            ),
            _ => Check::ok(id, title, format!("`{}`", shown(&progress))),
        });
        let (id, title) = ("S-03", "Retry-After");
        let rule = "Retry-After says in seconds when to ask again (SHOULD)";
        let longest = self.provider.quirks().retry_after_secs_max;
        let given = seen.header("retry-after");
        let check = match (given.as_deref(), self.retry_after(seen)) {
            (None, _) => {
                Check::differs(id, title, "none", rule).so("The waits of a pull double, up to a limit.")
            }
            (Some(text), None) => {
                let said = format!("`{}`, which is neither seconds nor a date", shown(text));
                Check::differs(id, title, said, rule).so("The waits of a pull double, up to a limit.")
            }
            (Some(_), Some(wait)) if wait.as_secs() > longest => {
                let said = format!("{} s", wait.as_secs());
                let rule = "an export may be done long before";
                Check::differs(id, title, said, rule)
                    .so("A pull asks again after 5 minutes at the latest, or as its quirks say.")
            }
            (Some(text), Some(_)) if text.trim().parse::<u64>().is_err() => {
                Check::ok(id, title, "a date, which is allowed")
            }
            (Some(_), Some(wait)) => Check::ok(id, title, format!("{} s", wait.as_secs())),
        };
        self.note(check);
    }

    async fn delete(&mut self, status_url: &Url) {
        let (id, title) = ("D-02", "DELETE");
        if !self.provider.trusts(status_url) {
            let why = "the status lies at another origin, where nothing is deleted unless it is trusted";
            return self.note(Check::not_tried(id, title, why));
        }
        let rule = "202 Accepted";
        let accept = [("Accept", "application/fhir+json")];
        let check = match self.ask(Method::DELETE, status_url, &accept).await {
            Ok(seen) if seen.status.as_u16() == 202 => Check::ok(id, title, "202"),
            Ok(seen) => Check::differs(id, title, seen.words(), rule)
                .so("A pull has everything by then; it tells and ends well."),
            Err(error) => Check::differs(id, title, told(&error), rule)
                .so("A pull has everything by then; it tells and ends well."),
        };
        self.note(check);
        self.pause().await;
        let (id, title) = ("D-04", "Status after DELETE");
        let rule = "404 with an OperationOutcome";
        let check = match self
            .ask(Method::GET, status_url, &[("Accept", "application/json")])
            .await
        {
            Ok(seen) if seen.status.as_u16() == 404 && seen.has_outcome() => {
                Check::ok(id, title, "404 with an OperationOutcome")
            }
            Ok(seen) => Check::differs(id, title, seen.words(), rule).so("A pull does not ask after DELETE."),
            Err(error) => {
                Check::differs(id, title, told(&error), rule).so("A pull does not ask after DELETE.")
            }
        };
        self.note(check);
    }
}
