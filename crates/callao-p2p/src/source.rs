//! A peer as a source of one file: asks for leaves ahead of the sink, and hands them on in order. Also finds out which of
//! the connected peers have a root at all. Must not know how a want is written; proving is the engine's work too, but a
//! block whose hash nobody asked for never comes this far.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callao_content::cid::{self, Cid};
use callao_content::layout::{Layout, LeafForm};
use callao_fetch::sink::SpanSink;
use callao_fetch::source::{Abilities, Source, SourceError, SourceId, SourceKind, Span, Traits};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::bitswap::client::Room;
use crate::bitswap::hub::Hub;
use crate::bitswap::link::Link;
use crate::bitswap::wants::{Answer, Key, Loss, Waiter};
use crate::bitswap::wire::Asked;
use crate::limits::{HAVE_AGAIN_INTERVAL, HAVE_TIMEOUT, WANTS_PER_MESSAGE_COUNT_MAX};

/// What a block may have beyond the bytes of its leaf.
const ENVELOPE_BYTES: u64 = 16;
/// Room for an inner node: their length is not known before.
const NODE_BYTES: u64 = 64 * 1024;

/// One peer, for one file.
pub(crate) struct PeerSource {
    id: SourceId,
    hub: Arc<Hub>,
    peer: PeerId,
}

impl PeerSource {
    pub(crate) fn new(hub: Arc<Hub>, peer: PeerId) -> Self {
        PeerSource {
            id: SourceId {
                kind: SourceKind::Bitswap,
                place: peer.to_string(),
            },
            hub,
            peer,
        }
    }

    fn link(&self) -> Result<Arc<Link>, SourceError> {
        let link = self.hub.link(&self.peer);
        link.ok_or_else(|| SourceError::Network("not connected".into()))
    }

    async fn get(&self, cid: &Cid) -> Result<Bytes, SourceError> {
        if cid.hash().code() == cid::IDENTITY {
            return Ok(Bytes::copy_from_slice(cid.hash().digest()));
        }
        // kubo says of the empty block that it does not have it; everybody has.
        if cid::verify_block(cid, &[]).is_ok() {
            return Ok(Bytes::new());
        }
        let link = self.link()?;
        let _room = link.client.room(&[NODE_BYTES]).await;
        let mut question = Question::new(&link);
        question.ask(&[*cid], Asked::Block);
        match question.answers.recv().await {
            Some((_, Answer::Block(block))) => Ok(block),
            Some((_, Answer::DontHave)) => Err(missing(cid)),
            Some((_, Answer::Lost(loss))) => Err(lost(loss)),
            Some((_, Answer::Have)) | None => Err(lost(Loss::Silent)),
        }
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let layout = span.known_layout()?;
        let link = self.link()?;
        let mut delivery = Delivery::new(&link, layout, span.range);
        loop {
            if delivery.hand_over(sink).await? {
                return Ok(());
            }
            let (batch, lengths) = delivery.next_batch(limit(sink));
            tokio::select! {
                rooms = link.client.room(&lengths), if !batch.is_empty() => {
                    delivery.ask(&batch, rooms);
                }
                answer = delivery.question.answers.recv() => match answer {
                    Some((key, answer)) => delivery.take(&key, answer),
                    None => return Err(lost(Loss::Silent)),
                },
            }
        }
    }
}

