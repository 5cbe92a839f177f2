//! A world of its own for each test: home, cache, settings and an environment that lets nothing out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_testkit::image::Image;
use serde_json::Value;
use tempfile::TempDir;

/// A proxy that nobody listens on.
const CLOSED: &str = "http://127.0.0.1:1";

/// The world of one test.
pub(crate) struct TestEnvironment {
    dir: TempDir,
    settings: String,
    peers: String,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A file with everything that names it.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) layout: Layout,
    pub(crate) digest: Digest,
}

impl Sample {
    /// Pseudo-random bytes, imported as `ipfs add --cid-version=1` does.
    pub(crate) fn random(seed: u64, size: usize) -> Self {
        Sample::of(Image::Random(seed).bytes(size))
    }

    /// These bytes, imported in the same way.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let bytes: Arc<[u8]> = bytes.into();
        let layout = import(&bytes, Profile::KuboCidV1.shape()).expect("a layout");
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Sample {
            bytes,
            layout,
            digest,
        }
    }

    pub(crate) fn cid(&self) -> String {
        cid::text(self.layout.root())
    }

    pub(crate) fn file(&self) -> (Layout, Arc<[u8]>) {
        (self.layout.clone(), Arc::clone(&self.bytes))
    }
}

impl TestEnvironment {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("home")).expect("a home");
        fs::create_dir(dir.path().join("in")).expect("a working directory");
        let settings =
            "[network]\nconnect_seconds = 2\nanswer_seconds = 2\nstall_seconds = 0.5\n".to_string();
        TestEnvironment {
            dir,
            settings,
            // Whatever the discovery: neither the public network nor the one of this computer.
            peers: "mdns = false\nbootstrap = []\n".into(),
        }
    }

    /// Section `[peers]`, instead of one that looks for nobody.
    pub(crate) fn set_peers(&mut self, text: &str) {
        self.peers = text.to_owned();
    }

    /// Waits as long as callao does by default: for servers that are slow on purpose.
    #[cfg(feature = "p2p")]
    pub(crate) fn be_patient(&mut self) {
        self.settings.clear();
    }

    /// More lines for the settings file.
    pub(crate) fn set(&mut self, text: &str) {
        self.settings.insert_str(0, text);
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A section at the end of the settings file.
    pub(crate) fn set_section(&mut self, text: &str) {
        self.settings.push_str(text);
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Names of what is left of fetches.
    pub(crate) fn staging(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.cache_dir().join("callao/v1/staging")) else {
            return Vec::new();
        };
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries
            .map(|entry| name(entry.expect("an entry")))
            .collect()
    }

    /// Writes a script that can be run; the directory that it is in.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory");
        fs::write(bin.join(name), text).expect("a script");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bin.join(name), mode).expect("it can be run");
        bin
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("in").join(name)
    }

    /// Writes a file in the working directory.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file is written");
        path
    }

    /// The directory of a location in Lima's cache.
    pub(crate) fn entry(&self, location: &str) -> PathBuf {
        let key = Digest::of(Algorithm::Sha256, location.as_bytes()).hex();
        self.cache_dir()
            .join("lima/download/by-url-sha256")
            .join(key)
    }

    /// A command with nothing of the outside in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let config = self.dir.path().join("config.toml");
        let settings = format!("{}\n[peers]\n{}", self.settings, self.peers);
        fs::write(&config, settings).expect("settings are written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_callao"));
        command
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("XDG_CACHE_HOME", self.cache_dir())
            .env("CALLAO_CONFIG", config)
            .env("CALLAO_DISCOVERY", "none")
            // What a template makes us look for by default is on the public network: nothing is let through.
            .env("HTTPS_PROXY", CLOSED)
            .env("HTTP_PROXY", CLOSED)
            .env("NO_PROXY", "127.0.0.1,localhost,[::1]")
            .current_dir(self.dir.path().join("in"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        Run::of(output.expect("the program starts"))
    }

    /// Runs it; it must succeed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{}", run.stderr);
        run
    }

    /// Starts it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Exit code and stderr with everything that differs from run to run replaced: paths, ports, times and rates.
    pub(crate) fn told(&self, run: &Run) -> String {
        let code = run
            .code
            .map_or("signal".to_string(), |code| code.to_string());
        format!("exit {code}\n{}", self.steady(&run.stderr))
    }

    /// Text with paths, ports, times and rates replaced.
    pub(crate) fn steady(&self, text: &str) -> String {
        let real = fs::canonicalize(self.dir.path()).expect("the directory");
        let text = text
            .replace(&*real.to_string_lossy(), "$DIR")
            .replace(&*self.dir.path().to_string_lossy(), "$DIR");
        text.lines()
            .map(|line| {
                wrapped(&shortened(&without_times(&without_keys(&without_ports(
                    line,
                )))))
                    + "\n"
            })
            .collect()
    }

    /// What is below Lima's cache that nobody should find there: everything but complete entries.
    pub(crate) fn assert_nothing_false_in_lima(&self, good: &Sample) {
        let lima = self.cache_dir().join("lima/download/by-url-sha256");
        let Ok(entries) = fs::read_dir(&lima) else {
            return;
        };
        for entry in entries {
            let dir = entry.expect("an entry").path();
            for file in fs::read_dir(&dir).expect("an entry's files") {
                let name = file
                    .expect("a file")
                    .file_name()
                    .into_string()
                    .expect("a name");
                assert!(!name.contains("tmp"), "rubbish: {}/{name}", dir.display());
            }
            if dir.join("data").exists() {
                assert!(
                    fs::read(dir.join("data")).expect("data") == *good.bytes,
                    "wrong bytes in {}",
                    dir.display()
                );
            } else {
                assert!(
                    !dir.join("sha256.digest").exists(),
                    "a mark without data in {}",
                    dir.display()
                );
            }
        }
    }
}

