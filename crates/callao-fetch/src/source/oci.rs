//! A blob of a registry: the same ranges, validators and resume as any file behind a URL, let in by the registry's
//! client. Knows nothing of manifests: it is told which blob.
//!
//! A blob is named by its digest, so it is the same in every registry and behind every redirect: validators of servers
//! neither stop a fetch from going on elsewhere, nor are they sent.

use std::sync::Arc;

use callao_content::digest::Digest;
use futures::future::BoxFuture;

use super::http::Http;
use super::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::oci::registry::Registry;
use crate::sink::SpanSink;

/// One blob.
pub struct OciBlob(Http);

impl OciBlob {
    /// The blob `digest` of the repository; `place` is what the user is shown.
    pub fn new(registry: Arc<Registry>, digest: &Digest, place: String) -> Self {
        let url = registry.url(&format!("blobs/{digest}"));
        let waits = *registry.waits();
        let id = SourceId {
            kind: SourceKind::Oci,
            place,
        };
        let http = Http::through(registry, id, url, waits);
        OciBlob(http.named(format!("\"{digest}\"")))
    }
}

impl Source for OciBlob {
    fn id(&self) -> &SourceId {
        self.0.id()
    }

    fn traits(&self) -> Traits {
        self.0.traits()
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.0.send(span, sink)
    }
}
