//! Peers of a swarm in an attempt: they are asked again and again what they have, the plan follows, and a root that they
//! name for a digest makes leaves provable. Which part of the file comes from whom is decided in `plan`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callao_content::layout::Layout;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Attempt, Mode};
use crate::error::Error;
use crate::limits::{
    CLAIMS_WAIT, HAVE_FAILURES_COUNT_MAX, HAVE_INTERVAL, HAVE_INTERVAL_IDLE,
    HAVE_INTERVAL_PER_PEER, LAN_TIMEOUT, SWARM_PATIENCE, SWARM_TRIAL,
};
use crate::message::Message;
use crate::pipeline::DigestJob;
use crate::plan::swarm;
use crate::ranges::RangeSet;
use crate::source::{Have, Source, SourceError, SourceId};

/// What is known of one peer.
pub(super) struct Peer {
    /// What it said last; `None`: that it has nothing, or nothing yet.
    have: Option<Have>,
    /// It has said something at all.
    heard: bool,
    /// Questions in a row without an answer.
    unanswered: u32,
    stop: CancellationToken,
}

/// What the attempt knows of the swarm.
#[derive(Default)]
pub(super) struct Peers {
    count: Arc<AtomicUsize>,
    /// When a peer first had something.
    since: Option<Duration>,
    /// When a peer last had something new.
    news: Duration,
    /// When a peer first named a root.
    claimed: Option<Duration>,
    /// A layout by a claimed root, while the length of the file is not known.
    offered: Option<(Arc<Layout>, Option<SourceId>)>,
}

