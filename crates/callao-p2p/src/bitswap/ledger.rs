//! What one peer wants of us: pure, with a clock that is handed in. The rules of the server are here.
//!
//! * Asked whether a block is here, we say so at once and truthfully, each time it is asked; a small block is the answer.
//! * A block that is not here stays wanted for a while: a file that is being fetched gets it.
//! * Higher priority first, then in the order of asking. More wants than the limit: the lowest priority goes.
//! * A CANCEL of what was sent already is normal: kubo sends one for every block.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use callao_content::{Cid, cid};

use super::wire::{Asked, Entry, Presence};
use crate::limits::{
    PRESENCES_COUNT_MAX, SMALL_BLOCK_BYTES_MAX, WANT_WAITS_TIME, WANTS_PER_PEER_COUNT_MAX,
};

/// Tells the length of a block that is here.
pub(crate) type Lookup<'a> = &'a dyn Fn(&Cid) -> Option<u32>;

type Rank = (Reverse<i32>, u64);

#[derive(Debug, Clone, Copy)]
struct Registered {
    rank: Rank,
    what: Asked,
    /// Bytes, if it is here and in line to be sent.
    length: Option<u32>,
    at: Duration,
}

/// The wants of one peer.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    wants: HashMap<Cid, Registered>,
    /// All of them, the least last.
    ranks: BTreeMap<Rank, Cid>,
    /// Those that can be sent, first first.
    ready: BTreeMap<Rank, Cid>,
    ready_bytes: u64,
    presences: VecDeque<(Cid, Presence)>,
    order: u64,
}

impl Ledger {
    /// Takes a wantlist.
    pub(crate) fn take(&mut self, entries: &[Entry], full: bool, here: Lookup<'_>, now: Duration) {
        if full {
            self.wants.clear();
            self.ranks.clear();
            self.ready.clear();
            self.ready_bytes = 0;
        }
        for entry in entries {
            match entry.what {
                Asked::Cancel => self.forget(&entry.cid),
                Asked::Block | Asked::Have => self.register(entry, here, now),
            }
        }
    }

    fn register(&mut self, entry: &Entry, here: Lookup<'_>, now: Duration) {
        self.forget(&entry.cid);
        let length = match entry.cid.hash().code() {
            cid::IDENTITY => Some(entry.cid.hash().digest().len() as u32),
            _ => here(&entry.cid),
        };
        if let Some(length) = length
            && entry.what == Asked::Have
            && length > SMALL_BLOCK_BYTES_MAX
        {
            return self.tell(entry.cid, Presence::Have);
        }
        if length.is_none() && entry.send_dont_have {
            self.tell(entry.cid, Presence::DontHave);
        }
        if self.wants.len() >= WANTS_PER_PEER_COUNT_MAX && !self.make_room(entry.priority) {
            return;
        }
        self.order += 1;
        let want = Registered {
            rank: (Reverse(entry.priority), self.order),
            what: entry.what,
            length,
            at: now,
        };
        self.wants.insert(entry.cid, want);
        self.ranks.insert(want.rank, entry.cid);
        if let Some(length) = length {
            self.ready.insert(want.rank, entry.cid);
            self.ready_bytes += u64::from(length);
        }
    }

    /// Drops the want that matters least, if it matters less than `priority`.
    fn make_room(&mut self, priority: i32) -> bool {
        let least = self.ranks.last_key_value();
        let Some((rank, cid)) = least.map(|(rank, cid)| (*rank, *cid)) else {
            return true;
        };
        if rank.0.0 >= priority {
            return false;
        }
        self.forget(&cid);
        true
    }

    /// More blocks are here now, perhaps. `true` if something can be sent.
    pub(crate) fn look_again(&mut self, here: Lookup<'_>, now: Duration) -> bool {
        let ranks = &mut self.ranks;
        self.wants.retain(|_, want| {
            let keep = want.length.is_some() || now.saturating_sub(want.at) < WANT_WAITS_TIME;
            if !keep {
                ranks.remove(&want.rank);
            }
            keep
        });
        let found: Vec<(Cid, u32)> = self
            .wants
            .iter()
            .filter(|(_, want)| want.length.is_none())
            .filter_map(|(cid, _)| here(cid).map(|length| (*cid, length)))
            .collect();
        for (cid, length) in &found {
            let Some(want) = self.wants.get_mut(cid) else {
                continue;
            };
            if want.what == Asked::Have && *length > SMALL_BLOCK_BYTES_MAX {
                self.forget(cid);
                self.tell(*cid, Presence::Have);
                continue;
            }
            want.length = Some(*length);
            self.ready.insert(want.rank, *cid);
            self.ready_bytes += u64::from(*length);
        }
        !found.is_empty()
    }

