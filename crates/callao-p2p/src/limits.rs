//! Every limit of this crate: sizes, counts and waits, units last. Nothing else.

use std::time::Duration;

/// Streams of one yamux connection. 4096 x 256 KiB is the 1 GiB that yamux allows a connection, so that its receive
/// windows stay at 256 KiB: with larger ones js peers send frames that yamux refuses, and the connection dies.
pub const STREAMS_COUNT_MAX: usize = 4096;
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
/// How often lost peers that the user named are dialled again.
pub const REDIAL_INTERVAL: Duration = Duration::from_secs(5);
/// How long the start waits for the listeners to tell their addresses.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
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
