//! Every size, count and delay of this crate that somebody might want to change, units last in the name.
//! Must not know what uses them.

/// One `pwrite` of staging. Larger slices were measured to be up to seven times dearer into cold memory.
pub const WRITE_SLICE_BYTES: usize = 64 << 10;

/// Leaf length of the journal that serves a fetch without a CID (the default chunk of kubo and of our importer).
pub const JOURNAL_LEAF_BYTES: u64 = 256 << 10;

/// Leaf hashes that are gathered before they are appended to the journal: 8 MiB of the file.
pub const JOURNAL_FLUSH_LEAVES: usize = 8;

/// Longest journal that is read back: 2^24 leaves, a file of 4 TiB.
pub const JOURNAL_LEAVES_MAX: u64 = 1 << 24;

/// Pause between two tries for a lock.
pub const LOCK_POLL_MS: u64 = 100;

/// Small text files that are read whole (`url`, `time`, `type`, digest files, `<key>.json`).
pub const SMALL_FILE_BYTES_MAX: usize = 64 << 10;

/// Longest staging key: a file name with its suffix must fit in 255 bytes.
pub const STAGING_KEY_BYTES_MAX: usize = 200;

/// Largest proof (inner nodes of one layout, and their CIDs) that is read; a walk keeps at most 128 MiB of nodes.
pub const PROOF_BYTES_MAX: usize = 160 << 20;

/// A read buffer while files are hashed; a multiple of every usual leaf length.
pub const HASH_BUFFER_BYTES: usize = 1 << 20;

/// Read buffers in flight between the thread that reads and the one that hashes.
pub const HASH_BUFFERS: usize = 6;

/// Threads that re-hash a staging file or check a file against its layout.
pub const RESCAN_THREADS: usize = 2;

/// Leaves that are looked at to see whether a damaged file may have had a layout.
pub const SAMPLE_LEAVES: usize = 32;

/// A copy's buffer.
pub const COPY_BUFFER_BYTES: usize = 1 << 20;

/// Largest range that one call of the reader returns.
pub const READ_RANGE_BYTES_MAX: u64 = 64 << 20;

/// How long the catalogue waits for another process.
pub const CATALOGUE_BUSY_MS: u64 = 5_000;

/// Fetches of one location that are remembered.
pub const HISTORY_ROWS_PER_LOCATION_COUNT_MAX: usize = 10;

/// Fetches that are remembered in all. A row is about 1 KiB.
pub const HISTORY_ROWS_COUNT_MAX: usize = 2_000;

/// Blocks that the index of one CAR file may hold: 1 TiB in blocks of 256 KiB.
pub const CAR_BLOCKS_MAX: usize = 4 << 20;

/// Largest header (the list of roots) of a CAR file.
pub const CAR_HEADER_BYTES_MAX: u64 = 1 << 20;

/// Window that is read at each block header of a CAR file.
pub const CAR_WINDOW_BYTES: usize = 4 << 10;

/// Largest document (a manifest of a registry) that is read back.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// Names whose newest record is kept: each has at most 10 KiB.
pub const NAMES_COUNT_MAX: usize = 1024;

/// Largest map of proven leaves that is read: 2^24 leaves, a file of 4 TiB.
pub const HAVE_BYTES_MAX: usize = 128 + (2 << 20);

/// Files that are served; the further ones are not.
pub const SHELVED_FILES_COUNT_MAX: usize = 4096;

/// How often a staging file that went away is still served: until its entry is in the catalogue.
pub const SHELF_LINGER_COUNT: u8 = 5;