impl Source for PeerSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        // One request asks as far ahead as pays; the second bridges the time between two spans.
        Traits {
            lanes_max: 2,
            ..Traits::BY_LAYOUT
        }
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(self.get(cid))
    }

    fn abilities<'a>(&'a self, root: Option<&'a Cid>) -> BoxFuture<'a, Abilities> {
        Box::pin(async move {
            let has = match (root, self.hub.link(&self.peer)) {
                (Some(root), Some(link)) => has(&link, root).await,
                _ => None,
            };
            Abilities {
                ranges: has,
                blocks: has,
                version: self.hub.book().agent(&self.peer),
                ..Abilities::default()
            }
        })
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// Where the sink wants to stop; it moves towards the front when another source takes over the rest.
fn limit(sink: &SpanSink) -> u64 {
    sink.position().saturating_add(sink.wanted())
}

fn missing(cid: &Cid) -> SourceError {
    SourceError::NotFound(format!("block {}", cid::text(cid)))
}

fn lost(loss: Loss) -> SourceError {
    match loss {
        Loss::False => SourceError::False(loss.to_string()),
        Loss::NotSpoken => SourceError::Unsupported(loss.to_string()),
        Loss::Disconnected | Loss::Silent => SourceError::Network(loss.to_string()),
    }
}

/// Wants of one asker. What is still open when it is dropped is withdrawn.
struct Question {
    link: Arc<Link>,
    waiter: Waiter,
    answers: mpsc::Receiver<(Key, Answer)>,
    open: HashSet<Key>,
}

impl Question {
    fn new(link: &Arc<Link>) -> Self {
        let (waiter, answers) = link.client.waiter();
        Question {
            link: Arc::clone(link),
            waiter,
            answers,
            open: HashSet::new(),
        }
    }

    fn ask(&mut self, cids: &[Cid], what: Asked) {
        self.open.extend(cids.iter().map(|cid| *cid.hash()));
        self.link.client.want(cids, what, &self.waiter);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.link.client.withdraw(self.open.iter(), self.waiter.id);
    }
}

/// A leaf that arrived, and its share of the window; or why it will not.
type Arrived = Result<(Bytes, Arc<Room>), SourceError>;

/// One span on its way.
struct Delivery {
    question: Question,
    layout: Arc<Layout>,
    /// The next leaf for the sink, and the end.
    leaves: Range<usize>,
    /// The next leaf to ask for.
    next: usize,
    /// Leaves that are asked for, by the block they need.
    asked: HashMap<Key, (Vec<usize>, Arc<Room>)>,
    /// Leaves that arrived before their turn.
    here: BTreeMap<usize, Arrived>,
}

impl Delivery {
    fn new(link: &Arc<Link>, layout: Arc<Layout>, range: Range<u64>) -> Self {
        let leaves = layout.leaves_in(range);
        Delivery {
            question: Question::new(link),
            layout,
            next: leaves.start,
            leaves,
            asked: HashMap::new(),
            here: BTreeMap::new(),
        }
    }

    /// Hands on what is there; `true` when the span is done or not wanted any more.
    async fn hand_over(&mut self, sink: &mut SpanSink) -> Result<bool, SourceError> {
        while self.leaves.start < self.leaves.end {
            let index = self.leaves.start;
            let leaf = &self.layout.leaves()[index];
            if leaf.length > 0 {
                if leaf.offset >= limit(sink) {
                    return Ok(true);
                }
                let pushed = match &leaf.form {
                    LeafForm::Inline(bytes) => sink.push(bytes).await,
                    _ => {
                        let Some(arrived) = self.here.remove(&index) else {
                            return Ok(false);
                        };
                        let (block, _room) = arrived?;
                        let payload = self
                            .layout
                            .payload(index, &block)
                            .map_err(|error| SourceError::False(error.to_string()))?;
                        sink.push(payload).await
                    }
                };
                if pushed.is_err() {
                    return Ok(true);
                }
            }
            self.leaves.start += 1;
        }
        Ok(true)
    }

    /// The leaves to ask for next, below `limit`: a quarter of the window, so that there is always something under way.
    fn next_batch(&self, limit: u64) -> (Vec<(usize, Cid)>, Vec<u64>) {
        let most = self.question.link.client.window_bytes() / 4;
        let (mut batch, mut lengths, mut sum) = (Vec::new(), Vec::new(), 0);
        for index in self.next..self.leaves.end {
            let leaf = &self.layout.leaves()[index];
            if leaf.offset >= limit || batch.len() >= WANTS_PER_MESSAGE_COUNT_MAX {
                break;
            }
            let Some(cid) = self.layout.leaf_cid(index).filter(|_| leaf.length > 0) else {
                continue;
            };
            let length = u64::from(leaf.length) + ENVELOPE_BYTES;
            if !batch.is_empty() && sum + length > most {
                break;
            }
            sum += length;
            batch.push((index, cid));
            lengths.push(length);
        }
        (batch, lengths)
    }

    fn ask(&mut self, batch: &[(usize, Cid)], rooms: Vec<Room>) {
        let mut fresh = Vec::with_capacity(batch.len());
        for ((index, cid), room) in batch.iter().zip(rooms) {
            self.next = index + 1;
            let key = *cid.hash();
            // The same block at several places: one want.
            if let Some((places, _)) = self.asked.get_mut(&key) {
                places.push(*index);
                continue;
            }
            self.asked.insert(key, (vec![*index], Arc::new(room)));
            fresh.push(*cid);
        }
        if !fresh.is_empty() {
            self.question.ask(&fresh, Asked::Block);
        }
    }

    fn take(&mut self, key: &Key, answer: Answer) {
        self.question.open.remove(key);
        let Some((places, room)) = self.asked.remove(key) else {
            return;
        };
        let arrived = match answer {
            Answer::Block(block) => Ok((block, room)),
            Answer::Lost(loss) => Err(lost(loss)),
            Answer::Have | Answer::DontHave => {
                // What comes before it in the file is still worth having; nothing behind it.
                self.leaves.end = self.leaves.end.min(places[0] + 1);
                let cid = self.layout.leaf_cid(places[0]);
                Err(cid.map_or_else(|| lost(Loss::Silent), |cid| missing(&cid)))
            }
        };
        for place in places {
            self.here.insert(place, arrived.clone());
        }
    }
}

/// Whether a peer has a block. `None`: it did not say.
async fn has(link: &Arc<Link>, cid: &Cid) -> Option<bool> {
    if !link.speaks() {
        return None;
    }
    let mut question = Question::new(link);
    question.ask(&[*cid], Asked::Have);
    match timeout(HAVE_TIMEOUT, question.answers.recv()).await {
        Ok(Some((_, Answer::Have | Answer::Block(_)))) => Some(true),
        Ok(Some((_, Answer::DontHave))) => Some(false),
        Ok(Some((_, Answer::Lost(_))) | None) | Err(_) => None,
    }
}

/// Every connected peer that says that it has `root`, once, as they come; until nobody listens any more.
pub(crate) async fn watch(
    hub: Arc<Hub>,
    root: Cid,
    mut changes: watch::Receiver<u64>,
    found: mpsc::Sender<Arc<dyn Source>>,
) {
    let mut asked: HashMap<PeerId, Option<Instant>> = HashMap::new();
    let mut questions = FuturesUnordered::new();
    loop {
        for link in hub.all() {
            let due = match asked.get(&link.peer) {
                None => true,
                Some(Some(again)) => *again <= Instant::now(),
                // It is being asked, or has it.
                Some(None) => false,
            };
            if due {
                asked.insert(link.peer, None);
                questions.push(async move { (link.peer, has(&link, &root).await) });
            }
        }
        tokio::select! {
            () = found.closed() => return,
            Some((peer, has)) = questions.next() => {
                if has == Some(true) {
                    let source: Arc<dyn Source> = Arc::new(PeerSource::new(Arc::clone(&hub), peer));
                    if found.send(source).await.is_err() {
                        return;
                    }
                } else {
                    asked.insert(peer, Some(Instant::now() + HAVE_AGAIN_INTERVAL));
                }
            }
            // The book lives as long as the hub.
            _ = changes.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
