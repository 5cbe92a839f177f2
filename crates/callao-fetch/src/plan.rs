//! Who fetches what next. Pure and synchronous: no clock, no channel, no lock; the engine tells it what happened and
//! asks for the next span.
//!
//! The rules: in file order; a span is what its lane manages in about a second; a source that is alone gets the whole
//! rest in one request, as a plain download would, and is cut short when another one comes; when nothing is free, the
//! longest span is cut; when nothing can be cut, the slowest span is asked for a second time.
//!
//! When other hosts have parts of the file (`swarm`), what they have comes from them, the rarest first, and a source
//! outside is asked for what none of them has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{
    GRID_BYTES, SPAN_BYTES_MAX, SPAN_BYTES_MIN, SPAN_FIRST_BYTES, SPAN_TIME, SWARM_CHUNK_TIME,
};
use crate::message::LaneId;
use crate::ranges::RangeSet;
use crate::sink::Borders;

pub(crate) mod swarm;

#[cfg(test)]
mod simulation;

use swarm::{Me, Swarm, Wish};

/// A second asker must be expected to finish in less than this part of the first one's time.
const DUPLICATE_GAIN: f64 = 0.8;

/// A span that somebody is fetching.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    /// Which source.
    pub source: usize,
    /// The next byte that is expected of it.
    pub position: u64,
    /// Where it stops; `u64::MAX` while the length of the file is not known.
    pub end: u64,
    /// It repeats what another lane has in hand.
    pub duplicate: bool,
    /// Bytes per second of this lane, when known.
    pub rate: Option<f64>,
}

impl Hand {
    fn remaining(&self) -> Range<u64> {
        self.position..self.end
    }

    fn seconds_left(&self) -> f64 {
        (self.end - self.position) as f64 / self.rate.unwrap_or(1.0).max(1.0)
    }
}

/// Who asks for a span.
#[derive(Debug, Clone)]
pub(crate) struct Asker<'a> {
    /// Which source.
    pub source: usize,
    /// Bytes per second that one more lane of it is expected to give.
    pub rate: Option<f64>,
    /// Nobody else can send, and it gains nothing from several requests.
    pub alone: bool,
    /// The longest span it takes.
    pub span_bytes_max: u64,
    /// Only free bytes, nothing of what others have in hand.
    pub only_free: bool,
    /// What this source is known not to have.
    pub lacks: &'a RangeSet,
    /// It is outside the swarm, and peers bring what they have sooner than it would.
    pub spare: bool,
}

/// What the asker shall fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The span.
    pub range: Range<u64>,
    /// Others have it in hand too.
    pub duplicate: bool,
    /// Lanes that shall stop earlier, and where.
    pub cut: Option<(LaneId, u64)>,
}

/// The state of one file.
pub(crate) struct Plan {
    size: Option<u64>,
    borders: Borders,
    arrived: RangeSet,
    withheld: RangeSet,
    hands: BTreeMap<LaneId, Hand>,
    swarm: Swarm,
    free: Option<Free>,
}

/// What nobody has in hand, until something changes.
struct Free {
    all: Vec<Range<u64>>,
    /// What peers have of it,
    held: Vec<Range<u64>>,
    /// and what none of them has.
    outside: Vec<Range<u64>>,
}

impl Plan {
    /// Nothing is known and nothing is there. `me` is what this host is to the others of a swarm.
    pub(crate) fn new(me: Me) -> Self {
        Plan {
            size: None,
            borders: Borders::Grid,
            arrived: RangeSet::new(),
            withheld: RangeSet::new(),
            hands: BTreeMap::new(),
            swarm: Swarm::new(me),
            free: None,
        }
    }

    /// The other hosts.
    pub(crate) fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// A peer said what it has; `rival`: it is still fetching the file itself. Has no effect before the length is known.
    pub(crate) fn peer_has(
        &mut self,
        source: usize,
        name: u64,
        has: Arc<RangeSet>,
        rival: bool,
        now: Duration,
    ) {
        self.free = None;
        if self.size.is_some() {
            self.swarm.peer_has(source, name, has, rival, now);
        }
    }

