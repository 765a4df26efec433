//! `/auth/…`: the endpoints of the authorization server inside this one.

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};

use crate::answer::{self, JSON};
use crate::authority::oauth::{invalid_request, json_answer};
use crate::authority::smart::Smart;
use crate::call::{Answer, Call};
use crate::problem::Problem;

/// Answers `POST /auth/token` with an access token for a client's assertion.
pub(super) async fn token(call: Call) -> Answer {
    let app = call.app.clone();
    let smart = smart(&app)?;
    if call.has(AUTHORIZATION) {
        let text = "a client proves who it is in one way only: by its assertion, not by Authorization";
        return Err(invalid_request(text));
    }
    let form = call.oauth_form(smart.settings().form_bytes_max).await?;
    Ok(json_answer(StatusCode::OK, &smart.token(&form).await?))
}

/// Answers `GET /auth/jwks` with the public key that tokens are signed with.
pub(super) async fn jwks(call: Call) -> Answer {
    let keys = smart(&call.app)?.jwks();
    let mut response = answer::text(StatusCode::OK, JSON, keys.to_string());
    let kept = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(CACHE_CONTROL, kept);
    Ok(response)
}

fn smart(app: &crate::app::App) -> Result<&Smart, Problem> {
    let smart = app.authority.smart();
    smart.ok_or_else(|| Problem::not_found("there is no authorization server here"))
}
