//! The server's side of one peer: streams with replies ("stripes"), each a task that takes the next blocks, reads them on
//! another thread while the blocks before are being written, and ends when there has been nothing to send for a while.
//!
//! kubo and js peers get one stream. A callao gets several, since a yamux stream carries 256 KiB per round trip: the longer
//! the way, the more. What is owed is in the [`ledger`](super::ledger), who may send in [`upload`](crate::upload).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callao_content::Cid;
use callao_store::served::Served;
use futures::io::AsyncWriteExt;
use libp2p::Stream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::hub::Hub;
use super::intake::{Pool, Pooled};
use super::ledger::{Ledger, Lookup};
use super::link::Link;
use super::wire::{self, Entry, Presence};
use crate::limits::{
    MESSAGE_TIMEOUT, REPLY_BYTES, STREAM_LINGER, STREAM_STALL_TIMEOUT, STREAM_WINDOW_BYTES,
    STRIPES_COUNT_MAX, STRIPES_NEAR_COUNT, STRIPES_SECOND_BYTES,
};
use crate::upload::Verdict;

/// A round trip over this is a long way.
const NEAR: Duration = Duration::from_millis(2);
/// Written at a time: a peer that takes nothing is noticed after one of these.
const WRITE_BYTES: usize = 256 * 1024;

/// The server's side of one peer.
pub(crate) struct Server {
    ledger: Mutex<Ledger>,
    stripes: AtomicUsize,
    /// Stripes that have nothing to send.
    idle: AtomicUsize,
    /// There is more to send.
    wake: Notify,
}

impl Server {
    pub(crate) fn new() -> Self {
        Server {
            ledger: Mutex::new(Ledger::default()),
            stripes: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            wake: Notify::new(),
        }
    }

    pub(crate) fn take(&self, entries: &[Entry], full: bool, here: Lookup<'_>, now: Duration) {
        self.ledger().take(entries, full, here, now);
    }

    pub(crate) fn look_again(&self, here: Lookup<'_>, now: Duration) -> bool {
        self.ledger().look_again(here, now)
    }

    /// Wants that are registered.
    pub(crate) fn wants(&self) -> usize {
        self.ledger().count()
    }

    /// Some wants wait for blocks that are not here.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ledger().is_waiting()
    }

    /// Something is being sent.
    pub(crate) fn is_busy(&self) -> bool {
        self.stripes.load(Ordering::Relaxed) > 0
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("stripes", &self.stripes)
            .finish_non_exhaustive()
    }
}

/// Wakes the stripes of a peer, and starts as many as there is work for.
pub(crate) fn kick(hub: &Arc<Hub>, link: &Arc<Link>) {
    let (blocks, presences) = {
        let ledger = link.server.ledger();
        (ledger.ready_count(), ledger.has_presences())
    };
    // One more for every block that would have to wait for a busy one.
    let free = link.server.idle.load(Ordering::Relaxed);
    let more = blocks.max(usize::from(presences)).saturating_sub(free);
    let running = link.server.stripes.load(Ordering::Relaxed);
    let wanted = (running + more).min(stripes(hub, link));
    link.server.wake.notify_waiters();
    while link.server.stripes.load(Ordering::Relaxed) < wanted {
        link.server.stripes.fetch_add(1, Ordering::Relaxed);
        let (own_hub, own_link) = (Arc::clone(hub), Arc::clone(link));
        hub.spawn(async move { stripe(own_hub, own_link).await });
    }
}

/// How many streams with replies a peer gets.
fn stripes(hub: &Hub, link: &Link) -> usize {
    if !hub.book().is_callao(&link.peer) {
        return 1;
    }
    let rtt = hub.rtt(&link.peer).unwrap_or_default();
    let in_flight = STRIPES_SECOND_BYTES as f64 * rtt.as_secs_f64();
    let needed = (in_flight / STREAM_WINDOW_BYTES as f64).ceil() as usize;
    needed.clamp(STRIPES_NEAR_COUNT, STRIPES_COUNT_MAX)
}

/// Whether many streams go a long way.
fn is_far(hub: &Hub, link: &Link) -> bool {
    hub.rtt(&link.peer).is_some_and(|rtt| rtt > NEAR) && hub.book().is_callao(&link.peer)
}

