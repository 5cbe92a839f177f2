//! Delegated Routing V1 client (`/routing/v1/providers/{cid}`, `/routing/v1/peers/{id}`): who has a CID, by HTTP or by
//! bitswap, and where a peer is. Every record is somebody's claim: addresses are filtered here, bytes are proven by whoever
//! fetches them.

use bytes::Bytes;
use callao_content::{Cid, peer_id};
use reqwest::Client;
use reqwest::header::ACCEPT;
use url::Url;

use crate::answer::{self, Waits};
use crate::limits::{ROUTING_BODY_BYTES_MAX, ROUTING_LOOKUPS_COUNT_MAX};
use crate::netfilter::Scope;
use crate::source::SourceError;

mod address;
mod record;

pub use address::gateway_url;
use record::{Form, Reader, form};

/// A peer that is said to have something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its peer ID as the record has it.
    pub peer: String,
    /// Base URLs of its gateways, all of which [`Scope`] allows.
    pub gateways: Vec<Url>,
    /// Multiaddrs at which libp2p may dial it, all of which [`Scope`] allows. Empty if it does not speak bitswap.
    pub addresses: Vec<String>,
    /// Its protocols include bitswap, or are not known.
    speaks_bitswap: bool,
    /// The record had addresses, good or not.
    has_addresses: bool,
}

impl Provider {
    /// Whether anything can be asked of it.
    fn is_usable(&self) -> bool {
        !self.gateways.is_empty() || !self.addresses.is_empty()
    }
}

/// What came of asking a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// Peers that were handed on.
    pub providers: usize,
    /// Addresses that must not be dialled: a stranger named this computer or its network.
    pub refused: usize,
}

/// Which kinds of provider are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Those with an HTTP gateway.
    pub gateways: bool,
    /// Those that speak bitswap.
    pub bitswap: bool,
}

/// One router.
#[derive(Debug, Clone)]
pub struct Router {
    client: Client,
    base: Url,
    waits: Waits,
    scope: Scope,
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

    /// Asks who has `cid`; calls `found` for each peer that can be asked as soon as its record is in. Peers whose record
    /// has no address are looked up afterwards. Nobody is not an error; [`SourceError::Busy`] says when to come back.
    pub async fn providers(
        &self,
        cid: &Cid,
        wanted: Wanted,
        found: &mut (dyn FnMut(Provider) + Send),
    ) -> Result<Answered, SourceError> {
        let mut answered = Answered::default();
        let mut without_address = Vec::new();
        let mut take = |mut provider: Provider| {
            if !wanted.gateways {
                provider.gateways.clear();
            }
            if !wanted.bitswap {
                provider.addresses.clear();
            }
            if provider.is_usable() {
                answered.providers += 1;
                found(provider);
            } else if wanted.bitswap && provider.speaks_bitswap && !provider.has_addresses {
                without_address.push(provider.peer);
            }
        };
        // Servers prefer CIDv1; version and codec do not matter for who has it.
        let text = callao_content::cid::text(&Cid::new_v1(cid.codec(), cid.hash().to_owned()));
        let url = self.url(&format!("providers/{text}"), Some(&filter(wanted)));
        let refused = self.ask(url, &mut take).await?;
        answered.refused = refused;
        for peer in without_address.iter().take(ROUTING_LOOKUPS_COUNT_MAX) {
            // A peer that cannot be found is one provider less.
            let looked_up = self.peer(peer).await.unwrap_or_default();
            answered.refused += looked_up.refused;
            if let Some(provider) = looked_up.provider {
                answered.providers += 1;
                found(provider);
            }
        }
        Ok(answered)
    }

    /// Where a peer is. Some servers take only one spelling of its ID: both are offered.
    async fn peer(&self, id: &str) -> Result<LookedUp, SourceError> {
        let Ok(peer) = peer_id::parse(id) else {
            return Err(SourceError::Protocol("a record without a peer ID".into()));
        };
        let (base58, cid) = (peer_id::base58(&peer), peer_id::cid_text(&peer));
        match self.peer_spelled(&base58).await {
            Err(SourceError::Protocol(_)) => self.peer_spelled(&cid).await,
            other => other,
        }
    }

    async fn peer_spelled(&self, id: &str) -> Result<LookedUp, SourceError> {
        let mut looked_up = LookedUp::default();
        let provider = &mut looked_up.provider;
        let mut take = |found: Provider| {
            if provider.is_none() && !found.addresses.is_empty() {
                *provider = Some(found);
            }
        };
        let url = self.url(&format!("peers/{id}"), None);
        looked_up.refused = self.ask(url, &mut take).await?;
        Ok(looked_up)
    }

    /// Asks, and takes the answer apart; gives the number of addresses that must not be dialled.
    async fn ask(
        &self,
        url: Url,
        found: &mut (dyn FnMut(Provider) + Send),
    ) -> Result<usize, SourceError> {
        let request = self
            .client
            .get(url)
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
        let mut reader = Reader::new(self.scope, found);
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
                        return Ok(reader.refused);
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
        Ok(reader.refused)
    }

    fn url(&self, what: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let path = url
            .path()
            .trim_end_matches('/')
            .trim_end_matches("/routing/v1")
            .to_owned();
        url.set_path(&format!("{path}/routing/v1/{what}"));
        url.set_query(query);
        url
    }
}

/// A peer that was looked up.
#[derive(Debug, Default)]
struct LookedUp {
    provider: Option<Provider>,
    refused: usize,
}

/// IPIP-484.
fn filter(wanted: Wanted) -> String {
    let mut protocols = vec!["unknown"];
    protocols.extend(wanted.bitswap.then_some("transport-bitswap"));
    protocols.extend(wanted.gateways.then_some("transport-ipfs-gateway-http"));
    format!("filter-protocols={}", protocols.join(","))
}
