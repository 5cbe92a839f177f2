//! Blocks in memory that a node serves; some can be withheld or spoilt while it does.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use callao_content::Cid;
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_store::served::Served;

type Key = Vec<u8>;

/// Blocks by multihash.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    blocks: HashMap<Key, Vec<u8>>,
    /// Not there for now.
    hidden: Mutex<HashSet<Key>>,
    /// Found out to be gone only when they are read.
    gone: Mutex<HashSet<Key>>,
}

fn key(cid: &Cid) -> Key {
    cid.hash().to_bytes()
}

impl Memory {
    pub(crate) fn new() -> Self {
        Memory::default()
    }

    /// Adds all blocks of a file.
    pub(crate) fn with(mut self, layout: &Layout, bytes: &[u8]) -> Self {
        for node in layout.nodes() {
            self.blocks.insert(key(&node.cid), node.bytes.to_vec());
        }
        for (index, leaf) in layout.leaves().iter().enumerate() {
            if let Some(cid) = layout.leaf_cid(index) {
                let start = leaf.offset as usize;
                let payload = &bytes[start..start + leaf.length as usize];
                self.blocks.insert(key(&cid), layout.block(index, payload));
            }
        }
        self
    }

    pub(crate) fn hide<'c>(&self, cids: impl IntoIterator<Item = &'c Cid>) {
        let mut hidden = self.hidden.lock().expect("no test panics in here");
        hidden.extend(cids.into_iter().map(key));
    }

    pub(crate) fn show_all(&self) {
        self.hidden.lock().expect("no test panics in here").clear();
    }

    pub(crate) fn lose(&self, cid: &Cid) {
        self.gone
            .lock()
            .expect("no test panics in here")
            .insert(key(cid));
    }
}

impl Served for Memory {
    fn length(&self, cid: &Cid) -> Option<u32> {
        let key = key(cid);
        if self
            .hidden
            .lock()
            .expect("no test panics in here")
            .contains(&key)
        {
            return None;
        }
        self.blocks.get(&key).map(|block| block.len() as u32)
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        if self
            .gone
            .lock()
            .expect("no test panics in here")
            .contains(&key(cid))
        {
            self.hide([cid]);
            return false;
        }
        match self.length(cid).and_then(|_| self.blocks.get(&key(cid))) {
            Some(block) => {
                buffer.extend_from_slice(block);
                true
            }
            None => false,
        }
    }
}

/// A file, its layout, and a node's worth of its blocks.
pub(crate) fn file(bytes: Vec<u8>, profile: Profile) -> (Arc<[u8]>, Arc<Layout>, Arc<Memory>) {
    let layout = Arc::new(import(&bytes, profile.shape()).expect("a valid shape"));
    let memory = Arc::new(Memory::new().with(&layout, &bytes));
    (bytes.into(), layout, memory)
}
