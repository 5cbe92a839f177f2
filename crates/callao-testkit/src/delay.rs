//! A TCP proxy on loopback behind which a server seems far away: every byte arrives a fixed time later, in order.
//!
//! It is not the bottleneck: each direction reads as fast as the sender sends and keeps what is under way in memory, up to
//! [`UNDER_WAY_BYTES_MAX`], so that only the windows and the round trips of the two ends count. The connection itself is
//! made without a delay. Knows no protocol.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that one direction of one connection holds at most: four times what 60 ms of 1 GiB/s are.
pub const UNDER_WAY_BYTES_MAX: usize = 256 << 20;
/// What is read at once.
const PIECE_BYTES: usize = 256 << 10;
/// A piece shorter than this is copied, so that it does not hold a whole buffer.
const COPIED_BYTES_MAX: usize = 32 << 10;
/// Buffers that wait to be used again.
const SPARE_COUNT_MAX: usize = 64;
/// Connections at the same time.
const CONNECTIONS_COUNT_MAX: usize = 512;

/// A running proxy; ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Delay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    bytes: AtomicU64,
    /// Both ends of every connection: closing them ends its threads.
    open: Mutex<Vec<[TcpStream; 2]>>,
}

impl Delay {
    /// Starts a proxy to `target` that holds every byte back for `one_way`; a round trip takes twice that.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(target: SocketAddr, one_way: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let for_thread = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("delay".to_owned())
            .spawn(move || accept(&listener, target, one_way, &for_thread))
            .expect("a thread");
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `/ip4/127.0.0.1/tcp/PORT`.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/tcp/{}", self.address.ip(), self.address.port())
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that came out at the other end so far, both directions together.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Closes all connections that are open now; new ones are taken.
    pub fn cut(&self) {
        for ends in lock(&self.shared.open).drain(..) {
            for end in ends {
                // It may be closed already.
                drop(end.shutdown(Shutdown::Both));
            }
        }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the acceptor, which waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, one_way: Duration, shared: &Arc<Shared>) {
    for near in listener.incoming() {
        if shared.stopped.load(Ordering::Acquire) {
            return;
        }
        // A connection that cannot be passed on is closed: what a dead server looks like.
        let Ok(near) = near else { continue };
        let Ok(far) = TcpStream::connect(target) else {
            continue;
        };
        drop(join(near, far, one_way, shared));
    }
}

/// Starts the threads of both directions; they end with the connection.
fn join(
    near: TcpStream,
    far: TcpStream,
    one_way: Duration,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    for end in [&near, &far] {
        end.set_nodelay(true)?;
    }
    {
        let mut open = lock(&shared.open);
        open.retain(|ends| ends.iter().all(|end| end.peer_addr().is_ok()));
        if open.len() >= CONNECTIONS_COUNT_MAX {
            return Ok(());
        }
        open.push([near.try_clone()?, far.try_clone()?]);
    }
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let line = Arc::new(Line::default());
        let reading = Arc::clone(&line);
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name("delay-in".to_owned())
            .spawn(move || take_in(from, &reading, one_way))?;
        std::thread::Builder::new()
            .name("delay-out".to_owned())
            .spawn(move || give_out(to, &line, &shared.bytes))?;
    }
    Ok(())
}

fn take_in(mut from: TcpStream, line: &Line, one_way: Duration) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A reset is passed on as an end: the other side sees a stream that stops in the middle.
            Err(_) => 0,
        };
        let due = Instant::now() + one_way;
        let piece = if count <= COPIED_BYTES_MAX {
            buffer[..count].to_vec()
        } else {
            let next = line.spare();
            let mut piece = std::mem::replace(&mut buffer, next);
            piece.truncate(count);
            piece
        };
        if !line.put(due, piece) || count == 0 {
            return;
        }
    }
}

fn give_out(mut to: TcpStream, line: &Line, bytes: &AtomicU64) {
    while let Some((due, piece)) = line.take() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if piece.is_empty() {
            // The end of this direction; the other one goes on.
            drop(to.shutdown(Shutdown::Write));
            return;
        }
        if to.write_all(&piece).is_err() {
            break;
        }
        bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        line.give_back(piece);
    }
    line.close();
    drop(to.shutdown(Shutdown::Both));
}

/// What is under way in one direction, with the time at which it is due.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    closed: bool,
}

impl Line {
    /// Waits for room; `false` when nobody takes any more. An empty piece is the end.
    fn put(&self, due: Instant, piece: Vec<u8>) -> bool {
        let mut state = lock(&self.state);
        while state.bytes >= UNDER_WAY_BYTES_MAX && !state.closed {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return false;
        }
        state.bytes += piece.capacity();
        state.pieces.push_back((due, piece));
        drop(state);
        self.changed.notify_all();
        true
    }

    fn take(&self) -> Option<(Instant, Vec<u8>)> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some((due, piece)) = state.pieces.pop_front() {
                state.bytes -= piece.capacity();
                drop(state);
                self.changed.notify_all();
                return Some((due, piece));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A buffer of [`PIECE_BYTES`].
    fn spare(&self) -> Vec<u8> {
        let mut buffer = lock(&self.state).spare.pop().unwrap_or_default();
        buffer.resize(PIECE_BYTES, 0);
        buffer
    }

    fn give_back(&self, piece: Vec<u8>) {
        let mut state = lock(&self.state);
        if piece.capacity() >= PIECE_BYTES && state.spare.len() < SPARE_COUNT_MAX {
            state.spare.push(piece);
        }
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    const ONE_WAY: Duration = Duration::from_millis(30);

    /// A server that sends back what it gets.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().expect("a second handle");
                    drop(io::copy(&mut stream, &mut back));
                    drop(back.shutdown(Shutdown::Write));
                });
            }
        });
        address
    }

    #[test]
    fn what_is_sent_comes_back_in_order_and_never_earlier_than_a_round_trip() {
        let proxy = Delay::start(echo(), ONE_WAY);
        let bytes = Image::Random(1).bytes(5 << 20);
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        let mut writer = stream.try_clone().expect("a second handle");
        let sent = bytes.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            writer.write_all(&sent).expect("it reads");
            writer.shutdown(Shutdown::Write).expect("the end");
        });
        let mut first = [0; 1];
        stream.read_exact(&mut first).expect("a first byte");
        assert!(
            started.elapsed() >= 2 * ONE_WAY,
            "a byte came back before a round trip"
        );
        let mut rest = first.to_vec();
        stream.read_to_end(&mut rest).expect("the end comes too");
        thread.join().expect("the writer ends");
        assert!(rest == bytes, "other bytes came back");
        assert_eq!(proxy.bytes(), 2 * bytes.len() as u64);
    }

    #[test]
    fn connections_are_cut_and_new_ones_taken() {
        let proxy = Delay::start(echo(), Duration::ZERO);
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        stream.write_all(b"a").expect("it reads");
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).expect("an echo");
        proxy.cut();
        assert_eq!(stream.read(&mut byte).unwrap_or(0), 0, "it is still open");
        let mut again = TcpStream::connect(proxy.address()).expect("it listens");
        again.write_all(b"b").expect("it reads");
        again.read_exact(&mut byte).expect("an echo");
        assert_eq!(&byte, b"b");
    }

    #[test]
    fn a_server_that_is_not_there_is_a_connection_that_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let nobody = listener.local_addr().expect("it is bound");
        drop(listener);
        let proxy = Delay::start(nobody, Duration::ZERO);
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}
