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

    /// Takes a bit back.
    pub(crate) fn clear(&self, index: usize) {
        if index >= self.leaves {
            return;
        }
        let bit = 1 << (index % 64);
        let before = self.words[index / 64].fetch_and(!bit, Ordering::AcqRel);
        if before & bit != 0 {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The word that holds a bit, and the number of the word.
    pub(crate) fn word_of(&self, index: usize) -> (usize, u64) {
        let word = index / 64;
        let bits = self.words.get(word);
        (word, bits.map_or(0, |bits| bits.load(Ordering::Acquire)))
    }

    /// Sets every bit of a word that is set in `bits`.
    pub(crate) fn set_word(&self, word: usize, bits: u64) {
        (0..64)
            .filter(|bit| bits >> bit & 1 == 1)
            .for_each(|bit| self.set(word * 64 + bit));
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
        proven.clear(63);
        proven.clear(63);
        proven.clear(5000);
        assert_eq!((proven.count(), proven.get(63)), (3, false));
        assert_eq!(proven.word_of(129), (2, 2));
        assert_eq!(proven.word_of(5000).1, 0);
        proven.set_word(2, u64::MAX);
        assert_eq!(proven.count(), 4, "bits beyond the end change nothing");
        assert_eq!(Proven::new(0).count(), 0);
    }
}
