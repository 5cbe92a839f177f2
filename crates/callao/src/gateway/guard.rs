//! Who asks, and what he may have: somebody on this computer, or a guest. Pure.
//!
//! A web page that is open in a browser on this computer can send requests to loopback too, under a name of its own (DNS
//! rebinding) or across sites. Such a request counts as a guest's: it gets what is here, and nothing else. But a user may
//! follow a link from there to the dashboard: the page that has the link sees nothing of what opens.

use std::net::IpAddr;

use hyper::Method;
use hyper::header::{HOST, HeaderMap, ORIGIN};

use super::Client;

/// What a `Host` without a port means.
const HTTP_PORT: u16 = 80;

/// What a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// From this computer, by somebody who meant this server: what is not here is fetched, and there are more pages.
    Owner,
    /// Anybody else: what is here.
    Guest,
}

/// Decides.
pub(super) fn standing(client: Client, headers: &HeaderMap) -> Standing {
    if client.is_local() && names_us(client.port, headers) && !is_cross_site(headers) {
        Standing::Owner
    } else {
        Standing::Guest
    }
}

/// Whether a browser opens a page as a whole, wherever the link to it is: not inside of another page, and not with a form.
pub(super) fn is_visit(client: Client, method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    client.is_local()
        && names_us(client.port, headers)
        && method == Method::GET
        && !headers.contains_key(ORIGIN)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

/// Whether every `Host` is a name of loopback, with our port. A request of HTTP/1.0 may have none: browsers always send one.
fn names_us(port: u16, headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let named = host.to_str().ok().and_then(loopback_port);
        named == Some(port)
    })
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

/// The port of an authority whose host is a name of loopback.
fn loopback_port(authority: &str) -> Option<u16> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return None,
        },
        None => match authority.split_once(':') {
            Some((host, _)) => (host, &authority[host.len()..]),
            None => (authority, ""),
        },
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok()?,
        None if port.is_empty() => HTTP_PORT,
        None => return None,
    };
    let host_is_good = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback());
    host_is_good.then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use hyper::header::{HeaderName, HeaderValue};

    fn client(local: bool, port: u16) -> Client {
        let ip = if local {
            [127, 0, 0, 1]
        } else {
            [192, 168, 1, 7]
        };
        Client {
            address: SocketAddr::from((ip, 50000)),
            port,
        }
    }

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
            (&[("host", "LocalHost:8080")], Standing::Owner),
            (&[("host", "[::1]:8080")], Standing::Owner),
            (&[("host", "127.7.7.7:8080")], Standing::Owner),
            (&[("host", "localhost")], Standing::Guest),
            (&[("host", "127.0.0.1:8081")], Standing::Guest),
            (&[("host", "127.0.0.1:")], Standing::Guest),
            (&[("host", "[::1]")], Standing::Guest),
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
            let standing = |local, port| standing(client(local, port), &headers(lines));
            assert_eq!(standing(true, 8080), wanted, "{lines:?}");
            assert_eq!(standing(false, 8080), Standing::Guest);
        }
        // Without a port it is that of HTTP.
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let lines = headers(&[("host", host)]);
            assert_eq!(standing(client(true, 80), &lines), Standing::Owner);
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
            let standing = standing(client(true, 8080), &headers(&[HERE, line]));
            assert_eq!(standing, wanted, "{line:?}");
        }
        let mut two = headers(&[HERE]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(standing(client(true, 8080), &two), Standing::Guest);
    }

    #[test]
    fn a_link_from_elsewhere_opens_a_page_as_a_whole_and_nothing_else() {
        const VISIT: [(&str, &str); 4] = [
            ("host", "127.0.0.1:8080"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let changed = |at: usize, line| {
            let mut lines = VISIT;
            lines[at] = line;
            headers(&lines)
        };
        let here = client(true, 8080);
        assert!(is_visit(here, &Method::GET, &headers(&VISIT)));
        assert!(!is_visit(here, &Method::POST, &headers(&VISIT)));
        assert!(!is_visit(
            client(false, 8080),
            &Method::GET,
            &headers(&VISIT)
        ));
        for lines in [
            changed(0, ("host", "evil.example:8080")),
            changed(0, ("host", "127.0.0.1:8081")),
            changed(2, ("sec-fetch-mode", "no-cors")),
            changed(3, ("sec-fetch-dest", "iframe")),
            changed(3, ("sec-fetch-dest", "object")),
            changed(1, ("origin", "http://evil.example")),
            headers(&VISIT[..1]),
        ] {
            assert!(!is_visit(here, &Method::GET, &lines), "{lines:?}");
        }
    }
}
