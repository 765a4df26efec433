//! `/auth/…`: the endpoints of the authorization server inside this one.

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};

use crate::access::{Access, Rights};
use crate::answer::{self, JSON};
use crate::app::App;
use crate::authority::oauth::{invalid_request, json_answer};
use crate::authority::smart::{Asking, Smart};
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

/// Answers `POST /auth/introspect` with what is known of a token: to whoever brings a token with the operator's scope, and to a
/// client that proves who it is by an assertion, of its own tokens.
pub(super) async fn introspect(call: Call) -> Answer {
    let app = call.app.clone();
    let smart = smart(&app)?;
    let operator = if call.has(AUTHORIZATION) {
        let rights = Rights::new(app.authority.grant(call.head()).await?, true);
        Access::Operator.check(&rights, None, None)?;
        Some(Asking::Operator)
    } else {
        None
    };
    let form = call.oauth_form(smart.settings().form_bytes_max).await?;
    let token = form.needed("token")?;
    let asking = match operator {
        Some(operator) => operator,
        None if form.sent("client_assertion").is_none() => return Err(app.authority.no_token()),
        None => {
            let own_url = smart.endpoints().introspection();
            Asking::Client(smart.authenticate(&form, &[own_url]).await?.id)
        }
    };
    Ok(json_answer(
        StatusCode::OK,
        &smart.introspection(token, &asking).await?,
    ))
}

fn smart(app: &App) -> Result<&Smart, Problem> {
    let smart = app.authority.smart();
    smart.ok_or_else(|| Problem::not_found("there is no authorization server here"))
}
