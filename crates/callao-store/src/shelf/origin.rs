//! Whether a location is a public one: only what anybody could have fetched may be given to anybody.
//! Pure: looks at the text alone, resolves no name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use callao_content::cid;
use url::{Host, Url};

/// Names that only a local network resolves (RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`).
const LOCAL_NAMES: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "lan", "test"];

/// `Err` says why it is not public, as the end of a sentence.
pub(super) fn check(location: &str, private_origins: bool) -> Result<(), &'static str> {
    if is_ipfs(location) {
        return Ok(());
    }
    let Ok(url) = Url::parse(location) else {
        return Err("its location is no public address");
    };
    if !matches!(url.scheme(), "http" | "https" | "oci") {
        return Err("its location is no public address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its location has a user name or a password");
    }
    if private_origins || url.host().is_some_and(|host| is_public(&host)) {
        Ok(())
    } else {
        Err("it is from a server that is not public")
    }
}

/// What names its bytes is as public as they are.
fn is_ipfs(location: &str) -> bool {
    let scheme = location.split_once(':').map(|(scheme, _)| scheme);
    let named = scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("ipfs") || scheme.eq_ignore_ascii_case("ipns")
    });
    named || location.starts_with("/ipfs/") || cid::parse(location).is_ok()
}

fn is_public(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => is_public_v4(*address),
        Host::Ipv6(address) => is_public_v6(*address),
        // A scheme that the URL standard does not know (oci) leaves addresses as names.
        Host::Domain(name) => match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => is_public_v4(address),
            Ok(IpAddr::V6(address)) => is_public_v6(address),
            Err(_) => is_public_name(name),
        },
    }
}

fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |suffix: &str| {
        let rest = name.strip_suffix(suffix);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    name.contains('.') && !LOCAL_NAMES.into_iter().any(is_below)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast();
    !special && !shared && a != 0 && a < 240
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(address) = address.to_ipv4_mapped() {
        return is_public_v4(address);
    }
    // Global unicast is 2000::/3; the rest is local, multicast or reserved.
    address.segments()[0] & 0xe000 == 0x2000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_anybody_could_fetch_is_public() {
        let table = [
            ("https://cloud.debian.org/images/a.qcow2", true),
            ("http://8.8.8.8/a", true),
            ("https://[2606:4700::1]/a", true),
            ("oci://ghcr.io/owner/images:1", true),
            ("ipfs://bafkqaaa/a.img", true),
            ("/ipfs/bafkqaaa", true),
            ("bafkqaaa", true),
            ("https://user@host.example/a", false),
            ("https://user:secret@host.example/a", false),
            ("http://127.0.0.1:8080/a", false),
            ("http://10.0.0.1/a", false),
            ("http://172.16.3.4/a", false),
            ("http://192.168.1.2/a", false),
            ("http://169.254.0.1/a", false),
            ("http://100.64.0.1/a", false),
            ("http://0.0.0.0/a", false),
            ("http://[::1]/a", false),
            ("http://[fd00::1]/a", false),
            ("http://[fe80::1]/a", false),
            ("http://[::ffff:10.0.0.1]/a", false),
            ("http://localhost/a", false),
            ("http://nas/a", false),
            ("http://nas.local/a", false),
            ("http://nas.home.arpa./a", false),
            ("https://git.corp.internal/a", false),
            ("oci://127.0.0.1:5000/images:1", false),
            ("oci://localhost:5000/images:1", false),
            ("file:///etc/passwd", false),
            ("/data/disk.img", false),
            ("", false),
        ];
        for (location, public) in table {
            assert_eq!(check(location, false).is_ok(), public, "{location}");
        }
    }

    #[test]
    fn servers_of_ones_own_can_be_allowed_but_never_secrets() {
        assert_eq!(check("http://10.0.0.1/a", true), Ok(()));
        assert!(check("http://me:pw@10.0.0.1/a", true).is_err());
        assert!(check("file:///a", true).is_err());
    }
}
