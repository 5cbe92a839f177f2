//! A peer that was named and cannot be reached, as a source that says why. Must not know how it was tried.

use bytes::Bytes;
use callao_content::Cid;
use callao_fetch::sink::SpanSink;
use callao_fetch::source::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use futures::future::BoxFuture;

/// It fails with its reason, so that the reason stands among those of all others.
pub(super) struct Unreachable {
    id: SourceId,
    why: String,
}

impl Unreachable {
    pub(super) fn new(address: &str, why: String) -> Self {
        Unreachable {
            id: SourceId {
                kind: SourceKind::Bitswap,
                place: address.to_owned(),
            },
            why,
        }
    }

    fn refuse<T>(&self) -> Result<T, SourceError> {
        Err(SourceError::Network(self.why.clone()))
    }
}

impl Source for Unreachable {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        Traits {
            blocks: true,
            needs_layout: true,
            ..Traits::FILE_SERVER
        }
    }

    fn block<'a>(&'a self, _: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(async { self.refuse() })
    }

    fn send<'a>(&'a self, _: Span, _: &'a mut SpanSink) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async { self.refuse() })
    }
}
