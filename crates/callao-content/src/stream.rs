//! A whole file, hashed once, from its first byte to its last, while its leaves are proven or made on the way. It does
//! not know where the bytes come from.

use crate::digest::{Algorithm, Digest, Hasher};
use crate::hash::{LANES, WholeAndLeaf, sha256_lanes};
use crate::import::Builder;
use crate::layout::{Layout, Mismatch};
use crate::leaf::VerifiedLeaf;
use crate::unixfs::Envelope;

/// The digests of a file in the making. Where SHA-256 is asked for, it shares the pass with the hashes of the leaves.
#[derive(Debug, Clone)]
pub struct InOrder {
    algorithms: Vec<Algorithm>,
    sha256: Option<WholeAndLeaf>,
    others: Vec<Hasher>,
    position: u64,
}

impl InOrder {
    /// Nothing hashed yet; none, some or all algorithms.
    #[must_use]
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let others = [Algorithm::Sha384, Algorithm::Sha512]
            .into_iter()
            .filter(|other| algorithms.contains(other));
        Self {
            algorithms: algorithms.to_vec(),
            sha256: algorithms
                .contains(&Algorithm::Sha256)
                .then(WholeAndLeaf::new),
            others: others.map(Hasher::new).collect(),
            position: 0,
        }
    }

    /// The next bytes, of any number, without proving anything.
    pub fn plain(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.skip_leaf(bytes);
        }
        self.advance_others(bytes);
    }

    /// The next bytes: whole leaves of `layout`, the first of them number `first`, which begins at [`Self::position`]. Each
    /// leaf that is proven is appended to `out` and counts into the digests; a false one and those after it do not.
    ///
    /// # Errors
    /// [`Mismatch`] names the first leaf that is false, cut short, or beyond the last. The position is then its offset.
    pub fn proving<'a>(
        &mut self,
        layout: &Layout,
        first: usize,
        bytes: &'a [u8],
        out: &mut Vec<VerifiedLeaf<'a>>,
    ) -> Result<(), Mismatch> {
        debug_assert!(
            layout
                .leaves()
                .get(first)
                .is_none_or(|leaf| leaf.offset == self.position)
        );
        if self.sha256.is_none() {
            let before = out.len();
            let result = layout.verify_run(first, bytes, out);
            let proven: usize = out[before..].iter().map(|leaf| leaf.bytes().len()).sum();
            self.advance_others(&bytes[..proven]);
            return result;
        }
        let mut run = layout.run(first, bytes);
        while let Some((index, leaf)) = run.next_leaf()? {
            let payload = run.take(leaf);
            let Some(sha256) = &mut self.sha256 else {
                break;
            };
            let proven = match leaf.envelope() {
                Some(envelope) => {
                    let before = sha256.clone();
                    let hash = sha256.leaf_framed(envelope.head(), payload, envelope.tail());
                    let proven = VerifiedLeaf::prove_hashed(index, leaf, payload, &hash);
                    if proven.is_err() {
                        *sha256 = before;
                    }
                    proven?
                }
                None => {
                    let proven = VerifiedLeaf::prove(index, leaf, payload)?;
                    sha256.skip_leaf(payload);
                    proven
                }
            };
            out.push(proven);
            self.advance_others(payload);
        }
        Ok(())
    }

    /// The next bytes, which become leaves of `builder`: they begin on a border between its leaves and hold whole ones; only
    /// at the end of the file may the last be shorter.
    pub fn importing(&mut self, builder: &mut Builder, bytes: &[u8]) {
        let shape = *builder.shape();
        let chunk_size = shape.chunk_size as usize;
        if let Some(sha256) = &mut self.sha256 {
            for payload in bytes.chunks(chunk_size) {
                let envelope = builder.envelope(payload.len() as u32);
                let hash = sha256.leaf_framed(envelope.head(), payload, envelope.tail());
                builder.leaf_hash(hash, payload.len() as u32);
            }
        } else {
            let (whole, last) = bytes.split_at(bytes.len() / chunk_size * chunk_size);
            let envelope = builder.envelope(shape.chunk_size);
            for group in whole.chunks(LANES * chunk_size) {
                hash_group(builder, &envelope, group, chunk_size);
            }
            if !last.is_empty() {
                builder.leaf(last);
            }
        }
        self.advance_others(bytes);
    }

    /// How many bytes of the file have been counted in.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The digests, in the order in which the algorithms were given.
    #[must_use]
    pub fn finish(self) -> Vec<Digest> {
        let mut all: Vec<Digest> = self.others.into_iter().map(Hasher::finish).collect();
        all.extend(
            self.sha256
                .map(|sha256| Digest::from_sha256(sha256.finish())),
        );
        let find = |algorithm: &Algorithm| {
            all.iter()
                .find(|digest| digest.algorithm() == *algorithm)
                .copied()
        };
        self.algorithms.iter().filter_map(find).collect()
    }

    /// The part of the pass that shares nothing with the leaves.
    fn advance_others(&mut self, bytes: &[u8]) {
        for other in &mut self.others {
            other.update(bytes);
        }
        self.position += bytes.len() as u64;
    }

    /// For the importer, which gets leaves in pieces.
    pub(crate) fn sha256_mut(&mut self) -> Option<&mut WholeAndLeaf> {
        self.sha256.as_mut()
    }

    /// Counts a piece that went through [`Self::sha256_mut`].
    pub(crate) fn advance(&mut self, bytes: &[u8]) {
        self.advance_others(bytes);
    }
}

/// Up to four leaves of full length, in lockstep.
fn hash_group(builder: &mut Builder, envelope: &Envelope, group: &[u8], chunk_size: usize) {
    let mut payloads = [&[][..]; LANES];
    let mut count = 0;
    for (slot, payload) in payloads.iter_mut().zip(group.chunks(chunk_size)) {
        *slot = payload;
        count += 1;
    }
    let hashes = sha256_lanes(envelope.head(), &payloads[..count], envelope.tail());
    for hash in &hashes[..count] {
        builder.leaf_hash(*hash, chunk_size as u32);
    }
}
