//! Follows an export from its status to its last page: [`Run::follow`].

use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use url::Url;

use super::event::PullEvent;
use super::journal::Record;
use super::kick_off::{headers, hear};
use super::run::{Run, held, millis};
use crate::provider::{PageNews, Patience, Pause};
use crate::{Error, ErrorKind, Result};

impl Run<'_> {
    /// Takes pages until there is no next one, and sends the index of each file as soon as it is known.
    ///
    /// # Errors
    /// What ends the export: a job that failed, trouble that does not end, a manifest that cannot be used, the disk.
    pub(super) async fn follow(&self, files: &UnboundedSender<usize>) -> Result<()> {
        let Some((first, url)) = self.known(files)? else {
            return self.followed();
        };
        let provider = self.pull.provider.clone().with_patience(Patience {
            export_secs_max: self.pull.settings.export_secs_max,
            pages_max: self.pull.settings.pages_max,
            ..self.pull.provider.patience().clone()
        });
        let mut pages = provider.pages(&url).begun_at(self.kicked_off.at);
        if self.kicked_off.has_separate_status {
            pages = pages.with_separate_status();
        }
        let waiting = |pause: &Pause<'_>| self.waits(pause);
        loop {
            match pages.next(&waiting).await {
                Ok(Some(news)) => self.take(first, news, files)?,
                Ok(None) => return self.followed(),
                Err(error) => {
                    // Servers name the patients of the kick-off in what they say of it.
                    let error = self.pull.parameters.redacted(error);
                    let answer = error.answer();
                    let detail = json!({
                        "body": answer.map(|answer| &answer.body),
                        "code": answer.map(|answer| answer.status),
                        "message": error.chain(),
                        "responseHeaders": headers(answer),
                    });
                    self.log.write(self.now(), "status_error", detail)?;
                    return Err(self.lost(error)?);
                }
            }
        }
    }

    /// Notes an export that is gone for good: one that has failed or is not known any more, but not one that we may just not see.
    fn lost(&self, error: Error) -> Result<Error> {
        let status = error.answer().map(|answer| answer.status);
        if error.kind() != ErrorKind::Refused || matches!(status, None | Some(401 | 403)) {
            return Ok(error);
        }
        held(&self.journal).keep(&Record::Lost)?;
        let problem =
            "the export is lost; the same command begins another and throws away what came of this one";
        Ok(Error::new(ErrorKind::Refused, problem).caused_by(error))
    }

    fn waits(&self, pause: &Pause<'_>) {
        hear(self.watch, pause);
        if !self.pull.settings.log_status_progress {
            return;
        }
        let detail = json!({
            "body": null,
            "xProgress": pause.progress,
            "retryAfter": millis(pause.wait) / 1_000,
        });
        // A disk that does not take it will say so at the next file.
        let _ = self.log.write(self.now(), "status_progress", detail);
    }

    /// Sends the files that the journal knows; says which page is to be asked for, if there is one.
    fn known(&self, files: &UnboundedSender<usize>) -> Result<Option<(usize, Url)>> {
        let plan = held(&self.plan);
        for index in plan.largest_first((0..plan.files.len()).collect()) {
            let _ = files.send(index);
        }
        let Some(last) = plan.pages.last() else {
            return Ok(Some((0, self.kicked_off.status_url.clone())));
        };
        match (&last.next, last.is_complete) {
            (Some(next), _) => {
                let next = Url::parse(next).map_err(|source| {
                    Error::new(ErrorKind::Protocol, "the link to the next page").caused_by(source)
                })?;
                Ok(Some((plan.pages.len(), next)))
            }
            (None, true) => Ok(None),
            (None, false) => Ok(Some((plan.pages.len() - 1, last.url.clone()))),
        }
    }

    /// Takes a page into the plan and the journal, and sends its new files.
    fn take(&self, first: usize, news: PageNews, files: &UnboundedSender<usize>) -> Result<()> {
        let index = first + news.index;
        let (taken, known) = {
            let mut plan = held(&self.plan);
            let mut taken = plan.take(index, &news.url, &news.page, news.is_last);
            plan.check(&self.pull.settings)?;
            taken.new = plan.largest_first(taken.new);
            (taken, plan.files.len())
        };
        if taken.is_news {
            let manifest = &news.page.manifest;
            let detail = json!({
                "transactionTime": news.page.transaction_time,
                "outputFileCount": manifest.output.len(),
                "deletedFileCount": manifest.deleted.len(),
                "errorFileCount": manifest.error.len(),
            });
            held(&self.journal).keep(&Record::Page {
                index,
                url: news.url.to_string(),
                is_complete: news.is_last,
                json: news.page.json,
            })?;
            self.watch.hear(&PullEvent::Manifest { files: known as u64 });
            self.log.write(self.now(), "status_page_complete", detail)?;
        }
        for index in taken.new {
            let _ = files.send(index);
        }
        Ok(())
    }

    /// Says that the server is done and all pages have come, unless an earlier run has said so.
    fn followed(&self) -> Result<()> {
        let (time, counts, pages) = {
            let plan = held(&self.plan);
            (plan.transaction_time.clone(), plan.counts(), plan.pages.len())
        };
        let [outputs, deleted, errors] = counts;
        let detail = json!({
            "transactionTime": time,
            "totalOutputFileCount": outputs,
            "totalDeletedFileCount": deleted,
            "totalErrorFileCount": errors,
            "totalManifests": pages,
        });
        self.log.write_once(self.now(), "manifest_complete", detail)?;
        let detail = json!({ "transactionTime": time });
        self.log.write_once(self.now(), "status_complete", detail)
    }
}
