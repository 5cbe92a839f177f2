//! Who gets how much of the line: pure, with a clock that is handed in. Must not know what is sent.
//!
//! Nobody waits while the line is free. When it is not (a rate cap, memory, more peers than slots), whoever got least goes
//! first; a peer that comes back gets no credit for the time it was away.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::limits::{UPLOAD_BURST_BYTES, UPLOAD_IN_FLIGHT_BYTES_MAX, UPLOAD_TURN_BYTES};

/// What others may use of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes per second over all peers. `None`: no cap.
    pub rate_bytes_s_max: Option<u64>,
    /// Peers that are sent blocks at the same time; the others wait for their turn.
    pub slots_count_max: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        UploadLimits {
            rate_bytes_s_max: None,
            slots_count_max: 32,
        }
    }
}

/// The answer to somebody who wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send; tell [`Upload::done`] afterwards.
    Go,
    /// Ask again when something changed, at the latest after this time.
    Wait(Duration),
}

/// How long to wait where only another peer's end will change something.
const RECHECK: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Share {
    in_flight: u64,
    /// Bytes granted, counted from the least that anybody had when this peer came.
    granted: u64,
    /// Bytes granted since it got its slot.
    turn: u64,
    waiting: usize,
}

/// The state of the line.
#[derive(Debug)]
pub(crate) struct Upload<K> {
    limits: UploadLimits,
    shares: HashMap<K, Share>,
    in_flight: u64,
    /// Bytes that may be sent at once; negative after a large message.
    credit: f64,
    at: Duration,
}

impl<K: Hash + Eq + Copy> Upload<K> {
    pub(crate) fn new(limits: UploadLimits) -> Self {
        Upload {
            limits,
            shares: HashMap::new(),
            in_flight: 0,
            credit: UPLOAD_BURST_BYTES as f64,
            at: Duration::ZERO,
        }
    }

    /// Somebody has something to send. It stays in line until [`Self::leave`].
    pub(crate) fn enter(&mut self, peer: K) {
        let least = self.shares.values().map(|share| share.granted).min();
        let share = self.shares.entry(peer).or_insert(Share {
            granted: least.unwrap_or(0),
            ..Share::default()
        });
        share.waiting += 1;
    }

    /// The opposite of [`Self::enter`]: it was served, or gave up.
    pub(crate) fn leave(&mut self, peer: &K) {
        if let Some(share) = self.shares.get_mut(peer) {
            share.waiting = share.waiting.saturating_sub(1);
        }
        self.forget_idle(peer);
    }

    /// May `peer`, which is in line, send `bytes` now?
    pub(crate) fn ask(&mut self, peer: &K, bytes: u64, now: Duration) -> Verdict {
        self.refill(now);
        if let Some(rate) = self.limits.rate_bytes_s_max
            && self.credit <= 0.0
        {
            return Verdict::Wait(Duration::from_secs_f64(
                (1.0 - self.credit) / rate.max(1) as f64,
            ));
        }
        let full = self.in_flight > 0 && self.in_flight + bytes > UPLOAD_IN_FLIGHT_BYTES_MAX;
        if full || !self.has_slot(peer) || !self.is_next(peer) {
            return Verdict::Wait(RECHECK);
        }
        if let Some(share) = self.shares.get_mut(peer) {
            share.in_flight += bytes;
            share.granted += bytes;
            share.turn += bytes;
        }
        self.in_flight += bytes;
        if self.limits.rate_bytes_s_max.is_some() {
            self.credit -= bytes as f64;
        }
        Verdict::Go
    }

    /// `bytes` that were granted are sent, or will not be.
    pub(crate) fn done(&mut self, peer: &K, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if let Some(share) = self.shares.get_mut(peer) {
            share.in_flight = share.in_flight.saturating_sub(bytes);
            if share.in_flight == 0 {
                share.turn = 0;
            }
        }
        self.forget_idle(peer);
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if let Some(rate) = self.limits.rate_bytes_s_max {
            // A small cap gets a small burst, so that it holds over every second.
            let most = (rate as f64 / 4.0).clamp(1.0, UPLOAD_BURST_BYTES as f64);
            self.credit = (self.credit + passed * rate as f64).min(most);
        }
    }

    /// A slot is taken while something is in flight. A long turn ends when others wait for a slot, and whoever got least
    /// gets the next one.
    fn has_slot(&self, peer: &K) -> bool {
        let Some(mine) = self.shares.get(peer) else {
            return false;
        };
        let slots = self.limits.slots_count_max.max(1);
        let taken = self
            .shares
            .values()
            .filter(|share| share.in_flight > 0)
            .count();
        let mut without = self
            .shares
            .values()
            .filter(|share| share.in_flight == 0 && share.waiting > 0);
        if mine.in_flight == 0 {
            let before = without.filter(|share| share.granted < mine.granted).count();
            return taken + before < slots;
        }
        let crowded = taken >= slots && without.next().is_some();
        !(crowded && mine.turn >= UPLOAD_TURN_BYTES)
    }

