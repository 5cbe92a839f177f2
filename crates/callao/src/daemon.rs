//! `callao serve`: what lies in the cache is given to others from where it lies. Here its parts are put together, started
//! in order, and ended in order; each of them knows as little of the others as can be.
//!
//! `state` is the place of the only daemon, `node` speaks bitswap, [`crate::gateway`] HTTP, `keeper` looks what is in
//! the cache, `fetch` gets what is not, `pages` tells what goes on (`status`, `metrics`).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use callao_store::served::Served;
use callao_store::shelf::{Policy, Shelf};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::app::App;
use crate::cli::Discovery;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::gateway::{Backend, BindError, Counters, Options, Server};
use crate::host;
use crate::output::{Output, json};

pub(crate) mod ask;
mod fetch;
mod fetches;
mod keeper;
#[cfg(feature = "p2p")]
mod key;
mod kubo;
mod listen;
mod log;
mod metrics;
mod names;
#[cfg_attr(not(feature = "p2p"), path = "daemon/no_node.rs")]
mod node;
mod pages;
mod rate;
mod rates;
pub(crate) mod report;
mod router;
pub(crate) mod state;
pub mod status;
mod told;

use node::Node;
use state::{Place, Running};

/// Threads: one may hash while the other answers.
const THREADS_COUNT: usize = 2;
/// Threads that read files; each may hold a leaf.
const READERS_COUNT_MAX: usize = 16;
/// How long a reading thread without work stays.
const READER_IDLE: Duration = Duration::from_secs(5);
/// How long threads that still read may take at the end.
const END_MAX: Duration = Duration::from_secs(2);
const TOKEN_BYTES: usize = 16;

/// What flags and settings say.
pub(crate) struct Wish {
    /// For this computer.
    pub(crate) gateway: SocketAddr,
    /// For the local network.
    pub(crate) lan: Option<SocketAddr>,
    /// Multiaddrs.
    pub(crate) listen: Vec<String>,
    /// Multiaddrs of peers to be connected to always.
    pub(crate) peers: Vec<String>,
}

/// What the parts share.
struct World {
    app: Arc<App>,
    shelf: Arc<Shelf>,
    counters: Arc<Counters>,
    fetches: Arc<fetches::Fetches>,
    rates: rates::Rates,
    /// What a callao of the same user proves itself by.
    token: String,
    begun: Instant,
    /// Known once it listens.
    gateway: OnceLock<String>,
    lan: OnceLock<String>,
    node: OnceLock<Node>,
    /// Wakes whoever looks what is in the cache.
    look: tokio::sync::Notify,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// Serves until a signal comes. `output` is where the first line goes.
///
/// # Errors
/// Locked: another daemon runs. Network: a port is in use. Usage and disk.
pub(crate) fn run(app: Arc<App>, output: &Output, wish: Wish) -> Result<(), CommandError> {
    check_sockets(&app)?;
    let place = Place::take(&app.host)?;
    let _guard = app.interrupt.guard();
    log::begin(output.style());
    let runtime = runtime()?;
    let served = runtime.block_on(serve(app, output, &place, wish));
    runtime.shutdown_timeout(END_MAX);
    let left = place.leave();
    served.and(left)
}

/// Without sockets there is nothing to serve by.
///
/// # Errors
/// Usage.
pub(crate) fn check_sockets(app: &App) -> Result<(), CommandError> {
    if app.settings.offline {
        return Err(CommandError::usage(
            "`offline` in the settings (or $CALLAO_OFFLINE) allows no socket at all",
        ));
    }
    Ok(())
}

fn runtime() -> Result<Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS_COUNT)
        .max_blocking_threads(READERS_COUNT_MAX)
        .thread_keep_alive(READER_IDLE)
        .thread_name("serve")
        .enable_all()
        .build();
    runtime.map_err(|error| {
        CommandError::new(
            ExitCode::Unexpected,
            format!("failed to start threads: {error}"),
        )
    })
}

