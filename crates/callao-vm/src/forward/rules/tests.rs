//! Tables of rules, listeners and what comes of them.

use super::*;

const SSH: u16 = 60022;

fn ports(ip: &str, first: u16, last: u16, host_ip: &str, host_first: u16) -> PortForward {
    PortForward {
        guest: GuestEnd::Ports {
            ip: ip.parse().expect("an address"),
            must_be_zero: false,
            first,
            last,
        },
        host: HostEnd::Ports {
            ip: host_ip.parse().expect("an address"),
            first: host_first,
        },
        ignore: false,
        is_static: false,
        reverse: false,
    }
}

fn ignored(ip: &str, first: u16, last: u16) -> PortForward {
    PortForward {
        ignore: true,
        ..ports(ip, first, last, "127.0.0.1", first)
    }
}

fn only_zero(mut rule: PortForward) -> PortForward {
    if let GuestEnd::Ports { must_be_zero, .. } = &mut rule.guest {
        *must_be_zero = true;
    }
    rule
}

fn fixed(rule: PortForward) -> PortForward {
    PortForward {
        is_static: true,
        ..rule
    }
}

fn sockets(guest: &str, host: &str, reverse: bool) -> PortForward {
    PortForward {
        guest: GuestEnd::Socket(guest.to_owned()),
        host: HostEnd::Socket(host.to_owned()),
        reverse,
        ..ports("127.0.0.1", 1, 1, "127.0.0.1", 1)
    }
}

/// `HOST>GUEST` of everything that is wanted, `HOST<GUEST` for what goes the other way.
fn shown(rules: &Rules, listeners: &[&str]) -> String {
    let listeners = listeners
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let wanted = rules.wanted(&listeners);
    let to_guest = wanted
        .to_guest
        .iter()
        .map(|(host, target)| format!("{host}>{}", target.guest));
    let to_host = wanted
        .to_host
        .iter()
        .map(|(guest, host)| format!("{host}<{guest}"));
    to_guest.chain(to_host).collect::<Vec<_>>().join(" ")
}

/// Rules, listeners, and what is forwarded.
type Row<'a> = (&'a [PortForward], &'a [&'a str], &'a str);

fn check(table: &[Row]) {
    for (rules, listeners, expected) in table {
        let rules = Rules::new(rules, SSH, true);
        assert_eq!(
            shown(&rules, listeners),
            *expected,
            "{rules:?} {listeners:?}"
        );
    }
}

