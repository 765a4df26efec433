//! `$async-status/{job}`: what became of a creation that was asked for with `Prefer: respond-async` (C-01).

use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter, EntryResponse};
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::status;
use crate::answer::FHIR_JSON;
use crate::call::{Answer, Call};
use crate::create_job::{CREATE, Created};
use crate::resource::{tag, version_url};

/// Answers 202 while the job waits, a `batch-response` Bundle with the one answer when it is done, or why it failed.
pub(super) async fn status(call: Call) -> Answer {
    let job = status::job(&call, CREATE).await?;
    status::check_pace(&call, &job)?;
    let app = &call.app;
    let mut response = status::poll(app, &job, |result| {
        let created = Created::parse(result)?;
        let name = (created.resource_type, created.id.as_str());
        let mut bundle = BundleWriter::new("batch-response", None, &[]);
        bundle.entry(&BundleEntry {
            response: Some(EntryResponse {
                status: "201 Created",
                location: Some(&version_url(app, name, created.version.sequence)),
                etag: Some(&tag(created.version.sequence)),
                last_modified: Some(&created.version.instant.to_string()),
                outcome: None,
            }),
            ..BundleEntry::default()
        });
        Ok(String::from_utf8_lossy(&bundle.finish()).into_owned())
    })?;
    if response.headers().contains_key(CONTENT_TYPE) {
        let fhir_json = HeaderValue::from_static(FHIR_JSON);
        response.headers_mut().insert(CONTENT_TYPE, fhir_json);
    }
    Ok(response)
}

/// Stops the creation if it is not done; what was created stays.
pub(super) async fn delete(call: Call) -> Answer {
    status::delete(&call, CREATE).await
}
