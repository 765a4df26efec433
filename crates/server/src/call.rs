//! One request in the hands of a route: [`Call`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fhirhose_auth::Grant;
use fhirhose_fhir::accept::{FhirJson, accepts_fhir_json};
use fhirhose_fhir::etag::EntityTags;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::prefer::{Preferences, Return};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::Clock;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::access::Rights;
use crate::answer::{Body, BodyError};
use crate::app::App;
use crate::authority::form::Form;
use crate::authority::oauth;
use crate::listener::settings::ConnectionSettings;
use crate::problem::Problem;
use crate::rest::write::Conditions;
use crate::routes::path::decode;

/// What a route answers.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// A request: its head, the arguments that its path has, and its body.
pub(crate) struct Call {
    /// What all requests share.
    pub(crate) app: Arc<App>,
    head: Parts,
    arguments: Vec<(&'static str, String)>,
    body: Incoming,
    rights: Rights,
}

impl Call {
    pub(crate) fn new(
        app: Arc<App>,
        (head, body): (Parts, Incoming),
        arguments: Vec<(&'static str, String)>,
        rights: Rights,
    ) -> Self {
        Self {
            app,
            head,
            arguments,
            body,
            rights,
        }
    }

    /// What the request may do.
    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// In whose name the request comes, and by which scopes.
    pub(crate) fn grant(&self) -> &Grant {
        self.rights.grant()
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &Parts {
        &self.head
    }

    /// Says who asks, as jobs and limits know clients.
    pub(crate) fn client(&self) -> String {
        self.grant().client.clone()
    }

    /// Gives a part of the path by its name in the route's pattern.
    pub(crate) fn argument(&self, name: &str) -> &str {
        let found = self.arguments.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Gives the path's `{type}`.
    ///
    /// # Errors
    /// 404 for a name that R4 does not have.
    pub(crate) fn resource_type(&self) -> Result<ResourceType, Problem> {
        ResourceType::parse(self.argument("type"))
            .ok_or_else(|| Problem::not_found("the path names no operation and no resource type of FHIR R4"))
    }

    /// Gives the path's `{id}` of a resource.
    ///
    /// # Errors
    /// 404 for what cannot be an id, because then no resource has it.
    pub(crate) fn id(&self) -> Result<Id, Problem> {
        Id::parse(self.argument("id")).ok_or_else(|| {
            Problem::not_found("an id has 1 to 64 letters, digits, hyphens and dots: there is nothing here")
        })
    }

    /// Gives all values of a header that are text.
    pub(crate) fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.head
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    }

    /// Gives the first value of a header.
    pub(crate) fn value(&self, name: HeaderName) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether a header is there, readable or not.
    pub(crate) fn has(&self, name: HeaderName) -> bool {
        self.head.headers.contains_key(name)
    }

    /// Gives a header that must be text.
    ///
    /// # Errors
    /// 400 for a value that is not, or that is given twice.
    pub(crate) fn text_header(&self, name: HeaderName) -> Result<Option<String>, Problem> {
        let given = self.head.headers.get_all(&name).iter().count();
        let texts: Vec<&str> = self.values(name.clone()).collect();
        match (given, texts.as_slice()) {
            (0, _) => Ok(None),
            (1, [text]) => Ok(Some((*text).to_owned())),
            _ => {
                let text = format!("{name} is given twice, or is not visible ASCII text");
                Err(Problem::bad_request(IssueCode::Value, text))
            }
        }
    }

    /// Reads what the headers of a write demand.
    ///
    /// # Errors
    /// 400 for headers that hold no list of entity tags.
    pub(crate) fn conditions(&self) -> Result<Conditions, Problem> {
        Ok(Conditions {
            if_match: self.entity_tags(IF_MATCH)?,
            if_none_match: self.entity_tags(IF_NONE_MATCH)?,
        })
    }

    fn entity_tags(&self, name: HeaderName) -> Result<Option<EntityTags>, Problem> {
        let parsed = EntityTags::parse(self.values(name.clone()));
        if parsed.is_none() && self.has(name.clone()) {
            let text = format!("{name} holds no list of entity tags");
            return Err(Problem::bad_request(IssueCode::Value, text));
        }
        Ok(parsed)
    }

    /// What the answer to a write is to carry.
    pub(crate) fn returns(&self) -> Return {
        Preferences::parse(self.values(HeaderName::from_static("prefer"))).returns
    }

    /// Whether the method is `POST`.
    pub(crate) fn is_post(&self) -> bool {
        self.head.method == Method::POST
    }

    /// Whether only the head of an answer is asked for.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    /// Gives the raw query, without `?`.
    pub(crate) fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// Makes the URL that the client asked for, below the public base, its query as it was sent: manifests echo it.
    pub(crate) fn request_url(&self) -> String {
        // Every path with a route begins with `/fhir/`, however its characters were escaped.
        let path = self.head.uri.path();
        let url = self.app.url(path.splitn(3, '/').nth(2).unwrap_or_default());
        match self.head.uri.query() {
            Some(query) => format!("{url}?{query}"),
            None => url,
        }
    }

    /// Says whether the client takes FHIR JSON.
    pub(crate) fn accepts(&self) -> FhirJson {
        let accept: Vec<&str> = self.values(ACCEPT).collect();
        accepts_fhir_json(Some(accept.join(",").as_str()))
    }

    /// Gives what the client prefers (K-21 to K-24).
    pub(crate) fn preferences(&self) -> Preferences {
        Preferences::parse(self.values(HeaderName::from_static("prefer")))
    }

    /// Refuses clients that take no FHIR JSON.
    pub(crate) fn check_accept(&self) -> Result<(), Problem> {
        match self.accepts() {
            FhirJson::Unacceptable => Err(not_acceptable()),
            _ => Ok(()),
        }
    }

    /// Gives the parameters of the query: each as it was sent, and its name and value decoded.
    ///
    /// # Errors
    /// 400 for a parameter that is not percent-encoded UTF-8.
    pub(crate) fn parameters(&self) -> Result<Vec<(&str, String, String)>, Problem> {
        let pieces = self.query().split('&').filter(|piece| !piece.is_empty());
        let decoded = pieces.map(|piece| {
            let (name, value) = decode_pair(piece)?;
            Some((piece, name, value))
        });
        decoded.collect::<Option<_>>().ok_or_else(|| {
            let text = "a parameter is not percent-encoded UTF-8";
            Problem::bad_request(IssueCode::Structure, text)
        })
    }

    /// Refuses clients that take no FHIR JSON, and parameters that the interaction does not have.
    pub(crate) fn check_interaction(&self) -> Result<(), Problem> {
        self.check_accept()?;
        let json = |pair: &str| {
            let names = [
                "json",
                "application/json",
                "application/fhir+json",
                "application/fhir%2Bjson",
            ];
            pair.strip_prefix("_format=")
                .is_some_and(|format| names.contains(&format))
        };
        if self.query().split('&').all(|pair| pair.is_empty() || json(pair)) {
            return Ok(());
        }
        let text = "the only parameter that is supported here is _format=json";
        Err(Problem::bad_request(IssueCode::NotSupported, text))
    }

    /// Reads the whole body, which must be JSON by its `Content-Type` (K-25).
    ///
    /// # Errors
    /// 415 for another type, 413 for a body that is too long, 408 for one that does not come, 400 for one that breaks off.
    pub(crate) async fn json_body(self) -> Result<Bytes, Problem> {
        self.check_content_type(
            &["application/fhir+json", "application/json"],
            "the Content-Type must be application/fhir+json or application/json",
        )?;
        self.whole_body().await
    }

    /// Reads the whole body, which must be a form by its `Content-Type`; an empty body needs none.
    ///
    /// # Errors
    /// As [`Call::json_body`].
    pub(crate) async fn form_body(self) -> Result<String, Problem> {
        if self.has(CONTENT_TYPE) {
            self.check_content_type(
                &["application/x-www-form-urlencoded"],
                "the Content-Type must be application/x-www-form-urlencoded",
            )?;
        }
        let body = self.whole_body().await?;
        String::from_utf8(body.to_vec())
            .map_err(|_| Problem::bad_request(IssueCode::Structure, "the body is no form in UTF-8"))
    }

    /// Reads the form of a request to an OAuth endpoint, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// 400 for another type, for parameters in the URL, for one that comes twice, and for what is no form; 413 and 408 as
    /// [`Call::json_body`].
    pub(crate) async fn oauth_form(self, bytes_max: usize) -> Result<Form, Problem> {
        let text = "the parameters belong into the body, as application/x-www-form-urlencoded";
        if self.check_content_type(&[oauth::FORM], text).is_err() || !self.query().is_empty() {
            return Err(oauth::invalid_request(text));
        }
        let body = self.body_up_to(bytes_max).await?;
        let body = str::from_utf8(&body).ok();
        let pairs = body.and_then(|body| {
            let pieces = body.split('&').filter(|piece| !piece.is_empty());
            pieces.map(decode_pair).collect::<Option<Vec<_>>>()
        });
        Form::of(pairs.ok_or_else(|| oauth::invalid_request("the body is no form in UTF-8"))?)
    }

    async fn whole_body(self) -> Result<Bytes, Problem> {
        let bytes_max = self.app.settings.body_bytes_max;
        self.body_up_to(bytes_max).await
    }

    async fn body_up_to(self, bytes_max: usize) -> Result<Bytes, Problem> {
        let clock = Arc::clone(self.app.store.clock());
        let late = clock
            .now()
            .plus(Duration::from_secs(self.app.settings.body_timeout_secs));
        let body = Limited::new(self.body, bytes_max);
        let arrived = tokio::select! {
            arrived = arrive(body, &self.app.settings.connections, &*clock) => arrived,
            () = clock.sleep_until(late) => return Err(too_slow()),
        };
        arrived?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let text = format!("the body is longer than {bytes_max} bytes");
                return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text);
            }
            Problem::bad_request(IssueCode::Structure, "the body broke off")
        })
    }

    fn check_content_type(&self, allowed: &[&str], text: &str) -> Result<(), Problem> {
        let media_type = self.value(CONTENT_TYPE).unwrap_or_default();
        let name = media_type.split(';').next().unwrap_or_default().trim();
        if allowed.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            IssueCode::NotSupported,
            text,
        ))
    }
}