async fn serve(
    app: Arc<App>,
    output: &Output,
    place: &Place,
    wish: Wish,
) -> Result<(), CommandError> {
    let stop = app.interrupt.token().clone();
    let world = Arc::new(World::new(app)?);
    let (server, lan) = bind(&world, &wish)?;
    let mut tasks = JoinSet::new();
    // What is here can be had from the first moment on.
    let keeper = keeper::Keeper::begin(Arc::clone(&world)).await;
    start_node(&world, wish, lan).await?;
    tell(&world, output, place)?;
    tasks.spawn(server.run(stop.clone()));
    tasks.spawn(keeper.run(stop.clone()));
    if let Some(herald) = kubo::Herald::new(&world)? {
        tasks.spawn(herald.run(stop.clone()));
    }
    tracing::info!(gateway = world.gateway(), peer = world.peer_id(), "ready");
    stop.cancelled().await;
    tracing::info!("stopping");
    while tasks.join_next().await.is_some() {}
    world.fetches.ended().await;
    if let Some(node) = Arc::into_inner(world).and_then(|world| world.node.into_inner()) {
        node.shutdown().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Listens for HTTP; says at which address for the local network.
fn bind(world: &Arc<World>, wish: &Wish) -> Result<(Server, Option<SocketAddr>), CommandError> {
    let serve = &world.app.settings.serve;
    let lan = wish.lan.filter(|_| serve.enabled);
    let addresses: Vec<SocketAddr> = std::iter::once(wish.gateway).chain(lan).collect();
    let fetcher = fetch::Fetcher::new(Arc::downgrade(world));
    let rate = serve.upload_rate_max.map(rate::Line::new);
    let backend = Backend {
        shelf: Arc::clone(&world.shelf) as _,
        fetcher: Some(Arc::new(fetcher)),
        router: Some(Arc::new(router::Router(Arc::clone(world)))),
        names: Some(Arc::new(names::All::new(&world.app))),
        pages: Some(Arc::new(pages::All::new(world)?)),
        rate: rate.map(|line| Arc::new(line) as _),
        counters: Arc::clone(&world.counters),
        options: Options {
            lan_answers_max: serve.upload_slots,
            ..Options::default()
        },
    };
    let server = Server::bind(&addresses, Arc::new(backend)).map_err(not_bound)?;
    let mut bound = server.addresses().into_iter();
    let url = |address: SocketAddr| format!("http://{address}");
    let gateway = bound.next().unwrap_or(wish.gateway);
    world.gateway.get_or_init(|| url(gateway));
    let lan = lan.and_then(|wanted| bound.next().or(Some(wanted)));
    if let Some(address) = lan {
        world.lan.get_or_init(|| url(address));
    }
    Ok((server, lan))
}

async fn start_node(
    world: &World,
    wish: Wish,
    lan: Option<SocketAddr>,
) -> Result<(), CommandError> {
    let enabled = world.app.settings.serve.enabled;
    let wanted = wish.listen.clone();
    let wish = node::Wish {
        listen: wish.listen,
        peers: wish.peers,
        http: lan.map(listen::http).into_iter().collect(),
        served: enabled.then(|| Arc::clone(&world.shelf) as Arc<dyn Served>),
    };
    if let Some(node) = Node::start(&world.app, wish).await? {
        if listen::is_alone(&wanted, &node.addresses()) {
            tracing::warn!(
                "this computer has no address on any network: no peer finds it until it has one"
            );
        }
        world.node.get_or_init(|| node);
        if enabled {
            world.announce().await;
        }
    }
    Ok(())
}

/// Says where the daemon is: to other callaos, and on stdout.
fn tell(world: &World, output: &Output, place: &Place) -> Result<(), CommandError> {
    let (gateway, peer_id, addresses) = (world.gateway(), world.peer_id(), world.addresses());
    let cache_dir = world.app.settings.cache_dir.clone();
    let mut running = Running::new(gateway.clone(), world.token.clone(), cache_dir);
    running.peer_id.clone_from(&peer_id);
    running.addresses.clone_from(&addresses);
    running.lan = world.lan.get().cloned();
    place.tell(&running)?;
    let lan = world.lan.get().map(String::as_str);
    output.json(&json::Ready {
        kind: "ready",
        peer_id: peer_id.as_deref(),
        addresses: &addresses,
        gateway: &gateway,
        lan,
    });
    output.result(format!("Gateway and dashboard: {gateway}/"));
    if let Some(lan) = lan {
        output.result(format!("For the local network: {lan}/"));
    }
    if let Some(id) = peer_id {
        output.result(format!("Peer: {id}"));
    }
    for address in addresses {
        output.result(format!("  {address}"));
    }
    Ok(())
}

impl World {
    fn new(app: Arc<App>) -> Result<Self, CommandError> {
        let policy = Policy {
            private_origins: app.settings.serve.private_origins,
            nothing: false,
        };
        let shelf = Shelf::new(Arc::clone(&app.disk), app.places.clone(), policy);
        let token: [u8; TOKEN_BYTES] = host::random_bytes().map_err(|error| {
            CommandError::new(ExitCode::Unexpected, format!("no random numbers: {error}"))
        })?;
        Ok(World {
            app,
            shelf: Arc::new(shelf),
            counters: Arc::default(),
            fetches: Arc::default(),
            rates: rates::Rates::default(),
            token: multibase::Base::Base16Lower.encode(token),
            begun: Instant::now(),
            gateway: OnceLock::new(),
            lan: OnceLock::new(),
            node: OnceLock::new(),
            look: tokio::sync::Notify::new(),
        })
    }

    fn gateway(&self) -> String {
        self.gateway.get().cloned().unwrap_or_default()
    }

    fn peer_id(&self) -> Option<String> {
        self.node.get().map(Node::peer_id)
    }

    fn addresses(&self) -> Vec<String> {
        self.node.get().map(Node::addresses).unwrap_or_default()
    }
}

fn not_bound(error: BindError) -> CommandError {
    let failed = CommandError::new(ExitCode::Network, error.to_string());
    match error.source.kind() {
        std::io::ErrorKind::AddrInUse => failed.hint(
            "another program has this port: name another one with --gateway or --lan (port 0: any), or in the \
             settings (serve.gateway, serve.lan)",
        ),
        _ => failed.hint("name an address of this computer (--gateway, --lan)"),
    }
}

/// Where peers are listened to, if the flags say nothing.
pub(crate) fn listen_by_settings(app: &App) -> Vec<String> {
    let wanted = app.settings.serve.listen.iter();
    let here_alone = app.settings.discovery == Discovery::None;
    wanted
        .filter(|address| listen::is_possible(address))
        .map(|address| match here_alone {
            true => listen::on_loopback(address),
            false => address.clone(),
        })
        .collect()
}
