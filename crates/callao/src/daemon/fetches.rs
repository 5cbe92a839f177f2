//! Fetches under way, for those who want to see them: of this process, and of other callaos of the same user, which tell
//! of theirs. Starts none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callao_fetch::event::{Event, Observer, Share};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::status::{self, Fetch};

/// Fetches of this process at the same time.
pub(super) const OWN_COUNT_MAX: u32 = 4;
/// Fetches of other processes that are remembered.
const TOLD_COUNT_MAX: usize = 64;
/// A fetch that nobody has told of for so long has ended, or its process has.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long fetches of this process may take to end.
const END_MAX: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Debug)]
pub(super) struct Fetches {
    own: Mutex<BTreeMap<u64, Fetch>>,
    told: Mutex<BTreeMap<String, (Fetch, Instant)>>,
    number: AtomicU64,
    received: AtomicU64,
    seats: Arc<Semaphore>,
}

impl Default for Fetches {
    fn default() -> Self {
        Fetches {
            own: Mutex::default(),
            told: Mutex::default(),
            number: AtomicU64::new(0),
            received: AtomicU64::new(0),
            seats: Arc::new(Semaphore::new(OWN_COUNT_MAX as usize)),
        }
    }
}

impl Fetches {
    /// All of them; those of this process first.
    pub(super) fn all(&self, now: Instant) -> Vec<Fetch> {
        let mut told = lock(&self.told);
        told.retain(|_, (_, at)| now.saturating_duration_since(*at) < SILENCE_MAX);
        let own = lock(&self.own);
        own.values()
            .chain(told.values().map(|(fetch, _)| fetch))
            .cloned()
            .collect()
    }

    /// Bytes that fetches of this process have received.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Another process tells of a fetch of its own. `false`: there are too many.
    pub(super) fn tell(&self, fetch: Fetch, now: Instant) -> bool {
        let mut told = lock(&self.told);
        told.retain(|_, (_, at)| now.saturating_duration_since(*at) < SILENCE_MAX);
        let has_room = told.len() < TOLD_COUNT_MAX || told.contains_key(&fetch.id);
        if has_room {
            told.insert(fetch.id.clone(), (fetch, now));
        }
        has_room
    }

    /// Begins one of this process; `None` if there are too many already.
    pub(super) fn begin(self: &Arc<Self>, name: String, root: String) -> Option<Arc<Own>> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        lock(&self.own).insert(number, Fetch::begun(number, name, Some(root)));
        Some(Arc::new(Own {
            number,
            fetches: Arc::clone(self),
            _seat: seat,
        }))
    }

    /// Waits until those of this process have ended; they were told to.
    pub(super) async fn ended(&self) {
        let all = self.seats.acquire_many(OWN_COUNT_MAX);
        if tokio::time::timeout(END_MAX, all).await.is_err() {
            tracing::warn!("a fetch does not end; what arrived is kept");
        }
    }
}

/// A fetch of this process; it has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Own {
    number: u64,
    fetches: Arc<Fetches>,
    _seat: OwnedSemaphorePermit,
}

impl Observer for Own {
    fn event(&self, event: Event) {
        let mut own = lock(&self.fetches.own);
        if let Some(fetch) = own.get_mut(&self.number) {
            let before = given(fetch);
            fetch.note(event);
            let more = given(fetch).saturating_sub(before);
            self.fetches.received.fetch_add(more, Ordering::Relaxed);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        lock(&self.fetches.own).remove(&self.number);
    }
}

fn given(fetch: &Fetch) -> u64 {
    fetch.sources.iter().map(|share| share.bytes).sum()
}

impl Fetch {
    /// The fetch of this process with this number, of which nothing is known yet.
    pub(super) fn begun(number: u64, name: String, root: Option<String>) -> Self {
        Fetch {
            id: format!("{}-{number}", std::process::id()),
            name,
            root,
            size: None,
            have_bytes: 0,
            rate_bytes_s: 0,
            sources: Vec::new(),
        }
    }

    /// Takes what the engine says.
    pub(super) fn note(&mut self, event: Event) {
        match event {
            Event::Layout { size, .. } | Event::Size { size } => self.size = Some(size),
            Event::Resumed { bytes } => self.have_bytes = bytes,
            Event::Progress {
                done,
                size,
                rate,
                shares,
            } => {
                self.have_bytes = done;
                self.size = size.or(self.size);
                self.rate_bytes_s = rate;
                self.sources = shares.into_iter().map(share).collect();
            }
            _ => {}
        }
    }
}

fn share(share: Share) -> status::Share {
    status::Share {
        kind: share.source.kind.name().into(),
        place: share.source.place,
        bytes: share.bytes,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_fetch::source::{SourceId, SourceKind};

    fn progress(done: u64) -> Event {
        let source = SourceId {
            kind: SourceKind::Http,
            place: "http://a/".into(),
        };
        Event::Progress {
            done,
            size: Some(100),
            rate: 7,
            shares: vec![Share {
                source,
                bytes: done,
            }],
        }
    }

    #[test]
    fn a_fetch_is_seen_while_it_runs() {
        let fetches = Arc::new(Fetches::default());
        let now = Instant::now();
        let own = fetches.begin("a.img".into(), "bafy".into()).expect("room");
        own.event(progress(40));
        own.event(progress(60));
        let seen = fetches.all(now);
        assert_eq!(
            (seen[0].have_bytes, seen[0].size, seen[0].rate_bytes_s),
            (60, Some(100), 7)
        );
        assert_eq!(
            (&*seen[0].sources[0].kind, seen[0].sources[0].bytes),
            ("http", 60)
        );
        assert_eq!(fetches.received(), 60);
        drop(own);
        assert!(fetches.all(now).is_empty());
        assert_eq!(fetches.received(), 60);
    }

    #[test]
    fn there_are_only_so_many() {
        let fetches = Arc::new(Fetches::default());
        let begin = || fetches.begin(String::new(), String::new());
        let mut own: Vec<_> = (0..OWN_COUNT_MAX).map(|_| begin().expect("room")).collect();
        assert!(begin().is_none());
        own.pop();
        assert!(begin().is_some());
    }

    #[test]
    fn what_others_tell_is_forgotten_when_they_are_silent() {
        let fetches = Fetches::default();
        let now = Instant::now();
        let told = |id: String| Fetch {
            id,
            name: "a.img".into(),
            root: None,
            size: None,
            have_bytes: 0,
            rate_bytes_s: 0,
            sources: Vec::new(),
        };
        for number in 0..TOLD_COUNT_MAX {
            assert!(fetches.tell(told(number.to_string()), now));
        }
        assert!(!fetches.tell(told("one more".into()), now));
        assert!(fetches.tell(told("0".into()), now + SILENCE_MAX / 2));
        assert_eq!(fetches.all(now + SILENCE_MAX).len(), 1);
        assert!(fetches.tell(told("one more".into()), now + SILENCE_MAX));
    }
}
