//! The one task that owns the swarm: takes commands and events one after the other, and writes down who is connected.
//! Nothing heavy happens here: blocks never pass through it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, ping};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Addresses, Command};
use crate::address;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::bitswap::hub::Hub;
use crate::discovery::{By, Discovery, Found, Heard, dht};
use crate::error::Error;
use crate::limits::{
    ADDRESSES_PER_PEER_COUNT_MAX, IDLE_TIMEOUT, LISTEN_PAUSE, LISTEN_TIMEOUT,
    NEGOTIATING_STREAMS_COUNT_MAX, PING_TIMEOUT, REDIAL_INTERVAL, TICK_INTERVAL,
};
use crate::options::{NodeOptions, Scope};
use crate::peers::{Book, Said};
use crate::transport::{self, Named};

pub(super) struct Actor {
    swarm: Swarm<Behaviour>,
    book: Arc<Book>,
    hub: Arc<Hub>,
    addresses: Arc<Addresses>,
    named: Named,
    scope: Scope,
    /// Peers that the user named.
    wanted: Vec<(Multiaddr, Option<PeerId>)>,
    dials: HashMap<ConnectionId, oneshot::Sender<Result<PeerId, String>>>,
    /// Names that are being looked up.
    lookups: FuturesUnordered<BoxFuture<'static, (Wanted, Vec<IpAddr>)>>,
    discovery: Discovery,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
}

