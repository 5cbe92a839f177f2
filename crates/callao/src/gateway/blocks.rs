//! Blocks for one request: from what is held, and from others if this client may have that. Knows no format.

use std::sync::Arc;

use bytes::Bytes;
use callao_content::cid::{self, Cid, Version};
use hyper::StatusCode;

use super::answer::Refusal;
use super::server::Gateway;
use super::{HeldFile, NotFetched};

/// Where the blocks of one request come from.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    pub(super) gateway: Arc<Gateway>,
    /// Whether what is not here is fetched.
    pub(super) fetches: bool,
    /// Whether the client asked for what is here alone (`Cache-Control: only-if-cached`).
    pub(super) only_here: bool,
    /// Whether the client is on this computer.
    pub(super) local: bool,
}

impl Blocks {
    /// Bytes of the block, if it is here.
    pub(super) fn length(&self, cid: &Cid) -> Option<u32> {
        if cid.hash().code() == cid::IDENTITY {
            return u32::try_from(cid.hash().digest().len()).ok();
        }
        self.gateway.backend.shelf.length(cid)
    }

    /// The block, from here or from others.
    pub(super) async fn get(&self, cid: &Cid) -> Result<Bytes, Refusal> {
        if cid.hash().code() == cid::IDENTITY {
            return Ok(Bytes::copy_from_slice(cid.hash().digest()));
        }
        if let Some(block) = self.here(cid).await {
            return Ok(block);
        }
        self.fetch(cid).await
    }

    /// The block from others.
    pub(super) async fn fetch(&self, cid: &Cid) -> Result<Bytes, Refusal> {
        let fetcher = self.gateway.backend.fetcher.as_ref();
        let Some(fetcher) = fetcher.filter(|_| self.fetches) else {
            return Err(self.not_here(cid));
        };
        let wait = self.gateway.backend.options.retrieval_timeout;
        match tokio::time::timeout(wait, fetcher.block(*cid)).await {
            Ok(Ok(block)) => Ok(block),
            Ok(Err(why)) => Err(not_fetched(cid, &why)),
            Err(_) => Err(timed_out(cid)),
        }
    }

    /// A file that is held under this root, in either version of its CID.
    pub(super) fn file(&self, root: &Cid) -> Option<Arc<dyn HeldFile>> {
        let shelf = &self.gateway.backend.shelf;
        shelf
            .file(root)
            .or_else(|| other_version(root).and_then(|other| shelf.file(&other)))
    }

    /// What it means that something is not here, and is not fetched.
    pub(super) fn not_here(&self, cid: &Cid) -> Refusal {
        let status = if self.only_here {
            StatusCode::PRECONDITION_FAILED
        } else {
            StatusCode::NOT_FOUND
        };
        Refusal::new(status, format!("{cid} is not here"))
    }

    async fn here(&self, cid: &Cid) -> Option<Bytes> {
        let length = self.gateway.backend.shelf.length(cid)?;
        let mut lease = self
            .gateway
            .buffers
            .lease(length as usize, self.local)
            .await;
        let (shelf, cid) = (Arc::clone(&self.gateway.backend.shelf), *cid);
        let read = tokio::task::spawn_blocking(move || {
            let good = shelf.read(&cid, &mut lease.bytes);
            good.then(|| lease.into_bytes())
        });
        read.await.ok().flatten()
    }
}

/// 504, with the reason.
pub(super) fn not_fetched(cid: &Cid, why: &NotFetched) -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, format!("{cid}: {why}"))
}

/// 504.
pub(super) fn timed_out(cid: &Cid) -> Refusal {
    let message = format!("{cid}: it is not here, and nobody sent it in time");
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, message)
}

/// The same dag-pb block in the other version of CIDs.
fn other_version(root: &Cid) -> Option<Cid> {
    match root.version() {
        Version::V0 => Some(Cid::new_v1(root.codec(), *root.hash())),
        Version::V1 if root.codec() == cid::DAG_PB => Cid::new_v0(*root.hash()).ok(),
        Version::V1 => None,
    }
}
