//! The client's side of one peer: hands out room for wants, writes them, asks again what stays away, and finds out how far
//! ahead it pays to ask. The rules are in [`wants`](super::wants). Must not know what the blocks are for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use futures::io::AsyncWriteExt;
use libp2p::Stream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::hub::Hub;
use super::link::{Link, NoStream};
use super::wants::{Answer, Arrival, Key, Loss, Waiter, Wants};
use super::wire::{self, Asked, Presence};
use crate::limits::{
    STRAYS_COUNT_MAX, STREAM_LINGER, STREAM_STALL_TIMEOUT, WANT_CHECK_INTERVAL, WANT_TIMEOUT,
    WANTS_OUTSTANDING_COUNT_MAX, WINDOW_BYTES, WINDOW_BYTES_MAX,
};

/// The window is counted in these, so that it fits into a semaphore.
const UNIT_BYTES: u64 = 1024;

/// After so long without a block a transfer begins anew.
const PAUSE: Duration = Duration::from_secs(1);

/// A window that takes no more round trips than this is too small.
const GROWTH_ROUND_TRIPS: u32 = 6;

/// Room for one want; dropped when its block has been used up.
#[derive(Debug)]
pub(crate) struct Room {
    _bytes: OwnedSemaphorePermit,
    _count: OwnedSemaphorePermit,
}

/// The client's side of one peer.
pub(crate) struct Client {
    wants: Mutex<Wants>,
    /// There is something to write.
    wake: Notify,
    window: Arc<Semaphore>,
    count: Arc<Semaphore>,
    pace: Mutex<Pace>,
    strays: AtomicU64,
    next_waiter: AtomicU64,
    since: Instant,
}

impl Client {
    pub(crate) fn new() -> Self {
        let since = Instant::now();
        Client {
            wants: Mutex::new(Wants::default()),
            wake: Notify::new(),
            window: Arc::new(Semaphore::new((WINDOW_BYTES / UNIT_BYTES) as usize)),
            count: Arc::new(Semaphore::new(WANTS_OUTSTANDING_COUNT_MAX)),
            pace: Mutex::new(Pace::new()),
            strays: AtomicU64::new(0),
            next_waiter: AtomicU64::new(0),
            since,
        }
    }

    /// Somebody who waits for answers, and where they arrive.
    pub(crate) fn waiter(&self) -> (Waiter, mpsc::Receiver<(Key, Answer)>) {
        let (to, answers) = mpsc::channel(WANTS_OUTSTANDING_COUNT_MAX);
        let id = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        (Waiter { id, to }, answers)
    }

    /// How far ahead this peer is asked, in bytes.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.pace().window
    }

    /// Waits until blocks of these lengths may be asked for, all of them together.
    pub(crate) async fn room(&self, lengths: &[u64]) -> Vec<Room> {
        let units: Vec<u32> = lengths.iter().map(|length| units(*length)).collect();
        let sum: u32 = units.iter().sum();
        if self.window.available_permits() < sum as usize {
            self.pace().starved = true;
        }
        let bytes = Arc::clone(&self.window).acquire_many_owned(sum).await;
        let count = Arc::clone(&self.count)
            .acquire_many_owned(units.len() as u32)
            .await;
        // Neither is ever closed.
        let (Ok(mut bytes), Ok(mut count)) = (bytes, count) else {
            return Vec::new();
        };
        let mut rooms = Vec::with_capacity(units.len());
        for unit in units {
            if let (Some(bytes), Some(count)) = (bytes.split(unit as usize), count.split(1)) {
                rooms.push(Room {
                    _bytes: bytes,
                    _count: count,
                });
            }
        }
        rooms
    }

    /// Asks for blocks, or whether they are there.
    pub(crate) fn want(&self, cids: &[Cid], what: Asked, waiter: &Waiter) {
        let mut wants = self.wants();
        for cid in cids {
            wants.want(*cid, what, waiter.clone());
        }
        drop(wants);
        self.wake.notify_one();
    }

    /// Does not want these any more.
    pub(crate) fn withdraw<'k>(&self, keys: impl Iterator<Item = &'k Key>, id: u64) {
        let mut wants = self.wants();
        for key in keys {
            wants.withdraw(key, id);
        }
        drop(wants);
        self.wake.notify_one();
    }

    /// Blocks that arrived, with the hash of each (`None`: a kind of hash that is never asked for). Tells how many bytes of
    /// them were wanted; an error: the peer lies.
    pub(crate) fn arrived(
        &self,
        blocks: &[(Option<Key>, Bytes)],
        rtt: Option<Duration>,
    ) -> Result<u64, Loss> {
        let (mut good, mut strays) = (0, 0);
        let mut wants = self.wants();
        for (key, data) in blocks {
            let arrival = key
                .as_ref()
                .map_or(Arrival::Stray, |key| wants.block(key, data));
            match arrival {
                Arrival::Wanted => good += data.len() as u64,
                Arrival::Late => {}
                Arrival::Stray => strays += 1,
            }
        }
        let urgent = wants.is_urgent();
        drop(wants);
        if urgent {
            self.wake.notify_one();
        }
        let more = self.pace().received(good, rtt, self.since.elapsed());
        self.window.add_permits((more / UNIT_BYTES) as usize);
        let sum = self.strays.fetch_add(strays, Ordering::Relaxed) + strays;
        if strays > 0 && sum >= u64::from(STRAYS_COUNT_MAX) {
            self.lies();
            return Err(Loss::False);
        }
        Ok(good)
    }

    /// The peer broke the rules: nothing that is still wanted of it will come.
    pub(crate) fn lies(&self) {
        self.wants().end(Loss::False);
    }

    /// The peer says what it has.
    pub(crate) fn told(&self, presences: &[(Cid, Presence)]) {
        let mut wants = self.wants();
        for (cid, presence) in presences {
            wants.presence(cid, *presence);
        }
    }

    /// An answer is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wants().outstanding() > 0
    }

    /// Whether something is asked again.
    fn look_through(&self, quiet: Duration) -> bool {
        let window = self.pace().patience();
        let mut wants = self.wants();
        // While something arrives, only what is long overdue is asked again: it may just be in line.
        let patience = if quiet >= WANT_TIMEOUT {
            WANT_TIMEOUT
        } else {
            window
        };
        wants.ask_again(self.since.elapsed(), patience)
    }

    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pace", &self.pace())
            .finish_non_exhaustive()
    }
}

