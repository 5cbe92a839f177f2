//! `hostResolver.hosts` as lines of `/etc/hosts`. Lima answers such names itself; here the guest's own file does.
//! It must not ask a resolver.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::{HOST_ADDRESS, HOST_NAME};

/// The lines: first the host, then what the template names. A name that leads to no address is told in a comment.
pub(super) fn lines(hosts: &BTreeMap<String, String>) -> String {
    let mut out = format!("{HOST_ADDRESS}\t{HOST_NAME}\n");
    for (name, target) in hosts.iter().filter(|(name, _)| *name != HOST_NAME) {
        let _ = match address(hosts, target) {
            _ if !is_host_name(name) => writeln!(out, "# {name:?} is no name of a host"),
            Some(address) => writeln!(out, "{address}\t{name}"),
            None => writeln!(out, "# {name} leads to no address"),
        };
    }
    out
}

/// Follows names to an address. A circle ends when every name has been seen.
fn address(hosts: &BTreeMap<String, String>, target: &str) -> Option<IpAddr> {
    let mut target = target;
    for _ in 0..=hosts.len() {
        if let Ok(address) = target.parse() {
            return Some(address);
        }
        if target == HOST_NAME {
            return HOST_ADDRESS.parse().ok();
        }
        target = hosts.get(target)?;
    }
    None
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn names_lead_to_addresses() {
        let hosts = [
            ("alias", "other"),
            ("circle", "circle2"),
            ("circle2", "circle"),
            ("evil\n1.2.3.4 x", "1.2.3.4"),
            ("host.docker.internal", "host.lima.internal"),
            ("host.lima.internal", "10.0.0.1"),
            ("nowhere", "example.com"),
            ("other", "10.1.2.3"),
            ("six", "fd00::1"),
        ];
        let hosts = hosts.map(|(name, target)| (name.to_owned(), target.to_owned()));
        insta::assert_snapshot!(lines(&hosts.into()), @r#"
        192.168.5.2	host.lima.internal
        10.1.2.3	alias
        # circle leads to no address
        # circle2 leads to no address
        # "evil\n1.2.3.4 x" is no name of a host
        192.168.5.2	host.docker.internal
        # nowhere leads to no address
        10.1.2.3	other
        fd00::1	six
        "#);
    }
}
