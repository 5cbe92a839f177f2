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
use crate::sink::SpanSink;

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
        let Some(layout) = span.layout else {
            return Err(SourceError::Unsupported(
                "a span of a file whose inner nodes are not known".into(),
            ));
        };
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
        Traits {
            blocks: true,
            spans: true,
            needs_layout: true,
            ranges: true,
            lanes_max: 1,
            span_bytes_max: u64::MAX,
        }
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
        let payload = match (&leaf.form, layout.leaf_cid(index)) {
            (LeafForm::Inline(bytes), _) => &**bytes,
            (_, Some(cid)) if leaf.length > 0 => {
                match reader.read_into(&cid, &mut buffer) {
                    Ok(true) => {}
                    Ok(false) => return Err(missing(&cid)),
                    Err(error) => return Err(unreadable(&error)),
                }
                // Wrong bytes of the right form are found when the leaf is proven.
                let damaged = |_| {
                    SourceError::False(format!(
                        "block {} is damaged",
                        callao_content::cid::text(&cid)
                    ))
                };
                layout.payload(index, &buffer).map_err(damaged)?
            }
            _ => continue,
        };
        if runtime.block_on(sink.push(payload)).is_err() {
            break;
        }
    }
    Ok(())
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
