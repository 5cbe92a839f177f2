//! `/ipns/NAME[/path]`: the signed record of a name, and what the name stands for. Only for its owner it looks for records;
//! everybody else gets what is held. Verifies nothing: a [`Record`] has been.
//!
//! Sources: trustless and path gateway specifications; kubo 0.43 where they are silent. Names of DNS are not looked up.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callao_content::digest::{Algorithm, Digest};
use callao_content::ipns::{MEDIA_TYPE, Record, Target};
use callao_content::{Cid, peer_id};
use hyper::{Response, StatusCode, header};

use super::answer::{self, Refusal, put};
use super::conditional;
use super::format::{self, Format, quoted};
use super::guard::Standing;
use super::ipfs::{self, FOR_EVER};
use super::resolve;
use super::route::Ask;
use super::server::Gateway;
use super::{Body, Names, NoRecord, path};

/// Names that stand for names.
const HOPS_COUNT_MAX: usize = 8;

/// What a path stands for, and for how long that may be believed.
#[derive(Debug)]
struct Resolved {
    root: Cid,
    path: Vec<String>,
    fresh: Duration,
}

/// Answers.
pub(super) async fn answer(gateway: &Arc<Gateway>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let (name, rest) = resolve::first(ask.path.strip_prefix("/ipns/").unwrap_or_default())?;
    let name = read_name(&name)?;
    let rest = resolve::segments(rest)?;
    let choice = format::choose(&ask.query, ask.header(header::ACCEPT)).map_err(Refusal::bad)?;
    if choice.format == Format::IpnsRecord {
        if !rest.is_empty() {
            return Err(Refusal::bad(
                "a name has a record, and no path in it has one",
            ));
        }
        let record = newest(gateway, ask, &name).await?;
        let mut answer = record_answer(ask, &record);
        if choice.by_accept {
            let always = format!("{}?format=ipns-record", ask.path);
            put(&mut answer, header::CONTENT_LOCATION, always);
        }
        return Ok(answer);
    }
    let Resolved {
        root,
        mut path,
        fresh,
    } = follow(gateway, ask, name).await?;
    path.extend(rest);
    resolve::check_depth(&path)?;
    let mut answer = ipfs::content(gateway, ask, &choice, root, &path).await?;
    // What lies there never changes; that it lies there does.
    let lasting = answer.headers().get(header::CACHE_CONTROL);
    if lasting.is_some_and(|value| value == FOR_EVER || value == super::listing::CACHED) {
        put(&mut answer, header::CACHE_CONTROL, cached(fresh));
    }
    Ok(answer)
}

/// `/routing/v1/ipns/NAME`: what is held, for everybody. It does not look around: a kubo that asks here may be the very one
/// that would be asked.
pub(super) fn routed(gateway: &Gateway, ask: &Ask, name: &str) -> Result<Response<Body>, Refusal> {
    let name = peer_id::parse(name).map_err(|_| {
        let message = format!("{} is not the name of a key", quoted(name));
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    })?;
    let record = held(names(gateway)?, &name, false)?;
    Ok(record_answer(ask, &record))
}

fn names(gateway: &Gateway) -> Result<&Arc<dyn Names>, Refusal> {
    let message = "names are not resolved here; ask for /ipfs and a CID";
    let none = || Refusal::new(StatusCode::NOT_IMPLEMENTED, message);
    gateway.backend.names.as_ref().ok_or_else(none)
}

fn read_name(text: &str) -> Result<Cid, Refusal> {
    peer_id::parse(text).map_err(|_| match text.contains('.') {
        true => no_dns(text),
        false => Refusal::bad(format!("{} is not the name of a key", quoted(text))),
    })
}

/// 501.
fn no_dns(domain: &str) -> Refusal {
    let message = format!(
        "{} is a name of DNS (DNSLink), which nothing proves: ask for the name of a key, or for /ipfs and a CID",
        quoted(domain)
    );
    Refusal::new(StatusCode::NOT_IMPLEMENTED, message)
}

