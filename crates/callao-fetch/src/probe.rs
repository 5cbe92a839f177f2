//! Asks one source what it has and can do, without fetching the file: the block of the root where a source has blocks,
//! one byte where it only sends spans. Opens no more than that, decides nothing, believes no block that is not proven.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use callao_content::{Cid, cid, dag_pb, unixfs};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::buffer::Pool;
use crate::limits::PROBE_BYTES;
use crate::message::{Head, Message, Verdict};
use crate::sink::{Borders, SpanSink};
use crate::source::{Abilities, Source, SourceError, Span};

/// Messages of one byte: its head, itself, and the end.
const MESSAGES_COUNT_MAX: usize = 8;

/// What a source answered.
#[derive(Debug, Clone)]
pub struct Probe {
    /// `Ok`: it has the file, as far as one block or one byte tells.
    pub answer: Result<Had, SourceError>,
    /// From the question to the answer.
    pub latency: Duration,
    /// What it can do, as far as it said so.
    pub abilities: Abilities,
}

/// What a source that has the file says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Had {
    /// Length of the file in bytes.
    pub size: Option<u64>,
    /// `size` is that of a proven block, not a claim.
    pub proven: bool,
    /// `ETag`, as sent.
    pub etag: Option<String>,
    /// `Last-Modified`, as sent.
    pub last_modified: Option<String>,
    /// The CID is that of a directory or something else that is no file, in one word.
    pub no_file: Option<&'static str>,
}

/// Asks `source` for the file with this root; without a root only sources that need none can be asked. Gives up after
/// `wait`.
pub async fn probe(source: &dyn Source, root: Option<&Cid>, wait: Duration) -> Probe {
    let begun = Instant::now();
    let late = || SourceError::Network(format!("no answer within {} ms", wait.as_millis()));
    let asked = async {
        match root.filter(|_| source.traits().blocks) {
            Some(root) => by_block(source, root).await,
            None => by_byte(source).await,
        }
    };
    let answer = tokio::time::timeout(wait, asked)
        .await
        .unwrap_or_else(|_| Err(late()));
    let latency = begun.elapsed();
    let mut abilities = Abilities::default();
    if answer.is_ok() {
        // What is not answered in time stays unknown.
        abilities = tokio::time::timeout(wait, source.abilities(root))
            .await
            .unwrap_or_default();
    }
    Probe {
        answer,
        latency,
        abilities,
    }
}

/// The block of the root, proven.
async fn by_block(source: &dyn Source, root: &Cid) -> Result<Had, SourceError> {
    let block = source.block(root).await?;
    cid::verify_block(root, &block).map_err(|error| SourceError::False(error.to_string()))?;
    Ok(of_root(root, &block))
}

/// What the block of a root says about the file.
fn of_root(root: &Cid, block: &[u8]) -> Had {
    let proven = Had {
        proven: true,
        ..Had::default()
    };
    if root.codec() == cid::RAW {
        return Had {
            size: Some(block.len() as u64),
            ..proven
        };
    }
    let node = dag_pb::decode(block).ok();
    let data = node
        .as_ref()
        .and_then(|node| unixfs::decode(node.data?).ok());
    match data {
        Some(data) if matches!(data.kind, unixfs::Kind::File | unixfs::Kind::Raw) => Had {
            size: Some(data.filesize.unwrap_or(data.data.len() as u64)),
            ..proven
        },
        Some(data) => Had {
            no_file: Some(data.kind.name()),
            ..proven
        },
        None => Had {
            no_file: Some("something else"),
            ..proven
        },
    }
}

/// The first byte, as a fetch would ask for it; what the head of the answer says is all that is wanted.
async fn by_byte(source: &dyn Source) -> Result<Had, SourceError> {
    // A server that ignores ranges says so first, and sends from byte 0 when it is asked again.
    for _ in 0..2 {
        match one_byte(source).await {
            Err(SourceError::NoRanges) => {}
            other => return other,
        }
    }
    Err(SourceError::NoRanges)
}

async fn one_byte(source: &dyn Source) -> Result<Had, SourceError> {
    let (engine, mut messages) = mpsc::channel(MESSAGES_COUNT_MAX);
    let pool = Pool::new(1, PROBE_BYTES as usize);
    let limit = Arc::new(AtomicU64::new(PROBE_BYTES));
    let cancel = CancellationToken::new();
    let mut sink = SpanSink::new(0, 0, limit, Borders::Grid, pool, engine, cancel.clone());
    let span = Span {
        range: 0..PROBE_BYTES,
        layout: None,
        unchanged: None,
    };
    let sent = async {
        let sent = source.send(span, &mut sink).await;
        drop(sink);
        sent
    };
    let heard = async {
        let mut had = Had::default();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Head { head, verdict, .. } => {
                    had = of_head(head);
                    // Gone means that the source has given up: nothing to tell it.
                    verdict.send(Verdict::Accept).unwrap_or(());
                }
                Message::EndOfFile { size } => had.size = Some(size),
                Message::Chunk(_) => cancel.cancel(),
                _ => {}
            }
        }
        had
    };
    let (sent, had) = tokio::join!(sent, heard);
    sent.map(|()| had)
}

fn of_head(head: Head) -> Had {
    Had {
        size: head.total,
        etag: head.etag,
        last_modified: head.last_modified,
        ..Had::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_content::import::import;
    use callao_content::profile::Profile;

    #[test]
    fn a_root_tells_the_length() {
        for (length, profile) in [
            (3_000_000, Profile::KuboCidV1),
            (3_000_000, Profile::UnixfsV0_2015),
            (1000, Profile::KuboCidV1),
            (1000, Profile::UnixfsV0_2015),
        ] {
            let bytes = vec![7; length];
            let layout = import(&bytes, profile.shape()).expect("a layout");
            let block = match layout.nodes().first() {
                Some(_) => layout
                    .nodes()
                    .iter()
                    .find(|node| cid::same_block(&node.cid, layout.root()))
                    .map(|node| node.bytes.to_vec())
                    .expect("a root"),
                None => layout.block(0, &bytes),
            };
            let had = of_root(layout.root(), &block);
            assert_eq!((had.size, had.no_file), (Some(length as u64), None));
        }
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").expect("CID");
        let had = of_root(&directory, &[0x0a, 0x02, 0x08, 0x01]);
        assert_eq!((had.size, had.no_file), (None, Some("directory")));
        let rubbish = of_root(&directory, b"rubbish");
        assert_eq!(rubbish.no_file, Some("something else"));
    }
}
