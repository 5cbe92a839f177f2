//! When a guest can be reached: something says "SSH-" at the forwarded port.
//!
//! QEMU's user network accepts at once, and sends what the guest does not answer again seconds later, whether or not anybody
//! still waits for it. So whoever tries often at the port of ssh finds a guest whose sshd is busy with all those tries. It is
//! tried often where nothing listens instead: there the guest's kernel refuses as soon as its network is up.
//!
//! Must not know how the guest was started. How tries follow each other is decided by `pace`, without a clock.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::said::said;
use crate::limits::{
    BANNER_BYTES_MAX, BANNER_PATIENCE, BANNER_PAUSE, BANNER_SLOW_PAUSE,
    BANNER_SLOW_TRIES_COUNT_MAX, BANNER_SLOW_WAIT, BANNER_TRIES_COUNT_MAX, BANNER_WAIT,
};

/// What the last try saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// There was no try that ended.
    Nothing,
    /// The host's port is not open: QEMU does not run, or forwards another.
    Unreachable(String),
    /// The connection was accepted, which QEMU does by itself, and nothing was said.
    Silence,
    /// The connection was closed: nobody listens in the guest yet.
    Closed,
    /// Something else than ssh answered.
    Foreign(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing"),
            Self::Unreachable(error) => write!(f, "no connection ({error})"),
            Self::Silence => write!(f, "silence (the guest's network is not up, or it is busy)"),
            Self::Closed => write!(
                f,
                "a closed connection (nothing listens at the guest's port 22)"
            ),
            Self::Foreign(text) => write!(f, "something that is not ssh: `{text}`"),
        }
    }
}

/// Why nothing answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The time is over.
    #[error("ssh at {address} did not answer within {} s; last seen: {seen}", within.as_secs())]
    Late {
        /// The forwarded port.
        address: SocketAddr,
        /// How long it was waited.
        within: Duration,
        /// What the last try saw.
        seen: Seen,
    },
    /// Somebody wants to stop.
    #[error("waiting for ssh at {address} was interrupted")]
    Cancelled {
        /// The forwarded port.
        address: SocketAddr,
    },
}

/// Waits until something at the address says "SSH-". `closed` leads to a port of the guest where nothing listens, if there
/// is such an address.
///
/// Tries overlap: a connection that QEMU accepted before the guest had a network may stay silent although the guest
/// answers by now, so the next one does not wait for its end.
///
/// # Errors
/// Nothing said so in time, or the token was cancelled.
pub async fn answers(
    address: SocketAddr,
    closed: Option<SocketAddr>,
    within: Duration,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let start = Instant::now();
    let end = start + within;
    let mut seen = Seen::Nothing;
    let (mut tries, mut looks) = (Tries::default(), Tries::default());
    let mut network_is_up = false;
    let mut tick = tokio::time::interval(BANNER_PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Err(Error::Cancelled { address }),
            () = sleep_until(end) => return Err(Error::Late { address, within, seen }),
            Some(tried) = tries.running.join_next() => match tried {
                Ok(None) => return Ok(()),
                Ok(Some(what)) => {
                    // The guest itself refused it.
                    network_is_up |= what == Seen::Closed;
                    seen = what;
                }
                Err(_) => {}
            },
            Some(looked) = looks.running.join_next() => {
                if !network_is_up && matches!(looked, Ok(Some(Seen::Closed))) {
                    network_is_up = true;
                    // They went into nothing.
                    tries.give_up();
                }
            }
            _ = tick.tick() => {
                let waited = start.elapsed();
                if let Some(closed) = closed.filter(|_| !network_is_up) {
                    looks.next(closed, pace(waited, false));
                }
                tries.next(address, pace(waited, network_is_up || closed.is_some()));
            }
        }
    }
}

/// Tries at one address.
#[derive(Default)]
struct Tries {
    running: JoinSet<Option<Seen>>,
    last: Option<Instant>,
}

impl Tries {
    /// Begins one, if it is time.
    fn next(&mut self, address: SocketAddr, pace: Pace) {
        let is_time =
            self.running.is_empty() || self.last.is_none_or(|last| last.elapsed() >= pace.pause);
        if is_time && self.running.len() < pace.count_max {
            self.last = Some(Instant::now());
            self.running.spawn(read_banner(address, pace.wait));
        }
    }

    /// Ends those that are under way: it is time for the next one.
    fn give_up(&mut self) {
        self.running.abort_all();
        self.last = None;
    }
}

/// How tries follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// Between two tries of which the first one is silent. Where none is under way, the next one begins at once.
    pause: Duration,
    /// How long one waits.
    wait: Duration,
    /// How many at a time.
    count_max: usize,
}

/// Quick while the guest has no network and there is no other way to learn when it has: what is sent into it then is lost.
/// Patient otherwise: silence means then that sshd is busy, and each further connection makes it busier. And patient with a
/// guest that has shown that it is slow.
fn pace(waited: Duration, will_be_told: bool) -> Pace {
    if waited < BANNER_PATIENCE && !will_be_told {
        return Pace {
            pause: BANNER_PAUSE,
            wait: BANNER_WAIT,
            count_max: BANNER_TRIES_COUNT_MAX,
        };
    }
    Pace {
        pause: BANNER_SLOW_PAUSE,
        wait: BANNER_SLOW_WAIT,
        count_max: BANNER_SLOW_TRIES_COUNT_MAX,
    }
}

