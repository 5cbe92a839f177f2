//! Section `[serve]` of the settings: what the daemon offers to whom. Opens nothing.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::error::CommandError;
use crate::output::human;

const SLOTS_COUNT_MAX: usize = 1024;

/// Section `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// The gateway for this computer; an address of loopback.
    pub gateway: SocketAddr,
    /// Multiaddrs where peers are listened to.
    pub listen: Vec<String>,
    /// The gateway for the local network.
    pub lan: Option<SocketAddr>,
    /// Whether others get anything.
    pub enabled: bool,
    /// Bytes in a second: for all peers of bitswap together, and as much again for all guests of the gateway.
    pub upload_rate_max: Option<u64>,
    /// Others that are sent something at the same time.
    pub upload_slots: usize,
    /// Whether what came from a local network is given away.
    pub private_origins: bool,
}

/// The section as it stands: every value may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    gateway: Option<String>,
    listen: Option<Vec<String>>,
    lan: Option<String>,
    enabled: Option<bool>,
    upload_rate_max: Option<String>,
    upload_slots: Option<usize>,
    private_origins: Option<bool>,
}

impl Section {
    pub(super) fn take_over(&mut self, stronger: Section) {
        let weaker = std::mem::take(self);
        *self = Section {
            gateway: stronger.gateway.or(weaker.gateway),
            listen: stronger.listen.or(weaker.listen),
            lan: stronger.lan.or(weaker.lan),
            enabled: stronger.enabled.or(weaker.enabled),
            upload_rate_max: stronger.upload_rate_max.or(weaker.upload_rate_max),
            upload_slots: stronger.upload_slots.or(weaker.upload_slots),
            private_origins: stronger.private_origins.or(weaker.private_origins),
        };
    }

    pub(super) fn decide(self) -> Result<ServeSettings, CommandError> {
        let lan = self.lan.filter(|text| !text.is_empty());
        Ok(ServeSettings {
            gateway: gateway("serve.gateway", &self.gateway.unwrap_or_default())?,
            listen: self.listen.unwrap_or_default(),
            lan: lan
                .map(|text| lan_gateway("serve.lan", &text))
                .transpose()?,
            enabled: self.enabled.unwrap_or(true),
            upload_rate_max: rate(&self.upload_rate_max.unwrap_or_default())?,
            upload_slots: slots(self.upload_slots.unwrap_or(1))?,
            private_origins: self.private_origins.unwrap_or(false),
        })
    }
}

/// Reads the address of the gateway; `what` is the flag or key that it came by.
///
/// # Errors
/// Usage.
pub(crate) fn gateway(what: &str, text: &str) -> Result<SocketAddr, CommandError> {
    let address = socket(what, text)?;
    if !address.ip().to_canonical().is_loopback() {
        let wrong = format!("{what} is `{text}`; the gateway is for this computer alone");
        return Err(CommandError::usage(wrong)
            .hint("a gateway for the local network is asked for with --lan ADDRESS:PORT"));
    }
    Ok(address)
}

/// Reads the address of the gateway for the local network.
///
/// # Errors
/// Usage.
pub(crate) fn lan_gateway(what: &str, text: &str) -> Result<SocketAddr, CommandError> {
    let address = socket(what, text)?;
    let is_public = match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_private() || ip.is_link_local() || ip.is_loopback() || ip.is_unspecified())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_loopback()
                || ip.is_unspecified())
        }
    };
    if is_public {
        let wrong = format!("{what} is `{text}`, which is no address of a local network");
        return Err(CommandError::usage(wrong)
            .hint("the public network is served by bitswap, not by the gateway"));
    }
    Ok(address)
}

fn socket(what: &str, text: &str) -> Result<SocketAddr, CommandError> {
    text.parse().map_err(|_| {
        CommandError::usage(format!(
            "{what} is `{text}`; it is an IP address and a port, such as 127.0.0.1:22552"
        ))
    })
}

fn rate(text: &str) -> Result<Option<u64>, CommandError> {
    if text.is_empty() {
        return Ok(None);
    }
    match human::parse_size(text) {
        Some(rate) if rate > 0 => Ok(Some(rate)),
        _ => Err(CommandError::usage(format!(
            "serve.upload_rate_max is `{text}`; it is a size for each second, such as 10MiB"
        ))
        .hint("enabled = false gives nothing to others")),
    }
}

fn slots(count: usize) -> Result<usize, CommandError> {
    if (1..=SLOTS_COUNT_MAX).contains(&count) {
        return Ok(count);
    }
    Err(CommandError::usage(format!(
        "serve.upload_slots is {count}; it is 1 to {SLOTS_COUNT_MAX}"
    ))
    .hint("enabled = false gives nothing to others"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_for_whom_they_are_meant() {
        for (text, good) in [
            ("127.0.0.1:0", true),
            ("[::1]:8080", true),
            ("127.9.9.9:1", true),
            ("0.0.0.0:8080", false),
            ("192.168.1.7:8080", false),
            ("127.0.0.1", false),
            ("localhost:8080", false),
            ("", false),
        ] {
            assert_eq!(gateway("--gateway", text).is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("192.168.1.7:22554", true),
            ("10.0.0.1:1", true),
            ("0.0.0.0:22554", true),
            ("[fd00::1]:22554", true),
            ("127.0.0.1:22554", true),
            ("1.1.1.1:22554", false),
            ("[2606:4700::1111]:22554", false),
            ("192.168.1.7", false),
        ] {
            assert_eq!(lan_gateway("--lan", text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        let told = |error: CommandError| error.to_string();
        assert_eq!(
            told(gateway("--gateway", "0.0.0.0:1").expect_err("everywhere")),
            "--gateway is `0.0.0.0:1`; the gateway is for this computer alone"
        );
        assert_eq!(
            told(gateway("--gateway", "x").expect_err("no address")),
            "--gateway is `x`; it is an IP address and a port, such as 127.0.0.1:22552"
        );
        assert_eq!(
            told(lan_gateway("--lan", "1.1.1.1:1").expect_err("public")),
            "--lan is `1.1.1.1:1`, which is no address of a local network"
        );
        assert_eq!(
            told(rate("fast").expect_err("no size")),
            "serve.upload_rate_max is `fast`; it is a size for each second, such as 10MiB"
        );
        assert_eq!(
            told(rate("0").expect_err("nothing")),
            "serve.upload_rate_max is `0`; it is a size for each second, such as 10MiB"
        );
        assert_eq!(
            told(slots(0).expect_err("none")),
            "serve.upload_slots is 0; it is 1 to 1024"
        );
        assert_eq!(rate("").expect("no limit"), None);
        assert_eq!(rate("10MiB").expect("a limit"), Some(10 << 20));
    }
}
