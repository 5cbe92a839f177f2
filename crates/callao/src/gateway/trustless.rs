//! One block as it is: `format=raw`, and blocks of codecs that have a type of their own. Knows no links.

use bytes::Bytes;
use hyper::{Response, StatusCode, header};

use super::answer::{self, Refusal, put};
use super::conditional::{self, Part};
use super::ipfs::{FOR_EVER, Found};
use super::route::Ask;
use super::{Body, path};

/// `format=raw`.
pub(super) async fn raw(ask: &Ask, found: Found) -> Result<Response<Body>, Refusal> {
    let cid = found.way.end();
    let name = format!("{cid}.bin");
    let mut answer = block(ask, found, &format!("\"{cid}.raw\"")).await?;
    put(
        &mut answer,
        header::CONTENT_TYPE,
        "application/vnd.ipld.raw",
    );
    let disposition = path::disposition(ask, &name, true);
    put(&mut answer, header::CONTENT_DISPOSITION, disposition);
    Ok(answer)
}

/// A dag-cbor block, which is its own form.
pub(super) async fn native(ask: &Ask, found: Found) -> Result<Response<Body>, Refusal> {
    let cid = found.way.end();
    let name = format!("{cid}.cbor");
    let mut answer = block(ask, found, &format!("\"{cid}.dag-cbor\"")).await?;
    let kind = "application/vnd.ipld.dag-cbor";
    put(&mut answer, header::CONTENT_TYPE, kind);
    let disposition = path::disposition(ask, &name, true);
    put(&mut answer, header::CONTENT_DISPOSITION, disposition);
    Ok(answer)
}

async fn block(ask: &Ask, found: Found, etag: &str) -> Result<Response<Body>, Refusal> {
    let cid = found.way.end();
    let known = conditional::is_known(ask.header(header::IF_NONE_MATCH), etag);
    let here = found.blocks.length(&cid);
    let mut answer = match here {
        _ if known => answer::empty(StatusCode::NOT_MODIFIED),
        Some(size) if ask.head => part(ask, etag, u64::from(size), None)?,
        _ => {
            let block = found.blocks.get(&cid).await?;
            part(ask, etag, block.len() as u64, Some((block, found.seat)))?
        }
    };
    put(&mut answer, header::ETAG, etag);
    put(&mut answer, header::CACHE_CONTROL, FOR_EVER);
    Ok(answer)
}

/// The wanted part of a block. Without its bytes: the head alone.
fn part(
    ask: &Ask,
    etag: &str,
    size: u64,
    block: Option<(Bytes, Option<tokio::sync::OwnedSemaphorePermit>)>,
) -> Result<Response<Body>, Refusal> {
    let (range, if_range) = (ask.header(header::RANGE), ask.header(header::IF_RANGE));
    let (status, range) = match conditional::part(range, if_range, etag, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    let mut answer = match block {
        Some((bytes, seat)) => {
            let piece = bytes.slice(range.start as usize..range.end as usize);
            let once = futures::stream::once(std::future::ready(Ok(piece)));
            Response::new(answer::seated(once, seat))
        }
        None => answer::empty(status),
    };
    *answer.status_mut() = status;
    described(&mut answer, &range, size);
    Ok(answer)
}

/// 416.
pub(super) fn unsatisfiable(size: u64) -> Refusal {
    let message = format!("there are no such bytes; it has {size}");
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message)
        .with(header::CONTENT_RANGE, format!("bytes */{size}"))
}

/// The headers that say which bytes these are.
pub(super) fn described(answer: &mut Response<Body>, range: &std::ops::Range<u64>, size: u64) {
    let length = range.end - range.start;
    put(answer, header::CONTENT_LENGTH, length);
    put(answer, header::ACCEPT_RANGES, "bytes");
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        put(answer, header::CONTENT_RANGE, said);
    }
}