    /// A peer is gone, or does not answer.
    pub(crate) fn peer_gone(&mut self, source: usize) {
        self.free = None;
        self.swarm.peer_gone(source);
    }

    /// Lanes of sources outside that shall stop earlier, since peers have what would follow or will bring it.
    pub(crate) fn overreaching(&self) -> Vec<(LaneId, u64)> {
        if !self.swarm.is_on() || self.size.is_none() {
            return Vec::new();
        }
        let cut = |(lane, hand): (&LaneId, &Hand)| {
            if self.swarm.has(hand.source).is_some() {
                return None;
            }
            let keep = self.borders.ceil(hand.position + SPAN_BYTES_MIN);
            let end = self.swarm.not_ours(keep, hand.end, hand.rate)?;
            let end = self.borders.ceil(end);
            (end + SPAN_BYTES_MIN <= hand.end).then_some((*lane, end))
        };
        self.hands.iter().filter_map(cut).collect()
    }

    /// The length of the file.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Sets the length; spans that were open at the end are closed there.
    pub(crate) fn set_size(&mut self, size: u64) {
        self.free = None;
        self.size = Some(size);
        self.swarm.set_size(size);
        for hand in self.hands.values_mut() {
            hand.end = hand.end.min(size);
        }
    }

    /// Spans begin and end on these borders from now on.
    pub(crate) fn set_borders(&mut self, borders: Borders) {
        self.borders = borders;
    }

    /// The borders.
    pub(crate) fn borders(&self) -> &Borders {
        &self.borders
    }

    /// Nobody needs to fetch `range`: it will be copied from elsewhere in the file.
    pub(crate) fn withhold(&mut self, range: Range<u64>) {
        self.free = None;
        self.withheld.insert(range);
    }

    /// `range` is here (on its way to the disk, or on it).
    pub(crate) fn arrived(&mut self, range: Range<u64>) {
        self.free = None;
        self.arrived.insert(range);
    }

    /// `range` was not what it should be and has to come again.
    pub(crate) fn lost(&mut self, range: Range<u64>) {
        self.free = None;
        self.arrived.remove(range);
    }

    /// What is here.
    pub(crate) fn here(&self) -> &RangeSet {
        &self.arrived
    }

