//! How fast somebody takes: from two looks at what he has taken. Nobody looks: nothing is computed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks that are compared: shorter ones say little.
const WINDOW_MIN: Duration = Duration::from_millis(900);
/// After this time without a look the next one says nothing of now.
const WINDOW_MAX: Duration = Duration::from_secs(30);

/// The looks.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<String, Look>>);

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    bytes: u64,
    rate: u64,
}

impl Rates {
    /// Bytes per second of everybody, in their order. Whoever is not named is forgotten.
    pub(super) fn of(&self, all: &[(String, u64)], now: Instant) -> Vec<u64> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let look = |(who, bytes): &(String, u64)| {
            let fresh = Look {
                at: now,
                bytes: *bytes,
                rate: 0,
            };
            let look = looks.get(who).map_or(fresh, |last| last.next(now, *bytes));
            (who.clone(), look)
        };
        let seen: Vec<(String, Look)> = all.iter().map(look).collect();
        let rates = seen.iter().map(|(_, look)| look.rate).collect();
        *looks = seen.into_iter().collect();
        rates
    }
}

impl Look {
    fn next(self, now: Instant, bytes: u64) -> Look {
        let passed = now.saturating_duration_since(self.at);
        if passed < WINDOW_MIN {
            return self;
        }
        let taken = bytes.saturating_sub(self.bytes);
        let rate = match passed <= WINDOW_MAX {
            true => (taken as f64 / passed.as_secs_f64()) as u64,
            false => 0,
        };
        Look {
            at: now,
            bytes,
            rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_taken_between_two_looks() {
        let rates = Rates::default();
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let look = |bytes, seconds| rates.of(&[("a".into(), bytes)], at(seconds))[0];
        assert_eq!(look(500, 0.0), 0);
        assert_eq!(look(900, 0.5), 0);
        assert_eq!(look(2500, 2.0), 1000);
        // Too early: what was seen last.
        assert_eq!(look(9000, 2.1), 1000);
        assert_eq!(look(2500, 4.0), 0);
        assert_eq!(look(1 << 30, 100.0), 0);
        // Forgotten, and back again.
        assert!(rates.of(&[], at(101.0)).is_empty());
        assert_eq!(look(1 << 31, 102.0), 0);
    }
}
