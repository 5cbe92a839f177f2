//! An IPFS gateway: blocks, and spans of one file in whichever of three ways it serves best. Every span needs the
//! layout; nothing that arrives is believed. Which gateway to ask, and whether it lied, is the engine's business.
//!
//! The ways, tried in this order and remembered: byte ranges of the plain file (fastest, if it serves files at all), a
//! CAR of the span, and raw blocks, which every trustless gateway has to serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use callao_content::Cid;
use callao_content::layout::Layout;
use futures::future::BoxFuture;
use reqwest::Client;
use url::Url;

use super::{Abilities, Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::answer::Waits;
use crate::limits::{CAR_SPAN_BYTES_MAX, GATEWAY_LANES_COUNT_MAX};
use crate::sink::SpanSink;
use ask::Asker;

mod ask;
mod car;
mod ranges;
mod raw;

/// How a gateway is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewayOptions {
    /// How long to wait.
    pub waits: Waits,
    /// It is on the local network: its redirects may lead to local addresses.
    pub lan: bool,
    /// Ask only for what it has at hand (`Cache-Control: only-if-cached`): it must not look for anything itself.
    pub only_if_cached: bool,
}

/// One gateway, for one file.
pub struct Gateway {
    id: SourceId,
    asker: Arc<Asker>,
    cid: Cid,
    mode: AtomicU8,
}

/// The way that spans are asked for. Only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    /// `Range` of `/ipfs/CID`.
    Ranges = 0,
    /// `?format=car&dag-scope=entity&entity-bytes=`.
    Car = 1,
    /// `?format=raw`, leaf by leaf.
    Blocks = 2,
}

/// How one way of asking ended, if not with an error.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The span is complete, or the sink wants no more.
    Done,
    /// This gateway does not do it like that. Nothing was pushed since the last leaf border.
    OtherWay,
}

impl Gateway {
    /// The file `cid` at the gateway `base_url` (scheme, host, port; a path in front of `/ipfs` is kept). `client`
    /// must not follow redirects: what they may lead to is checked here.
    pub fn new(client: Client, base_url: Url, cid: Cid, options: GatewayOptions) -> Self {
        let place = base_url.as_str().trim_end_matches('/').to_owned();
        Self::named(
            SourceId {
                kind: SourceKind::Gateway,
                place,
            },
            client,
            base_url,
            cid,
            options,
        )
    }

    /// The same under another name: the gateway of a kubo daemon is shown as that daemon.
    pub(super) fn named(
        id: SourceId,
        client: Client,
        base_url: Url,
        cid: Cid,
        options: GatewayOptions,
    ) -> Self {
        let asker = Arc::new(Asker::new(client, base_url, options));
        Gateway {
            id,
            asker,
            cid,
            mode: AtomicU8::new(Mode::Ranges as u8),
        }
    }

    /// The address it was made with.
    pub(super) fn base(&self) -> &Url {
        self.asker.home()
    }

    fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Ranges,
            1 => Mode::Car,
            _ => Mode::Blocks,
        }
    }

    async fn look(&self, root: Option<&Cid>) -> Abilities {
        let root = root.unwrap_or(&self.cid);
        let ((car, date_unix), ranges) = tokio::join!(
            car::offered(&self.asker, root),
            ranges::offered(&self.asker, root)
        );
        Abilities {
            ranges,
            blocks: Some(true),
            car,
            date_unix,
            ..Abilities::default()
        }
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let layout = span.known_layout()?;
        loop {
            let range = sink.position()..span.range.end.min(layout.size());
            let mode = self.mode();
            let outcome = match mode {
                Mode::Ranges => {
                    ranges::send(&self.asker, &self.cid, layout.size(), range, sink).await?
                }
                Mode::Car => car::send(&self.asker, &self.cid, &layout, range, sink).await?,
                Mode::Blocks => raw::send(&self.asker, &layout, range, sink).await?,
            };
            if outcome == Outcome::Done {
                return Ok(());
            }
            // Several lanes may find out at once.
            self.mode.fetch_max(mode as u8 + 1, Ordering::Relaxed);
        }
    }
}

impl Source for Gateway {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        let mode = self.mode();
        let span_bytes_max = if mode == Mode::Car {
            CAR_SPAN_BYTES_MAX
        } else {
            u64::MAX
        };
        Traits {
            blocks: true,
            spans: true,
            needs_layout: true,
            ranges: true,
            lanes_max: GATEWAY_LANES_COUNT_MAX,
            span_bytes_max,
        }
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(self.asker.block(cid))
    }

    fn abilities<'a>(&'a self, root: Option<&'a Cid>) -> BoxFuture<'a, Abilities> {
        Box::pin(self.look(root))
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// Proves a leaf's block and gives the bytes of the file in it.
fn payload_of(
    layout: &Layout,
    index: usize,
    cid: &Cid,
    block: &Bytes,
) -> Result<Bytes, SourceError> {
    callao_content::cid::verify_block(cid, block)
        .map_err(|error| SourceError::False(error.to_string()))?;
    let payload = layout
        .payload(index, block)
        .map_err(|error| SourceError::Protocol(error.to_string()))?;
    Ok(block.slice_ref(payload))
}
