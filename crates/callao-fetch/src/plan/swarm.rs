//! What other hosts mean for the plan: which bytes they have, which of them want the same file, and which part of it is
//! ours to bring in from outside. Pure; knows neither sources nor lanes. The wire is `source/lan.rs`.
//!
//! A *peer* has bytes of the file. A *rival* is a peer that is still fetching it: rivals share the work. The file is cut
//! into blocks, and every host ranks all hosts for each block by a hash of both (rendezvous hashing), so that all come
//! to the same order without talking about it, and one that comes or goes moves only its own blocks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{
    SWARM_BLOCK_BYTES_MAX, SWARM_BLOCK_BYTES_MIN, SWARM_BLOCKS_COUNT, SWARM_BLOCKS_COUNT_MAX,
    SWARM_CROWD_COUNT, SWARM_CROWD_SPAN_TIME, SWARM_PACE_STEP, SWARM_PACE_WINDOW,
    SWARM_PACE_WINDOW_MIN, SWARM_STILL, SWARM_TRIAL,
};
use crate::ranges::RangeSet;

use super::span_bytes;

/// Bytes of others are brought in only when that takes less than this part of the time in which they would come anyway.
const STEAL_GAIN: f64 = 0.8;

/// What this host is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Me {
    /// They know it by this name ([`name_of`]) and get from it what it brings: it has a part of the work.
    Host(u64),
    /// They get nothing from it: what it brings is brought for itself alone. The number stands for it where each host
    /// shall begin somewhere else.
    Guest(u64),
}

impl Me {
    fn number(self) -> u64 {
        match self {
            Me::Host(number) | Me::Guest(number) => number,
        }
    }
}

/// The other hosts.
pub(crate) struct Swarm {
    me: Me,
    size: u64,
    block: u64,
    peers: BTreeMap<usize, Peer>,
    /// What peers have between them.
    held: RangeSet,
    /// For each block, the rivals that come before us.
    ranks: Vec<u16>,
    /// For each block, the peers that have all of it.
    copies: Vec<u16>,
    pace: Pace,
}

struct Peer {
    name: u64,
    has: Arc<RangeSet>,
    whole: Vec<bool>,
    rival: bool,
}

/// A part of the file that somebody may begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Free bytes.
    pub gap: Range<u64>,
    /// Begin at its end: its owner comes from the start.
    pub from_end: bool,
}

