//! Every limit of this crate: sizes, counts and waits, units last. Nothing else.

use std::time::Duration;

/// A specification: mostly scripts of a template, which has at most 4 MiB with its bases.
pub const SPEC_BYTES_MAX: u64 = 16 << 20;
/// What a supervisor writes down: a few notices.
pub const STATE_BYTES_MAX: u64 = 1 << 20;
/// `sockaddr_un` has 108 bytes on Linux, one of which ends the path.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What is kept on the disk for a state that has to say that the disk is full, and for the log that says it too.
pub const STATE_RESERVE_BYTES: u64 = 64 << 10;
/// Notices of one start: one for each mount and port of a template that has very many.
pub const NOTICES_COUNT_MAX: usize = 64;
/// How long a guest may take to switch itself off, as Lima has it; then QEMU is ended.
pub const POWER_OFF_MAX: Duration = Duration::from_secs(180);
/// When a guest is asked once more to switch itself off: one that is booting does not hear it.
pub const POWER_OFF_AGAIN: Duration = Duration::from_secs(5);
/// How long the system may take to end a process that was killed.
pub const KILL_WAIT: Duration = Duration::from_secs(10);
/// When a guest that stands still because the disk of this computer is full tries again.
pub const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);
/// How long a guest that tries again has to go on until it counts as going on: what it could not write is written at once.
pub const NO_SPACE_SETTLED: Duration = Duration::from_secs(1);
/// How often a process that is not our child is looked at when it is about to end.
pub const PROCESS_LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How often the clock is compared with the time that has passed, and the size of the serial log with what it may be.
pub const CLOCK_LOOK_PAUSE: Duration = Duration::from_secs(30);
/// What a guest's clock may be wrong by before it is set.
pub const CLOCK_TOLERATED: Duration = Duration::from_secs(2);
/// Longest small text that is read whole: a pid file, `/proc/PID/stat`.
pub const SMALL_TEXT_BYTES_MAX: u64 = 64 << 10;

/// Longest `/proc/cpuinfo` that is read: about 1.5 KiB a CPU.
pub const CPUINFO_BYTES_MAX: u64 = 16 << 20;

/// How long QEMU may take to say its version or its devices: tens of milliseconds on a quiet computer.
pub const PROBE_WAIT: Duration = Duration::from_secs(20);

/// Longest output of a program that is run for its answer; the devices of QEMU take 30 KiB.
pub const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Longest line of QMP: an answer to one of our commands takes some KiB.
pub const QMP_LINE_BYTES_MAX: usize = 1 << 20;

/// Events of QMP that wait to be read; the oldest goes first.
pub const QMP_EVENTS_COUNT_MAX: usize = 256;

/// Pause between two tries to connect to QMP.
pub const QMP_CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How much of the end of a log is read for a message.
pub const LAST_WORDS_BYTES_MAX: u64 = 8 << 10;

/// Lines of a log in a message.
pub const LAST_WORDS_LINES_MAX: usize = 20;

/// A log that is longer when QEMU is started is put aside as `NAME.old`.
pub const LOG_BYTES_MAX: u64 = 1 << 20;

/// A log that QEMU has open is emptied when it is longer, and a copy put aside: a boot writes some 100 KiB.
pub const OPEN_LOG_BYTES_MAX: u64 = 8 << 20;

/// Foreign text in a message.
pub const SHOWN_CHARS_MAX: usize = 300;
/// Longest run of an OpenSSH program that only touches files (`ssh-keygen`). It takes milliseconds, but needs random
/// numbers, for which a host that has just started may wait.
pub const KEYGEN_WAIT: Duration = Duration::from_secs(30);

/// Largest key file that is read; an ed25519 one has 100 bytes, an RSA one of 16384 bits 3 kB.
pub const KEY_BYTES_MAX: u64 = 16 << 10;

/// Most that an error repeats of what another program said.
pub const SAID_CHARS_MAX: usize = 400;