    /// The parts of `range` that have not arrived yet.
    pub(crate) fn still_missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.arrived.missing(range)
    }

    /// Everything is here.
    pub(crate) fn complete(&self) -> bool {
        self.size
            .is_some_and(|size| self.arrived.covers(&(0..size)))
    }

    /// A lane begins.
    pub(crate) fn began(&mut self, lane: LaneId, hand: Hand) {
        self.free = None;
        self.hands.insert(lane, hand);
    }

    /// A lane delivered up to `position`, at `rate` bytes per second.
    pub(crate) fn moved(&mut self, lane: LaneId, position: u64, rate: Option<f64>) {
        if let Some(hand) = self.hands.get_mut(&lane) {
            hand.position = hand.position.max(position).min(hand.end);
            hand.rate = rate;
        }
    }

    /// Of several lanes that asked for the same bytes, this one brings them.
    pub(crate) fn set_primary(&mut self, lane: LaneId) {
        self.free = None;
        for (other, hand) in &mut self.hands {
            hand.duplicate = *other != lane;
        }
    }

    /// A lane shall stop at `end`.
    pub(crate) fn cut(&mut self, lane: LaneId, end: u64) {
        self.free = None;
        if let Some(hand) = self.hands.get_mut(&lane) {
            hand.end = end.max(hand.position);
        }
    }

    /// A lane is over; what it did not deliver is free again.
    pub(crate) fn ended(&mut self, lane: LaneId) -> Option<Hand> {
        self.free = None;
        self.hands.remove(&lane)
    }

    /// What a lane has in hand.
    pub(crate) fn hand(&self, lane: LaneId) -> Option<&Hand> {
        self.hands.get(&lane)
    }

    /// Lanes under way.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (LaneId, &Hand)> {
        self.hands.iter().map(|(lane, hand)| (*lane, hand))
    }

    /// Lanes that have nothing left to deliver, since others were faster.
    pub(crate) fn overtaken(&self) -> Vec<LaneId> {
        let done = |hand: &Hand| hand.end != u64::MAX && self.arrived.covers(&hand.remaining());
        self.hands
            .iter()
            .filter(|(_, hand)| done(hand))
            .map(|(lane, _)| *lane)
            .collect()
    }

    /// The next span for `asker`, or `None` if there is nothing useful for it to do.
    pub(crate) fn grant(&mut self, asker: &Asker<'_>) -> Option<Grant> {
        let Some(size) = self.size else {
            return self.probe(asker);
        };
        if let Some(wish) = self.wish(asker, size) {
            return Some(Grant {
                range: self.span_of(&wish, asker, size),
                duplicate: false,
                cut: None,
            });
        }
        if asker.only_free {
            return None;
        }
        self.cut_longest(asker, size)
            .or_else(|| self.repeat_slowest(asker))
    }

    /// Where the asker shall begin, of what is free.
    fn wish(&mut self, asker: &Asker<'_>, size: u64) -> Option<Wish> {
        let free = self.free.take().unwrap_or_else(|| self.find_free(size));
        let wish = self.wish_of(&free, asker);
        self.free = Some(free);
        wish
    }

    fn wish_of(&self, free: &Free, asker: &Asker<'_>) -> Option<Wish> {
        let mut all = free.all.iter().flat_map(|part| asker.lacks.missing(part));
        if !self.swarm.is_on() {
            return all.next().map(Wish::from_start);
        }
        if let Some(has) = self.swarm.has(asker.source) {
            let available = free.held.iter().flat_map(|part| has.common(part));
            return self.swarm.of_peer(&available.collect::<Vec<_>>());
        }
        let outside = self.swarm.of_outside(&free.outside, asker.rate);
        let any = || free.held.first().cloned().map(Wish::from_start);
        outside.or_else(|| (!asker.spare).then(any).flatten())
    }

    /// Without a length everybody is asked for the whole file; the first to answer tells the length.
    fn probe(&self, asker: &Asker<'_>) -> Option<Grant> {
        let asked = self.hands.values().any(|hand| hand.source == asker.source);
        let start = self.arrived.containing(0).map_or(0, |held| held.end);
        (!asked).then_some(Grant {
            range: start..u64::MAX,
            duplicate: !self.hands.is_empty(),
            cut: None,
        })
    }

    /// What has not arrived, will not come from elsewhere in the file, and is in nobody's hands.
    fn find_free(&self, size: u64) -> Free {
        let mut in_hand = RangeSet::new();
        for hand in self.hands.values().filter(|hand| !hand.duplicate) {
            in_hand.insert(hand.remaining());
        }
        let missing = self.arrived.missing(&(0..size)).into_iter();
        let missing = missing.flat_map(|part| in_hand.missing(&part));
        let all: Vec<Range<u64>> = missing
            .flat_map(|part| self.withheld.missing(&part))
            .collect();
        let held = self.swarm.held();
        Free {
            held: all.iter().flat_map(|part| held.common(part)).collect(),
            outside: all.iter().flat_map(|part| held.missing(part)).collect(),
            all,
        }
    }

    /// The first part of `range` that has not arrived and that the asker may have.
    fn useful(&self, range: &Range<u64>, asker: &Asker<'_>) -> Option<Range<u64>> {
        let not_here = self.arrived.missing(range).into_iter();
        let mut parts = not_here.flat_map(|part| asker.lacks.missing(&part));
        match self.swarm.has(asker.source) {
            Some(has) => parts.flat_map(|part| has.common(&part)).next(),
            None => parts.next(),
        }
    }

    /// Those of `sources` that could bring whatever would be missing without `source`: those outside the swarm, and
    /// peers if all of them together have everything.
    pub(crate) fn substitutes(&self, source: usize, sources: &[usize]) -> Vec<usize> {
        let others = sources.iter().copied().filter(|other| *other != source);
        let (peers, mut all): (Vec<usize>, Vec<usize>) =
            others.partition(|other| self.swarm.has(*other).is_some());
        let mut held = RangeSet::new();
        for range in peers
            .iter()
            .filter_map(|peer| self.swarm.has(*peer))
            .flat_map(RangeSet::iter)
        {
            held.insert(range);
        }
        let missing = self.size.map(|size| self.arrived.missing(&(0..size)));
        if missing.is_some_and(|parts| parts.iter().all(|part| held.covers(part))) {
            all.extend(peers);
        }
        all
    }

    /// Whether the asker may take over what this lane has in hand.
    fn may_relieve(&self, hand: &Hand, asker: &Asker<'_>) -> bool {
        !asker.spare || self.swarm.has(hand.source).is_none()
    }

    fn span_of(&self, wish: &Wish, asker: &Asker<'_>, size: u64) -> Range<u64> {
        let gap = &wish.gap;
        let length = if asker.alone && !self.swarm.has_rivals() {
            u64::MAX
        } else {
            self.first_or(asker.rate)
        }
        .min(asker.span_bytes_max);
        if wish.from_end {
            let start = self
                .borders
                .floor(gap.end.saturating_sub(length).max(gap.start));
            return start.max(gap.start)..gap.end;
        }
        let wished = gap.start.saturating_add(length);
        if wished.saturating_add(SPAN_BYTES_MIN) >= gap.end {
            let whole = gap.end - gap.start;
            if whole <= asker.span_bytes_max.max(SPAN_BYTES_MIN) || asker.span_bytes_max == u64::MAX
            {
                return gap.clone();
            }
        }
        let mut end = self.borders.floor(wished.min(gap.end));
        if end <= gap.start {
            end = self.borders.ceil(gap.start + 1);
        }
        gap.start..end.min(gap.end).min(size)
    }

    /// The length of a span; among rivals a source begins with little, since the others wait for what it brings.
    fn first_or(&self, rate: Option<f64>) -> u64 {
        match rate {
            None if self.swarm.has_rivals() => SPAN_BYTES_MIN,
            rate => span_bytes(rate),
        }
    }

    /// Bytes that a lane of this rate hands on at once: so much that others see soon what it brings.
    pub(crate) fn chunk_bytes(&self, rate: Option<f64>) -> u64 {
        if !self.swarm.has_rivals() {
            return u64::MAX;
        }
        rate.map_or(1, |rate| (rate * SWARM_CHUNK_TIME.as_secs_f64()) as u64)
    }

    /// Shortens the longest span to what its owner does in about a second, if enough is left to be worth it.
    fn cut_longest(&self, asker: &Asker<'_>, size: u64) -> Option<Grant> {
        let (lane, hand) = self
            .hands
            .iter()
            .filter(|(_, hand)| !hand.duplicate && self.may_relieve(hand, asker))
            .max_by_key(|(_, h)| h.end - h.position)?;
        // One more chunk is probably on its way already.
        let keep = hand.position + GRID_BYTES + span_bytes(hand.rate);
        let end = self.borders.ceil(keep.min(size));
        if end.saturating_add(SPAN_BYTES_MIN) > hand.end {
            return None;
        }
        // What the owner is cut off from is free now, unless it came from elsewhere already.
        let gap = self.useful(&(end..hand.end), asker)?;
        let range = self.span_of(&Wish::from_start(gap), asker, size);
        Some(Grant {
            range,
            duplicate: false,
            cut: Some((*lane, end)),
        })
    }

    /// Asks a second source for the span that is expected to take longest.
    fn repeat_slowest(&self, asker: &Asker<'_>) -> Option<Grant> {
        let repeated = |hand: &Hand| {
            self.hands.values().any(|other| {
                other.duplicate && other.end == hand.end && other.source != hand.source
            })
        };
        let (slowest, gap) = self
            .hands
            .values()
            .filter(|hand| {
                hand.source != asker.source && !hand.duplicate && hand.end > hand.position
            })
            .filter(|hand| !repeated(hand) && self.may_relieve(hand, asker))
            .filter_map(|hand| Some((hand, self.useful(&hand.remaining(), asker)?)))
            .max_by(|(a, _), (b, _)| a.seconds_left().total_cmp(&b.seconds_left()))?;
        let mine = (gap.end - gap.start) as f64 / asker.rate.unwrap_or(SPAN_FIRST_BYTES as f64);
        if mine > slowest.seconds_left() * DUPLICATE_GAIN {
            return None;
        }
        let end = gap.end.min(
            self.borders
                .floor(gap.start.saturating_add(asker.span_bytes_max))
                .max(gap.start),
        );
        (end > gap.start).then_some(Grant {
            range: gap.start..end,
            duplicate: true,
            cut: None,
        })
    }
}

