//! Reads messages off streams into recycled buffers, within a budget of bytes. Fresh buffers would cost more in page
//! faults than the cipher does. Must not know what a message says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::link::Link;
use crate::limits::{
    BUFFER_STEP_BYTES, INTAKE_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_TIMEOUT, POOL_BYTES_MAX,
    STREAM_STALL_TIMEOUT, UNASKED_MESSAGE_BYTES_MAX,
};

/// The longest length of a message, as a varint.
const LENGTH_BYTES_MAX: usize = 4;

/// Why a stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("a message of {0} bytes")]
    TooLong(usize),
    #[error("a length that does not end")]
    Length,
    #[error("it ended in the middle of a message")]
    Cut,
    #[error("nothing came for too long")]
    Stalled,
}

/// Buffers for messages, and the bytes that may be in the making.
#[derive(Debug)]
pub(crate) struct Intake {
    pool: Arc<Pool>,
    budget: Arc<Semaphore>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Intake {
            pool: Arc::new(Pool::default()),
            budget: Arc::new(Semaphore::new(INTAKE_BYTES_MAX)),
        }
    }

    /// Buffers for other uses too.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The next message of a stream; `None` at its end. Waits between messages as long as it takes, within one not.
    pub(crate) async fn message<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        link: &Link,
    ) -> Result<Option<Received>, Unreadable> {
        let Some(length) = read_length(stream).await? else {
            return Ok(None);
        };
        let most = if link.client.is_waiting() {
            MESSAGE_BYTES_MAX
        } else {
            UNASKED_MESSAGE_BYTES_MAX
        };
        if length > most {
            return Err(Unreadable::TooLong(length));
        }
        let whole = timeout(MESSAGE_TIMEOUT, self.body(stream, link, length));
        whole.await.map_err(|_| Unreadable::Stalled)?.map(Some)
    }

    async fn body<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        link: &Link,
        length: usize,
    ) -> Result<Received, Unreadable> {
        let permits = length as u32;
        let own = Arc::clone(&link.intake).acquire_many_owned(permits).await;
        let all = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let mut buffer = self.pool.take(length);
        let mut at = 0;
        while at < length {
            let read = stream.read(&mut buffer.bytes[at..length]);
            match timeout(STREAM_STALL_TIMEOUT, read).await {
                Ok(Ok(0) | Err(_)) => return Err(Unreadable::Cut),
                Ok(Ok(count)) => at += count,
                Err(_) => return Err(Unreadable::Stalled),
            }
            link.heard();
        }
        buffer.length = length;
        Ok(Received {
            bytes: Bytes::from_owner(buffer),
            // Neither is ever closed.
            _budget: [own.ok(), all.ok()],
        })
    }
}

/// A message, and its share of the budget: dropped when somebody has taken it over.
#[derive(Debug)]
pub(crate) struct Received {
    pub bytes: Bytes,
    _budget: [Option<OwnedSemaphorePermit>; 2],
}

async fn read_length<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<usize>, Unreadable> {
    let mut length = 0;
    for index in 0..LENGTH_BYTES_MAX {
        let mut byte = [0];
        let read = stream.read(&mut byte);
        let count = if index == 0 {
            read.await
        } else {
            let read = timeout(STREAM_STALL_TIMEOUT, read).await;
            read.map_err(|_| Unreadable::Stalled)?
        };
        match count {
            Ok(0) if index == 0 => return Ok(None),
            Ok(0) | Err(_) => return Err(Unreadable::Cut),
            Ok(_) => {}
        }
        length |= usize::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            return Ok(Some(length));
        }
    }
    Err(Unreadable::Length)
}