    /// Where there is a cap, whoever got least goes first.
    fn is_next(&self, peer: &K) -> bool {
        let scarce = self.limits.rate_bytes_s_max.is_some()
            || self.in_flight > UPLOAD_IN_FLIGHT_BYTES_MAX / 2;
        let Some(mine) = self.shares.get(peer).filter(|_| scarce) else {
            return true;
        };
        let eligible = |share: &&Share| share.waiting > 0 && share.in_flight <= mine.in_flight;
        let least = self
            .shares
            .values()
            .filter(eligible)
            .map(|share| share.granted)
            .min();
        least.is_none_or(|least| mine.granted <= least)
    }

    fn forget_idle(&mut self, peer: &K) {
        if self
            .shares
            .get(peer)
            .is_some_and(|share| share.waiting == 0 && share.in_flight == 0)
        {
            self.shares.remove(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn upload(rate: Option<u64>, slots: usize) -> Upload<char> {
        Upload::new(UploadLimits {
            rate_bytes_s_max: rate,
            slots_count_max: slots,
        })
    }

    /// Everybody in `peers` always has `bytes` to send, which take no time; what each got after `seconds`.
    fn run(
        upload: &mut Upload<char>,
        peers: &[(char, usize, u64)],
        seconds: u64,
    ) -> HashMap<char, u64> {
        let mut got = HashMap::new();
        for (peer, lanes, _) in peers {
            for _ in 0..*lanes {
                upload.enter(*peer);
            }
        }
        for step in 0..seconds * 1000 {
            let now = Duration::from_millis(step);
            for (peer, lanes, bytes) in peers {
                for _ in 0..*lanes {
                    if upload.ask(peer, *bytes, now) == Verdict::Go {
                        *got.entry(*peer).or_insert(0) += bytes;
                        upload.done(peer, *bytes);
                    }
                }
            }
        }
        got
    }

    #[test]
    fn a_free_line_makes_nobody_wait() {
        let mut upload = upload(None, 4);
        upload.enter('a');
        for _ in 0..8 {
            assert_eq!(upload.ask(&'a', MIB, Duration::ZERO), Verdict::Go);
        }
    }

    #[test]
    fn a_cap_holds_and_is_shared_evenly() {
        let mut line = upload(Some(10 * MIB), 8);
        // One asks with 32 streams and small messages, the other with one stream and large ones.
        let got = run(&mut line, &[('a', 32, MIB / 4), ('b', 1, MIB)], 10);
        let (a, b) = (got[&'a'], got[&'b']);
        assert!((98 * MIB..=104 * MIB).contains(&(a + b)), "{a} {b}");
        assert!(a.abs_diff(b) <= 2 * MIB, "{a} {b}");
    }

    #[test]
    fn a_tiny_cap_lets_large_messages_through_in_the_end() {
        let mut line = upload(Some(MIB / 8), 8);
        let got = run(&mut line, &[('a', 1, MIB)], 41);
        assert!((5 * MIB..=7 * MIB).contains(&got[&'a']), "{}", got[&'a']);
    }

    #[test]
    fn whoever_comes_later_gets_no_arrears() {
        let mut line = upload(Some(10 * MIB), 8);
        run(&mut line, &[('a', 1, MIB)], 20);
        let got = run(&mut line, &[('a', 1, MIB), ('b', 1, MIB)], 40);
        // The clock starts again at zero: the first 20 seconds give no credit.
        assert!(got[&'a'].abs_diff(got[&'b']) <= 2 * MIB, "{got:?}");
    }

    #[test]
    fn slots_are_passed_on() {
        let mut line = upload(None, 1);
        line.enter('a');
        line.enter('b');
        let mut granted = 0;
        while line.ask(&'a', MIB, Duration::ZERO) == Verdict::Go {
            granted += MIB;
            assert_eq!(line.ask(&'b', MIB, Duration::ZERO), Verdict::Wait(RECHECK));
        }
        assert!(
            granted >= UPLOAD_TURN_BYTES.min(UPLOAD_IN_FLIGHT_BYTES_MAX / 2),
            "{granted}"
        );
        line.done(&'a', granted);
        assert_eq!(
            line.ask(&'a', MIB, Duration::ZERO),
            Verdict::Wait(RECHECK),
            "b got less"
        );
        assert_eq!(line.ask(&'b', MIB, Duration::ZERO), Verdict::Go);
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut line = upload(None, 100);
        let peers: Vec<char> = ('a'..='z').collect();
        let mut granted = 0;
        for peer in &peers {
            line.enter(*peer);
        }
        for _ in 0..10 {
            for peer in &peers {
                if line.ask(peer, 4 * MIB, Duration::ZERO) == Verdict::Go {
                    granted += 4 * MIB;
                }
            }
        }
        assert!(granted <= UPLOAD_IN_FLIGHT_BYTES_MAX && granted > 0);
        for peer in &peers {
            line.done(peer, 40 * MIB);
            line.leave(peer);
        }
        assert!(line.shares.is_empty());
    }
}
