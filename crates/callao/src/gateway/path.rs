//! Files and directories as what they are: the path gateway. A page of one CID must not act in the name of another, nor in
//! that of the dashboard, so every answer is sandboxed.

use std::sync::Arc;

use callao_content::cid::{self, Cid};
use callao_content::layout::Layout;
use callao_content::unixfs::{self, Kind};
use callao_content::walk::{self, Walk};
use callao_content::{Error, dag_pb};
use hyper::{Response, StatusCode, header};
use url::form_urlencoded::byte_serialize;

use super::answer::{self, Refusal, put};
use super::blocks::{Blocks, not_fetched, timed_out};
use super::body::{Leaves, Pieces};
use super::conditional::{self, Part};
use super::ipfs::{FOR_EVER, Found};
use super::resolve::{self, DAG_CBOR, unreadable};
use super::route::Ask;
use super::trustless::{described, native, unsatisfiable};
use super::{Body, Fetch, NotFetched, listing, media};

/// So many bytes tell what a file is.
const SNIFFED_BYTES: u64 = 512;
/// A page may show itself and do nothing: no script, no form, no request in our name.
const SANDBOX: &str = "sandbox";

/// Answers with what the path names.
pub(super) async fn answer(ask: &Ask, mut found: Found) -> Result<Response<Body>, Refusal> {
    let end = found.way.end();
    let mut fetch = None;
    if let Some(file) = found.blocks.file(&end) {
        return file_answer(ask, found, Leaves::File(file), None).await;
    }
    if found.blocks.fetches && found.blocks.length(&end).is_none() {
        match begin(&found.blocks, end).await {
            Ok(begun) => fetch = Some(begun),
            // Perhaps it is a directory: the block will tell.
            Err(NotBegun::NotAFile) => {}
            Err(other) => return Err(other.refusal()),
        }
        if let Some(file) = found.blocks.file(&end).filter(|_| fetch.is_some()) {
            return file_answer(ask, found, Leaves::File(file), fetch).await;
        }
    }
    let block = match end.codec() {
        cid::RAW if found.blocks.length(&end).is_some() => bytes::Bytes::new(),
        cid::RAW | cid::DAG_PB | DAG_CBOR => found.blocks.get(&end).await?,
        codec => {
            let message = format!("{end} has codec 0x{codec:x}: ask for it with format=raw");
            return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, message));
        }
    };
    match kind(&end, &block).map_err(|error| unreadable(&error))? {
        None => native(ask, found).await,
        Some(Kind::File | Kind::Raw) => {
            let layout = layout(&found.blocks, end).await?;
            let held: Arc<dyn super::Held> = Arc::clone(&found.blocks.gateway.backend.shelf);
            let leaves = Leaves::Blocks(held, Arc::new(layout));
            file_answer(ask, found, leaves, None).await
        }
        Some(Kind::Directory | Kind::HamtShard) => {
            if let Some(redirect) = to_slash(ask) {
                return Ok(redirect);
            }
            let index = ["index.html".to_owned()];
            match resolve::follow(&found.blocks, end, &index).await {
                Ok(way) => {
                    found.way.roots.push(way.end());
                    Box::pin(answer(ask, found)).await
                }
                Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
                    listing::answer(ask, &found).await.map(sandboxed)
                }
                Err(other) => Err(other),
            }
        }
        Some(Kind::Symlink) => {
            let node = dag_pb::decode(&block).map_err(|error| unreadable(&error))?;
            let data = unixfs::decode(node.data.unwrap_or_default());
            let target = data.map(|data| data.data.to_vec()).unwrap_or_default();
            let answer = answer::bytes(StatusCode::OK, "inode/symlink", target.into());
            Ok(sandboxed(answer))
        }
        Some(Kind::Metadata) => Err(Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("{end} is a metadata node: ask for it with format=raw"),
        )),
    }
}

/// Why no fetch began.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// What the CID names is something else.
    NotAFile,
    /// For another reason.
    Refused(Refusal),
}

impl NotBegun {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            NotBegun::NotAFile => Refusal::not_found(NotFetched::NotAFile),
            NotBegun::Refused(refusal) => refusal,
        }
    }
}

/// Begins to fetch a file, or joins the fetch.
pub(super) async fn begin(blocks: &Blocks, root: Cid) -> Result<Arc<dyn Fetch>, NotBegun> {
    let fetcher = blocks.gateway.backend.fetcher.as_ref();
    let Some(fetcher) = fetcher.filter(|_| blocks.fetches) else {
        return Err(NotBegun::Refused(blocks.not_here(&root)));
    };
    let wait = blocks.gateway.backend.options.retrieval_timeout;
    match tokio::time::timeout(wait, fetcher.file(root)).await {
        Ok(Ok(fetch)) => Ok(fetch),
        Ok(Err(NotFetched::NotAFile)) => Err(NotBegun::NotAFile),
        Ok(Err(why)) => Err(NotBegun::Refused(not_fetched(&root, &why))),
        Err(_) => Err(NotBegun::Refused(timed_out(&root))),
    }
}

/// What a block is; `None` for dag-cbor, which is nothing but itself.
fn kind(cid: &Cid, block: &[u8]) -> Result<Option<Kind>, Error> {
    match cid.codec() {
        cid::RAW => Ok(Some(Kind::Raw)),
        DAG_CBOR => Ok(None),
        _ => {
            let node = dag_pb::decode(block)?;
            Ok(Some(unixfs::decode(node.data.unwrap_or_default())?.kind))
        }
    }
}

