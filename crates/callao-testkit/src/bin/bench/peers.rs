//! Peers of the rows: a kubo and a callao that hold the images, and what fetches from them.
//!
//! Holders stay as they are from round to round; a taker begins with nothing each time. All of them are on loopback and
//! know only the peers that they are told of.

use std::cell::{Cell, RefCell};
use std::path::Path;

use callao_testkit::real::{Daemon, Kubo, Serve};

use crate::Outcome;
use crate::process;
use crate::rounds::Variant;
use crate::scene::{Scene, Subject};

/// How `ipfs get` and callao may wait at most.
const GET_SECONDS: u32 = 900;
/// What `ipfs add` is told for leaves of 1 MiB, and callao.
const LARGE_LEAVES: [&str; 3] = [
    "--cid-version=1",
    "--chunker=size-1048576",
    "--max-file-links=1024",
];
/// callao's name for what `--cid-version=1` makes.
pub(crate) const SMALL_PROFILE: &str = "kubo-cid-v1";
/// callao's name for leaves of 1 MiB.
const LARGE_PROFILE: &str = "unixfs-v1-2025";

/// The two names of a file.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Leaves of 256 KiB.
    pub(crate) small: String,
    /// Leaves of 1 MiB.
    pub(crate) large: String,
}

/// A kubo that holds files, its daemon running.
#[derive(Debug)]
pub(crate) struct KuboHolder<'a> {
    /// The repository.
    pub(crate) kubo: &'a Kubo,
    /// Its daemon.
    pub(crate) daemon: RefCell<Daemon>,
}

impl<'a> KuboHolder<'a> {
    /// Stores `file` under both names and starts the daemon.
    pub(crate) fn start(scene: &'a Scene, files: &[&Subject]) -> Outcome<(Self, Vec<Names>)> {
        let kubo = scene.kubo()?;
        let mut named = Vec::new();
        for file in files {
            let small = kubo.add(&file.path, &["--cid-version=1"]);
            let large = kubo.add(&file.path, &LARGE_LEAVES);
            named.push(Names { small, large });
        }
        let daemon = RefCell::new(kubo.daemon(false));
        Ok((Self { kubo, daemon }, named))
    }

    /// Its TCP address, ending in `/p2p/ID`.
    pub(crate) fn address(&self) -> String {
        self.kubo.address()
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        process::cpu_seconds(self.daemon.borrow_mut().pid())
    }
}

/// A callao that serves files from where they lie.
#[derive(Debug)]
pub(crate) struct CallaoHolder {
    /// The daemon.
    pub(crate) serve: RefCell<Serve>,
}

impl CallaoHolder {
    /// Adds the files under both names and starts `callao serve`.
    pub(crate) fn start(scene: &Scene, name: &str, files: &[&Subject]) -> Outcome<Self> {
        let world = scene.lasting(name);
        for file in files {
            for profile in [SMALL_PROFILE, LARGE_PROFILE] {
                add(scene, &world, file, profile)?;
            }
        }
        let serve = RefCell::new(serve_in(scene, &world)?);
        Ok(Self { serve })
    }

    /// Its TCP address, ending in `/p2p/ID`.
    pub(crate) fn address(&self) -> String {
        self.serve.borrow().address("/tcp/")
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        process::cpu_seconds(self.serve.borrow_mut().pid())
    }
}

/// `callao add` of a file, with `world` as its directories.
pub(crate) fn add(scene: &Scene, world: &Path, file: &Subject, profile: &str) -> Outcome<()> {
    let path = file.path.display().to_string();
    let add = ["add", "--no-progress", "--profile", profile, &path];
    let output = scene.callao_in(world, &add).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("callao add: {text}").into());
    }
    Ok(())
}

/// Starts `callao serve` on loopback with `world` as its directories; what it says goes into the notes.
pub(crate) fn serve_in(scene: &Scene, world: &Path) -> Outcome<Serve> {
    let arguments = [
        "serve",
        "--json",
        "--discovery",
        "none",
        "--gateway",
        "127.0.0.1:0",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--lan",
        "127.0.0.1:0",
    ];
    let mut command = scene.callao_in(world, &arguments);
    let log = std::fs::File::create(scene.notes().join("serve.log"))?;
    Ok(Serve::start(command.stderr(log)))
}

/// A kubo that begins empty in each run.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    running: RefCell<Option<(Kubo, Daemon)>>,
}

impl Taker {
    /// `ipfs get` of `cid` from the peer at `address` into an empty repository.
    pub(crate) fn gets<'a>(
        &'a self,
        scene: &'a Scene,
        name: &'static str,
        (cid, file): (&'a str, &'a Subject),
        address: String,
    ) -> Variant<'a> {
        let first = Cell::new(true);
        Variant::new(name, move || {
            let running = self.running.borrow();
            let Some((kubo, _)) = running.as_ref() else {
                // Cannot be: the preparation would have failed. `false` fails the run.
                return std::process::Command::new("false");
            };
            kubo.get(cid, &scene.scratch().join("F"), GET_SECONDS)
        })
        .prepared(move || {
            let kubo = Kubo::init(&scene.scratch().join("taker"), &[]).ok_or("there is no kubo")?;
            let daemon = kubo.daemon(false);
            kubo.connect(&address);
            self.running.replace(Some((kubo, daemon)));
            Ok(())
        })
        .checked(move |_| {
            self.running.replace(None);
            scene.check(&scene.scratch().join("F"), file, first.replace(false))
        })
    }
}

/// `callao get` of `cid` with these arguments, from nothing.
pub(crate) fn callao_gets<'a>(
    scene: &'a Scene,
    name: &'static str,
    (cid, file): (&'a str, &'a Subject),
    arguments: Vec<String>,
) -> Variant<'a> {
    let first = Cell::new(true);
    Variant::new(name, move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        scene.get(&format!("ipfs://{cid}"), &arguments)
    })
    .checked(move |path| scene.check(Path::new(path), file, first.replace(false)))
}

/// The arguments of a fetch by bitswap alone from the peer at `address`.
pub(crate) fn bitswap_from(address: &str) -> Vec<String> {
    ["--only", "bitswap", "--peer", address]
        .map(str::to_owned)
        .to_vec()
}
