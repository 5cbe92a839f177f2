//! Delegated Routing V1 client (`/routing/v1/providers/{cid}`): who has a CID, as far as they speak HTTP.
//! Every record is somebody's claim: addresses are filtered here, bytes are proven by whoever fetches them.

use bytes::Bytes;
use callao_content::Cid;
use reqwest::Client;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use url::Url;

use crate::answer::{self, Waits};
use crate::limits::{
    ROUTING_ADDRESSES_COUNT_MAX, ROUTING_BODY_BYTES_MAX, ROUTING_RECORDS_COUNT_MAX,
};
use crate::netfilter::{Scope, check_url};
use crate::source::SourceError;

/// A peer with HTTP gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its peer ID as the record has it; only for messages.
    pub peer: String,
    /// Base URLs of its gateways, all of which [`Scope`] allows. Not empty.
    pub gateways: Vec<Url>,
}

/// One router.
#[derive(Debug, Clone)]
pub struct Router {
    client: Client,
    base: Url,
    waits: Waits,
    scope: Scope,
}

/// One record; unknown fields are ignored, missing ones are empty (js servers omit some).
#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "Schema", default)]
    schema: String,
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Addrs", default)]
    addrs: Option<Vec<String>>,
}

/// The body of a JSON answer. Records are read one by one, so that one strange record costs no other.
#[derive(Debug, Deserialize)]
struct Records {
    #[serde(rename = "Providers", default)]
    providers: Option<Vec<serde_json::Value>>,
}

/// The two forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
}

impl Router {
    /// `base` is the router's URL, with or without `/routing/v1`. The client must not follow redirects.
    pub fn new(client: Client, base: Url, waits: Waits, scope: Scope) -> Self {
        Router {
            client,
            base,
            waits,
            scope,
        }
    }

    /// Where it is.
    pub fn place(&self) -> &str {
        self.base.as_str()
    }

    /// Asks who has `cid`; calls `found` for each peer with a gateway as soon as its record is in, and returns how
    /// many there were. Nobody is not an error; [`SourceError::Busy`] says when to come back.
    pub async fn providers(
        &self,
        cid: &Cid,
        found: &mut (dyn FnMut(Provider) + Send),
    ) -> Result<usize, SourceError> {
        let request = self
            .client
            .get(self.url(cid))
            .header(ACCEPT, "application/x-ndjson, application/json");
        let mut response = answer::send(request, &self.waits).await?;
        match response.status().as_u16() {
            200 => {}
            // IPIP-513: nothing found is 200 with an empty list, and 404 means the same.
            404 => return Ok(0),
            501 => {
                return Err(SourceError::Unsupported(
                    "the router does not look for providers".into(),
                ));
            }
            _ => return Err(answer::refused(response, &self.waits).await),
        }
        let mut reader = Reader {
            scope: self.scope,
            rest: Vec::new(),
            records: 0,
            given: 0,
            found,
        };
        match form(&answer::media_type(response.headers())) {
            Some(Form::Json) => {
                reader.json(
                    &answer::body(&mut response, ROUTING_BODY_BYTES_MAX, &self.waits).await?,
                )?;
            }
            Some(Form::Lines) => {
                let mut taken = 0;
                while let Some(bytes) = answer::next(&mut response, &self.waits).await? {
                    taken += bytes.len();
                    reader.lines(&bytes);
                    if reader.is_full() || taken > ROUTING_BODY_BYTES_MAX {
                        return Ok(reader.given);
                    }
                }
                reader.lines(&Bytes::from_static(b"\n"));
            }
            // kubo answers some failures with 200 and a line of text.
            None => {
                return Err(SourceError::Protocol(
                    "the router answered neither JSON nor NDJSON".into(),
                ));
            }
        }
        Ok(reader.given)
    }

    fn url(&self, cid: &Cid) -> Url {
        let mut url = self.base.clone();
        let path = url
            .path()
            .trim_end_matches('/')
            .trim_end_matches("/routing/v1")
            .to_owned();
        // Servers prefer CIDv1; version and codec do not matter for who has it.
        let text = callao_content::cid::text(&Cid::new_v1(cid.codec(), cid.hash().to_owned()));
        url.set_path(&format!("{path}/routing/v1/providers/{text}"));
        url.set_query(Some("filter-protocols=unknown,transport-ipfs-gateway-http"));
        url
    }
}

fn form(media_type: &str) -> Option<Form> {
    match media_type {
        "application/json" => Some(Form::Json),
        "application/x-ndjson" | "application/ndjson" => Some(Form::Lines),
        _ => None,
    }
}

/// Takes an answer apart, within the limits.
struct Reader<'a> {
    scope: Scope,
    rest: Vec<u8>,
    records: usize,
    given: usize,
    found: &'a mut (dyn FnMut(Provider) + Send),
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        self.records >= ROUTING_RECORDS_COUNT_MAX
    }

    fn json(&mut self, body: &[u8]) -> Result<(), SourceError> {
        let records: Records = serde_json::from_slice(body).map_err(|error| {
            SourceError::Protocol(format!("the router's answer cannot be read: {error}"))
        })?;
        for value in records.providers.unwrap_or_default() {
            self.record(Record::deserialize(value).ok());
        }
        Ok(())
    }

    fn lines(&mut self, bytes: &[u8]) {
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
        let mut gateways = Vec::new();
        for url in record
            .addrs
            .unwrap_or_default()
            .iter()
            .filter_map(|address| gateway_url(address))
        {
            if gateways.len() < ROUTING_ADDRESSES_COUNT_MAX
                && check_url(&url, self.scope).is_ok()
                && !gateways.contains(&url)
            {
                gateways.push(url);
            }
        }
        if !gateways.is_empty() {
            self.given += 1;
            (self.found)(Provider {
                peer: record.id,
                gateways,
            });
        }
    }
}

