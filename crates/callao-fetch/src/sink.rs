//! Where a source puts its bytes: cuts them into buffers on leaf borders and hands those to the engine.
//! Knows neither proofs nor disks. Waiting for a free buffer happens here, and is what slows a source down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callao_content::layout::Layout;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::buffer::{Buffer, Pool};
use crate::limits::GRID_BYTES;
use crate::message::{Chunk, Head, LaneId, Message, Verdict};
use crate::source::SourceError;

/// Leaf length of a layout that is computed while the bytes arrive (kubo's default chunk).
pub(crate) const IMPORT_LEAF_BYTES: u64 = 256 * 1024;

/// The sink wants no more bytes; the source returns `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// Where chunks may begin and end.
#[derive(Clone)]
pub(crate) enum Borders {
    /// On leaf borders.
    Leaves(Arc<Layout>),
    /// On a fixed grid: no layout is known.
    Grid,
}

impl Borders {
    /// The end of the chunk that begins at `offset`, for buffers of `capacity` bytes.
    pub(crate) fn chunk_end(&self, offset: u64, capacity: u64) -> u64 {
        match self {
            Borders::Grid if capacity < GRID_BYTES => {
                let end = (offset + capacity) / IMPORT_LEAF_BYTES * IMPORT_LEAF_BYTES;
                let grid = (offset / GRID_BYTES + 1) * GRID_BYTES;
                end.max((offset / IMPORT_LEAF_BYTES + 1) * IMPORT_LEAF_BYTES)
                    .min(grid)
            }
            Borders::Grid => (offset / GRID_BYTES + 1) * GRID_BYTES,
            Borders::Leaves(layout) => {
                let end = layout.size().min(offset + capacity);
                if end == layout.size() {
                    return end;
                }
                let last = layout.leaf_at(end);
                let border = layout.leaves()[last].offset;
                if border > offset {
                    border
                } else {
                    border + u64::from(layout.leaves()[last].length)
                }
            }
        }
    }

    /// The last border at or before `offset`.
    pub(crate) fn floor(&self, offset: u64) -> u64 {
        match self {
            Borders::Grid => offset / IMPORT_LEAF_BYTES * IMPORT_LEAF_BYTES,
            Borders::Leaves(layout) if offset >= layout.size() => layout.size(),
            Borders::Leaves(layout) => layout.leaves()[layout.leaf_at(offset)].offset,
        }
    }

    /// The first border at or after `offset`.
    pub(crate) fn ceil(&self, offset: u64) -> u64 {
        match self {
            Borders::Grid => offset
                .div_ceil(IMPORT_LEAF_BYTES)
                .saturating_mul(IMPORT_LEAF_BYTES),
            Borders::Leaves(layout) if offset >= layout.size() => layout.size(),
            Borders::Leaves(layout) => {
                let leaf = &layout.leaves()[layout.leaf_at(offset)];
                if leaf.offset == offset {
                    offset
                } else {
                    leaf.offset + u64::from(leaf.length)
                }
            }
        }
    }
}

/// The receiving end of one request.
pub struct SpanSink {
    lane: LaneId,
    position: u64,
    limit: Arc<AtomicU64>,
    buffer: Option<(Buffer, u64, usize)>,
    borders: Borders,
    pool: Arc<Pool>,
    engine: mpsc::Sender<Message>,
    cancel: CancellationToken,
    chunk_bytes: u64,
}

impl SpanSink {
    pub(crate) fn new(
        lane: LaneId,
        start: u64,
        limit: Arc<AtomicU64>,
        borders: Borders,
        pool: Arc<Pool>,
        engine: mpsc::Sender<Message>,
        cancel: CancellationToken,
    ) -> Self {
        SpanSink {
            lane,
            position: start,
            limit,
            buffer: None,
            borders,
            pool,
            engine,
            cancel,
            chunk_bytes: u64::MAX,
        }
    }

    /// Hands on about so many bytes at once, never less than a leaf, instead of as many as a buffer holds.
    pub(crate) fn hand_on_every(&mut self, bytes: u64) {
        self.chunk_bytes = bytes;
    }

    /// The next byte that is expected.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes are still wanted; shrinks when another source takes over the rest.
    pub fn wanted(&self) -> u64 {
        self.limit
            .load(Ordering::Relaxed)
            .saturating_sub(self.position)
    }

    /// Tells what the answer's head says, before any byte of it. Needed only where it says something about the whole
    /// file. `Ok(Err(Stop))`: end quietly; `Err`: this is another file, return the error.
    pub async fn begin(&mut self, head: Head) -> Result<Result<(), Stop>, SourceError> {
        let (verdict, answer) = oneshot::channel();
        if self
            .engine
            .send(Message::Head {
                lane: self.lane,
                head,
                verdict,
            })
            .await
            .is_err()
        {
            return Ok(Err(Stop));
        }
        match answer.await {
            Ok(Verdict::Accept) => Ok(Ok(())),
            Ok(Verdict::Stop) | Err(_) => Ok(Err(Stop)),
            Ok(Verdict::Refuse(why)) => Err(SourceError::Protocol(why)),
        }
    }