/// From a name to content, through names that stand for names.
async fn follow(gateway: &Gateway, ask: &Ask, name: Cid) -> Result<Resolved, Refusal> {
    let (mut name, mut after, mut fresh) = (name, Vec::new(), Duration::MAX);
    for _ in 0..HOPS_COUNT_MAX {
        let record = newest(gateway, ask, &name).await?;
        fresh = fresh.min(freshness(&record));
        match record.target().clone() {
            Target::Content { root, mut path } => {
                path.append(&mut after);
                return Ok(Resolved { root, path, fresh });
            }
            Target::Name {
                name: next,
                mut path,
            } => {
                path.append(&mut after);
                (name, after) = (next, path);
            }
            Target::Domain(domain) => return Err(no_dns(&domain)),
        }
        resolve::check_depth(&after)?;
    }
    let message = format!("the name leads to more than {HOPS_COUNT_MAX} others");
    Err(Refusal::new(StatusCode::LOOP_DETECTED, message))
}

/// The record that counts for this request.
async fn newest(gateway: &Gateway, ask: &Ask, name: &Cid) -> Result<Record, Refusal> {
    let names = names(gateway)?;
    if ask.standing == Standing::Guest || ask.only_here() {
        return held(names, name, ask.only_here());
    }
    let wait = gateway.backend.options.retrieval_timeout;
    match tokio::time::timeout(wait, names.find(*name)).await {
        Ok(Ok(record)) => Ok(record),
        Ok(Err(why)) => Err(Refusal::new(status_of(&why), described(name, &why))),
        Err(_) => {
            let message = format!("{}: nobody sent a record in time", peer_id::name_text(name));
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, message))
        }
    }
}

/// The record that is here, if it still counts.
fn held(names: &Arc<dyn Names>, name: &Cid, only_here: bool) -> Result<Record, Refusal> {
    let found = match names.held(name) {
        Some(record) if record.is_expired(now()) => Err(NoRecord::Expired),
        Some(record) => Ok(record),
        None => Err(NoRecord::Nobody),
    };
    found.map_err(|why| {
        let status = match only_here {
            true => StatusCode::PRECONDITION_FAILED,
            false => StatusCode::NOT_FOUND,
        };
        Refusal::new(status, described(name, &why))
    })
}

fn described(name: &Cid, why: &NoRecord) -> String {
    format!("{}: {why}", peer_id::name_text(name))
}

const fn status_of(why: &NoRecord) -> StatusCode {
    match why {
        NoRecord::Nobody => StatusCode::NOT_FOUND,
        NoRecord::Expired | NoRecord::Older | NoRecord::Bad(_) => StatusCode::BAD_GATEWAY,
    }
}

fn record_answer(ask: &Ask, record: &Record) -> Response<Body> {
    let etag = format!(
        "\"{}\"",
        Digest::of(Algorithm::Sha256, record.bytes()).hex()
    );
    let mut answer = if conditional::is_known(ask.header(header::IF_NONE_MATCH), &etag) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::bytes(StatusCode::OK, MEDIA_TYPE, record.bytes().clone())
    };
    let file = format!("{}.ipns-record", peer_id::name_text(record.name()));
    let disposition = path::disposition(ask, &file, true);
    put(&mut answer, header::CONTENT_DISPOSITION, disposition);
    put(&mut answer, header::ETAG, etag);
    put(
        &mut answer,
        header::CACHE_CONTROL,
        cached(freshness(record)),
    );
    put(&mut answer, header::VARY, "Accept");
    answer
}

fn cached(fresh: Duration) -> String {
    format!("public, max-age={}", fresh.as_secs())
}

/// How long a record may be used without a look for a newer one: not longer than it counts.
fn freshness(record: &Record) -> Duration {
    let left = record.valid_until().duration_since(now());
    record.ttl().min(left.unwrap_or_default())
}

fn now() -> SystemTime {
    SystemTime::now()
}
