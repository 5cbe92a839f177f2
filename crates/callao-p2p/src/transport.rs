//! How bytes travel: TCP (noise, then TLS, with yamux) and QUIC, below DNS. Must not know what is said over them.
//!
//! [`Scoped`] stands below the names: whatever a name resolves to is checked as well, for every dial of every behaviour.

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use callao_fetch::netfilter::Scope;
use futures::future::{Either, MapOk, TryFuture, TryFutureExt};
use futures::io::BufReader;
use libp2p::core::either::EitherFuture;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OrTransport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version,
};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport, dns, noise, quic, tcp, tls, yamux};

use crate::address;
use crate::error::Error;
use crate::gather::Gather;
use crate::limits::{CONNECT_TIMEOUT, SOCKET_READ_BYTES, STREAMS_COUNT_MAX};

/// A connection, and who is at the other end.
type Connected = (PeerId, StreamMuxerBox);

/// IP addresses and ports that the user or a peer of the local network named: they may be dialled wherever they are.
/// Another port at the same address stays what it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named(Arc<Mutex<HashSet<(IpAddr, u16)>>>);

impl Named {
    /// This address was named. Names count once they are resolved.
    pub(crate) fn add(&self, address: &Multiaddr) {
        if let Some(ip) = address::ip(address) {
            self.add_resolved(address, ip);
        }
    }

    /// This address was named, and this is where its name leads.
    pub(crate) fn add_resolved(&self, address: &Multiaddr, ip: IpAddr) {
        if let Some(port) = address::port(address) {
            self.lock().insert((ip, port));
        }
    }

    fn has(&self, ip: IpAddr, address: &Multiaddr) -> bool {
        address::port(address).is_some_and(|port| self.lock().contains(&(ip, port)))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(IpAddr, u16)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All transports in one.
pub(crate) fn build(key: &Keypair, scope: Scope, named: Named) -> Result<Boxed<Connected>, Error> {
    let start = |reason: String| Error::Start { reason };
    let security = Security(
        noise::Config::new(key).map_err(|error| start(error.to_string()))?,
        tls::Config::new(key).map_err(|error| start(error.to_string()))?,
    );
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(STREAMS_COUNT_MAX);
    let over_tcp = tcp::tokio::Transport::new(tcp::Config::default())
        // The secured stream reads 8 KiB at a time.
        .map(|socket, _| BufReader::with_capacity(SOCKET_READ_BYTES, socket))
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxer)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let over_quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let base = OrTransport::new(over_tcp, over_quic)
        .map(|either, _| either.into_inner())
        .boxed();
    let scoped = Scoped {
        inner: base,
        scope,
        named,
    };
    // Without a resolver configuration (a machine without any network) addresses that need no names still work.
    let below_names = if dns::tokio::Transport::system(()).is_ok() {
        dns::tokio::Transport::system(scoped)
            .map_err(|error| start(error.to_string()))?
            .boxed()
    } else {
        tracing::warn!("no DNS configuration: peers are reached by IP address only");
        scoped.boxed()
    };
    Ok(TransportTimeout::new(below_names, CONNECT_TIMEOUT).boxed())
}

/// Refuses to dial what the scope does not allow and the user did not name.
struct Scoped {
    inner: Boxed<Connected>,
    scope: Scope,
    named: Named,
}

impl Transport for Scoped {
    type Output = Connected;
    type Error = std::io::Error;
    type ListenerUpgrade = <Boxed<Connected> as Transport>::ListenerUpgrade;
    type Dial = <Boxed<Connected> as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if let Some(ip) = address::ip(&address)
            && !self.scope.allows(ip)
            && !self.named.has(ip, &address)
        {
            let why = std::io::Error::other(format!("{ip} must not be dialled"));
            return Err(TransportError::Other(why));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// noise, then TLS: with these libraries noise costs a fifth less.
#[derive(Clone)]
struct Security(noise::Config, tls::Config);

/// Which of the two was agreed on.
#[derive(Clone)]
enum Agreed {
    Noise(&'static str),
    Tls(&'static str),
}

impl AsRef<str> for Agreed {
    fn as_ref(&self) -> &str {
        match self {
            Agreed::Noise(name) | Agreed::Tls(name) => name,
        }
    }
}

impl UpgradeInfo for Security {
    type Info = Agreed;
    type InfoIter = Vec<Agreed>;

    fn protocol_info(&self) -> Self::InfoIter {
        let noise = self.0.protocol_info().map(Agreed::Noise);
        noise
            .chain(self.1.protocol_info().map(Agreed::Tls))
            .collect()
    }
}

fn gathered<N, T>(secured: Either<(PeerId, N), (PeerId, T)>) -> (PeerId, Gather<Either<N, T>>) {
    let (peer, stream) = secured.factor_first();
    (peer, Gather::new(stream))
}

/// The result of whichever was agreed on, as one type.
type Secured<A, B, F> = MapOk<EitherFuture<A, B>, F>;

impl<C, N, T> InboundConnectionUpgrade<C> for Security
where
    noise::Config: InboundConnectionUpgrade<C, Info = &'static str, Output = (PeerId, N)>,
    tls::Config: InboundConnectionUpgrade<C, Info = &'static str, Output = (PeerId, T)>,
{
    type Output = (PeerId, Gather<Either<N, T>>);
    type Error = <EitherFuture<
        <noise::Config as InboundConnectionUpgrade<C>>::Future,
        <tls::Config as InboundConnectionUpgrade<C>>::Future,
    > as TryFuture>::Error;
    type Future = Secured<
        <noise::Config as InboundConnectionUpgrade<C>>::Future,
        <tls::Config as InboundConnectionUpgrade<C>>::Future,
        fn(Either<(PeerId, N), (PeerId, T)>) -> (PeerId, Gather<Either<N, T>>),
    >;

    fn upgrade_inbound(self, socket: C, agreed: Agreed) -> Self::Future {
        match agreed {
            Agreed::Noise(name) => EitherFuture::First(self.0.upgrade_inbound(socket, name)),
            Agreed::Tls(name) => EitherFuture::Second(self.1.upgrade_inbound(socket, name)),
        }
        .map_ok(gathered)
    }
}

impl<C, N, T> OutboundConnectionUpgrade<C> for Security
where
    noise::Config: OutboundConnectionUpgrade<C, Info = &'static str, Output = (PeerId, N)>,
    tls::Config: OutboundConnectionUpgrade<C, Info = &'static str, Output = (PeerId, T)>,
{
    type Output = (PeerId, Gather<Either<N, T>>);
    type Error = <EitherFuture<
        <noise::Config as OutboundConnectionUpgrade<C>>::Future,
        <tls::Config as OutboundConnectionUpgrade<C>>::Future,
    > as TryFuture>::Error;
    type Future = Secured<
        <noise::Config as OutboundConnectionUpgrade<C>>::Future,
        <tls::Config as OutboundConnectionUpgrade<C>>::Future,
        fn(Either<(PeerId, N), (PeerId, T)>) -> (PeerId, Gather<Either<N, T>>),
    >;

    fn upgrade_outbound(self, socket: C, agreed: Agreed) -> Self::Future {
        match agreed {
            Agreed::Noise(name) => EitherFuture::First(self.0.upgrade_outbound(socket, name)),
            Agreed::Tls(name) => EitherFuture::Second(self.1.upgrade_outbound(socket, name)),
        }
        .map_ok(gathered)
    }
}
