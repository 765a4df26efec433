//! The one guard that everything fetched passes: [`FetchPolicy`] says what may be fetched, from where, and how much.
//!
//! A URL is checked by itself (scheme, host, an address in any spelling), again at each redirect, and a name's addresses are checked when
//! the connection is made, which goes to exactly those. So neither a redirect nor a name service that answers differently the
//! second time leads anywhere else. It does not look at what is fetched.

mod address;
mod host_pattern;
mod refusal;
mod resolver;

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::redirect::Policy;
use url::{Host, Url};

pub use host_pattern::HostPattern;
pub(crate) use refusal::{NOT_REACHED, Refusal, causes};
pub(crate) use resolver::CheckedResolver;
pub use resolver::{Resolver, SystemResolver};

use address::AddressKind;

/// Which `http` URLs may be fetched. `https` URLs always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// None.
    Never,
    /// Those of this machine: `localhost` and loopback addresses.
    #[default]
    LoopbackOnly,
    /// All: what is fetched may cross the network in plain text.
    Anywhere,
}

/// Which addresses may be connected to. Link-local ones with the metadata services of clouds, multicast, unspecified and
/// reserved ones never may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// Those of the internet.
    Public,
    /// These and this machine.
    #[default]
    PublicAndLoopback,
    /// These and private networks: RFC 1918, unique local, carrier-grade NAT.
    Any,
}

/// What may be fetched, from where, and how much.
#[derive(Debug, Clone)]
pub struct FetchPolicy {
    /// Which `http` URLs may be fetched. Default: those of this machine.
    pub plain_http: PlainHttp,
    /// Which addresses may be connected to. Default: those of the internet and of this machine.
    pub addresses: Addresses,
    /// Which hosts may be fetched from, redirects included. Default: empty, which allows all.
    pub hosts: Vec<HostPattern>,
    /// How many redirects are followed; each is checked, none leads from `https` to `http`, and credentials never go along to
    /// another origin. Default: 5.
    pub redirects_max: usize,
    /// How long one fetch may take from request to last byte, in seconds. Default: 24 hours.
    pub fetch_secs_max: u64,
    /// How many bytes one fetch may bring. Default: no limit.
    pub fetch_bytes_max: Option<u64>,
    /// How few bytes may come in each minute that is spent waiting for them; 0 takes any. Default: 1,024.
    pub minute_bytes_min: u64,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self {
            plain_http: PlainHttp::default(),
            addresses: Addresses::default(),
            hosts: Vec::new(),
            redirects_max: 5,
            fetch_secs_max: 24 * 60 * 60,
            fetch_bytes_max: None,
            minute_bytes_min: 1_024,
        }
    }
}

impl FetchPolicy {
    /// Trusts URLs that the user of a command has typed: any address but those that never may be, plain HTTP too.
    pub fn for_own_urls() -> Self {
        Self {
            plain_http: PlainHttp::Anywhere,
            addresses: Addresses::Any,
            ..Self::default()
        }
    }

    /// Refuses a URL that can be seen to be forbidden, without asking any name service. What passes may still be refused when it is
    /// fetched.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Url`] for what is no absolute `http` or `https` URL; [`crate::ErrorKind::Forbidden`] with the reason.
    pub fn check_url(&self, url: &str) -> crate::Result<Url> {
        let url = crate::http::parse(url)?;
        self.check(&url)
            .map_err(|refusal| crate::Error::new(crate::ErrorKind::Forbidden, refusal.to_string()))?;
        Ok(url)
    }

