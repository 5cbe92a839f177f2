//! QEMU by itself: with the very arguments with which callao started it, read from the process, on a disk of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use callao_testkit::real::process::Process;

use crate::Outcome;
use crate::measure;

/// The disk of an instance, in its directory.
const DISK: &str = "disk.qcow2";
/// What it is based on.
const BASE: &str = "base";
/// What the guest is told.
const SEED: &str = "seed.img";

/// How to start it.
#[derive(Debug)]
pub(crate) struct Bare {
    program: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
    disk_bytes: u64,
}

impl Bare {
    /// Reads the arguments of the QEMU that runs as `pid` for the instance in `instance`, and has them name `directory`
    /// and port `to` instead. The base is linked and the seed copied, so the guest boots from the same bytes.
    pub(crate) fn of(
        pid: u32,
        instance: &Path,
        directory: &Path,
        (from, to): (u16, u16),
    ) -> Outcome<Self> {
        let words = fs::read(format!("/proc/{pid}/cmdline"))?;
        let (old, new) = (
            instance.display().to_string(),
            directory.display().to_string(),
        );
        let (old_port, new_port) = (format!("127.0.0.1:{from}-"), format!("127.0.0.1:{to}-"));
        let arguments: Vec<String> = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word))
            .map(|word| word.replace(&old, &new).replace(&old_port, &new_port))
            .collect();
        if !arguments.iter().any(|word| word.contains(&new_port)) {
            return Err(format!("QEMU's arguments do not name port {from}: {arguments:?}").into());
        }
        fs::create_dir_all(directory)?;
        for (name, is_linked) in [(BASE, true), (SEED, false)] {
            let (from, to) = (instance.join(name), directory.join(name));
            if is_linked {
                fs::hard_link(from, to)?;
            } else {
                fs::copy(from, to)?;
            }
        }
        // The last word ends with a zero as well.
        let end = arguments.len().saturating_sub(1);
        Ok(Self {
            program: fs::read_link(format!("/proc/{pid}/exe"))?,
            arguments: arguments[1..end].to_vec(),
            directory: directory.to_owned(),
            disk_bytes: 1 << 30,
        })
    }

    /// Makes a new disk, as `callao create` does.
    pub(crate) fn prepare(&self, notes: &Path) -> Outcome<()> {
        let mut create = Command::new("qemu-img");
        create
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", BASE])
            .arg(self.directory.join(DISK))
            .arg(self.disk_bytes.to_string());
        measure::run(&mut create, notes).map(drop)
    }

    /// Starts it. It ends when what is returned is dropped.
    pub(crate) fn start(&self) -> Outcome<Process> {
        let mut qemu = Command::new(&self.program);
        let log = fs::File::create(self.directory.join("qemu.log"))?;
        qemu.args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(Process::start(&mut qemu)?)
    }
}
