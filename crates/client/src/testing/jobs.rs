//! Kick-offs, status and deletion.

use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use serde_json::{Value, json};

use super::connection::{Answer, Request};
use super::ehr::{Inner, State};
use super::manifest::Page;
use super::manner::RetryAfter;
use super::script::{Fault, Words};

/// An export under way, or done.
#[derive(Debug, Clone)]
pub(super) struct Job {
    begun: Instant,
    request: String,
    /// Whether partial manifests were asked for.
    partial: bool,
    /// Whether its status comes apart from that of HTTP.
    separate: bool,
    deleted: bool,
    /// How often a page was given.
    pages_given: usize,
}

impl Inner {
    pub(super) fn kick_off(&self, state: &mut State, request: &Request) -> Answer {
        let prefer = request.header("prefer").unwrap_or_default().to_owned();
        if !prefer.contains("respond-async") {
            return outcome(400, "invalid", "Prefer: respond-async is missing");
        }
        if self.manner.refuses_repeated_type && request.query("_type").len() > 1 {
            return outcome(400, "invalid", "_type is repeated");
        }
        if self.manner.one_export_at_a_time && state.jobs.iter().any(|job| !job.deleted) {
            return outcome(429, "throttled", "an export is under way");
        }
        let is_partial = |request: &Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let named =
                |item: &Value| item["name"] == "allowPartialManifests" && item["valueBoolean"] == true;
            let in_body = body["parameter"]
                .as_array()
                .is_some_and(|list| list.iter().any(named));
            in_body || request.query("allowPartialManifests") == ["true"]
        };
        let separate = self.manner.separate_status && prefer.contains("separate-export-status");
        state.jobs.push(Job {
            begun: self.now(),
            request: format!("{}{}", self.fhir_origin, request.target),
            partial: is_partial(request),
            separate,
            deleted: false,
            pages_given: 0,
        });
        let path = format!("/fhir/jobs/{}", state.jobs.len());
        let answer = Answer::new(202).header("Content-Location", self.url(&path));
        if separate {
            return answer.header("Preference-Applied", "separate-export-status");
        }
        answer
    }

    /// Page `page` of the manifest of job `number`, as far as it is.
    pub(super) fn status(&self, state: &mut State, number: usize, page: usize) -> Answer {
        let now = self.now();
        let Some(job) = job(state, number) else {
            return outcome(404, "not-found", "no such export");
        };
        let job = {
            job.pages_given += 1;
            job.clone()
        };
        let pages = self.pages();
        let elapsed = Duration::from_micros(u64::try_from(now.micros() - job.begun.micros()).unwrap_or(0));
        let done = elapsed >= self.manner.takes;
        if done && let Some(status) = self.manner.job_fails {
            let answer = outcome(status, "exception", "the export has failed");
            return separate(&job, answer);
        }
        let ready = if done {
            pages
        } else if job.partial {
            (elapsed.as_secs_f64() / self.manner.takes.as_secs_f64() * pages as f64) as usize
        } else {
            0
        };
        if page >= pages {
            return outcome(404, "not-found", "no such page");
        }
        let mut answer = Answer::new(if done || (page > 0 && page < ready) {
            200
        } else {
            202
        });
        if answer.status == 202 {
            answer = self.hints(answer, now);
        }
        if page < ready {
            let text = self.page(&job, number, page, now).text(&self.manner);
            let expires = Instant::from_micros(now.micros() + 86_400_000_000).http_date();
            answer = answer.header("Expires", expires).body("application/json", text);
        }
        separate(&job, answer)
    }

    pub(super) fn delete(&self, state: &mut State, number: usize) -> Answer {
        if let Some(status) = self.manner.delete_status {
            return outcome(status, "not-supported", "jobs are not deleted here");
        }
        let Some(job) = job(state, number) else {
            return outcome(404, "not-found", "no such export");
        };
        job.deleted = true;
        Answer::new(202)
    }

    fn hints(&self, mut answer: Answer, now: Instant) -> Answer {
        if let Some(progress) = &self.manner.progress {
            answer = answer.header("X-Progress", progress);
        }
        match retry_after(self.manner.retry_after, now) {
            Some(wait) => answer.header("Retry-After", wait),
            None => answer,
        }
    }

    fn pages(&self) -> usize {
        let each = self.manner.pages.files_each.unwrap_or(usize::MAX).max(1);
        self.files.len().div_ceil(each).max(1)
    }

    fn page(&self, job: &Job, number: usize, page: usize, now: Instant) -> Page<'_> {
        let manner = &self.manner.pages;
        let each = manner.files_each.unwrap_or(self.files.len().max(1)).max(1);
        let begin = page * each;
        let end = (begin + each).min(self.files.len());
        let begin = if manner.repeats {
            begin.saturating_sub(1)
        } else {
            begin
        };
        // Links that last for ever are always the same.
        let issued = if self.manner.links_last.is_some() {
            now
        } else {
            job.begun
        };
        let mut files: Vec<_> = (begin..end)
            .map(|index| (&self.files[index], self.file_url(number, index, issued)))
            .collect();
        if manner.restless && job.pages_given.is_multiple_of(2) {
            files.reverse();
        }
        let next = format!("/fhir/jobs/{number}?page={}", page + 1);
        let time = self.manner.transaction_time.clone();
        Page {
            transaction_time: time.unwrap_or_else(|| job.begun.to_string()),
            request: job.request.clone(),
            files,
            next: (page + 1 < self.pages()).then(|| self.url(&next)),
        }
    }
}

fn job(state: &mut State, number: usize) -> Option<&mut Job> {
    state
        .jobs
        .get_mut(number.checked_sub(1)?)
        .filter(|job| !job.deleted)
}

/// Tells the status of the job apart from that of HTTP, where that was agreed (CL-06).
fn separate(job: &Job, answer: Answer) -> Answer {
    if !job.separate {
        return answer;
    }
    let status = format!("{} Said", answer.status);
    Answer {
        status: 200,
        ..answer
    }
    .header("X-Export-Status", status)
}

pub(super) fn outcome(status: u16, code: &str, why: &str) -> Answer {
    let body = json!({
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": why}],
    });
    Answer::new(status).body("application/fhir+json", body.to_string())
}

/// The answer that a fault puts in place of the right one.
pub(super) fn struck(fault: &Fault, now: Instant) -> Option<Answer> {
    let Fault::Answer {
        status,
        retry_after: wait,
        words,
    } = fault
    else {
        return None;
    };
    let answer = match words {
        Words::Nothing => Answer::new(*status),
        Words::Html => {
            Answer::new(*status).body("text/html", "<html><body><h1>Bad Gateway</h1></body></html>")
        }
        Words::Xml => Answer::new(*status).body("application/xml", super::files::EXPIRED_XML),
        Words::Transient => outcome(*status, "transient", "come again"),
        Words::Exception => outcome(*status, "exception", "that went wrong"),
    };
    Some(match retry_after(*wait, now) {
        Some(wait) => answer.header("Retry-After", wait),
        None => answer,
    })
}

fn retry_after(value: RetryAfter, now: Instant) -> Option<String> {
    let ahead = |secs: u64| i64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000);
    match value {
        RetryAfter::None => None,
        RetryAfter::Secs(secs) => Some(secs.to_string()),
        RetryAfter::Date(secs) => {
            Some(Instant::from_micros(now.micros().saturating_add(ahead(secs))).http_date())
        }
        RetryAfter::Nonsense => Some("when it is done".to_owned()),
    }
}
