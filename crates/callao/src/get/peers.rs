//! Peers of a fetch: whether there is anybody to look for, and the node of this process that looks ([`node`], left out of
//! programs without the feature `p2p`). The node is started by the first file that somebody has to be asked for, in
//! threads of its own, and ends with the command. Must not know what is done with the sources that it hands over.

use std::sync::Arc;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_fetch::answer::Waits;
use callao_fetch::source::Source;
use reqwest::Client;
use tokio::sync::mpsc;

use crate::cli::{Discovery, Kind};
use crate::error::CommandError;
use crate::output::Output;
use crate::settings::Settings;

#[cfg(feature = "p2p")]
mod node;
#[cfg(feature = "p2p")]
mod unreachable;

/// Peers named by routers that wait to be dialled; further ones are dropped.
const TOLD_COUNT_MAX: usize = 64;

/// What a file is looked for by. At least one of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) root: Option<Cid>,
    pub(crate) digest: Option<Digest>,
}

/// Who may be looked for. Pure: decided by flags and settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `--peer` and `peers.connect`: asked wherever they are.
    pub(crate) named: Vec<String>,
    /// Peers on the local network.
    pub(crate) mdns: bool,
    /// Where the public DHT begins; empty: it is not asked.
    pub(crate) bootstrap: Vec<String>,
    /// Peers that routers name.
    pub(crate) strangers: bool,
    /// May be asked by bitswap.
    pub(crate) bitswap: bool,
    /// May be asked by HTTP, if they are callaos.
    pub(crate) lan: bool,
}

impl Wish {
    /// `named` is `--peer`, `allows` what `--only` does.
    pub(crate) fn of(settings: &Settings, named: &[String], allows: impl Fn(Kind) -> bool) -> Wish {
        let (bitswap, lan) = (allows(Kind::Bitswap), allows(Kind::Lan));
        if settings.offline || !cfg!(feature = "p2p") || !(bitswap || lan) {
            return Wish::default();
        }
        let is_public = settings.discovery == Discovery::Public && bitswap;
        let peers = &settings.peers;
        Wish {
            named: named.iter().chain(&peers.connect).cloned().collect(),
            mdns: peers.mdns && settings.discovery != Discovery::None,
            bootstrap: match is_public {
                true => peers.bootstrap.clone(),
                false => Vec::new(),
            },
            strangers: is_public,
            bitswap,
            lan,
        }
    }

    /// Whether there is anybody to look for.
    pub(crate) fn is_something(&self) -> bool {
        self.is_at_once() || self.strangers
    }

    /// Whether there is somebody to look for before a router has named anybody.
    pub(crate) fn is_at_once(&self) -> bool {
        !self.named.is_empty() || self.mdns || !self.bootstrap.is_empty()
    }
}

/// A peer that a router named.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "p2p"),
    expect(dead_code, reason = "only a node reads them")
)]
pub(crate) struct Told {
    pub(crate) peer: String,
    pub(crate) addresses: Vec<String>,
}

/// A node that runs already, lent for the time of a command.
#[cfg(feature = "p2p")]
#[derive(Clone)]
pub(crate) struct Lent {
    pub(crate) node: Arc<callao_p2p::Node>,
    /// Where its tasks run.
    pub(crate) runtime: tokio::runtime::Handle,
    /// It connects to peers that the user has named, and is perhaps about to.
    pub(crate) has_named: bool,
}

/// Nobody has any.
#[cfg(not(feature = "p2p"))]
pub(crate) enum Lent {}

/// What a search for peers works with, besides the node.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "p2p"),
    expect(dead_code, reason = "only a node reads them")
)]
pub(crate) struct Around {
    pub(crate) output: Arc<Output>,
    /// For callaos on the local network.
    pub(crate) client: Client,
    pub(crate) waits: Waits,
    /// The peer that has nothing but what is here already.
    pub(crate) ourselves: Option<String>,
}

/// The peers of one command.
pub(crate) struct Peers {
    wish: Wish,
    #[cfg(feature = "p2p")]
    node: node::Shared,
}

impl Peers {
    /// Checks the addresses. Starts nothing.
    ///
    /// # Errors
    /// Usage: an address that is none.
    pub(crate) fn new(wish: Wish, flags: &[String]) -> Result<Self, CommandError> {
        for text in flags {
            check("--peer", text)?;
        }
        for text in &wish.named {
            check("peers.connect in the settings", text)?;
        }
        for text in &wish.bootstrap {
            check("peers.bootstrap in the settings", text)?;
        }
        Ok(Peers {
            #[cfg(feature = "p2p")]
            node: node::Shared::new(&wish),
            wish,
        })
    }

    /// From now on this node looks, and none is started. It must run until this is dropped, which must not happen inside
    /// of its runtime.
    #[cfg(feature = "p2p")]
    pub(crate) fn borrow(&mut self, lent: Lent) {
        // It sees to it itself that it is connected to them.
        self.wish.named.clear();
        self.node.borrow(lent);
    }

    #[cfg(not(feature = "p2p"))]
    pub(crate) fn borrow(&mut self, lent: Lent) {
        match lent {}
    }

