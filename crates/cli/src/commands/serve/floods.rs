//! The flags of `serve` that say what each client and address may do in a minute and at a time.

use clap::Args;
use fhirhose_server::FloodSettings;

#[derive(Debug, Args)]
pub(super) struct Floods {
    /// Polls that may come at once, sooner than Retry-After tells; further ones get 429
    #[arg(long, env = "FHIRHOSE_POLLS_BURST_MAX", value_name = "POLLS")]
    polls_burst_max: Option<u32>,

    /// Kick-offs of one client in a minute; further ones get 429
    #[arg(long, env = "FHIRHOSE_KICK_OFFS_PER_MINUTE_MAX", value_name = "KICK-OFFS")]
    kick_offs_per_minute_max: Option<u32>,

    /// Files that one client downloads at a time, unless its registration says otherwise; further ones get 429
    #[arg(long, env = "FHIRHOSE_DOWNLOADS_PARALLEL_MAX", value_name = "FILES")]
    downloads_parallel_max: Option<usize>,

    /// Token requests of one address in a minute; further ones get 429
    #[arg(long, env = "FHIRHOSE_TOKEN_REQUESTS_PER_MINUTE_MAX", value_name = "REQUESTS")]
    token_requests_per_minute_max: Option<u32>,

    /// Access tokens of one address in a minute that are worth nothing; then it gets 429 whatever it shows
    #[arg(long, env = "FHIRHOSE_REFUSED_TOKENS_PER_MINUTE_MAX", value_name = "TOKENS")]
    refused_tokens_per_minute_max: Option<u32>,
}

impl Floods {
    /// Takes over the limits that are given; the others keep their defaults.
    pub(super) fn set(&self, floods: &mut FloodSettings) {
        for (setting, given) in [
            (&mut floods.polls_burst_max, self.polls_burst_max),
            (
                &mut floods.kick_offs_per_minute_max,
                self.kick_offs_per_minute_max,
            ),
            (
                &mut floods.token_requests_per_minute_max,
                self.token_requests_per_minute_max,
            ),
            (
                &mut floods.refused_tokens_per_minute_max,
                self.refused_tokens_per_minute_max,
            ),
        ] {
            *setting = given.unwrap_or(*setting);
        }
        floods.downloads_parallel_max = self
            .downloads_parallel_max
            .unwrap_or(floods.downloads_parallel_max);
    }
}
