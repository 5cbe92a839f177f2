//! Every limit of this crate: sizes, counts and waits, units last. Nothing else.

use std::time::Duration;

/// Streams of one yamux connection. 4096 x 256 KiB is the 1 GiB that yamux allows a connection, so that its receive
/// windows stay at 256 KiB: with larger ones js peers send frames that yamux refuses, and the connection dies.
pub const STREAMS_COUNT_MAX: usize = 4096;
/// What is read from a TCP socket at once.
pub const SOCKET_READ_BYTES: usize = 64 * 1024;
/// Bytes that are written before they are sent although more is to follow: two encrypted frames.
pub const GATHER_BYTES_MAX: usize = 128 * 1024;
/// Connections in all, unless the options say otherwise.
pub const CONNECTIONS_COUNT_MAX: u32 = 256;
/// Connections that are being made, each way.
pub const CONNECTIONS_PENDING_COUNT_MAX: u32 = 64;
/// Connections to one peer: both sides dial at once, by TCP and by QUIC.
pub const CONNECTIONS_PER_PEER_COUNT_MAX: u32 = 4;
/// Inbound connections from one IP address: a household behind one router.
pub const CONNECTIONS_PER_ADDRESS_COUNT_MAX: usize = 64;
/// Time to connect, secure and multiplex.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing happens ends after this. kubo asks whom it is connected to, so it is generous.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How often late blocks are looked for and unused memory is given back.
pub const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// How often lost peers that the user named are dialled again.
pub const REDIAL_INTERVAL: Duration = Duration::from_secs(5);
/// How long the start waits for the listeners to tell their addresses.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// A listener on all interfaces tells their addresses one by one; when so long none came, it has told them all.
pub const LISTEN_PAUSE: Duration = Duration::from_millis(50);
/// How long a shutdown waits for connections to close.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Commands that wait for the node's task.
pub const COMMANDS_COUNT_MAX: usize = 64;
/// Addresses of one peer that somebody else named and that are tried.
pub const ADDRESSES_PER_PEER_COUNT_MAX: usize = 16;
/// How long a liar stays out.
pub const BAN_TIME: Duration = Duration::from_secs(3600);
/// Liars that are remembered; the oldest is forgotten first.
pub const BANS_COUNT_MAX: usize = 4096;
/// What is kept of what a peer says about itself.
pub const AGENT_CHARS_MAX: usize = 128;
/// Protocols of one peer that are kept.
pub const PROTOCOLS_COUNT_MAX: usize = 64;
/// How often a peer is pinged.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A ping without an answer for so long has failed. A peer that fails twice and sends nothing else is gone.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often identify is asked again.
pub const IDENTIFY_INTERVAL: Duration = Duration::from_secs(300);
/// Peers of one message of the local network that are taken.
pub const NETWORK_PEERS_COUNT_MAX: usize = 32;
/// Time for one question to the DHT, which takes many requests.
pub const DHT_QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Providers taken from one question to the DHT (boxo asks 10 at a time).
pub const PROVIDERS_COUNT_MAX: usize = 32;
/// Strangers who must see us at an address before we announce it (go-libp2p: 4).
pub const OBSERVERS_COUNT_MIN: usize = 4;
/// Addresses at which strangers say that they see us.
pub const OBSERVED_ADDRESSES_COUNT_MAX: usize = 64;
/// Peers whose addresses are searched for, since their provider record had none.
pub const LOCATES_COUNT_MAX: usize = 256;
/// Announcements at the same time: each one talks to about 20 peers.
pub const ANNOUNCEMENTS_AT_ONCE_COUNT_MAX: usize = 4;
/// Roots that are announced; further ones are found by whoever is connected.
pub const ANNOUNCEMENTS_COUNT_MAX: usize = 4096;
/// Everything is announced again after this (kubo: 22 hours; records are kept for 48).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(22 * 3600);
/// While nobody answers, announcing is tried again this often.
pub const DHT_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The largest bitswap message that is read or written, as in boxo and Helia.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Wants that one peer may have registered, as in boxo.
pub const WANTS_PER_PEER_COUNT_MAX: usize = 1024;
/// A bitswap message that carries blocks grows no longer than this, unless one block does.
pub const REPLY_BYTES: usize = 512 * 1024;
/// Presences in one message (45 bytes each).
pub const PRESENCES_COUNT_MAX: usize = 4096;
/// How long a want for a block that is not here stays registered.
pub const WANT_WAITS_TIME: Duration = Duration::from_secs(600);
/// WANT-HAVE is answered with the block itself up to this size, as in boxo.
pub const SMALL_BLOCK_BYTES_MAX: u32 = 1024;
/// Inbound bitswap streams of one connection at the same time. Helia opens up to 50, kubo up to 9.
pub const INBOUND_STREAMS_COUNT_MAX: usize = 512;
/// Streams that are being opened at the same time, per connection.
pub const OPENING_STREAMS_COUNT_MAX: usize = 32;
/// Inbound streams whose protocol is being agreed on, per connection: as many as yamux hands over at once.
pub const NEGOTIATING_STREAMS_COUNT_MAX: usize = 256;
/// Requests for a stream that wait for the connection's task.
pub const OPENS_COUNT_MAX: usize = 64;
/// Time to open a stream and agree on its protocol.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A message of which nothing arrives, or that cannot be written, for this long: the stream is given up.
pub const STREAM_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// One message takes at most this long; whoever is slower is disconnected (17 KiB/s for a block of 1 MiB).
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stream of ours stays open without a message. Helia gives up after 10 s.
pub const STREAM_LINGER: Duration = Duration::from_secs(5);
/// Bytes of messages from one peer that are being received at the same time.
pub const INTAKE_PER_PEER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of messages that are being received at the same time, over all peers.
pub const INTAKE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The longest message from a peer of which nothing was asked: a wantlist of a thousand lines, with room to spare.
pub const UNASKED_MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Free buffers that are kept for messages.
pub const POOL_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Buffers are made in multiples of this.
pub const BUFFER_STEP_BYTES: usize = 64 * 1024;
/// Messages with blocks that wait to be hashed, per peer.
pub const INBOX_COUNT_MAX: usize = 8;
/// Blocks hashed in one go.
pub const HASHED_AT_ONCE_COUNT_MAX: usize = 16;
/// Threads that read blocks for others at the same time.
pub const READERS_COUNT_MAX: usize = 4;

