//! The bitswap side of one connection: opens streams when asked, several at the same time, and starts a reader for every
//! stream that comes in. No stream waits for another, and none is dropped while there are fewer than the limit.
//! Must not know what is written on them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::mpsc;

use super::hub::Hub;
use super::link::{NoStream, Open, Opener};
use super::reader;
use crate::limits::{
    INBOUND_STREAMS_COUNT_MAX, OPEN_TIMEOUT, OPENING_STREAMS_COUNT_MAX, OPENS_COUNT_MAX,
};

/// What is spoken. Older versions know no presences, and nobody needs them any more.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

/// The handler of one connection.
pub(crate) struct Handler {
    hub: Arc<Hub>,
    peer: PeerId,
    opens: mpsc::Receiver<Open>,
    opening: usize,
    inbound: Arc<AtomicUsize>,
}

impl Handler {
    pub(crate) fn new(hub: Arc<Hub>, peer: PeerId) -> (Self, Opener) {
        let (opener, opens) = mpsc::channel(OPENS_COUNT_MAX);
        let handler = Handler {
            hub,
            peer,
            opens,
            opening: 0,
            inbound: Arc::new(AtomicUsize::new(0)),
        };
        (handler, opener)
    }

    fn came_in(&mut self, stream: libp2p::Stream) {
        // A stream that is dropped is reset: the other side knows.
        if self.inbound.load(Ordering::Relaxed) >= INBOUND_STREAMS_COUNT_MAX {
            tracing::debug!(peer = %self.peer, "too many streams");
            return;
        }
        let open = reader::OpenStream::count(&self.inbound);
        reader::start(&self.hub, self.peer, stream, open);
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Open, Self::ToBehaviour>> {
        while self.opening < OPENING_STREAMS_COUNT_MAX {
            match self.opens.poll_recv(cx) {
                // Whoever asked has given up.
                Poll::Ready(Some(open)) if open.is_closed() => {}
                Poll::Ready(Some(open)) => {
                    self.opening += 1;
                    let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), open)
                        .with_timeout(OPEN_TIMEOUT);
                    return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol,
                    });
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol, (), Open>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => self.came_in(stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: open,
            }) => {
                self.opening -= 1;
                // An error means that whoever asked has given up; the stream is reset.
                open.send(Ok(stream)).map_err(drop).unwrap_or(());
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: open, error }) => {
                self.opening -= 1;
                let why = match error {
                    StreamUpgradeError::NegotiationFailed => NoStream::NotSpoken,
                    _ => NoStream::Failed,
                };
                open.send(Err(why)).map_err(drop).unwrap_or(());
            }
            _ => {}
        }
    }
}
