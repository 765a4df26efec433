//! Keeps those who ask too much from starving the others: [`Floods`] has what each client and address may do in a minute, and at
//! a time.
//!
//! Clients are known by their grant, so only who has proved who they are; all before that is counted by address. What a caller
//! only claims to be counts for nothing: anybody could have somebody else refused.

use std::time::Duration;

use fhirhose_auth::Grant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_jobs::{JobId, Timestamp};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, RETRY_AFTER};
use hyper::http::Extensions;
use hyper::http::request::Parts;

use crate::app::App;
use crate::flood_settings::FloodSettings;
use crate::listener::{AddressBlock, Peer, Place, Places};
use crate::pace::{Pace, Rate};
use crate::problem::Problem;

/// How long to wait for one's own downloads.
const DOWNLOADS_WAIT: Duration = Duration::from_secs(10);

/// What clients and addresses did of late, and hold now.
pub(crate) struct Floods {
    settings: FloodSettings,
    polls: Pace<(String, JobId)>,
    kick_offs: Pace<String>,
    token_requests: Pace<AddressBlock>,
    refused_tokens: Pace<AddressBlock>,
    downloads: Places<String>,
}

impl Floods {
    pub(crate) fn new(settings: FloodSettings) -> Self {
        let tracked_max = settings.tracked_max;
        Self {
            polls: Pace::new(tracked_max),
            kick_offs: Pace::new(tracked_max),
            token_requests: Pace::new(tracked_max),
            refused_tokens: Pace::new(tracked_max),
            downloads: Places::new(),
            settings,
        }
    }

    /// Counts a poll of a job that is told to be asked again after `told`.
    ///
    /// Who does as told is never refused, nor is who asks right after the kick-off or twice as often as told. A poll that is refused
    /// costs nothing, and changes nothing of the job (S-04).
    ///
    /// # Errors
    /// How long the client has to wait, when it asks too often.
    pub(crate) fn poll(
        &self,
        client: &str,
        job: JobId,
        now: Timestamp,
        told: Duration,
    ) -> Result<(), Duration> {
        let rate = Rate {
            burst_max: self.settings.polls_burst_max,
            each: (told / 2).max(Duration::from_millis(100)),
        };
        let counted = self.polls.take((client.to_owned(), job), rate, now);
        counted.map_err(|wait| wait.max(told))
    }

    /// Forgets the polls of a job that has ended.
    pub(crate) fn forget_polls(&self, client: &str, job: JobId) {
        self.polls.forget(&(client.to_owned(), job));
    }

    /// Counts a kick-off.
    ///
    /// # Errors
    /// How long the client has to wait.
    pub(crate) fn kick_off(&self, client: &str, now: Timestamp) -> Result<(), Duration> {
        let rate = Rate::per_minute(self.settings.kick_offs_per_minute_max);
        self.kick_offs.take(client.to_owned(), rate, now)
    }

    /// Counts a token request, before anything of it is read.
    ///
    /// # Errors
    /// How long the address has to wait.
    pub(crate) fn token_request(&self, from: AddressBlock, now: Timestamp) -> Result<(), Duration> {
        let rate = Rate::per_minute(self.settings.token_requests_per_minute_max);
        self.token_requests.take(from, rate, now)
    }

    /// Says whether an address may show another token: not while it showed too many that were worth nothing.
    ///
    /// # Errors
    /// How long the address has to wait.
    pub(crate) fn may_show_token(&self, from: AddressBlock, now: Timestamp) -> Result<(), Duration> {
        let rate = Rate::per_minute(self.settings.refused_tokens_per_minute_max);
        self.refused_tokens.check(&from, rate, now)
    }

    /// Counts a token that was worth nothing.
    pub(crate) fn token_was_refused(&self, from: AddressBlock, now: Timestamp) {
        let rate = Rate::per_minute(self.settings.refused_tokens_per_minute_max);
        // More than the rate changes nothing: the next one is not looked at.
        let _ = self.refused_tokens.take(from, rate, now);
    }

    /// Takes the place of one download, until it is dropped.
    ///
    /// # Errors
    /// How long to wait, while the client has as many downloads as it may have at a time.
    pub(crate) fn download(&self, grant: &Grant) -> Result<Place<String>, Duration> {
        let own = grant.limits.downloads_parallel_max;
        let places_max = own.unwrap_or(self.settings.downloads_parallel_max);
        let place = self.downloads.take(grant.client.clone(), places_max);
        place.ok_or(DOWNLOADS_WAIT)
    }
}

/// Finds out who asks and what they may do, as [`Authority::grant`] does, unless the address showed too many tokens of late that were
/// worth nothing.
///
/// # Errors
/// 401, and 429 for such an address.
///
/// [`Authority::grant`]: crate::authority::Authority::grant
pub(crate) async fn granted(app: &App, head: &Parts) -> Result<Grant, Problem> {
    if !app.authority.requires_access_token() || !head.headers.contains_key(AUTHORIZATION) {
        return app.authority.grant(head).await;
    }
    let from = counted_address(&head.extensions);
    let allowed = app.floods.may_show_token(from, app.clock().now());
    allowed.map_err(|wait| throttled("too many tokens from this address were worth nothing", wait))?;
    let granted = app.authority.grant(head).await;
    if granted
        .as_ref()
        .is_err_and(|problem| problem.status() == StatusCode::UNAUTHORIZED)
    {
        app.floods.token_was_refused(from, app.clock().now());
    }
    granted
}

/// The address by which a request is counted.
pub(crate) fn counted_address(extensions: &Extensions) -> AddressBlock {
    // What came in another way than over the network came from this machine.
    let peer = extensions.get::<Peer>();
    AddressBlock::of(peer.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |peer| peer.0))
}

/// Makes the 429 of somebody who has to wait.
pub(crate) fn throttled(text: impl Into<String>, wait: Duration) -> Problem {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
    problem.with_header(RETRY_AFTER, whole_secs(wait).to_string())
}

/// Whole seconds, rounded up, so that nobody comes too soon; at least one.
pub(crate) fn whole_secs(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
