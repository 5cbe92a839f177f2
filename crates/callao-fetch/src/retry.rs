//! How long to wait before a source is asked again. Pure: the jitter is handed in.

use std::time::Duration;

use crate::limits::{RETRY_AFTER_MAX, RETRY_FIRST, RETRY_MAX};

/// The pause after the `failures`-th failure in a row (1 = first): doubled each time up to a bound, then spread over
/// half to the whole of it by `jitter` in `0.0..1.0`, so that many clients do not come back at once.
pub(crate) fn pause(failures: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let own = RETRY_FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(RETRY_MAX);
    let own = own.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    // What the server asked for is a lower bound: never come earlier.
    retry_after.map_or(own, |asked| asked.min(RETRY_AFTER_MAX).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u128> = (1..=8).map(|n| pause(n, None, 1.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause(1, None, 0.0).as_millis(), 100);
        assert_eq!(pause(1, Some(Duration::from_secs(3)), 0.5).as_secs(), 3);
        assert_eq!(
            pause(1, Some(Duration::from_secs(9999)), 0.5),
            RETRY_AFTER_MAX
        );
    }
}