/// One less when this is dropped, also when its task is cut off.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn stripe(hub: Arc<Hub>, link: Arc<Link>) {
    let running = Counted(&link.server.stripes);
    let ended = tokio::select! {
        () = link.over.cancelled() => return,
        ended = send_all(&hub, &link) => ended,
    };
    drop(running);
    match ended {
        Ok(Some(stream)) => hub.finish(stream),
        // What it still wants it will ask for again.
        Ok(None) | Err(Failed::Broken) => {}
        Err(Failed::Slow) => hub.disconnect(&link, "it takes replies too slowly"),
    }
    // Wants may have come between the last look and the end.
    let left = {
        let ledger = link.server.ledger();
        ledger.ready_count() > 0 || ledger.has_presences()
    };
    if left && !link.over.is_cancelled() {
        kick(&hub, &link);
    }
}

/// Sends until there has been nothing to send for a while; gives the stream back.
async fn send_all(hub: &Arc<Hub>, link: &Arc<Link>) -> Result<Option<Stream>, Failed> {
    let mut stream: Option<Stream> = None;
    let mut next: Option<Reply> = None;
    loop {
        let woken = link.server.wake.notified();
        let reply = match next.take() {
            Some(reply) => Some(reply),
            None => prepare(hub, link).await,
        };
        let Some(reply) = reply else {
            link.server.idle.fetch_add(1, Ordering::Relaxed);
            let _idle = Counted(&link.server.idle);
            if timeout(STREAM_LINGER, woken).await.is_err() {
                return Ok(stream);
            }
            continue;
        };
        let old = stream.is_some();
        let out = match stream.take() {
            Some(stream) => stream,
            None => link.open().await.map_err(|_| Failed::Broken)?,
        };
        // Far away the next block is better left to a stream that has room for it.
        let ahead = async {
            match is_far(hub, link) {
                true => None,
                false => prepare(hub, link).await,
            }
        };
        let (written, ahead) = tokio::join!(write(out, &reply), ahead);
        next = ahead;
        stream = match written {
            Ok(stream) => Some(stream),
            // The other side ended the stream while it was idle: once more, on a new one.
            Err(Failed::Broken) if old => {
                let fresh = link.open().await.map_err(|_| Failed::Broken)?;
                Some(write(fresh, &reply).await?)
            }
            Err(why) => return Err(why),
        };
        link.sent_bytes.fetch_add(reply.bytes, Ordering::Relaxed);
    }
}

/// A message that is ready to be written.
struct Reply {
    frame: wire::Reply,
    blocks: Vec<Pooled>,
    bytes: u64,
    _granted: Granted,
}

/// Bytes that were granted to a peer; given back when they are sent, or never will be.
struct Granted {
    hub: Arc<Hub>,
    link: Arc<Link>,
    bytes: u64,
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.hub.upload().done(&self.link.peer, self.bytes);
        self.hub.upload_changed.notify_waiters();
    }
}

/// The next message, read and proven; `None` if there is nothing to send.
async fn prepare(hub: &Arc<Hub>, link: &Arc<Link>) -> Option<Reply> {
    loop {
        let (blocks, granted) = take_blocks(hub, link).await;
        let presences = link.server.ledger().next_presences();
        if blocks.is_empty() && presences.is_empty() {
            return None;
        }
        let (read, gone) = read_blocks(hub, blocks).await;
        for cid in gone {
            link.server.ledger().gone(cid, hub.now());
        }
        if !read.is_empty() || !presences.is_empty() {
            return Some(reply(link, read, &presences, granted));
        }
        // All of them are gone: that is the next thing to say.
    }
}

fn reply(
    link: &Link,
    read: Vec<(Cid, Pooled)>,
    presences: &[(Cid, Presence)],
    granted: Granted,
) -> Reply {
    let sizes: Vec<(Cid, usize)> = read
        .iter()
        .map(|(cid, block)| (*cid, block.length))
        .collect();
    let pending = link.server.ledger().ready_bytes();
    Reply {
        frame: wire::encode_reply(&sizes, presences, pending),
        bytes: sizes.iter().map(|(_, length)| *length as u64).sum(),
        blocks: read.into_iter().map(|(_, block)| block).collect(),
        _granted: granted,
    }
}

/// In line for the line, as long as this lives.
struct InLine<'a> {
    hub: &'a Arc<Hub>,
    link: &'a Arc<Link>,
}

impl<'a> InLine<'a> {
    fn enter(hub: &'a Arc<Hub>, link: &'a Arc<Link>) -> Self {
        hub.upload().enter(link.peer);
        InLine { hub, link }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.hub.upload().leave(&self.link.peer);
    }
}