#[test]
fn without_rules_loopback_ports_appear_at_the_same_port() {
    let rules = Rules::new(&[], SSH, true);
    let table: [(&[&str], &str); 9] = [
        (&[], ""),
        (&["127.0.0.1:80"], "127.0.0.1:80>127.0.0.1:80"),
        (&["0.0.0.0:8080"], "127.0.0.1:8080>127.0.0.1:8080"),
        (&["[::]:8080"], "127.0.0.1:8080>127.0.0.1:8080"),
        (&["[::1]:8080"], "127.0.0.1:8080>[::1]:8080"),
        (
            &["[::1]:8080", "127.0.0.1:8080"],
            "127.0.0.1:8080>127.0.0.1:8080",
        ),
        (&["127.0.0.53:53", "192.168.5.15:80", "[fe80::1]:80"], ""),
        (&["0.0.0.0:22", "[::]:22", "127.0.0.1:60022"], ""),
        (
            &["0.0.0.0:65535", "127.0.0.1:1"],
            "127.0.0.1:1>127.0.0.1:1 127.0.0.1:65535>127.0.0.1:65535",
        ),
    ];
    for (listeners, expected) in table {
        assert_eq!(shown(&rules, listeners), expected, "{listeners:?}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let table: [Row; 7] = [
        (
            &[ports("127.0.0.1", 4000, 4999, "0.0.0.0", 5000)],
            &["0.0.0.0:4000", "127.0.0.1:4999", "127.0.0.1:5001"],
            "0.0.0.0:5000>127.0.0.1:4000 0.0.0.0:5999>127.0.0.1:4999 127.0.0.1:5001>127.0.0.1:5001",
        ),
        // A rule for one address, and a listener on all.
        (
            &[ports("127.0.0.2", 1, 65535, "127.0.0.2", 1)],
            &["0.0.0.0:80"],
            "127.0.0.2:80>127.0.0.1:80",
        ),
        (
            &[ports("127.0.0.2", 1, 65535, "127.0.0.2", 1)],
            &["127.0.0.2:80"],
            "127.0.0.2:80>127.0.0.2:80",
        ),
        // A rule for all addresses, and a listener on one.
        (
            &[ports("0.0.0.0", 1, 65535, "0.0.0.0", 1)],
            &["192.168.5.15:80"],
            "0.0.0.0:80>192.168.5.15:80",
        ),
        (
            &[ports("0.0.0.0", 1, 65535, "0.0.0.0", 1)],
            &["[::1]:80"],
            "0.0.0.0:80>[::1]:80",
        ),
        // Unless it must listen on all.
        (
            &[only_zero(ports("0.0.0.0", 1, 65535, "0.0.0.0", 1))],
            &["192.168.5.15:80"],
            "",
        ),
        (
            &[only_zero(ports("0.0.0.0", 1, 65535, "0.0.0.0", 1))],
            &["127.0.0.1:80", "0.0.0.0:81", "[::]:82"],
            "0.0.0.0:81>127.0.0.1:81 0.0.0.0:82>127.0.0.1:82 127.0.0.1:80>127.0.0.1:80",
        ),
    ];
    check(&table);
}

#[test]
fn what_is_ignored_and_what_comes_out_at_one_place() {
    let table: [Row; 5] = [
        // What is ignored stays ignored, whatever comes later.
        (
            &[
                ignored("127.0.0.1", 80, 80),
                ports("127.0.0.1", 1, 100, "0.0.0.0", 1),
            ],
            &["127.0.0.1:80"],
            "",
        ),
        // But what listens on all addresses is not ignored for one of them.
        (
            &[ignored("127.0.0.1", 80, 80)],
            &["0.0.0.0:80"],
            "127.0.0.1:80>127.0.0.1:80",
        ),
        (
            &[ignored("0.0.0.0", 80, 80)],
            &["0.0.0.0:80", "127.0.0.1:80"],
            "",
        ),
        // Nothing makes a listener on 22 appear.
        (
            &[ports("0.0.0.0", 1, 65535, "0.0.0.0", 1)],
            &["0.0.0.0:22", "0.0.0.0:60022"],
            "",
        ),
        // The first of two that come out at one place.
        (
            &[ports("127.0.0.1", 80, 81, "127.0.0.1", 8081)],
            &["127.0.0.1:80", "127.0.0.1:8081"],
            "127.0.0.1:8081>127.0.0.1:80",
        ),
    ];
    check(&table);
}

#[test]
fn listed_static_and_sockets_are_there_from_the_start() {
    let table: [Row; 8] = [
        (
            &[ports("127.0.0.1", 80, 80, "127.0.0.1", 8080)],
            &[],
            "127.0.0.1:8080>127.0.0.1:80",
        ),
        (
            &[ports("0.0.0.0", 80, 80, "0.0.0.0", 8080)],
            &[],
            "0.0.0.0:8080>127.0.0.1:80",
        ),
        (&[ports("127.0.0.1", 80, 81, "127.0.0.1", 8080)], &[], ""),
        (
            &[fixed(ports("127.0.0.1", 80, 81, "127.0.0.1", 8080))],
            &[],
            "127.0.0.1:8080>127.0.0.1:80 127.0.0.1:8081>127.0.0.1:81",
        ),
        // A listed port leads to where something listens.
        (
            &[ports("127.0.0.1", 80, 80, "127.0.0.1", 8080)],
            &["[::1]:80"],
            "127.0.0.1:8080>[::1]:80",
        ),
        // Listed, the guest's ssh is not forwarded; as a static port it is.
        (
            &[ports("127.0.0.1", 22, 22, "127.0.0.1", 2222)],
            &["0.0.0.0:22"],
            "",
        ),
        (
            &[fixed(ports("127.0.0.1", 22, 22, "127.0.0.1", 2222))],
            &["0.0.0.0:22"],
            "127.0.0.1:2222>127.0.0.1:22",
        ),
        (&[ignored("127.0.0.1", 80, 80)], &[], ""),
    ];
    check(&table);
    let rules = [
        sockets("/run/a.sock", "/tmp/a.sock", false),
        sockets("/run/b.sock", "/tmp/b.sock", true),
        PortForward {
            guest: GuestEnd::Socket("/run/c.sock".to_owned()),
            ..ports("127.0.0.1", 1, 1, "127.0.0.1", 9000)
        },
        PortForward {
            host: HostEnd::Socket("/tmp/d.sock".to_owned()),
            ..ports("127.0.0.1", 9001, 9001, "127.0.0.1", 1)
        },
    ];
    assert_eq!(
        shown(&Rules::new(&rules, SSH, true), &[]),
        "127.0.0.1:9000>/run/c.sock /tmp/a.sock>/run/a.sock /tmp/d.sock>127.0.0.1:9001 /tmp/b.sock</run/b.sock"
    );
}

#[test]
fn a_plain_machine_follows_nothing() {
    let rules = [fixed(ports("127.0.0.1", 80, 80, "127.0.0.1", 8080))];
    let rules = Rules::new(&rules, SSH, false);
    assert!(!rules.follows());
    assert_eq!(
        shown(&rules, &["127.0.0.1:81", "[::1]:80"]),
        "127.0.0.1:8080>127.0.0.1:80"
    );
}

#[test]
fn only_what_the_template_names_is_asked_for() {
    let rules = [
        ports("127.0.0.1", 80, 80, "127.0.0.1", 8080),
        ports("127.0.0.1", 4000, 4001, "127.0.0.1", 4000),
        sockets("/run/a.sock", "/tmp/a.sock", false),
    ];
    let listeners = ["127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:4000"];
    let listeners = listeners
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let wanted = Rules::new(&rules, SSH, true).wanted(&listeners);
    let asked: Vec<String> = wanted
        .to_guest
        .iter()
        .filter(|(_, target)| target.is_asked)
        .map(|(host, _)| host.to_string())
        .collect();
    assert_eq!(asked, ["127.0.0.1:8080", "/tmp/a.sock"]);
}
