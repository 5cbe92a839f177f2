//! Hashing a file against its layout, on two threads, four leaves at a time.
//! Must not know what is done about the good or the bad leaves.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use callao_content::layout::Layout;
use callao_content::leaf::VerifiedLeaf;

use crate::disk::{self, DiskFile};
use crate::limits;

/// Bytes that one thread takes at a time, in leaves of up to a quarter of it.
const RUN_BYTES: u64 = 4 << 20;

/// Calls `good` for every leaf whose bytes are in the file, from either thread; `progress` with the number of bytes
/// looked at so far, on the calling thread. Leaves beyond `length` (the file's) are not good.
pub(crate) fn rescan(
    file: &dyn DiskFile,
    length: u64,
    layout: &Layout,
    progress: &dyn Fn(u64),
    good: &(dyn Fn(&VerifiedLeaf<'_>) + Sync),
) -> io::Result<()> {
    let scan = Scan {
        file,
        length,
        layout,
        good,
        next: AtomicUsize::new(0),
        seen: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..limits::RESCAN_THREADS)
            .map(|_| scope.spawn(|| scan.work(&|_| {})))
            .collect();
        let own = scan.work(progress);
        helpers.into_iter().fold(own, |result, helper| {
            result.and(helper.join().unwrap_or_else(|_| {
                Err(io::Error::other("the thread that re-hashes the file died"))
            }))
        })
    })?;
    progress(scan.seen.load(Ordering::Acquire));
    Ok(())
}

struct Scan<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    layout: &'a Layout,
    good: &'a (dyn Fn(&VerifiedLeaf<'_>) + Sync),
    next: AtomicUsize,
    seen: AtomicU64,
    failed: AtomicBool,
}

impl Scan<'_> {
    fn work(&self, progress: &dyn Fn(u64)) -> io::Result<()> {
        let mut buffer = Vec::new();
        while !self.failed.load(Ordering::Acquire) {
            let Some((first, end)) = self.take() else {
                break;
            };
            let result = self.look(first, end, &mut buffer);
            if result.is_err() {
                self.failed.store(true, Ordering::Release);
                return result;
            }
            progress(self.seen.load(Ordering::Acquire));
        }
        Ok(())
    }

    /// The next run of leaves: about [`RUN_BYTES`], at least one leaf.
    fn take(&self) -> Option<(usize, usize)> {
        let leaves = self.layout.leaves();
        let per_leaf = u64::from(self.layout.max_leaf()).max(1);
        let step = usize::try_from(RUN_BYTES / per_leaf).unwrap_or(1).max(1);
        let first = self.next.fetch_add(step, Ordering::AcqRel);
        (first < leaves.len()).then(|| (first, (first + step).min(leaves.len())))
    }

    fn look(&self, first: usize, end: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let leaves = &self.layout.leaves()[first..end];
        let start = leaves[0].offset;
        let bytes: u64 = leaves.iter().map(|leaf| u64::from(leaf.length)).sum();
        let available = bytes.min(self.length.saturating_sub(start));
        let wanted = usize::try_from(available).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let read = disk::read_full(self.file, &mut buffer[..wanted], start)?;
        self.verify(first, end, &buffer[..read]);
        self.seen.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// Runs of good leaves; after a bad one it goes on with the next.
    fn verify(&self, first: usize, end: usize, bytes: &[u8]) {
        let leaves = self.layout.leaves();
        let start = leaves[first].offset;
        let whole = |index: usize| {
            leaves[index].offset + u64::from(leaves[index].length) - start <= bytes.len() as u64
        };
        let end = (first..end)
            .take_while(|&index| whole(index))
            .last()
            .map_or(first, |last| last + 1);
        let mut index = first;
        while index < end {
            let from = (leaves[index].offset - start) as usize;
            let until = leaves[end - 1].offset + u64::from(leaves[end - 1].length) - start;
            let mut verified = Vec::new();
            let complete = self
                .layout
                .verify_run(index, &bytes[from..until as usize], &mut verified)
                .is_ok();
            for leaf in &verified {
                (self.good)(leaf);
            }
            index = if complete {
                end
            } else {
                index + verified.len() + 1
            };
        }
    }
}