/// Reads a whole body of which something comes all the time.
///
/// # Errors
/// 408 for one that comes too slowly; within, what the body failed with.
async fn arrive(
    mut body: Limited<Incoming>,
    limits: &ConnectionSettings,
    clock: &dyn Clock,
) -> Result<Result<Bytes, BodyError>, Problem> {
    let window = Duration::from_secs(limits.stall_timeout_secs);
    let mut text = BytesMut::new();
    loop {
        let wanted = text.len().saturating_add(limits.stall_bytes_min);
        let late = clock.now().plus(window);
        while text.len() < wanted {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = clock.sleep_until(late) => return Err(too_slow()),
            };
            match frame {
                None => return Ok(Ok(text.freeze())),
                Some(Err(error)) => return Ok(Err(error)),
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }
}

fn too_slow() -> Problem {
    let text = "the body did not arrive in time";
    Problem::new(StatusCode::REQUEST_TIMEOUT, IssueCode::Timeout, text)
}

/// Makes the 406 of a client that takes no FHIR JSON.
pub(crate) fn not_acceptable() -> Problem {
    let text = "only application/fhir+json can be sent; the Accept header excludes it";
    Problem::new(StatusCode::NOT_ACCEPTABLE, IssueCode::NotSupported, text)
}

/// Decodes `name=value` of a query; `None` if it is not percent-encoded UTF-8.
fn decode_pair(piece: &str) -> Option<(String, String)> {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    Some((
        decode(&name.replace('+', " "))?,
        decode(&value.replace('+', " "))?,
    ))
}
