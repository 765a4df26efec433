//! Documents of other servers, such as key sets, kept for as long as they say: [`Documents`].

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhirhose_client::{Freshness, Http};
use fhirhose_jobs::{Clock, Timestamp};
use tracing::warn;

use super::settings::KeySettings;

/// Reads a document; `None` for what is none.
pub(super) type Read<T> = fn(&[u8]) -> Option<T>;

/// Documents by URL.
///
/// Each is kept no longer than its `Cache-Control` says, and for a few minutes where that says nothing. One that
/// cannot be had is asked for again only after a pause, and so is one that lacks what is sought in it: neither a client with a
/// wrong key nor a broken server makes this one knock at a door all the time.
pub(crate) struct Documents<T> {
    http: Option<Http>,
    clock: Arc<dyn Clock>,
    settings: KeySettings,
    read: Read<T>,
    /// Numbers what is asked for and what is fetched, in the order in which it begins.
    began: AtomicU64,
    /// By URL; at most `urls_max`. Locked for a look only, never during a fetch.
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
}

/// What is known of one URL. Held during a fetch, so that there is one at a time and the others wait for what it brings.
type Slot<T> = tokio::sync::Mutex<Kept<T>>;

struct Kept<T> {
    document: Option<Arc<T>>,
    /// The number of the fetch that brought it.
    began: u64,
    /// Until when the document may be used.
    fresh_until: Timestamp,
    /// Until when a fresh document is not fetched again for what it lacks.
    complete_until: Timestamp,
    /// Until when nothing is fetched, for the last fetch failed.
    failed_until: Timestamp,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            document: None,
            began: 0,
            fresh_until: Timestamp::from_micros(i64::MIN),
            complete_until: Timestamp::from_micros(i64::MIN),
            failed_until: Timestamp::from_micros(i64::MIN),
        }
    }
}

impl<T> Documents<T> {
    pub(super) fn new(
        http: Option<Http>,
        clock: Arc<dyn Clock>,
        settings: KeySettings,
        read: Read<T>,
    ) -> Self {
        Self {
            http,
            clock,
            settings,
            read,
            began: AtomicU64::new(1),
            slots: Mutex::default(),
        }
    }

    /// Gives the document at a URL, fetched once more if it is kept and lacks what is sought; `None` if it cannot be had.
    ///
    /// One that may not be kept is as good as fetched by oneself where its fetch began after one asked: however many ask at a time, two
    /// fetches do for all.
    pub(super) async fn get(&self, url: &str, has: impl Fn(&T) -> bool + Send) -> Option<Arc<T>> {
        let slot = self.slot(url);
        let asked = self.began.fetch_add(1, Ordering::Relaxed);
        let mut kept = slot.lock().await;
        let now = self.clock.now();
        let is_fresh = now < kept.fresh_until || kept.began > asked;
        let fresh = kept.document.clone().filter(|_| is_fresh);
        let is_enough = fresh
            .as_deref()
            .is_some_and(|document| has(document) || now < kept.complete_until);
        if is_enough || now < kept.failed_until {
            return fresh;
        }
        let began = self.began.fetch_add(1, Ordering::Relaxed);
        let fetched = self.fetch(url).await;
        let now = self.clock.now();
        let pause = now.plus(Duration::from_secs(self.settings.refetch_pause_secs));
        let Some((document, keep)) = fetched else {
            kept.failed_until = pause;
            return fresh;
        };
        (kept.document, kept.began) = (Some(Arc::new(document)), began);
        kept.fresh_until = now.plus(keep);
        kept.complete_until = pause;
        kept.document.clone()
    }

    async fn fetch(&self, url: &str) -> Option<(T, Duration)> {
        let http = self.http.as_ref()?;
        let fetched = http
            .fetch_small(url, "application/json", self.settings.jwks_bytes_max)
            .await;
        let body = match fetched {
            Ok(body) => body,
            Err(error) => {
                warn!(
                    error = &error as &dyn StdError,
                    "a document of another server cannot be had"
                );
                return None;
            }
        };
        let Some(document) = (self.read)(&body.bytes) else {
            let place = url.split(['?', '#']).next().unwrap_or_default();
            warn!(
                url = place,
                "a document of another server cannot be read; keys have kty, kid and no private parts"
            );
            return None;
        };
        let keep = match body.freshness {
            Freshness::NotKept => Duration::ZERO,
            Freshness::Unstated => Duration::from_secs(self.settings.cache_secs),
            Freshness::For(said) => said.min(Duration::from_secs(self.settings.cache_secs_max)),
        };
        Some((document, keep))
    }

    fn slot(&self, url: &str) -> Arc<Slot<T>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(url) {
            return Arc::clone(slot);
        }
        if slots.len() >= self.settings.urls_max {
            let idle = slots.iter().find(|(_, slot)| Arc::strong_count(slot) == 1);
            if let Some(idle) = idle.map(|(url, _)| url.clone()) {
                slots.remove(&idle);
            }
        }
        let slot = Arc::<Slot<T>>::default();
        // Where all are in use, this one is forgotten when its request ends.
        if slots.len() < self.settings.urls_max {
            slots.insert(url.to_owned(), Arc::clone(&slot));
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhirhose_client::HttpSettings;
    use fhirhose_jobs::SystemClock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// what may not be kept is fetched for whoever asks, and not for each of those who ask at a time.
    #[tokio::test]
    async fn many_who_ask_at_a_time_for_what_may_not_be_kept_wait_for_two_fetches_a_15() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
        let fetches = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&fetches);
        tokio::spawn(async move {
            let text = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4_096]).await;
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        let http = Http::new(&HttpSettings::default()).expect("a client");
        let read: Read<()> = |_| Some(());
        let documents = Documents::new(Some(http), Arc::new(SystemClock), KeySettings::default(), read);
        let asks = (0..20).map(|_| documents.get(&url, |()| true));
        let found = futures::future::join_all(asks).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(fetches.load(Ordering::Relaxed), 2);
        assert!(documents.get(&url, |()| true).await.is_some());
        assert_eq!(
            fetches.load(Ordering::Relaxed),
            3,
            "whoever asks later has it fetched"
        );
    }
}
