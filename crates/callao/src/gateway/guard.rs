//! Who asks, and what he may have: somebody on this computer, or a guest. Pure.
//!
//! A web page that is open in a browser on this computer can send requests to loopback too, under a name of its own (DNS
//! rebinding) or across sites. Such a request counts as a guest's: it gets what is here, and nothing else.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, ORIGIN};

/// What a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// From this computer, by somebody who meant this server: what is not here is fetched, and there are more pages.
    Owner,
    /// Anybody else: what is here.
    Guest,
}

/// Decides. `local`: the connection comes from this computer.
pub(super) fn standing(local: bool, headers: &HeaderMap) -> Standing {
    if local && names_loopback(headers) && !is_cross_site(headers) {
        Standing::Owner
    } else {
        Standing::Guest
    }
}

/// Whether every `Host` is a name of loopback. A request of HTTP/1.0 may have none: browsers always send one.
fn names_loopback(headers: &HeaderMap) -> bool {
    headers
        .get_all(HOST)
        .iter()
        .all(|host| host.to_str().is_ok_and(is_loopback_authority))
}

/// Whether a browser says that the request comes from another site's page.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name| {
        let value: Option<&hyper::header::HeaderValue> = headers.get(name);
        value.map(|value| value.to_str().unwrap_or_default())
    };
    let foreign_site =
        text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let host = text(HOST.as_str()).unwrap_or_default();
    let foreign_origin = text(ORIGIN.as_str()).is_some_and(|origin| {
        let authority = origin.strip_prefix("http://");
        authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host))
    });
    foreign_site || foreign_origin
}

fn is_loopback_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, _)) => (host, &authority[host.len()..]),
            None => (authority, ""),
        },
    };
    let port_is_good = port
        .strip_prefix(':')
        .map_or(port.is_empty(), |port| port.parse::<u16>().is_ok());
    let host_is_good = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback());
    port_is_good && host_is_good
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn the_owner_speaks_to_loopback_from_loopback() {
        for (lines, wanted) in [
            (&[("host", "127.0.0.1:8080")][..], Standing::Owner),
            (&[("host", "localhost")], Standing::Owner),
            (&[("host", "LocalHost:1")], Standing::Owner),
            (&[("host", "[::1]:8080")], Standing::Owner),
            (&[("host", "127.7.7.7")], Standing::Owner),
            (&[], Standing::Owner),
            (&[("host", "evil.example")], Standing::Guest),
            (&[("host", "evil.example:8080")], Standing::Guest),
            (&[("host", "localhost.evil.example")], Standing::Guest),
            (&[("host", "127.0.0.1.evil.example:8080")], Standing::Guest),
            (&[("host", "127.0.0.1@evil.example")], Standing::Guest),
            (&[("host", "127.0.0.1:8080:9")], Standing::Guest),
            (&[("host", "[::1")], Standing::Guest),
            (&[("host", "0.0.0.0:8080")], Standing::Guest),
            (&[("host", "")], Standing::Guest),
            (&[("host", "192.168.1.2:8080")], Standing::Guest),
        ] {
            assert_eq!(standing(true, &headers(lines)), wanted, "{lines:?}");
            assert_eq!(standing(false, &headers(lines)), Standing::Guest);
        }
    }

    #[test]
    fn pages_of_other_sites_are_guests() {
        const HERE: (&str, &str) = ("host", "127.0.0.1:8080");
        for (line, wanted) in [
            (("origin", "http://127.0.0.1:8080"), Standing::Owner),
            (("origin", "http://127.0.0.1:9090"), Standing::Guest),
            (("origin", "https://127.0.0.1:8080"), Standing::Guest),
            (("origin", "http://localhost:8080"), Standing::Guest),
            (("origin", "http://evil.example"), Standing::Guest),
            (("origin", "null"), Standing::Guest),
            (("sec-fetch-site", "same-origin"), Standing::Owner),
            (("sec-fetch-site", "none"), Standing::Owner),
            (("sec-fetch-site", "same-site"), Standing::Guest),
            (("sec-fetch-site", "cross-site"), Standing::Guest),
        ] {
            assert_eq!(standing(true, &headers(&[HERE, line])), wanted, "{line:?}");
        }
        let mut two = headers(&[HERE]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(standing(true, &two), Standing::Guest);
    }
}
