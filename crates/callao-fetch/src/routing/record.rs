//! An answer of a router, taken apart within the limits: records one by one, so that a strange one costs no other.
//! Must not know how the answer was asked for.

use serde::Deserialize;
use url::Url;

use super::Provider;
use super::address::{self, Address};
use crate::limits::{
    ROUTING_ADDRESSES_COUNT_MAX, ROUTING_PEER_ADDRESSES_COUNT_MAX, ROUTING_RECORDS_COUNT_MAX,
};
use crate::netfilter::{Scope, check_url};
use crate::source::SourceError;

/// One record; unknown fields are ignored, missing ones are empty (js servers omit some).
#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "Schema", default)]
    schema: String,
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Addrs", default)]
    addrs: Option<Vec<String>>,
    #[serde(rename = "Protocols", default)]
    protocols: Option<Vec<String>>,
}

/// The body of a JSON answer: about a CID, or about a peer.
#[derive(Debug, Deserialize)]
struct Records {
    #[serde(rename = "Providers", alias = "Peers", default)]
    all: Option<Vec<serde_json::Value>>,
}

/// The two forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Lines,
}

/// The form that a media type means.
pub(super) fn form(media_type: &str) -> Option<Form> {
    match media_type {
        "application/json" => Some(Form::Json),
        "application/x-ndjson" | "application/ndjson" => Some(Form::Lines),
        _ => None,
    }
}

/// Takes an answer apart.
pub(super) struct Reader<'a> {
    pub(super) scope: Scope,
    pub(super) rest: Vec<u8>,
    pub(super) records: usize,
    /// Addresses that must not be dialled.
    pub(super) refused: usize,
    pub(super) found: &'a mut (dyn FnMut(Provider) + Send),
}

impl<'a> Reader<'a> {
    pub(super) fn new(scope: Scope, found: &'a mut (dyn FnMut(Provider) + Send)) -> Self {
        Reader {
            scope,
            rest: Vec::new(),
            records: 0,
            refused: 0,
            found,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= ROUTING_RECORDS_COUNT_MAX
    }

    pub(super) fn json(&mut self, body: &[u8]) -> Result<(), SourceError> {
        let records: Records = serde_json::from_slice(body).map_err(|error| {
            SourceError::Protocol(format!("the router's answer cannot be read: {error}"))
        })?;
        for value in records.all.unwrap_or_default() {
            self.record(Record::deserialize(value).ok());
        }
        Ok(())
    }

    pub(super) fn lines(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if !line.trim_ascii().is_empty() {
                self.record(serde_json::from_slice(&line).ok());
            }
        }
    }

    fn record(&mut self, record: Option<Record>) {
        if self.is_full() {
            return;
        }
        self.records += 1;
        let Some(record) = record.filter(|record| record.schema == "peer") else {
            return;
        };
        let mut provider = Provider {
            speaks_bitswap: may_speak_bitswap(record.protocols.as_deref()),
            has_addresses: record.addrs.as_ref().is_some_and(|all| !all.is_empty()),
            peer: record.id,
            gateways: Vec::new(),
            addresses: Vec::new(),
        };
        for text in record.addrs.unwrap_or_default() {
            match address::gateway_url(&text) {
                Some(url) => self.gateway(&mut provider, url),
                None => self.address(&mut provider, text),
            }
        }
        (self.found)(provider);
    }

    fn gateway(&mut self, provider: &mut Provider, url: Url) {
        if check_url(&url, self.scope).is_err() {
            self.refused += 1;
        } else if provider.gateways.len() < ROUTING_ADDRESSES_COUNT_MAX
            && !provider.gateways.contains(&url)
        {
            provider.gateways.push(url);
        }
    }

    fn address(&mut self, provider: &mut Provider, text: String) {
        match address::of_peer(&text, self.scope) {
            Address::Refused => self.refused += 1,
            Address::Peer
                if provider.speaks_bitswap
                    && provider.addresses.len() < ROUTING_PEER_ADDRESSES_COUNT_MAX =>
            {
                provider.addresses.push(text);
            }
            Address::Peer | Address::Other => {}
        }
    }
}

