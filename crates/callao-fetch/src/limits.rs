//! Every limit of this crate: sizes, counts and waits, units last. Nothing else.

use std::time::Duration;

/// One pooled buffer: large enough that hand-overs cost nothing, small enough to stay in cache.
pub const BUFFER_BYTES: usize = 1024 * 1024;
/// Buffers of one fetch. The pool is what bounds its memory.
pub const BUFFERS_COUNT_MAX: usize = 16;
/// Spans begin on multiples of this while no layout is known.
pub const GRID_BYTES: u64 = 1024 * 1024;
/// The smallest span worth a request.
pub const SPAN_BYTES_MIN: u64 = 256 * 1024;
/// The largest span while several sources share a file.
pub const SPAN_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A span is about as long as its source needs for this.
pub const SPAN_TIME: Duration = Duration::from_millis(1000);
/// The first span of a source whose rate is not known yet.
pub const SPAN_FIRST_BYTES: u64 = 1024 * 1024;
/// Runs of repeated leaves from this length on are copied instead of fetched.
pub const REPEAT_RUN_BYTES_MIN: u64 = 1024 * 1024;
/// Finished regions of this length are given to the kernel for early write-back.
pub const WRITEBACK_BYTES: u64 = 8 * 1024 * 1024;
/// What one read-back job of the digest covers.
pub const READ_BACK_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Jobs in the queue of one pipeline thread. Chunks are bounded by the pool, the rest by the engine.
pub const JOBS_COUNT_MAX: usize = 128;
/// Jobs that the engine itself keeps in flight (read-backs, proofs in place, copies).
pub const OWN_JOBS_COUNT_MAX: usize = 4;
/// Messages from lanes and threads to the engine.
pub const MESSAGES_COUNT_MAX: usize = 256;
/// The largest file that a CID may name, where nothing else says how long it is.
pub const FILE_BYTES_MAX: u64 = 1 << 40;
/// Sources of one fetch; further ones are not taken.
pub const SOURCES_COUNT_MAX: usize = 64;
/// Requests in flight over all sources.
pub const LANES_COUNT_MAX: usize = 12;

/// Peers of a swarm are asked what they have this often, or less often when there are many of them.
pub const HAVE_INTERVAL: Duration = Duration::from_millis(250);
/// Further time between two such questions to one peer, for each peer that is asked: at most a hundred in a second.
pub const HAVE_INTERVAL_PER_PEER: Duration = Duration::from_millis(10);
/// A peer that is complete, or has nothing, is asked this often: to see whether it is still there, or begins.
pub const HAVE_INTERVAL_IDLE: Duration = Duration::from_millis(1000);
/// How long a LAN peer may take to say what it has, or to send its next bytes: it is near.
pub const LAN_TIMEOUT: Duration = Duration::from_secs(3);
/// Questions in a row that a peer may leave unanswered before it counts as gone.
pub const HAVE_FAILURES_COUNT_MAX: u32 = 2;
/// What a peer may say about what it has.
pub const HAVE_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Roots that a peer may name for one digest.
pub const HAVE_ROOTS_COUNT_MAX: usize = 8;
/// Inner nodes of one file in one answer: those of 64 GiB with small leaves.
pub const SKELETON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Requests at once to one LAN peer, the second only to bridge the time to its first byte.
pub const LAN_LANES_COUNT_MAX: usize = 2;
/// A file is shared out among the hosts of a swarm in about this many blocks,
pub const SWARM_BLOCKS_COUNT: u64 = 64;
/// none smaller than a leaf of kubo's,
pub const SWARM_BLOCK_BYTES_MIN: u64 = 256 * 1024;
/// none larger than what a request should bring while others wait for it,
pub const SWARM_BLOCK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// but never more than this many.
pub const SWARM_BLOCKS_COUNT_MAX: u64 = 1024;
/// With so many peers it is likely that there are more hosts than a host knows of.
pub const SWARM_CROWD_COUNT: usize = 32;
/// Among so many, a source outside is left to others by hosts for which the smallest span takes longer than this.
pub const SWARM_CROWD_SPAN_TIME: Duration = Duration::from_millis(1500);
/// Over this time it is seen how fast the other hosts get on,
pub const SWARM_PACE_WINDOW: Duration = Duration::from_secs(4);
/// and nothing is concluded from less.
pub const SWARM_PACE_WINDOW_MIN: Duration = Duration::from_secs(1);
/// It is noted this often.
pub const SWARM_PACE_STEP: Duration = Duration::from_millis(200);
/// When no peer had anything new for so long, the swarm stands still.
pub const SWARM_STILL: Duration = Duration::from_secs(10);
/// Among rivals, what a lane brings is handed on (and seen by the others) this often, but never less than a leaf.
pub const SWARM_CHUNK_TIME: Duration = Duration::from_millis(250);
/// So long it is waited for peers to show how fast they send, before a source outside is asked for what they have.
pub const SWARM_TRIAL: Duration = Duration::from_secs(3);

