//! SHA-256 in the making: the buffering and padding around the compression function, for one chain, for several in
//! lockstep, and for the pair "whole file and current leaf". No `unsafe`, no CPU detection.

use super::{Block, Kernel, State};

const INITIAL: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// One SHA-256 that has seen `length` bytes; those after the last full block wait in `buffer`.
#[derive(Clone)]
pub(super) struct Chain {
    state: State,
    buffer: Block,
    length: u64,
}

impl Chain {
    const fn new() -> Self {
        Self {
            state: INITIAL,
            buffer: [0; 64],
            length: 0,
        }
    }

    /// Bytes that wait in the buffer, 0 to 63.
    const fn fill(&self) -> usize {
        (self.length % 64) as usize
    }

    fn update(&mut self, kernel: Kernel, bytes: &[u8]) {
        let (blocks, tail) = self.top_up(kernel, bytes).as_chunks::<64>();
        kernel.one(&mut self.state, blocks);
        self.advanced(blocks.len());
        self.keep(tail);
    }

    /// Completes the waiting block with the first of `bytes` and gives back the others. Afterwards either the buffer is
    /// empty or nothing is left.
    fn top_up<'a>(&mut self, kernel: Kernel, bytes: &'a [u8]) -> &'a [u8] {
        let fill = self.fill();
        if fill == 0 {
            return bytes;
        }
        let (head, rest) = bytes.split_at(bytes.len().min(64 - fill));
        self.buffer[fill..fill + head.len()].copy_from_slice(head);
        self.length += head.len() as u64;
        if self.fill() == 0 && !head.is_empty() {
            kernel.one(&mut self.state, std::slice::from_ref(&self.buffer));
        }
        rest
    }

    /// Counts blocks that were compressed outside.
    const fn advanced(&mut self, blocks: usize) {
        self.length += blocks as u64 * 64;
    }

    /// Keeps less than a block. The buffer is empty or `tail` is.
    fn keep(&mut self, tail: &[u8]) {
        if !tail.is_empty() {
            self.buffer[..tail.len()].copy_from_slice(tail);
            self.length += tail.len() as u64;
        }
    }

    fn finish(mut self, kernel: Kernel) -> [u8; 32] {
        let fill = self.fill();
        let mut last = [[0_u8; 64]; 2];
        last[0][..fill].copy_from_slice(&self.buffer[..fill]);
        last[0][fill] = 0x80;
        let count = if fill < 56 { 1 } else { 2 };
        last[count - 1][56..].copy_from_slice(&(self.length * 8).to_be_bytes());
        kernel.one(&mut self.state, &last[..count]);
        let mut out = [0; 32];
        for (bytes, word) in out.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        out
    }
}

/// SHA-256 of `N` payloads of one length between the same prefix and suffix, in lockstep.
pub(super) fn lanes<const N: usize>(
    kernel: Kernel,
    prefix: &[u8],
    payloads: [&[u8]; N],
    suffix: &[u8],
) -> [[u8; 32]; N] {
    let mut first = Chain::new();
    first.update(kernel, prefix);
    let mut chains: [Chain; N] = std::array::from_fn(|_| first.clone());
    // All have the same fill, so all take the same number of bytes and have equally many blocks left.
    let mut index = 0;
    let split = payloads.map(|payload| {
        let rest = chains[index].top_up(kernel, payload);
        index += 1;
        rest.as_chunks::<64>()
    });
    kernel.lanes(
        chains.each_mut().map(|chain| &mut chain.state),
        split.map(|(blocks, _)| blocks),
    );
    for (chain, (blocks, tail)) in chains.iter_mut().zip(split) {
        chain.advanced(blocks.len());
        chain.keep(tail);
        chain.update(kernel, suffix);
    }
    chains.map(|chain| chain.finish(kernel))
}

/// SHA-256 of the whole file and of one leaf after the other, in a single pass over the bytes.
///
/// If the leaf has no envelope and starts at a multiple of 64, both chains read the same blocks and the second costs
/// next to nothing; otherwise they run as two lanes. Any lengths are correct.
#[derive(Clone)]
pub struct WholeAndLeaf {
    kernel: Kernel,
    whole: Chain,
    leaf: Chain,
}

impl WholeAndLeaf {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_kernel(Kernel::detect())
    }

    pub(super) const fn with_kernel(kernel: Kernel) -> Self {
        Self {
            kernel,
            whole: Chain::new(),
            leaf: Chain::new(),
        }
    }

    /// The next leaf, in one piece; its SHA-256 comes back.
    pub fn leaf(&mut self, bytes: &[u8]) -> [u8; 32] {
        self.leaf_framed(&[], bytes, &[])
    }

    /// The next leaf, in one piece: the file gets `bytes`, the leaf's block is `prefix`, `bytes` and `suffix`.
    pub fn leaf_framed(&mut self, prefix: &[u8], bytes: &[u8], suffix: &[u8]) -> [u8; 32] {
        self.begin_leaf(prefix);
        self.update(bytes);
        self.end_leaf(suffix)
    }

    /// The next bytes of the file, without a leaf hash. Not between [`Self::begin_leaf`] and [`Self::end_leaf`].
    pub fn skip_leaf(&mut self, bytes: &[u8]) {
        self.whole.update(self.kernel, bytes);
    }

    /// Begins a leaf whose block starts with `prefix`.
    pub fn begin_leaf(&mut self, prefix: &[u8]) {
        self.leaf = Chain::new();
        self.leaf.update(self.kernel, prefix);
    }

    /// The next bytes of the file and of the leaf.
    pub fn update(&mut self, bytes: &[u8]) {
        let (whole, leaf) = (&mut self.whole, &mut self.leaf);
        let (whole_blocks, whole_tail) = whole.top_up(self.kernel, bytes).as_chunks::<64>();
        let (leaf_blocks, leaf_tail) = leaf.top_up(self.kernel, bytes).as_chunks::<64>();
        if std::ptr::eq(whole_blocks, leaf_blocks) {
            self.kernel
                .same(&mut whole.state, &mut leaf.state, whole_blocks);
        } else {
            let both = whole_blocks.len().min(leaf_blocks.len());
            let states = [&mut whole.state, &mut leaf.state];
            self.kernel
                .lanes(states, [&whole_blocks[..both], &leaf_blocks[..both]]);
            self.kernel.one(&mut whole.state, &whole_blocks[both..]);
            self.kernel.one(&mut leaf.state, &leaf_blocks[both..]);
        }
        whole.advanced(whole_blocks.len());
        whole.keep(whole_tail);
        leaf.advanced(leaf_blocks.len());
        leaf.keep(leaf_tail);
    }

    /// Ends the leaf with `suffix` and gives its SHA-256.
    pub fn end_leaf(&mut self, suffix: &[u8]) -> [u8; 32] {
        let mut leaf = std::mem::replace(&mut self.leaf, Chain::new());
        leaf.update(self.kernel, suffix);
        leaf.finish(self.kernel)
    }

    /// How many bytes of the file have been given.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.whole.length
    }

    /// SHA-256 of the whole file.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.whole.finish(self.kernel)
    }
}

impl Default for WholeAndLeaf {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for WholeAndLeaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WholeAndLeaf")
            .field("kernel", &self.kernel)
            .field("position", &self.position())
            .finish()
    }
}