    /// Who may be looked for.
    pub(crate) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Whether there is anybody who could have a file with these names.
    pub(crate) fn may_find(&self, names: Names) -> bool {
        // A CID, or a digest that callaos on the local network may know.
        let is_askable = names.root.is_some() || (names.digest.is_some() && self.wish.lan);
        is_askable && (self.wish.is_something() || self.has_acquaintances())
    }

    /// Whether the node that was lent has, or soon will have, somebody to ask.
    #[cfg(feature = "p2p")]
    fn has_acquaintances(&self) -> bool {
        self.node.has_acquaintances()
    }

    #[cfg(not(feature = "p2p"))]
    fn has_acquaintances(&self) -> bool {
        false
    }

    /// Looks for peers that have the file; those that do come through `found`. It ends when nobody is left to look for,
    /// or when `found` is closed. Peers that routers name are to be sent to the channel that is given back. `None`: there
    /// is nobody to look for.
    ///
    /// # Errors
    /// The system refuses the threads.
    pub(crate) fn search(
        &self,
        around: impl FnOnce() -> Result<Around, CommandError>,
        names: Names,
        found: mpsc::Sender<Arc<dyn Source>>,
    ) -> Result<Option<mpsc::Sender<Told>>, CommandError> {
        if !self.may_find(names) {
            return Ok(None);
        }
        let (tell, told) = mpsc::channel(TOLD_COUNT_MAX);
        self.spawn(around()?, names, told, found)?;
        Ok(Some(tell))
    }

    #[cfg(feature = "p2p")]
    fn spawn(
        &self,
        around: Around,
        names: Names,
        told: mpsc::Receiver<Told>,
        found: mpsc::Sender<Arc<dyn Source>>,
    ) -> Result<(), CommandError> {
        self.node
            .search(self.wish.clone(), around, names, told, found)
    }

    #[cfg(not(feature = "p2p"))]
    fn spawn(
        &self,
        _: Around,
        _: Names,
        _: mpsc::Receiver<Told>,
        _: mpsc::Sender<Arc<dyn Source>>,
    ) -> Result<(), CommandError> {
        // Nothing is wished for without the feature.
        Ok(())
    }
}

#[cfg(feature = "p2p")]
fn check(what: &str, text: &str) -> Result<(), CommandError> {
    callao_p2p::check_address(text).map_err(|error| {
        CommandError::usage(format!("{what}: {error}")).hint(
            "a peer is named by a multiaddr, such as /ip4/192.168.1.7/tcp/4001/p2p/12D3Koo...",
        )
    })
}

#[cfg(not(feature = "p2p"))]
fn check(what: &str, text: &str) -> Result<(), CommandError> {
    Err(CommandError::usage(format!(
        "{what}: `{text}`: this callao was built without peers (feature `p2p`)"
    )))
}

#[cfg(all(test, feature = "p2p"))]
mod tests {
    use super::*;
    use crate::cli::Common;
    use crate::host::Host;
    use crate::settings::Overrides;

    const ALL: fn(Kind) -> bool = |_| true;

    fn settings(discovery: Discovery, offline: bool) -> Settings {
        let overrides = Overrides {
            discovery: Some(discovery),
            offline,
            ..Overrides::default()
        };
        let host = Host::with_variables([("HOME", "/nowhere")]);
        Settings::resolve(&host, &Common::default(), &overrides).expect("defaults")
    }

    #[test]
    fn discovery_decides_who_is_looked_for() {
        let wish = |discovery| Wish::of(&settings(discovery, false), &[], ALL);
        let (public, lan, none) = (
            wish(Discovery::Public),
            wish(Discovery::Lan),
            wish(Discovery::None),
        );
        assert!(public.mdns && public.strangers && !public.bootstrap.is_empty());
        assert!(lan.mdns && !lan.strangers && lan.bootstrap.is_empty());
        assert!(!none.is_something());
        let offline = Wish::of(&settings(Discovery::Public, true), &["/x".into()], ALL);
        assert_eq!(offline, Wish::default());
    }

    #[test]
    fn named_peers_are_asked_whatever_the_discovery() {
        let mut settings = settings(Discovery::None, false);
        settings.peers.connect = vec!["/b".into()];
        let wish = Wish::of(&settings, &["/a".into()], ALL);
        assert_eq!(wish.named, ["/a", "/b"]);
        assert!(wish.is_at_once() && !wish.mdns && !wish.strangers);
    }

    #[test]
    fn only_decides_as_well() {
        let public = settings(Discovery::Public, false);
        let lan = Wish::of(&public, &[], |kind| kind == Kind::Lan);
        assert!(lan.mdns && lan.bootstrap.is_empty() && !lan.bitswap && !lan.strangers);
        let bitswap = Wish::of(&public, &[], |kind| kind == Kind::Bitswap);
        assert!(bitswap.mdns && !bitswap.bootstrap.is_empty() && !bitswap.lan);
        let neither = Wish::of(&public, &["/a".into()], |kind| kind == Kind::Http);
        assert!(!neither.is_something());
    }
}
