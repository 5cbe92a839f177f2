//! Virtual machines for the rows that need some: a world of their own for callao, the tiny guest held in its cache, and
//! the moment when a guest answers. Must not know what is claimed of any of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callao_testkit::real::{Nginx, TinyGuest};
use serde_json::Value;

use crate::Outcome;
use crate::measure;
use crate::scene::{Scene, digest_of};

pub(crate) mod answer;
pub(crate) mod bare;
pub(crate) mod lima;

/// A guest takes 5 s on a quiet computer without KVM.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Name of the tiny image below [`Scene::files`].
const TINY: &str = "tiny.qcow2";
/// Pause between two looks at a child.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The machines of one row. All of them are ended and removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Machines<'a> {
    scene: &'a Scene,
    root: PathBuf,
    server: Nginx,
}

impl<'a> Machines<'a> {
    /// An empty world. Its path is short: sockets lie in it.
    pub(crate) fn new(scene: &'a Scene) -> Outcome<Self> {
        let root = scene.lasting("vm");
        fs::create_dir_all(&root)?;
        Ok(Self {
            scene,
            root,
            server: scene.nginx(None)?,
        })
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A callao command in this world. QEMU's own translator runs the guests, on every computer: what it costs to get to
    /// the guest's first instruction is callao's, and does not depend on it.
    pub(crate) fn callao(&self, arguments: &[&str]) -> Command {
        let mut command = self.scene.callao_in(&self.root, arguments);
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CALLAO_ACCELERATOR", "tcg");
        command
    }

    /// Runs one to its end, and says what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<String> {
        measure::run(&mut self.callao(arguments), self.scene.notes())?;
        measure::stdout(self.scene.notes())
    }

    /// Directory of an instance.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.root.join("home/data/callao/instances").join(name)
    }

    /// What `callao list --json` says of an instance.
    pub(crate) fn known(&self, name: &str) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.run(&["list", "--json", name])?)?)
    }

    /// A process of an instance, by its key in `callao list --json`.
    pub(crate) fn process(&self, name: &str, key: &str) -> Outcome<u32> {
        let id = self.known(name)?[key]
            .as_u64()
            .and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("instance {name} has no {key}").into())
    }

    /// Writes a template of an image that the web server has, and fetches it, so that it is held.
    /// The template and the path in the cache.
    pub(crate) fn held(&self, image: &str, more: &str) -> Outcome<(String, PathBuf)> {
        let url = self.server.url(image);
        let digest = digest_of(&self.scene.files().join(image))?;
        let template = self.root.join(image).with_extension("yaml");
        let text = format!(
            "vmType: qemu\narch: x86_64\nimages:\n- location: \"{url}\"\n  arch: x86_64\n  digest: \"{digest}\"\n\
             mounts: []\ncontainerd:\n  system: false\n  user: false\n{more}"
        );
        fs::write(&template, text)?;
        let template = template.display().to_string();
        let path = self.run(&["get", &template, "--no-progress"])?;
        Ok((template, path.into()))
    }

    /// A template of the tiny guest with its image held, that has its ssh at `port`.
    pub(crate) fn tiny(&self, port: u16) -> Outcome<String> {
        let tiny = TinyGuest::find().ok_or("there is no tiny guest, or no QEMU")?;
        let path = self.scene.files().join(TINY);
        if !path.exists() {
            fs::copy(&tiny.guest.qcow2, path)?;
        }
        let more = format!(
            "cpus: 1\nmemory: 512MiB\ndisk: 1GiB\nfirmware:\n  legacyBIOS: true\nssh:\n  localPort: {port}\n"
        );
        Ok(self.held(TINY, &more)?.0)
    }

    /// Ends and removes an instance, if there is one.
    pub(crate) fn delete(&self, name: &str) -> Outcome<()> {
        self.run(&["delete", "--force", name]).map(drop)
    }

    /// `callao start` in the background.
    pub(crate) fn start(&self, name: &str) -> Outcome<Child> {
        let mut command = self.callao(&["start", name]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.said())?);
        Ok(command.spawn()?)
    }

    /// Waits until it has ended well.
    pub(crate) fn started(&self, start: &mut Child) -> Outcome<()> {
        let since = Instant::now();
        loop {
            match start.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let said = fs::read_to_string(self.said())?;
                    return Err(format!("callao start ended with {status}:\n{said}").into());
                }
                None if since.elapsed() > BOOT_LIMIT => {
                    return Err("callao start does not end".into());
                }
                None => std::thread::sleep(LOOK_PAUSE),
            }
        }
    }

    fn said(&self) -> PathBuf {
        self.root.join("start.stderr")
    }
}

impl Drop for Machines<'_> {
    fn drop(&mut self) {
        let names = self.run(&["list", "-q"]).unwrap_or_default();
        for name in names.lines() {
            drop(self.delete(name));
        }
    }
}
