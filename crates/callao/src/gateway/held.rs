//! The store's shelf as the gateway wants it.

use std::ops::Range;
use std::sync::Arc;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_content::layout::Layout;
use callao_store::shelf::{PackedFile, Shelf, Shelved};

use super::{Held, HeldFile};

impl Held for Shelf {
    fn file(&self, root: &Cid) -> Option<Arc<dyn HeldFile>> {
        if let Some(file) = Shelf::file(self, root) {
            return Some(file);
        }
        Some(Arc::new(self.packed_file(root)?))
    }

    fn with_digest(&self, digest: &Digest) -> Vec<Cid> {
        self.by_digest(digest)
    }
}

impl HeldFile for Shelved {
    fn layout(&self) -> &Arc<Layout> {
        Shelved::layout(self)
    }

    fn name(&self) -> String {
        Shelved::name(self).to_owned()
    }

    fn have(&self) -> Vec<Range<u64>> {
        Shelved::have(self)
    }

    fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool {
        Shelved::read_leaves(self, leaves, buffer)
    }
}

impl HeldFile for PackedFile {
    fn layout(&self) -> &Arc<Layout> {
        PackedFile::layout(self)
    }

    fn name(&self) -> String {
        String::new()
    }

    fn have(&self) -> Vec<Range<u64>> {
        PackedFile::have(self)
    }

    fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool {
        PackedFile::read_leaves(self, leaves, buffer)
    }
}
