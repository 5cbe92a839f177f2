//! Who has what, for `/routing/v1`: ourselves, and peers that the node knows or finds.

use std::sync::Arc;

use callao_content::Cid;
use futures::future::BoxFuture;

use super::World;
use crate::gateway::{Peer, Providers};

/// Asks the node.
#[derive(Debug)]
pub(super) struct Router(pub(super) Arc<World>);

impl Providers for Router {
    fn own(&self) -> Option<Peer> {
        let node = self.0.node.get()?;
        let (id, addresses) = (node.peer_id(), node.addresses());
        // Whose they are stands beside them.
        let ending = format!("/p2p/{id}");
        let bare = |address: String| address.trim_end_matches(&*ending).to_owned();
        Some(Peer {
            id,
            addrs: addresses.into_iter().map(bare).collect(),
            protocols: vec!["transport-bitswap".into()],
        })
    }

    fn providers(&self, cid: Cid) -> BoxFuture<'_, Vec<Peer>> {
        Box::pin(async move {
            match self.0.node.get() {
                Some(node) => node.providers(cid).await,
                None => Vec::new(),
            }
        })
    }

    fn peer(&self, id: String) -> BoxFuture<'_, Option<Peer>> {
        Box::pin(async move {
            let peers = self.0.node.get()?.peers();
            let known = peers.into_iter().find(|peer| peer.peer_id == id)?;
            Some(Peer {
                id: known.peer_id,
                addrs: vec![known.address],
                protocols: vec!["transport-bitswap".into()],
            })
        })
    }
}
