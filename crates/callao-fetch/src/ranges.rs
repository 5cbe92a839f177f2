//! A set of byte ranges: sorted, disjoint, never touching. Pure; knows nothing of what the bytes are.

use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a file, as ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    // start -> end
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Nothing.
    pub(crate) const fn new() -> Self {
        RangeSet {
            ranges: BTreeMap::new(),
        }
    }

    /// Adds `range`; what is there already stays.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
            self.ranges.remove(&before);
        }
        while let Some((&next, &next_end)) = self.ranges.range(start..=end).next() {
            end = end.max(next_end);
            self.ranges.remove(&next);
        }
        self.ranges.insert(start, end);
    }

    /// Takes `range` out.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        for held in self.overlapping(&range) {
            self.ranges.remove(&held.start);
            if held.start < range.start {
                self.ranges.insert(held.start, range.start);
            }
            if held.end > range.end {
                self.ranges.insert(range.end, held.end);
            }
        }
    }

    /// The range that holds byte `at`.
    pub(crate) fn containing(&self, at: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ranges.range(..=at).next_back()?;
        (at < end).then_some(start..end)
    }

    /// Whether every byte of `range` is in the set.
    pub(crate) fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self
                .containing(range.start)
                .is_some_and(|held| held.end >= range.end)
    }

    /// The parts of `range` that are not in the set.
    pub(crate) fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for held in self.overlapping(range) {
            if held.start > at {
                gaps.push(at..held.start);
            }
            at = at.max(held.end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// The parts of `range` that are in the set.
    pub(crate) fn common(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let clipped = |held: Range<u64>| held.start.max(range.start)..held.end.min(range.end);
        self.overlapping(range).into_iter().map(clipped).collect()
    }

    /// All ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// Bytes in the set.
    pub(crate) fn total(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    fn overlapping(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self
            .containing(range.start)
            .map_or(range.start, |held| held.start);
        if first >= range.end {
            return Vec::new();
        }
        self.ranges
            .range(first..range.end)
            .map(|(&start, &end)| start..end)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(set(&[0..3, 5..8, 3..5]), set(&[0..4, 4..8]));
        assert_eq!(set(&[0..3, 5..8]).missing(&(1..10)), [3..5, 8..10]);
        let mut holed = set(&[0..5, 5..10]);
        holed.remove(3..5);
        assert_eq!(holed.iter().collect::<Vec<_>>(), [0..3, 5..10]);
        assert_eq!(
            (holed.containing(4), holed.containing(5)),
            (None, Some(5..10))
        );
        assert!(holed.covers(&(6..10)) && !holed.covers(&(2..4)));
    }

    proptest! {
        #[test]
        fn is_a_set_of_bytes(steps in proptest::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
            let mut bytes = [false; 80];
            let mut set = RangeSet::new();
            for (add, start, length) in steps {
                let range = start..start + length;
                bytes[start as usize..(start + length) as usize].fill(add);
                if add { set.insert(range) } else { set.remove(range) }
                prop_assert_eq!(set.total(), bytes.iter().filter(|b| **b).count() as u64);
                for at in 0..80 {
                    prop_assert_eq!(set.containing(at).is_some(), bytes[at as usize]);
                }
                let gaps: u64 = set.missing(&(0..80)).iter().map(|r| r.end - r.start).sum();
                prop_assert_eq!(gaps + set.total(), 80);
                let common: u64 = set.common(&(5..50)).iter().map(|r| r.end - r.start).sum();
                prop_assert_eq!(common, bytes[5..50].iter().filter(|b| **b).count() as u64);
                prop_assert!(set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start));
            }
        }
    }
}