/// Takes blocks out of the ledger as soon as they may be sent. What is to be said about others does not wait for that.
async fn take_blocks(hub: &Arc<Hub>, link: &Arc<Link>) -> (Vec<(Cid, u32)>, Granted) {
    let granted = |bytes| Granted {
        hub: Arc::clone(hub),
        link: Arc::clone(link),
        bytes,
    };
    let in_line = InLine::enter(hub, link);
    // Far away every stream gets its own block, so that all of them are busy.
    let most = if is_far(hub, link) { 1 } else { REPLY_BYTES };
    loop {
        let changed = hub.upload_changed.notified();
        let wait = {
            let mut ledger = link.server.ledger();
            let bytes = ledger.next_bytes(most);
            if ledger.ready_count() == 0 {
                return (Vec::new(), granted(0));
            }
            match hub.upload().ask(&link.peer, bytes, hub.now()) {
                Verdict::Go => return (ledger.next_blocks(most), granted(bytes)),
                Verdict::Wait(_) if ledger.has_presences() => return (Vec::new(), granted(0)),
                Verdict::Wait(wait) => wait,
            }
        };
        // Either way it is time to ask again.
        drop(timeout(wait, changed).await);
        let _ = &in_line;
    }
}

/// Reads blocks on a thread that may block, into recycled buffers; tells which of them are gone.
async fn read_blocks(hub: &Arc<Hub>, wanted: Vec<(Cid, u32)>) -> (Vec<(Cid, Pooled)>, Vec<Cid>) {
    if wanted.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let all: Vec<Cid> = wanted.iter().map(|(cid, _)| *cid).collect();
    // The semaphore is never closed.
    let _turn = hub.readers.acquire().await.ok();
    let (served, pool) = (hub.served().cloned(), Arc::clone(hub.intake().pool()));
    let reading = tokio::task::spawn_blocking(move || match served {
        Some(served) => read(&*served, &pool, wanted),
        None => (Vec::new(), wanted.into_iter().map(|(cid, _)| cid).collect()),
    });
    // A thread that panicked has nothing.
    reading.await.unwrap_or((Vec::new(), all))
}

fn read(
    served: &dyn Served,
    pool: &Arc<Pool>,
    wanted: Vec<(Cid, u32)>,
) -> (Vec<(Cid, Pooled)>, Vec<Cid>) {
    let cids: Vec<Cid> = wanted.iter().map(|(cid, _)| *cid).collect();
    let lengths = wanted.iter().map(|(_, length)| *length as usize);
    let mut pooled: Vec<Pooled> = lengths.map(|length| pool.take(length)).collect();
    let taken = pooled.iter_mut().map(|one| std::mem::take(&mut one.bytes));
    let mut buffers: Vec<Vec<u8>> = taken.collect();
    let there = served.read_many(&cids, &mut buffers);
    let (mut read, mut gone) = (Vec::with_capacity(cids.len()), Vec::new());
    for (((cid, mut one), buffer), there) in cids.into_iter().zip(pooled).zip(buffers).zip(there) {
        (one.length, one.bytes) = (buffer.len(), buffer);
        match there {
            true => read.push((cid, one)),
            false => gone.push(cid),
        }
    }
    (read, gone)
}

/// Why a message was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Broken,
    Slow,
}

async fn write(mut stream: Stream, reply: &Reply) -> Result<Stream, Failed> {
    let whole = async {
        for (head, block) in reply.frame.heads.iter().zip(&reply.blocks) {
            piece(&mut stream, head).await?;
            for bytes in block.as_ref().chunks(WRITE_BYTES) {
                piece(&mut stream, bytes).await?;
            }
        }
        piece(&mut stream, &reply.frame.tail).await?;
        let flushed = timeout(STREAM_STALL_TIMEOUT, stream.flush()).await;
        flushed
            .map_err(|_| Failed::Slow)?
            .map_err(|_| Failed::Broken)
    };
    timeout(MESSAGE_TIMEOUT, whole)
        .await
        .map_err(|_| Failed::Slow)??;
    Ok(stream)
}

async fn piece(stream: &mut Stream, bytes: &[u8]) -> Result<(), Failed> {
    match timeout(STREAM_STALL_TIMEOUT, stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Failed::Broken),
        Err(_) => Err(Failed::Slow),
    }
}
