//! `/ipfs/CID[/path]`: which form, which block, and the headers that all forms share. The forms are in files of their own.
//!
//! Sources: trustless and path gateway specifications; kubo 0.43 where they are silent.

use std::sync::Arc;

use callao_content::Cid;
use hyper::header::{self, HeaderName};
use hyper::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Refusal, put};
use super::blocks::Blocks;
use super::format::{self, Choice, Format};
use super::guard::Standing;
use super::resolve::{self, DAG_CBOR, Way};
use super::route::{self, Ask};
use super::server::Gateway;
use super::{Body, car, path, trustless};

pub(super) const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
/// What a CID names never changes. The number is kubo's: 48 weeks.
pub(super) const FOR_EVER: &str = "public, max-age=29030400, immutable";

/// What to do about an answer that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) blocks: Blocks,
    pub(super) way: Way,
    /// The seat of a guest among the answers; it goes with the body.
    pub(super) seat: Option<OwnedSemaphorePermit>,
}

/// Answers.
pub(super) async fn answer(gateway: &Arc<Gateway>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let (root, segments) = resolve::split(ask.path.strip_prefix("/ipfs/").unwrap_or_default())?;
    let accept = ask.header(header::ACCEPT);
    let choice = format::choose(&ask.query, accept).map_err(Refusal::bad)?;
    content(gateway, ask, &choice, root, &segments).await
}

/// What lies at the end of a path from a root.
pub(super) async fn content(
    gateway: &Arc<Gateway>,
    ask: &Ask,
    choice: &Choice,
    root: Cid,
    segments: &[String],
) -> Result<Response<Body>, Refusal> {
    let only_here = ask.only_here();
    let blocks = Blocks {
        gateway: Arc::clone(gateway),
        fetches: ask.standing == Standing::Owner && !only_here,
        only_here,
        local: ask.client.is_local(),
    };
    let seat = if blocks.local || ask.head {
        None
    } else {
        let seats = Arc::clone(&gateway.guests);
        Some(seats.try_acquire_owned().map_err(|_| route::busy())?)
    };
    let way = resolve::follow(&blocks, root, segments).await?;
    let found = Found { blocks, way, seat };
    let roots: Vec<String> = found.way.roots.iter().map(ToString::to_string).collect();
    let mut answer = match choice.format {
        Format::Raw => trustless::raw(ask, found).await?,
        Format::Car(options) => car::answer(ask, found, options).await?,
        Format::Other("dag-cbor") if found.way.end().codec() == DAG_CBOR => {
            trustless::native(ask, found).await?
        }
        Format::Plain => path::answer(ask, found).await?,
        Format::IpnsRecord => return Err(not_acceptable("an IPNS record has no CID")),
        Format::Other(name) => {
            let reason = format!("{name} is not given here; raw, car and the file itself are");
            return Err(not_acceptable(&reason));
        }
    };
    put(&mut answer, X_IPFS_PATH, &ask.path);
    put(&mut answer, X_IPFS_ROOTS, roots.join(","));
    put(&mut answer, header::VARY, "Accept");
    put(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if choice.by_accept {
        put(&mut answer, header::CONTENT_LOCATION, location(ask, choice));
    }
    Ok(answer)
}

fn not_acceptable(reason: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_ACCEPTABLE, reason)
}

/// The address that always gives the form which was negotiated.
fn location(ask: &Ask, choice: &Choice) -> String {
    let mut location = format!("{}?", ask.path);
    if !ask.raw_query.is_empty() {
        location += &ask.raw_query;
        location.push('&');
    }
    location += match choice.format {
        Format::Raw => "format=raw",
        Format::Car(options) if options.dups => "format=car&car-dups=y",
        Format::Car(_) => "format=car",
        Format::Other(name) => return location + "format=" + name,
        Format::Plain | Format::IpnsRecord => "",
    };
    location
}
