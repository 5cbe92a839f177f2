//! Many hosts fetch one file: each has a real [`Plan`], everything else is arithmetic. No sockets, no clock: time goes on
//! in steps. What the engine does around a plan (lanes, rates, cuts, bans) is repeated here in its simplest form.
//!
//! Capacities are shared evenly among the lanes that use them, and what one cannot use is lost to the others, so the
//! times are rather too long. Bytes become visible a MiB at a time, as the engine hands them on, and to others only when
//! they ask next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::swarm::Me;
use super::{Asker, Hand, Plan};
use crate::limits::{GRID_BYTES, LANES_COUNT_MAX, SWARM_TRIAL};
use crate::message::LaneId;
use crate::ranges::RangeSet;

const MIB: u64 = 1024 * 1024;
const LEAF_BYTES: u64 = 256 * 1024;
const ORIGIN: usize = 0;
const NONE: &RangeSet = &RangeSet::new();

/// What is played.
#[derive(Clone)]
struct Scene {
    /// Hosts that want the file.
    hosts: usize,
    /// Hosts that have it from the beginning.
    seeds: usize,
    /// Hosts that say that they have it, and send other bytes.
    liars: usize,
    /// Hosts that want the file and give nobody anything.
    guests: usize,
    size: u64,
    /// Bytes per second of the origin, for all together.
    origin: f64,
    /// Bytes per second of each host, each way.
    lan: f64,
    /// All begin within this time.
    begin: Duration,
    /// What each host finds out about others: how many, and how long after it began.
    peers: usize,
    found: Duration,
    /// How often a peer is asked what it has, and how old its answer is at most.
    asked: Duration,
    age: Duration,
    /// Every second host disappears at this time, whatever it has.
    leave: Option<Duration>,
    step: Duration,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            hosts: 8,
            seeds: 0,
            liars: 0,
            guests: 0,
            size: 450 * MIB,
            origin: 20.0 * MIB as f64,
            lan: 100.0 * MIB as f64,
            begin: Duration::from_secs(1),
            peers: 63,
            found: Duration::from_millis(1500),
            asked: Duration::from_millis(300),
            age: Duration::from_secs(1),
            leave: None,
            step: Duration::from_millis(50),
        }
    }
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// Bytes that the origin sent, as a multiple of the file.
    origin: f64,
    /// When the last host was done, as a multiple of the time in which the origin sends the file once.
    last: f64,
}

struct Host {
    plan: Plan,
    begins: Duration,
    /// Numbers of the other hosts; the source of `peers[i]` is `i + 1`.
    peers: Vec<usize>,
    sources: Vec<Source>,
    lanes: BTreeMap<LaneId, Lane>,
    next_lane: LaneId,
    published: Arc<RangeSet>,
    published_at: Duration,
    heard: Option<Duration>,
    kind: Kind,
    done: Option<Duration>,
    gone: bool,
    idle: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wants,
    Seeds,
    Lies,
    Takes,
}

#[derive(Clone, Default)]
struct Source {
    rate: Option<f64>,
    out: bool,
    asked_at: Option<Duration>,
}

struct Lane {
    source: usize,
    at: f64,
    delivered: u64,
}

struct World {
    scene: Scene,
    hosts: Vec<Host>,
    now: Duration,
    origin_bytes: f64,
}

fn play(scene: &Scene) -> Outcome {
    let mut world = World::new(scene.clone());
    let ideal = scene.size as f64 / scene.origin;
    let limit = Duration::from_secs_f64(ideal * 30.0 + 60.0);
    while world
        .hosts
        .iter()
        .any(|host| host.done.is_none() && !host.gone)
    {
        assert!(world.now < limit, "a host never gets its file");
        world.step();
    }
    let last = world.hosts.iter().filter_map(|host| host.done).max();
    let outcome = Outcome {
        origin: world.origin_bytes / scene.size as f64,
        last: last.unwrap_or_default().as_secs_f64() / ideal,
    };
    told(scene, &outcome);
    outcome
}

fn told(scene: &Scene, outcome: &Outcome) {
    println!(
        "{} hosts, {} seeds, {} liars, {} guests, {} MiB: the origin sent {:.2} of the file, the last was done at {:.2}",
        scene.hosts,
        scene.seeds,
        scene.liars,
        scene.guests,
        scene.size / MIB,
        outcome.origin,
        outcome.last
    );
}

impl World {
    fn new(scene: Scene) -> Self {
        let seen = scene.hosts + scene.seeds + scene.liars;
        let hosts = (0..seen + scene.guests)
            .map(|number| Host::new(&scene, number, seen))
            .collect();
        World {
            scene,
            hosts,
            now: Duration::ZERO,
            origin_bytes: 0.0,
        }
    }

