//! Notices that the computer slept, or that its clock was set: what the clock says moves more than time passes. The
//! guest's clock stood still meanwhile. Pure; the clocks are handed in.

use std::time::Duration;

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Time that this computer was awake, since some moment.
    pub(super) awake: Duration,
    /// Time since 1970.
    pub(super) clock: Duration,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        let of = |clock| {
            let time = rustix::time::clock_gettime(clock);
            Duration::new(
                u64::try_from(time.tv_sec).unwrap_or_default(),
                u32::try_from(time.tv_nsec).unwrap_or_default(),
            )
        };
        Moment {
            awake: of(rustix::time::ClockId::Monotonic),
            clock: of(rustix::time::ClockId::Realtime),
        }
    }
}

/// Whether a guest whose clock was right before is wrong now by more than `tolerated`.
pub(super) fn jumped(before: Moment, now: Moment, tolerated: Duration) -> bool {
    let awake = now.awake.saturating_sub(before.awake);
    let expected = before.clock + awake;
    expected.abs_diff(now.clock) > tolerated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_a_clock_that_was_set_are_jumps() {
        let at = |awake, clock| Moment {
            awake: Duration::from_secs(awake),
            clock: Duration::from_secs(clock),
        };
        let tolerated = Duration::from_secs(2);
        let table = [
            (at(0, 1000), at(30, 1030), false),
            (at(0, 1000), at(30, 1031), false),
            (at(0, 1000), at(30, 4630), true),
            (at(0, 1000), at(30, 900), true),
        ];
        for (before, now, expected) in table {
            assert_eq!(jumped(before, now, tolerated), expected, "{now:?}");
        }
    }
}