/// The length of a span for a lane of `rate` bytes per second.
fn span_bytes(rate: Option<f64>) -> u64 {
    rate.map_or(SPAN_FIRST_BYTES, |rate| {
        ((rate * SPAN_TIME.as_secs_f64()) as u64).clamp(SPAN_BYTES_MIN, SPAN_BYTES_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    const HAS_ALL: &RangeSet = &RangeSet::new();

    fn asker(source: usize, rate: f64, alone: bool) -> Asker<'static> {
        Asker {
            source,
            rate: Some(rate),
            alone,
            span_bytes_max: u64::MAX,
            only_free: false,
            lacks: HAS_ALL,
            spare: false,
        }
    }

    fn hand(source: usize, range: Range<u64>, rate: f64) -> Hand {
        Hand {
            source,
            position: range.start,
            end: range.end,
            duplicate: false,
            rate: Some(rate),
        }
    }

    fn sized(size: u64) -> Plan {
        let mut plan = Plan::new(Me::Host(0));
        plan.set_size(size);
        plan
    }

    #[test]
    fn alone_gets_the_whole_rest_and_is_cut_when_another_comes() {
        let mut plan = sized(100 * MIB);
        let first = plan.grant(&asker(0, 4e6, true)).expect("work");
        assert_eq!(first.range, 0..100 * MIB);
        plan.began(1, hand(0, first.range, 4e6));
        plan.arrived(0..10 * MIB);
        plan.moved(1, 10 * MIB, Some(4e6));
        let second = plan.grant(&asker(1, 2e6, false)).expect("work");
        let (lane, end) = second.cut.expect("the first one is cut");
        assert_eq!(lane, 1);
        assert!(
            (14 * MIB..17 * MIB).contains(&end),
            "a second's work and what is on its way: {end}"
        );
        assert_eq!(second.range.start, end);
        assert_eq!(
            second.range.end - second.range.start,
            1_835_008,
            "about a second at 2 MB/s, on a border"
        );
    }

    #[test]
    fn without_a_length_everybody_probes_once() {
        let mut plan = Plan::new(Me::Host(0));
        let first = plan.grant(&asker(0, 1e6, false)).expect("work");
        assert_eq!((first.range.clone(), first.duplicate), (0..u64::MAX, false));
        plan.began(1, hand(0, first.range, 1e6));
        assert!(plan.grant(&asker(0, 1e6, false)).is_none());
        assert!(plan.grant(&asker(1, 1e6, false)).expect("work").duplicate);
        plan.set_size(5 * MIB);
        assert_eq!(plan.hand(1).expect("still there").end, 5 * MIB);
    }

    #[test]
    fn the_slowest_span_is_asked_for_twice_at_the_end() {
        let mut plan = sized(2 * MIB);
        plan.began(1, hand(0, 0..MIB, 1e4));
        plan.began(2, hand(1, MIB..2 * MIB, 1e7));
        assert!(
            plan.grant(&asker(0, 1e4, false)).is_none(),
            "the slow one is of no use here"
        );
        let again = plan.grant(&asker(1, 1e7, false)).expect("work");
        assert_eq!((again.range.clone(), again.duplicate), (0..MIB, true));
        plan.began(
            3,
            Hand {
                duplicate: true,
                ..hand(1, again.range, 1e7)
            },
        );
        assert!(
            plan.grant(&asker(2, 1e8, false))
                .is_none_or(|grant| grant.range.start >= MIB),
            "twice is enough"
        );
        plan.arrived(0..MIB);
        assert!(plan.overtaken().contains(&1));
    }

    #[test]
    fn a_source_outside_is_replaced_only_by_peers_that_have_all_that_is_missing() {
        let mut plan = sized(10 * MIB);
        let has = |range: Range<u64>| {
            let mut set = RangeSet::new();
            set.insert(range);
            Arc::new(set)
        };
        let now = Duration::ZERO;
        plan.peer_has(1, 1, has(0..4 * MIB), true, now);
        plan.peer_has(2, 2, has(3 * MIB..8 * MIB), true, now);
        assert!(plan.substitutes(0, &[0, 1, 2]).is_empty());
        assert_eq!(plan.substitutes(0, &[0, 1, 2, 3]), [3]);
        assert_eq!(plan.substitutes(1, &[0, 1, 2]), [0]);
        plan.arrived(7 * MIB..10 * MIB);
        assert_eq!(plan.substitutes(0, &[0, 1, 2, 3]), [3, 1, 2]);
        assert!(plan.substitutes(0, &[0, 2]).is_empty());
        assert!(plan.substitutes(1, &[1, 2]).is_empty());
    }

    #[test]
    fn withheld_ranges_are_nobodys() {
        let mut plan = sized(4 * MIB);
        plan.withhold(MIB..3 * MIB);
        assert_eq!(
            plan.grant(&asker(0, 1e9, false)).expect("work").range,
            0..MIB
        );
        plan.arrived(0..MIB);
        assert_eq!(
            plan.grant(&asker(0, 1e9, false)).expect("work").range,
            3 * MIB..4 * MIB
        );
        plan.arrived(3 * MIB..4 * MIB);
        assert!(plan.grant(&asker(0, 1e9, false)).is_none());
        assert!(!plan.complete());
        plan.arrived(MIB..3 * MIB);
        assert!(plan.complete());
    }

    proptest! {
        /// Whatever the sources do, the file gets complete, and no two plain spans overlap.
        #[test]
        fn every_byte_is_fetched(
            size in 1u64..40 * MIB,
            steps in proptest::collection::vec((0usize..4, 0u8..4, 0u64..8 * MIB), 1..200),
        ) {
            let mut plan = sized(size);
            let mut next_lane = 0;
            let rates = [1e5, 1e6, 2e7, 5e8];
            let endless = (0..4000).map(|i| (i % 4, 3u8, MIB));
            for (source, what, amount) in steps.into_iter().chain(endless) {
                let mine: Option<LaneId> = plan.lanes().find(|(_, hand)| hand.source == source).map(|(lane, _)| lane);
                match (mine, what) {
                    (None, _) => {
                        if let Some(grant) = plan.grant(&asker(source, rates[source], false)) {
                            prop_assert!(grant.range.start < grant.range.end && grant.range.end <= size);
                            if let Some((lane, end)) = grant.cut { plan.cut(lane, end); }
                            if !grant.duplicate {
                                for (_, other) in plan.lanes().filter(|(_, hand)| !hand.duplicate) {
                                    prop_assert!(grant.range.end <= other.position || other.end <= grant.range.start);
                                }
                            }
                            next_lane += 1;
                            let duplicate = grant.duplicate;
                            plan.began(next_lane, Hand { duplicate, ..hand(source, grant.range, rates[source]) });
                        }
                    }
                    (Some(lane), 0) => { plan.ended(lane); }
                    (Some(lane), _) => {
                        let held = plan.hand(lane).expect("it is there").clone();
                        let to = held.end.min(held.position + amount + 1);
                        plan.arrived(held.position..to);
                        plan.moved(lane, to, held.rate);
                        for done in plan.overtaken() { plan.ended(done); }
                    }
                }
                if plan.complete() { break; }
            }
            prop_assert!(plan.complete());
        }
    }
}