impl Swarm {
    /// Nobody is known.
    pub(crate) fn new(me: Me) -> Self {
        Swarm {
            me,
            size: 0,
            block: SWARM_BLOCK_BYTES_MAX,
            peers: BTreeMap::new(),
            held: RangeSet::new(),
            ranks: Vec::new(),
            copies: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// The length of the file: blocks can be counted from now on.
    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
        self.block = block_bytes(size);
        self.count_anew();
    }

    /// Whether anybody else has something of the file.
    pub(crate) fn is_on(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Whether others are fetching it too.
    pub(crate) fn has_rivals(&self) -> bool {
        self.peers.values().any(|peer| peer.rival)
    }

    /// What the peer with this number has; `None`: it is no peer.
    pub(crate) fn has(&self, source: usize) -> Option<&RangeSet> {
        self.peers.get(&source).map(|peer| &*peer.has)
    }

    /// What peers have between them.
    pub(crate) fn held(&self) -> &RangeSet {
        &self.held
    }

    /// A peer said what it has.
    pub(crate) fn peer_has(
        &mut self,
        source: usize,
        name: u64,
        has: Arc<RangeSet>,
        rival: bool,
        now: Duration,
    ) {
        let known = self.peers.get(&source);
        let same = |peer: &Peer| peer.rival == rival && peer.name == name && peer.has == has;
        if known.is_some_and(same) {
            self.pace.note(now, self.held.total());
            return;
        }
        let same_rivals = known.is_some_and(|peer| peer.rival == rival && peer.name == name);
        let had = known.map(|peer| Arc::clone(&peer.has)).unwrap_or_default();
        let new: Vec<Range<u64>> = has.iter().flat_map(|range| had.missing(&range)).collect();
        let new_bytes: u64 = new.iter().map(|part| part.end - part.start).sum();
        let only_more = new_bytes + had.total() == has.total();
        let whole = self.whole_blocks(&has);
        if only_more {
            for part in new {
                self.held.insert(part);
            }
            for (block, copies) in self.copies.iter_mut().enumerate() {
                let had = known.is_some_and(|peer| peer.whole[block]);
                *copies += u16::from(whole[block] && !had);
            }
        }
        let peer = Peer {
            name,
            has,
            whole,
            rival,
        };
        self.peers.insert(source, peer);
        if !only_more {
            self.count_anew();
        }
        if !same_rivals {
            self.rank_anew();
        }
        self.pace.note(now, self.held.total());
    }

    /// A peer is gone, or does not answer.
    pub(crate) fn peer_gone(&mut self, source: usize) {
        if self.peers.remove(&source).is_some() {
            self.count_anew();
        }
    }

    /// Where a peer that has `available` (free bytes, in order) shall begin: with what the fewest have. Without rivals
    /// in file order.
    pub(crate) fn of_peer(&self, available: &[Range<u64>]) -> Option<Wish> {
        if !self.has_rivals() {
            return available.first().cloned().map(Wish::from_start);
        }
        let parts = available.iter().flat_map(|part| self.in_blocks(part));
        let rarest = parts.min_by_key(|(block, _)| {
            let copies = self.copies.get(*block).copied().unwrap_or(0);
            (copies, weight(self.me.number(), *block))
        });
        rarest.map(|(_, gap)| Wish::from_start(gap))
    }

    /// Where a source outside the swarm shall begin, of `outside`: free bytes that no peer has. Our own blocks come first;
    /// those of others, the least contested first and from their ends, only if we are faster than they. `rate` is that of
    /// the source, in bytes per second.
    pub(crate) fn of_outside(&self, outside: &[Range<u64>], rate: Option<f64>) -> Option<Wish> {
        if !self.has_rivals() {
            return outside.first().cloned().map(Wish::from_start);
        }
        if self.waits(rate) {
            return None;
        }
        let bytes: u64 = outside.iter().map(|part| part.end - part.start).sum();
        let left = self.pace.seconds_for(bytes);
        // What one span takes.
        let seconds = rate.map(|rate| span_bytes(Some(rate)) as f64 / rate.max(1.0));
        if self.is_crowd() && !self.is_guest() {
            let part = self.sits_out(seconds, left).then_some(None);
            return part
                .unwrap_or_else(|| self.anywhere(outside))
                .map(Wish::from_start);
        }
        if let Some(own) = self.own(outside) {
            return Some(Wish::from_start(own));
        }
        let may_steal = match (seconds, left) {
            _ if self.is_guest() => true,
            (Some(seconds), Some(left)) => seconds < left * STEAL_GAIN,
            // Nothing was fetched from here yet: only when nobody else gets anything done.
            (None, Some(left)) => left.is_infinite(),
            (_, None) => false,
        };
        if !may_steal {
            return None;
        }
        let parts = outside.iter().flat_map(|part| self.in_blocks(part));
        let (_, gap) =
            parts.min_by_key(|(block, gap)| (self.rank(*block), std::cmp::Reverse(gap.start)))?;
        Some(Wish {
            gap,
            from_end: true,
        })
    }

    /// The first byte from `from` on, up to `to`, that a source outside need not bring: a peer has it, or it is a rival's.
    /// `rate` is that of the source.
    pub(crate) fn not_ours(&self, from: u64, to: u64, rate: Option<f64>) -> Option<u64> {
        let held = self.held.common(&(from..to)).first().map(|r| r.start);
        if !self.has_rivals() {
            return held;
        }
        if self.is_guest() {
            return held.or_else(|| self.waits(rate).then_some(from));
        }
        let others = self
            .in_blocks(&(from..to))
            .find(|(block, _)| self.rank(*block) > 0)
            .map(|(_, part)| part.start);
        held.into_iter().chain(others).min()
    }

    /// Where to begin in blocks of ours: at the first, as far as they follow each other.
    fn own(&self, outside: &[Range<u64>]) -> Option<Range<u64>> {
        let parts = outside.iter().flat_map(|part| self.in_blocks(part));
        let mut ours = parts.filter(|(block, _)| self.rank(*block) == 0);
        let (_, mut own) = ours.next()?;
        for (_, next) in ours {
            if next.start != own.end {
                break;
            }
            own.end = next.end;
        }
        Some(own)
    }

    /// Where to begin in a swarm so large that not everybody knows everybody. Others may think that the same blocks are
    /// theirs: so each begins somewhere else, among its blocks and in each of them.
    fn anywhere(&self, outside: &[Range<u64>]) -> Option<Range<u64>> {
        let parts = outside.iter().flat_map(|part| self.in_blocks(part));
        let parts: Vec<(usize, Range<u64>)> = parts.collect();
        let (block, _) = parts
            .iter()
            .min_by_key(|(block, _)| (self.rank(*block), weight(self.me.number(), *block)))?;
        let leaves = (self.block / SWARM_BLOCK_BYTES_MIN).max(1);
        let leaf = weight(self.me.number(), *block) % leaves;
        let begin = *block as u64 * self.block + leaf * SWARM_BLOCK_BYTES_MIN;
        let mut parts = parts.iter().filter(|(other, _)| other == block);
        let behind = parts.clone().find(|(_, part)| part.end > begin);
        let (_, part) = behind.or_else(|| parts.next())?;
        let from = if part.contains(&begin) {
            begin
        } else {
            part.start
        };
        Some(from..part.end)
    }

    /// So many hosts ask the same source that each waits long for a span, and much is in flight that others are
    /// fetching too. Then only as many go on as get theirs in time: which ones, their names decide.
    fn sits_out(&self, seconds: Option<f64>, left: Option<f64>) -> bool {
        let stands_still = left.is_some_and(f64::is_infinite);
        let Some(seconds) = seconds.filter(|_| !stands_still) else {
            return false;
        };
        let share = SWARM_CROWD_SPAN_TIME.as_secs_f64() / seconds;
        weight(self.me.number(), usize::MAX) as f64 / u64::MAX as f64 > share
    }

    /// A guest that would not be done sooner without the others lets them bring the file: each byte that it takes from
    /// outside is one that the source has to send once more.
    fn waits(&self, rate: Option<f64>) -> bool {
        if !self.is_guest() || self.pace.silence() >= SWARM_TRIAL {
            return false;
        }
        let is_faster = |(own, theirs): (f64, f64)| own * STEAL_GAIN > theirs;
        !rate.zip(self.pace.rate()).is_some_and(is_faster)
    }

    fn is_guest(&self) -> bool {
        matches!(self.me, Me::Guest(_))
    }

    fn is_crowd(&self) -> bool {
        self.peers.len() >= SWARM_CROWD_COUNT
    }

    fn rank(&self, block: usize) -> u16 {
        self.ranks.get(block).copied().unwrap_or(0)
    }

    /// `range`, cut at the borders of blocks.
    fn in_blocks(&self, range: &Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> + use<> {
        let (mut at, end, block) = (range.start, range.end, self.block);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let number = at / block;
            let part = at..end.min((number + 1) * block);
            at = part.end;
            Some((number as usize, part))
        })
    }

    fn blocks(&self) -> usize {
        self.size.div_ceil(self.block) as usize
    }

    fn whole_blocks(&self, has: &RangeSet) -> Vec<bool> {
        let whole = |block: usize| {
            let start = block as u64 * self.block;
            has.covers(&(start..self.size.min(start + self.block)))
        };
        (0..self.blocks()).map(whole).collect()
    }

    fn count_anew(&mut self) {
        self.held = RangeSet::new();
        self.copies = vec![0; self.blocks()];
        let mut peers = std::mem::take(&mut self.peers);
        for peer in peers.values_mut() {
            peer.whole = self.whole_blocks(&peer.has);
            for range in peer.has.iter() {
                self.held.insert(range);
            }
            for (copies, whole) in self.copies.iter_mut().zip(&peer.whole) {
                *copies += u16::from(*whole);
            }
        }
        self.peers = peers;
        self.rank_anew();
    }

    fn rank_anew(&mut self) {
        let rivals: Vec<u64> = self
            .peers
            .values()
            .filter(|peer| peer.rival)
            .map(|peer| peer.name)
            .collect();
        let rank = |block: usize| match self.me {
            Me::Host(name) => {
                let mine = weight(name, block);
                let before = |rival: &&u64| weight(**rival, block) < mine;
                rivals.iter().filter(before).count() as u16
            }
            Me::Guest(_) => rivals.len() as u16,
        };
        self.ranks = (0..self.blocks()).map(rank).collect();
    }
}

impl Wish {
    /// Beginning at its start.
    pub(super) fn from_start(gap: Range<u64>) -> Self {
        Wish {
            gap,
            from_end: false,
        }
    }
}

/// How fast the swarm as a whole gets on: bytes that peers have, over the last moments.
#[derive(Default)]
struct Pace {
    seen: VecDeque<(Duration, u64)>,
    changed: Duration,
    last: Duration,
}

impl Pace {
    fn note(&mut self, now: Duration, bytes: u64) {
        if self.seen.back().is_none_or(|last| last.1 != bytes) {
            self.changed = now;
        }
        self.last = now;
        let recent = |at: Duration| now.saturating_sub(at) < SWARM_PACE_STEP;
        match self.seen.back_mut() {
            // Hundreds of answers come in a second: a few points are enough.
            Some(last) if recent(last.0) => last.1 = bytes,
            _ => self.seen.push_back((now, bytes)),
        }
        while self.seen.len() > 2 && now.saturating_sub(self.seen[1].0) >= SWARM_PACE_WINDOW {
            self.seen.pop_front();
        }
    }

