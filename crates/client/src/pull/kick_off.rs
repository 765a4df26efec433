//! Kicks the export off, unless an earlier run has: [`kick_off`].

use fhirhose_fhir::instant::Instant;
use serde_json::{Map, Value, json};
use url::Url;

use super::Pull;
use super::event::{PullEvent, Watch};
use super::journal::{Journal, Record};
use super::log::Log;
use super::past::Past;
use super::run::millis;
use crate::answer::Answer;
use crate::metadata::Metadata;
use crate::provider::{Accepted, Pause};
use crate::{Error, Result};

/// An export at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KickedOff {
    pub(super) status_url: Url,
    pub(super) at: Instant,
    /// Whether the job's status is told apart from the question's (CL-06).
    pub(super) has_separate_status: bool,
}

impl KickedOff {
    /// What the journal knows of it.
    pub(super) fn record(&self) -> Record {
        Record::KickedOff {
            status_url: self.status_url.to_string(),
            at_micros: self.at.micros(),
            has_separate_status: self.has_separate_status,
        }
    }
}

/// Kicks the export off and notes its status URL before anything else is done with it; or gives what an earlier run has noted.
///
/// A crash between the server's answer and the note leaves an export that nobody fetches: nothing can be known of it.
///
/// # Errors
/// As [`DataProvider::kick_off`](crate::DataProvider::kick_off); the disk.
pub(super) async fn kick_off(
    pull: &Pull,
    watch: &dyn Watch,
    past: &Past,
    journal: &mut Journal,
    log: &Log,
) -> Result<KickedOff> {
    if let Some(kicked_off) = past.kicked_off.clone() {
        log.name(kicked_off.status_url.as_str());
        if !log.has("kickoff")? {
            // The run that kicked it off was stopped between the journal and the log.
            let accepted = Accepted {
                status_url: kicked_off.status_url.clone(),
                has_separate_status: kicked_off.has_separate_status,
                answer: Answer::default(),
            };
            log.write(kicked_off.at, "kickoff", detail(pull, Ok(&accepted)).await)?;
        }
        if past.written.is_none() {
            watch.hear(&PullEvent::KickedOff { resumed: true });
        }
        return Ok(kicked_off);
    }
    let accepted = match &pull.settings.status_url {
        Some(status_url) => Ok(Accepted {
            status_url: status_url.clone(),
            has_separate_status: false,
            answer: Answer::default(),
        }),
        None => {
            let waiting = |pause: &Pause<'_>| hear(watch, pause);
            pull.provider.kick_off_patiently(&pull.parameters, &waiting).await
        }
    };
    let at = pull.provider.clock().now();
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            log.write(at, "kickoff", detail(pull, Err(&error)).await)?;
            return Err(error);
        }
    };
    let kicked_off = KickedOff {
        status_url: accepted.status_url.clone(),
        at,
        has_separate_status: accepted.has_separate_status,
    };
    journal.keep(&kicked_off.record())?;
    log.name(kicked_off.status_url.as_str());
    log.write(at, "kickoff", detail(pull, Ok(&accepted)).await)?;
    watch.hear(&PullEvent::KickedOff { resumed: false });
    Ok(kicked_off)
}

/// Tells of a wait.
pub(super) fn hear(watch: &dyn Watch, pause: &Pause<'_>) {
    let trouble = pause.trouble.map(Error::chain);
    watch.hear(&PullEvent::Waiting {
        why: trouble.as_deref().or(pause.progress).unwrap_or_default(),
        wait_ms: millis(pause.wait),
    });
}

/// What the log says of the kick-off.
async fn detail(pull: &Pull, accepted: Result<&Accepted, &Error>) -> Value {
    let metadata = match pull.settings.log {
        true => Metadata::fetch(pull.provider.http(), pull.provider.base())
            .await
            .ok(),
        false => None,
    };
    let statement = metadata.map(|metadata| metadata.statement).unwrap_or_default();
    let (answer, error) = match accepted {
        Ok(accepted) => (Some(&accepted.answer), None),
        Err(error) => (error.answer(), Some(error)),
    };
    json!({
        "exportUrl": export_url(pull),
        "errorCode": error.and(answer).map(|answer| answer.status),
        "errorBody": error.map(Error::chain),
        "softwareName": statement["software"]["name"],
        "softwareVersion": statement["software"]["version"],
        "softwareReleaseDate": statement["software"]["releaseDate"],
        "fhirVersion": statement["fhirVersion"],
        "requestParameters": request_parameters(pull),
        "responseHeaders": headers(answer),
        "logVersion": "2",
    })
}

/// The headers of an answer, as the log has them.
pub(super) fn headers(answer: Option<&Answer>) -> Value {
    let headers = answer.map(|answer| answer.headers.as_slice()).unwrap_or_default();
    let told: Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    told.into()
}

/// Where the kick-off goes, without the id of a patient.
fn export_url(pull: &Pull) -> Value {
    let url = pull.parameters.endpoint(pull.provider.base()).ok();
    url.map(|url| pull.parameters.place(&url)).into()
}

/// The parameters, without those that can name a patient.
fn request_parameters(pull: &Pull) -> Value {
    let mut told = Map::new();
    for (name, value) in pull.parameters.query(pull.provider.quirks()) {
        let value = match &*name {
            "patient" => continue,
            "_typeFilter" => value.split('?').next().unwrap_or_default().to_owned(),
            _ => value,
        };
        match told.get_mut(&name) {
            Some(Value::String(known)) => {
                known.push(',');
                known.push_str(&value);
            }
            _ => {
                told.insert(name, value.into());
            }
        }
    }
    told.into()
}
