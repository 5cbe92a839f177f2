//! What comes in: one task per inbound stream reads its messages to the end, and one task per peer hashes the blocks that
//! they bring, several of equal length at once. Must not know who wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use callao_content::{cid, hash};
use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;

use super::hub::Hub;
use super::intake::Unreadable;
use super::link::Link;
use super::wants::Key;
use super::wire::{self, Block, Malformed};
use crate::limits::HASHED_AT_ONCE_COUNT_MAX;

/// An open inbound stream, counted.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<AtomicUsize>);

impl OpenStream {
    pub(crate) fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        OpenStream(Arc::clone(counter))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts the task that reads a stream.
pub(crate) fn start(hub: &Arc<Hub>, peer: PeerId, mut stream: Stream, open: OpenStream) {
    let own = Arc::clone(hub);
    hub.spawn(async move {
        // The stream can be a moment ahead of the news that its connection is established.
        let Some(link) = own.link_soon(&peer).await else {
            return;
        };
        tokio::select! {
            () = link.over.cancelled() => {}
            ended = read(&own, &link, &mut stream) => match ended {
                Ok(()) => own.finish(stream),
                Err(Ended::Unreadable(why)) => tracing::debug!(%peer, %why, "stream given up"),
                Err(Ended::Malformed(why)) => own.misbehaved(&link, &why.to_string()),
            }
        }
        drop(open);
    });
}

enum Ended {
    Unreadable(Unreadable),
    Malformed(Malformed),
}

async fn read(hub: &Arc<Hub>, link: &Arc<Link>, stream: &mut Stream) -> Result<(), Ended> {
    loop {
        let received = hub.intake().message(stream, link).await;
        let Some(received) = received.map_err(Ended::Unreadable)? else {
            return Ok(());
        };
        let message = wire::decode(&received.bytes).map_err(Ended::Malformed)?;
        if !message.entries.is_empty() || message.full {
            hub.wanted(link, &message.entries, message.full);
        }
        if !message.presences.is_empty() {
            link.client.told(&message.presences);
        }
        if !message.blocks.is_empty() {
            // An error means that the peer is gone.
            link.inbox.send(message.blocks).await.unwrap_or(());
        }
    }
}

/// Hashes blocks and hands them to the client, until the peer is gone.
pub(crate) async fn sort(hub: Arc<Hub>, link: Arc<Link>, mut inbox: mpsc::Receiver<Vec<Block>>) {
    loop {
        let mut blocks = tokio::select! {
            () = link.over.cancelled() => return,
            blocks = inbox.recv() => match blocks {
                Some(blocks) => blocks,
                None => return,
            },
        };
        while blocks.len() < HASHED_AT_ONCE_COUNT_MAX
            && let Ok(more) = inbox.try_recv()
        {
            blocks.extend(more);
        }
        let Ok(hashed) = tokio::task::spawn_blocking(move || hashed(blocks)).await else {
            return hub.misbehaved(&link, "its blocks could not be hashed");
        };
        match link.client.arrived(&hashed, hub.rtt(&link.peer)) {
            Ok(bytes) => drop(link.received_bytes.fetch_add(bytes, Ordering::Relaxed)),
            Err(why) => hub.misbehaved(&link, &why.to_string()),
        }
    }
}

/// Each block with the hash that its prefix calls for. Those of one length are hashed in lockstep.
fn hashed(mut blocks: Vec<Block>) -> Vec<(Option<Key>, Bytes)> {
    blocks.sort_by_key(|block| (block.prefix.hash, block.data.len()));
    let (with_sha256, others): (Vec<Block>, Vec<Block>) = blocks
        .into_iter()
        .partition(|block| block.prefix.hash == cid::SHA2_256);
    let slices: Vec<&[u8]> = with_sha256.iter().map(|block| &block.data[..]).collect();
    let mut digests = Vec::new();
    hash::sha256_many(&slices, &mut digests);
    let first = with_sha256.iter().zip(digests).map(|(block, digest)| {
        let whole = block.prefix.length == digest.len() as u64;
        let key = Key::wrap(cid::SHA2_256, &digest).ok().filter(|_| whole);
        (key, block.data.clone())
    });
    let rest = others.iter().map(|block| {
        let known = block.prefix.hash == cid::SHA2_512 && block.prefix.length == 64;
        let digest = known.then(|| hash::sha512(&block.data));
        let key = digest.and_then(|digest| Key::wrap(cid::SHA2_512, &digest).ok());
        (key, block.data.clone())
    });
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use callao_content::cid::raw_sha256;

    use super::*;
    use crate::bitswap::wire::Prefix;

    #[test]
    fn every_block_gets_its_own_hash() {
        let prefix = Prefix::of(&raw_sha256([0; 32]));
        let texts = [&b"aaaa"[..], b"b", b"cccc", b"dddd", b"", b"eeee", b"ffff"];
        let mut blocks: Vec<Block> = texts
            .iter()
            .map(|text| Block {
                prefix,
                data: Bytes::copy_from_slice(text),
            })
            .collect();
        let other = |hash, length| Block {
            prefix: Prefix {
                hash,
                length,
                ..prefix
            },
            data: Bytes::from_static(b"x"),
        };
        blocks.extend([
            other(cid::SHA2_512, 64),
            other(0xd5, 16),
            other(cid::SHA2_256, 20),
        ]);
        let hashed = hashed(blocks);
        assert_eq!(hashed.len(), texts.len() + 3);
        for text in texts {
            let key = *raw_sha256(hash::sha256(text)).hash();
            let found = hashed.iter().find(|(found, _)| *found == Some(key));
            assert_eq!(found.map(|(_, data)| &data[..]), Some(text));
        }
        let sha512 = Key::wrap(cid::SHA2_512, &hash::sha512(b"x")).ok();
        assert!(hashed.iter().any(|(key, _)| *key == sha512));
        assert_eq!(hashed.iter().filter(|(key, _)| key.is_none()).count(), 2);
    }
}
