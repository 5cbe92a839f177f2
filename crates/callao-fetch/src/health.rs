//! What is known of each source while a file is fetched: how fast, how often it failed, whether it is still in.
//! Pure: time is handed in as the duration since the fetch began.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::FAILURES_COUNT_MAX;
use crate::retry;
use crate::source::SourceError;

/// A source this much slower than the fastest, and below [`SLOW_BYTES_PER_S`], is let go.
const SLOW_SHARE: f64 = 0.02;
const SLOW_BYTES_PER_S: f64 = 64.0 * 1024.0;
/// How long a source is watched before its throughput counts against it.
const WATCH: Duration = Duration::from_secs(8);
/// The memory of the rate.
const RATE_WINDOW: Duration = Duration::from_millis(1000);
/// Less than this says nothing about a rate.
const RATE_TIME_MIN: Duration = Duration::from_millis(1);

/// Whether a source is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// May be asked.
    In,
    /// Not before this time.
    PausedUntil(Duration),
    /// Not for this file any more.
    Out,
}

/// What a failure leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Consequence {
    /// Nothing: ask again in another way at once.
    Again,
    /// Wait this long.
    Pause(Duration),
    /// No more of it.
    Drop,
    /// No more of it, and what it sent unproven is not to be trusted.
    Ban,
}

/// The record of one source.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    standing: Standing,
    failures: u32,
    rate: Option<f64>,
    /// When and how much, within the last [`RATE_WINDOW`].
    recent: VecDeque<(Duration, u64)>,
    recent_bytes: u64,
    /// Since when the recent bytes have been coming.
    recent_since: Option<Duration>,
    busy_since: Option<Duration>,
    last_byte: Option<Duration>,
    first_byte_delay: Option<Duration>,
    busy: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            standing: Standing::In,
            failures: 0,
            rate: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_since: None,
            busy_since: None,
            last_byte: None,
            first_byte_delay: None,
            busy: Duration::ZERO,
        }
    }
}

impl Health {
    /// Where it stands at `now`.
    pub(crate) fn standing(&self, now: Duration) -> Standing {
        match self.standing {
            Standing::PausedUntil(when) if now >= when => Standing::In,
            ref other => other.clone(),
        }
    }

    /// Whether it may be asked at `now`.
    pub(crate) fn usable(&self, now: Duration) -> bool {
        self.standing(now) == Standing::In
    }

    /// Whether it is out for good.
    pub(crate) fn is_out(&self) -> bool {
        self.standing == Standing::Out
    }

    /// Bytes per second over the last moments, over all its requests; `None` before the first bytes.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// From request to first byte, as last seen.
    pub(crate) fn first_byte_delay(&self) -> Duration {
        self.first_byte_delay.unwrap_or(Duration::from_millis(50))
    }

    /// How long nothing has come, while something was asked.
    pub(crate) fn silent_for(&self, now: Duration) -> Duration {
        self.busy_since.map_or(Duration::ZERO, |since| {
            now.saturating_sub(self.last_byte.unwrap_or(since).max(since))
        })
    }

    /// A request is under way where none was.
    pub(crate) fn became_busy(&mut self, now: Duration) {
        if self.busy_since.is_none() {
            self.busy_since = Some(now);
        }
    }

    /// No request is under way any more.
    pub(crate) fn became_idle(&mut self, now: Duration) {
        if let Some(since) = self.busy_since.take() {
            self.busy += now.saturating_sub(since);
        }
        // The time without work must not count against it.
        self.recent.clear();
        self.recent_bytes = 0;
        self.recent_since = None;
    }

    /// An answer began at `now`, `delay` after its request.
    pub(crate) fn answered(&mut self, delay: Duration, now: Duration) {
        self.first_byte_delay = Some(delay);
        self.recent_since.get_or_insert(now);
    }

