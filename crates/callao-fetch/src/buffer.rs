//! The pool of recycled buffers: the one bound on a fetch's memory. Fresh buffers would cost more in page
//! faults than the hashing does. Knows nothing of what is in them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A fixed number of buffers, last in first out.
pub struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    permits: Arc<Semaphore>,
    capacity: AtomicUsize,
}

impl Pool {
    /// `count` buffers of `capacity` bytes, made when first needed.
    pub fn new(count: usize, capacity: usize) -> Arc<Self> {
        Arc::new(Pool {
            free: Mutex::new(Vec::with_capacity(count)),
            permits: Arc::new(Semaphore::new(count)),
            capacity: AtomicUsize::new(capacity),
        })
    }

    /// Bytes that one buffer holds.
    pub fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Makes buffers taken from now on at least this large: a leaf has to fit into one.
    pub fn grow(&self, capacity: usize) {
        self.capacity.fetch_max(capacity, Ordering::Relaxed);
    }

    /// Waits for a free buffer. The pool is never closed, so the wait ends as soon as a worker is done with one.
    pub async fn take(self: &Arc<Self>) -> Option<Buffer> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let mut bytes = self.lock().pop().unwrap_or_default();
        let capacity = self.capacity();
        if bytes.len() < capacity {
            bytes.resize(capacity, 0);
        }
        Some(Buffer {
            bytes,
            used: 0,
            pool: Arc::clone(self),
            _permit: permit,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on loan; dropping it gives it back.
pub struct Buffer {
    bytes: Vec<u8>,
    used: usize,
    pool: Arc<Pool>,
    // Declared last: released only after the bytes are back in the pool.
    _permit: OwnedSemaphorePermit,
}

impl Buffer {
    /// What has been filled in.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// What is still free, up to `most` filled bytes in all.
    pub fn space(&mut self, most: usize) -> &mut [u8] {
        let end = most.clamp(self.used, self.bytes.len());
        &mut self.bytes[self.used..end]
    }

    /// Counts `count` bytes of [`Buffer::space`] as filled.
    pub fn advance(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// Forgets all but the first `count` filled bytes.
    pub fn truncate(&mut self, count: usize) {
        self.used = self.used.min(count);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.lock().push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn buffers_come_back() {
        let pool = Pool::new(1, 8);
        let mut first = pool.take().await.expect("a buffer");
        first.space(8)[..3].copy_from_slice(b"abc");
        first.advance(3);
        assert_eq!(first.filled(), b"abc");
        let place = first.filled().as_ptr();
        drop(first);
        let second = pool.take().await.expect("the same buffer");
        assert_eq!(second.filled(), b"");
        assert_eq!(second.bytes.as_ptr(), place, "recycled, not allocated anew");
    }

    #[tokio::test]
    async fn a_grown_pool_gives_larger_buffers() {
        let pool = Pool::new(1, 8);
        drop(pool.take().await);
        pool.grow(32);
        let mut buffer = pool.take().await.expect("a buffer");
        assert_eq!(buffer.space(usize::MAX).len(), 32);
    }
}
