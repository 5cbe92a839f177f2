//! What is meant: flags over environment over settings file over `default-config.toml`. Opens no socket and makes no
//! decision about a fetch; paths are made absolute here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use callao_vm::qemu::accel::{Accel, Choice};

use crate::cli::{Common, Discovery, SourceArgs};
use crate::env_vars;
use crate::error::CommandError;
use crate::host::{self, Host};

pub(crate) mod serve;

pub use serve::ServeSettings;

/// The embedded defaults: the file is the documentation.
pub const DEFAULT_CONFIG: &str = include_str!("default-config.toml");

const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
const LOCK_SECONDS_MAX: u64 = 24 * 3600;

/// Everything that can be set, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// The directory that holds `lima/` and `callao/`.
    pub cache_dir: PathBuf,
    /// Where callao may look on its own.
    pub discovery: Discovery,
    /// No socket at all.
    pub offline: bool,
    /// Trustless gateways of the settings, asked with discovery `public`.
    pub gateways: Vec<String>,
    /// `$IPFS_GATEWAY`: named by the user, so asked in any case.
    pub named_gateway: Option<String>,
    /// Delegated routers.
    pub routers: Vec<String>,
    /// Repository of a kubo on this computer, whether it exists or not.
    pub kubo_repository: Option<PathBuf>,
    /// RPC address of a kubo on this computer, when the settings name one.
    pub kubo_api: Option<String>,
    /// Peers.
    pub peers: PeerSettings,
    /// What `callao serve` does.
    pub serve: ServeSettings,
    /// Hosts of registries to which plain http is spoken.
    pub allow_http: Vec<String>,
    /// `REGISTRY=HOST`: token servers of another name.
    pub token_servers: Vec<String>,
    /// What runs virtual machines.
    pub accelerator: Choice,
    /// How long to wait for a lock.
    pub lock_wait: Duration,
    /// Time to open a connection.
    pub connect: Duration,
    /// Time until a server answers.
    pub answer: Duration,
    /// Time without a byte after which a transfer is dead.
    pub stall: Duration,
}

/// Section `[peers]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Multiaddrs of peers that are always asked.
    pub connect: Vec<String>,
    /// Whether the local network is asked (discovery `public` and `lan`).
    pub mdns: bool,
    /// Multiaddrs where the public DHT begins (discovery `public`); empty: it is not asked.
    pub bootstrap: Vec<String>,
}

/// What flags of a command override.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--discovery`.
    pub discovery: Option<Discovery>,
    /// `--offline`.
    pub offline: bool,
    /// `--lock-seconds`.
    pub lock_seconds: Option<u64>,
}

impl Overrides {
    /// The flags of a command that fetches.
    pub fn of(args: &SourceArgs) -> Self {
        Overrides {
            discovery: args.discovery,
            offline: args.offline,
            lock_seconds: args.lock_seconds,
        }
    }
}

impl Settings {
    /// Decides everything.
    ///
    /// # Errors
    /// Usage: a settings file that cannot be read or has a wrong value, a variable with a wrong value.
    pub fn resolve(
        host: &Host,
        common: &Common,
        overrides: &Overrides,
    ) -> Result<Settings, CommandError> {
        let mut file = parse(DEFAULT_CONFIG, Path::new("default-config.toml"))?;
        let mut read = None;
        if let Some((path, text)) = read_file(host, common)? {
            file.take_over(parse(&text, &path)?);
            read = Some(path);
        }
        file.environment(host)?;
        Ok(Settings {
            file: read,
            ..file.decide(host, common, overrides)?
        })
    }
}

/// A settings file as it stands: every value may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    discovery: Option<Discovery>,
    gateways: Option<Vec<String>>,
    routers: Option<Vec<String>>,
    offline: Option<bool>,
    cache_dir: Option<String>,
    #[serde(default)]
    kubo: Kubo,
    #[serde(default)]
    peers: Peers,
    #[serde(default)]
    serve: serve::Section,
    #[serde(default)]
    registries: Registries,
    #[serde(default)]
    machines: Machines,
    #[serde(default)]
    locks: Locks,
    #[serde(default)]
    network: Network,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kubo {
    repository: Option<String>,
    api: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    connect: Option<Vec<String>>,
    mdns: Option<bool>,
    bootstrap: Option<Vec<String>>,
}

impl Peers {
    fn take_over(&mut self, stronger: Peers) {
        let weaker = std::mem::take(self);
        *self = Peers {
            connect: stronger.connect.or(weaker.connect),
            mdns: stronger.mdns.or(weaker.mdns),
            bootstrap: stronger.bootstrap.or(weaker.bootstrap),
        };
    }

