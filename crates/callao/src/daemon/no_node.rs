//! In the place of [`super::node`] where callao is built without peers: nobody is known, nothing is announced.

use std::sync::Arc;

use callao_content::Cid;
use callao_fetch::source::Source;
use callao_store::served::Served;
use tokio::sync::mpsc;

use super::status;
use crate::app::App;
use crate::error::CommandError;
use crate::gateway;
use crate::get::peers::Lent;

/// What the node is started with.
pub(super) struct Wish {
    pub(super) listen: Vec<String>,
    pub(super) peers: Vec<String>,
    pub(super) http: Vec<String>,
    pub(super) served: Option<Arc<dyn Served>>,
}

/// No node.
#[derive(Debug)]
pub(super) struct Node;

impl Node {
    #[expect(clippy::unused_async, reason = "a node needs time to start")]
    pub(super) async fn start(_: &App, wish: Wish) -> Result<Option<Self>, CommandError> {
        let asked: Vec<String> = wish.peers.into_iter().chain(wish.listen).collect();
        tracing::info!(?asked, http = ?wish.http, served = wish.served.is_some(), "built without peers");
        Ok(None)
    }

    pub(super) fn lend(&self) -> Option<Lent> {
        None
    }

    pub(super) fn peer_id(&self) -> String {
        String::new()
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn peers(&self) -> Vec<status::Peer> {
        Vec::new()
    }

    pub(super) fn totals(&self) -> status::Totals {
        status::Totals::default()
    }

    #[expect(clippy::unused_async, reason = "as that of a node")]
    pub(super) async fn provide(&self, _: Vec<Cid>) {}

    #[expect(clippy::unused_async, reason = "as that of a node")]
    pub(super) async fn providers(&self, _: Cid) -> Vec<gateway::Peer> {
        Vec::new()
    }

    pub(super) fn holders(&self, _: Cid) -> mpsc::Receiver<Arc<dyn Source>> {
        mpsc::channel(1).1
    }

    pub(super) fn offer(&self) {}

    #[expect(clippy::unused_async, reason = "as that of a node")]
    pub(super) async fn shutdown(self) {}
}