    fn step(&mut self) {
        self.now += self.scene.step;
        self.leave();
        self.publish();
        for number in 0..self.hosts.len() {
            let host = &self.hosts[number];
            if host.is_working(self.now) {
                self.ask_peers(number);
                let now = self.now;
                self.hosts[number].hand_out(now);
            }
        }
        self.transfer();
    }

    fn leave(&mut self) {
        if self.scene.leave.is_none_or(|at| self.now < at) {
            return;
        }
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.gone |= number % 2 == 1 && host.done.is_none();
        }
    }

    fn publish(&mut self) {
        let (now, age) = (self.now, self.scene.age);
        for host in self
            .hosts
            .iter_mut()
            .filter(|host| host.kind == Kind::Wants)
        {
            if now >= host.published_at + age && host.begins <= now {
                host.published_at = now;
                if host.published.total() < host.plan.here().total() {
                    host.published = Arc::new(host.plan.here().clone());
                }
            }
        }
    }

    fn ask_peers(&mut self, number: usize) {
        let now = self.now;
        let host = &self.hosts[number];
        if now < host.begins + self.scene.found {
            return;
        }
        let size = self.scene.size;
        for index in 0..host.peers.len() {
            let source = index + 1;
            let (other, state) = (
                self.hosts[number].peers[index],
                &self.hosts[number].sources[source],
            );
            if state.out || state.asked_at.is_some_and(|at| now < at + self.scene.asked) {
                continue;
            }
            let peer = &self.hosts[other];
            let (has, rival, gone) = match peer.kind {
                Kind::Wants => (Arc::clone(&peer.published), peer.done.is_none(), peer.gone),
                Kind::Seeds | Kind::Lies => (whole(size), false, false),
                Kind::Takes => continue,
            };
            let begun = peer.begins <= now;
            let host = &mut self.hosts[number];
            host.sources[source].asked_at = Some(now);
            if gone {
                host.lose(source);
            } else if begun {
                let news = host
                    .plan
                    .swarm()
                    .has(source)
                    .is_none_or(|had| had.total() != has.total());
                host.idle &= !news;
                host.plan.peer_has(source, name(other), has, rival, now);
                if host.plan.swarm().held().total() > 0 {
                    host.heard.get_or_insert(now);
                }
                for (lane, end) in host.plan.overreaching() {
                    host.plan.cut(lane, end);
                }
            }
        }
    }

    /// Moves bytes for one step, and gives them to the plans.
    fn transfer(&mut self) {
        let (mut up, mut down) = (
            vec![0usize; self.hosts.len()],
            vec![0usize; self.hosts.len()],
        );
        let mut from_origin = 0usize;
        for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| !host.gone) {
            for lane in host.lanes.values() {
                down[number] += 1;
                match lane.source {
                    ORIGIN => from_origin += 1,
                    source => up[host.peers[source - 1]] += 1,
                }
            }
        }
        let gone: Vec<bool> = self.hosts.iter().map(|host| host.gone).collect();
        let lies: Vec<bool> = self
            .hosts
            .iter()
            .map(|host| host.kind == Kind::Lies)
            .collect();
        let (seconds, lan, now) = (self.scene.step.as_secs_f64(), self.scene.lan, self.now);
        let origin_share = self.scene.origin / from_origin.max(1) as f64;
        for (number, host) in self
            .hosts
            .iter_mut()
            .enumerate()
            .filter(|(_, host)| !host.gone)
        {
            let mine = lan / down[number].max(1) as f64;
            let rate = |lane: &Lane| match lane.source {
                ORIGIN => origin_share.min(mine),
                source => (lan / up[host.peers[source - 1]] as f64).min(mine),
            };
            let moves: Vec<(LaneId, usize, f64)> = host
                .lanes
                .iter()
                .map(|(id, lane)| (*id, lane.source, rate(lane)))
                .collect();
            for (id, source, rate) in moves {
                if source != ORIGIN && gone[host.peers[source - 1]] {
                    host.lose(source);
                    continue;
                }
                let lied = source != ORIGIN && lies[host.peers[source - 1]];
                let sent = host.advance(id, source, rate, seconds, lied);
                if source == ORIGIN {
                    self.origin_bytes += sent;
                }
            }
            if host.wants() && host.done.is_none() && host.plan.complete() {
                host.done = Some(now);
                host.lanes.clear();
                host.published = Arc::new(host.plan.here().clone());
            }
        }
    }
}

