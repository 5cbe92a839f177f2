//! A span as CARs (`dag-scope=entity`, `entity-bytes`): one request for many blocks. The blocks may come in any order,
//! repeated or not, and among others; each is proven here, held until its turn, and handed on in file order.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::car::{Event, Reader};
use callao_content::layout::{Layout, LeafForm};
use reqwest::{Response, StatusCode};

use super::ask::{Asker, is_other_way};
use super::{Outcome, payload_of};
use crate::answer;
use crate::limits::{CAR_EXTRA_BYTES_MAX, CAR_SPAN_BYTES_MAX};
use crate::sink::{SpanSink, Stop};
use crate::source::SourceError;

const CAR_TYPE: &str = "application/vnd.ipld.car";
/// Order and repetition are wishes: what comes is read in any case.
const ACCEPT_CAR: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
/// With this text in place of blocks kubo ends a CAR that it cannot complete, and the answer is whole as far as HTTP goes.
const KUBO_MARKER: &[u8] = b"\n[Gateway Error: CAR stream truncated";
/// The marker stands at most so far from the end of the answer.
const KUBO_MARKER_BYTES_MAX: usize = 128;

/// Sends `range`, which begins and ends on leaf borders, in CARs of at most [`CAR_SPAN_BYTES_MAX`].
pub(super) async fn send(
    asker: &Asker,
    cid: &Cid,
    layout: &Layout,
    range: Range<u64>,
    sink: &mut SpanSink,
) -> Result<Outcome, SourceError> {
    let mut leaves = layout.leaves_in(range);
    while !leaves.is_empty() {
        let piece = first_piece(layout, &leaves);
        leaves.start = piece.end;
        let mut gather = Gather::new(layout, piece.clone());
        if !gather.is_complete() {
            let (start, end) = bytes_of(layout, &piece);
            let query = format!(
                "format=car&dag-scope=entity&entity-bytes={start}:{}",
                end - 1
            );
            let response = asker.ask(cid, &query, ACCEPT_CAR).await?;
            let status = response.status();
            let is_car = answer::media_type(response.headers()) == CAR_TYPE;
            if is_other_way(status.as_u16()) || (status == StatusCode::OK && !is_car) {
                return Ok(Outcome::OtherWay);
            }
            if status != StatusCode::OK {
                return Err(asker.refused(response).await);
            }
            let end = receive(asker, response, &mut gather, sink).await?;
            match end {
                End::Stopped => return Ok(Outcome::Done),
                End::TooMuch if gather.next == piece.start => return Ok(Outcome::OtherWay),
                End::TooMuch => {
                    return Err(SourceError::Network(
                        "the CAR holds more than was asked for".into(),
                    ));
                }
                End::Complete => {}
            }
        }
        if gather.push_ready(sink).await.is_err() {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Done)
}

/// Whether the gateway gives CARs, and what its clock says: the CAR of a single block is asked for.
pub(super) async fn offered(asker: &Asker, cid: &Cid) -> (Option<bool>, Option<i64>) {
    let answered = asker
        .ask(cid, "format=car&dag-scope=block", ACCEPT_CAR)
        .await;
    let Ok(response) = answered else {
        return (None, None);
    };
    let is_car = answer::media_type(response.headers()) == CAR_TYPE;
    let offered = match response.status() {
        StatusCode::OK => Some(is_car),
        status => is_other_way(status.as_u16()).then_some(false),
    };
    (offered, answer::date_unix(response.headers()))
}

/// How the reading of one CAR ended.
enum End {
    /// All leaves are there.
    Complete,
    /// The sink wants no more.
    Stopped,
    /// It goes on and on: `entity-bytes` means nothing to this gateway.
    TooMuch,
}

/// Reads a CAR until its end, pushing leaves as their turn comes.
async fn receive(
    asker: &Asker,
    mut response: Response,
    gather: &mut Gather<'_>,
    sink: &mut SpanSink,
) -> Result<End, SourceError> {
    let mut reader = Reader::new();
    while let Some(bytes) = answer::next(&mut response, &asker.options.waits).await? {
        let marker = marker_in(&bytes);
        // What comes before the marker is good, and an error would lose it.
        let (blocks, text) = bytes.split_at(marker.unwrap_or(bytes.len()));
        take_all(&mut reader, blocks, gather)?;
        // The same text inside a block is read as part of it.
        let is_end = !text.is_empty() && take_all(&mut reader, text, gather).is_err();
        if gather.push_ready(sink).await.is_err() {
            return Ok(End::Stopped);
        }
        if is_end {
            return Err(gather.short());
        }
        gather.taken += bytes.len() as u64;
        if gather.taken > gather.allowed {
            // What is beyond the last leaf does not matter, but would have to be read to keep the connection.
            return Ok(if gather.is_complete() {
                End::Complete
            } else {
                End::TooMuch
            });
        }
    }
    if gather.is_complete() {
        return Ok(End::Complete);
    }
    // Cut, or ended as if it were whole: kubo does both when a block is missing.
    Err(gather.short())
}

fn take_all(reader: &mut Reader, bytes: &[u8], gather: &mut Gather<'_>) -> Result<(), SourceError> {
    let refuse = |error| SourceError::Protocol(format!("the CAR cannot be read: {error}"));
    for event in reader.push(bytes).map_err(refuse)? {
        if let Event::Block { cid, data, .. } = event {
            gather.take(&cid, &data)?;
        }
    }
    Ok(())
}

/// As many leaves from the beginning as fit into one CAR; at least one.
fn first_piece(layout: &Layout, leaves: &Range<usize>) -> Range<usize> {
    let mut bytes = 0;
    let fitting = layout.leaves()[leaves.clone()].iter().take_while(|leaf| {
        bytes += u64::from(leaf.length);
        bytes <= CAR_SPAN_BYTES_MAX
    });
    leaves.start..leaves.start + fitting.count().max(1)
}

fn bytes_of(layout: &Layout, leaves: &Range<usize>) -> (u64, u64) {
    let (first, last) = (
        &layout.leaves()[leaves.start],
        &layout.leaves()[leaves.end - 1],
    );
    (first.offset, last.offset + u64::from(last.length))
}

/// Where kubo's marker begins, if the bytes end with it.
fn marker_in(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(KUBO_MARKER_BYTES_MAX);
    let found = bytes[from..]
        .windows(KUBO_MARKER.len())
        .position(|window| window == KUBO_MARKER);
    found.map(|at| from + at)
}

/// The leaves of one CAR: which came, and which is next.
struct Gather<'l> {
    layout: &'l Layout,
    leaves: Range<usize>,
    /// Payloads by leaf; taken out when pushed.
    slots: Vec<Option<Bytes>>,
    /// Leaves that have not come, by multihash: the version of a CID is the sender's choice.
    missing: HashMap<Vec<u8>, Vec<usize>>,
    next: usize,
    taken: u64,
    allowed: u64,
}

