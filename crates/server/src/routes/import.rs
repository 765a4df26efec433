//! `POST [base]/$import`: kicks an import off, by the Parameters of the field or the draft's plain JSON.

use std::sync::Arc;

use fhirhose_bulk::import::{IMPORT, ImportSpec, submit_import};
use fhirhose_bulk::{Error, ErrorKind};
use fhirhose_fhir::import_request::parse_import_request;
use hyper::StatusCode;

use super::status::{accepted, check_room};
use crate::audit::{Act, note};
use crate::call::{Answer, Call};
use crate::sources::locate;

/// Answers 202: the job is durable then. It asks for no `Accept` and no `Prefer`: an import is never anything but asynchronous.
pub(super) async fn kick_off(call: Call) -> Answer {
    let (app, url, grant) = (call.app.clone(), call.request_url(), call.grant().clone());
    let body = call.json_body().await?;
    let request = parse_import_request(&body, &url)?;
    check_room(&app, &grant, IMPORT).await?;
    let for_disk = Arc::clone(&app);
    let located = tokio::task::spawn_blocking(move || {
        ImportSpec::of_request(request, |url| locate(&for_disk.settings, url))
    });
    let spec = located
        .await
        .map_err(|panic| Error::new(ErrorKind::Storage, "looking at the inputs").with_source(panic))??;
    note(|told| told.add_detail("inputs", spec.inputs.len()));
    let mut open = app.audit.open(Act::ImportKickOff).await?;
    let job = submit_import(&app.store, spec, &grant.client, &*app.entropy).await?;
    open.told.job = Some(job.to_string());
    open.close(StatusCode::ACCEPTED);
    Ok(accepted(&app, "$import-status", &job))
}