    /// How long `bytes` will take at this pace; `None` before anything can be said.
    fn seconds_for(&self, bytes: u64) -> Option<f64> {
        if self.silence() >= SWARM_STILL {
            return Some(f64::INFINITY);
        }
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        Some(bytes as f64 / rate)
    }

    /// Bytes per second; `None` before anything can be said.
    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let elapsed = self.last.saturating_sub(first.0);
        let bytes = last.1.saturating_sub(first.1) as f64;
        (elapsed >= SWARM_PACE_WINDOW_MIN).then(|| bytes / elapsed.as_secs_f64())
    }

    /// How long nothing new has been seen.
    fn silence(&self) -> Duration {
        self.last.saturating_sub(self.changed)
    }
}

/// The name of a host as a number: the same on every host (FNV-1a).
pub(crate) fn name_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The place of a host in the order for a block: the lowest owns it (splitmix64 of both).
fn weight(name: u64, block: usize) -> u64 {
    let mut hash = name ^ (block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Enough blocks that the hosts get about the same, large enough that a block is worth a request.
fn block_bytes(size: u64) -> u64 {
    let wished = (size / SWARM_BLOCKS_COUNT).max(1);
    let power = 1 << wished.ilog2();
    let least = (size / SWARM_BLOCKS_COUNT_MAX).max(1).next_power_of_two();
    power
        .clamp(SWARM_BLOCK_BYTES_MIN, SWARM_BLOCK_BYTES_MAX)
        .max(least)
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a set of one range is what is meant"
)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn set(ranges: &[Range<u64>]) -> Arc<RangeSet> {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        Arc::new(set)
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A swarm as `me` sees it: a file of 256 MiB, and these rivals, who have nothing yet.
    fn seen_by(me: &str, others: &[&str]) -> Swarm {
        seen(Me::Host(name_of(me)), others)
    }

    fn seen(me: Me, others: &[&str]) -> Swarm {
        let mut swarm = Swarm::new(me);
        swarm.set_size(256 * MIB);
        for (index, other) in others.iter().enumerate() {
            swarm.peer_has(index, name_of(other), Arc::default(), true, at(0));
        }
        swarm
    }

    #[test]
    fn every_block_has_one_owner_whoever_looks() {
        let names = ["a", "b", "c", "d", "e"];
        let owners = |block: usize| {
            let owns = |me: &&&str| {
                let others: Vec<&str> = names.iter().filter(|n| *n != *me).copied().collect();
                seen_by(me, &others).rank(block) == 0
            };
            names.iter().filter(owns).count()
        };
        assert!((0..64).all(|block| owners(block) == 1));
    }

    #[test]
    fn a_host_that_goes_moves_only_its_own_blocks() {
        let before = seen_by("a", &["b", "c", "d"]);
        let mut after = seen_by("a", &["b", "c", "d"]);
        after.peer_gone(2);
        let mine = |swarm: &Swarm| (0..64).filter(|b| swarm.rank(*b) == 0).collect::<Vec<_>>();
        let (before, after) = (mine(&before), mine(&after));
        assert!(before.iter().all(|block| after.contains(block)));
        assert!(after.len() > before.len());
    }

    #[test]
    fn outside_is_asked_for_our_own_blocks_that_nobody_has() {
        let mut swarm = seen_by("a", &["b"]);
        let first = (0..64)
            .find(|b| swarm.rank(*b) == 0)
            .expect("a block of ours") as u64;
        let wish = swarm.of_outside(&[0..256 * MIB], Some(4e6)).expect("work");
        assert_eq!((wish.gap.start, wish.from_end), (first * 4 * MIB, false));
        let theirs = set(&[0..(first + 1) * 4 * MIB]);
        swarm.peer_has(0, name_of("b"), theirs, true, at(500));
        let rest = swarm.held().missing(&(0..256 * MIB));
        let wish = swarm.of_outside(&rest, Some(4e6)).expect("work");
        assert!(wish.gap.start >= (first + 1) * 4 * MIB, "{wish:?}");
    }

    #[test]
    fn blocks_of_others_are_taken_only_by_whoever_is_faster() {
        let mut swarm = seen_by("a", &["b"]);
        let not_mine = (0..64)
            .rev()
            .find(|b| swarm.rank(*b) > 0)
            .expect("b owns some") as u64;
        let free = [not_mine * 4 * MIB..(not_mine + 1) * 4 * MIB];
        assert_eq!(
            swarm.of_outside(&free, Some(80e6)),
            None,
            "nothing is known of b"
        );
        let has = |mib: u64| set(&[0..mib * MIB]);
        swarm.peer_has(0, name_of("b"), has(1), true, at(1000));
        swarm.peer_has(0, name_of("b"), has(2), true, at(2000));
        // b gets on with a MiB in a second: four seconds for the block.
        let stolen = swarm.of_outside(&free, Some(4e6)).expect("we are faster");
        assert!(stolen.from_end && stolen.gap == free[0]);
        assert_eq!(swarm.of_outside(&free, Some(40e3)), None);
        assert_eq!(swarm.of_outside(&free, None), None, "b works");
        for ms in (3000..=12_000).step_by(1000) {
            swarm.peer_has(0, name_of("b"), has(2), true, at(ms));
        }
        assert!(swarm.of_outside(&free, None).is_some(), "b stands still");
    }

    #[test]
    fn a_guest_brings_nothing_that_it_would_not_have_sooner_alone() {
        let mut swarm = seen(Me::Guest(7), &["b", "c"]);
        let all = [0..256 * MIB];
        assert!(
            (0..64).all(|block| swarm.rank(block) == 2),
            "nothing is its own"
        );
        assert_eq!(
            swarm.of_outside(&all, Some(50e6)),
            None,
            "nothing is known yet"
        );
        let has = |mib: u64| set(&[0..mib * MIB]);
        for second in 1..=5 {
            swarm.peer_has(0, name_of("b"), has(second * 10), true, at(second * 1000));
        }
        // The others bring 10 MiB in a second.
        let rest = swarm.held().missing(&(0..256 * MIB));
        assert_eq!(swarm.of_outside(&rest, Some(10e6)), None);
        assert_eq!(
            swarm.not_ours(100 * MIB, 256 * MIB, Some(10e6)),
            Some(100 * MIB)
        );
        let wish = swarm.of_outside(&rest, Some(20e6)).expect("it is faster");
        assert!(wish.from_end && wish.gap.end == 256 * MIB, "{wish:?}");
        assert_eq!(swarm.not_ours(100 * MIB, 256 * MIB, Some(20e6)), None);
        // Nobody brings anything any more.
        for second in 6..=8 {
            swarm.peer_has(0, name_of("b"), has(50), true, at(second * 1000));
        }
        assert!(swarm.of_outside(&rest, None).is_some());
        swarm.peer_has(0, name_of("b"), has(256), false, at(8500));
        swarm.peer_gone(1);
        assert_eq!(
            swarm.of_outside(&all, None),
            Some(Wish::from_start(0..256 * MIB))
        );
    }

    #[test]
    fn peers_are_asked_for_what_the_fewest_have() {
        let mut swarm = seen_by("a", &["b", "c"]);
        swarm.peer_has(0, name_of("b"), set(&[0..16 * MIB]), true, at(100));
        swarm.peer_has(
            1,
            name_of("c"),
            set(&[0..8 * MIB, 12 * MIB..16 * MIB]),
            true,
            at(100),
        );
        let wish = swarm.of_peer(&[0..16 * MIB]).expect("work");
        assert_eq!(wish.gap, 8 * MIB..12 * MIB);
        swarm.peer_gone(1);
        assert_eq!(swarm.copies[2], 1);
        swarm.peer_has(0, name_of("b"), set(&[0..256 * MIB]), false, at(200));
        let wish = swarm.of_peer(&[MIB..16 * MIB]).expect("work");
        assert_eq!(
            wish.gap,
            MIB..16 * MIB,
            "a seed alone is read in file order"
        );
    }

    #[test]
    fn blocks_are_neither_too_small_nor_too_many() {
        let table = [
            (1, 256 * 1024),
            (64 * MIB, MIB),
            (450 * MIB, 4 * MIB),
            (1 << 40, 1 << 30),
        ];
        for (size, block) in table {
            assert_eq!(block_bytes(size), block, "{size}");
        }
    }
}
