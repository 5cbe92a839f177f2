//! Which proxies the guest shall use: those of the template and, if it propagates them, those of the host.
//!
//! As Lima does it (`setupEnv` in `pkg/cidata/cidata.go`): the host's win, a proxy on loopback is one of the host and is
//! reached through the gateway, an empty value removes, and upper and lower case say the same. It asks no resolver.

use std::collections::BTreeMap;
use std::net::IpAddr;

use callao_template::machine::Machine;

use super::HOST_ADDRESS;

const NAMES: [&str; 4] = ["ftp_proxy", "http_proxy", "https_proxy", "no_proxy"];

/// Whether a variable is one of a proxy.
pub(super) fn is_proxy(name: &str) -> bool {
    NAMES
        .iter()
        .any(|known| *known == name || known.to_ascii_uppercase() == name)
}

/// The proxy variables of the guest.
pub(super) fn variables(
    machine: &Machine,
    host: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for lower in NAMES {
        let upper = lower.to_ascii_uppercase();
        let of = |from: &BTreeMap<String, String>| {
            let value = from.get(lower).filter(|value| !value.is_empty());
            value.or_else(|| from.get(&upper)).cloned()
        };
        let from_host = of(host).filter(|_| machine.propagate_proxy);
        let Some(value) = from_host
            .or_else(|| of(&machine.env))
            .filter(|value| !value.is_empty())
        else {
            continue;
        };
        let value = if lower == "no_proxy" {
            value
        } else {
            reachable(&value)
        };
        variables.insert(upper, value.clone());
        variables.insert(lower.to_owned(), value);
    }
    variables
}

/// The address of a proxy as the guest reaches it.
fn reachable(url: &str) -> String {
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[authority..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| authority + at);
    let host = url[authority..end]
        .rfind('@')
        .map_or(authority, |at| authority + at + 1);
    let host_end = if url[host..end].starts_with('[') {
        url[host..end].find(']').map_or(end, |at| host + at + 1)
    } else {
        url[host..end].find(':').map_or(end, |at| host + at)
    };
    let name = url[host..host_end].trim_matches(['[', ']']);
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if is_loopback {
        format!("{}{HOST_ADDRESS}{}", &url[..host], &url[host_end..])
    } else {
        url.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{reachable, variables};
    use crate::cloud_init::tests::machine;

    #[test]
    fn loopback_is_the_gateway() {
        let table = [
            ("http://127.0.0.1:3128", "http://192.168.5.2:3128"),
            ("http://localhost:3128/", "http://192.168.5.2:3128/"),
            ("HTTP://LocalHost", "HTTP://192.168.5.2"),
            (
                "http://u:p@127.1.2.3:80/x?y",
                "http://u:p@192.168.5.2:80/x?y",
            ),
            ("http://[::1]:3128", "http://192.168.5.2:3128"),
            ("127.0.0.1:3128", "192.168.5.2:3128"),
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("http://[fd00::1]:1/", "http://[fd00::1]:1/"),
            ("http://10.0.0.1/127.0.0.1", "http://10.0.0.1/127.0.0.1"),
            ("", ""),
        ];
        for (url, wanted) in table {
            assert_eq!(reachable(url), wanted);
        }
    }

    #[test]
    fn the_host_wins_if_it_is_asked() {
        let mut machine = machine();
        machine
            .env
            .insert("http_proxy".to_owned(), "http://template:1".to_owned());
        machine
            .env
            .insert("FTP_PROXY".to_owned(), "http://localhost:2".to_owned());
        machine.env.insert("https_proxy".to_owned(), String::new());
        let host = [
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("no_proxy", "127.0.0.1,.lan"),
        ];
        let host = host
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        machine.propagate_proxy = false;
        insta::assert_debug_snapshot!(variables(&machine, &host), @r#"
        {
            "FTP_PROXY": "http://192.168.5.2:2",
            "HTTP_PROXY": "http://template:1",
            "ftp_proxy": "http://192.168.5.2:2",
            "http_proxy": "http://template:1",
        }
        "#);
        machine.propagate_proxy = true;
        insta::assert_debug_snapshot!(variables(&machine, &host), @r#"
        {
            "FTP_PROXY": "http://192.168.5.2:2",
            "HTTP_PROXY": "http://192.168.5.2:9",
            "NO_PROXY": "127.0.0.1,.lan",
            "ftp_proxy": "http://192.168.5.2:2",
            "http_proxy": "http://192.168.5.2:9",
            "no_proxy": "127.0.0.1,.lan",
        }
        "#);
    }
}
