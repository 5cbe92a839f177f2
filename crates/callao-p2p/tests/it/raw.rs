//! A libp2p peer whose bitswap streams are in the hands of the test: it sends what no honest peer would, and sees what is
//! sent to it. Answers identify and ping like anybody else; knows nothing of blocks.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use callao_p2p::Node;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, SubstreamProtocol, SwarmEvent, ToSwarm,
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp,
    tls, yamux,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::nodes::{PATIENCE, QUIC, TCP, address};

const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
/// Streams of one connection that this side allows itself: the most that yamux allows.
pub(crate) const STREAMS_COUNT: usize = 4096;

/// The peer.
pub(crate) struct Raw {
    pub(crate) peer_id: String,
    addresses: Vec<String>,
    pub(crate) opener: Opener,
    streams: mpsc::UnboundedReceiver<Stream>,
    goodbyes: mpsc::UnboundedReceiver<()>,
}

/// Opens streams to whom the peer is connected to, and ends the connection.
#[derive(Clone)]
pub(crate) struct Opener(mpsc::UnboundedSender<Command>);

enum Command {
    Dial(Multiaddr, oneshot::Sender<()>),
    Open(oneshot::Sender<Stream>),
    Disconnect,
}

impl Raw {
    /// A peer that calls itself `agent` and listens on loopback.
    pub(crate) async fn start(agent: &str) -> Raw {
        let agent = agent.to_owned();
        let mut muxer = yamux::Config::default();
        muxer.set_max_num_streams(STREAMS_COUNT);
        let (incoming, streams) = mpsc::unbounded_channel();
        let (left, goodbyes) = mpsc::unbounded_channel();
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default(),
                (noise::Config::new, tls::Config::new),
                move || muxer.clone(),
            )
            .expect("TCP")
            .with_quic()
            .with_behaviour(|key| Behaviour {
                identify: identify::Behaviour::new(
                    identify::Config::new("ipfs/0.1.0".to_owned(), key.public())
                        .with_agent_version(agent),
                ),
                ping: ping::Behaviour::default(),
                tap: Tap::new(incoming),
            })
            .expect("a behaviour")
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(600))
            })
            .build();
        let peer = *swarm.local_peer_id();
        let mut addresses = Vec::new();
        for place in [TCP, QUIC] {
            let place: Multiaddr = place.parse().expect("an address");
            swarm.listen_on(place).expect("loopback");
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    addresses.push(format!("{address}/p2p/{peer}"));
                    break;
                }
            }
        }
        let (commands, inbox) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, inbox, left));
        Raw {
            peer_id: peer.to_string(),
            addresses,
            opener: Opener(commands),
            streams,
            goodbyes,
        }
    }

    /// Its address of the kind that `part` tells.
    pub(crate) fn address(&self, part: &str) -> &str {
        let found = self.addresses.iter().find(|address| address.contains(part));
        found.expect("it listens there")
    }

    /// Connects to a node.
    pub(crate) async fn connect(&self, node: &Node, part: &str) {
        let (done, connected) = oneshot::channel();
        let place = address(node, part).parse().expect("an address");
        drop(self.opener.0.send(Command::Dial(place, done)));
        timeout(PATIENCE, connected)
            .await
            .expect("in time")
            .expect("connected");
    }

    /// The next stream that the other side opens.
    pub(crate) async fn next(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv())
            .await
            .expect("in time")
            .expect("the swarm runs")
    }

    /// Whether the connection has ended.
    pub(crate) fn was_dropped(&mut self) -> bool {
        self.goodbyes.try_recv().is_ok()
    }

    /// What opens streams, and the streams that the other side opens.
    pub(crate) fn split(self) -> (Opener, mpsc::UnboundedReceiver<Stream>) {
        (self.opener, self.streams)
    }
}

impl Opener {
    /// A new stream; `None` when it is refused.
    pub(crate) async fn open(&self) -> Option<Stream> {
        let (answer, opened) = oneshot::channel();
        drop(self.0.send(Command::Open(answer)));
        timeout(PATIENCE, opened).await.expect("in time").ok()
    }