    /// Takes out the next blocks to send, of `bytes` together, or a single larger one.
    pub(crate) fn next_blocks(&mut self, bytes: usize) -> Vec<(Cid, u32)> {
        let (mut taken, mut sum) = (Vec::new(), 0);
        while let Some((_, cid)) = self.ready.first_key_value() {
            let cid = *cid;
            let length = self
                .wants
                .get(&cid)
                .and_then(|want| want.length)
                .unwrap_or(0);
            if !taken.is_empty() && sum + length as usize > bytes {
                break;
            }
            sum += length as usize;
            taken.push((cid, length));
            self.forget(&cid);
        }
        taken
    }

    /// Bytes of the blocks that [`Self::next_blocks`] would take.
    pub(crate) fn next_bytes(&self, bytes: usize) -> u64 {
        let (mut count, mut sum) = (0, 0);
        for cid in self.ready.values() {
            let length = self
                .wants
                .get(cid)
                .and_then(|want| want.length)
                .unwrap_or(0);
            if count > 0 && sum + length as usize > bytes {
                break;
            }
            (count, sum) = (count + 1, sum + length as usize);
        }
        sum as u64
    }

    /// A block that was taken out is gone: its peer is told, and it stays wanted.
    pub(crate) fn gone(&mut self, cid: Cid, now: Duration) {
        self.order += 1;
        self.tell(cid, Presence::DontHave);
        if self.wants.len() < WANTS_PER_PEER_COUNT_MAX {
            let want = Registered {
                rank: (Reverse(1), self.order),
                what: Asked::Block,
                length: None,
                at: now,
            };
            self.forget(&cid);
            self.wants.insert(cid, want);
            self.ranks.insert(want.rank, cid);
        }
    }

    /// Takes out what is to be said about blocks.
    pub(crate) fn next_presences(&mut self) -> Vec<(Cid, Presence)> {
        let count = self.presences.len().min(PRESENCES_COUNT_MAX);
        self.presences.drain(..count).collect()
    }

    /// Bytes of blocks in line.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// Blocks in line.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// There is something to say about blocks.
    pub(crate) fn has_presences(&self) -> bool {
        !self.presences.is_empty()
    }

    /// Wants that are registered.
    pub(crate) fn count(&self) -> usize {
        self.wants.len()
    }

    /// Some of them wait for a block that is not here.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wants.len() > self.ready.len()
    }

    fn forget(&mut self, cid: &Cid) {
        let Some(want) = self.wants.remove(cid) else {
            return;
        };
        self.ranks.remove(&want.rank);
        if let Some(length) = want.length {
            self.ready.remove(&want.rank);
            self.ready_bytes -= u64::from(length);
        }
    }

    /// A peer that asks faster than it reads is not told everything.
    fn tell(&mut self, cid: Cid, presence: Presence) {
        if self.presences.len() < PRESENCES_COUNT_MAX {
            self.presences.push_back((cid, presence));
        }
    }
}

#[cfg(test)]
mod tests {
    use callao_content::cid::raw_sha256;
    use libp2p::multihash::Multihash;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn cid(number: u32) -> Cid {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        raw_sha256(digest)
    }

    fn entry(number: u32, what: Asked, priority: i32) -> Entry {
        Entry {
            cid: cid(number),
            priority,
            what,
            send_dont_have: true,
        }
    }

    /// Blocks below 100 are here; number 7 is small.
    fn here(asked: &Cid) -> Option<u32> {
        let number = u32::from_be_bytes(asked.hash().digest()[..4].try_into().expect("4 bytes"));
        match number {
            7 => Some(1024),
            0..100 => Some(2000 + number),
            _ => None,
        }
    }

    fn numbers(blocks: &[(Cid, u32)]) -> Vec<u32> {
        let number =
            |cid: &Cid| u32::from_be_bytes(cid.hash().digest()[..4].try_into().expect("4"));
        blocks.iter().map(|(cid, _)| number(cid)).collect()
    }

    #[test]
    fn blocks_go_by_priority_and_then_by_order() {
        let mut ledger = Ledger::default();
        let wants = [(1, 5), (2, 9), (3, 5), (4, 1)].map(|(n, p)| entry(n, Asked::Block, p));
        ledger.take(&wants, false, &here, NOW);
        assert_eq!(ledger.next_bytes(4100), 4003);
        assert_eq!(numbers(&ledger.next_blocks(4100)), [2, 1]);
        assert_eq!(numbers(&ledger.next_blocks(1)), [3], "one at least");
        ledger.take(
            &[entry(4, Asked::Cancel, 0), entry(1, Asked::Cancel, 0)],
            false,
            &here,
            NOW,
        );
        assert_eq!(
            (ledger.ready_bytes(), ledger.count(), ledger.ready_count()),
            (0, 0, 0)
        );
    }

