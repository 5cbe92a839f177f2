//! What is wanted of one peer, and by whom: pure, with a clock that is handed in. The rules of the client are here.
//!
//! * A block is found by its hash, never by the order in which it comes.
//! * What is not wanted any more is cancelled; what was received too, since js peers remember what they sent.
//! * Asking again is a CANCEL and then, in another message, a WANT: js peers ignore a second want, and kubo takes a CANCEL
//!   and a WANT in one message for a CANCEL.
//! * The first message says that it replaces whatever was wanted before: an earlier run may have left something.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use libp2p::multihash::Multihash;
use tokio::sync::mpsc;

use super::wire::{Asked, Entry, Presence};
use crate::limits::{
    CANCELS_COUNT_MAX, SETTLED_COUNT_MAX, WANT_TRIES_COUNT_MAX, WANTS_PER_MESSAGE_COUNT_MAX,
};

/// What names a block, whatever version and codec.
pub(crate) type Key = Multihash<128>;

/// How a want ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The bytes, proven by their hash.
    Block(Bytes),
    /// It is there; only for those who asked just that.
    Have,
    /// The peer says that it is not there.
    DontHave,
    /// No answer will come.
    Lost(Loss),
}

/// Why no answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loss {
    #[error("the connection ended")]
    Disconnected,
    #[error("it does not answer")]
    Silent,
    #[error("it does not speak bitswap")]
    NotSpoken,
    #[error("it sends blocks that nobody asked for")]
    False,
}

/// Somebody who waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    /// Told apart by this.
    pub id: u64,
    /// Where the answer goes; it has room for one per want of this waiter.
    pub to: mpsc::Sender<(Key, Answer)>,
}

#[derive(Debug)]
struct Want {
    cid: Cid,
    what: Asked,
    /// Those who want the block, and those who only ask whether it is there.
    waiters: Vec<(Waiter, Asked)>,
    /// When it was asked last; `None` while it waits to be written.
    sent: Option<Duration>,
    tries: u32,
    priority: i32,
}

/// What became of a block that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Wanted,
    /// Wanted before: a second copy, or the CANCEL came too late.
    Late,
    /// Never wanted.
    Stray,
}

/// The wants towards one peer.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    table: HashMap<Key, Want>,
    to_ask: VecDeque<Key>,
    to_cancel: Vec<Cid>,
    settled: HashSet<Key>,
    settled_order: VecDeque<Key>,
    asked: i32,
    introduced: bool,
    /// Nothing is asked any more, for this reason.
    over: Option<Loss>,
}

impl Wants {
    /// Somebody wants a block, or wants to know whether it is there.
    pub(crate) fn want(&mut self, cid: Cid, what: Asked, waiter: Waiter) {
        let key = *cid.hash();
        if let Some(loss) = self.over {
            return tell(&waiter, &key, Answer::Lost(loss));
        }
        self.asked = self.asked.wrapping_add(1) & 0x3fff_ffff;
        let priority = i32::MAX - self.asked;
        let want = self.table.entry(key).or_insert_with(|| Want {
            cid,
            what,
            waiters: Vec::new(),
            sent: None,
            tries: 0,
            priority,
        });
        let more = want.what == Asked::Have && what == Asked::Block;
        if want.waiters.is_empty() || (more && want.sent.is_some()) {
            want.sent = None;
            self.to_ask.push_back(key);
        }
        if more {
            want.what = what;
        }
        want.waiters.push((waiter, what));
    }

    /// Nobody waits here any more: a want that is left without anybody is cancelled.
    pub(crate) fn withdraw(&mut self, key: &Key, id: u64) {
        let Some(want) = self.table.get_mut(key) else {
            return;
        };
        want.waiters.retain(|(waiter, _)| waiter.id != id);
        if want.waiters.is_empty() {
            self.settle(key);
        }
    }

    /// A block arrived, and this is its hash.
    pub(crate) fn block(&mut self, key: &Key, data: &Bytes) -> Arrival {
        let Some(waiters) = self.settle(key) else {
            let known = self.settled.contains(key);
            return if known { Arrival::Late } else { Arrival::Stray };
        };
        for (waiter, _) in waiters {
            tell(&waiter, key, Answer::Block(data.clone()));
        }
        Arrival::Wanted
    }