    /// Takes `bytes`; waits while no buffer is free. Bytes beyond the limit are dropped.
    pub async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let space = self.space().await?;
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.filled(count).await?;
        }
        Ok(())
    }

    /// Room for the next bytes, never empty; for sources that read straight into place. Follow with [`Self::filled`].
    pub async fn space(&mut self) -> Result<&mut [u8], Stop> {
        if self.cancel.is_cancelled() {
            self.buffer = None;
            return Err(Stop);
        }
        let limit = self.limit.load(Ordering::Relaxed);
        if self.position >= limit {
            self.flush().await?;
            return Err(Stop);
        }
        if self.buffer.is_none() {
            let buffer = tokio::select! {
                () = self.cancel.cancelled() => None,
                buffer = self.pool.take() => buffer,
            };
            let Some(buffer) = buffer else {
                return Err(Stop);
            };
            let end = self.borders.chunk_end(
                self.position,
                (self.pool.capacity() as u64).min(self.chunk_bytes),
            );
            self.buffer = Some((buffer, self.position, (end - self.position) as usize));
        }
        match &mut self.buffer {
            Some((buffer, offset, most)) => {
                Ok(buffer.space((*most).min((limit - *offset) as usize)))
            }
            None => Err(Stop),
        }
    }

    /// Counts `count` bytes of [`Self::space`] as arrived, and hands a full buffer on.
    pub async fn filled(&mut self, count: usize) -> Result<(), Stop> {
        self.position += count as u64;
        let full = match &mut self.buffer {
            Some((buffer, _, most)) => {
                buffer.advance(count);
                buffer.filled().len() >= *most
            }
            None => false,
        };
        if full || self.position >= self.limit.load(Ordering::Relaxed) {
            self.flush().await?;
        }
        Ok(())
    }

    /// The file ends here, and nobody knew before.
    pub async fn end_of_file(&mut self) -> Result<(), Stop> {
        let size = self.position;
        self.flush().await?;
        self.engine
            .send(Message::EndOfFile { size })
            .await
            .map_err(|_| Stop)
    }

    /// Hands on what is there, down to the last border: the rest would have to be fetched again anyway.
    pub(crate) async fn close(&mut self) {
        let border = self.borders.floor(self.position);
        if let Some((buffer, offset, _)) = &mut self.buffer {
            if self.cancel.is_cancelled() || border <= *offset {
                self.buffer = None;
                return;
            }
            buffer.truncate((border - *offset) as usize);
            // An error means that the engine is gone: there is nobody left to hand it to.
            self.flush().await.unwrap_or(());
        }
    }

    /// A sink that goes on where this one is, for a thread that cannot borrow it. Give it back with
    /// [`Self::take_back`]; a lent sink that is lost takes with it only what had not been handed on.
    pub(crate) fn lend(&mut self) -> SpanSink {
        SpanSink {
            lane: self.lane,
            position: self.position,
            limit: Arc::clone(&self.limit),
            buffer: self.buffer.take(),
            borders: self.borders.clone(),
            pool: Arc::clone(&self.pool),
            engine: self.engine.clone(),
            cancel: self.cancel.clone(),
            chunk_bytes: self.chunk_bytes,
        }
    }

    /// Goes on where the lent sink is.
    pub(crate) fn take_back(&mut self, lent: SpanSink) {
        *self = lent;
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let Some((buffer, offset, _)) = self.buffer.take() else {
            return Ok(());
        };
        if buffer.filled().is_empty() {
            return Ok(());
        }
        self.engine
            .send(Message::Chunk(Chunk {
                offset,
                buffer,
                lane: self.lane,
            }))
            .await
            .map_err(|_| Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_content::import::import;
    use callao_content::profile::Profile;

    #[test]
    fn chunks_end_on_borders() {
        let bytes = vec![7; 1_000_000];
        let layout = Arc::new(import(&bytes, Profile::KuboCidV1.shape()).expect("a valid shape"));
        let leaves = Borders::Leaves(Arc::clone(&layout));
        let quarter = 256 * 1024;
        assert_eq!(leaves.chunk_end(0, 600_000), 2 * quarter);
        assert_eq!(leaves.chunk_end(quarter, 1_048_576), 1_000_000);
        assert_eq!(leaves.chunk_end(0, 100_000), quarter, "a leaf is never cut");
        assert_eq!(
            (leaves.floor(300_000), leaves.ceil(300_000)),
            (quarter, 2 * quarter)
        );
        assert_eq!(
            (leaves.floor(1_000_000), leaves.ceil(999_999)),
            (1_000_000, 1_000_000)
        );
        assert_eq!(Borders::Grid.chunk_end(quarter, u64::MAX / 2), GRID_BYTES);
        assert_eq!(Borders::Grid.chunk_end(quarter, 1), 2 * quarter);
        assert_eq!(Borders::Grid.chunk_end(1, 3 * quarter), 3 * quarter);
        assert_eq!(
            (Borders::Grid.floor(300_000), Borders::Grid.ceil(300_000)),
            (quarter, 2 * quarter)
        );
    }
}