impl Actor {
    pub(super) fn new(
        options: &NodeOptions,
        (book, addresses, hub): (Arc<Book>, Arc<Addresses>, Arc<Hub>),
        commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let wanted = options.peers.iter().map(|text| address::parse(text));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        let named = Named::default();
        let transport = transport::build(options.key.pair(), options.scope, named.clone())?;
        let config = swarm::Config::with_tokio_executor()
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_COUNT_MAX)
            .with_idle_connection_timeout(IDLE_TIMEOUT);
        let peer = options.key.pair().public().to_peer_id();
        let behaviour = Behaviour::new(options, Arc::clone(&hub))?;
        let mut swarm = Swarm::new(transport, behaviour, peer, config);
        let bootstrap = dht::bootstrap(options)?;
        // Settings name them, so they may be anywhere.
        bootstrap.iter().for_each(|(_, address)| named.add(address));
        for text in &options.http {
            let (address, _) = address::parse(text)?;
            swarm.add_external_address(address);
        }
        Ok(Actor {
            swarm,
            book,
            hub,
            addresses,
            named,
            scope: options.scope,
            wanted,
            dials: HashMap::new(),
            lookups: FuturesUnordered::new(),
            discovery: Discovery::new(bootstrap),
            commands,
            stop,
        })
    }

    /// Listens on all of `wanted`, and waits until each has told an address.
    pub(super) async fn listen(&mut self, wanted: &[String]) -> Result<(), Error> {
        let mut silent: HashMap<ListenerId, String> = HashMap::new();
        for text in wanted {
            let (address, _) = address::parse(text)?;
            let refuse = |reason: String| Error::Listen {
                address: text.clone(),
                reason,
            };
            is_free(&address)
                .await
                .map_err(|error| refuse(reason_of(&error)))?;
            let listener = self
                .swarm
                .listen_on(address)
                .map_err(|error| refuse(transport_reason(&error)))?;
            silent.insert(listener, text.clone());
        }
        let deadline = tokio::time::Instant::now() + LISTEN_TIMEOUT;
        while !silent.is_empty() {
            let event = tokio::select! {
                event = self.swarm.select_next_some() => event,
                // An interface without an address (yet) tells none; it will when it gets one.
                () = tokio::time::sleep_until(deadline) => break,
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    silent.remove(listener_id);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } => {
                    if let (Some(address), Err(error)) = (silent.remove(listener_id), reason) {
                        let reason = error.to_string();
                        return Err(Error::Listen { address, reason });
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        if !wanted.is_empty() {
            self.hear_addresses(deadline).await;
        }
        Ok(())
    }

    /// Listeners on all interfaces have told their first address, which may be that of loopback: hears the others.
    async fn hear_addresses(&mut self, deadline: tokio::time::Instant) {
        let mut pause = tokio::time::Instant::now() + LISTEN_PAUSE;
        while let Ok(event) =
            tokio::time::timeout_at(pause.min(deadline), self.swarm.select_next_some()).await
        {
            if matches!(event, SwarmEvent::NewListenAddr { .. }) {
                pause = tokio::time::Instant::now() + LISTEN_PAUSE;
            }
            self.on_event(event);
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut redial = tokio::time::interval(REDIAL_INTERVAL);
        redial.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
                Some((wanted, ips)) = self.lookups.next() => self.dial(wanted, ips),
                _ = redial.tick() => {
                    self.redial();
                    self.discovery.tick(self.swarm.behaviour_mut());
                }
                _ = tick.tick() => self.hub.tick(),
            }
        }
        self.close().await;
    }

    /// Says goodbye: a connection that is just dropped makes the other side wait.
    async fn close(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that it is gone already.
            self.swarm.disconnect_peer_id(peer).unwrap_or(());
        }
        while self.swarm.connected_peers().next().is_some() {
            let event = self.swarm.select_next_some().await;
            self.on_event(event);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect {
                address,
                peer,
                answer,
            } => self.connect(Wanted {
                address,
                peer,
                answer: Some(answer),
            }),
            Command::Found { peer, addresses } if addresses.is_empty() => self.dial_by_record(peer),
            Command::Found { peer, addresses } => {
                self.dial_found(peer, &addresses, self.scope);
            }
            Command::Ban { peer } => self.ban(peer),
            // An error means that it is gone already.
            Command::Disconnect { peer } => self.swarm.disconnect_peer_id(peer).unwrap_or(()),
            Command::Providers { root, found } => {
                self.discovery.ask(self.swarm.behaviour_mut(), &root, found);
            }
            Command::Provide { roots } => {
                self.discovery.provide(self.swarm.behaviour_mut(), &roots);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let address = endpoint.get_remote_address().clone();
                tracing::debug!(peer = %peer_id, %address, "connected");
                self.book.connected(peer_id, connection_id, address);
                self.answer(connection_id, Ok(peer_id));
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.book.closed(&peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                tracing::debug!(peer = ?peer_id, %error, "could not connect");
                self.answer(connection_id, Err(shown(&error)));
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => tracing::debug!(from = %send_back_addr, %error, "connection refused"),
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                let now = self.swarm.listeners().cloned().collect();
                *self
                    .addresses
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = now;
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener failed");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let observers = self.book.addresses(&peer_id);
                if let Some(observer) = observers.first().and_then(address::ip)
                    && let Some(seen) = self.discovery.observed(observer, &info.observed_addr)
                {
                    tracing::debug!(address = %seen, "others see us there");
                    self.swarm.add_external_address(seen);
                }
                let said = Said {
                    agent: info.agent_version,
                    protocols: info.protocols.iter().map(ToString::to_string).collect(),
                    addresses: info.listen_addrs,
                };
                self.book.said(&peer_id, said);
            }
            BehaviourEvent::Ping(event) => match event.result {
                Ok(rtt) => self.book.measured(&event.peer, rtt),
                Err(ping::Failure::Unsupported) => {}
                Err(error) => self.unanswered(&event.peer, event.connection, &error),
            },
            BehaviourEvent::Mdns(event) => self.heard(Heard::Mdns(event)),
            BehaviourEvent::Kad(event) => self.heard(Heard::Kad(Box::new(event))),
            BehaviourEvent::Identify(_) => {}
        }
    }

    /// Pings on this connection are not answered: after a sleep, or with another network, its other end may be gone, and
    /// the system would go on trying for a quarter of an hour. Who sends something is there, though busy.
    fn unanswered(&mut self, peer: &PeerId, connection: ConnectionId, error: &ping::Failure) {
        let link = self.hub.link(peer);
        if link.is_none_or(|link| link.quiet_for() >= PING_TIMEOUT) {
            tracing::info!(%peer, %error, "the connection is dead");
            self.swarm.close_connection(connection);
        }
    }

    fn heard(&mut self, heard: Heard) {
        for Found { peer, by } in self.discovery.heard(self.swarm.behaviour_mut(), heard) {
            match by {
                By::Network(addresses) => {
                    // They told it themselves, on this very network.
                    addresses.iter().for_each(|address| self.named.add(address));
                    self.dial_found(peer, &addresses, Scope::Lan);
                }
                By::Record => self.dial_by_record(peer),
                By::Search(addresses) => self.dial_found(peer, &addresses, self.scope),
            }
        }
    }

    /// Dials a provider wherever the DHT's behaviour knows it to be; the transport refuses what must not be dialled.
    fn dial_by_record(&mut self, peer: PeerId) {
        if peer == *self.swarm.local_peer_id() || self.swarm.is_connected(&peer) {
            return;
        }
        match self.swarm.dial(DialOpts::peer_id(peer).build()) {
            Ok(()) => {}
            Err(DialError::NoAddresses) => {
                self.discovery.locate(self.swarm.behaviour_mut(), peer);
            }
            Err(error) => tracing::debug!(%peer, %error, "not dialled"),
        }
    }

    /// Dials what somebody else named, as far as that is allowed.
    fn dial_found(&mut self, peer: PeerId, addresses: &[Multiaddr], scope: Scope) {
        if peer == *self.swarm.local_peer_id() || self.swarm.is_connected(&peer) {
            return;
        }
        let allowed: Vec<Multiaddr> = addresses
            .iter()
            .filter_map(|address| address::dialable(address, scope))
            .take(ADDRESSES_PER_PEER_COUNT_MAX)
            .collect();
        if allowed.is_empty() {
            tracing::debug!(%peer, ?addresses, "no address that may be dialled");
            return;
        }
        let options = DialOpts::peer_id(peer).addresses(allowed).build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "not dialled");
        }
    }

    /// Dials what the user named; a name is looked up first, so that its addresses may be dialled wherever they are.
    fn connect(&mut self, named: Wanted) {
        match named.address.iter().next() {
            Some(Protocol::Dns(host) | Protocol::Dns4(host) | Protocol::Dns6(host)) => {
                let host = host.into_owned();
                self.lookups.push(Box::pin(async move {
                    let found = tokio::net::lookup_host((host, 0)).await;
                    let ips = found.map(|found| found.map(|address| address.ip()).collect());
                    // The dial itself will tell that there is no such name.
                    (named, ips.unwrap_or_default())
                }));
            }
            _ => self.dial(named, Vec::new()),
        }
    }

    fn dial(&mut self, to: Wanted, ips: Vec<IpAddr>) {
        self.named.add(&to.address);
        for ip in ips {
            self.named.add_resolved(&to.address, ip);
        }
        if !address::has_transport(&to.address) {
            to.tell(Err("no transport for this kind of address".into()));
            return;
        }
        if to.peer.as_ref() == Some(self.swarm.local_peer_id()) {
            to.tell(Err("that is this node itself".into()));
            return;
        }
        if let Some(peer) = to.peer.filter(|peer| self.swarm.is_connected(peer)) {
            to.tell(Ok(peer));
            return;
        }
        let options = match to.peer {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![to.address.clone()])
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(to.address.clone())
                .build(),
        };
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                if let Some(answer) = to.answer {
                    self.dials.insert(connection, answer);
                }
            }
            Err(error) => to.tell(Err(shown(&error))),
        }
    }

    /// Connects again to the peers that the user named.
    fn redial(&mut self) {
        for (address, peer) in self.wanted.clone() {
            let connected = match peer {
                Some(peer) => self.swarm.is_connected(&peer),
                None => self.book.has_address(&address),
            };
            if !connected {
                self.connect(Wanted {
                    address,
                    peer,
                    answer: None,
                });
            }
        }
    }

    fn ban(&mut self, peer: PeerId) {
        let addresses = self.book.addresses(&peer);
        tracing::warn!(%peer, ?addresses, "banned: it sent false bytes");
        self.swarm.behaviour_mut().gate.ban(peer, &addresses);
        // An error means that it is gone already.
        self.swarm.disconnect_peer_id(peer).unwrap_or(());
    }

    fn answer(&mut self, connection: ConnectionId, result: Result<PeerId, String>) {
        if let Some(answer) = self.dials.remove(&connection) {
            // An error means that nobody waits for it any more.
            answer.send(result).unwrap_or(());
        }
    }
}

