//! Which requests are let in at all: by the name that they call the server by, by the proxy that they came through, by their
//! length.
//!
//! Without authorization a web page must not reach the server through the user's browser by pointing a name of its own at
//! 127.0.0.1 (DNS rebinding). So the `Host` must be a loopback name, or the one in the public base URL. Nor may a page change anything
//! by a form that it has the browser send, so an `Origin` must be such a name too.

use std::net::IpAddr;

use fhirhose_fhir::outcome::IssueCode;
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, StatusCode, Uri};
use url::{Host, Url};

use crate::app::App;
use crate::forwarded::client_address;
use crate::listener::Peer;
use crate::problem::Problem;

/// Checks where a request comes from; behind a proxy it also learns the client's address.
///
/// # Errors
/// 421 for a name that is not the server's, 403 for what a page of another site asks for, 414 for a URI that is too long, 403 and 400 for what [`client_address`] refuses.
pub(crate) fn check_origin<B>(app: &App, request: &mut Request<B>) -> Result<(), Problem> {
    // What came in another way than over the network comes from this machine, and no proxy.
    let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
        return Ok(());
    };
    check_length(request.uri(), app.settings.connections.uri_bytes_max)?;
    if let Some(proxy) = &app.settings.transport.proxy {
        let client = client_address(request.headers(), peer, proxy)?;
        request.extensions_mut().insert(Peer(client));
    }
    check_page(request.method(), request.headers(), &app.base_url)?;
    check_host(request.uri(), request.headers(), &app.base_url)
}

/// Refuses what a page of another site has a browser send: without authorization it would be done in the user's name. Browsers say
/// in `Origin` where a page is from; nobody else has a reason to send it.
fn check_page(method: &Method, headers: &HeaderMap, base_url: &str) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let is_own_page = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, name)| is_own(name, base_url))
    };
    if headers.get_all(ORIGIN).iter().all(is_own_page) {
        return Ok(());
    }
    let text = "the request comes from a page of another site";
    Err(Problem::new(StatusCode::FORBIDDEN, IssueCode::Security, text))
}

fn check_length(uri: &Uri, bytes_max: usize) -> Result<(), Problem> {
    let path_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let name_bytes = uri.authority().map_or(0, |name| name.as_str().len());
    if path_bytes + name_bytes <= bytes_max {
        return Ok(());
    }
    let text = format!("the URL is longer than {bytes_max} bytes; send the parameters in a POST body");
    Err(Problem::new(StatusCode::URI_TOO_LONG, IssueCode::TooLong, text))
}

/// Refuses a request that calls the server by a name that is neither loopback nor the base URL's.
fn check_host(uri: &Uri, headers: &HeaderMap, base_url: &str) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let named = hosts.next().and_then(|host| host.to_str().ok());
    // A request line with a whole URL counts instead of the header (RFC 9112, 3.2.2); neither may name anybody else.
    let is_known = named.is_some_and(|host| is_own(host, base_url))
        && hosts.next().is_none()
        && uri.authority().is_none_or(|name| is_own(name.as_str(), base_url));
    if is_known {
        return Ok(());
    }
    let text = "the Host header names neither this machine's loopback nor the host of the base URL";
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        IssueCode::Security,
        text,
    ))
}

fn is_own(name: &str, base_url: &str) -> bool {
    let named = Url::parse(&format!("http://{name}/")).ok();
    named.as_ref().and_then(Url::host).is_some_and(|host| {
        let public = Url::parse(base_url).ok();
        is_loopback(&host) || public.as_ref().and_then(Url::host) == Some(host)
    })
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

    fn check(target: &str, hosts: &[&'static str], allowed: bool) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        let uri = target.parse().expect("a URI");
        let checked = check_host(&uri, &headers, "https://data.example.org/fhir");
        assert_eq!(checked.is_ok(), allowed, "{target} {hosts:?}");
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let check = |method: Method, origin: Option<&'static str>, allowed: bool| {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            let checked = check_page(&method, &headers, "https://data.example.org/fhir");
            assert_eq!(checked.is_ok(), allowed, "{method} {origin:?}");
        };
        check(Method::POST, None, true);
        for own in ["https://data.example.org", "http://localhost:8080"] {
            check(Method::POST, Some(own), true);
        }
        for foreign in [
            "https://evil.example",
            "null",
            "https://data.example.org.evil.example",
        ] {
            check(Method::GET, Some(foreign), true);
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                check(method, Some(foreign), false);
            }
        }
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
            check("/fhir", &[host], true);
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
            check("/fhir", &[host], false);
        }
        check("/fhir", &[], false);
        check("/fhir", &["localhost", "evil.example"], false);
        check("http://evil.example/fhir", &["localhost"], false);
        check("http://data.example.org/fhir", &["data.example.org"], true);
    }
}
