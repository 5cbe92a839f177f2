//! Blocks that are on this machine already: a kubo repository, a CAR file. Reads them straight into the sink's
//! buffers; the engine proves every leaf, so nothing is hashed here. Does not know how such a place is laid out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::layout::{Layout, LeafForm};
use callao_store::foreign::BlockReader;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::sink::{SpanSink, Stop};

/// A place with blocks.
pub struct Blocks {
    id: SourceId,
    reader: Arc<dyn BlockReader>,
}

impl Blocks {
    /// `kind` is [`SourceKind::KuboRepo`] or [`SourceKind::Car`], `place` what the user is shown.
    pub fn new(kind: SourceKind, place: String, reader: Arc<dyn BlockReader>) -> Self {
        Blocks {
            id: SourceId { kind, place },
            reader,
        }
    }

    async fn get(&self, cid: &Cid) -> Result<Bytes, SourceError> {
        let (reader, cid) = (Arc::clone(&self.reader), *cid);
        match tokio::task::spawn_blocking(move || reader.get(&cid)).await {
            Ok(Ok(Some(block))) => Ok(block),
            Ok(Ok(None)) => Err(missing(&cid)),
            Ok(Err(error)) => Err(unreadable(&error)),
            Err(error) => Err(SourceError::Protocol(format!(
                "the reading thread ended: {error}"
            ))),
        }
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let layout = span.known_layout()?;
        let leaves = layout.leaves_in(span.range);
        let reader = Arc::clone(&self.reader);
        on_thread(sink, move |sink, runtime| {
            pump(&*reader, &layout, leaves, sink, runtime)
        })
        .await
    }
}