    fn decide(self) -> PeerSettings {
        PeerSettings {
            connect: self.connect.unwrap_or_default(),
            mdns: self.mdns.unwrap_or(false),
            bootstrap: self.bootstrap.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registries {
    allow_http: Option<Vec<String>>,
    token_servers: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machines {
    accelerator: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locks {
    wait_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    connect_seconds: Option<f64>,
    answer_seconds: Option<f64>,
    stall_seconds: Option<f64>,
}

impl File {
    /// Takes every value that `stronger` has.
    fn take_over(&mut self, stronger: File) {
        fn over<T>(weak: &mut Option<T>, strong: Option<T>) {
            if strong.is_some() {
                *weak = strong;
            }
        }
        over(&mut self.discovery, stronger.discovery);
        over(&mut self.gateways, stronger.gateways);
        over(&mut self.routers, stronger.routers);
        over(&mut self.offline, stronger.offline);
        over(&mut self.cache_dir, stronger.cache_dir);
        over(&mut self.kubo.repository, stronger.kubo.repository);
        over(&mut self.kubo.api, stronger.kubo.api);
        self.peers.take_over(stronger.peers);
        self.serve.take_over(stronger.serve);
        let (mine, theirs) = (&mut self.registries, stronger.registries);
        over(&mut mine.allow_http, theirs.allow_http);
        over(&mut mine.token_servers, theirs.token_servers);
        over(
            &mut self.machines.accelerator,
            stronger.machines.accelerator,
        );
        over(&mut self.locks.wait_seconds, stronger.locks.wait_seconds);
        over(
            &mut self.network.connect_seconds,
            stronger.network.connect_seconds,
        );
        over(
            &mut self.network.answer_seconds,
            stronger.network.answer_seconds,
        );
        over(
            &mut self.network.stall_seconds,
            stronger.network.stall_seconds,
        );
    }

    /// Takes what the environment says.
    fn environment(&mut self, host: &Host) -> Result<(), CommandError> {
        use clap::ValueEnum;
        if let Some(text) = host.text_variable(env_vars::CALLAO_DISCOVERY) {
            let scope = Discovery::from_str(&text, true).map_err(|_| {
                CommandError::usage(format!(
                    "$CALLAO_DISCOVERY is `{text}`; it is public, lan or none"
                ))
            })?;
            self.discovery = Some(scope);
        }
        if let Some(text) = host.text_variable(env_vars::CALLAO_OFFLINE) {
            self.offline = Some(!matches!(text.as_str(), "0" | "false" | "no"));
        }
        if let Some(text) = host.text_variable(env_vars::CALLAO_LOCK_SECONDS) {
            let seconds = text.parse().map_err(|_| {
                CommandError::usage(format!(
                    "$CALLAO_LOCK_SECONDS is `{text}`, not a number of seconds"
                ))
            })?;
            self.locks.wait_seconds = Some(seconds);
        }
        if let Some(text) = host.text_variable(env_vars::CALLAO_CACHE_DIR) {
            self.cache_dir = Some(text);
        }
        if let Some(text) = host.text_variable(env_vars::IPFS_PATH) {
            self.kubo
                .repository
                .get_or_insert_default()
                .clone_from(&text);
        }
        Ok(())
    }

    fn decide(
        self,
        host: &Host,
        common: &Common,
        overrides: &Overrides,
    ) -> Result<Settings, CommandError> {
        let named = self
            .cache_dir
            .filter(|text| !text.is_empty())
            .map(|text| host.path(&text));
        let cache_dir = match common
            .cache_dir
            .as_ref()
            .map(|dir| host.working_dir.join(dir))
            .or(named)
        {
            Some(dir) => dir,
            None => host.user_cache_dir().map_err(CommandError::usage)?,
        };
        let repository = self
            .kubo
            .repository
            .filter(|text| !text.is_empty())
            .map(|text| host.path(&text));
        let accelerator = accelerator(host, self.machines.accelerator.as_deref())?;
        let lock_seconds = overrides
            .lock_seconds
            .or(self.locks.wait_seconds)
            .unwrap_or(0)
            .min(LOCK_SECONDS_MAX);
        Ok(Settings {
            file: None,
            cache_dir,
            discovery: overrides
                .discovery
                .or(self.discovery)
                .unwrap_or(Discovery::None),
            offline: overrides.offline || self.offline.unwrap_or(false),
            gateways: self.gateways.unwrap_or_default(),
            named_gateway: host.text_variable(env_vars::IPFS_GATEWAY),
            routers: self.routers.unwrap_or_default(),
            kubo_repository: repository.or_else(|| host.home().map(|home| home.join(".ipfs"))),
            kubo_api: self.kubo.api.filter(|text| !text.is_empty()),
            peers: self.peers.decide(),
            serve: self.serve.decide()?,
            allow_http: self.registries.allow_http.unwrap_or_default(),
            token_servers: self.registries.token_servers.unwrap_or_default(),
            accelerator,
            lock_wait: Duration::from_secs(lock_seconds),
            connect: seconds("network.connect_seconds", self.network.connect_seconds)?,
            answer: seconds("network.answer_seconds", self.network.answer_seconds)?,
            stall: seconds("network.stall_seconds", self.network.stall_seconds)?,
        })
    }
}

/// The variable counts more than the file.
fn accelerator(host: &Host, in_file: Option<&str>) -> Result<Choice, CommandError> {
    let named = host.text_variable(env_vars::CALLAO_ACCELERATOR);
    let (from, text) = match &named {
        Some(text) => ("$CALLAO_ACCELERATOR", text.as_str()),
        None => ("machines.accelerator", in_file.unwrap_or("auto")),
    };
    match text {
        "auto" => Ok(Choice::Auto),
        "kvm" => Ok(Choice::Force(Accel::Kvm)),
        "tcg" => Ok(Choice::Force(Accel::Tcg)),
        other => Err(CommandError::usage(format!(
            "{from} is `{other}`; it is auto, kvm or tcg"
        ))),
    }
}

fn seconds(name: &str, value: Option<f64>) -> Result<Duration, CommandError> {
    let value = value.unwrap_or_default();
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| CommandError::usage(format!("{name} is {value}; it must be more than 0")))
}

/// The settings file and its text. One that is named must be there; the usual one need not.
fn read_file(host: &Host, common: &Common) -> Result<Option<(PathBuf, String)>, CommandError> {
    let named = common
        .config
        .as_ref()
        .map(|path| host.working_dir.join(path))
        .or_else(|| {
            host.text_variable(env_vars::CALLAO_CONFIG)
                .map(|text| host.path(&text))
        });
    let must_exist = named.is_some();
    let Some(path) = named.or_else(|| host.config_file()) else {
        return Ok(None);
    };
    match host::read_small_file(&path, CONFIG_BYTES_MAX) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path, text))),
            Err(_) => Err(CommandError::usage(format!(
                "settings `{}` are not UTF-8 text",
                path.display()
            ))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(CommandError::usage(format!(
            "failed to read settings `{}`: {error}",
            path.display()
        ))),
    }
}

fn parse(text: &str, path: &Path) -> Result<File, CommandError> {
    toml::from_str(text).map_err(|error| {
        CommandError::usage(format!(
            "settings `{}`: {}",
            path.display(),
            error.to_string().trim_end()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: &Host, overrides: &Overrides) -> Result<Settings, CommandError> {
        Settings::resolve(host, &Common::default(), overrides)
    }

    #[test]
    fn the_embedded_file_is_the_defaults() {
        let settings = resolve(
            &Host::with_variables([("HOME", "/nowhere")]),
            &Overrides::default(),
        )
        .expect("defaults");
        assert_eq!(settings.discovery, Discovery::Public);
        assert_eq!(settings.kubo_repository, Some("/nowhere/.ipfs".into()));
        assert_eq!(
            (settings.lock_wait.as_secs(), settings.stall.as_secs()),
            (600, 30)
        );
        assert!(!settings.offline && settings.gateways.len() == 4 && settings.routers.len() == 2);
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let host = Host::with_variables([
            ("HOME", "/nowhere"),
            ("CALLAO_DISCOVERY", "lan"),
            ("CALLAO_OFFLINE", "1"),
            ("CALLAO_CACHE_DIR", "/c"),
            ("IPFS_PATH", "/repo"),
            ("CALLAO_LOCK_SECONDS", "3"),
        ]);
        let from_environment = resolve(&host, &Overrides::default()).expect("settings");
        assert_eq!(from_environment.discovery, Discovery::Lan);
        assert!(from_environment.offline);
        assert_eq!(from_environment.cache_dir, PathBuf::from("/c"));
        assert_eq!(from_environment.kubo_repository, Some("/repo".into()));
        assert_eq!(from_environment.lock_wait.as_secs(), 3);
        let flags = Overrides {
            discovery: Some(Discovery::None),
            offline: false,
            lock_seconds: Some(1),
        };
        let from_flags = resolve(&host, &flags).expect("settings");
        assert_eq!(
            (from_flags.discovery, from_flags.lock_wait.as_secs()),
            (Discovery::None, 1)
        );
    }

    #[test]
    fn a_settings_file_overrides_value_by_value() {
        let mut file = parse(DEFAULT_CONFIG, Path::new("d")).expect("defaults");
        file.take_over(
            parse(
                "discovery = \"none\"\n[network]\nstall_seconds = 0.5\n",
                Path::new("f"),
            )
            .expect("file"),
        );
        assert_eq!(file.discovery, Some(Discovery::None));
        assert_eq!(
            (file.network.stall_seconds, file.network.connect_seconds),
            (Some(0.5), Some(5.0))
        );
    }

    #[test]
    fn wrong_values_are_named() {
        let wrong = Host::with_variables([("HOME", "/nowhere"), ("CALLAO_DISCOVERY", "all")]);
        let error = resolve(&wrong, &Overrides::default()).expect_err("no such scope");
        assert_eq!(
            error.message,
            "$CALLAO_DISCOVERY is `all`; it is public, lan or none"
        );
        let wrong = Host::with_variables([("HOME", "/nowhere"), ("CALLAO_ACCELERATOR", "hvf")]);
        let error = resolve(&wrong, &Overrides::default()).expect_err("no such accelerator");
        assert_eq!(
            error.message,
            "$CALLAO_ACCELERATOR is `hvf`; it is auto, kvm or tcg"
        );
        assert!(parse("no_such_key = 1", Path::new("f")).is_err());
        assert!(parse("discovery = \"all\"", Path::new("f")).is_err());
    }
}
