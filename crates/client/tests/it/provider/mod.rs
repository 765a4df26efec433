//! A Data Provider, good or bad, over HTTP.

mod files;
mod kick_off;
mod status;
mod tokens;

use std::sync::{Arc, Mutex};

use fhirhose_client::testing::{FaultyEhr, Manner, SimulatedClock, SourceFile, Strike};
use fhirhose_client::{DataProvider, ExportParameters, Pause, Waiting};
use fhirhose_fhir::export_request::ExportLevel;
use url::Url;

use crate::server::http;

pub(crate) const PATIENTS: &str =
    "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n{\"resourceType\":\"Patient\",\"id\":\"b\"}\n";

/// A server with these many files, and who speaks to it.
pub(crate) struct Scene {
    pub(crate) ehr: FaultyEhr,
    pub(crate) provider: DataProvider,
    pub(crate) clock: SimulatedClock,
    pub(crate) waits: Waits,
}

impl Scene {
    pub(crate) async fn new(files: usize, manner: Manner, script: Vec<Strike>) -> Self {
        let clock = SimulatedClock::default();
        let files = vec![SourceFile::output("Patient", PATIENTS); files];
        let ehr = crate::case::ehr(&clock, files, manner, script).await;
        let provider = DataProvider::new(&http(|_| ()), &ehr.base()).unwrap();
        let provider = provider.with_clock(Arc::new(clock.clone()));
        Self {
            ehr,
            provider,
            clock,
            waits: Waits::default(),
        }
    }

    /// Kicks off, and follows to the end; gives the URLs of the files.
    pub(crate) async fn export(
        &self,
        parameters: &ExportParameters,
    ) -> Result<Vec<String>, fhirhose_client::Error> {
        let accepted = self.provider.kick_off_patiently(parameters, &self.waits).await?;
        let mut pages = self.provider.pages(&accepted.status_url);
        if accepted.has_separate_status {
            pages = pages.with_separate_status();
        }
        let mut urls = Vec::new();
        while let Some(news) = pages.next(&self.waits).await? {
            let files = news.page.manifest.output.iter();
            urls.extend(
                files
                    .map(|file| file.url.clone())
                    .filter(|url| !urls.contains(url))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(urls)
    }
}

/// Writes waits down: seconds, and why.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<(u64, String)>>);

impl Waits {
    pub(crate) fn all(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn secs(&self) -> Vec<u64> {
        self.all().into_iter().map(|(secs, _)| secs).collect()
    }
}

impl Waiting for Waits {
    fn pause(&self, pause: &Pause<'_>) {
        let trouble = pause.trouble.map(ToString::to_string);
        let why = trouble.or(pause.progress.map(str::to_owned)).unwrap_or_default();
        self.0.lock().unwrap().push((pause.wait.as_secs(), why));
    }
}

pub(crate) fn everything() -> ExportParameters {
    ExportParameters::new(ExportLevel::System)
}

pub(crate) fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn a_base_url_with_a_password_is_refused_and_not_shown() {
    let http = http(|_| ());
    for url in [
        "https://me:hush@ehr.example.org/fhir",
        "https://hush@ehr.example.org/fhir",
    ] {
        let error = DataProvider::new(&http, url).unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}