    #[test]
    fn whether_a_block_is_here_is_said_every_time() {
        let mut ledger = Ledger::default();
        let quiet = Entry {
            send_dont_have: false,
            ..entry(102, Asked::Block, 1)
        };
        for _ in 0..2 {
            let wants = [
                entry(1, Asked::Have, 1),
                entry(100, Asked::Have, 1),
                entry(101, Asked::Block, 1),
                entry(7, Asked::Have, 1),
                quiet.clone(),
            ];
            ledger.take(&wants, false, &here, NOW);
            let said = ledger.next_presences();
            let expected = [
                (cid(1), Presence::Have),
                (cid(100), Presence::DontHave),
                (cid(101), Presence::DontHave),
            ];
            assert_eq!(said, expected);
        }
        assert_eq!(
            numbers(&ledger.next_blocks(9999)),
            [7],
            "small: the block is the answer"
        );
        assert!(ledger.is_waiting());
    }

    #[test]
    fn what_comes_later_is_sent_later() {
        let mut ledger = Ledger::default();
        let wants = [
            entry(200, Asked::Block, 1),
            entry(201, Asked::Have, 1),
            entry(202, Asked::Block, 1),
        ];
        ledger.take(&wants, false, &here, NOW);
        ledger.next_presences();
        assert!(!ledger.look_again(&here, NOW));
        let more = |asked: &Cid| (*asked != cid(202)).then_some(5000);
        assert!(ledger.look_again(&more, NOW));
        assert_eq!(numbers(&ledger.next_blocks(1)), [200]);
        assert_eq!(ledger.next_presences(), [(cid(201), Presence::Have)]);
        ledger.look_again(&here, WANT_WAITS_TIME);
        assert_eq!(ledger.count(), 0, "not for ever");
    }

    #[test]
    fn a_full_list_replaces_the_one_before() {
        let mut ledger = Ledger::default();
        ledger.take(
            &[entry(1, Asked::Block, 1), entry(300, Asked::Block, 1)],
            false,
            &here,
            NOW,
        );
        ledger.take(&[entry(2, Asked::Block, 1)], true, &here, NOW);
        assert_eq!(
            (numbers(&ledger.next_blocks(1)), ledger.count()),
            (vec![2], 0)
        );
    }

    #[test]
    fn too_many_wants_push_out_the_least() {
        let mut ledger = Ledger::default();
        let most = WANTS_PER_PEER_COUNT_MAX as u32;
        let many: Vec<Entry> = (0..most + 500)
            .map(|n| entry(1000 + n, Asked::Block, 5))
            .collect();
        ledger.take(&many, false, &here, NOW);
        assert_eq!(ledger.count(), WANTS_PER_PEER_COUNT_MAX);
        assert_eq!(
            ledger.next_presences().len(),
            many.len(),
            "but everything is answered"
        );
        ledger.take(&[entry(1, Asked::Block, 4)], false, &here, NOW);
        assert_eq!(ledger.ready_count(), 0);
        ledger.take(&[entry(1, Asked::Block, 6)], false, &here, NOW);
        assert_eq!(
            (ledger.ready_count(), ledger.count()),
            (1, WANTS_PER_PEER_COUNT_MAX)
        );
    }

    #[test]
    fn a_hundred_thousand_wants_do_not_grow_anything() {
        let mut ledger = Ledger::default();
        for round in 0..100 {
            let many: Vec<Entry> = (0..1000)
                .map(|n| entry(1000 + round * 1000 + n, Asked::Have, 5))
                .collect();
            ledger.take(&many, false, &here, NOW);
        }
        assert!(ledger.count() <= WANTS_PER_PEER_COUNT_MAX);
        assert!(ledger.presences.len() <= PRESENCES_COUNT_MAX);
    }

    #[test]
    fn a_block_that_went_is_said_to_be_gone() {
        let mut ledger = Ledger::default();
        ledger.take(&[entry(1, Asked::Block, 1)], false, &here, NOW);
        assert_eq!(numbers(&ledger.next_blocks(1)), [1]);
        ledger.gone(cid(1), NOW);
        assert_eq!(ledger.next_presences(), [(cid(1), Presence::DontHave)]);
        assert!(ledger.look_again(&here, NOW));
        assert_eq!(numbers(&ledger.next_blocks(1)), [1]);
    }

    #[test]
    fn an_identity_cid_is_its_own_block() {
        let mut ledger = Ledger::default();
        let inline = Cid::new_v1(
            cid::RAW,
            Multihash::wrap(cid::IDENTITY, b"abc").expect("short"),
        );
        let want = Entry {
            cid: inline,
            ..entry(0, Asked::Block, 1)
        };
        ledger.take(&[want], false, &|_| None, NOW);
        assert_eq!(ledger.next_blocks(1), [(inline, 3)]);
    }
}
