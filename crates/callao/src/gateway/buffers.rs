//! Buffers for bytes on their way to a socket: used again and again, and bounded over all answers. Knows no file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one buffer usually holds.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Bytes in the buffers that answers are sent from, for clients on this computer, and as many again for all others: slow
/// guests do not take the owner's.
const SENDING_BYTES_MAX: usize = 32 << 20;
/// And for reading ahead. It is apart, so that whoever reads ahead keeps nobody from sending.
const AHEAD_BYTES_MAX: usize = 16 << 20;
/// Budgets are counted in these.
const UNIT_BYTES: usize = 64 << 10;
/// Free buffers that are kept while something is being answered, and afterwards.
const KEPT_BUSY_COUNT_MAX: usize = 24;
const KEPT_IDLE_COUNT_MAX: usize = 2;

/// All buffers of one server.
#[derive(Debug)]
pub(super) struct Buffers {
    local: Budget,
    guests: Budget,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Budget {
    sending: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    answers: usize,
}

/// A buffer that is in use; it goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) bytes: Vec<u8>,
    home: Arc<Buffers>,
    _permit: OwnedSemaphorePermit,
}

/// An answer under way; while there is one, free buffers are kept.
#[derive(Debug)]
pub(super) struct Answering(Arc<Buffers>);

impl Buffers {
    pub(super) fn new() -> Arc<Self> {
        let budget = || Budget {
            sending: Arc::new(Semaphore::new(SENDING_BYTES_MAX / UNIT_BYTES)),
            ahead: Arc::new(Semaphore::new(AHEAD_BYTES_MAX / UNIT_BYTES)),
        };
        Arc::new(Buffers {
            local: budget(),
            guests: budget(),
            free: Mutex::default(),
        })
    }

    /// A buffer for so many bytes, now or when others have gone back. An answer that holds none may wait for one: those
    /// that hold one send it or are ended.
    pub(super) async fn lease(self: &Arc<Self>, bytes: usize, local: bool) -> Lease {
        let budget = Arc::clone(&self.budget(local).sending);
        match budget.acquire_many_owned(units(bytes)).await {
            Ok(permit) => self.leased(permit),
            // The budget is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// A buffer, if there is one now: for reading ahead.
    pub(super) fn try_lease(self: &Arc<Self>, bytes: usize, local: bool) -> Option<Lease> {
        let budget = Arc::clone(&self.budget(local).ahead);
        let permit = budget.try_acquire_many_owned(units(bytes)).ok()?;
        Some(self.leased(permit))
    }

    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.free().answers += 1;
        Answering(Arc::clone(self))
    }

    fn budget(&self, local: bool) -> &Budget {
        if local { &self.local } else { &self.guests }
    }

    fn leased(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            bytes: self.free().buffers.pop().unwrap_or_default(),
            home: Arc::clone(self),
            _permit: permit,
        }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The bytes, without a copy; the buffer goes back when all of their owners are gone.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.bytes);
        buffer.clear();
        let mut free = self.home.free();
        if buffer.capacity() > 0 && free.buffers.len() < free.kept_max() {
            free.buffers.push(buffer);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut free = self.0.free();
        free.answers = free.answers.saturating_sub(1);
        let kept = free.kept_max();
        free.buffers.truncate(kept);
    }
}

impl Free {
    fn kept_max(&self) -> usize {
        if self.answers > 0 {
            KEPT_BUSY_COUNT_MAX
        } else {
            KEPT_IDLE_COUNT_MAX
        }
    }
}

fn units(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT_BYTES).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_back_and_most_are_given_up_when_nothing_is_answered() {
        let buffers = Buffers::new();
        let answering = buffers.answering();
        let take = || {
            let mut lease = buffers.try_lease(PIECE_BYTES, true).expect("a buffer");
            lease.bytes.resize(1000, 7);
            lease
        };
        let leases: Vec<Lease> = (0..16).map(|_| take()).collect();
        assert!(buffers.try_lease(1, true).is_none(), "all are out");
        assert!(buffers.try_lease(1, false).is_some(), "others have theirs");
        let sent: Vec<Bytes> = leases.into_iter().map(Lease::into_bytes).collect();
        let part = sent[0].slice(10..20);
        drop(sent);
        assert_eq!(buffers.free().buffers.len(), 15, "one is in use yet");
        assert_eq!(&part[..], &[7; 10]);
        drop(part);
        assert!(take().bytes.capacity() >= 1000, "used again");
        drop(answering);
        assert_eq!(buffers.free().buffers.len(), KEPT_IDLE_COUNT_MAX);
    }
}