fn units(bytes: u64) -> u32 {
    bytes
        .div_ceil(UNIT_BYTES)
        .clamp(1, WINDOW_BYTES / UNIT_BYTES / 4) as u32
}

/// How fast blocks come, and how many bytes it pays to ask ahead. Pure.
#[derive(Debug)]
struct Pace {
    window: u64,
    /// Somebody waited for room since the round began.
    starved: bool,
    round_bytes: u64,
    round_start: Duration,
    last: Duration,
    rate_bytes_s: f64,
}

impl Pace {
    fn new() -> Self {
        Pace {
            window: WINDOW_BYTES,
            starved: false,
            round_bytes: 0,
            round_start: Duration::ZERO,
            last: Duration::ZERO,
            rate_bytes_s: 0.0,
        }
    }

    /// Counts bytes; tells by how many the window grows. It doubles when it is what holds up the transfer: when the bytes of
    /// a window take only a few round trips. A block of 1 MiB takes four of them through one yamux stream.
    fn received(&mut self, bytes: u64, rtt: Option<Duration>, now: Duration) -> u64 {
        // A round begins where the last one ended, or with the first bytes after a pause.
        if now.saturating_sub(self.last) > PAUSE {
            (self.round_start, self.round_bytes) = (now, 0);
        }
        self.last = now;
        self.round_bytes += bytes;
        if self.round_bytes < self.window {
            return 0;
        }
        let took = now.saturating_sub(self.round_start);
        self.rate_bytes_s = self.round_bytes as f64 / took.as_secs_f64().max(1e-6);
        (self.round_start, self.round_bytes) = (now, 0);
        let starved = std::mem::take(&mut self.starved);
        let Some(rtt) = rtt.filter(|_| starved) else {
            return 0;
        };
        if took > rtt * GROWTH_ROUND_TRIPS || took.is_zero() || self.window >= WINDOW_BYTES_MAX {
            return 0;
        }
        let more = self.window.min(WINDOW_BYTES_MAX - self.window);
        self.window += more;
        more
    }

    /// After this a want is overdue although others are answered.
    fn patience(&self) -> Duration {
        if self.rate_bytes_s <= 0.0 {
            return WANT_TIMEOUT * 3;
        }
        let window = Duration::from_secs_f64(self.window as f64 / self.rate_bytes_s);
        WANT_TIMEOUT.max(window * 3)
    }
}