    /// The peer says whether it has a block.
    pub(crate) fn presence(&mut self, cid: &Cid, presence: Presence) {
        let key = cid.hash();
        if presence == Presence::DontHave {
            for (waiter, _) in self.settle(key).unwrap_or_default() {
                tell(&waiter, key, Answer::DontHave);
            }
            return;
        }
        let Some(want) = self.table.get_mut(key) else {
            return;
        };
        let asked_only = |entry: &(Waiter, Asked)| entry.1 == Asked::Have;
        let (told, wait): (Vec<_>, Vec<_>) = want.waiters.drain(..).partition(asked_only);
        want.waiters = wait;
        let done = want.waiters.is_empty();
        for (waiter, _) in told {
            tell(&waiter, key, Answer::Have);
        }
        if done {
            self.settle(key);
        }
    }

    /// Asks again what stayed away for `patience`; gives up what was asked too often. `true`: something is asked again.
    pub(crate) fn ask_again(&mut self, now: Duration, patience: Duration) -> bool {
        let late = |want: &Want| {
            want.sent
                .is_some_and(|sent| now.saturating_sub(sent) >= patience)
        };
        let mut overdue: Vec<(i32, Key)> = self
            .table
            .iter()
            .filter(|(_, want)| late(want))
            .map(|(key, want)| (want.priority, *key))
            .collect();
        overdue.sort_unstable_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let mut again = false;
        for (_, key) in overdue {
            let Some(want) = self.table.get_mut(&key) else {
                continue;
            };
            if want.tries >= WANT_TRIES_COUNT_MAX {
                for (waiter, _) in self.settle(&key).unwrap_or_default() {
                    tell(&waiter, &key, Answer::Lost(Loss::Silent));
                }
                continue;
            }
            want.sent = None;
            self.to_cancel.push(want.cid);
            self.to_ask.push_back(key);
            again = true;
        }
        again
    }

    /// Nothing will be answered any more.
    pub(crate) fn fail(&mut self, loss: Loss) {
        self.to_ask.clear();
        self.to_cancel.clear();
        self.introduced = false;
        for (key, want) in std::mem::take(&mut self.table) {
            for (waiter, _) in want.waiters {
                tell(&waiter, &key, Answer::Lost(loss));
            }
        }
    }

    /// Nothing will ever be answered any more: later wants are lost at once. The first reason stays.
    pub(crate) fn end(&mut self, loss: Loss) {
        let loss = *self.over.get_or_insert(loss);
        self.fail(loss);
    }

    /// The next message: entries, and whether they replace what was wanted before.
    pub(crate) fn next_message(&mut self, now: Duration) -> Option<(Vec<Entry>, bool)> {
        let asking: HashSet<Key> = self.to_ask.iter().copied().collect();
        let clash = self.to_cancel.iter().any(|cid| asking.contains(cid.hash()));
        let mut entries: Vec<Entry> = std::mem::take(&mut self.to_cancel)
            .into_iter()
            .map(cancel)
            .collect();
        while !clash && entries.len() < WANTS_PER_MESSAGE_COUNT_MAX + CANCELS_COUNT_MAX {
            let Some(key) = self.to_ask.pop_front() else {
                break;
            };
            // Withdrawn before it was written, or listed twice.
            let Some(want) = self.table.get_mut(&key).filter(|want| want.sent.is_none()) else {
                continue;
            };
            want.sent = Some(now);
            want.tries += 1;
            entries.push(Entry {
                cid: want.cid,
                priority: want.priority,
                what: want.what,
                send_dont_have: true,
            });
        }
        if entries.is_empty() {
            return None;
        }
        Some((entries, !std::mem::replace(&mut self.introduced, true)))
    }