    pub(crate) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::Url(why.to_owned()));
        let Some(host) = url.host() else {
            return refused("the URL has no host");
        };
        if url.scheme() == "http" && !self.allows_plain_http(&host) {
            return refused("the URL is http to another machine: only https is allowed there");
        }
        if !matches!(url.scheme(), "http" | "https") {
            return refused("the URL is neither http nor https");
        }
        if !self.hosts.is_empty() {
            let name = host.to_string();
            let name = name.trim_start_matches('[').trim_end_matches(']');
            if !self.hosts.iter().any(|pattern| pattern.fits(name)) {
                return refused("the URL's host is not one of those that may be fetched from");
            }
        }
        match address(&host) {
            Some(address) if !self.allows_address(address) => {
                refused("the URL's address is private or reserved: fetching from there is not allowed")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        match AddressKind::of(address) {
            AddressKind::Public => true,
            AddressKind::Loopback => self.addresses != Addresses::Public,
            AddressKind::Private => self.addresses == Addresses::Any,
            AddressKind::Never => false,
        }
    }

    fn allows_plain_http(&self, host: &Host<&str>) -> bool {
        match self.plain_http {
            PlainHttp::Never => false,
            PlainHttp::Anywhere => true,
            PlainHttp::LoopbackOnly => match address(host) {
                Some(address) => AddressKind::of(address) == AddressKind::Loopback,
                // The resolver holds the name to this machine.
                None => matches!(host, Host::Domain(name) if is_local_name(name)),
            },
        }
    }
}

/// Makes the HTTP library ask at each redirect.
pub(crate) fn redirects(policy: &Arc<FetchPolicy>) -> Policy {
    let policy = Arc::clone(policy);
    Policy::custom(move |attempt| {
        let refusal = if attempt.previous().len() > policy.redirects_max {
            Some(Refusal::Url(format!(
                "the server redirects more than {} times",
                policy.redirects_max
            )))
        } else if attempt
            .previous()
            .last()
            .is_some_and(|from| from.scheme() == "https" && attempt.url().scheme() != "https")
        {
            Some(Refusal::Url("the server redirects from https to http".to_owned()))
        } else {
            policy.check(attempt.url()).err()
        };
        match refusal {
            Some(refusal) => attempt.error(refusal),
            None => attempt.follow(),
        }
    })
}

fn is_local_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(policy: &FetchPolicy, url: &str) -> bool {
        policy.check_url(url).is_ok()
    }

    #[test]
    fn addresses_are_known_in_every_spelling_of_a_url() {
        let public = FetchPolicy {
            addresses: Addresses::Public,
            ..FetchPolicy::default()
        };
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://127.0.0.1./",
            "https://１２７.0.0.1/",
            "https://%31%32%37.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:a00:1]/",
            "https://10.1/",
            "https://user@10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00:ec2::254]/",
            "https://0/",
            "https://[::]/",
        ] {
            assert!(!allowed(&public, url), "{url}");
        }
        assert!(allowed(&public, "https://data.example.org/Patient.ndjson"));
        assert!(allowed(&public, "https://93.184.216.34/Patient.ndjson"));
    }

    #[test]
    fn private_networks_are_for_who_asks_and_metadata_services_for_nobody() {
        let any = FetchPolicy::for_own_urls();
        assert!(allowed(&any, "http://10.0.0.1/"));
        assert!(allowed(&any, "https://[fd12::1]/"));
        assert!(!allowed(&any, "http://169.254.169.254/"));
        assert!(!allowed(&any, "http://[::ffff:a9fe:a9fe]/"));
        assert!(!allowed(&any, "http://[fd00:ec2::254]/"));
        let default = FetchPolicy::default();
        assert!(!allowed(&default, "https://10.0.0.1/"));
        assert!(allowed(&default, "http://127.0.0.1:9/"));
        assert!(allowed(&default, "http://localhost:9/"));
        assert!(!allowed(&default, "http://localhost.example.org/"));
        assert!(!allowed(&default, "ftp://localhost/"));
    }

    #[test]
    fn only_hosts_of_the_list_are_fetched_from() {
        let policy = FetchPolicy {
            hosts: vec![
                "files.example.org".parse().unwrap(),
                "*.cdn.example.org".parse().unwrap(),
            ],
            ..FetchPolicy::default()
        };
        assert!(allowed(&policy, "https://files.example.org/x"));
        assert!(allowed(&policy, "https://FILES.example.org.:8443/x"));
        assert!(allowed(&policy, "https://a.cdn.example.org/x"));
        assert!(!allowed(&policy, "https://example.org/x"));
        assert!(!allowed(&policy, "https://files.example.org@evil.net/x"));
        assert!(!allowed(&policy, "https://93.184.216.34/x"));
    }
}
