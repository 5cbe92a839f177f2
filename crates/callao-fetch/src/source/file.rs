//! A local file as a source: whole bytes, proven like those of anybody else. Does not know whether the path is the
//! user's, the template's or a cache's.

use std::io;
use std::path::Path;
use std::sync::Arc;

use callao_store::disk::{Disk, DiskFile, Stamp};
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::blocks::on_thread;
use super::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::message::Head;
use crate::sink::SpanSink;

/// An open file.
pub struct LocalFile {
    id: SourceId,
    file: Arc<dyn DiskFile>,
    stamp: Stamp,
}

impl LocalFile {
    /// Opens `path`; its length is what it has now.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] if there is none, [`SourceError::Protocol`] if it cannot be read.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, SourceError> {
        let opened = disk
            .open_read(path)
            .and_then(|file| Ok((file.stamp()?, file)));
        let (stamp, file) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::NotFound("no such file".into()),
            _ => SourceError::Protocol(format!("cannot be read: {error}")),
        })?;
        let place = path.display().to_string();
        Ok(LocalFile {
            id: SourceId {
                kind: SourceKind::File,
                place,
            },
            file,
            stamp,
        })
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let head = Head {
            total: Some(self.stamp.size),
            ..Head::default()
        };
        if sink.begin(head).await?.is_err() {
            return Ok(());
        }
        let (file, stamp) = (Arc::clone(&self.file), self.stamp);
        let end = span.range.end.min(stamp.size);
        on_thread(sink, move |sink, runtime| {
            pump(&*file, &stamp, end, sink, runtime)
        })
        .await
    }
}

impl Source for LocalFile {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        Traits {
            lanes_max: 1,
            ..Traits::FILE_SERVER
        }
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// Reads up to `end` into the sink's own space.
fn pump(
    file: &dyn DiskFile,
    stamp: &Stamp,
    end: u64,
    sink: &mut SpanSink,
    runtime: &Handle,
) -> Result<(), SourceError> {
    let broken = |error: io::Error| SourceError::Protocol(format!("cannot be read: {error}"));
    while sink.position() < end {
        let position = sink.position();
        let Ok(space) = runtime.block_on(sink.space()) else {
            return Ok(());
        };
        let most = (end - position).min(space.len() as u64) as usize;
        let count = file.read_at(&mut space[..most], position).map_err(broken)?;
        if count == 0 {
            return Err(SourceError::Changed(format!(
                "it ends after {position} bytes now"
            )));
        }
        if runtime.block_on(sink.filled(count)).is_err() {
            break;
        }
    }
    if file.stamp().map_err(broken)?.same_bytes(stamp) {
        Ok(())
    } else {
        Err(SourceError::Changed(
            "it was written to while it was read".into(),
        ))
    }
}
