//! The scene of the benchmark: directories, images with their names, the callao binary, kubo's repository.
//!
//! Everything lies in one directory on one file system and is deleted at the end.

use std::cell::OnceCell;
use std::fs;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use callao_testkit::image::Image;
use callao_testkit::real::{Kubo, Nginx, NginxOptions};
use tempfile::TempDir;

use crate::Outcome;
use crate::cli::Options;

/// Name of the image below [`Scene::files`].
pub(crate) const IMAGE: &str = "image.img";
/// The same file under a second name.
pub(crate) const OTHER: &str = "other.img";
/// Name of an image of the same size with other bytes.
pub(crate) const SECOND: &str = "second.img";
/// Name of the image for what is slow over long distances.
pub(crate) const FAR: &str = "far.img";
/// Its size: large enough that start and end do not count, small enough that 7 MiB/s are no matter of minutes.
const FAR_BYTES: u64 = 64 << 20;
/// Name of a file of one leaf.
pub(crate) const LEAF: &str = "leaf.img";
const LEAF_BYTES: u64 = 256 << 10;
/// Name of the large image.
pub(crate) const BIG: &str = "big.img";

/// A file and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Below the web server's root.
    pub(crate) name: &'static str,
    /// Bytes.
    pub(crate) size: u64,
    /// `sha256:HEX`, by openssl.
    pub(crate) digest: String,
    /// By `ipfs add --cid-version=1`.
    pub(crate) cid: String,
}

impl Subject {
    /// In MiB.
    pub(crate) fn mib(&self) -> f64 {
        self.size as f64 / (1 << 20) as f64
    }
}

/// Where everything happens.
#[derive(Debug)]
pub(crate) struct Scene {
    root: TempDir,
    notes: PathBuf,
    callao: PathBuf,
    runs: usize,
    size: u64,
    big_size: u64,
    image: OnceCell<Subject>,
    second: OnceCell<Subject>,
    big: OnceCell<Subject>,
    far: OnceCell<Subject>,
    leaf: OnceCell<Subject>,
    kubo: OnceCell<Kubo>,
}

