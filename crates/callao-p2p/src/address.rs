//! Multiaddrs as this crate reads them: which may be dialled, and what they say. Pure; dials nothing.

use std::net::IpAddr;

use callao_fetch::netfilter::Scope;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::error::Error;

/// An address that the user named, and the peer it names.
pub(crate) fn parse(text: &str) -> Result<(Multiaddr, Option<PeerId>), Error> {
    let refuse = |reason: String| Error::Address {
        address: text.chars().filter(|c| !c.is_control()).take(200).collect(),
        reason,
    };
    let mut address: Multiaddr = text
        .parse()
        .map_err(|error| refuse(format!("not a multiaddr ({error})")))?;
    let peer = match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            Some(peer)
        }
        _ => None,
    };
    if address.is_empty() {
        return Err(refuse("a peer ID without an address".into()));
    }
    Ok((address, peer))
}

/// Whether there is a transport for it: TCP or QUIC at an IP address or a name, or a name that stands for such addresses.
pub(crate) fn has_transport(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    match parts.next() {
        Some(Protocol::Dnsaddr(_)) => return parts.next().is_none(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => {}
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => {}
        _ => return false,
    }
    let transport = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => parts.next() == Some(Protocol::QuicV1),
        _ => false,
    };
    transport && parts.next().is_none()
}

/// Whether this can be a peer's address, with or without its ID.
///
/// # Errors
/// [`Error::Address`] with the reason.
pub fn check_address(text: &str) -> Result<(), Error> {
    parse(text).map(|_| ())
}

/// The peer with this ID, in either of its spellings (`12D3Koo...`, `bafz...`).
pub(crate) fn parse_peer(text: &str) -> Result<PeerId, Error> {
    let refuse = |reason: String| Error::Address {
        address: text.chars().filter(|c| !c.is_control()).take(200).collect(),
        reason,
    };
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok(peer);
    }
    let id = callao_content::cid::parse(text).map_err(|_| refuse("not a peer ID".into()))?;
    PeerId::from_bytes(&id.hash().to_bytes()).map_err(|_| refuse("not a peer ID".into()))
}

/// The first IP address in it.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The TCP or UDP port after its first part.
pub(crate) fn port(address: &Multiaddr) -> Option<u16> {
    match address.iter().nth(1)? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    }
}

/// Whether it is on this machine or its network.
pub(crate) fn is_local(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| !Scope::Public.allows(ip) && Scope::Lan.allows(ip))
}

