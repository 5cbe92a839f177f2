//! Which addresses may be dialled when somebody else named them: a provider record or a redirect must never make us
//! talk to the local machine or its network, unless the settings say LAN. Places that the user names are not filtered.
//!
//! [`Scope::allows`] and [`check_url`] are pure; [`Filtered`] applies the same rule to what a name resolves to, so
//! that a DNS name cannot lead where its address could not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How far away an address has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Public unicast addresses only.
    Public,
    /// Private, shared (CGNAT), link-local and loopback addresses as well.
    Lan,
}

/// Metadata services of cloud machines: never a gateway, and what they say is nobody's business.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

/// What kind of address it is, as far as dialling is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Local,
    Never,
}

impl Scope {
    /// May this address be dialled?
    pub fn allows(self, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Local => self == Scope::Lan,
            Reach::Never => false,
        }
    }
}

/// Why a URL that somebody else named must not be asked; `Ok` leaves names to [`Filtered`]. Plain HTTP is for a LAN.
pub fn check_url(url: &Url, scope: Scope) -> Result<(), String> {
    match url.scheme() {
        "https" => {}
        "http" if scope == Scope::Lan => {}
        scheme => return Err(format!("{scheme} is not allowed here")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials in the address".into());
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err("no host in the address".into()),
    };
    if scope.allows(address) {
        Ok(())
    } else {
        Err(format!("{address} must not be dialled"))
    }
}

/// A resolver that hands on only the addresses which `scope` allows.
#[derive(Debug, Clone, Copy)]
pub struct Filtered {
    /// What is allowed.
    pub scope: Scope,
}

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let scope = self.scope;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| scope.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address that may be dialled", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// The IANA special-purpose registry for IPv4, by its meaning for a client.
fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if address == METADATA_V4 => Reach::Never,
        (10, ..) | (127, ..) | (192, 168, _) | (169, 254, _) => Reach::Local,
        (172, 16..=31, _) | (100, 64..=127, _) => Reach::Local,
        // "This network", protocol assignments, documentation, the former 6to4 relay, benchmarking.
        (0, ..) | (192, 0, 0) | (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => {
            Reach::Never
        }
        (198, 18..=19, _) => Reach::Never,
        // Multicast, reserved, broadcast.
        (224.., ..) => Reach::Never,
        _ => Reach::Public,
    }
}

/// The same for IPv6. Forms that carry an IPv4 address are what that address is.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let words = address.segments();
    if let Some(inner) = embedded_v4(address) {
        return reach_v4(inner);
    }
    match words {
        _ if address == METADATA_V6 => Reach::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Local,
        // Unique local, link-local, and the local NAT64 prefix.
        [0xfc00..=0xfdff, ..] | [0xfe80..=0xfebf, ..] | [0x64, 0xff9b, 1, ..] => Reach::Local,
        // Documentation, benchmarking, ORCHID, Teredo and the other protocol assignments below 2001:200::.
        [0x2001, 0xdb8 | 0..=0x1ff, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never,
        [0x2000..=0x3fff, ..] => Reach::Public,
        // Unspecified, multicast, and everything that is not assigned.
        _ => Reach::Never,
    }
}

/// The IPv4 address inside v4-mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`) addresses.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let table = [
            (
                Reach::Public,
                "1.1.1.1 93.184.215.14 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.169.0.1 223.255.255.1",
            ),
            (
                Reach::Public,
                "2606:4700::1111 2a00:1450::1 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1 2001:4860::8888",
            ),
            (
                Reach::Local,
                "127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.1 192.168.1.1 169.254.1.1 100.64.0.1",
            ),
            (
                Reach::Local,
                "::1 fe80::1 febf::1 fc00::1 fdff::1 ::ffff:127.0.0.1 ::ffff:10.1.2.3 64:ff9b::a00:1 2002:7f00:1::",
            ),
            (Reach::Local, "64:ff9b:1::1"),
            (
                Reach::Never,
                "0.0.0.0 0.1.2.3 192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.1 192.88.99.1",
            ),
            (
                Reach::Never,
                "224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 169.254.169.254 ::ffff:169.254.169.254",
            ),
            (
                Reach::Never,
                ":: ff02::1 2001:db8::1 3fff::1 100::1 2001::1 2001:2::1 fec0::1 ::1.2.3.4 ::ffff:0.0.0.0 5f00::1",
            ),
            (Reach::Never, "fd00:ec2::254"),
        ];
        for (wanted, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(
                    reach(address.parse().expect("an address")),
                    wanted,
                    "{address}"
                );
            }
        }
    }

    #[test]
    fn a_lan_widens_the_scope_but_not_to_everything() {
        let (home, anywhere) = (IpAddr::from([192, 168, 1, 7]), IpAddr::from([0, 0, 0, 0]));
        assert!(!Scope::Public.allows(home));
        assert!(Scope::Lan.allows(home));
        assert!(!Scope::Lan.allows(anywhere));
    }

    #[test]
    fn urls_are_checked_by_what_they_would_dial() {
        let good = [
            "https://gateway.example",
            "https://1.1.1.1:8443/x",
            "https://[2606:4700::1111]",
        ];
        // The decimal, hexadecimal and short forms are read by the parser as the addresses they mean.
        let bad = [
            "http://gateway.example",
            "https://127.0.0.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1]",
            "https://user@gateway.example",
            "https://user:secret@gateway.example",
            "ftp://gateway.example",
            "file:///etc/passwd",
        ];
        for url in good {
            assert_eq!(
                check_url(&Url::parse(url).expect("a URL"), Scope::Public),
                Ok(()),
                "{url}"
            );
        }
        for url in bad {
            assert!(
                check_url(&Url::parse(url).expect("a URL"), Scope::Public).is_err(),
                "{url}"
            );
        }
        assert_eq!(
            check_url(
                &Url::parse("http://192.168.1.7:8080").expect("a URL"),
                Scope::Lan
            ),
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_name_cannot_lead_to_this_machine() {
        let resolve = |scope| Filtered { scope }.resolve("localhost".parse().expect("a name"));
        let error = resolve(Scope::Public).await.err().expect("refused");
        assert!(
            error.to_string().contains("no address that may be dialled"),
            "{error}"
        );
        assert!(
            resolve(Scope::Lan)
                .await
                .expect("allowed")
                .all(|address| address.ip().is_loopback())
        );
    }
}