    /// `bytes` arrived at `now`.
    pub(crate) fn arrived(&mut self, bytes: u64, now: Duration) {
        let since = *self
            .recent_since
            .get_or_insert(self.busy_since.unwrap_or(now));
        self.recent.push_back((now, bytes));
        self.recent_bytes += bytes;
        let mut from = since;
        while let Some((at, old)) = self.recent.front().copied()
            && now.saturating_sub(at) > RATE_WINDOW
        {
            self.recent.pop_front();
            self.recent_bytes -= old;
            from = at;
        }
        self.recent_since = Some(from);
        let elapsed = now.saturating_sub(from);
        if elapsed >= RATE_TIME_MIN {
            self.rate = Some(self.recent_bytes as f64 / elapsed.as_secs_f64());
        }
        self.last_byte = Some(now);
        self.failures = 0;
    }

    /// It failed; `jitter` in `0.0..1.0`.
    pub(crate) fn failed(
        &mut self,
        error: &SourceError,
        now: Duration,
        jitter: f64,
    ) -> Consequence {
        let retry_after = match error {
            SourceError::NoRanges => return Consequence::Again,
            SourceError::False(_) => {
                self.standing = Standing::Out;
                return Consequence::Ban;
            }
            SourceError::NotFound(_)
            | SourceError::Protocol(_)
            | SourceError::Changed(_)
            | SourceError::Unsupported(_) => {
                self.standing = Standing::Out;
                return Consequence::Drop;
            }
            SourceError::Network(_) => None,
            SourceError::Busy { retry_after, .. } => *retry_after,
        };
        self.failures += 1;
        if self.failures > FAILURES_COUNT_MAX {
            self.standing = Standing::Out;
            return Consequence::Drop;
        }
        let pause = retry::pause(self.failures, retry_after, jitter);
        self.standing = Standing::PausedUntil(now + pause);
        Consequence::Pause(pause)
    }

    /// Takes it out.
    pub(crate) fn drop_out(&mut self) {
        self.standing = Standing::Out;
    }

    /// Whether it is so much slower than `fastest` (bytes/s) that its spans only hold up the others.
    pub(crate) fn too_slow(&self, fastest: f64, now: Duration) -> bool {
        let watched = self.busy
            + self
                .busy_since
                .map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let Some(mut rate) = self.rate else {
            return false;
        };
        let silent = self.silent_for(now).as_secs_f64();
        // A rate is only learnt from bytes; without any it decays.
        rate *= (-silent / 4.0).exp();
        watched > WATCH && rate < SLOW_BYTES_PER_S && rate < fastest * SLOW_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_rate_follows_what_arrives() {
        let mut health = Health::default();
        health.became_busy(at(0));
        for step in 1..=50 {
            health.arrived(1_000_000, at(step * 100));
        }
        let rate = health.rate().expect("bytes came");
        assert!((9.9e6..10.1e6).contains(&rate), "{rate}");
    }

    #[test]
    fn failures_pause_then_drop_and_bytes_forgive() {
        let mut health = Health::default();
        let network = SourceError::Network("reset".into());
        for _ in 0..FAILURES_COUNT_MAX {
            assert!(matches!(
                health.failed(&network, at(0), 0.5),
                Consequence::Pause(_)
            ));
        }
        assert!(!health.usable(at(0)) && health.usable(at(60_000)));
        health.arrived(1, at(60_000));
        assert!(matches!(
            health.failed(&network, at(60_001), 0.5),
            Consequence::Pause(_)
        ));
        for _ in 0..FAILURES_COUNT_MAX - 1 {
            health.failed(&network, at(60_002), 0.5);
        }
        assert_eq!(health.failed(&network, at(60_003), 0.5), Consequence::Drop);
        assert!(health.is_out());
    }

    #[test]
    fn lies_ban_at_once() {
        let mut health = Health::default();
        assert_eq!(
            health.failed(&SourceError::False("leaf 3".into()), at(0), 0.0),
            Consequence::Ban
        );
        assert!(health.is_out());
    }

    #[test]
    fn a_crawling_source_is_too_slow_only_beside_a_fast_one() {
        let mut health = Health::default();
        health.became_busy(at(0));
        for step in 1..=100 {
            health.arrived(1000, at(step * 100));
        }
        assert!(health.too_slow(10e6, at(10_000)));
        assert!(!health.too_slow(100e3, at(10_000)));
    }
}
