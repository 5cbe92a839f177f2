//! Which leaves are held: a bitmap of atomics. Must not know what a leaf is.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Proven {
    words: Box<[AtomicU64]>,
    leaves: usize,
    count: AtomicUsize,
}

impl Proven {
    pub(crate) fn new(leaves: usize) -> Self {
        Self {
            words: (0..leaves.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            leaves,
            count: AtomicUsize::new(0),
        }
    }

    /// Sets a bit; numbers beyond the end are of another layout and change nothing.
    pub(crate) fn set(&self, index: usize) {
        if index >= self.leaves {
            return;
        }
        let bit = 1 << (index % 64);
        // Release: who sees the bit also sees what the thread that set it did before, i.e. the written bytes.
        let before = self.words[index / 64].fetch_or(bit, Ordering::Release);
        if before & bit == 0 {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn get(&self, index: usize) -> bool {
        index < self.leaves
            && self.words[index / 64].load(Ordering::Acquire) >> (index % 64) & 1 == 1
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_once() {
        let proven = Proven::new(130);
        for index in [0, 63, 64, 129, 129, 130, 1000] {
            proven.set(index);
        }
        assert_eq!(proven.count(), 4);
        let held: Vec<usize> = (0..200).filter(|&index| proven.get(index)).collect();
        assert_eq!(held, [0, 63, 64, 129]);
        assert_eq!(Proven::new(0).count(), 0);
    }
}