/// The layout of a file that lies in single blocks.
async fn layout(blocks: &Blocks, root: Cid) -> Result<Layout, Refusal> {
    if root.codec() == cid::RAW {
        let length = blocks.length(&root).ok_or_else(|| blocks.not_here(&root))?;
        return Layout::single_leaf(root, length).map_err(|error| unreadable(&error));
    }
    let mut walk = Walk::new(root, walk::Limits::NONE).map_err(|error| unreadable(&error))?;
    loop {
        let wanted = walk.wants();
        if wanted.is_empty() {
            return walk.finish().map_err(|error| unreadable(&error));
        }
        for cid in wanted {
            let block = blocks.get(&cid).await?;
            walk.supply(&cid, &block)
                .map_err(|error| unreadable(&error))?;
        }
    }
}

async fn file_answer(
    ask: &Ask,
    found: Found,
    leaves: Leaves,
    mut fetch: Option<Arc<dyn Fetch>>,
) -> Result<Response<Body>, Refusal> {
    let (end, size) = (found.way.end(), leaves.layout().size());
    let etag = format!("\"{end}\"");
    if conditional::is_known(ask.header(header::IF_NONE_MATCH), &etag) {
        return Ok(lasting(answer::empty(StatusCode::NOT_MODIFIED), &etag));
    }
    let (range, if_range) = (ask.header(header::RANGE), ask.header(header::IF_RANGE));
    let (status, range) = match conditional::part(range, if_range, &etag, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => return Err(unsatisfiable(size)),
    };
    if fetch.is_none() && !leaves.covers(&range) {
        match begin(&found.blocks, *leaves.layout().root()).await {
            Ok(begun) => fetch = Some(begun),
            Err(_)
                if !found.blocks.fetches && !found.blocks.only_here && status != StatusCode::OK =>
            {
                let message = format!("these bytes of {end} are not here yet");
                return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message)
                    .with(header::CONTENT_RANGE, format!("bytes */{size}")));
            }
            Err(other) => return Err(other.refusal()),
        }
    }
    let held_name = match &leaves {
        Leaves::File(file) => file.name(),
        Leaves::Blocks(..) => String::new(),
    };
    let by_name = media::by_name(&file_name(ask, &held_name));
    let mut answer = answer::empty(status);
    let sniffed = match by_name {
        None if ask.head && status == StatusCode::OK => 0..size.min(SNIFFED_BYTES),
        _ if ask.head => 0..0,
        _ => range.clone(),
    };
    let mut pieces = Pieces::new(found.blocks, leaves, fetch, sniffed);
    let first = pieces.next().await?;
    let start = first
        .as_deref()
        .filter(|_| range.start == 0)
        .unwrap_or_default();
    let kind = by_name.unwrap_or_else(|| media::by_bytes(start));
    if !ask.head {
        let seat = found.seat;
        *answer.body_mut() = answer::seated(pieces.stream(first), seat);
    }
    put(&mut answer, header::CONTENT_TYPE, kind);
    described(&mut answer, &range, size);
    if ask.query.get("filename").is_some() || ask.query.get("download").is_some() {
        let name = file_name(ask, &held_name);
        put(
            &mut answer,
            header::CONTENT_DISPOSITION,
            disposition(ask, &name, false),
        );
    }
    Ok(lasting(answer, &etag))
}

fn lasting(mut answer: Response<Body>, etag: &str) -> Response<Body> {
    put(&mut answer, header::ETAG, etag);
    put(&mut answer, header::CACHE_CONTROL, FOR_EVER);
    sandboxed(answer)
}

fn sandboxed(mut answer: Response<Body>) -> Response<Body> {
    put(&mut answer, header::CONTENT_SECURITY_POLICY, SANDBOX);
    answer
}

/// 301 to the same with a slash at its end, so that what is relative in a directory leads into it.
fn to_slash(ask: &Ask) -> Option<Response<Body>> {
    if ask.path.ends_with('/') {
        return None;
    }
    let mut answer = answer::empty(StatusCode::MOVED_PERMANENTLY);
    let query = match ask.raw_query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    put(
        &mut answer,
        header::LOCATION,
        format!("{}/{query}", ask.path),
    );
    put(&mut answer, header::CONTENT_LENGTH, 0);
    Some(answer)
}

/// What the file is called: as the client says, as the path says, or as it is called here.
fn file_name(ask: &Ask, held: &str) -> String {
    // After `/ipfs/CID` or `/ipns/NAME`.
    let rest = ask.path.splitn(4, '/').nth(3).unwrap_or_default();
    let of_path = resolve::segments(rest).ok().and_then(|mut all| all.pop());
    let said = ask.query.get("filename").map(str::to_owned);
    said.or(of_path).unwrap_or_else(|| held.to_owned())
}

/// `Content-Disposition`: the client's `filename`, or this one; as an attachment if so wanted. Twice: once in ASCII, and once as it
/// is (RFC 6266).
pub(super) fn disposition(ask: &Ask, name: &str, attachment: bool) -> String {
    let name = ask.query.get("filename").unwrap_or(name);
    let download = ask.query.get("download") == Some("true");
    let how = if attachment || download {
        "attachment"
    } else {
        "inline"
    };
    let safe = |char: char| {
        let plain = char.is_ascii() && !char.is_ascii_control() && !"\"\\/".contains(char);
        if plain { char } else { '_' }
    };
    let ascii: String = name.chars().map(safe).collect();
    let encoded = byte_serialize(name.as_bytes()).collect::<String>();
    // A form writes a space as a plus sign, a header as %20.
    let encoded = encoded.replace('+', "%20");
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}
