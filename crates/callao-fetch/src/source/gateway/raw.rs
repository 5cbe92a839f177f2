//! A span as raw blocks, leaf by leaf: what every trustless gateway can do. Several are asked for at once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use callao_content::layout::{Layout, LeafForm};
use tokio::task::JoinSet;

use super::ask::Asker;
use super::{Outcome, payload_of};
use crate::limits::BLOCKS_IN_FLIGHT_COUNT_MAX;
use crate::sink::SpanSink;
use crate::source::SourceError;

/// Sends `range`, which begins and ends on leaf borders.
///
/// Each request is a task of its own, so that its time-outs do not run while the sink makes us wait. At most
/// [`BLOCKS_IN_FLIGHT_COUNT_MAX`] blocks are asked for or held.
pub(super) async fn send(
    asker: &Arc<Asker>,
    layout: &Arc<Layout>,
    range: Range<u64>,
    sink: &mut SpanSink,
) -> Result<Outcome, SourceError> {
    let leaves = layout.leaves_in(range);
    let mut asked = leaves.start;
    let mut running = JoinSet::new();
    let mut arrived: HashMap<usize, Result<Bytes, SourceError>> = HashMap::new();
    for index in leaves.clone() {
        while asked < leaves.end && asked < index + BLOCKS_IN_FLIGHT_COUNT_MAX {
            let (asker, layout, wanted) = (Arc::clone(asker), Arc::clone(layout), asked);
            running.spawn(async move { (wanted, fetch(&asker, &layout, wanted).await) });
            asked += 1;
        }
        let payload = loop {
            if let Some(payload) = arrived.remove(&index) {
                break payload;
            }
            match running.join_next().await {
                Some(Ok((index, payload))) => arrived.insert(index, payload),
                Some(Err(error)) => {
                    return Err(SourceError::Network(format!("a request ended: {error}")));
                }
                None => return Err(SourceError::Network("a block was not asked for".into())),
            };
        };
        if sink.push(&payload?).await.is_err() {
            break;
        }
    }
    Ok(Outcome::Done)
}

async fn fetch(asker: &Asker, layout: &Layout, index: usize) -> Result<Bytes, SourceError> {
    let leaf = &layout.leaves()[index];
    if let LeafForm::Inline(bytes) = &leaf.form {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    let Some(cid) = layout.leaf_cid(index).filter(|_| leaf.length > 0) else {
        return Ok(Bytes::new());
    };
    let block = asker.block(&cid).await?;
    payload_of(layout, index, &cid, &block)
}
