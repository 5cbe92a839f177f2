//! Which listeners of the guest are forwarded where, by the rules of the template (`portForwards:`) and the ones that
//! are always there. Pure; the semantics are Lima's (`pkg/portfwd/forward.go`).
//! Must not know whether a forward can be set up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use callao_template::machine::{GuestEnd, HostEnd, PortForward};

/// Port of the guest's ssh. The host has a port for it already.
const SSH_PORT: u16 = 22;

/// Something to connect to or to listen on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A unix socket, by an absolute path.
    Socket(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Socket(path) => path.fmt(f),
        }
    }
}

/// What listens where: the key listens, the value is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The host listens, for the guest.
    pub to_guest: BTreeMap<End, Target>,
    /// The guest listens on a socket, for one of the host.
    pub to_host: BTreeMap<String, String>,
}

/// What a listener of the host leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where in the guest.
    pub guest: End,
    /// Whether the template names it. That a port which nobody asked for cannot be had is no news.
    pub is_asked: bool,
}

/// The rules of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<PortForward>,
    ssh_port: u16,
    follows: bool,
}

impl Rules {
    /// The rules of a template, and after them: every port of 127.0.0.1 as the same port of the host's 127.0.0.1. The
    /// guest's ssh, and the host's port for it, are never forwarded.
    ///
    /// Unless it follows what listens (Lima: `plain`), only what is set up from the start is forwarded.
    #[must_use]
    pub fn new(rules: &[PortForward], ssh_port: u16, follows: bool) -> Self {
        let mut rules = rules.to_vec();
        if follows {
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            rules.push(PortForward {
                guest: GuestEnd::Ports {
                    ip: loopback,
                    must_be_zero: false,
                    first: 1,
                    last: u16::MAX,
                },
                host: HostEnd::Ports {
                    ip: loopback,
                    first: 1,
                },
                ignore: false,
                is_static: false,
                reverse: false,
            });
        }
        Self {
            rules,
            ssh_port,
            follows,
        }
    }

    /// Whether it matters what listens in the guest.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// What is to be forwarded while these listen in the guest. What is set up from the start is always in it.
    #[must_use]
    pub fn wanted(&self, listeners: &BTreeSet<SocketAddr>) -> Wanted {
        let mut wanted = Wanted::default();
        // What listens comes first: a listed port leads to where something listens, be it ::1. The order of the set
        // (IPv4 before IPv6) decides between two that would come out at one port.
        for listener in listeners.iter().filter(|_| self.follows) {
            if let Some((host, target)) = self.of_listener(*listener) {
                wanted.to_guest.entry(host).or_insert(target);
            }
        }
        for rule in self.rules.iter().filter(|rule| !rule.ignore) {
            self.add_fixed(rule, &mut wanted);
        }
        wanted
    }

    /// The first rule that fits decides.
    fn of_listener(&self, listener: SocketAddr) -> Option<(End, Target)> {
        let (ip, port) = (listener.ip(), listener.port());
        if port == SSH_PORT || port == self.ssh_port {
            return None;
        }
        for rule in &self.rules {
            let GuestEnd::Ports {
                ip: rule_ip,
                must_be_zero,
                first,
                last,
            } = &rule.guest
            else {
                continue;
            };
            let is_fit = (*first..=*last).contains(&port) && fits(ip, *rule_ip, *must_be_zero);
            if !is_fit {
                continue;
            }
            if rule.ignore {
                // It listens on all addresses, so it is more than what is ignored.
                if ip.is_unspecified() && !rule_ip.is_unspecified() {
                    continue;
                }
                return None;
            }
            let target = Target {
                guest: End::Tcp(SocketAddr::new(reached_at(ip), port)),
                is_asked: first == last,
            };
            return Some((host_end(&rule.host, port - first), target));
        }
        None
    }

    /// Static ports, single ports and sockets; whatever came before keeps its place.
    fn add_fixed(&self, rule: &PortForward, wanted: &mut Wanted) {
        let mut add = |host: End, guest: End| {
            let target = Target {
                guest,
                is_asked: true,
            };
            wanted.to_guest.entry(host).or_insert(target);
        };
        match (&rule.guest, &rule.host) {
            (GuestEnd::Socket(guest), HostEnd::Socket(host)) if rule.reverse => {
                wanted
                    .to_host
                    .entry(guest.clone())
                    .or_insert_with(|| host.clone());
            }
            (GuestEnd::Socket(guest), host) => add(host_end(host, 0), End::Socket(guest.clone())),
            (
                GuestEnd::Ports {
                    ip, first, last, ..
                },
                host,
            ) if rule.is_static || first == last => {
                for port in *first..=*last {
                    // Said by name, even the guest's ssh is forwarded; listed, it is what it is for Lima: never.
                    if rule.is_static || ![SSH_PORT, self.ssh_port].contains(&port) {
                        let guest = End::Tcp(SocketAddr::new(reached_at(*ip), port));
                        add(host_end(host, port - first), guest);
                    }
                }
            }
            (GuestEnd::Ports { .. }, _) => {}
        }
    }
}

/// Whether a rule for one address is meant for a listener on another.
fn fits(listener: IpAddr, rule: IpAddr, must_be_zero: bool) -> bool {
    listener.is_unspecified()
        || listener == rule
        || (listener == Ipv6Addr::LOCALHOST && rule == Ipv4Addr::LOCALHOST)
        || (rule.is_unspecified() && !must_be_zero)
}

/// Where something that listens on an address is reached from within the guest. What listens on `::` hears IPv4 as well,
/// unless it refuses to; and IPv6 may be switched off although it listens there.
fn reached_at(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        ip
    }
}

fn host_end(host: &HostEnd, offset: u16) -> End {
    match host {
        // The template's ranges are as long as each other, so this does not overflow.
        HostEnd::Ports { ip, first } => {
            End::Tcp(SocketAddr::new(*ip, first.saturating_add(offset)))
        }
        HostEnd::Socket(path) => End::Socket(path.clone()),
    }
}

#[cfg(test)]
mod tests;