/// Writes the wants of one peer, until the peer is gone.
pub(crate) async fn run(hub: Arc<Hub>, link: Arc<Link>) {
    let mut out = Out::default();
    // An interval, so that a steady stream of wants does not put the check off for ever.
    let mut check = interval(WANT_CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let active = link.client.is_waiting() || out.stream.is_some();
        tokio::select! {
            () = link.over.cancelled() => break,
            () = link.client.wake.notified() => {}
            _ = check.tick(), if active => {
                // What was written may have been lost with its stream: a peer may give one up without a word.
                if link.client.look_through(link.quiet_for())
                    && let Some(stream) = out.stream.take()
                {
                    hub.finish(stream);
                }
            }
        }
        if let Err(why) = write_wants(&link, &mut out).await {
            tracing::debug!(peer = %link.peer, %why, "wants not sent");
            let loss = match why {
                NoStream::NotSpoken => Loss::NotSpoken,
                NoStream::Failed | NoStream::Gone => Loss::Disconnected,
            };
            link.client.wants().fail(loss);
        }
        if out.is_idle()
            && let Some(stream) = out.stream.take()
        {
            hub.finish(stream);
        }
    }
    link.client.wants().end(Loss::Disconnected);
}

/// The stream that wants are written on.
#[derive(Default)]
struct Out {
    stream: Option<Stream>,
    used: Option<Instant>,
}

impl Out {
    fn is_idle(&self) -> bool {
        self.used
            .is_some_and(|used| used.elapsed() >= STREAM_LINGER)
    }
}

async fn write_wants(link: &Link, out: &mut Out) -> Result<(), NoStream> {
    loop {
        let now = link.client.since.elapsed();
        let next = {
            let mut wants = link.client.wants();
            // CANCELs of what was received go with the next wants, or when there will be none for a while.
            let due = wants.is_urgent() || wants.outstanding() == 0;
            if wants.has_messages() && due {
                wants.next_message(now)
            } else {
                None
            }
        };
        let Some((entries, full)) = next else {
            return Ok(());
        };
        let message = wire::encode_wants(&entries, full);
        // An old stream may have been ended by the other side meanwhile: js peers do that after 10 s.
        let old = out.stream.is_some();
        let sent = write(link, out, &message).await;
        if sent.is_err() && old {
            write(link, out, &message).await?;
        } else {
            sent?;
        }
        out.used = Some(Instant::now());
    }
}

async fn write(link: &Link, out: &mut Out, message: &[u8]) -> Result<(), NoStream> {
    let mut stream = match out.stream.take() {
        Some(stream) => stream,
        None => link.open().await?,
    };
    let whole = async {
        stream.write_all(message).await?;
        stream.flush().await
    };
    match timeout(STREAM_STALL_TIMEOUT, whole).await {
        Ok(Ok(())) => {
            out.stream = Some(stream);
            Ok(())
        }
        Ok(Err(_)) | Err(_) => Err(NoStream::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_window_stays_where_it_holds_nothing_up() {
        let mut pace = Pace::new();
        for step in 0..100 {
            pace.starved = true;
            // 400 MiB/s at a fifth of a millisecond.
            assert_eq!(
                pace.received(8 * MIB, Some(Duration::from_micros(200)), ms(20 * step)),
                0
            );
        }
        pace.starved = false;
        assert_eq!(
            pace.received(8 * MIB, Some(ms(60)), ms(0)),
            0,
            "nobody waited"
        );
        assert_eq!(
            pace.received(8 * MIB, None, ms(0)),
            0,
            "no round trip is known"
        );
    }

    #[test]
    fn the_window_grows_with_the_way() {
        let mut pace = Pace::new();
        let mut at = ms(0);
        for _ in 0..4 {
            for _ in 0..pace.window / MIB {
                pace.starved = true;
                at += ms(60) / (pace.window / MIB) as u32;
                pace.received(MIB, Some(ms(60)), at);
            }
        }
        assert_eq!(pace.window, WINDOW_BYTES_MAX);
        // From a slow peer on the same way it would not.
        let (mut slow, mut at) = (Pace::new(), ms(0));
        for _ in 0..100 {
            slow.starved = true;
            at += ms(200);
            slow.received(MIB, Some(ms(60)), at);
        }
        assert_eq!(slow.window, WINDOW_BYTES);
        assert!(
            slow.patience() >= Duration::from_secs(2),
            "{:?}",
            slow.patience()
        );
    }

    #[tokio::test]
    async fn room_is_counted_in_bytes_and_comes_back() {
        let client = Client::new();
        let rooms = client.room(&[2 * MIB, 2 * MIB, 2 * MIB, 2 * MIB]).await;
        assert_eq!(rooms.len(), 4);
        assert_eq!(client.window.available_permits(), 0);
        drop(rooms);
        assert_eq!(
            client.window.available_permits() as u64,
            WINDOW_BYTES / UNIT_BYTES
        );
        assert_eq!(
            client.count.available_permits(),
            WANTS_OUTSTANDING_COUNT_MAX
        );
    }
}