    /// Sends `bytes` on a stream of its own and ends it. A stream that the other side ends first is no error.
    pub(crate) async fn say(&self, bytes: &[u8]) {
        let Some(mut stream) = self.open().await else {
            return;
        };
        let send = async {
            stream.write_all(bytes).await?;
            stream.close().await
        };
        // A hostile peer does not care whether it is read.
        drop(timeout(PATIENCE, send).await);
    }

    /// Ends all connections.
    pub(crate) fn disconnect(&self) {
        drop(self.0.send(Command::Disconnect));
    }
}

/// Does what it is told, until the test is over.
async fn run(
    mut swarm: Swarm<Behaviour>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    left: mpsc::UnboundedSender<()>,
) {
    let mut dials: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                // The test is over.
                None => return,
                Some(Command::Dial(address, done)) => {
                    dials.push(done);
                    swarm.dial(address).expect("an address");
                }
                Some(Command::Open(answer)) => swarm.behaviour_mut().tap.opens.push(answer),
                Some(Command::Disconnect) => {
                    let peers: Vec<_> = swarm.connected_peers().copied().collect();
                    for peer in peers {
                        let _ = swarm.disconnect_peer_id(peer);
                    }
                }
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => {
                    for done in dials.drain(..) {
                        let _ = done.send(());
                    }
                }
                SwarmEvent::ConnectionClosed { num_established: 0, .. } => drop(left.send(())),
                _ => {}
            },
        }
    }
}

/// Reads one length and as many bytes; `None` at the end of the stream.
pub(crate) async fn read_message(stream: &mut Stream) -> Option<Vec<u8>> {
    let mut length = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut message = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    tap: Tap,
}

/// Hands all streams to the test.
struct Tap {
    incoming: mpsc::UnboundedSender<Stream>,
    opens: Vec<oneshot::Sender<Stream>>,
    connected: Vec<(PeerId, ConnectionId)>,
}

impl Tap {
    fn new(incoming: mpsc::UnboundedSender<Stream>) -> Self {
        Tap {
            incoming,
            opens: Vec::new(),
            connected: Vec::new(),
        }
    }
}

impl NetworkBehaviour for Tap {
    type ConnectionHandler = TapHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<TapHandler, ConnectionDenied> {
        Ok(TapHandler::new(self.incoming.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<TapHandler, ConnectionDenied> {
        Ok(TapHandler::new(self.incoming.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                self.connected.push((made.peer_id, made.connection_id));
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.connected.retain(|(_, id)| *id != closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, oneshot::Sender<Stream>>> {
        let Some((peer_id, id)) = self.connected.first().copied() else {
            // Nobody is there: dropped, so that the test is told.
            self.opens.clear();
            return Poll::Pending;
        };
        // The loop around the swarm polls again after each command.
        match self.opens.pop() {
            Some(event) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event,
            }),
            None => Poll::Pending,
        }
    }
}

struct TapHandler {
    incoming: mpsc::UnboundedSender<Stream>,
    opens: Vec<oneshot::Sender<Stream>>,
}

impl TapHandler {
    fn new(incoming: mpsc::UnboundedSender<Stream>) -> Self {
        TapHandler {
            incoming,
            opens: Vec::new(),
        }
    }
}

type Event =
    ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, oneshot::Sender<Stream>, Infallible>;

impl ConnectionHandler for TapHandler {
    type FromBehaviour = oneshot::Sender<Stream>;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Stream>;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(BITSWAP), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Event> {
        match self.opens.pop() {
            Some(answer) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(BITSWAP), answer),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, answer: oneshot::Sender<Stream>) {
        self.opens.push(answer);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => drop(self.incoming.send(stream)),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: answer,
            }) => drop(answer.send(stream)),
            // A refused stream drops its answer.
            _ => {}
        }
    }
}