/// Longest path of the master's socket: `sun_path` has 108 bytes with the zero, and ssh binds `PATH.` and 16 random
/// characters before it renames.
pub const CONTROL_PATH_BYTES_MAX: usize = 90;

/// How long the first tries wait for "SSH-": QEMU's user network accepts at once, and a packet that nobody in the guest
/// answered is not repeated soon.
pub const BANNER_WAIT: Duration = Duration::from_secs(1);

/// How long a try waits for "SSH-" once the guest has shown that it is slow: sshd on a busy emulated CPU needs seconds.
pub const BANNER_SLOW_WAIT: Duration = Duration::from_secs(8);

/// Pause between two tries to read "SSH-": as much as is lost at most.
pub const BANNER_PAUSE: Duration = Duration::from_millis(100);

/// Pause between two tries once the guest's network is up, or the guest has shown that it is slow: a connection that has
/// been silent for so long may be one that got lost.
pub const BANNER_SLOW_PAUSE: Duration = Duration::from_secs(2);

/// Tries at a time then: each costs sshd a process.
pub const BANNER_SLOW_TRIES_COUNT_MAX: usize = 3;

/// After this time without an answer a guest is slow; one that is emulated has booted by then.
pub const BANNER_PATIENCE: Duration = Duration::from_secs(60);

/// Tries to read "SSH-" at a time; sshd begins to drop what has not logged in at 10 (`MaxStartups`).
pub const BANNER_TRIES_COUNT_MAX: usize = 8;

/// Most that is read to see whether it begins with "SSH-". RFC 4253 allows lines before it; no sshd sends any.
pub const BANNER_BYTES_MAX: usize = 255;
/// How often another free port for ssh is tried, when somebody else was quicker.
pub const PORT_TRIES_COUNT: u32 = 5;
/// Certificates that a template names: those of a whole system are about 250 KiB.
pub const CERTIFICATES_BYTES_MAX: u64 = 4 << 20;
/// How long a short script of ours may take in a guest.
pub const SCRIPT_WAIT: Duration = Duration::from_secs(30);
/// When a script that did not succeed is run again.
pub const SCRIPT_PAUSE: Duration = Duration::from_secs(1);
/// How long one run of a probe may take.
pub const PROBE_MAX: Duration = Duration::from_secs(60);
/// How long a guest that did not become ready may take to switch itself off.
pub const POWER_OFF_FAILED_MAX: Duration = Duration::from_secs(10);

/// Largest image that is unpacked: ten times Lima's default disk. Zeros cost no place, so that free space is no bound.
pub const UNPACKED_BYTES_MAX: u64 = 1 << 40;

/// Memory that xz may want for its dictionary: `xz -9` wants 65 MiB.
pub const UNPACK_MEMORY_BYTES_MAX: u32 = 512 << 20;

/// Window of zstd: what its own program takes without being asked (`--long=27`).
pub const UNPACK_WINDOW_BYTES_MAX: u64 = 128 << 20;

/// How much of the beginning of an image is looked at: an ISO says so behind 32 KiB.
pub const IMAGE_HEAD_BYTES: usize = 33 << 10;

/// How long qemu-img may take to look at an image or to make an overlay: milliseconds on a quiet computer. (Lima: 3 s.)
pub const IMAGE_WAIT: Duration = Duration::from_secs(30);

/// How long qemu-img may take to check a disk: it reads the tables, about 1/8000 of what is in it.
pub const IMAGE_CHECK_WAIT: Duration = Duration::from_secs(600);
/// How long QEMU may take until its monitor answers: with a share of memory and firmware to load, some hundred
/// milliseconds.
pub const QMP_CONNECT_WAIT: Duration = Duration::from_secs(30);
/// How long QEMU may take to answer a command.
pub const QMP_ANSWER_WAIT: Duration = Duration::from_secs(5);
/// The largest seed volume. A template is at most 4 MiB, and its scripts and data files are in it; this leaves room for
/// certificates and for what the file system needs.
pub const SEED_BYTES_MAX: usize = 16 << 20;
/// The smallest seed volume: below this nothing is gained.
pub const SEED_BYTES_MIN: usize = 1 << 20;