impl Scene {
    /// Makes the directories and finds callao: `CALLAO_BIN`, else beside this binary.
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().ok_or("this binary is in no directory")?;
        let callao =
            std::env::var_os("CALLAO_BIN").map_or_else(|| beside.join("callao"), PathBuf::from);
        if !callao.is_file() {
            return Err(format!("no callao at {}: cargo build --release", callao.display()).into());
        }
        let parent = options.directory.as_deref().unwrap_or(beside);
        fs::create_dir_all(parent)?;
        let root = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(parent.canonicalize()?)?;
        for name in ["files", "notes", "scratch"] {
            fs::create_dir(root.path().join(name))?;
        }
        let scene = Self {
            notes: root.path().join("notes"),
            root,
            callao,
            runs: options.runs,
            size: options.size,
            big_size: options.big,
            image: OnceCell::new(),
            second: OnceCell::new(),
            big: OnceCell::new(),
            far: OnceCell::new(),
            leaf: OnceCell::new(),
            kubo: OnceCell::new(),
        };
        scene.fresh()?;
        Ok(scene)
    }

    /// Rounds.
    pub(crate) fn runs(&self) -> usize {
        self.runs
    }

    /// What the web servers serve.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.path().join("files")
    }

    /// Where the output of the commands goes.
    pub(crate) fn notes(&self) -> &Path {
        &self.notes
    }

    /// Where the commands write; empty before each.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.path().join("scratch")
    }

    /// The cache that callao and limactl use.
    pub(crate) fn cache(&self) -> PathBuf {
        self.scratch().join("cache")
    }

    /// Deletes what earlier commands wrote, and warms the memory that the next one will write its file to: on a virtual
    /// machine the first touch of a page can cost more than everything else that is measured here.
    pub(crate) fn fresh(&self) -> Outcome<()> {
        let scratch = self.scratch();
        fs::remove_dir_all(&scratch)?;
        fs::create_dir_all(scratch.join("cache"))?;
        let path = scratch.join("warm");
        let mut warm = fs::File::create(&path)?;
        let piece = vec![1; 1 << 20];
        for _ in 0..2 * self.size / piece.len() as u64 {
            std::io::Write::write_all(&mut warm, &piece)?;
        }
        drop(warm);
        fs::remove_file(path)?;
        Ok(())
    }

    /// Where something lives that stays from round to round.
    pub(crate) fn lasting(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A callao command that knows nothing of this computer: its own directories, no discovery.
    pub(crate) fn callao(&self, arguments: &[&str]) -> Command {
        self.callao_in(&self.scratch(), arguments)
    }

    /// The same with `directory` as its world.
    pub(crate) fn callao_in(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.callao);
        let home = directory.join("home");
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", directory.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("CALLAO_DISCOVERY", "none");
        command
    }

    /// `callao get` of `what` with more arguments.
    pub(crate) fn get(&self, what: &str, arguments: &[&str]) -> Command {
        let mut command = self.callao(&["get", what, "--no-progress", "--discovery", "none"]);
        command.args(arguments);
        command
    }

    /// A pipeline as a user types it.
    pub(crate) fn shell(&self, text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]).current_dir(self.scratch());
        command
    }

    /// The image, made and named when first asked for.
    pub(crate) fn image(&self) -> Outcome<&Subject> {
        if self.image.get().is_none() {
            let subject = self.make(IMAGE, self.size, 450)?;
            fs::hard_link(&subject.path, self.files().join(OTHER))?;
            drop(self.image.set(subject));
        }
        self.image.get().ok_or_else(|| "no image".into())
    }

    /// As large as the image, with other bytes.
    pub(crate) fn second(&self) -> Outcome<&Subject> {
        if self.second.get().is_none() {
            drop(self.second.set(self.make(SECOND, self.size, 451)?));
        }
        self.second.get().ok_or_else(|| "no image".into())
    }

    /// The large image.
    pub(crate) fn big(&self) -> Outcome<&Subject> {
        if self.big.get().is_none() {
            drop(self.big.set(self.make(BIG, self.big_size, 4096)?));
        }
        self.big.get().ok_or_else(|| "no image".into())
    }

    /// The image for what is slow over long distances.
    pub(crate) fn far(&self) -> Outcome<&Subject> {
        if self.far.get().is_none() {
            drop(self.far.set(self.make(FAR, FAR_BYTES, 64)?));
        }
        self.far.get().ok_or_else(|| "no image".into())
    }

    /// A file of one leaf.
    pub(crate) fn leaf(&self) -> Outcome<&Subject> {
        if self.leaf.get().is_none() {
            drop(self.leaf.set(self.make(LEAF, LEAF_BYTES, 256)?));
        }
        self.leaf.get().ok_or_else(|| "no image".into())
    }

    /// kubo's repository, empty at first.
    pub(crate) fn kubo(&self) -> Outcome<&Kubo> {
        if self.kubo.get().is_none() {
            let kubo = Kubo::init(&self.root.path().join("kubo"), &[]).ok_or("there is no kubo")?;
            drop(self.kubo.set(kubo));
        }
        self.kubo.get().ok_or_else(|| "no kubo".into())
    }

    /// A web server of [`Scene::files`], with a limit in bytes per second.
    pub(crate) fn nginx(&self, rate: Option<u64>) -> Outcome<Nginx> {
        let options = NginxOptions {
            rate,
            ..NginxOptions::default()
        };
        Ok(Nginx::start(&self.files(), &options).ok_or("there is no nginx")?)
    }

    /// Whether the file at `path` is `subject`: by size each time, and by openssl if `whole`.
    pub(crate) fn check(&self, path: &Path, subject: &Subject, whole: bool) -> Outcome<()> {
        let size = fs::metadata(path)
            .map_err(|error| format!("{}: {error}", path.display()))?
            .len();
        if size != subject.size || whole && digest_of(path)? != subject.digest {
            return Err(format!("{} is not {}", path.display(), subject.name).into());
        }
        Ok(())
    }

    /// Writes an image, has it named by others than callao, and leaves it in the page cache.
    fn make(&self, name: &'static str, size: u64, seed: u64) -> Outcome<Subject> {
        let path = self.files().join(name);
        let mut file = BufWriter::new(fs::File::create(&path)?);
        Image::Random(seed).write_to(size, &mut file)?;
        file.flush()?;
        drop(file);
        let digest = digest_of(&path)?;
        let cid = self.kubo()?.add(&path, &["--only-hash", "--cid-version=1"]);
        warm(&path)?;
        Ok(Subject {
            path,
            name,
            size,
            digest,
            cid,
        })
    }
}

/// `sha256:HEX` of a file by `openssl dgst`.
pub(crate) fn digest_of(path: &Path) -> Outcome<String> {
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-r"])
        .arg(path)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hex = text
        .split(' ')
        .next()
        .filter(|hex| hex.len() == 64)
        .ok_or("openssl dgst failed")?;
    Ok(format!("sha256:{hex}"))
}

fn warm(path: &Path) -> Outcome<()> {
    let (mut file, mut buffer) = (fs::File::open(path)?, vec![0; 1 << 20]);
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}
