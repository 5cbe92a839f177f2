//! Addresses to listen on, as text. Pure, but for the question whether this computer has IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

/// The same transports and ports, on this computer alone.
pub(super) fn on_loopback(address: &str) -> String {
    let mut parts: Vec<&str> = address.split('/').collect();
    for at in 1..parts.len() {
        match parts[at - 1] {
            "ip4" => parts[at] = "127.0.0.1",
            "ip6" => parts[at] = "::1",
            _ => {}
        }
    }
    parts.join("/")
}

/// Whether it is worth trying: without IPv6 its addresses are no mistake of the user.
pub(super) fn is_possible(address: &str) -> bool {
    !address.starts_with("/ip6/") || UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Whether others were to be listened to on every interface, and there is none but loopback.
pub(super) fn is_alone(wanted: &[String], got: &[String]) -> bool {
    let begins = |address: &String, all: [&str; 2]| all.iter().any(|one| address.starts_with(one));
    let everywhere = |address: &String| begins(address, ["/ip4/0.0.0.0/", "/ip6/::/"]);
    let on_loopback = |address: &String| begins(address, ["/ip4/127.", "/ip6/::1/"]);
    wanted.iter().any(everywhere) && got.iter().all(on_loopback)
}

/// A gateway as a multiaddr. One that listens on every interface is where whoever reads this is connected to.
pub(super) fn http(gateway: SocketAddr) -> String {
    let ip = match gateway.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/ip4/{ip}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}"),
    };
    format!("{ip}/tcp/{}/http", gateway.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_rewritten_part_by_part() {
        for (address, wanted) in [
            ("/ip4/0.0.0.0/tcp/22553", "/ip4/127.0.0.1/tcp/22553"),
            ("/ip6/::/udp/1/quic-v1", "/ip6/::1/udp/1/quic-v1"),
            ("/ip4/192.168.1.7/tcp/1", "/ip4/127.0.0.1/tcp/1"),
            ("/dns4/example.org/tcp/1", "/dns4/example.org/tcp/1"),
            ("", ""),
        ] {
            assert_eq!(on_loopback(address), wanted);
        }
        let strings = |all: &[&str]| {
            all.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        for (wanted, got, alone) in [
            (&["/ip4/0.0.0.0/tcp/1"][..], &[][..], true),
            (&["/ip4/0.0.0.0/tcp/1"], &["/ip4/127.0.0.1/tcp/1"], true),
            (
                &["/ip6/::/tcp/1"],
                &["/ip6/::1/tcp/1", "/ip4/10.0.0.1/tcp/1"],
                false,
            ),
            (&["/ip4/127.0.0.1/tcp/1"], &["/ip4/127.0.0.1/tcp/1"], false),
            (&[], &[], false),
        ] {
            assert_eq!(
                is_alone(&strings(wanted), &strings(got)),
                alone,
                "{wanted:?}"
            );
        }
        let gateway = |text: &str| http(text.parse().expect("an address"));
        assert_eq!(gateway("0.0.0.0:22554"), "/ip4/0.0.0.0/tcp/22554/http");
        assert_eq!(gateway("[fd00::1]:1"), "/ip6/fd00::1/tcp/1/http");
    }
}