impl Host {
    /// `seen`: as many hosts are seen by the others, the first ones.
    fn new(scene: &Scene, number: usize, seen: usize) -> Self {
        let kind = match number {
            _ if number < scene.hosts => Kind::Wants,
            _ if number < scene.hosts + scene.seeds => Kind::Seeds,
            _ if number < seen => Kind::Lies,
            _ => Kind::Takes,
        };
        // Everybody, or as many as are looked for, beginning anywhere.
        let mut others: Vec<usize> = (0..seen).filter(|other| *other != number).collect();
        others.sort_by_key(|other| name(other * 7919 + number * 104_729));
        others.truncate(scene.peers);
        let me = match kind {
            Kind::Takes => Me::Guest(name(number)),
            _ => Me::Host(name(number)),
        };
        let mut plan = Plan::new(me);
        plan.set_size(scene.size);
        let wants = matches!(kind, Kind::Wants | Kind::Takes);
        Host {
            plan,
            begins: scene
                .begin
                .mul_f64(number as f64 / scene.hosts as f64)
                .min(scene.begin),
            sources: vec![Source::default(); others.len() + 1],
            peers: others,
            lanes: BTreeMap::new(),
            next_lane: 0,
            published: Arc::default(),
            published_at: Duration::from_millis(number as u64 * 37 % 1000),
            heard: None,
            done: (!wants).then_some(Duration::ZERO),
            kind,
            gone: false,
            idle: false,
        }
    }

    fn wants(&self) -> bool {
        matches!(self.kind, Kind::Wants | Kind::Takes)
    }

    fn is_working(&self, now: Duration) -> bool {
        self.wants() && self.begins <= now && self.done.is_none() && !self.gone
    }

    fn lose(&mut self, source: usize) {
        self.plan.peer_gone(source);
        self.sources[source].out = true;
        self.end_lanes(|lane| lane.source == source);
    }

    fn end_lanes(&mut self, which: impl Fn(&Lane) -> bool) {
        let ended: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| which(lane))
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.lanes.remove(&id);
            self.plan.ended(id);
            self.idle = false;
        }
    }

    /// As `attempt/grants.rs` does it; nothing is looked at again until something has happened.
    fn hand_out(&mut self, now: Duration) {
        if self.idle && now.subsec_millis() != 0 {
            return;
        }
        self.idle = true;
        let mut order: Vec<usize> = (0..self.sources.len())
            .filter(|source| !self.sources[*source].out)
            .filter(|source| *source == ORIGIN || self.plan.swarm().has(*source).is_some())
            .collect();
        order.sort_by_key(|source| {
            Reverse(
                self.sources[*source]
                    .rate
                    .map_or(u64::MAX, |rate| rate as u64),
            )
        });
        let senders = order.len();
        for source in order {
            while self.lanes.len() < LANES_COUNT_MAX && self.another_lane(source, senders, now) {}
        }
    }

    fn another_lane(&mut self, source: usize, senders: usize, now: Duration) -> bool {
        let mine: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.source == source)
            .map(|(id, _)| *id)
            .collect();
        let rate = self.sources[source].rate;
        if mine.len() >= 2 {
            return false;
        }
        if let Some(first) = mine.first() {
            let Some(rate) = rate else { return false };
            let left = self
                .plan
                .hand(*first)
                .map_or(0, |hand| hand.end - hand.position);
            if left as f64 > rate * 0.1 {
                return false;
            }
        }
        let asker = Asker {
            source,
            rate,
            alone: senders == 1,
            span_bytes_max: u64::MAX,
            only_free: !mine.is_empty(),
            lacks: NONE,
            spare: source == ORIGIN && self.peers_are_faster(now),
        };
        let Some(grant) = self.plan.grant(&asker) else {
            return false;
        };
        if let Some((lane, end)) = grant.cut {
            self.plan.cut(lane, end);
        }
        self.next_lane += 1;
        let Range { start, end } = grant.range;
        let hand = Hand {
            source,
            position: start,
            end,
            duplicate: grant.duplicate,
            rate: None,
        };
        self.plan.began(self.next_lane, hand);
        self.lanes.insert(
            self.next_lane,
            Lane {
                source,
                at: start as f64,
                delivered: start,
            },
        );
        true
    }

    fn peers_are_faster(&self, now: Duration) -> bool {
        let rates = self.sources.iter().skip(1).filter(|source| !source.out);
        let peers: f64 = rates.filter_map(|source| source.rate).sum();
        match self.sources[ORIGIN].rate {
            _ if peers <= 0.0 => self.heard.is_some_and(|heard| now < heard + SWARM_TRIAL),
            Some(own) => peers >= own,
            None => true,
        }
    }

    /// Moves a lane on; answers with the bytes that were sent for it.
    fn advance(&mut self, id: LaneId, source: usize, rate: f64, seconds: f64, lied: bool) -> f64 {
        let Some(hand) = self.plan.hand(id).cloned() else {
            return 0.0;
        };
        let Some(lane) = self.lanes.get_mut(&id) else {
            return 0.0;
        };
        let before = lane.at;
        lane.at = (lane.at + rate * seconds).min(hand.end as f64);
        let (sent, here) = (lane.at - before, lane.at as u64);
        self.sources[source].rate = Some(rate);
        let chunk = self
            .plan
            .chunk_bytes(Some(rate))
            .clamp(LEAF_BYTES, GRID_BYTES)
            / LEAF_BYTES
            * LEAF_BYTES;
        let border = if here >= hand.end {
            hand.end
        } else {
            here / chunk * chunk
        };
        if border > lane.delivered {
            if lied {
                self.lose(source);
                return sent;
            }
            let arrived = lane.delivered..border;
            lane.delivered = border;
            self.plan.moved(id, border, Some(rate));
            self.plan.arrived(arrived);
        }
        if here >= hand.end {
            self.end_lanes_of(id);
        }
        for over in self.plan.overtaken() {
            self.end_lanes_of(over);
        }
        sent
    }

    fn end_lanes_of(&mut self, id: LaneId) {
        self.lanes.remove(&id);
        self.plan.ended(id);
        self.idle = false;
    }
}

