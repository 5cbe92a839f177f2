//! When a guest can be reached: first something says "SSH-" at the forwarded port, then a command runs.
//! Must not know how the guest was started. Order of the tries is decided by `pace`, without a clock.

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
    BANNER_BYTES_MAX, BANNER_PATIENCE, BANNER_PAUSE, BANNER_SLOW_PAUSE, BANNER_SLOW_WAIT,
    BANNER_TRIES_COUNT_MAX, BANNER_WAIT,
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

/// Waits until something at the address says "SSH-".
///
/// Tries overlap: a connection that QEMU accepted before the guest had a network may stay silent although the guest
/// answers by now, so the next one does not wait for its end.
///
/// # Errors
/// Nothing said so in time, or the token was cancelled.
pub async fn answers(
    address: SocketAddr,
    within: Duration,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let start = Instant::now();
    let end = start + within;
    let mut seen = Seen::Nothing;
    let mut tries = JoinSet::new();
    let mut pause = pace(Duration::ZERO).pause;
    let mut tick = ticks(pause);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Err(Error::Cancelled { address }),
            () = sleep_until(end) => return Err(Error::Late { address, within, seen }),
            Some(tried) = tries.join_next() => match tried {
                Ok(None) => return Ok(()),
                Ok(Some(what)) => seen = what,
                Err(_) => {}
            },
            _ = tick.tick() => {
                let pace = pace(start.elapsed());
                if pace.pause != pause {
                    pause = pace.pause;
                    tick = ticks(pause);
                    tick.reset();
                }
                if tries.len() < BANNER_TRIES_COUNT_MAX {
                    tries.spawn(read_banner(address, pace.wait));
                }
            }
        }
    }
}

fn ticks(pause: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// How often is tried, and how long a try waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    pause: Duration,
    wait: Duration,
}

/// Quick at first, so that little time is lost; patient with a guest that has shown that it is slow.
fn pace(waited: Duration) -> Pace {
    if waited < BANNER_PATIENCE {
        return Pace {
            pause: BANNER_PAUSE,
            wait: BANNER_WAIT,
        };
    }
    Pace {
        pause: BANNER_SLOW_PAUSE,
        wait: BANNER_SLOW_WAIT,
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
    fn tries_are_quick_at_first() {
        let quick = Pace {
            pause: BANNER_PAUSE,
            wait: BANNER_WAIT,
        };
        let slow = Pace {
            pause: BANNER_SLOW_PAUSE,
            wait: BANNER_SLOW_WAIT,
        };
        let table = [(0, quick), (59, quick), (60, slow), (600, slow)];
        for (seconds, expected) in table {
            assert_eq!(pace(Duration::from_secs(seconds)), expected);
        }
    }

    /// As QEMU does: it accepts, and what came before the guest was up stays silent for ever.
    #[tokio::test]
    async fn a_connection_that_stays_silent_does_not_hold_up_the_next() {
        let (listener, address) = listener().await;
        let waiting =
            tokio::spawn(async move { answers(address, LONG, &CancellationToken::new()).await });
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

    #[tokio::test]
    async fn what_was_seen_last_is_said() {
        let cancel = CancellationToken::new();
        let (closed, address) = listener().await;
        drop(closed);
        let error = answers(address, SHORT, &cancel)
            .await
            .expect_err("nothing there");
        assert_eq!(
            error.to_string(),
            format!(
                "ssh at {address} did not answer within 1 s; last seen: no connection (Connection refused (os error 111))"
            )
        );

        let (silent, address) = listener().await;
        let error = answers(address, SHORT, &cancel).await.expect_err("silence");
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
            let error = answers(address, SHORT, &cancel).await.expect_err("no ssh");
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
        let waiting = answers(address, LONG, &cancel);
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