/// The URL that a multiaddr means, if it names an HTTP gateway:
/// `/{dns,dns4,dns6,ip4,ip6}/HOST[/tcp/PORT]/{https | http | tls/http | tls/sni/NAME/http}[/p2p/ID]`.
pub fn gateway_url(multiaddr: &str) -> Option<Url> {
    let mut parts = multiaddr.strip_prefix('/')?.split('/');
    let (kind, host) = (parts.next()?, parts.next()?);
    let host = match kind {
        "dns" | "dns4" | "dns6" if host_is_plain(host) => host.to_owned(),
        "ip4" => host.parse::<std::net::Ipv4Addr>().ok()?.to_string(),
        "ip6" => format!("[{}]", host.parse::<std::net::Ipv6Addr>().ok()?),
        _ => return None,
    };
    let mut rest: Vec<&str> = parts.collect();
    let mut port = None;
    if let ["tcp", number, ..] = rest[..] {
        port = Some(number.parse::<u16>().ok().filter(|port| *port != 0)?);
        rest.drain(..2);
    }
    if let [.., "p2p" | "ipfs", _] = rest[..] {
        rest.truncate(rest.len() - 2);
    }
    let scheme = match rest[..] {
        ["https"] | ["tls", "http"] => "https",
        ["http"] => "http",
        // The name for TLS and HTTP is the host itself; another one could not be put into a URL.
        ["tls", "sni", name, "http"] if name.eq_ignore_ascii_case(&host) => "https",
        _ => return None,
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    Url::parse(&format!("{scheme}://{host}{port}/")).ok()
}

/// Nothing that could become another part of a URL.
fn host_is_plain(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, body: &str, scope: Scope) -> (Vec<(String, Vec<String>)>, usize) {
        let mut all = Vec::new();
        let mut found = |provider: Provider| {
            all.push((
                provider.peer,
                provider.gateways.iter().map(Url::to_string).collect(),
            ));
        };
        let mut reader = Reader {
            scope,
            rest: Vec::new(),
            records: 0,
            given: 0,
            found: &mut found,
        };
        match form {
            Form::Json => reader.json(body.as_bytes()).expect("JSON"),
            // Pieces of three bytes: a line may arrive in any number of them.
            Form::Lines => body
                .as_bytes()
                .chunks(3)
                .for_each(|piece| reader.lines(piece)),
        }
        let records = reader.records;
        (all, records)
    }

    #[test]
    fn multiaddrs_become_urls() {
        let table = [
            (
                "/dns4/gateway.example/tcp/443/tls/http",
                Some("https://gateway.example/"),
            ),
            (
                "/dns/gateway.example/tcp/8443/https",
                Some("https://gateway.example:8443/"),
            ),
            (
                "/dns6/gateway.example/https/p2p/12D3KooW",
                Some("https://gateway.example/"),
            ),
            (
                "/dns/gateway.example/tcp/443/tls/sni/gateway.example/http",
                Some("https://gateway.example/"),
            ),
            (
                "/ip4/192.168.1.7/tcp/8080/http",
                Some("http://192.168.1.7:8080/"),
            ),
            (
                "/ip6/2606:4700::1111/tcp/443/tls/http/p2p/Qm",
                Some("https://[2606:4700::1111]/"),
            ),
            (
                "/dns/gateway.example/tcp/443/tls/sni/other.example/http",
                None,
            ),
            ("/dns/gateway.example/tcp/443/tls/ws", None),
            ("/dns/gateway.example/tcp/0/https", None),
            ("/dns/gateway.example/tcp/99999/https", None),
            ("/dns/user@evil.example/tcp/443/https", None),
            ("/dns/evil.example:1#/tcp/443/https", None),
            ("/ip4/1.2.3.4/tcp/4001", None),
            ("/ip4/1.2.3.4/udp/4001/quic-v1", None),
            ("/ip4/1.2.3/tcp/80/http", None),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/80/http", None),
            ("https://gateway.example", None),
            ("", None),
            ("/", None),
        ];
        for (multiaddr, wanted) in table {
            assert_eq!(
                gateway_url(multiaddr).map(String::from).as_deref(),
                wanted,
                "{multiaddr}"
            );
        }
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
            ("a".to_owned(), vec!["https://a.example/".to_owned()]),
            ("f".to_owned(), vec!["https://1.1.1.1/".to_owned()]),
        ];
        assert_eq!(read(Form::Json, &json, Scope::Public), (public.clone(), 7));
        assert_eq!(read(Form::Lines, &lines, Scope::Public), (public, 7));
        let (lan, _) = read(Form::Json, &json, Scope::Lan);
        assert_eq!(lan[1].1, ["https://10.0.0.1/", "http://127.0.0.1/"]);
        assert_eq!(
            read(Form::Json, r#"{"Providers":null}"#, Scope::Public),
            (vec![], 0)
        );
    }

    #[test]
    fn a_flood_of_records_is_cut() {
        let addresses: Vec<String> = (0..50)
            .map(|n| format!("\"/dns/h{n}.example/https\""))
            .collect();
        let line = format!(
            "{{\"Schema\":\"peer\",\"ID\":\"x\",\"Addrs\":[{}]}}\n",
            addresses.join(",")
        );
        let (all, records) = read(
            Form::Lines,
            &line.repeat(ROUTING_RECORDS_COUNT_MAX + 5),
            Scope::Public,
        );
        assert_eq!(
            (all.len(), records),
            (ROUTING_RECORDS_COUNT_MAX, ROUTING_RECORDS_COUNT_MAX)
        );
        assert_eq!(all[0].1.len(), ROUTING_ADDRESSES_COUNT_MAX);
    }
}
