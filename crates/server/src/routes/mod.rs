//! Every path of the server with its methods, one endpoint per file, and how a request finds its own.

mod async_status;
mod bundle;
mod create;
mod delete;
mod dry_run;
mod everything;
mod export;
mod export_file;
mod export_status;
mod health;
mod history;
mod import;
mod import_file;
mod import_status;
mod job;
mod jobs;
mod metadata;
pub(crate) mod path;
mod read;
mod search;
mod status;
mod update;
mod vread;
mod written;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use fhirhose_fhir::outcome::IssueCode;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request, Response, StatusCode};
use tracing::{error, info};

use crate::answer::Body;
use crate::app::App;
use crate::call::{Answer, Call};
use crate::origin::check_host;
use crate::problem::Problem;

/// Answers one method of a route.
type Endpoint = fn(Call) -> BoxFuture<'static, Answer>;

/// A path with what it answers.
struct Route {
    /// Its pattern: `{name}` stands for one part of the path.
    pattern: &'static str,
    endpoints: &'static [(Method, Endpoint)],
}

/// The routes; of two that match a path the first counts, so fixed paths come before those with `{type}`.
static ROUTES: &[Route] = &[
    Route {
        pattern: "/health",
        endpoints: &[
            (Method::GET, |call| Box::pin(health::health(call))),
            (Method::HEAD, |call| Box::pin(health::health(call))),
        ],
    },
    Route {
        pattern: "/jobs",
        endpoints: &[(Method::GET, |call| Box::pin(jobs::list(call)))],
    },
    Route {
        pattern: "/jobs/{job}",
        endpoints: &[(Method::GET, |call| Box::pin(job::show(call)))],
    },
    Route {
        pattern: "/jobs/{job}/pause",
        endpoints: &[(Method::POST, |call| Box::pin(job::pause(call)))],
    },
    Route {
        pattern: "/jobs/{job}/resume",
        endpoints: &[(Method::POST, |call| Box::pin(job::resume(call)))],
    },
    Route {
        pattern: "/jobs/{job}/cancel",
        endpoints: &[(Method::POST, |call| Box::pin(job::cancel(call)))],
    },
    Route {
        pattern: "/fhir/metadata",
        endpoints: &[
            (Method::GET, |call| Box::pin(metadata::metadata(call))),
            (Method::HEAD, |call| Box::pin(metadata::metadata(call))),
        ],
    },
    Route {
        pattern: "/fhir/$export",
        endpoints: &[
            (Method::GET, |call| Box::pin(export::system(call))),
            (Method::POST, |call| Box::pin(export::system(call))),
        ],
    },
    Route {
        pattern: "/fhir/Patient/$export",
        endpoints: &[
            (Method::GET, |call| Box::pin(export::all_patients(call))),
            (Method::POST, |call| Box::pin(export::all_patients(call))),
        ],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$export",
        endpoints: &[
            (Method::GET, |call| Box::pin(export::patient(call))),
            (Method::POST, |call| Box::pin(export::patient(call))),
        ],
    },
    Route {
        pattern: "/fhir/Group/{id}/$export",
        endpoints: &[
            (Method::GET, |call| Box::pin(export::group(call))),
            (Method::POST, |call| Box::pin(export::group(call))),
        ],
    },
    Route {
        pattern: "/fhir/$export-v4",
        endpoints: &[(Method::POST, |call| Box::pin(export::system_v4(call)))],
    },
    Route {
        pattern: "/fhir/Patient/$export-v4",
        endpoints: &[(Method::POST, |call| Box::pin(export::all_patients_v4(call)))],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$export-v4",
        endpoints: &[(Method::POST, |call| Box::pin(export::patient_v4(call)))],
    },
    Route {
        pattern: "/fhir/Group/{id}/$export-v4",
        endpoints: &[(Method::POST, |call| Box::pin(export::group_v4(call)))],
    },
    Route {
        pattern: "/fhir/$export-status/{job}",
        endpoints: &[
            (Method::GET, |call| Box::pin(export_status::status(call))),
            (Method::DELETE, |call| Box::pin(export_status::delete(call))),
        ],
    },
    Route {
        pattern: "/fhir/$export-file/{job}/{file}",
        endpoints: &[
            (Method::GET, |call| Box::pin(export_file::file(call))),
            (Method::HEAD, |call| Box::pin(export_file::file(call))),
        ],
    },
    Route {
        pattern: "/fhir/$import",
        endpoints: &[(Method::POST, |call| Box::pin(import::kick_off(call)))],
    },
    Route {
        pattern: "/fhir/$import-status/{job}",
        endpoints: &[
            (Method::GET, |call| Box::pin(import_status::status(call))),
            (Method::DELETE, |call| Box::pin(import_status::delete(call))),
        ],
    },
    Route {
        pattern: "/fhir/$import-file/{job}/{file}",
        endpoints: &[
            (Method::GET, |call| Box::pin(import_file::file(call))),
            (Method::HEAD, |call| Box::pin(import_file::file(call))),
        ],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$everything",
        endpoints: &[
            (Method::GET, |call| Box::pin(everything::everything(call))),
            (Method::POST, |call| Box::pin(everything::everything(call))),
        ],
    },
    Route {
        pattern: "/fhir/$async-status/{job}",
        endpoints: &[
            (Method::GET, |call| Box::pin(async_status::status(call))),
            (Method::DELETE, |call| Box::pin(async_status::delete(call))),
        ],
    },
    Route {
        pattern: "/fhir",
        endpoints: &[
            (Method::GET, |call| Box::pin(search::whole_system(call))),
            (Method::HEAD, |call| Box::pin(search::whole_system(call))),
            (Method::POST, |call| Box::pin(bundle::process(call))),
        ],
    },
    Route {
        pattern: "/fhir/{type}",
        endpoints: &[
            (Method::GET, |call| Box::pin(search::by_query(call))),
            (Method::HEAD, |call| Box::pin(search::by_query(call))),
            (Method::POST, |call| Box::pin(create::create(call))),
            (Method::PUT, |call| Box::pin(update::conditional(call))),
            (Method::DELETE, |call| Box::pin(delete::conditional(call))),
        ],
    },
    Route {
        pattern: "/fhir/{type}/_search",
        endpoints: &[(Method::POST, |call| Box::pin(search::by_form(call)))],
    },
    Route {
        pattern: "/fhir/{type}/{id}",
        endpoints: &[
            (Method::GET, |call| Box::pin(read::read(call))),
            (Method::HEAD, |call| Box::pin(read::read(call))),
            (Method::PUT, |call| Box::pin(update::update(call))),
            (Method::DELETE, |call| Box::pin(delete::delete(call))),
        ],
    },
    Route {
        pattern: "/fhir/{type}/{id}/_history",
        endpoints: &[
            (Method::GET, |call| Box::pin(history::history(call))),
            (Method::HEAD, |call| Box::pin(history::history(call))),
        ],
    },
    Route {
        pattern: "/fhir/{type}/{id}/_history/{version}",
        endpoints: &[
            (Method::GET, |call| Box::pin(vread::vread(call))),
            (Method::HEAD, |call| Box::pin(vread::vread(call))),
        ],
    },
];

