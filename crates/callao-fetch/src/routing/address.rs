//! Multiaddrs in provider records, as far as a client must know them to choose: which name an HTTP gateway, which a peer
//! that libp2p can dial, and which nobody must dial. Pure; opens nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Url;

use crate::netfilter::Scope;

/// What a multiaddr is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A libp2p peer can be dialled there.
    Peer,
    /// It is on this computer or its network, and a stranger named it.
    Refused,
    /// Nothing that can be used (relays, browsers, names).
    Other,
}

/// `/ip4|ip6/IP/{tcp/PORT | udp/PORT/quic-v1}[/p2p/ID]`, where `scope` allows the IP.
pub(super) fn of_peer(multiaddr: &str, scope: Scope) -> Address {
    let mut parts = multiaddr.split('/').skip(1);
    let ip = match (parts.next(), parts.next()) {
        (Some("ip4"), Some(ip)) => ip.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        (Some("ip6"), Some(ip)) => ip.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        _ => None,
    };
    let rest: Vec<&str> = parts.collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
    let speaks_libp2p = match rest[..] {
        ["tcp", port] | ["tcp", port, "p2p" | "ipfs", _] => is_port(port),
        ["udp", port, "quic-v1"] | ["udp", port, "quic-v1", "p2p" | "ipfs", _] => is_port(port),
        _ => false,
    };
    match ip {
        Some(ip) if speaks_libp2p && scope.allows(ip) => Address::Peer,
        Some(_) if speaks_libp2p => Address::Refused,
        _ => Address::Other,
    }
}

/// The URL that a multiaddr means, if it names an HTTP gateway:
/// `/{dns,dns4,dns6,ip4,ip6}/HOST[/tcp/PORT]/{https | http | tls/http | tls/sni/NAME/http}[/p2p/ID]`.
pub fn gateway_url(multiaddr: &str) -> Option<Url> {
    let mut parts = multiaddr.strip_prefix('/')?.split('/');
    let (kind, host) = (parts.next()?, parts.next()?);
    let host = match kind {
        "dns" | "dns4" | "dns6" if host_is_plain(host) => host.to_owned(),
        "ip4" => host.parse::<Ipv4Addr>().ok()?.to_string(),
        "ip6" => format!("[{}]", host.parse::<Ipv6Addr>().ok()?),
        _ => return None,
    };
    let mut rest: Vec<&str> = parts.collect();
    let mut port = None;
    if let ["tcp", number, ..] = rest[..] {
        port = Some(number.parse::<u16>().ok().filter(|port| *port != 0)?);
        rest.drain(..2);
    }
    if let [.., "p2p" | "ipfs", _] = rest[..] {
        rest.truncate(rest.len() - 2);
    }
    let scheme = match rest[..] {
        ["https"] | ["tls", "http"] => "https",
        ["http"] => "http",
        // The name for TLS and HTTP is the host itself; another one could not be put into a URL.
        ["tls", "sni", name, "http"] if name.eq_ignore_ascii_case(&host) => "https",
        _ => return None,
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    Url::parse(&format!("{scheme}://{host}{port}/")).ok()
}

/// Nothing that could become another part of a URL.
fn host_is_plain(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiaddrs_become_urls() {
        let table = [
            (
                "/dns4/gateway.example/tcp/443/tls/http",
                Some("https://gateway.example/"),
            ),
            (
                "/dns/gateway.example/tcp/8443/https",
                Some("https://gateway.example:8443/"),
            ),
            (
                "/dns6/gateway.example/https/p2p/12D3KooW",
                Some("https://gateway.example/"),
            ),
            (
                "/dns/gateway.example/tcp/443/tls/sni/gateway.example/http",
                Some("https://gateway.example/"),
            ),
            (
                "/ip4/192.168.1.7/tcp/8080/http",
                Some("http://192.168.1.7:8080/"),
            ),
            (
                "/ip6/2606:4700::1111/tcp/443/tls/http/p2p/Qm",
                Some("https://[2606:4700::1111]/"),
            ),
            (
                "/dns/gateway.example/tcp/443/tls/sni/other.example/http",
                None,
            ),
            ("/dns/gateway.example/tcp/443/tls/ws", None),
            ("/dns/gateway.example/tcp/0/https", None),
            ("/dns/gateway.example/tcp/99999/https", None),
            ("/dns/user@evil.example/tcp/443/https", None),
            ("/dns/evil.example:1#/tcp/443/https", None),
            ("/ip4/1.2.3.4/tcp/4001", None),
            ("/ip4/1.2.3.4/udp/4001/quic-v1", None),
            ("/ip4/1.2.3/tcp/80/http", None),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/80/http", None),
            ("https://gateway.example", None),
            ("", None),
            ("/", None),
        ];
        for (multiaddr, wanted) in table {
            assert_eq!(
                gateway_url(multiaddr).map(String::from).as_deref(),
                wanted,
                "{multiaddr}"
            );
        }
    }

    #[test]
    fn peers_are_dialled_where_the_scope_allows() {
        use Address::{Other, Peer, Refused};
        let table = [
            ("/ip4/1.1.1.1/tcp/4001", Peer, Peer),
            ("/ip4/1.1.1.1/tcp/4001/p2p/12D3KooW", Peer, Peer),
            ("/ip6/2606:4700::1111/udp/4001/quic-v1", Peer, Peer),
            ("/ip4/127.0.0.1/tcp/4001", Refused, Peer),
            ("/ip4/10.0.0.1/udp/4001/quic-v1/p2p/12D3KooW", Refused, Peer),
            ("/ip6/::ffff:192.168.1.1/tcp/4001", Refused, Peer),
            ("/ip4/169.254.169.254/tcp/80", Refused, Refused),
            ("/ip4/1.1.1.1/tcp/0", Other, Other),
            ("/ip4/1.1.1.1/tcp/4001/ws", Other, Other),
            ("/ip4/1.1.1.1/udp/4001/quic-v1/webtransport", Other, Other),
            (
                "/ip4/1.1.1.1/tcp/4001/p2p/12D3KooW/p2p-circuit",
                Other,
                Other,
            ),
            ("/dns4/peer.example/tcp/4001", Other, Other),
            ("/ip4/1.1.1/tcp/4001", Other, Other),
            ("nonsense", Other, Other),
            ("", Other, Other),
        ];
        for (text, public, lan) in table {
            assert_eq!(of_peer(text, Scope::Public), public, "{text}");
            assert_eq!(of_peer(text, Scope::Lan), lan, "{text}");
        }
    }
}