fn whole(size: u64) -> Arc<RangeSet> {
    let mut all = RangeSet::new();
    all.insert(0..size);
    Arc::new(all)
}

fn name(number: usize) -> u64 {
    super::swarm::name_of(&format!("host {number}"))
}

/// Plays, and holds against the bounds: bytes of the origin in files, the last host in times that the origin needs for one.
fn holds(scene: &Scene, origin_max: f64, last_max: f64) {
    let outcome = play(scene);
    assert!(
        outcome.origin <= origin_max && outcome.last <= last_max,
        "{outcome:?}"
    );
}

#[test]
fn alone_nothing_is_fetched_twice() {
    let scene = Scene {
        hosts: 1,
        ..Scene::default()
    };
    holds(&scene, 1.001, 1.01);
}

#[test]
fn a_few_hosts_fetch_from_the_origin_about_once() {
    for hosts in [2, 4, 8] {
        let scene = Scene {
            hosts,
            ..Scene::default()
        };
        holds(&scene, 1.2, 1.3);
    }
}

#[test]
fn who_comes_last_is_done_soon_where_a_host_has_the_file() {
    let scene = Scene {
        seeds: 1,
        ..Scene::default()
    };
    // Eight times the file through the 100 MiB/s of one host would take 1.6.
    holds(&scene, 0.25, 0.6);
}

#[test]
fn half_of_the_hosts_may_leave() {
    let scene = Scene {
        leave: Some(Duration::from_secs(8)),
        ..Scene::default()
    };
    holds(&scene, 1.3, 1.5);
}

#[test]
fn liars_cost_little() {
    let scene = Scene {
        hosts: 18,
        liars: 2,
        ..Scene::default()
    };
    holds(&scene, 1.3, 1.35);
}

#[test]
fn hosts_that_give_nothing_cost_little() {
    for (hosts, guests) in [(8, 4), (1, 1), (2, 8)] {
        let scene = Scene {
            hosts,
            guests,
            ..Scene::default()
        };
        holds(&scene, 1.35, 1.5);
    }
}

#[test]
fn a_file_that_is_there_in_a_moment_is_fetched_more_than_once() {
    // The origin needs three seconds for it, and the hosts one and a half to find each other.
    let scene = Scene {
        size: 64 * MIB,
        ..Scene::default()
    };
    holds(&scene, 1.9, 2.2);
}

/// The same with less to compute: a smaller file, and everything slower by as much.
fn many(hosts: usize, peers: usize, step_ms: u64) -> Scene {
    let base = Scene::default();
    Scene {
        hosts,
        peers,
        size: base.size / 3,
        origin: base.origin / 3.0,
        lan: base.lan / 3.0,
        asked: Duration::from_secs(1),
        step: Duration::from_millis(step_ms),
        ..base
    }
}

#[test]
fn a_hundred_hosts_stay_within_bounds() {
    holds(&many(100, 32, 250), 2.3, 2.4);
}

#[test]
#[ignore = "it takes minutes"]
fn a_thousand_hosts_stay_within_bounds() {
    let scene = Scene {
        hosts: 1000,
        peers: 40,
        asked: Duration::from_secs(2),
        step: Duration::from_millis(500),
        ..Scene::default()
    };
    holds(&scene, 4.0, 6.0);
}