/// A path of the server and the methods that it answers; all others get 405.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMethods {
    /// The path; `{name}` stands for one part.
    pub pattern: &'static str,
    /// The methods' names, such as `GET`.
    pub methods: Vec<&'static str>,
}

/// Lists every path that the server answers.
pub fn routes() -> Vec<RouteMethods> {
    let listed = |route: &'static Route| RouteMethods {
        pattern: route.pattern,
        methods: route
            .endpoints
            .iter()
            .map(|(method, _)| method.as_str())
            .collect(),
    };
    ROUTES.iter().map(listed).collect()
}

/// Answers one request, whatever happens on the way, and logs it by its route's pattern: a path may hold ids.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let began = app.clock().now();
    let method = request.method().clone();
    let found = find(request.uri().path());
    let pattern = found.as_ref().map_or("none", |(route, _)| route.pattern);
    let answered = caught(dispatch(Arc::clone(&app), found, request)).await;
    if let Err(problem) = &answered
        && let Some(cause) = problem.cause()
    {
        error!(http.method = %method, http.route = pattern, cause, "a request failed");
    }
    let response = answered.unwrap_or_else(Problem::into_response);
    let duration_ms = u64::try_from(app.clock().now().since(began).as_millis()).unwrap_or(u64::MAX);
    info!(http.method = %method, http.route = pattern, http.status = response.status().as_u16(), duration_ms, "answered");
    response
}

/// Turns a panic into a 500: one request must not take others with it, and must be answered.
async fn caught(answering: impl Future<Output = Answer>) -> Answer {
    let answered = AssertUnwindSafe(answering).catch_unwind().await;
    answered.unwrap_or_else(|_| Err(Problem::panicked()))
}

type Found = (&'static Route, Vec<(&'static str, String)>);

fn find(path: &str) -> Option<Found> {
    let parts = path::parts(path)?;
    ROUTES
        .iter()
        .find_map(|route| Some((route, path::arguments(route.pattern, &parts)?)))
}

async fn dispatch(app: Arc<App>, found: Option<Found>, request: Request<Incoming>) -> Answer {
    check_host(request.headers(), &app.base_url)?;
    let Some((route, arguments)) = found else {
        return Err(Problem::not_found("there is nothing at this path"));
    };
    let endpoint = route
        .endpoints
        .iter()
        .find(|(method, _)| method == request.method());
    let Some((_, endpoint)) = endpoint else {
        return Err(not_allowed(route));
    };
    endpoint(Call::new(app, request.into_parts(), arguments)).await
}

fn not_allowed(route: &Route) -> Problem {
    let methods: Vec<&str> = route
        .endpoints
        .iter()
        .map(|(method, _)| method.as_str())
        .collect();
    let allowed = methods.join(", ");
    let mut text = format!("the method is not supported here; these are: {allowed}");
    if route.pattern.ends_with("$export-v4") {
        text.push_str(" with a Parameters body, as STU4 has it; $export takes GET");
    }
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, IssueCode::NotSupported, text);
    problem.with_header(ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_500_that_tells_nothing_of_it() {
        let problem = caught(async { panic!("Patient/secret") })
            .await
            .expect_err("a problem");
        assert_eq!(problem.cause(), Some("a request handler panicked"));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert!(
            text.contains("OperationOutcome") && !text.contains("secret"),
            "{text}"
        );
    }
}