/// Bytes that are asked of a peer ahead, to begin with: more gains nothing on a LAN.
pub const WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes that are asked of a peer ahead at most.
pub const WINDOW_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Wants outstanding towards one peer: half of what kubo and Helia keep.
pub const WANTS_OUTSTANDING_COUNT_MAX: usize = 512;
/// Wants in one message.
pub const WANTS_PER_MESSAGE_COUNT_MAX: usize = 64;
/// A want without an answer is asked again after this, if the peer sends nothing else.
pub const WANT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a want is asked.
pub const WANT_TRIES_COUNT_MAX: u32 = 4;
/// How often outstanding wants are looked through.
pub const WANT_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a peer has to tell whether it has a root.
pub const HAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a peer that did not have a root is asked again.
pub const HAVE_AGAIN_INTERVAL: Duration = Duration::from_secs(10);
/// Blocks that nobody asked for, after which a peer counts as lying.
pub const STRAYS_COUNT_MAX: u32 = 2;
/// Answered and withdrawn wants that are remembered, so that a late block is no stray.
pub const SETTLED_COUNT_MAX: usize = 8192;
/// CANCELs that wait for the next wants to go with.
pub const CANCELS_COUNT_MAX: usize = 256;

/// Streams that carry replies to one peer.
pub const STRIPES_COUNT_MAX: usize = 32;
/// Streams to a callao nearby: while one waits for its window the other goes on.
pub const STRIPES_NEAR_COUNT: usize = 2;
/// What the streams to a callao far away together must be able to carry, in bytes per second.
pub const STRIPES_SECOND_BYTES: u64 = 160 * 1024 * 1024;
/// What one yamux stream carries per round trip.
pub const STREAM_WINDOW_BYTES: u64 = 256 * 1024;
/// Bytes that may leave at once under a rate cap.
pub const UPLOAD_BURST_BYTES: u64 = 1024 * 1024;
/// Bytes of blocks that are being sent at the same time, over all peers: what serving costs in memory.
pub const UPLOAD_IN_FLIGHT_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// What a peer gets before it passes its slot on to one that waits.
pub const UPLOAD_TURN_BYTES: u64 = 16 * 1024 * 1024;
