//! Every path of the server with its methods, one endpoint per file, and how a request finds its own.

mod async_status;
mod auth;
mod bundle;
mod clients;
mod create;
mod delete;
mod digest;
mod discovery;
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

use fhirhose_auth::{Actions, Grant};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request, Response, StatusCode};
use tracing::{error, info};

use crate::access::{Access, Rights};
use crate::answer::Body;
use crate::app::App;
use crate::audit;
use crate::call::{Answer, Call};
use crate::floods::{counted_address, granted, throttled};
use crate::listener::Peer;
use crate::origin::check_origin;
use crate::problem::Problem;

/// Where to ask whether the server is there.
const HEALTH: &str = "/health";

/// Answers one method of a route.
type Endpoint = fn(Call) -> BoxFuture<'static, Answer>;

/// A path with what it answers.
struct Route {
    /// Its pattern: `{name}` stands for one part of the path.
    pattern: &'static str,
    endpoints: &'static [(Method, Access, Endpoint)],
}

/// Conditional interactions tell whether something matches, so they need searching too.
const UPDATE_WHERE: Access = Access::Type(Actions::UPDATE.with(Actions::SEARCH));
const DELETE_WHERE: Access = Access::Type(Actions::DELETE.with(Actions::SEARCH));

/// The routes; of two that match a path the first counts, so fixed paths come before those with `{type}`.
static ROUTES: &[Route] = &[
    Route {
        pattern: HEALTH,
        endpoints: &[
            (Method::GET, Access::Public, |call| Box::pin(health::health(call))),
            (Method::HEAD, Access::Public, |call| {
                Box::pin(health::health(call))
            }),
        ],
    },
    Route {
        pattern: "/jobs",
        endpoints: &[(Method::GET, Access::Operator, |call| Box::pin(jobs::list(call)))],
    },
    Route {
        pattern: "/jobs/{job}",
        endpoints: &[(Method::GET, Access::Operator, |call| Box::pin(job::show(call)))],
    },
    Route {
        pattern: "/jobs/{job}/pause",
        endpoints: &[(Method::POST, Access::Operator, |call| Box::pin(job::pause(call)))],
    },
    Route {
        pattern: "/jobs/{job}/resume",
        endpoints: &[(Method::POST, Access::Operator, |call| Box::pin(job::resume(call)))],
    },
    Route {
        pattern: "/jobs/{job}/cancel",
        endpoints: &[(Method::POST, Access::Operator, |call| Box::pin(job::cancel(call)))],
    },
    Route {
        pattern: "/clients",
        endpoints: &[
            (Method::GET, Access::Operator, |call| {
                Box::pin(clients::list(call))
            }),
            (Method::POST, Access::Operator, |call| {
                Box::pin(clients::add(call))
            }),
        ],
    },
    Route {
        pattern: "/clients/{client}",
        endpoints: &[(Method::GET, Access::Operator, |call| {
            Box::pin(clients::show(call))
        })],
    },
    Route {
        pattern: "/clients/{client}/revoke",
        endpoints: &[(Method::POST, Access::Operator, |call| {
            Box::pin(clients::revoke(call))
        })],
    },
    Route {
        pattern: "/clients/{client}/rotate",
        endpoints: &[(Method::POST, Access::Operator, |call| {
            Box::pin(clients::rotate(call))
        })],
    },
    Route {
        pattern: "/auth/token",
        endpoints: &[(Method::POST, Access::Public, |call| Box::pin(auth::token(call)))],
    },
    Route {
        pattern: "/auth/jwks",
        endpoints: &[
            (Method::GET, Access::Public, |call| Box::pin(auth::jwks(call))),
            (Method::HEAD, Access::Public, |call| Box::pin(auth::jwks(call))),
        ],
    },
    Route {
        pattern: "/auth/introspect",
        // A token or an assertion; the route looks.
        endpoints: &[(Method::POST, Access::Public, |call| {
            Box::pin(auth::introspect(call))
        })],
    },
    Route {
        pattern: "/.well-known/oauth-authorization-server",
        endpoints: &[
            (Method::GET, Access::Public, |call| {
                Box::pin(discovery::authorization_server(call))
            }),
            (Method::HEAD, Access::Public, |call| {
                Box::pin(discovery::authorization_server(call))
            }),
        ],
    },
    Route {
        pattern: "/.well-known/oauth-protected-resource/fhir",
        endpoints: &[
            (Method::GET, Access::Public, |call| {
                Box::pin(discovery::protected_resource(call))
            }),
            (Method::HEAD, Access::Public, |call| {
                Box::pin(discovery::protected_resource(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/.well-known/smart-configuration",
        endpoints: &[
            (Method::GET, Access::Public, |call| {
                Box::pin(discovery::smart_configuration(call))
            }),
            (Method::HEAD, Access::Public, |call| {
                Box::pin(discovery::smart_configuration(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/metadata",
        endpoints: &[
            (Method::GET, Access::Public, |call| {
                Box::pin(metadata::metadata(call))
            }),
            (Method::HEAD, Access::Public, |call| {
                Box::pin(metadata::metadata(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$export",
        endpoints: &[
            (Method::GET, Access::Export, |call| Box::pin(export::system(call))),
            (Method::POST, Access::Export, |call| {
                Box::pin(export::system(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/Patient/$export",
        endpoints: &[
            (Method::GET, Access::Export, |call| {
                Box::pin(export::all_patients(call))
            }),
            (Method::POST, Access::Export, |call| {
                Box::pin(export::all_patients(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$export",
        endpoints: &[
            (Method::GET, Access::Export, |call| {
                Box::pin(export::patient(call))
            }),
            (Method::POST, Access::Export, |call| {
                Box::pin(export::patient(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/Group/{id}/$export",
        endpoints: &[
            (Method::GET, Access::Export, |call| Box::pin(export::group(call))),
            (Method::POST, Access::Export, |call| Box::pin(export::group(call))),
        ],
    },
    Route {
        pattern: "/fhir/$export-v4",
        endpoints: &[(Method::POST, Access::Export, |call| {
            Box::pin(export::system_v4(call))
        })],
    },
    Route {
        pattern: "/fhir/Patient/$export-v4",
        endpoints: &[(Method::POST, Access::Export, |call| {
            Box::pin(export::all_patients_v4(call))
        })],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$export-v4",
        endpoints: &[(Method::POST, Access::Export, |call| {
            Box::pin(export::patient_v4(call))
        })],
    },
    Route {
        pattern: "/fhir/Group/{id}/$export-v4",
        endpoints: &[(Method::POST, Access::Export, |call| {
            Box::pin(export::group_v4(call))
        })],
    },
    Route {
        pattern: "/fhir/$export-status/{job}",
        endpoints: &[
            (Method::GET, Access::OwnJob, |call| {
                Box::pin(export_status::status(call))
            }),
            (Method::DELETE, Access::OwnJob, |call| {
                Box::pin(export_status::delete(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$export-file/{job}/{file}",
        endpoints: &[
            (Method::GET, Access::OwnJob, |call| {
                Box::pin(export_file::file(call))
            }),
            (Method::HEAD, Access::OwnJob, |call| {
                Box::pin(export_file::file(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$import",
        endpoints: &[(Method::POST, Access::Import, |call| {
            Box::pin(import::kick_off(call))
        })],
    },
    Route {
        pattern: "/fhir/$import-status/{job}",
        endpoints: &[
            (Method::GET, Access::OwnJob, |call| {
                Box::pin(import_status::status(call))
            }),
            (Method::DELETE, Access::OwnJob, |call| {
                Box::pin(import_status::delete(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$import-file/{job}/{file}",
        endpoints: &[
            (Method::GET, Access::OwnJob, |call| {
                Box::pin(import_file::file(call))
            }),
            (Method::HEAD, Access::OwnJob, |call| {
                Box::pin(import_file::file(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$digest",
        endpoints: &[(Method::GET, Access::Digest, |call| Box::pin(digest::digest(call)))],
    },
    Route {
        pattern: "/fhir/Patient/{id}/$everything",
        endpoints: &[
            (Method::GET, Access::PatientRecord, |call| {
                Box::pin(everything::everything(call))
            }),
            (Method::POST, Access::PatientRecord, |call| {
                Box::pin(everything::everything(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/$async-status/{job}",
        endpoints: &[
            (Method::GET, Access::OwnJob, |call| {
                Box::pin(async_status::status(call))
            }),
            (Method::DELETE, Access::OwnJob, |call| {
                Box::pin(async_status::delete(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir",
        endpoints: &[
            (Method::GET, Access::Bundle, |call| {
                Box::pin(search::whole_system(call))
            }),
            (Method::HEAD, Access::Bundle, |call| {
                Box::pin(search::whole_system(call))
            }),
            (Method::POST, Access::Bundle, |call| {
                Box::pin(bundle::process(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/{type}",
        endpoints: &[
            (Method::GET, Access::Type(Actions::READING), |call| {
                Box::pin(search::by_query(call))
            }),
            (Method::HEAD, Access::Type(Actions::READING), |call| {
                Box::pin(search::by_query(call))
            }),
            (Method::POST, Access::Type(Actions::CREATE), |call| {
                Box::pin(create::create(call))
            }),
            (Method::PUT, UPDATE_WHERE, |call| {
                Box::pin(update::conditional(call))
            }),
            (Method::DELETE, DELETE_WHERE, |call| {
                Box::pin(delete::conditional(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/{type}/_search",
        endpoints: &[(Method::POST, Access::Type(Actions::READING), |call| {
            Box::pin(search::by_form(call))
        })],
    },
    Route {
        pattern: "/fhir/{type}/{id}",
        endpoints: &[
            (Method::GET, Access::Type(Actions::READ), |call| {
                Box::pin(read::read(call))
            }),
            (Method::HEAD, Access::Type(Actions::READ), |call| {
                Box::pin(read::read(call))
            }),
            (Method::PUT, Access::Type(Actions::UPDATE), |call| {
                Box::pin(update::update(call))
            }),
            (Method::DELETE, Access::Type(Actions::DELETE), |call| {
                Box::pin(delete::delete(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/{type}/{id}/_history",
        endpoints: &[
            (Method::GET, Access::Type(Actions::READ), |call| {
                Box::pin(history::history(call))
            }),
            (Method::HEAD, Access::Type(Actions::READ), |call| {
                Box::pin(history::history(call))
            }),
        ],
    },
    Route {
        pattern: "/fhir/{type}/{id}/_history/{version}",
        endpoints: &[
            (Method::GET, Access::Type(Actions::READ), |call| {
                Box::pin(vread::vread(call))
            }),
            (Method::HEAD, Access::Type(Actions::READ), |call| {
                Box::pin(vread::vread(call))
            }),
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
            .map(|(method, _, _)| method.as_str())
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
    let (audited, peer) = (
        audit::audited(pattern, &method),
        request.extensions().get::<Peer>().copied(),
    );
    let answering = Box::pin(caught(dispatch(Arc::clone(&app), found, request)));
    let answered = app.audit.around((audited, pattern), peer, answering).await;
    let answered = answered.map_err(|problem| app.authority.explained(problem));
    if let Err(problem) = &answered
        && let Some(cause) = problem.cause()
    {
        error!(http.method = %method, http.route = pattern, cause, "a request failed");
    }
    let response = answered.unwrap_or_else(|problem| {
        if pattern.starts_with("/auth/") {
            problem.into_oauth_response()
        } else {
            problem.into_response()
        }
    });
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

async fn dispatch(app: Arc<App>, found: Option<Found>, mut request: Request<Incoming>) -> Answer {
    // Whoever watches the server asks it by its address, past any proxy; what it hears is nobody's secret.
    if found.as_ref().is_none_or(|(route, _)| route.pattern != HEALTH) {
        check_origin(&app, &mut request)?;
    }
    let Some((route, arguments)) = found else {
        return Err(Problem::not_found("there is nothing at this path"));
    };
    let endpoint = route
        .endpoints
        .iter()
        .find(|(method, _, _)| method == request.method());
    let Some((_, access, endpoint)) = endpoint else {
        return Err(not_allowed(route));
    };
    let (head, body) = request.into_parts();
    if route.pattern.starts_with("/auth/") && head.method == Method::POST {
        let counted = app
            .floods
            .token_request(counted_address(&head.extensions), app.clock().now());
        counted.map_err(|wait| throttled("too many token requests from this address", wait))?;
    }
    let grant = match access {
        Access::Public => Grant::nothing(),
        _ => granted(&app, &head).await?,
    };
    audit::note_grant(&grant, &head);
    if matches!(access, Access::Export | Access::Import) {
        let counted = app.floods.kick_off(&grant.client, app.clock().now());
        counted.map_err(|wait| throttled("this client kicks off too often", wait))?;
    }
    let rights = Rights::new(grant, app.authority.requires_access_token());
    let argument = |wanted: &str| {
        let found = arguments.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let resource_type = argument("type").and_then(ResourceType::parse);
    access.check(&rights, resource_type, argument("id"))?;
    audit::note_request(&head, &arguments);
    endpoint(Call::new(app, (head, body), arguments, rights)).await
}

fn not_allowed(route: &Route) -> Problem {
    let methods: Vec<&str> = route
        .endpoints
        .iter()
        .map(|(method, _, _)| method.as_str())
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
