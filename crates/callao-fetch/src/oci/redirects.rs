//! Where a redirect may lead, and what may go along. Pure.
//!
//! A login is for one origin (scheme, host, port). It is never sent to another one, whoever says so.

use url::Url;

/// Whether both are the same scheme, host and port.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// The address that a `Location` names, if one may go there: https always, plain http only from plain http.
pub(crate) fn next(from: &Url, location: &str) -> Result<Url, String> {
    let next = from
        .join(location)
        .map_err(|error| format!("the redirect leads nowhere: {error}"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(without_credentials(next)),
        (from, to) => Err(format!(
            "the redirect leads from {from} to {to}, which is not followed"
        )),
    }
}

/// Nobody else may choose a login for us.
fn without_credentials(mut url: Url) -> Url {
    // Fails only for addresses that have no host, and so no login.
    url.set_username("").unwrap_or(());
    url.set_password(None).unwrap_or(());
    url
}

/// Whether the host is this computer, by its name or address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let table = [
            ("https://h/a", "https://h:443/b", true),
            ("https://h/", "https://H/", true),
            ("https://h/", "http://h/", false),
            ("https://h:8443/", "http://h:8443/", false),
            ("https://h/", "https://h:444/", false),
            ("https://h/", "https://h.evil/", false),
            ("http://127.0.0.1:1/", "http://localhost:1/", false),
        ];
        for (one, other, wanted) in table {
            assert_eq!(same_origin(&url(one), &url(other)), wanted, "{one} {other}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        let from = url("https://h/v2/a/blobs/x");
        assert_eq!(
            next(&from, "/other").map(String::from),
            Ok("https://h/other".into())
        );
        assert_eq!(
            next(&from, "https://cdn/x?s=1").map(String::from),
            Ok("https://cdn/x?s=1".into())
        );
        assert_eq!(
            next(&from, "https://u:p@cdn/x").map(String::from),
            Ok("https://cdn/x".into())
        );
        for bad in ["http://h/x", "file:///etc/passwd", "ftp://h/x"] {
            let why = next(&from, bad).expect_err(bad);
            assert!(
                why.starts_with("the redirect leads from https to "),
                "{why}"
            );
        }
        assert!(next(&url("http://127.0.0.1:1/"), "http://127.0.0.1:2/").is_ok());
        assert!(next(&from, "https://[").is_err());
    }

    #[test]
    fn this_computer_is_known_by_name_and_address() {
        for here in [
            "http://localhost:1",
            "http://127.1.2.3",
            "http://[::1]:5",
            "http://a.localhost",
        ] {
            assert!(is_loopback(&url(here)), "{here}");
        }
        for there in [
            "http://localhost.example",
            "http://10.0.0.1",
            "http://notlocalhost",
        ] {
            assert!(!is_loopback(&url(there)), "{there}");
        }
    }
}