/// An address that the user named, and who waits for it.
struct Wanted {
    address: Multiaddr,
    peer: Option<PeerId>,
    answer: Option<oneshot::Sender<Result<PeerId, String>>>,
}

impl Wanted {
    fn tell(self, result: Result<PeerId, String>) {
        if let Some(answer) = self.answer {
            // An error means that nobody waits for it any more.
            answer.send(result).unwrap_or(());
        }
    }
}

/// libp2p shares TCP ports (`SO_REUSEPORT`), with another node of the same user as well, which then gets half of the
/// connections: so it is tried without that first.
async fn is_free(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter().skip(1);
    if let (Some(ip), Some(Protocol::Tcp(port))) = (address::ip(address), parts.next()) {
        tokio::net::TcpListener::bind((ip, port)).await?;
    }
    Ok(())
}

/// The innermost reason: the outer ones only name layers.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn transport_reason(error: &TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "no transport for this kind of address".into(),
        TransportError::Other(error) => reason_of(error),
    }
}

/// Why a dial failed, in words for a user.
fn shown(error: &DialError) -> String {
    match error {
        DialError::WrongPeerId { obtained, .. } => {
            format!("another peer answers there: {obtained}")
        }
        DialError::LocalPeerId { .. } => "that is this node itself".into(),
        DialError::Denied { cause } => reason_of(cause),
        DialError::Transport(errors) => match errors.first() {
            Some((_, error)) => transport_reason(error),
            None => "no address to dial".into(),
        },
        other => other.to_string(),
    }
}