/// js servers omit the protocols, and the DHT does not know them: then it may.
fn may_speak_bitswap(protocols: Option<&[String]>) -> bool {
    protocols.is_none_or(|all| {
        all.is_empty()
            || all
                .iter()
                .any(|one| one == "transport-bitswap" || one == "unknown")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peer, gateways, addresses.
    type Read = (String, Vec<String>, Vec<String>);

    fn read(form: Form, body: &str, scope: Scope) -> (Vec<Read>, usize, usize) {
        let mut all = Vec::new();
        let mut found = |provider: Provider| {
            let gateways = provider.gateways.iter().map(Url::to_string).collect();
            all.push((provider.peer, gateways, provider.addresses));
        };
        let mut reader = Reader::new(scope, &mut found);
        match form {
            Form::Json => reader.json(body.as_bytes()).expect("JSON"),
            // Pieces of three bytes: a line may arrive in any number of them.
            Form::Lines => body
                .as_bytes()
                .chunks(3)
                .for_each(|piece| reader.lines(piece)),
        }
        let (records, refused) = (reader.records, reader.refused);
        (all, records, refused)
    }

    fn own(peer: &str, gateways: &[&str], addresses: &[&str]) -> Read {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        (peer.to_owned(), texts(gateways), texts(addresses))
    }

    #[test]
    fn both_forms_are_read_and_filtered() {
        let records = [
            r#"{"Schema":"peer","ID":"a","Addrs":["/dns/a.example/tcp/443/tls/http","/dns/a.example/https"],"New":{}}"#,
            r#"{"Schema":"peer","ID":"b","Addrs":["/ip4/10.0.0.1/tcp/443/https","/ip4/127.0.0.1/tcp/80/http"]}"#,
            r#"{"Schema":"peer","ID":"c"}"#,
            r#"{"Schema":"peer","ID":"d","Addrs":null}"#,
            r#"{"Schema":"bitswap","ID":"e","Addrs":["/dns/e.example/https"]}"#,
            r#"{"Schema":7}"#,
            r#"{"Schema":"peer","ID":"f","Addrs":["/ip4/1.1.1.1/tcp/4001","/ip4/1.1.1.1/tcp/80/http","/ip4/1.1.1.1/https"]}"#,
        ];
        let json = format!(r#"{{"Providers":[{}],"Other":1}}"#, records.join(","));
        let lines = format!("{}\n\n", records.join("\r\n"));
        let public = vec![
            own("a", &["https://a.example/"], &[]),
            own("b", &[], &[]),
            own("c", &[], &[]),
            own("d", &[], &[]),
            own("f", &["https://1.1.1.1/"], &["/ip4/1.1.1.1/tcp/4001"]),
        ];
        let wanted = (public.clone(), 7, 3);
        assert_eq!(read(Form::Json, &json, Scope::Public), wanted);
        assert_eq!(read(Form::Lines, &lines, Scope::Public), wanted);
        let (lan, _, refused) = read(Form::Json, &json, Scope::Lan);
        assert_eq!(lan[1].1, ["https://10.0.0.1/", "http://127.0.0.1/"]);
        assert_eq!(refused, 0);
        assert_eq!(
            read(Form::Json, r#"{"Providers":null}"#, Scope::Public),
            (vec![], 0, 0)
        );
        let peers = r#"{"Peers":[{"Schema":"peer","ID":"a","Addrs":["/ip4/1.1.1.1/tcp/1"]}]}"#;
        assert_eq!(
            read(Form::Json, peers, Scope::Public).0,
            vec![own("a", &[], &["/ip4/1.1.1.1/tcp/1"])]
        );
    }

    #[test]
    fn peers_without_bitswap_are_not_dialled() {
        let table = [
            ("null", true),
            ("[]", true),
            (r#"["unknown"]"#, true),
            (
                r#"["transport-ipfs-gateway-http","transport-bitswap"]"#,
                true,
            ),
            (r#"["transport-ipfs-gateway-http"]"#, false),
            (r#"["transport-graphsync-filecoinv1"]"#, false),
        ];
        for (protocols, wanted) in table {
            let line = format!(
                "{{\"Schema\":\"peer\",\"ID\":\"x\",\"Protocols\":{protocols},\"Addrs\":[\"/ip4/1.1.1.1/tcp/4001\"]}}\n"
            );
            let (all, ..) = read(Form::Lines, &line, Scope::Public);
            assert_eq!(!all[0].2.is_empty(), wanted, "{protocols}");
        }
    }

    #[test]
    fn a_flood_of_records_is_cut() {
        let addresses: Vec<String> = (0..50)
            .map(|n| format!("\"/dns/h{n}.example/https\",\"/ip4/1.1.1.1/tcp/{}\"", n + 1))
            .collect();
        let line = format!(
            "{{\"Schema\":\"peer\",\"ID\":\"x\",\"Addrs\":[{}]}}\n",
            addresses.join(",")
        );
        let (all, records, _) = read(
            Form::Lines,
            &line.repeat(ROUTING_RECORDS_COUNT_MAX + 5),
            Scope::Public,
        );
        assert_eq!(
            (all.len(), records),
            (ROUTING_RECORDS_COUNT_MAX, ROUTING_RECORDS_COUNT_MAX)
        );
        assert_eq!(all[0].1.len(), ROUTING_ADDRESSES_COUNT_MAX);
        assert_eq!(all[0].2.len(), ROUTING_PEER_ADDRESSES_COUNT_MAX);
    }
}
