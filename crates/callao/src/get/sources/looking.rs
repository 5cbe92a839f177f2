//! Looking beyond the places that are known: routers that know further ones; and saying which places are not asked.

use std::sync::Arc;

use callao_content::Cid;
use callao_fetch::answer::Waits;
use callao_fetch::netfilter::Scope;
use callao_fetch::routing::{Answered, Provider, Router, Wanted};
use callao_fetch::source::gateway::{Gateway, GatewayOptions};
use callao_fetch::source::{Source, SourceError, SourceKind};
use reqwest::Client;
use serde::Serialize;

use super::Places;
use crate::app::App;
use crate::cli::{Discovery, Kind};
use crate::error::CommandError;
use crate::get::peers::Told;
use crate::get::plan::{Place, Want};

/// A router that is going to be asked who has a CID.
pub(crate) struct Search {
    router: Router,
    cid: Cid,
    wanted: Wanted,
    client: Client,
    waits: Waits,
}

impl Search {
    /// Where the router is.
    pub(crate) fn place(&self) -> &str {
        self.router.place()
    }

    /// Asks it. Each gateway that it names is handed on as soon as it is known, and so is each peer.
    pub(crate) async fn run(
        self,
        found: &mut (dyn FnMut(Arc<dyn Source>) + Send),
        told: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Answered, SourceError> {
        let mut give = |provider: Provider| {
            for url in provider.gateways {
                let options = GatewayOptions {
                    waits: self.waits,
                    ..GatewayOptions::default()
                };
                found(Arc::new(Gateway::new(
                    self.client.clone(),
                    url,
                    self.cid,
                    options,
                )));
            }
            if !provider.addresses.is_empty() {
                told(Told {
                    peer: provider.peer,
                    addresses: provider.addresses,
                });
            }
        };
        self.router
            .providers(&self.cid, self.wanted, &mut give)
            .await
    }
}

/// Places that are not asked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unasked {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Places {
    /// The routers that may be asked who has `cid`.
    pub(crate) fn searches(&self, cid: Option<Cid>) -> Result<Vec<Search>, CommandError> {
        let wanted = Wanted {
            gateways: self.allows(Kind::Gateway),
            bitswap: self.peers.wish().strangers,
        };
        let is_wanted = !self.offline && (wanted.gateways || wanted.bitswap);
        let Some(cid) = cid.filter(|_| is_wanted) else {
            return Ok(Vec::new());
        };
        let search = |base: &url::Url| {
            Ok(Search {
                router: Router::new(
                    self.clients.blocks()?,
                    base.clone(),
                    self.waits,
                    Scope::Public,
                ),
                cid,
                wanted,
                client: self.clients.routed()?,
                waits: self.waits,
            })
        };
        self.routers
            .iter()
            .chain(self.kubo_routers())
            .map(search)
            .collect()
    }

    /// A kubo serves delegated routing at its gateway: what it knows of the public network is asked there.
    fn kubo_routers(&self) -> impl Iterator<Item = &url::Url> {
        let gateways = self
            .kubos
            .iter()
            .filter_map(|daemon| daemon.gateway.as_ref());
        gateways.filter(|_| self.peers.wish().strangers)
    }

    /// What is not asked for a file, though it might have it.
    pub(crate) fn unasked(&self, app: &App, want: &Want, has_cid: bool) -> Vec<Unasked> {
        let mut all = Vec::new();
        let mut not = |what: &str, why: &str| {
            all.push(Unasked {
                what: what.into(),
                why: why.into(),
            });
        };
        for location in &want.locations {
            if let Place::Other(scheme) = &location.place {
                not(&location.text, &format!("{scheme}:// cannot be fetched"));
            }
        }
        if self.offline {
            not(
                "everything but local files",
                "offline: no socket may be opened",
            );
        }
        for (kind, what, is_there) in self.kinds(app, want) {
            if is_there && !self.allows(kind) {
                not(what, "--only allows other kinds of source");
            } else if is_there
                && !has_cid
                && !matches!(kind, Kind::Http | Kind::File | Kind::Oci | Kind::Lan)
            {
                not(what, "the CID of the file is not known");
            }
        }
        match app.settings.discovery {
            Discovery::Public => {}
            Discovery::Lan => not("public gateways, routers and peers", "discovery is `lan`"),
            Discovery::None => not(
                "public gateways, routers and peers, the local network, a kubo on this computer",
                "discovery is `none`",
            ),
        }
        all
    }

    /// Which kinds of place there are for a file, as a user would call them.
    fn kinds(&self, app: &App, want: &Want) -> [(Kind, &'static str, bool); 8] {
        let online = !self.offline;
        let in_registry = want
            .locations
            .iter()
            .any(|location| matches!(location.place, Place::Oci(_)));
        let reader = |wanted: SourceKind| self.readers.iter().any(|(kind, ..)| *kind == wanted);
        let has_gateways = !self.gateways.is_empty() || !self.routers.is_empty();
        let has_peers = online && self.has_peers;
        let has_kubo = (online && !self.kubos.is_empty()) || reader(SourceKind::KuboRepo);
        [
            (
                Kind::Http,
                "URLs",
                online && !self.plain_urls(want).is_empty(),
            ),
            (
                Kind::Gateway,
                "gateways and routers",
                online && has_gateways,
            ),
            (Kind::Kubo, "kubo", has_kubo),
            (
                Kind::Car,
                "CAR files",
                reader(SourceKind::Car) || !self.registered(app).is_empty(),
            ),
            (Kind::File, "local files", !self.files.is_empty()),
            (Kind::Oci, "registries", online && in_registry),
            (Kind::Bitswap, "peers by bitswap", has_peers),
            (Kind::Lan, "callaos on the local network", has_peers),
        ]
    }
}