    /// There is something that should be written now; CANCELs of what was received can wait for company.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.to_ask.is_empty() || self.to_cancel.len() >= CANCELS_COUNT_MAX
    }

    /// Something is to be written, sooner or later.
    pub(crate) fn has_messages(&self) -> bool {
        !self.to_ask.is_empty() || !self.to_cancel.is_empty()
    }

    /// Wants without an answer.
    pub(crate) fn outstanding(&self) -> usize {
        self.table.len()
    }

    /// Ends a want, and remembers that it was one.
    fn settle(&mut self, key: &Key) -> Option<Vec<(Waiter, Asked)>> {
        let want = self.table.remove(key)?;
        if want.sent.is_some() || want.tries > 0 {
            self.to_cancel.push(want.cid);
            if self.settled.insert(*key) {
                self.settled_order.push_back(*key);
            }
            while self.settled_order.len() > SETTLED_COUNT_MAX {
                if let Some(oldest) = self.settled_order.pop_front() {
                    self.settled.remove(&oldest);
                }
            }
        }
        Some(want.waiters)
    }
}

fn cancel(cid: Cid) -> Entry {
    Entry {
        cid,
        priority: 1,
        what: Asked::Cancel,
        send_dont_have: false,
    }
}

/// A waiter that is gone, or does not take what it asked for, goes without.
fn tell(waiter: &Waiter, key: &Key, answer: Answer) {
    waiter.to.try_send((*key, answer)).unwrap_or(());
}

#[cfg(test)]
mod tests {
    use callao_content::cid::raw_sha256;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn cid(number: u8) -> Cid {
        raw_sha256([number; 32])
    }

    fn waiter(id: u64) -> (Waiter, mpsc::Receiver<(Key, Answer)>) {
        let (to, answers) = mpsc::channel(16);
        (Waiter { id, to }, answers)
    }