/// `None`: ssh answered.
async fn read_banner(address: SocketAddr, wait: Duration) -> Option<Seen> {
    timeout(wait, async {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) => return Some(Seen::Unreachable(error.to_string())),
        };
        let mut text = Vec::new();
        while text.len() < BANNER_BYTES_MAX {
            let mut buffer = [0; BANNER_BYTES_MAX];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) if text.is_empty() => return Some(Seen::Closed),
                Ok(0) | Err(_) => break,
                Ok(length) => text.extend_from_slice(&buffer[..length]),
            }
            if text.starts_with(b"SSH-") {
                return None;
            }
            if !b"SSH-".starts_with(&text) {
                break;
            }
        }
        Some(Seen::Foreign(said(&text)))
    })
    .await
    .unwrap_or(Some(Seen::Silence))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(1500);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[test]
    fn tries_are_quick_until_the_network_is_up() {
        let table = [
            (0, false, BANNER_PAUSE),
            (59, false, BANNER_PAUSE),
            (60, false, BANNER_SLOW_PAUSE),
            (0, true, BANNER_SLOW_PAUSE),
            (600, true, BANNER_SLOW_PAUSE),
        ];
        for (seconds, network_is_up, pause) in table {
            let pace = pace(Duration::from_secs(seconds), network_is_up);
            assert_eq!(pace.pause, pause, "{seconds} {network_is_up}");
            assert_eq!(
                pace.count_max > BANNER_SLOW_TRIES_COUNT_MAX,
                pause == BANNER_PAUSE
            );
        }
    }

    /// A try that is refused shows that the guest's network is up: what is silent after it is an sshd that is busy.
    #[tokio::test]
    async fn an_sshd_that_is_busy_is_not_made_busier() {
        let (listener, address) = listener().await;
        let waiting =
            tokio::spawn(
                async move { answers(address, None, LONG, &CancellationToken::new()).await },
            );
        drop(listener.accept().await.expect("a connection"));
        let (mut busy, _) = listener.accept().await.expect("a connection");
        // Longer than the pause between two tries to a guest without a network.
        let next = timeout(BANNER_PAUSE * 5, listener.accept()).await;
        assert!(next.is_err(), "another connection");
        busy.write_all(b"SSH-2.0-x\r\n").await.expect("written");
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
    }

    /// As QEMU does: it accepts, and what came before the guest was up stays silent for ever.
    #[tokio::test]
    async fn a_connection_that_stays_silent_does_not_hold_up_the_next() {
        let (listener, address) = listener().await;
        let waiting =
            tokio::spawn(
                async move { answers(address, None, LONG, &CancellationToken::new()).await },
            );
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(listener.accept().await.expect("a connection"));
        }
        let (mut stream, _) = listener.accept().await.expect("a connection");
        // In two pieces, as the network may bring it.
        stream.write_all(b"SS").await.expect("written");
        stream.flush().await.expect("written");
        stream.write_all(b"H-2.0-x\r\n").await.expect("written");
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
    }

    /// A port where nothing listens is asked often, ssh is not; the first refusal there has ssh asked again at once.
    #[tokio::test]
    async fn the_network_is_looked_for_where_it_disturbs_nobody() {
        let (ssh, address) = listener().await;
        let (refusing, closed) = listener().await;
        let cancel = CancellationToken::new();
        let waiting =
            tokio::spawn(async move { answers(address, Some(closed), LONG, &cancel).await });
        let first = ssh.accept().await.expect("a connection");
        let mut looks = Vec::new();
        for _ in 0..4 {
            looks.push(refusing.accept().await.expect("a connection"));
        }
        let next = timeout(Duration::ZERO, ssh.accept()).await;
        assert!(next.is_err(), "another connection to ssh");
        // The guest's network is up, and its sshd is.
        drop((looks, refusing));
        let next = timeout(BANNER_SLOW_PAUSE / 2, ssh.accept()).await;
        let (mut answering, _) = next.expect("at once").expect("a connection");
        answering
            .write_all(b"SSH-2.0-x\r\n")
            .await
            .expect("written");
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        drop(first);
    }

    #[tokio::test]
    async fn what_was_seen_last_is_said() {
        let cancel = CancellationToken::new();
        let (closed, address) = listener().await;
        drop(closed);
        let error = answers(address, None, SHORT, &cancel)
            .await
            .expect_err("nothing there");
        assert_eq!(
            error.to_string(),
            format!(
                "ssh at {address} did not answer within 1 s; last seen: no connection (Connection refused (os error 111))"
            )
        );

        let (silent, address) = listener().await;
        let error = answers(address, None, SHORT, &cancel)
            .await
            .expect_err("silence");
        assert_eq!(
            error.to_string(),
            format!(
                "ssh at {address} did not answer within 1 s; last seen: silence (the guest's network is not up, or it is busy)"
            )
        );
        drop(silent);

        for (text, end) in [
            (
                "",
                "a closed connection (nothing listens at the guest's port 22)",
            ),
            (
                "HTTP/1.1 400 Bad\r\n",
                "something that is not ssh: `HTTP/1.1 400 Bad`",
            ),
        ] {
            let (listener, address) = listener().await;
            let server = tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            });
            let error = answers(address, None, SHORT, &cancel)
                .await
                .expect_err("no ssh");
            assert_eq!(
                error.to_string(),
                format!("ssh at {address} did not answer within 1 s; last seen: {end}")
            );
            server.abort();
        }
    }

    #[tokio::test]
    async fn waiting_ends_when_it_is_cancelled() {
        let (_silent, address) = listener().await;
        let cancel = CancellationToken::new();
        let waiting = answers(address, None, LONG, &cancel);
        tokio::pin!(waiting);
        assert!(timeout(BANNER_PAUSE, &mut waiting).await.is_err());
        cancel.cancel();
        let error = waiting.await.expect_err("cancelled");
        assert_eq!(
            error.to_string(),
            format!("waiting for ssh at {address} was interrupted")
        );
    }
}
