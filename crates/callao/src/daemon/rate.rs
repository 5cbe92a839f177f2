//! How fast bytes leave: one line that all guests of the gateway share, first come, first served.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::gateway::RateLimit;

/// A cap in bytes per second.
#[derive(Debug)]
pub(super) struct Line {
    rate: u64,
    /// When the line is free again.
    free: Mutex<Instant>,
}

impl Line {
    pub(super) fn new(rate: u64) -> Self {
        Line {
            rate: rate.max(1),
            free: Mutex::new(Instant::now()),
        }
    }

    /// When so many bytes may leave.
    fn book(&self, bytes: u64, now: Instant) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*free).max(now);
        *free = begin + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        begin
    }
}

impl RateLimit for Line {
    fn take(&self, bytes: u64) -> BoxFuture<'_, ()> {
        let begin = self.book(bytes, Instant::now());
        Box::pin(tokio::time::sleep_until(begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_at_the_rate_and_silence_earns_nothing() {
        let line = Line::new(1000);
        let begin = Instant::now() + Duration::from_secs(1);
        let after = |bytes, now| (line.book(bytes, now) - begin).as_millis();
        assert_eq!(after(500, begin), 0);
        assert_eq!(after(1000, begin), 500);
        assert_eq!(after(1, begin), 1500);
        let later = begin + Duration::from_secs(60);
        assert_eq!(after(1000, later), 60_000);
        assert_eq!(after(1, later), 61_000);
    }
}
