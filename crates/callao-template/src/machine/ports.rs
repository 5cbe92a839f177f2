//! `portForwards:` with `--port-forward` (`FillPortForwardDefaults` and `Validate` in `pkg/limayaml`). It must not know
//! which ports are taken. Lima's last rule, loopback to loopback for every port, is not among them.

use std::net::{IpAddr, Ipv4Addr};

use super::expand::Names;
use super::section::Section;
use super::{GuestEnd, HostEnd, Overrides, PortForward, Surroundings, paths};
use crate::error::Error;
use crate::limits;
use crate::validate::shown;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const SSH_PORT: u16 = 22;
/// First and last.
type Range = (u16, u16);

/// All rules, those of the command line first.
pub(super) fn forwards(
    top: &Section<'_>,
    around: &Surroundings,
    names: (&Names<'_>, &Names<'_>),
    overrides: &Overrides,
    plain: bool,
) -> Result<Vec<PortForward>, Error> {
    let mut all = Vec::new();
    for (host, guest) in &overrides.port_forwards {
        all.push(from_option(*host, *guest)?);
    }
    for section in top.sections("portForwards")? {
        let is_static = section.is_set("static")?;
        if plain && !is_static {
            continue;
        }
        all.extend(forward(&section, around, names, is_static)?);
    }
    Ok(all)
}

fn from_option(host: u16, guest: u16) -> Result<PortForward, Error> {
    for port in [host, guest] {
        if port == 0 || port == SSH_PORT {
            return Err(Error::BadOption {
                option: "--port-forward",
                reason: format!(
                    "`{host}:{guest}` must have ports from 1 to 65535 except 22, which is for ssh"
                ),
            });
        }
    }
    Ok(PortForward {
        guest: GuestEnd::Ports {
            ip: LOOPBACK,
            must_be_zero: false,
            first: guest,
            last: guest,
        },
        host: HostEnd::Ports {
            ip: LOOPBACK,
            first: host,
        },
        ignore: false,
        is_static: true,
        reverse: false,
    })
}

/// One rule; none, if it is about what is never forwarded.
fn forward(
    section: &Section<'_>,
    around: &Surroundings,
    (guest_names, host_names): (&Names<'_>, &Names<'_>),
    is_static: bool,
) -> Result<Option<PortForward>, Error> {
    let ignore = section.is_set("ignore")?;
    match section.text("proto")? {
        None | Some("any" | "tcp") => {}
        Some("udp") if ignore => return Ok(None),
        Some("udp") => {
            let help = "TCP ports and unix sockets are forwarded; write `tcp` or remove the rule";
            return Err(section.unsupported_value("proto", Some("udp"), help));
        }
        Some(other) => {
            let reason = format!("must be any, tcp or udp, not `{}`", shown(other));
            return Err(section.bad("proto", reason));
        }
    }
    let guest = guest(section, guest_names)?;
    let host = host(section, &guest, around, host_names)?;
    let reverse = section.is_set("reverse")?;
    let are_sockets = matches!((&guest, &host), (GuestEnd::Socket(_), HostEnd::Socket(_)));
    if reverse && !are_sockets {
        let reason = "can be true between guestSocket and hostSocket only";
        return Err(section.bad("reverse", reason));
    }
    if let GuestEnd::Ports { first, last, .. } = guest
        && is_static
        && !ignore
        && last - first >= limits::STATIC_PORTS_COUNT_MAX
    {
        let reason = format!(
            "would open {} ports from the start; name the ports, at most {}",
            u32::from(last - first) + 1,
            limits::STATIC_PORTS_COUNT_MAX
        );
        return Err(section.bad("static", reason));
    }
    Ok(Some(PortForward {
        guest,
        host,
        ignore,
        is_static,
        reverse,
    }))
}

fn guest(section: &Section<'_>, names: &Names<'_>) -> Result<GuestEnd, Error> {
    let ports = ports(section, "guestPort", "guestPortRange")?;
    if let Some(text) = section.text("guestSocket")? {
        if ports.is_some() {
            return Err(section.bad("guestSocket", "must not stand beside a port of the guest"));
        }
        let path = paths::in_guest(section, "guestSocket", text, names)?;
        paths::fits_a_socket(section, "guestSocket", &path)?;
        return Ok(GuestEnd::Socket(path));
    }
    let said = section.said("guestIPMustBeZero")?;
    let ip = match section.address("guestIP")? {
        Some(ip) => ip,
        None if said == Some(true) => EVERYWHERE,
        None => LOOPBACK,
    };
    if said == Some(true) && ip != EVERYWHERE {
        let reason = format!("can be true with guestIP 0.0.0.0 only, not with {ip}");
        return Err(section.bad("guestIPMustBeZero", reason));
    }
    let (first, last) = ports.unwrap_or((1, u16::MAX));
    Ok(GuestEnd::Ports {
        ip,
        must_be_zero: said.unwrap_or(ip == EVERYWHERE),
        first,
        last,
    })
}

