//! Follows an export to its end, page by page: [`Pages`] (CL-05, CL-09).

use std::collections::HashSet;
use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use url::Url;

use super::patience::Backoff;
use super::status::CodeIs;
use super::{DataProvider, ManifestPage, Pause, Status, Waiting};
use crate::http::name;
use crate::{Error, ErrorKind, Result};

/// Begins with the status URL and goes from page to page, also while the export still runs, waiting as the server asks.
///
/// Each page comes once, and once more when files were added to it, which a server must not do but some do. The last one comes as such when
/// the export is done, if it came before already.
#[derive(Debug)]
pub struct Pages {
    provider: DataProvider,
    url: Url,
    index: usize,
    /// How many files of the page at `url` were given already.
    given: Option<usize>,
    seen: HashSet<Url>,
    code_is: CodeIs,
    /// The wait before the next question.
    due: Option<(Duration, Why)>,
    backoff: Backoff,
    began: Instant,
    /// Since when there is nothing but trouble.
    trouble_since: Option<Instant>,
    is_done: bool,
}

/// Why it is waited.
#[derive(Debug)]
enum Why {
    Progress(Option<String>),
    Trouble(Error),
}

/// A page that came, or has more files than when it came before.
#[derive(Debug, Clone)]
pub struct PageNews {
    /// Its number, from 0.
    pub index: usize,
    /// Where it was, for fetching it again.
    pub url: Url,
    /// The page.
    pub page: ManifestPage,
    /// Whether the export is done and no page comes after it.
    pub is_last: bool,
}

impl DataProvider {
    /// Follows an export from its status URL on, to its end.
    pub fn pages(&self, status_url: &Url) -> Pages {
        Pages {
            provider: self.clone(),
            url: status_url.clone(),
            index: 0,
            given: None,
            seen: HashSet::from([status_url.clone()]),
            code_is: CodeIs::Job,
            due: None,
            backoff: Backoff::new(&self.patience, status_url.as_str()),
            began: self.clock.now(),
            trouble_since: None,
            is_done: false,
        }
    }
}

impl Pages {
    /// Takes the HTTP code as that of the question only, as `Preference-Applied` said (CL-06).
    #[must_use]
    pub fn with_separate_status(mut self) -> Self {
        self.code_is = CodeIs::Question;
        self
    }

    /// Reckons the time that the export may take from then on, for one that was begun earlier.
    #[must_use]
    pub fn begun_at(mut self, began: Instant) -> Self {
        self.began = began;
        self
    }

    /// Gives the next page, after waiting for it; `None` when all were given.
    ///
    /// May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the job has failed; [`ErrorKind::Busy`] or [`ErrorKind::Unreachable`] when there was nothing but trouble
    /// for longer than [`Patience`](super::Patience) says; [`ErrorKind::Protocol`] for pages that go round in circles or on and on.
    pub async fn next(&mut self, waiting: &dyn Waiting) -> Result<Option<PageNews>> {
        while !self.is_done {
            self.pause(waiting).await?;
            match self.provider.status_where(&self.url, self.code_is).await {
                Ok(status) => {
                    self.trouble_since = None;
                    if let Some(news) = self.take(status)? {
                        return Ok(Some(news));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable) => {
                    let error = self.bear(error)?;
                    let wait = self.backoff.wait(error.retry_after());
                    self.due = Some((wait, Why::Trouble(error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes what the server said; gives the page if there is news in it.
    fn take(&mut self, status: Status) -> Result<Option<PageNews>> {
        let (page, is_complete) = match status {
            Status::Complete(page) => (Some(page), true),
            Status::Running {
                progress,
                retry_after,
                partial,
            } => {
                let wait = self.backoff.wait(retry_after);
                self.due = Some((wait, Why::Progress(progress)));
                (partial, false)
            }
        };
        let Some(page) = page else { return Ok(None) };
        let next = page.manifest.next.clone();
        let news = PageNews {
            index: self.index,
            url: self.url.clone(),
            is_last: is_complete && next.is_none(),
            page,
        };
        let is_new = self.given.is_none_or(|given| given < news.page.files()) || news.is_last;
        self.given = Some(news.page.files());
        match next {
            Some(next) => self.turn(&next)?,
            None => self.is_done = is_complete,
        }
        Ok(is_new.then_some(news))
    }

    /// Goes to the next page.
    fn turn(&mut self, next: &str) -> Result<()> {
        let wrong = |why: String| Error::new(ErrorKind::Protocol, format!("{} {why}", name(&self.url)));
        let url = Url::parse(next).map_err(|_| wrong("links to a next page that is no URL".to_owned()))?;
        if !self.seen.insert(url.clone()) {
            return Err(wrong("links to a page that came before".to_owned()));
        }
        let pages_max = self.provider.patience.pages_max;
        if self.seen.len() > pages_max {
            return Err(wrong(format!("is the {pages_max}th page and not the last")));
        }
        self.url = url;
        self.index += 1;
        self.given = None;
        self.due = None;
        self.backoff.reset();
        Ok(())
    }

    /// Waits as was said after the last question, but not beyond the time that the export has.
    async fn pause(&mut self, waiting: &dyn Waiting) -> Result<()> {
        let Some((wait, why)) = &self.due else {
            return Ok(());
        };
        let patience = &self.provider.patience;
        let wait = (*wait).max(Duration::from_secs(self.provider.quirks.poll_secs_min));
        let took = self.provider.clock.now().since(self.began);
        if (took + wait).as_secs() > patience.export_secs_max {
            let problem = format!(
                "the export at {} is not done after {} s, which is as long as it may take",
                name(&self.url),
                took.as_secs()
            );
            return Err(Error::new(ErrorKind::Busy, problem));
        }
        let (progress, trouble) = match why {
            Why::Progress(progress) => (progress.as_deref(), None),
            Why::Trouble(error) => (None, Some(error)),
        };
        waiting.pause(&Pause {
            progress,
            trouble,
            wait,
        });
        self.provider.clock.sleep(wait).await;
        self.due = None;
        Ok(())
    }

    /// Takes note of trouble; gives the error back while it can be borne.
    fn bear(&mut self, error: Error) -> Result<Error> {
        let status = error.answer().map(|answer| answer.status);
        if status == Some(429) {
            return Ok(error);
        }
        let patience = &self.provider.patience;
        let limit_secs = match status {
            Some(400..=499) => patience.stray_answers_secs_max,
            _ => patience.trouble_secs_max,
        };
        let now = self.provider.clock.now();
        let began = *self.trouble_since.get_or_insert(now);
        if now.since(began).as_secs() >= limit_secs {
            return Err(error);
        }
        Ok(error)
    }
}
