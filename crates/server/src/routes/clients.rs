//! `/clients…`: what the operator sees of the registered clients, and does to them.

use fhirhose_auth::{Client, ClientId};
use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::jobs::json;
use crate::app::App;
use crate::audit::{self, note};
use crate::call::{Answer, Call};
use crate::clients::{ClientChange, ClientFault, ClientRegistry, ClientView, NewClient, Rotation};
use crate::problem::Problem;

#[derive(Debug, Serialize)]
struct Listed {
    clients: Vec<ClientView>,
}

/// Answers 200 with all clients, by their ids.
pub(super) async fn list(call: Call) -> Answer {
    if !call.query().is_empty() {
        let text = "the list of clients has no parameters";
        return Err(Problem::bad_request(IssueCode::NotSupported, text));
    }
    let clients = registry(&call.app).list().await?;
    Ok(json(&Listed {
        clients: clients.iter().map(|client| view(&call.app, client)).collect(),
    }))
}

/// Registers a client and answers 201 with it and where it finds this server.
pub(super) async fn add(call: Call) -> Answer {
    let app = call.app.clone();
    let new: NewClient = body(call).await?;
    note(|told| told.add_detail("scopes", &new.scope));
    let (id, clients) = (new.client_id.clone(), registry(&app));
    let client = told(&app, ClientChange::Added, &id, clients.add(new)).await?;
    let mut response = json(&view(&app, &client));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Answers 200 with a client.
pub(super) async fn show(call: Call) -> Answer {
    let found = registry(&call.app).find(&id(&call)?).await?;
    let client = found.ok_or(ClientFault::Unknown)?;
    Ok(json(&view(&call.app, &client)))
}

/// Shuts a client out and answers 200 with what it is then.
pub(super) async fn revoke(call: Call) -> Answer {
    let (id, clients) = (id(&call)?, registry(&call.app));
    let client = told(&call.app, ClientChange::Revoked, &id, clients.revoke(&id)).await?;
    Ok(json(&view(&call.app, &client)))
}

/// Gives a client other keys and answers 200 with what it is then.
pub(super) async fn rotate(call: Call) -> Answer {
    let (app, id) = (call.app.clone(), id(&call)?);
    let rotation: Rotation = body(call).await?;
    let clients = registry(&app);
    let client = told(&app, ClientChange::Rotated, &id, clients.rotate(&id, &rotation)).await?;
    Ok(json(&view(&app, &client)))
}

/// Makes a change, which is told before and after.
async fn told(
    app: &App,
    what: ClientChange,
    id: &ClientId,
    change: impl Future<Output = Result<Client, ClientFault>>,
) -> Result<Client, Problem> {
    note(|told| told.subject = Some(id.to_string()));
    let open = app.audit.open(audit::act(what)).await?;
    Ok(audit::closed_after(open, change).await?)
}

fn registry(app: &App) -> ClientRegistry {
    ClientRegistry::new(app.store.clone())
}

/// Gives the path's client; what cannot be an id names nobody.
fn id(call: &Call) -> Result<ClientId, Problem> {
    let id = ClientId::parse(call.argument("client"));
    id.ok_or_else(|| ClientFault::Unknown.into())
}

/// Reads the body; what is said of a wrong one quotes nothing of it, for it could be a key.
async fn body<T: DeserializeOwned>(call: Call) -> Result<T, Problem> {
    let body = call.json_body().await?;
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = format!("the body is not what is asked for here, from line {line} column {column} on");
        Problem::bad_request(IssueCode::Structure, text)
    })
}

fn view(app: &App, client: &Client) -> ClientView {
    ClientView {
        fhir_base: Some(app.base_url.clone()),
        token_url: token_url(app),
        ..ClientView::of(client, app.now())
    }
}

/// Where clients ask this server for tokens, if they do.
fn token_url(app: &App) -> Option<String> {
    app.authority.smart()?;
    let origin = Url::parse(&app.base_url).ok()?.origin().ascii_serialization();
    Some(format!("{origin}/auth/token"))
}