    /// What a message says: `w1 h2 c3`, `full` before it.
    fn said(message: Option<(Vec<Entry>, bool)>) -> String {
        let Some((entries, full)) = message else {
            return "-".to_owned();
        };
        let letter = |what| match what {
            Asked::Block => 'w',
            Asked::Have => 'h',
            Asked::Cancel => 'c',
        };
        let words = entries
            .iter()
            .map(|entry| format!("{}{}", letter(entry.what), entry.cid.hash().digest()[0]));
        let full = full.then(|| "full".to_owned());
        full.into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn wants_are_asked_answered_and_cancelled_with_the_next_ones() {
        let (mut wants, (me, mut answers)) = (Wants::default(), waiter(1));
        for number in [1, 2] {
            wants.want(cid(number), Asked::Block, me.clone());
        }
        assert_eq!(said(wants.next_message(at(0))), "full w1 w2");
        assert_eq!(said(wants.next_message(at(0))), "-");
        assert_eq!(
            wants.block(cid(1).hash(), &Bytes::from_static(b"x")),
            Arrival::Wanted
        );
        let (key, answer) = answers.try_recv().expect("an answer");
        assert_eq!(
            (key, answer),
            (*cid(1).hash(), Answer::Block(Bytes::from_static(b"x")))
        );
        assert!(!wants.is_urgent() && wants.has_messages());
        wants.want(cid(3), Asked::Block, me);
        assert_eq!(said(wants.next_message(at(1))), "c1 w3");
        assert_eq!(wants.block(cid(1).hash(), &Bytes::new()), Arrival::Late);
        assert_eq!(wants.block(cid(9).hash(), &Bytes::new()), Arrival::Stray);
    }

    #[test]
    fn asking_again_is_a_cancel_and_then_a_want() {
        let (mut wants, (me, mut answers)) = (Wants::default(), waiter(1));
        wants.want(cid(1), Asked::Block, me);
        assert_eq!(said(wants.next_message(at(0))), "full w1");
        for again in 1..u64::from(WANT_TRIES_COUNT_MAX) {
            wants.ask_again(at(5 * again) - Duration::from_millis(1), PATIENCE);
            assert_eq!(said(wants.next_message(at(5 * again))), "-");
            wants.ask_again(at(5 * again), PATIENCE);
            assert_eq!(said(wants.next_message(at(5 * again))), "c1");
            assert_eq!(said(wants.next_message(at(5 * again))), "w1");
        }
        wants.ask_again(at(1000), PATIENCE);
        assert_eq!(
            answers.try_recv(),
            Ok((*cid(1).hash(), Answer::Lost(Loss::Silent)))
        );
        assert_eq!(said(wants.next_message(at(1000))), "c1");
        assert_eq!(wants.outstanding(), 0);
    }

    #[test]
    fn one_want_serves_many_and_is_cancelled_with_the_last() {
        let mut wants = Wants::default();
        let ((a, _keep), (b, mut answers)) = (waiter(1), waiter(2));
        wants.want(cid(1), Asked::Block, a);
        assert_eq!(said(wants.next_message(at(0))), "full w1");
        wants.want(cid(1), Asked::Block, b);
        assert_eq!(said(wants.next_message(at(0))), "-", "it is asked already");
        wants.withdraw(cid(1).hash(), 1);
        assert_eq!(wants.block(cid(1).hash(), &Bytes::new()), Arrival::Wanted);
        assert!(answers.try_recv().is_ok());
        let (c, _keep) = waiter(3);
        wants.want(cid(2), Asked::Block, c.clone());
        wants.withdraw(cid(2).hash(), 3);
        assert_eq!(
            said(wants.next_message(at(0))),
            "c1",
            "never asked, so not cancelled"
        );
        wants.want(cid(2), Asked::Block, c);
        assert_eq!(said(wants.next_message(at(0))), "w2");
        wants.withdraw(cid(2).hash(), 3);
        assert_eq!(said(wants.next_message(at(0))), "c2");
    }

    #[test]
    fn having_is_enough_for_those_who_only_ask() {
        let mut wants = Wants::default();
        let ((a, mut asks), (b, mut gets)) = (waiter(1), waiter(2));
        wants.want(cid(1), Asked::Have, a.clone());
        assert_eq!(said(wants.next_message(at(0))), "full h1");
        wants.want(cid(1), Asked::Block, b);
        assert_eq!(said(wants.next_message(at(0))), "w1");
        wants.presence(&cid(1), Presence::Have);
        assert_eq!(asks.try_recv().expect("told").1, Answer::Have);
        assert!(gets.try_recv().is_err());
        wants.presence(&cid(1), Presence::DontHave);
        assert_eq!(gets.try_recv().expect("told").1, Answer::DontHave);
        // A small block may come instead of HAVE.
        wants.want(cid(2), Asked::Have, a);
        wants.next_message(at(0));
        assert_eq!(wants.block(cid(2).hash(), &Bytes::new()), Arrival::Wanted);
        assert_eq!(
            asks.try_recv().expect("told").1,
            Answer::Block(Bytes::new())
        );
    }

    #[test]
    fn the_end_is_told_to_everybody() {
        let (mut wants, (me, mut answers)) = (Wants::default(), waiter(1));
        wants.want(cid(1), Asked::Block, me.clone());
        wants.want(cid(2), Asked::Block, me.clone());
        wants.fail(Loss::Disconnected);
        for _ in 0..2 {
            let lost = answers.try_recv().expect("told").1;
            assert_eq!(lost, Answer::Lost(Loss::Disconnected));
        }
        wants.want(cid(1), Asked::Block, me);
        assert_eq!(said(wants.next_message(at(0))), "full w1");
    }

    #[test]
    fn after_the_end_a_want_is_lost_at_once() {
        let (mut wants, (me, mut answers)) = (Wants::default(), waiter(1));
        wants.end(Loss::False);
        wants.end(Loss::Disconnected);
        wants.want(cid(1), Asked::Block, me);
        assert_eq!(
            answers.try_recv().expect("told").1,
            Answer::Lost(Loss::False)
        );
        assert_eq!(said(wants.next_message(at(0))), "-");
    }

    #[test]
    fn messages_are_of_bounded_length() {
        let (mut wants, (me, _keep)) = (Wants::default(), waiter(1));
        for number in 0..=255 {
            wants.want(cid(number), Asked::Block, me.clone());
        }
        let most = WANTS_PER_MESSAGE_COUNT_MAX + CANCELS_COUNT_MAX;
        let (entries, _) = wants.next_message(at(0)).expect("a message");
        assert!(entries.len() <= most);
        assert!(
            entries
                .windows(2)
                .all(|pair| pair[0].priority > pair[1].priority)
        );
    }
}
