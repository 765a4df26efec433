//! An entry of an allow-list of hosts: [`HostPattern`].

use std::fmt;
use std::str::FromStr;

use url::Host;

use crate::{Error, ErrorKind};

/// Names one host, `files.example.org`, or all below a domain, `*.example.org`. An address stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// In the form that URLs have it in: lower case, punycode, addresses in their shortest form.
    host: String,
    below: bool,
}

impl HostPattern {
    /// Whether a URL's host is the one, or one of those, that are meant. Ports do not matter.
    pub(crate) fn fits(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if self.below {
            host.strip_suffix(self.host.as_str())
                .and_then(|above| above.strip_suffix('.'))
                .is_some_and(|above| !above.is_empty())
        } else {
            host == self.host
        }
    }
}

impl FromStr for HostPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            let problem = format!("`{text}` is no host and no `*.` with a domain");
            Error::new(ErrorKind::Url, problem)
        };
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let host = Host::parse(name).map_err(|_| refused())?;
        let is_name = matches!(host, Host::Domain(_));
        if name.contains('*') || (below && !is_name) {
            return Err(refused());
        }
        let host = host.to_string();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        Ok(Self { host, below })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_its_host_or_those_below_and_nothing_that_looks_alike() {
        let fits = |pattern: &str, host: &str| pattern.parse::<HostPattern>().expect("a pattern").fits(host);
        assert!(fits("Files.Example.org", "files.example.org"));
        assert!(fits("files.example.org", "files.example.org."));
        assert!(fits("*.example.org", "a.b.example.org"));
        assert!(fits("192.168.1.7", "192.168.1.7"));
        for (pattern, host) in [
            ("example.org", "files.example.org"),
            ("example.org", "example.org.evil.net"),
            ("*.example.org", "example.org"),
            ("*.example.org", "evilexample.org"),
            ("*.example.org", ".example.org"),
        ] {
            assert!(!fits(pattern, host), "{pattern} {host}");
        }
        for text in [
            "",
            "*",
            "*.",
            "a.*.org",
            "*.10.0.0.1",
            "a b",
            "https://a.org",
            "a.org:80",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
