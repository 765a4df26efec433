//! For whom a proxy asks: [`client_address`].
//!
//! A header can have been written by anybody that the request came through, the client first of all. What is believed is read
//! from its end: the last entry was added by the proxy at the other end of our connection, the one before, if the last is a
//! proxy of ours too, by that one, and so on. The first address that is none of our proxies is the client's.

use std::net::{IpAddr, SocketAddr};

use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;
use hyper::header::{FORWARDED, HeaderMap, HeaderName};

use crate::listener::settings::{ForwardedBy, ProxySettings};
use crate::problem::Problem;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Finds the address of the client that a proxy asks for.
///
/// # Errors
/// 403 when `peer` is no proxy of ours, 400 when the proxy does not say for whom it asks, or that the client did not use https.
pub(crate) fn client_address(
    headers: &HeaderMap,
    peer: IpAddr,
    proxy: &ProxySettings,
) -> Result<IpAddr, Problem> {
    if !proxy.trusts(peer) {
        let text = "this server answers its proxies only; use its public URL";
        return Err(Problem::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text));
    }
    match proxy.headers {
        ForwardedBy::XForwarded => by_x_forwarded(headers, peer, proxy),
        ForwardedBy::Forwarded => by_forwarded(headers, peer, proxy),
    }
}

fn by_x_forwarded(headers: &HeaderMap, peer: IpAddr, proxy: &ProxySettings) -> Result<IpAddr, Problem> {
    let protocols = entries(headers, &PROTO)?;
    if protocols.is_empty() {
        return Err(incomplete("X-Forwarded-Proto"));
    }
    if !protocols.iter().all(|name| name.eq_ignore_ascii_case("https")) {
        return Err(plain());
    }
    let named = entries(headers, &FOR)?;
    if named.is_empty() {
        return Err(incomplete("X-Forwarded-For"));
    }
    let mut client = peer;
    for address in named.iter().rev().map_while(|entry| address(entry)) {
        client = address;
        if !proxy.trusts(address) {
            break;
        }
    }
    Ok(client)
}

fn by_forwarded(headers: &HeaderMap, peer: IpAddr, proxy: &ProxySettings) -> Result<IpAddr, Problem> {
    let (mut client, mut is_secure) = (peer, None);
    for element in entries(headers, &FORWARDED)?.iter().rev() {
        let named = address(parameter(element, "for").ok_or_else(|| incomplete("for in Forwarded"))?);
        is_secure = match parameter(element, "proto") {
            Some(protocol) if !protocol.eq_ignore_ascii_case("https") => return Err(plain()),
            protocol => protocol,
        };
        client = named.unwrap_or(client);
        if named.is_none_or(|address| !proxy.trusts(address)) {
            break;
        }
    }
    match is_secure {
        Some(_) => Ok(client),
        None => Err(incomplete("proto in Forwarded")),
    }
}

/// The entries of all lines of a header, in their order.
fn entries<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Vec<&'h str>, Problem> {
    let mut all = Vec::new();
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| incomplete(name.as_str()))?;
        all.extend(split(line, b',').filter(|entry| !entry.is_empty()));
    }
    Ok(all)
}

/// A parameter of an element of `Forwarded`, without its quotes.
fn parameter<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let mut pairs = split(element, b';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(quoted.unwrap_or(value))
}

/// Cuts a text at a separator outside of quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let end = text.bytes().position(|byte| {
            is_quoted ^= byte == b'"';
            byte == separator && !is_quoted
        });
        let (piece, after) = match end {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = after;
        Some(piece.trim())
    })
}

/// Reads an address with or without port; `None` for `unknown` and names that hide it.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse::<IpAddr>();
    let address = address.or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn incomplete(what: &str) -> Problem {
    let text = format!("the proxy does not say for whom it asks: {what} is missing or unreadable");
    Problem::bad_request(IssueCode::Security, text)
}