/// An address that somebody else named, as it may be dialled: an IP address that `scope` allows, with plain TCP or QUIC.
/// Names are refused, since they can lead anywhere.
pub(crate) fn dialable(address: &Multiaddr, scope: Scope) -> Option<Multiaddr> {
    let mut parts = address.iter();
    let allowed = match parts.next()? {
        Protocol::Ip4(ip) => scope.allows(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => scope.allows(IpAddr::V6(ip)),
        _ => false,
    };
    let transport = match parts.next()? {
        Protocol::Tcp(port) => port != 0,
        Protocol::Udp(port) => port != 0 && parts.next() == Some(Protocol::QuicV1),
        _ => false,
    };
    let rest = parts.next();
    let ends = matches!(rest, None | Some(Protocol::P2p(_))) && parts.next().is_none();
    (allowed && transport && ends).then(|| {
        let named = rest.is_some();
        let mut plain = address.clone();
        if named {
            plain.pop();
        }
        plain
    })
}

/// `http://IP:PORT` of `/ip4/IP/tcp/PORT/http`, if it is at `at`: a peer speaks for itself only. One that listens everywhere
/// says `/ip4/0.0.0.0/tcp/PORT/http`: then it is where the peer is.
pub(crate) fn http_base(address: &Multiaddr, at: IpAddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else {
        return None;
    };
    let ends = parts.next() == Some(Protocol::Http) && parts.next().is_none();
    let is_here = host == at || (host.is_unspecified() && host.is_ipv4() == at.is_ipv4());
    if !ends || !is_here || port == 0 {
        return None;
    }
    Some(match at {
        IpAddr::V4(ip) => format!("http://{ip}:{port}"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn strangers_name_plain_addresses_or_none() {
        let table = [
            ("/ip4/1.1.1.1/tcp/4001", Scope::Public, true),
            ("/ip4/1.1.1.1/udp/4001/quic-v1", Scope::Public, true),
            ("/ip6/2606:4700::1111/tcp/4001", Scope::Public, true),
            ("/ip4/127.0.0.1/tcp/4001", Scope::Public, false),
            ("/ip4/127.0.0.1/tcp/4001", Scope::Lan, true),
            ("/ip4/10.0.0.1/udp/1/quic-v1", Scope::Public, false),
            ("/ip4/169.254.169.254/tcp/80", Scope::Lan, false),
            ("/ip6/::ffff:127.0.0.1/tcp/80", Scope::Public, false),
            ("/ip4/1.1.1.1/tcp/0", Scope::Public, false),
            ("/ip4/1.1.1.1/udp/4001/quic", Scope::Public, false),
            (
                "/ip4/1.1.1.1/udp/4001/quic-v1/webtransport",
                Scope::Public,
                false,
            ),
            ("/ip4/1.1.1.1/tcp/4001/ws", Scope::Public, false),
            ("/ip4/1.1.1.1/tcp/80/http", Scope::Public, false),
            ("/dns4/peer.example/tcp/4001", Scope::Lan, false),
            ("/ip4/1.1.1.1", Scope::Public, false),
        ];
        for (text, scope, wanted) in table {
            assert_eq!(dialable(&address(text), scope).is_some(), wanted, "{text}");
        }
        let relayed = format!("/ip4/1.1.1.1/tcp/4001/p2p/{PEER}/p2p-circuit/p2p/{PEER}");
        assert_eq!(dialable(&address(&relayed), Scope::Public), None);
        let named = format!("/ip4/1.1.1.1/tcp/4001/p2p/{PEER}");
        assert_eq!(
            dialable(&address(&named), Scope::Public),
            Some(address("/ip4/1.1.1.1/tcp/4001"))
        );
    }

    #[test]
    fn a_gateway_counts_only_where_its_peer_is() {
        let here = IpAddr::from([192, 168, 1, 7]);
        let table = [
            (
                "/ip4/192.168.1.7/tcp/8080/http",
                Some("http://192.168.1.7:8080"),
            ),
            (
                "/ip4/0.0.0.0/tcp/8080/http",
                Some("http://192.168.1.7:8080"),
            ),
            ("/ip6/::/tcp/8080/http", None),
            ("/ip4/192.168.1.8/tcp/8080/http", None),
            ("/ip4/192.168.1.7/tcp/8080", None),
            ("/ip4/192.168.1.7/tcp/8080/tls/http", None),
            ("/ip4/192.168.1.7/udp/8080", None),
        ];
        for (text, wanted) in table {
            assert_eq!(http_base(&address(text), here).as_deref(), wanted, "{text}");
        }
        let six = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            http_base(&address("/ip6/::1/tcp/80/http"), six).as_deref(),
            Some("http://[::1]:80")
        );
    }

    #[test]
    fn what_the_user_names_is_read_or_refused_with_a_reason() {
        let (plain, peer) = parse(&format!("/dns4/a.example/tcp/4001/p2p/{PEER}")).expect("good");
        assert_eq!(plain.to_string(), "/dns4/a.example/tcp/4001");
        assert_eq!(peer.map(|peer| peer.to_string()).as_deref(), Some(PEER));
        assert_eq!(parse("/ip4/127.0.0.1/tcp/1").expect("good").1, None);
        let said = |text: &str| parse(text).expect_err(text).to_string();
        assert_eq!(
            said(&format!("/p2p/{PEER}")),
            format!("a peer ID without an address: `/p2p/{PEER}`")
        );
        assert!(said("127.0.0.1:4001").starts_with("not a multiaddr ("));
        assert!(said("127.0.0.1:4001").ends_with("): `127.0.0.1:4001`"));
    }

    #[test]
    fn peer_ids_have_two_spellings() {
        let peer = parse_peer(PEER).expect("base58");
        let id =
            libp2p::multihash::Multihash::<64>::from_bytes(&peer.to_bytes()).expect("a multihash");
        let spelt = format!(
            "f0172{}",
            id.to_bytes()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        );
        assert_eq!(parse_peer(&spelt), Ok(peer));
        assert_eq!(
            parse_peer("nobody").expect_err("bad").to_string(),
            "not a peer ID: `nobody`"
        );
    }
}
