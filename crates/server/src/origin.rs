//! Which names a request may call this server by.
//!
//! Without authorization a web page must not reach the server through the user's browser by pointing a name of its own at
//! 127.0.0.1 (DNS rebinding). So the `Host` must be a loopback name, or the one in the public base URL.

use std::net::IpAddr;

use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap};
use url::{Host, Url};

use crate::problem::Problem;

/// Refuses a request (421) that calls the server by a name that is neither loopback nor the base URL's.
pub(crate) fn check_host(headers: &HeaderMap, base_url: &str) -> Result<(), Problem> {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let named = named.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    let known = named.as_ref().and_then(Url::host).is_some_and(|host| {
        let public = Url::parse(base_url).ok();
        is_loopback(&host) || public.as_ref().and_then(Url::host) == Some(host)
    });
    if known {
        return Ok(());
    }
    let text = "the Host header names neither this machine's loopback nor the host of the base URL";
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        IssueCode::Security,
        text,
    ))
}

/// Whether a host is this machine by its name or address alone.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn check(host: &'static str, allowed: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        let checked = check_host(&headers, "https://data.example.org/fhir");
        assert_eq!(checked.is_ok(), allowed, "{host}");
    }

    #[test]
    fn only_loopback_names_and_the_public_one_are_answered() {
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "[::1]:80",
            "data.example.org",
            "data.example.org:443",
        ] {
            check(host, true);
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
            check(host, false);
        }
    }
}