/// Buffers that are used again, the best fitting first.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A buffer of at least `length` bytes, with whatever was in it before.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Pooled {
        let size = length.max(1).next_multiple_of(BUFFER_STEP_BYTES);
        let mut free = self.lock();
        let fitting = free
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.len() >= length && buffer.len() <= size * 2)
            .min_by_key(|(_, buffer)| buffer.len())
            .map(|(index, _)| index);
        let bytes = fitting.map(|index| free.swap_remove(index));
        drop(free);
        Pooled {
            bytes: bytes.unwrap_or_else(|| vec![0; size]),
            length: 0,
            pool: Arc::clone(self),
        }
    }

    /// Gives the memory back to the system. For when nothing is going on.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.lock();
        let kept: usize = free.iter().map(Vec::len).sum();
        if kept + bytes.len() <= POOL_BYTES_MAX {
            free.push(bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on loan; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub bytes: Vec<u8>,
    /// How much of it means something.
    pub length: usize,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::io::Cursor;
    use libp2p::PeerId;
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn read(bytes: &[u8]) -> Vec<Result<Option<Bytes>, Unreadable>> {
        let (link, _) = Link::new(PeerId::random(), CancellationToken::new());
        let (intake, mut stream) = (Intake::new(), Cursor::new(bytes.to_vec()));
        let mut out = Vec::new();
        loop {
            let message = intake.message(&mut stream, &link).await;
            out.push(message.map(|message| message.map(|message| message.bytes)));
            if !matches!(out.last(), Some(Ok(Some(_)))) {
                return out;
            }
        }
    }

    #[tokio::test]
    async fn messages_are_cut_out_of_a_stream() {
        let read = read(&[2, 7, 8, 0, 1, 9]).await;
        let expected =
            [&[7, 8][..], &[], &[9]].map(|bytes| Ok(Some(Bytes::copy_from_slice(bytes))));
        assert_eq!(read[..3], expected);
        assert_eq!(read[3..], [Ok(None)]);
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 1]).await,
            [Err(Unreadable::Length)]
        );
        assert_eq!(read(&[0x81]).await, [Err(Unreadable::Cut)]);
        assert_eq!(read(&[5, 1, 2]).await, [Err(Unreadable::Cut)]);
        // 600 KiB from a peer of which nothing was asked.
        assert_eq!(
            read(&[0x80, 0xe0, 0x25, 1]).await,
            [Err(Unreadable::TooLong(618_496))]
        );
    }

    #[test]
    fn buffers_come_back_and_fit() {
        let pool = Arc::new(Pool::default());
        let place = {
            let buffer = pool.take(100_000);
            assert_eq!(buffer.bytes.len(), 2 * BUFFER_STEP_BYTES);
            buffer.bytes.as_ptr()
        };
        assert_eq!(pool.take(90_000).bytes.as_ptr(), place);
        assert_ne!(pool.take(1_000_000).bytes.as_ptr(), place);
        assert_eq!(
            pool.take(10_000).bytes.as_ptr(),
            place,
            "twice what is needed is still good"
        );
        assert!(pool.take(1000).bytes.len() <= 2 * BUFFER_STEP_BYTES);
        pool.clear();
        assert!(pool.lock().is_empty());
    }

    #[test]
    fn only_so_much_is_kept() {
        let pool = Arc::new(Pool::default());
        let taken: Vec<Pooled> = (0..20).map(|_| pool.take(MESSAGE_BYTES_MAX)).collect();
        drop(taken);
        assert_eq!(pool.lock().len(), POOL_BYTES_MAX / MESSAGE_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_is_given_up() {
        let (link, _) = Link::new(PeerId::random(), CancellationToken::new());
        let (mut ours, mut theirs) = {
            let (a, b) = tokio::io::duplex(64);
            use tokio_util::compat::TokioAsyncReadCompatExt;
            (a.compat(), b)
        };
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &[9, 1, 2])
            .await
            .expect("written");
        let result = Intake::new().message(&mut ours, &link).await;
        assert_eq!(result.expect_err("nothing more comes"), Unreadable::Stalled);
        assert!(link.quiet_for() >= Duration::from_secs(30));
    }
}
