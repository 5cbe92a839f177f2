//! `/routing/v1`: who has a CID, and where a peer is (Delegated Routing V1, IPIP-484, IPIP-513). Only for its owner it asks others.

use std::sync::Arc;
use std::time::Duration;

use callao_content::Cid;
use callao_content::cid::{self, Version};
use callao_content::digest::{Algorithm, Digest};
use hyper::{Response, StatusCode, header};
use multibase::Base;
use serde_json::{Value, json};

use super::answer::{self, Refusal, put};
use super::filters::Filters;
use super::format::quoted;
use super::guard::Standing;
use super::route::Ask;
use super::server::Gateway;
use super::{Body, Peer, Providers, ipns};

/// Codec of a peer ID that is written as a CID.
const LIBP2P_KEY: u64 = 0x72;
/// Records in one answer.
const RECORDS_COUNT_MAX: usize = 100;
/// How long others may take to find somebody; kubo's clients give up after 10 s.
const ASKED_MAX: Duration = Duration::from_secs(8);
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Answers.
pub(super) async fn answer(gateway: &Arc<Gateway>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let path = ask.path.strip_prefix("/routing/v1/").unwrap_or_default();
    let Some((what, name)) = path.split_once('/') else {
        return Err(unknown());
    };
    if what == "ipns" {
        return ipns::routed(gateway, ask, name);
    }
    let Some(router) = gateway.backend.router.as_ref() else {
        let message = "there is no node here that knows peers";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, message));
    };
    let records = match what {
        "providers" => {
            let cid = cid::parse(name)
                .map_err(|_| unprocessable(format!("{} is not a CID", quoted(name))))?;
            providers(gateway, &**router, ask, cid).await
        }
        "peers" => {
            let id = peer_id(name)
                .ok_or_else(|| unprocessable(format!("{} is not a peer ID", quoted(name))))?;
            peers(&**router, ask, id).await
        }
        _ => return Err(unknown()),
    };
    let filters = Filters::new(
        ask.query.get("filter-addrs"),
        ask.query.get("filter-protocols"),
    );
    let records: Vec<Peer> = records
        .into_iter()
        .filter_map(|record| filters.apply(record))
        .take(RECORDS_COUNT_MAX)
        .collect();
    Ok(written(ask, what == "providers", &records))
}

/// Ourselves first, if it is here; then whom others name.
async fn providers(gateway: &Gateway, router: &dyn Providers, ask: &Ask, cid: Cid) -> Vec<Peer> {
    let mut records: Vec<Peer> = Vec::new();
    if is_here(gateway, &cid) {
        records.extend(router.own());
    }
    if ask.standing == Standing::Owner {
        let asked = tokio::time::timeout(ASKED_MAX, router.providers(cid)).await;
        for peer in asked.unwrap_or_default() {
            if !records.iter().any(|known| known.id == peer.id) {
                records.push(peer);
            }
        }
    }
    records
}

async fn peers(router: &dyn Providers, ask: &Ask, id: String) -> Vec<Peer> {
    let own = router.own().filter(|own| own.id == id);
    if own.is_some() || ask.standing == Standing::Guest {
        return own.into_iter().collect();
    }
    let asked = tokio::time::timeout(ASKED_MAX, router.peer(id)).await;
    asked.ok().flatten().into_iter().collect()
}

/// Whether the CID names a block that is here, whatever its version and codec, or the whole of a file (`raw` of its SHA-256).
fn is_here(gateway: &Gateway, wanted: &Cid) -> bool {
    let shelf = &gateway.backend.shelf;
    let hash = *wanted.hash();
    let forms = [
        Some(*wanted),
        Some(Cid::new_v1(cid::RAW, hash)),
        Some(Cid::new_v1(cid::DAG_PB, hash)),
        Cid::new_v0(hash)
            .ok()
            .filter(|_| wanted.version() == Version::V1),
    ];
    let digest = Digest::from_bytes(Algorithm::Sha256, hash.digest());
    forms
        .into_iter()
        .flatten()
        .any(|form| shelf.length(&form).is_some() || shelf.file(&form).is_some())
        || (hash.code() == cid::SHA2_256)
            .then_some(digest)
            .flatten()
            .is_some_and(|digest| !shelf.with_digest(&digest).is_empty())
}

/// A peer ID in base58btc, from that form or from a CID.
fn peer_id(text: &str) -> Option<String> {
    const BYTES_MAX: usize = 64;
    if text.starts_with("12D3Koo") || text.starts_with("Qm") || text.starts_with("16Uiu2") {
        let bytes = (text.len() <= BYTES_MAX).then(|| Base::Base58Btc.decode(text));
        return bytes?.ok().map(|_| text.to_owned());
    }
    let cid = cid::parse(text)
        .ok()
        .filter(|cid| cid.codec() == LIBP2P_KEY)?;
    Some(Base::Base58Btc.encode(cid.hash().to_bytes()))
}

/// JSON, or a line for each record if that is wanted.
fn written(ask: &Ask, providers: bool, records: &[Peer]) -> Response<Body> {
    let record = |peer: &Peer| json!({"Schema": "peer", "ID": peer.id, "Addrs": peer.addrs, "Protocols": peer.protocols});
    let values: Vec<Value> = records.iter().map(record).collect();
    let accept = ask.header(header::ACCEPT).unwrap_or_default();
    let lines = accept
        .split(',')
        .any(|part| part.split(';').next().unwrap_or_default().trim() == NDJSON);
    let (kind, text) = if lines {
        let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
        (NDJSON, lines)
    } else if providers {
        (JSON, json!({ "Providers": values }).to_string())
    } else {
        (JSON, json!({ "Peers": values }).to_string())
    };
    let mut answer = answer::bytes(StatusCode::OK, kind, text.into());
    let seconds = if records.is_empty() { 15 } else { 300 };
    put(
        &mut answer,
        header::CACHE_CONTROL,
        format!("public, max-age={seconds}"),
    );
    put(&mut answer, header::VARY, "Accept");
    answer
}

fn unknown() -> Refusal {
    Refusal::not_found("routing/v1 has providers/CID, peers/PEER-ID and ipns/NAME")
}

fn unprocessable(message: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_read_in_both_forms() {
        const ID: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        let bytes = Base::Base58Btc.decode(ID).expect("base58");
        let cid = [&[1, 0x72][..], &bytes].concat();
        let base32 = Base::Base32Lower.encode(&cid);
        let base36 = Base::Base36Lower.encode(&cid);
        for text in [ID, &format!("b{base32}"), &format!("k{base36}")] {
            assert_eq!(peer_id(text).as_deref(), Some(ID), "{text}");
        }
        for text in ["", "x", "bafkqaaa", "12D3Koo!", "12D3Koo0000", "../x"] {
            assert_eq!(peer_id(text), None, "{text}");
        }
    }
}