fn plain() -> Problem {
    Problem::bad_request(
        IssueCode::Security,
        "use https: this came to the proxy in plain text",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    /// Whom a request from 10.0.0.5 is taken to come from; `Err` with the status.
    fn check(by: ForwardedBy, lines: &[(&'static str, &str)], expected: Result<&str, u16>) {
        let trusted = ["10.0.0.0/24", "2001:db8:f::/64"].map(|range| range.parse().expect("a range"));
        let proxy = ProxySettings {
            trusted: trusted.to_vec(),
            headers: by,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        let peer = "10.0.0.5".parse().expect("an address");
        let found = client_address(&headers, peer, &proxy);
        let expected = expected.map(|address| address.parse::<IpAddr>().expect("an address"));
        assert_eq!(
            found.map_err(|problem| problem.status().as_u16()),
            expected,
            "{lines:?}"
        );
    }

    #[test]
    fn the_first_from_the_end_that_is_no_proxy_is_the_client() {
        let secure = ("x-forwarded-proto", "https");
        for (named, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("127.0.0.1, 192.0.2.7", "192.0.2.7"),
            ("198.51.100.1, 192.0.2.7, 10.0.0.9", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::1]:4711,10.0.0.9", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("192.0.2.7, unknown, 10.0.0.9", "10.0.0.9"),
            ("192.0.2.7, nonsense", "10.0.0.5"),
        ] {
            let lines = [secure, ("x-forwarded-for", named)];
            check(ForwardedBy::XForwarded, &lines, Ok(expected));
        }
        let lines = [
            secure,
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        check(ForwardedBy::XForwarded, &lines, Ok("192.0.2.7"));
    }

    #[test]
    fn plain_text_and_silence_are_refused() {
        let named = ("x-forwarded-for", "192.0.2.7");
        for protocols in ["http", "https, http", "http, https", "wss", ""] {
            let lines = [named, ("x-forwarded-proto", protocols)];
            check(ForwardedBy::XForwarded, &lines, Err(400));
        }
        check(ForwardedBy::XForwarded, &[named], Err(400));
        check(
            ForwardedBy::XForwarded,
            &[("x-forwarded-proto", "https")],
            Err(400),
        );
        let only_the_other = [("forwarded", "for=192.0.2.7;proto=https")];
        check(ForwardedBy::XForwarded, &only_the_other, Err(400));
        check(
            ForwardedBy::Forwarded,
            &[named, ("x-forwarded-proto", "https")],
            Err(400),
        );
    }

    #[test]
    fn forwarded_is_read_from_its_end_too() {
        for (line, expected) in [
            ("for=192.0.2.7;proto=https", Ok("192.0.2.7")),
            (
                r#"For="[2001:db8::1]:4711";Proto="https";by=10.0.0.5"#,
                Ok("2001:db8::1"),
            ),
            (
                "for=127.0.0.1;proto=https, for=192.0.2.7;proto=https",
                Ok("192.0.2.7"),
            ),
            (
                "for=192.0.2.7;proto=https, for=10.0.0.9;proto=https",
                Ok("192.0.2.7"),
            ),
            ("for=192.0.2.7;proto=https, for=10.0.0.9", Ok("192.0.2.7")),
            (r#"for="_hidden, proto=https";proto=https"#, Ok("10.0.0.5")),
            ("for=127.0.0.1;proto=https, for=192.0.2.7", Err(400)),
            ("for=192.0.2.7;proto=https, for=10.0.0.9;proto=http", Err(400)),
            ("for=192.0.2.7;proto=http", Err(400)),
            ("proto=https", Err(400)),
        ] {
            check(ForwardedBy::Forwarded, &[("forwarded", line)], expected);
        }
    }

    #[test]
    fn nobody_but_a_proxy_is_answered() {
        let proxy = ProxySettings {
            trusted: vec!["10.0.0.5/32".parse().expect("a range")],
            headers: ForwardedBy::XForwarded,
        };
        let peer = "10.0.0.6".parse().expect("an address");
        let refused = client_address(&HeaderMap::new(), peer, &proxy).expect_err("it is refused");
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
}