fn host(
    section: &Section<'_>,
    guest: &GuestEnd,
    around: &Surroundings,
    names: &Names<'_>,
) -> Result<HostEnd, Error> {
    let own = ports(section, "hostPort", "hostPortRange")?;
    let of_guest = match guest {
        GuestEnd::Ports { first, last, .. } => Some((*first, *last)),
        GuestEnd::Socket(_) => None,
    };
    if let Some(text) = section.text("hostSocket")? {
        if own.is_some() {
            return Err(section.bad("hostSocket", "must not stand beside a port of the host"));
        }
        if of_guest.is_some_and(|(first, last)| first != last) {
            let reason = "takes what comes from a single port or socket, not from a range";
            return Err(section.bad("hostSocket", reason));
        }
        return socket_of_host(section, text, around, names).map(HostEnd::Socket);
    }
    let ip = section.address("hostIP")?.unwrap_or(LOOPBACK);
    let (first, last) = match (own, of_guest) {
        (Some(own), _) => own,
        (None, Some(of_guest)) => of_guest,
        (None, None) => {
            return Err(section.bad("guestSocket", "needs a hostSocket or a hostPort"));
        }
    };
    let wanted = of_guest.map_or(0, |(first, last)| last - first);
    if last - first != wanted {
        let key = if section.get("hostPortRange").is_some() {
            "hostPortRange"
        } else {
            "hostPort"
        };
        let reason = format!(
            "must be as many ports as in the guest: {}, not {}",
            u32::from(wanted) + 1,
            u32::from(last - first) + 1
        );
        return Err(section.bad(key, reason));
    }
    Ok(HostEnd::Ports { ip, first })
}

/// A relative one is in `sock/` of the instance (`filenames.SocketDir`).
fn socket_of_host(
    section: &Section<'_>,
    text: &str,
    around: &Surroundings,
    names: &Names<'_>,
) -> Result<String, Error> {
    let is_relative = !text.starts_with(['/', '~', '{']);
    let text = if is_relative {
        format!("{}/sock/{text}", around.dir)
    } else {
        text.to_owned()
    };
    let path = paths::on_host(section, "hostSocket", &text, Some(names), &around.home)?;
    paths::fits_a_socket(section, "hostSocket", &path)?;
    Ok(path)
}

/// The ports of one side, from either key. 0 says nothing, as in Lima.
fn ports(section: &Section<'_>, single: &str, range: &str) -> Result<Option<Range>, Error> {
    let port = section.number(single, 0..=u32::from(u16::MAX))?;
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let both = both_ports(section, range)?;
    let (key, ports) = match (port, both) {
        (0, None) => return Ok(None),
        (0, Some(both)) => (range, both),
        (port, Some(both)) if port != both.0 => {
            let reason = format!("must be the first of {range}, or be left out");
            return Err(section.bad(single, reason));
        }
        (_, Some(both)) => (range, both),
        (port, None) => (single, (port, port)),
    };
    if ports.0 == SSH_PORT || ports.1 == SSH_PORT {
        return Err(section.bad(key, "must not be 22, which is for ssh"));
    }
    if ports.0 > ports.1 {
        return Err(section.bad(key, "must not end below its first port"));
    }
    Ok(Some(ports))
}

fn both_ports(section: &Section<'_>, key: &str) -> Result<Option<Range>, Error> {
    let texts = section.texts(key)?;
    let number = |text: &str| text.parse::<u16>().ok();
    match texts.as_slice() {
        [] => Ok(None),
        [(_, first), (_, last)] => match (number(first), number(last)) {
            (Some(0), Some(0)) => Ok(None),
            (Some(first), Some(last)) if first > 0 && last > 0 => Ok(Some((first, last))),
            _ => Err(section.bad(key, "must be two ports from 1 to 65535")),
        },
        _ => Err(section.bad(key, "must be two ports from 1 to 65535")),
    }
}