impl Run {
    /// What a program left.
    pub(crate) fn of(output: std::process::Output) -> Self {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The objects of `--json`.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// The last object of this type.
    pub(crate) fn last(&self, kind: &str) -> Value {
        let all = self.json();
        all.iter()
            .rfind(|value| value["type"] == kind)
            .cloned()
            .unwrap_or_else(|| panic!("no {kind}: {}", self.stdout))
    }

    /// The paths on stdout.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        self.stdout.lines().map(Path::new).collect()
    }
}

/// `127.0.0.1:12345` becomes `127.0.0.1:PORT`.
fn without_ports(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("127.0.0.1:") {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        out.extend([before, "127.0.0.1:PORT"]);
        rest = &after[digits..];
    }
    out + rest
}

/// The key of an entry depends on the port of its location.
fn without_keys(line: &str) -> String {
    let Some((before, after)) = line.split_once("by-url-sha256/") else {
        return line.to_string();
    };
    let hex = after.bytes().take_while(u8::is_ascii_hexdigit).count();
    format!("{before}by-url-sha256/KEY{}", without_keys(&after[hex..]))
}

/// Long lines go on in the next one, so that a snapshot can be read.
fn wrapped(line: &str) -> String {
    const WIDTH: usize = 110;
    let (mut out, mut width) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        if width > 0 && width + word.len() > WIDTH {
            out.push_str("\n      ");
            width = 6;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

/// CIDs and digests keep their first characters only.
fn shortened(line: &str) -> String {
    const KEPT: usize = 12;
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let mut out = String::new();
    let mut word = String::new();
    for c in line.chars().chain(std::iter::once(' ')) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        let is_name = word.len() == 64 || (word.len() > 50 && word.starts_with("baf"));
        match is_name {
            true => out.extend([&word[..KEPT], "..."]),
            false => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

/// Numbers before `s` and before rates become `N`.
fn without_times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_timed = |next: &&str| *next == "s" || next.starts_with("ms") || next.contains("B/s");
    let change = |(index, word): (usize, &&str)| {
        let number = word.trim_start_matches('(');
        let timed = words.get(index + 1).is_some_and(is_timed) && number.parse::<f64>().is_ok();
        if timed {
            word.replace(number, "N")
        } else {
            (*word).to_string()
        }
    };
    let joined: Vec<String> = words.iter().enumerate().map(change).collect();
    ["GiB/s", "MiB/s", "KiB/s"]
        .iter()
        .fold(joined.join(" "), |text, unit| text.replace(unit, "B/s"))
}
