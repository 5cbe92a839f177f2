//! Every limit of this crate, unit last. It must not know why a template is read.

/// Largest template text: the size at which limactl stops reading a template (`pkg/limatmpl`).
pub const TEMPLATE_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Deepest nesting of lists and mappings. Lima's own structure needs 6; each level takes up to 48 KiB of stack in a debug
/// build, and a thread has 2 MiB.
pub const YAML_DEPTH_COUNT_MAX: usize = 20;

/// Deepest nesting of aliases in what aliases stand for.
pub const YAML_ALIAS_DEPTH_COUNT_MAX: usize = 4;

/// Most nodes (scalars, lists, mappings) in one template.
pub const YAML_NODES_COUNT_MAX: usize = 100_000;

/// Most parser events that aliases may replay: what bounds an alias bomb.
pub const YAML_REPLAYED_COUNT_MAX: usize = 10_000;

/// Most aliases in one template.
pub const YAML_ALIASES_COUNT_MAX: usize = 1_000;

/// Most text kept behind all anchors together, in case aliases repeat it.
pub const YAML_ANCHORED_BYTES_MAX: usize = 256 * 1024;

/// Most text in all scalars of one template, those that aliases repeat included.
pub const YAML_TEXT_BYTES_MAX: usize = 2 * TEMPLATE_SIZE_BYTES_MAX;

/// Longest scalar where a name, a location or a digest belongs. Scripts may be longer.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Most templates that one template may be based on, those of its bases included.
pub const BASES_COUNT_MAX: usize = 100;

/// Deepest nesting of bases of bases. Lima's own templates need 2.
pub const BASE_DEPTH_MAX: usize = 16;

/// Longest locator of a template.
pub const LOCATOR_BYTES_MAX: usize = 4 * 1024;

/// Most entries in each of `images`, `containerd.archives` and `archives`.
pub const FILES_COUNT_MAX: usize = 1_000;

/// Most CPUs of a machine: what `q35` has without an IOMMU.
pub const CPUS_COUNT_MAX: u32 = 255;

/// Least memory of a machine: no Linux with cloud-init boots with less.
pub const MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Most memory or disk of a machine, far above what QEMU can give.
pub const SIZE_BYTES_MAX: u64 = 1 << 60;

/// Longest login name: what `useradd` takes.
pub const USER_NAME_BYTES_MAX: usize = 32;

/// Longest path of a unix socket, without the NUL at its end (`UNIX_PATH_MAX` of Linux is 108 with it).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Most ports of one static forward: each of them listens from the start.
pub const STATIC_PORTS_COUNT_MAX: u16 = 1_000;

/// Largest and default size of the queue of a virtiofs device (`DefaultVirtiofsQueueSize` of Lima).
pub const VIRTIOFS_QUEUE_COUNT_MAX: u32 = 1_024;

/// Deepest nesting of parentheses in a condition. Lima's own templates need 1.
pub const CONDITION_DEPTH_MAX: usize = 8;

/// Longest name of an instance (`pkg/identifiers` of Lima).
pub const INSTANCE_NAME_BYTES_MAX: usize = 76;

/// Longest host name that Linux takes is 64; a label of DNS has one less.
pub const HOST_NAME_BYTES_MAX: usize = 63;

/// Most warnings about one template; the last one counts the rest.
pub const WARNINGS_COUNT_MAX: usize = 20;

/// Longest excerpt of a faulty line in an error message.
pub const EXCERPT_CHARS_MAX: usize = 100;
