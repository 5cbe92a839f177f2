//! What was asked and what was sent: in all, and for each client. Numbers only; it decides nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Clients that are remembered. Above it the one that asked longest ago, and is asking nothing now, is forgotten.
const CLIENTS_COUNT_MAX: usize = 1024;

/// Counters of one server; shared by all its connections.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    connections: AtomicU64,
    /// By the first digit of the status.
    answers: [AtomicU64; 6],
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    requests: u64,
    by_ip: HashMap<IpAddr, Tally>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    requests: u64,
    bytes: u64,
    running: u64,
    /// Number of its last request.
    last: u64,
}

/// What one client took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCount {
    /// Who.
    pub ip: IpAddr,
    /// Requests so far.
    pub requests: u64,
    /// Bytes of bodies sent so far.
    pub bytes: u64,
    /// Answers under way.
    pub running: u64,
}

impl Counters {
    /// Bytes of bodies sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Answers so far by the class of their status, `[(200, n), (300, n), (400, n), (500, n)]`.
    pub fn answers(&self) -> [(u16, u64); 4] {
        [2_u16, 3, 4, 5].map(|class| {
            let count = self.answers[usize::from(class)].load(Ordering::Relaxed);
            (class * 100, count)
        })
    }

    /// What each client took, the last one to ask first.
    pub fn clients(&self) -> Vec<ClientCount> {
        let clients = self.lock();
        let mut all: Vec<_> = clients.by_ip.iter().collect();
        all.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.last));
        let count = |(ip, tally): (&IpAddr, &Tally)| ClientCount {
            ip: *ip,
            requests: tally.requests,
            bytes: tally.bytes,
            running: tally.running,
        };
        all.into_iter().map(count).collect()
    }

    /// A connection was opened.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection ended.
    pub(super) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request came.
    pub(super) fn began(&self, ip: IpAddr) {
        let mut clients = self.lock();
        clients.requests += 1;
        let now = clients.requests;
        if clients.by_ip.len() >= CLIENTS_COUNT_MAX && !clients.by_ip.contains_key(&ip) {
            clients.forget_one();
        }
        let tally = clients.by_ip.entry(ip).or_default();
        tally.requests += 1;
        tally.running += 1;
        tally.last = now;
    }

    /// Its status is known.
    pub(super) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes of a body were handed to the socket.
    pub(super) fn sent_to(&self, ip: IpAddr, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        if let Some(tally) = self.lock().by_ip.get_mut(&ip) {
            tally.bytes += bytes;
        }
    }

    /// The answer is at its end.
    pub(super) fn ended(&self, ip: IpAddr) {
        if let Some(tally) = self.lock().by_ip.get_mut(&ip) {
            tally.running = tally.running.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    /// Makes room. Who is being answered stays, so that its end is counted.
    fn forget_one(&mut self) {
        let idle = self.by_ip.iter().filter(|(_, tally)| tally.running == 0);
        let oldest = idle.min_by_key(|(_, tally)| tally.last);
        if let Some(ip) = oldest.map(|(ip, _)| *ip) {
            self.by_ip.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + last).to_be_bytes())
    }

    #[test]
    fn clients_are_counted_and_the_last_one_comes_first() {
        let counters = Counters::default();
        counters.began(ip(1));
        counters.began(ip(2));
        counters.sent_to(ip(1), 10);
        counters.sent_to(ip(2), 5);
        counters.ended(ip(2));
        counters.answered(200);
        counters.answered(206);
        counters.answered(404);
        let told: Vec<_> = counters
            .clients()
            .into_iter()
            .map(|client| (client.ip, client.requests, client.bytes, client.running))
            .collect();
        assert_eq!(told, [(ip(2), 1, 5, 0), (ip(1), 1, 10, 1)]);
        assert_eq!(counters.sent(), 15);
        assert_eq!(counters.answers(), [(200, 2), (300, 0), (400, 1), (500, 0)]);
    }

    #[test]
    fn the_idle_client_that_asked_longest_ago_is_forgotten_first() {
        let counters = Counters::default();
        for number in 0..CLIENTS_COUNT_MAX as u32 {
            counters.began(ip(number));
            if number != 0 {
                counters.ended(ip(number));
            }
        }
        counters.began(ip(5000));
        let clients = counters.clients();
        let is_there = |wanted| clients.iter().any(|client| client.ip == wanted);
        assert_eq!(clients.len(), CLIENTS_COUNT_MAX);
        assert!(is_there(ip(0)), "it is being answered");
        assert!(!is_there(ip(1)));
        assert!(is_there(ip(2)));
        assert!(is_there(ip(5000)));
    }
}
