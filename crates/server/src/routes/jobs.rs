//! `GET /jobs`: the operator's list of jobs, newest first, by filters and pages.

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_jobs::{JobFilter, JobId, JobRecord, Timestamp};
use hyper::{Response, StatusCode};
use serde::Serialize;
use url::form_urlencoded;

use crate::answer::{self, Body, JSON};
use crate::call::{Answer, Call};
use crate::job_view::{JobLine, STATES, state};
use crate::problem::Problem;

/// Jobs of a page, if nothing is said.
const PAGE_JOBS: usize = 100;

/// Jobs of a page at most.
const PAGE_JOBS_MAX: usize = 1_000;

#[derive(Debug, Serialize)]
struct Page {
    jobs: Vec<JobLine>,
    /// Where the next page is, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default)]
struct Asked {
    filter: JobFilter,
    state: Option<String>,
    limit: Option<usize>,
}

/// Answers 200 with a page of jobs.
pub(super) async fn list(call: Call) -> Answer {
    let asked = Asked::parse(call.query())?;
    let (app, limit) = (&call.app, asked.limit.unwrap_or(PAGE_JOBS));
    let now = app.clock().now();
    let jobs = app.store.catalog().jobs(&asked.filter).await?;
    let is_asked = |job: &&JobRecord| {
        asked
            .state
            .as_deref()
            .is_none_or(|wanted| state(job, now) == wanted)
    };
    let mut chosen: Vec<&JobRecord> = jobs.iter().filter(is_asked).take(limit + 1).collect();
    let more = chosen.len() > limit;
    chosen.truncate(limit);
    let last = chosen.last().filter(|_| more);
    let page = Page {
        jobs: chosen.iter().map(|job| JobLine::of(job, now)).collect(),
        next: last.map(|last| next_url(&call, last)),
    };
    Ok(json(&page))
}

/// Makes the answer of an operator's route.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(value).expect("what an operator sees is plain data");
    let mut response = answer::text(StatusCode::OK, JSON, text);
    answer::not_stored(response.headers_mut());
    response
}

/// The same query with another cursor, below the path where it was asked.
fn next_url(call: &Call, last: &JobRecord) -> String {
    let kept = form_urlencoded::parse(call.query().as_bytes()).filter(|(name, _)| name != "after");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept);
    query.append_pair("after", &format!("{}-{}", last.created.as_micros(), last.id));
    format!("/jobs?{}", query.finish())
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "state" if STATES.contains(&value.as_str()) => asked.state = Some(value),
                "state" => return Err(refused(format!("the states are {}", STATES.join(", ")))),
                "kind" => asked.filter.kind = Some(value),
                "client" => asked.filter.owner = Some(value),
                "limit" => asked.limit = Some(limit(&value)?),
                "after" => asked.filter.after = Some(cursor(&value)?),
                _ => {
                    let text = "the parameters are state, kind, client, limit and after";
                    return Err(refused(text.to_owned()));
                }
            }
        }
        Ok(asked)
    }
}

fn limit(value: &str) -> Result<usize, Problem> {
    let number = value.parse().ok();
    number
        .filter(|number| (1..=PAGE_JOBS_MAX).contains(number))
        .ok_or_else(|| refused(format!("limit is a number from 1 to {PAGE_JOBS_MAX}")))
}

fn cursor(value: &str) -> Result<(Timestamp, JobId), Problem> {
    let parsed = value
        .rsplit_once('-')
        .and_then(|(micros, id)| Some((Timestamp::from_micros(micros.parse().ok()?), id.parse().ok()?)));
    parsed.ok_or_else(|| refused("after is what the page before gave".to_owned()))
}

fn refused(text: String) -> Problem {
    Problem::bad_request(IssueCode::Invalid, text)
}
