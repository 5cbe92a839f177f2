//! Every environment variable that callao itself reads, each named once. Reading them is `host`'s business.

/// `public`, `lan` or `none`: where callao may look besides the places that are named.
pub const CALLAO_DISCOVERY: &str = "CALLAO_DISCOVERY";
/// The settings file, instead of the one in the configuration directory.
pub const CALLAO_CONFIG: &str = "CALLAO_CONFIG";
/// The directory that holds `lima/` and `callao/`, instead of the user's cache directory.
pub const CALLAO_CACHE_DIR: &str = "CALLAO_CACHE_DIR";
/// `1`: open no socket at all.
pub const CALLAO_OFFLINE: &str = "CALLAO_OFFLINE";
/// Seconds to wait for a lock that another process holds.
pub const CALLAO_LOCK_SECONDS: &str = "CALLAO_LOCK_SECONDS";
/// The limactl to work with, instead of the first one on `PATH`.
pub const CALLAO_LIMACTL: &str = "CALLAO_LIMACTL";
/// `auto`, `kvm` or `tcg`: what runs the guests.
pub const CALLAO_ACCELERATOR: &str = "CALLAO_ACCELERATOR";
/// The QEMU for x86_64 guests, with arguments; Lima reads it too.
pub const QEMU_SYSTEM_X86_64: &str = "QEMU_SYSTEM_X86_64";
/// The QEMU for aarch64 guests, with arguments; Lima reads it too.
pub const QEMU_SYSTEM_AARCH64: &str = "QEMU_SYSTEM_AARCH64";
/// The ssh client, with arguments; Lima reads it too.
pub const SSH: &str = "SSH";
/// Lima's directory: instances, templates, settings.
pub const LIMA_HOME: &str = "LIMA_HOME";
/// Set by the completion scripts: the shell that wants to know how a command line can go on.
pub const CALLAO_COMPLETE: &str = "CALLAO_COMPLETE";
/// Where programs are looked for.
pub const PATH: &str = "PATH";
/// Directories of templates, instead of Lima's usual ones.
pub const LIMA_TEMPLATES_PATH: &str = "LIMA_TEMPLATES_PATH";
/// A gateway to ask, as curl and ffmpeg read it.
pub const IPFS_GATEWAY: &str = "IPFS_GATEWAY";
/// The kubo repository.
pub const IPFS_PATH: &str = "IPFS_PATH";
/// Base of the cache directory on Linux; Lima reads it too.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Base of the configuration directory.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Base of the data directory: virtual machines, and files that came by the dashboard.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// Base of the state directory: the key of the node, and where the running daemon is found.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// The home directory.
pub const HOME: &str = "HOME";
/// Cache base on Windows.
pub const LOCAL_APP_DATA: &str = "LocalAppData";
/// A file of certificates to trust, instead of those of the system.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// A directory of them.
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// Proxies, in the spellings that the HTTP client reads.
pub const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];
/// Directory of Docker's `config.json`, which has logins for registries.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// podman's file with logins for registries, instead of all others.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// Below it podman keeps logins for registries.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Set to anything: no colours.
pub const NO_COLOR: &str = "NO_COLOR";
/// `dumb`: no progress bar, no colours.
pub const TERM: &str = "TERM";

/// Each variable and what it does, for the help and the man page.
pub const TABLE: &[(&str, &str)] = &[
    (
        CALLAO_DISCOVERY,
        "public, lan or none: where to look besides the places that are named",
    ),
    (CALLAO_CONFIG, "settings file"),
    (CALLAO_CACHE_DIR, "directory that holds lima/ and callao/"),
    (CALLAO_OFFLINE, "1: open no socket at all"),
    (
        CALLAO_LOCK_SECONDS,
        "how long to wait for a lock of another process",
    ),
    (
        CALLAO_LIMACTL,
        "the limactl to work with (default: the first one on PATH)",
    ),
    (
        CALLAO_ACCELERATOR,
        "auto, kvm or tcg: what runs virtual machines",
    ),
    (
        "QEMU_SYSTEM_X86_64, QEMU_SYSTEM_AARCH64",
        "the QEMU to run, with arguments (default: the first one on PATH)",
    ),
    (SSH, "the ssh client to use, with arguments"),
    (
        LIMA_HOME,
        "Lima's directory: instances, _templates/, _config/ (default ~/.lima)",
    ),
    (
        LIMA_TEMPLATES_PATH,
        "directories of templates, instead of those of Lima",
    ),
    (IPFS_GATEWAY, "a gateway to ask"),
    (IPFS_PATH, "kubo repository (default ~/.ipfs)"),
    (
        XDG_CACHE_HOME,
        "base of the cache, as Lima reads it (default ~/.cache)",
    ),
    (
        XDG_CONFIG_HOME,
        "base of callao/config.toml (default ~/.config)",
    ),
    (
        XDG_DATA_HOME,
        "base of callao/, where virtual machines are (default ~/.local/share)",
    ),
    (
        XDG_STATE_HOME,
        "base of callao/, where callao serve keeps its key (default ~/.local/state)",
    ),
    (
        DOCKER_CONFIG,
        "directory of Docker's config.json, for logins (default ~/.docker)",
    ),
    (
        REGISTRY_AUTH_FILE,
        "podman's file with logins for registries, instead of all others",
    ),
    (NO_COLOR, "set: no colours"),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY, ALL_PROXY", "proxies"),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "certificates to trust, instead of the system's",
    ),
];

/// The table as text, one variable a line.
pub fn table() -> String {
    TABLE
        .iter()
        .map(|(name, meaning)| format!("  {name}\n          {meaning}\n"))
        .collect()
}