impl<'l> Gather<'l> {
    fn new(layout: &'l Layout, leaves: Range<usize>) -> Self {
        let mut missing: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let mut slots = vec![None; leaves.len()];
        let mut allowed = CAR_EXTRA_BYTES_MAX
            + layout
                .nodes()
                .iter()
                .map(|node| node.bytes.len() as u64)
                .sum::<u64>();
        for index in leaves.clone() {
            let leaf = &layout.leaves()[index];
            allowed += u64::from(leaf.length) + 128;
            match (&leaf.form, layout.leaf_cid(index)) {
                (LeafForm::Inline(bytes), _) => {
                    slots[index - leaves.start] = Some(Bytes::copy_from_slice(bytes))
                }
                // A leaf without bytes is outside every range of bytes.
                (_, Some(cid)) if leaf.length > 0 => missing
                    .entry(cid.hash().to_bytes())
                    .or_default()
                    .push(index),
                _ => slots[index - leaves.start] = Some(Bytes::new()),
            }
        }
        let next = leaves.start;
        Gather {
            layout,
            leaves,
            slots,
            missing,
            next,
            taken: 0,
            allowed,
        }
    }

    /// Keeps `block` if it is one of the leaves. Others (inner nodes, repetitions, anything else) are passed over.
    fn take(&mut self, cid: &Cid, block: &Bytes) -> Result<(), SourceError> {
        let Some(leaves) = self.missing.remove(&cid.hash().to_bytes()) else {
            return Ok(());
        };
        let payload = payload_of(self.layout, leaves[0], cid, block)?;
        for index in leaves {
            self.slots[index - self.leaves.start] = Some(payload.clone());
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Pushes every leaf whose turn has come.
    async fn push_ready(&mut self, sink: &mut SpanSink) -> Result<(), Stop> {
        while self.next < self.leaves.end {
            let Some(payload) = self.slots[self.next - self.leaves.start].take() else {
                break;
            };
            self.next += 1;
            sink.push(&payload).await?;
        }
        Ok(())
    }

    fn short(&self) -> SourceError {
        let wanted = self.leaves.len();
        let missing: usize = self.missing.values().map(Vec::len).sum();
        SourceError::Network(format!(
            "the CAR is cut short: {missing} of {wanted} leaves are missing"
        ))
    }
}
