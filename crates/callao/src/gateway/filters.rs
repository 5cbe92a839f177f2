//! `filter-addrs` and `filter-protocols` of a router (IPIP-484). Pure.

use super::Peer;

/// What a client wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filters {
    addresses: Vec<String>,
    protocols: Vec<String>,
}

impl Filters {
    pub(super) fn new(addresses: Option<&str>, protocols: Option<&str>) -> Self {
        let list = |text: Option<&str>| {
            let parts = text.unwrap_or_default().split(',').map(str::trim);
            let parts = parts.filter(|part| !part.is_empty());
            parts.map(str::to_ascii_lowercase).collect()
        };
        Filters {
            addresses: list(addresses),
            protocols: list(protocols),
        }
    }

    /// The record with what is left of its addresses; `None` if it is not wanted.
    pub(super) fn apply(&self, mut record: Peer) -> Option<Peer> {
        let known = |wanted: &String| match wanted.as_str() {
            "unknown" => record.protocols.is_empty(),
            wanted => record
                .protocols
                .iter()
                .any(|own| own.eq_ignore_ascii_case(wanted)),
        };
        if !self.protocols.is_empty() && !self.protocols.iter().any(known) {
            return None;
        }
        if self.addresses.is_empty() {
            return Some(record);
        }
        if record.addrs.is_empty() {
            let unknown = self.addresses.iter().any(|filter| filter == "unknown");
            return unknown.then_some(record);
        }
        record.addrs.retain(|address| self.shows(address));
        (!record.addrs.is_empty()).then_some(record)
    }

    /// None of what is excluded, and one of what is asked for, if anything is.
    fn shows(&self, address: &str) -> bool {
        let has = |protocol: &str| address.split('/').any(|part| part == protocol);
        let excluded = |filter: &String| filter.strip_prefix('!').is_some_and(&has);
        let mut wanted = self
            .addresses
            .iter()
            .filter(|filter| !filter.starts_with('!') && *filter != "unknown")
            .peekable();
        !self.addresses.iter().any(excluded)
            && (wanted.peek().is_none() || wanted.any(|filter| has(filter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "/ip4/1.2.3.4/tcp/4001";
    const QUIC: &str = "/ip4/1.2.3.4/udp/4001/quic-v1";
    const SIX: &str = "/ip6/2001:db8::1/tcp/4001";

    fn left(addresses: &str, protocols: &str, addrs: &[&str], own: &[&str]) -> Option<Vec<String>> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let record = Peer {
            id: "P".to_owned(),
            addrs: strings(addrs),
            protocols: strings(own),
        };
        let filters = Filters::new(Some(addresses), Some(protocols));
        filters.apply(record).map(|record| record.addrs)
    }

    #[test]
    fn addresses() {
        let all = [TCP, QUIC, SIX];
        for (filter, wanted) in [
            ("", &all[..]),
            ("tcp", &[TCP, SIX]),
            ("quic-v1", &[QUIC]),
            ("!ip6", &[TCP, QUIC]),
            ("!ip6,tcp", &[TCP]),
            ("tcp, quic-v1", &all),
            ("unknown", &all),
            ("unknown,quic-v1", &[QUIC]),
        ] {
            assert_eq!(
                left(filter, "", &all, &[]).as_deref(),
                Some(strings(wanted)).as_deref()
            );
        }
        assert_eq!(left("webtransport", "", &all, &[]), None);
        assert_eq!(left("!tcp,!udp", "", &all, &[]), None);
        assert_eq!(left("tcp", "", &[], &[]), None);
        assert_eq!(left("tcp,unknown", "", &[], &[]), Some(vec![]));
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn protocols() {
        for (filter, own, shown) in [
            ("", &["transport-bitswap"][..], true),
            ("transport-bitswap", &["transport-bitswap"], true),
            ("Transport-Bitswap", &["transport-bitswap"], true),
            ("transport-ipfs-gateway-http", &["transport-bitswap"], false),
            ("unknown", &["transport-bitswap"], false),
            ("unknown", &[], true),
            ("transport-bitswap,unknown", &[], true),
            ("transport-bitswap", &[], false),
        ] {
            assert_eq!(
                left("", filter, &[TCP], own).is_some(),
                shown,
                "{filter} {own:?}"
            );
        }
    }
}
