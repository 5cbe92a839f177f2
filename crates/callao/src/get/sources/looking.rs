//! Looking beyond the places that are known: routers that know further ones; and saying which places are not asked.

use std::sync::Arc;

use callao_content::Cid;
use callao_fetch::answer::Waits;
use callao_fetch::netfilter::Scope;
use callao_fetch::routing::{Provider, Router, Wanted};
use callao_fetch::source::gateway::{Gateway, GatewayOptions};
use callao_fetch::source::{Source, SourceError, SourceKind};
use reqwest::Client;
use serde::Serialize;

use super::Places;
use crate::app::App;
use crate::cli::{Discovery, Kind};
use crate::error::CommandError;
use crate::get::plan::{Place, Want};

/// A router that is going to be asked who has a CID.
pub(crate) struct Search {
    router: Router,
    cid: Cid,
    client: Client,
    waits: Waits,
}

impl Search {
    /// Where the router is.
    pub(crate) fn place(&self) -> &str {
        self.router.place()
    }

    /// Asks it. Each gateway that it names is handed on as soon as it is known; answers with the number of peers.
    pub(crate) async fn run(
        self,
        found: &mut (dyn FnMut(Arc<dyn Source>) + Send),
    ) -> Result<usize, SourceError> {
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
        };
        let wanted = Wanted {
            gateways: true,
            bitswap: false,
        };
        let answered = self.router.providers(&self.cid, wanted, &mut give).await?;
        Ok(answered.providers)
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
        let Some(cid) = cid.filter(|_| !self.offline && self.allows(Kind::Gateway)) else {
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
                client: self.clients.routed()?,
                waits: self.waits,
            })
        };
        self.routers.iter().map(search).collect()
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
        for (kind, what, is_there) in self.kinds(want) {
            if is_there && !self.allows(kind) {
                not(what, "--only allows other kinds of source");
            } else if is_there && !has_cid && !matches!(kind, Kind::Http | Kind::File | Kind::Oci) {
                not(what, "the CID of the file is not known");
            }
        }
        match app.settings.discovery {
            Discovery::Public => {}
            Discovery::Lan => not("public gateways and routers", "discovery is `lan`"),
            Discovery::None => not(
                "public gateways and routers, a kubo on this computer",
                "discovery is `none`",
            ),
        }
        all
    }

    /// Which kinds of place there are for a file, as a user would call them.
    fn kinds(&self, want: &Want) -> [(Kind, &'static str, bool); 6] {
        let online = !self.offline;
        let in_registry = want
            .locations
            .iter()
            .any(|location| matches!(location.place, Place::Oci(_)));
        let reader = |wanted: SourceKind| self.readers.iter().any(|(kind, ..)| *kind == wanted);
        let has_gateways = !self.gateways.is_empty() || !self.routers.is_empty();
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
            (Kind::Car, "CAR files", reader(SourceKind::Car)),
            (Kind::File, "local files", !self.files.is_empty()),
            (Kind::Oci, "registries", online && in_registry),
        ]
    }
}