impl Attempt<'_> {
    /// Begins to ask a source what it has, if it is one that can say it.
    pub(super) fn watch(&mut self, index: usize) {
        let source = Arc::clone(&self.entries[index].source);
        if source.have().is_none() {
            return;
        }
        let stop = self.around.cancel.child_token();
        self.entries[index].peer = Some(Peer {
            have: None,
            heard: false,
            unanswered: 0,
            stop: stop.clone(),
        });
        let count = Arc::clone(&self.peers.count);
        count.fetch_add(1, Ordering::Relaxed);
        let engine = self.to_engine.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ask_again_and_again(source, index, &engine, &count) => {}
            }
            count.fetch_sub(1, Ordering::Relaxed);
        });
    }

    pub(super) fn take_have(&mut self, index: usize, answer: Result<Have, SourceError>) {
        let entry = &mut self.entries[index];
        let Some(peer) = entry.peer.as_mut().filter(|_| !entry.health.is_out()) else {
            return;
        };
        peer.heard = true;
        match answer {
            Ok(have) => {
                peer.unanswered = 0;
                if let Some(root) = have.root {
                    self.heard_claim(index, root);
                }
                if let Some(peer) = &mut self.entries[index].peer {
                    peer.have = Some(have);
                }
                self.follow(index);
            }
            Err(SourceError::NotFound(_)) => {
                (peer.unanswered, peer.have) = (0, None);
                self.lose_peer(index);
            }
            Err(error) => {
                peer.unanswered += 1;
                if peer.unanswered >= HAVE_FAILURES_COUNT_MAX {
                    // Whatever it was sending will not come: others shall have its spans at once.
                    peer.have = None;
                    entry.last_error = Some(error);
                    self.lose_peer(index);
                    for lane in self.lanes.values().filter(|lane| lane.source == index) {
                        lane.cancel.cancel();
                    }
                }
            }
        }
    }

    /// The length became known: now what peers have means something.
    pub(super) fn follow_all(&mut self) {
        for index in 0..self.entries.len() {
            self.follow(index);
        }
    }

    /// Tells the plan what a peer has.
    fn follow(&mut self, index: usize) {
        let now = self.now();
        let entry = &mut self.entries[index];
        let have = entry.peer.as_ref().and_then(|peer| peer.have.as_ref());
        let (Some(have), Some(size)) = (have, self.plan.size()) else {
            return;
        };
        if have.size != size {
            let why = format!("its file is {} bytes long, not {size}", have.size);
            entry.last_error = Some(SourceError::Protocol(why));
            self.plan.peer_gone(index);
            return;
        }
        // It just failed: after a pause it is a peer again.
        if !entry.health.usable(now) {
            return;
        }
        let mut has = RangeSet::new();
        for range in &have.ranges {
            has.insert(range.clone());
        }
        let name = swarm::name_of(&have.host);
        let before = self.plan.swarm().held().total();
        self.plan
            .peer_has(index, name, Arc::new(has), !have.complete, now);
        if self.plan.swarm().held().total() > before {
            self.peers.news = now;
            self.peers.since.get_or_insert(now);
        }
        for (lane, end) in self.plan.overreaching() {
            self.plan.cut(lane, end);
            if let Some(running) = self.lanes.get(&lane) {
                running.limit.store(end, Ordering::Relaxed);
            }
        }
    }

    /// A peer is no peer any more, for the moment or for good.
    pub(super) fn lose_peer(&mut self, index: usize) {
        if self.entries[index].peer.is_some() {
            self.plan.peer_gone(index);
        }
    }

    /// It will not be asked again.
    pub(super) fn forget_peer(&mut self, index: usize) {
        if let Some(peer) = &self.entries[index].peer {
            peer.stop.cancel();
        }
        self.lose_peer(index);
    }

    /// Whether a source may be given spans as far as it is a peer: only of what it has said that it has.
    pub(super) fn has_spoken(&self, index: usize) -> bool {
        self.entries[index].peer.is_none() || self.plan.swarm().has(index).is_some()
    }

    /// Whether peers bring what they have sooner than this source would.
    pub(super) fn is_spare(&self, index: usize, now: Duration) -> bool {
        if self.entries[index].peer.is_some() || !self.plan.swarm().is_on() {
            return false;
        }
        let rate = |(index, entry): (usize, &super::Entry)| {
            let is_peer = self.plan.swarm().has(index).is_some();
            entry.health.rate().filter(|_| is_peer)
        };
        let peers: f64 = self.entries.iter().enumerate().filter_map(rate).sum();
        let trial = self.peers.since.unwrap_or(now) + SWARM_TRIAL;
        match self.entries[index].health.rate() {
            _ if peers <= 0.0 => now < trial,
            Some(own) => peers >= own,
            None => true,
        }
    }

    /// Whether peers may still bring something, though nobody is sending.
    pub(super) fn swarm_has_hope(&self, now: Duration) -> bool {
        let waiting = |entry: &super::Entry| {
            entry
                .peer
                .as_ref()
                .is_some_and(|peer| !entry.health.is_out() && (!peer.heard || peer.have.is_some()))
        };
        let recent = self.peers.news.max(self.last_byte) + SWARM_PATIENCE;
        now < recent && self.entries.iter().any(waiting)
    }

    fn heard_claim(&mut self, index: usize, root: callao_content::Cid) {
        if self.wanted.cid.is_some() || self.wanted.digest.is_none() {
            return;
        }
        let by = self.entries[index].source.id().clone();
        self.around.claims().heard(root, &by);
        let now = self.now();
        self.peers.claimed.get_or_insert(now);
    }

    /// Looks for the layout of the root that most peers name, once all have been heard or a moment has passed.
    pub(super) async fn try_claim(&mut self) -> Result<(), Error> {
        if let Some((layout, from)) = self.peers.offered.take() {
            return self.take_claimed(layout, from).await;
        }
        let Some(since) = self
            .peers
            .claimed
            .filter(|_| self.may_adopt() && !self.searching)
        else {
            return Ok(());
        };
        let heard = |entry: &super::Entry| entry.peer.as_ref().is_none_or(|peer| peer.heard);
        if !self.entries.iter().all(heard) && self.now() < since + CLAIMS_WAIT {
            return Ok(());
        }
        let best = self.around.claims().best();
        if let Some(root) = best {
            self.claim = Some(root);
            self.search_layout(root, false);
        }
        Ok(())
    }

    /// Whether leaves may become provable now.
    fn may_adopt(&self) -> bool {
        self.mode == Mode::Importing && !self.syncing && !self.finishing && !self.plan.complete()
    }

    /// The layout of a claimed root is here. Its length has to be that of the file, which is not for the peers to say
    /// while a source outside may say it.
    pub(super) async fn take_claimed(
        &mut self,
        layout: Arc<Layout>,
        from: Option<SourceId>,
    ) -> Result<(), Error> {
        if !self.may_adopt() {
            return Ok(());
        }
        let outside = |entry: &super::Entry| entry.peer.is_none() && !entry.health.is_out();
        match self.plan.size() {
            None if self.entries.iter().any(outside) => {
                self.peers.offered = Some((layout, from));
                return Ok(());
            }
            Some(size) if size != layout.size() => {
                self.around.claims().refute(layout.root());
                return Ok(());
            }
            _ => {}
        }
        self.around.claims().adopt(*layout.root());
        // What is here counts again once it is proven, and the digest begins again with it.
        for (range, source) in &self.given_by {
            let given = &mut self.entries[*source].given;
            *given = given.saturating_sub(range.end - range.start);
        }
        self.done = RangeSet::new();
        self.frontier = 0;
        self.pipeline.digest(DigestJob::Restart)?;
        self.use_layout(layout, from).await
    }

    /// Nobody had the inner nodes of a claimed root.
    pub(super) fn claim_failed(&mut self) {
        if let Some(root) = self.claim.take() {
            self.around.claims().refute(&root);
        }
    }
}

async fn ask_again_and_again(
    source: Arc<dyn Source>,
    index: usize,
    engine: &mpsc::Sender<Message>,
    count: &AtomicUsize,
) {
    loop {
        let Some(question) = source.have() else {
            return;
        };
        let answer = match tokio::time::timeout(LAN_TIMEOUT, question).await {
            Ok(answer) => answer,
            Err(_) => Err(SourceError::Network("does not say what it has".into())),
        };
        let others = count.load(Ordering::Relaxed) as u32;
        let busy = answer.as_ref().is_ok_and(|have| !have.complete);
        let pause = HAVE_INTERVAL + HAVE_INTERVAL_PER_PEER * others;
        let pause = if busy {
            pause
        } else {
            pause.max(HAVE_INTERVAL_IDLE)
        };
        let message = Message::Have {
            source: index,
            have: answer,
        };
        if engine.send(message).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}