/// Most that is kept of each stream of a script that runs in the guest. The rest is read and forgotten.
pub const SCRIPT_OUTPUT_BYTES_MAX: usize = 256 << 10;

/// Largest file of a guest that `copyToHost:` brings. It is there for keys and configurations.
pub const COPY_TO_HOST_BYTES_MAX: usize = 16 << 20;

/// Most that is kept of what the master says; its last words say why it ended.
pub const MASTER_SAID_BYTES_MAX: usize = 4 << 10;

/// How often it is looked whether the master has logged in, which it shows by its socket. Only until it has.
pub const MASTER_POLL: Duration = Duration::from_millis(20);

/// First pause before a master that ended is started again; it doubles.
pub const MASTER_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause before a master that ended is started again.
pub const MASTER_PAUSE_MAX: Duration = Duration::from_secs(4);

/// How long a master has to log in. An emulated CPU needs up to a second for the key exchange, under load ten.
pub const MASTER_LOGIN_WAIT: Duration = Duration::from_secs(60);

/// How long a child that was asked to end has before it is killed.
pub const CHILD_END_WAIT: Duration = Duration::from_secs(2);

/// How long the master has to open or close one forward; the guest has no part in those that the host listens for.
pub const FORWARD_WAIT: Duration = Duration::from_secs(15);

/// How long one `true` in the guest may take until another is tried.
pub const LOGIN_WAIT: Duration = Duration::from_secs(30);

/// Pause of the guest between two looks at what listens in it. Lima's agent takes 3 s.
pub const LISTENERS_PAUSE: Duration = Duration::from_secs(2);

/// Most listeners that are taken note of; a guest has tens. The rest is not forwarded.
pub const LISTENERS_COUNT_MAX: usize = 4096;

/// Longest line of the list of listeners: an IPv6 address and a port in hex.
pub const LISTENERS_LINE_BYTES_MAX: u64 = 64;

/// Pause before the list of listeners is asked for again when it ended although the connection did not.
pub const LISTENERS_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How long a machine that is ready waits for the ports that its template names.
pub const FORWARDS_WAIT: Duration = Duration::from_secs(10);
/// Longest tag of a virtiofs mount (virtio 1.2, 5.11.4: 36 bytes), and longer than 9p allows anybody to need.
pub const MOUNT_TAG_BYTES_MAX: usize = 36;

/// How long virtiofsd has to say what it can do.
pub const VIRTIOFSD_HELP_WAIT: Duration = Duration::from_secs(10);

/// Most that is read of what virtiofsd says it can do.
pub const VIRTIOFSD_HELP_BYTES_MAX: usize = 64 << 10;

/// How long virtiofsd has to make its socket.
pub const VIRTIOFSD_START_WAIT: Duration = Duration::from_secs(10);

/// How often it is looked whether virtiofsd has made its socket.
pub const VIRTIOFSD_POLL: Duration = Duration::from_millis(10);

/// How long a mount by sshfs may take in the guest; an emulated CPU needs seconds to load FUSE.
pub const SSHFS_WAIT: Duration = Duration::from_secs(60);

/// When a directory that went with its connection is mounted again.
pub const SSHFS_PAUSE: Duration = Duration::from_secs(2);

/// How often a supervisor tries for the lock of its instance, and the time in between: others look whether it is free.
pub const LOCK_TRIES_COUNT: u32 = 5;
/// See [`LOCK_TRIES_COUNT`].
pub const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How long a guest may take to say that it is an ssh server, once it accepts a connection.
pub const MASTER_CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How often a guest that has just booted is asked to mount a directory over ssh, before it is said that it does not.
pub const SSHFS_TRIES_COUNT: u32 = 3;
