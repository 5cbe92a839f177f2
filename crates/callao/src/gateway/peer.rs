//! `/callao/v1`: what callaos ask each other. The inner nodes of a file, which bytes of it are proven, and which roots a digest has.

use std::sync::Arc;

use callao_content::car::Writer;
use callao_content::cid::{self, Cid};
use callao_content::digest::Digest;
use hyper::{Response, StatusCode, header};
use serde::Serialize;

use super::answer::{self, Refusal, put};
use super::format::quoted;
use super::route::Ask;
use super::server::Gateway;
use super::{Body, HeldFile};

/// Version of the API and of its answers.
const VERSION: u8 = 1;

#[derive(Debug, Serialize)]
struct Have {
    v: u8,
    size: u64,
    complete: bool,
    /// `[from, to)`, sorted.
    ranges: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct Roots {
    v: u8,
    roots: Vec<String>,
}

/// Answers.
pub(super) async fn answer(gateway: &Arc<Gateway>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let path = ask.path.strip_prefix("/callao/v1/").unwrap_or_default();
    match path.split_once('/') {
        Some(("skeleton", root)) => {
            let file = file(gateway, root)?;
            let bytes = tokio::task::spawn_blocking(move || skeleton(&*file)).await;
            let bytes =
                bytes.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
            let kind = "application/vnd.ipld.car; version=1; order=dfs; dups=n";
            let mut answer = answer::bytes(StatusCode::OK, kind, bytes.into());
            put(&mut answer, header::CACHE_CONTROL, super::ipfs::FOR_EVER);
            Ok(answer)
        }
        Some(("have", root)) => {
            let file = file(gateway, root)?;
            let (size, have) = (file.layout().size(), file.have());
            let ranges: Vec<_> = have.iter().map(|range| (range.start, range.end)).collect();
            json(&Have {
                v: VERSION,
                size,
                complete: size == 0 || ranges == [(0, size)],
                ranges,
            })
        }
        Some(("digest", digest)) => {
            let digest: Digest = digest
                .parse()
                .map_err(|_| Refusal::bad(format!("{} is not a digest", quoted(digest))))?;
            let roots = gateway.backend.shelf.with_digest(&digest);
            json(&Roots {
                v: VERSION,
                roots: roots.iter().map(cid::text).collect(),
            })
        }
        _ => Err(Refusal::not_found(
            "callao/v1 has skeleton/ROOT, have/ROOT and digest/ALGORITHM:HEX",
        )),
    }
}

fn file(gateway: &Gateway, root: &str) -> Result<Arc<dyn HeldFile>, Refusal> {
    let root: Cid =
        cid::parse(root).map_err(|_| Refusal::bad(format!("{} is not a CID", quoted(root))))?;
    let file = gateway.backend.shelf.file(&root);
    file.ok_or_else(|| Refusal::not_found(format!("{root} is not here")))
}

/// The inner nodes in a CAR. A file of one block has none: its root and its size (of `have`) are its layout.
fn skeleton(file: &dyn HeldFile) -> Vec<u8> {
    let layout = file.layout();
    let mut bytes = Writer::header(&[*layout.root()]);
    for node in layout.nodes() {
        bytes.extend(Writer::block_prefix(&node.cid, node.bytes.len()));
        bytes.extend_from_slice(&node.bytes);
    }
    bytes
}

fn json(value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    let failed = |error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let text = serde_json::to_vec(value).map_err(failed)?;
    let mut answer = answer::bytes(StatusCode::OK, "application/json", text.into());
    put(&mut answer, header::CACHE_CONTROL, "no-store");
    Ok(answer)
}
