//! All peers of bitswap, and what they share: the blocks that are served, the buffers, the line. Starts every task and
//! waits for them at the end. Must not know how a message looks.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callao_content::Cid;
use callao_store::served::Served;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::Intake;
use super::link::{Link, Opener};
use super::wire::Entry;
use super::{client, reader, server};
use crate::limits::{READERS_COUNT_MAX, STREAM_LINGER};
use crate::node::Command;
use crate::options::NodeOptions;
use crate::peers::Book;
use crate::upload::Upload;

/// How long a stream waits for its peer to be known.
const LINK_WAIT: Duration = Duration::from_secs(5);

/// Everything that bitswap has in common.
pub(crate) struct Hub {
    book: Arc<Book>,
    served: Option<Arc<dyn Served>>,
    links: Mutex<HashMap<PeerId, Arc<Link>>>,
    /// A link was added.
    added: Notify,
    intake: Intake,
    upload: Mutex<Upload<PeerId>>,
    /// The line may be free again.
    pub upload_changed: Notify,
    /// Threads that read blocks.
    pub readers: Semaphore,
    /// Bytes sent to and received from peers that are gone.
    past: (AtomicU64, AtomicU64),
    commands: mpsc::Sender<Command>,
    tasks: TaskTracker,
    stop: CancellationToken,
    since: Instant,
}

impl Hub {
    pub(crate) fn new(
        options: &NodeOptions,
        book: Arc<Book>,
        commands: mpsc::Sender<Command>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Hub {
            book,
            served: options.served.clone(),
            links: Mutex::new(HashMap::new()),
            added: Notify::new(),
            intake: Intake::new(),
            upload: Mutex::new(Upload::new(options.upload)),
            upload_changed: Notify::new(),
            readers: Semaphore::new(READERS_COUNT_MAX),
            past: (AtomicU64::new(0), AtomicU64::new(0)),
            commands,
            tasks: TaskTracker::new(),
            stop,
            since: Instant::now(),
        })
    }

    /// A connection is established.
    pub(crate) fn connected(
        self: &Arc<Self>,
        peer: PeerId,
        connection: ConnectionId,
        opener: Opener,
    ) {
        let mut links = self.links();
        if let Some(link) = links.get(&peer) {
            link.add(connection, opener);
            return;
        }
        let (link, blocks) = Link::new(peer, self.stop.child_token());
        link.add(connection, opener);
        links.insert(peer, Arc::clone(&link));
        drop(links);
        self.spawn(client::run(Arc::clone(self), Arc::clone(&link)));
        self.spawn(reader::sort(Arc::clone(self), link, blocks));
        self.added.notify_waiters();
    }

    /// A connection is closed; with the last one everything about the peer ends.
    pub(crate) fn closed(&self, peer: &PeerId, connection: ConnectionId) {
        let mut links = self.links();
        if links.get(peer).is_some_and(|link| link.remove(connection))
            && let Some(link) = links.remove(peer)
        {
            link.over.cancel();
            let (sent, received) = link.bytes();
            self.past.0.fetch_add(sent, Ordering::Relaxed);
            self.past.1.fetch_add(received, Ordering::Relaxed);
        }
    }

    /// Bytes of blocks sent and received since the start.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let past = (
            self.past.0.load(Ordering::Relaxed),
            self.past.1.load(Ordering::Relaxed),
        );
        self.all()
            .iter()
            .map(|link| link.bytes())
            .fold(past, |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// A peer that is connected.
    pub(crate) fn link(&self, peer: &PeerId) -> Option<Arc<Link>> {
        self.links().get(peer).cloned()
    }

    /// Everybody who is connected.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.links().values().cloned().collect()
    }

    /// A peer that is connected, or will be in a moment.
    pub(crate) async fn link_soon(&self, peer: &PeerId) -> Option<Arc<Link>> {
        let added = async {
            loop {
                let added = self.added.notified();
                if let Some(link) = self.link(peer) {
                    return link;
                }
                added.await;
            }
        };
        timeout(LINK_WAIT, added).await.ok()
    }

    /// A peer sent its wants.
    pub(crate) fn wanted(self: &Arc<Self>, link: &Arc<Link>, entries: &[Entry], full: bool) {
        link.server
            .take(entries, full, &|cid| self.length(cid), self.now());
        server::kick(self, link);
    }

    /// There may be more blocks than before: whoever waits for them gets them.
    pub(crate) fn offer(self: &Arc<Self>) {
        for link in self.all() {
            if link.server.look_again(&|cid| self.length(cid), self.now()) {
                server::kick(self, &link);
            }
        }
    }

    /// Called every second or so: late blocks are sent, and unused memory is given back.
    pub(crate) fn tick(self: &Arc<Self>) {
        let links = self.all();
        if links.iter().any(|link| link.server.is_waiting()) {
            self.offer();
        }
        let busy = |link: &Arc<Link>| link.client.is_waiting() || link.server.is_busy();
        if !links.iter().any(busy) {
            self.intake.pool().clear();
        }
    }

    /// The peer broke the rules: it is kept out, at its addresses too.
    pub(crate) fn misbehaved(self: &Arc<Self>, link: &Arc<Link>, why: &str) {
        tracing::warn!(peer = %link.peer, why, "dropped");
        link.client.lies();
        self.tell(Command::Ban { peer: link.peer });
    }

    /// The peer is of no use now, without having lied.
    pub(crate) fn disconnect(self: &Arc<Self>, link: &Arc<Link>, why: &str) {
        tracing::debug!(peer = %link.peer, why, "disconnected");
        self.tell(Command::Disconnect { peer: link.peer });
    }

    /// Ends a stream properly: says that nothing more comes, and reads to the end what the other side says. A QUIC stream
    /// that is dropped before would never be counted as ended.
    pub(crate) fn finish(self: &Arc<Self>, mut stream: Stream) {
        self.spawn(async move {
            let ended = async {
                stream.close().await?;
                let mut rest = [0; 64];
                while stream.read(&mut rest).await? > 0 {}
                Ok::<(), std::io::Error>(())
            };
            // Dropped as it is, if that takes too long or fails.
            drop(timeout(STREAM_LINGER, ended).await);
        });
    }

    /// Runs a task until it ends or the node does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Waits for all tasks; only after the node was told to stop.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Bytes of a block that is served.
    pub(crate) fn length(&self, cid: &Cid) -> Option<u32> {
        self.served.as_ref()?.length(cid)
    }

    /// What is served.
    pub(crate) fn served(&self) -> Option<&Arc<dyn Served>> {
        self.served.as_ref()
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(crate) fn upload(&self) -> MutexGuard<'_, Upload<PeerId>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shortest round trip to a peer that was seen.
    pub(crate) fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        self.book.rtt(peer)
    }

    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Time since the node began.
    pub(crate) fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn tell(&self, command: Command) {
        let commands = self.commands.clone();
        // An error means that the node ends.
        self.spawn(async move { commands.send(command).await.unwrap_or(()) });
    }

    fn links(&self) -> MutexGuard<'_, HashMap<PeerId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
