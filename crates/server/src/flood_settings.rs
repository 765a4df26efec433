//! What each client and address may do in a minute and at a time: [`FloodSettings`].

/// What each client and address may do. More than that gets 429 with `Retry-After`; rates may be used up at once.
#[derive(Debug, Clone, Copy)]
pub struct FloodSettings {
    /// Polls of one job by one client that may come sooner than they were told to (S-04). Default: 10.
    pub polls_burst_max: u32,
    /// Kick-offs of one client in a minute, those that are refused for other reasons too. Default: 120.
    pub kick_offs_per_minute_max: u32,
    /// Requests to the token endpoint of one address in a minute, good or bad. Default: 300.
    pub token_requests_per_minute_max: u32,
    /// Access tokens of one address in a minute that are worth nothing; then no token of that address is looked at for a while.
    /// Default: 120.
    pub refused_tokens_per_minute_max: u32,
    /// Files that one client downloads at a time, unless its registration says otherwise. Default: 32.
    pub downloads_parallel_max: usize,
    /// Clients, addresses, or pairs of client and job, of which each of these rates is remembered; then the older half is
    /// forgotten. Default: 10,000.
    pub tracked_max: usize,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self {
            polls_burst_max: 10,
            kick_offs_per_minute_max: 120,
            token_requests_per_minute_max: 300,
            refused_tokens_per_minute_max: 120,
            downloads_parallel_max: 32,
            tracked_max: 10_000,
        }
    }
}

impl FloodSettings {
    /// Makes settings under which tests in a hurry are not told to wait.
    pub fn for_testing() -> Self {
        Self {
            polls_burst_max: 1_000_000,
            kick_offs_per_minute_max: 1_000_000,
            token_requests_per_minute_max: 1_000_000,
            refused_tokens_per_minute_max: 1_000_000,
            ..Self::default()
        }
    }

    /// The limits with their names; none may be 0.
    pub(crate) fn limits(&self) -> [(&'static str, u64); 6] {
        [
            ("polls_burst_max", self.polls_burst_max.into()),
            ("kick_offs_per_minute_max", self.kick_offs_per_minute_max.into()),
            (
                "token_requests_per_minute_max",
                self.token_requests_per_minute_max.into(),
            ),
            (
                "refused_tokens_per_minute_max",
                self.refused_tokens_per_minute_max.into(),
            ),
            ("downloads_parallel_max", self.downloads_parallel_max as u64),
            ("tracked_max", self.tracked_max as u64),
        ]
    }
}