impl Source for Blocks {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        // One thread reads faster than anything behind it takes.
        Traits::BY_LAYOUT
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(self.get(cid))
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// Runs `work` with the sink on a thread that may block: one for the whole span, since the way to such a thread and
/// back costs more than reading a leaf. If the span is given up meanwhile, the sink tells the thread to stop.
pub(super) async fn on_thread<F>(sink: &mut SpanSink, work: F) -> Result<(), SourceError>
where
    F: FnOnce(&mut SpanSink, &Handle) -> Result<(), SourceError> + Send + 'static,
{
    let (mut lent, runtime) = (sink.lend(), Handle::current());
    let joined = tokio::task::spawn_blocking(move || {
        let result = work(&mut lent, &runtime);
        (lent, result)
    });
    match joined.await {
        Ok((lent, result)) => {
            sink.take_back(lent);
            result
        }
        Err(error) => Err(SourceError::Protocol(format!(
            "the reading thread ended: {error}"
        ))),
    }
}

/// Reads leaf after leaf into the sink.
fn pump(
    reader: &dyn BlockReader,
    layout: &Layout,
    leaves: Range<usize>,
    sink: &mut SpanSink,
    runtime: &Handle,
) -> Result<(), SourceError> {
    let mut buffer = Vec::new();
    for index in leaves {
        let leaf = &layout.leaves()[index];
        let sent = match (&leaf.form, layout.leaf_cid(index)) {
            _ if leaf.length == 0 => continue,
            (LeafForm::Inline(bytes), _) => runtime.block_on(sink.push(bytes)),
            (LeafForm::Raw(_), Some(cid)) => raw_leaf(reader, &cid, leaf.length, sink, runtime)?,
            (_, Some(cid)) => {
                match reader.read_into(&cid, &mut buffer) {
                    Ok(true) => {}
                    Ok(false) => return Err(missing(&cid)),
                    Err(error) => return Err(unreadable(&error)),
                }
                // Wrong bytes of the right form are found when the leaf is proven.
                let payload = layout.payload(index, &buffer).map_err(|_| damaged(&cid))?;
                runtime.block_on(sink.push(payload))
            }
            (_, None) => continue,
        };
        if sent.is_err() {
            break;
        }
    }
    Ok(())
}

/// A raw leaf is the block itself: it is read straight to where it is hashed and written from.
fn raw_leaf(
    reader: &dyn BlockReader,
    cid: &Cid,
    length: u32,
    sink: &mut SpanSink,
    runtime: &Handle,
) -> Result<Result<(), Stop>, SourceError> {
    let Ok(space) = runtime.block_on(sink.space()) else {
        return Ok(Err(Stop));
    };
    // Chunks begin and end on leaf borders, and a leaf fits into one: there is room, unless the span was just cut.
    let Some(place) = space.get_mut(..length as usize) else {
        return Ok(Err(Stop));
    };
    match reader.read_start(cid, place) {
        Ok(Some(count)) if count == length as usize => Ok(runtime.block_on(sink.filled(count))),
        Ok(Some(_)) => Err(damaged(cid)),
        Ok(None) => Err(missing(cid)),
        Err(error) => Err(unreadable(&error)),
    }
}

fn damaged(cid: &Cid) -> SourceError {
    SourceError::False(format!(
        "block {} is damaged",
        callao_content::cid::text(cid)
    ))
}

fn missing(cid: &Cid) -> SourceError {
    SourceError::NotFound(format!(
        "block {} is not there",
        callao_content::cid::text(cid)
    ))
}

/// For this fetch a block that cannot be read is not there; the others may be.
fn unreadable(error: &callao_store::Error) -> SourceError {
    SourceError::NotFound(match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU64;

    use callao_content::import::import;
    use callao_content::profile::Profile;
    use callao_testkit::image::Image;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::buffer::Pool;
    use crate::message::Message;
    use crate::sink::Borders;

    #[derive(Debug)]
    struct Memory(HashMap<Cid, Vec<u8>>);

    impl BlockReader for Memory {
        fn read_into(&self, cid: &Cid, buffer: &mut Vec<u8>) -> Result<bool, callao_store::Error> {
            buffer.clear();
            let block = self.0.get(cid);
            buffer.extend_from_slice(block.map_or(&[], Vec::as_slice));
            Ok(block.is_some())
        }

        fn describe(&self) -> String {
            "memory".into()
        }
    }

    /// Sends `range` of an image whose leaf `without` is missing; gives what reached the engine and how it ended.
    async fn sent(
        profile: Profile,
        range: Range<u64>,
        without: Option<usize>,
        cancelled: bool,
    ) -> (Vec<u8>, Result<(), SourceError>) {
        let image = Image::Random(41).bytes(3_000_000);
        let layout = Arc::new(import(&image, profile.shape()).expect("a valid shape"));
        let mut blocks = HashMap::new();
        for (index, leaf) in layout.leaves().iter().enumerate() {
            let start = leaf.offset as usize;
            let payload = &image[start..start + leaf.length as usize];
            if let Some(cid) = layout.leaf_cid(index).filter(|_| Some(index) != without) {
                blocks.insert(cid, layout.block(index, payload));
            }
        }
        let source = Blocks::new(SourceKind::Car, "x".into(), Arc::new(Memory(blocks)));
        // One buffer only: the sink has to make the thread wait.
        let pool = Pool::new(1, 1 << 20);
        let (engine, mut messages) = mpsc::channel(4);
        let (limit, cancel) = (
            Arc::new(AtomicU64::new(range.end)),
            CancellationToken::new(),
        );
        if cancelled {
            cancel.cancel();
        }
        let borders = Borders::Leaves(Arc::clone(&layout));
        let mut sink = SpanSink::new(1, range.start, limit, borders, pool, engine, cancel);
        let span = Span {
            range: range.clone(),
            layout: Some(layout),
            unchanged: None,
        };
        let sending = async {
            let result = source.send(span, &mut sink).await;
            sink.close().await;
            drop(sink);
            result
        };
        let taking = async {
            let mut got = Vec::new();
            while let Some(message) = messages.recv().await {
                if let Message::Chunk(chunk) = message {
                    assert_eq!(chunk.offset, range.start + got.len() as u64);
                    got.extend_from_slice(chunk.buffer.filled());
                }
            }
            got
        };
        let (result, got) = tokio::join!(sending, taking);
        let start = range.start as usize;
        assert!(image[start..start + got.len()] == got);
        (got, result)
    }

    #[tokio::test]
    async fn a_thread_fills_the_sink_and_stops_when_told() {
        let leaf = 256 * 1024;
        for profile in [Profile::KuboCidV1, Profile::UnixfsV0_2015] {
            let (got, result) = sent(profile, 2 * leaf..7 * leaf, None, false).await;
            assert_eq!((got.len() as u64, result.is_ok()), (5 * leaf, true));
            let (got, result) = sent(profile, 0..3_000_000, None, false).await;
            assert_eq!((got.len(), result.is_ok()), (3_000_000, true));
            let (got, result) = sent(profile, 0..3_000_000, Some(6), false).await;
            assert_eq!(got.len() as u64, 6 * leaf, "what came before is kept");
            assert!(matches!(result, Err(SourceError::NotFound(_))));
            let (got, result) = sent(profile, 0..3_000_000, None, true).await;
            assert_eq!((got.len(), result.is_ok()), (0, true));
        }
    }
}