/// So long a fetch goes on without any source that sends, after a peer last had something new.
pub const SWARM_PATIENCE: Duration = Duration::from_secs(30);
/// After the first peer has named a root for a digest, the others get this long to name theirs.
pub const CLAIMS_WAIT: Duration = Duration::from_millis(500);
/// When all bytes are here and nothing but a CID can prove them, its inner nodes are waited for this long.
pub const LAYOUT_PATIENCE: Duration = Duration::from_secs(5);

/// Time to open a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time from the request to its headers.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without a byte after which a transfer counts as dead.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// First pause of a source that failed.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest pause of our own.
pub const RETRY_MAX: Duration = Duration::from_secs(10);
/// Failures in a row without a byte of progress, after which a source is dropped.
pub const FAILURES_COUNT_MAX: u32 = 5;
/// The longest `Retry-After` that is waited for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// Head start of the source that answered last before the next one is asked for the same inner node.
pub const NODE_HEDGE: Duration = Duration::from_millis(400);
/// Inner nodes asked for at once.
pub const NODES_IN_FLIGHT_COUNT_MAX: usize = 8;
/// Redirects that are followed for plain files (as limactl does).
pub const REDIRECTS_COUNT_MAX: usize = 10;
/// Bytes of a file that are asked for to see whether a source has it.
pub const PROBE_BYTES: u64 = 1;
/// How often progress is reported.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How much of an error page is kept for the message.
pub const ERROR_BODY_BYTES_MAX: usize = 200;

/// The largest block that is taken from anybody (trustless gateway spec, boxo).
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest span of one CAR: its blocks are held until they can be handed on in file order.
pub const CAR_SPAN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What a CAR may hold beyond the leaves that were asked for and the inner nodes of the file.
pub const CAR_EXTRA_BYTES_MAX: u64 = 1024 * 1024;
/// Raw blocks of one span asked for at once.
pub const BLOCKS_IN_FLIGHT_COUNT_MAX: usize = 8;
/// Redirects that are followed for blocks and CARs.
pub const BLOCK_REDIRECTS_COUNT_MAX: usize = 2;
/// An answer of the kubo API that is not a block or a file.
pub const API_BODY_BYTES_MAX: usize = 64 * 1024;
/// One piece of a file that is added to a kubo.
pub const KUBO_PIECE_BYTES: usize = 1024 * 1024;
/// How long a kubo may need for a file when it has all bytes of it: it writes, pins, and has other work.
pub const KUBO_FINISH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a kubo is given to announce a file before we go; it goes on by itself.
pub const KUBO_PROVIDE_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at once to a gateway, the second only to bridge the time to its first byte. kubo sends four ranges side by
/// side a third faster than one, but three of the four then arrive out of order, are hashed twice and read back: on
/// two cores that costs more than it gains.
pub const GATEWAY_LANES_COUNT_MAX: usize = 2;
/// Provider records taken from one router.
pub const ROUTING_RECORDS_COUNT_MAX: usize = 100;
/// HTTP addresses taken from one provider record (as kubo).
pub const ROUTING_ADDRESSES_COUNT_MAX: usize = 10;
/// Addresses for libp2p taken from one provider record.
pub const ROUTING_PEER_ADDRESSES_COUNT_MAX: usize = 16;
/// Peers without an address in their record that are looked up at one router.
pub const ROUTING_LOOKUPS_COUNT_MAX: usize = 8;
/// An answer of a router.
pub const ROUTING_BODY_BYTES_MAX: usize = 1024 * 1024;

/// A manifest or an index of a registry (the specification lets registries refuse more).
pub const OCI_MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries of an index, or layers of a manifest.
pub const OCI_DESCRIPTORS_COUNT_MAX: usize = 1024;
/// An index may name an index; deeper there is nothing.
pub const OCI_INDEX_DEPTH_MAX: usize = 2;
/// Manifests of one platform that are looked into for a file name.
pub const OCI_CANDIDATES_COUNT_MAX: usize = 8;
/// A repository's name (distribution specification).
pub const OCI_REPOSITORY_CHARS_MAX: usize = 255;
/// A tag (distribution specification).
pub const OCI_TAG_CHARS_MAX: usize = 128;
/// What a message shows of what a registry says.
pub const OCI_SHOWN_CHARS_MAX: usize = 100;
/// What a message shows of an address.
pub const OCI_ADDRESS_SHOWN_CHARS_MAX: usize = 160;
/// The answer of a token server.
pub const OCI_TOKEN_BYTES_MAX: usize = 64 * 1024;
/// How often a registry that is busy or fails is asked again for a manifest or a token.
pub const OCI_TRIES_COUNT_MAX: u32 = 4;
/// How long a token counts that does not say it (distribution specification).
pub const OCI_TOKEN_LIFE_MIN: Duration = Duration::from_secs(60);
/// A token that ends so soon is not used any more.
pub const OCI_TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// One piece of an upload: what an interruption costs at most.
pub const OCI_PIECE_BYTES: u64 = 16 * 1024 * 1024;
/// The longest piece that a registry may ask for: it is in memory while it is sent.
pub const OCI_PIECE_BYTES_MAX: u64 = 64 * 1024 * 1024;
