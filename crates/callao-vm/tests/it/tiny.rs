//! A tiny guest under plain QEMU, for tests of what talks to a guest. It knows nothing of callao's own command line.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests read the environment and write files"
)]

use std::fs;
use std::io::{Cursor, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory with `vmlinuz` and `initrd.img` of the tiny guest.
const VARIABLE: &str = "CALLAO_TEST_GUEST";

/// A guest that ends with its handle.
pub(crate) struct Tiny {
    qemu: Child,
    /// Where its ssh is.
    pub(crate) address: SocketAddr,
    /// A directory for the test.
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The directories of `PATH`.
pub(crate) fn path_dirs() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

/// Says, past the capture of the test runner, that a test was skipped and why.
pub(crate) fn say_skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Starts QEMU; the guest boots while this returns. Says why there is none.
pub(crate) fn boot(dir: tempfile::TempDir, public_key: &str) -> Option<Tiny> {
    let Some(files) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        say_skipped(&format!("{VARIABLE} names no directory with a tiny guest"));
        return None;
    };
    let seed = dir.path().join("seed.img");
    fs::write(&seed, seed_with(public_key)).expect("the seed");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = port.expect("a port");
    let qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,tb-size=128",
            "-cpu",
            "max",
            "-M",
            "q35",
            "-m",
            "256",
        ])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", dir.path().join("serial.log").display()))
        .arg("-netdev")
        .arg(format!(
            "user,id=n0,hostfwd=tcp:127.0.0.1:{}-:22",
            address.port()
        ))
        .args([
            "-device",
            "virtio-net-pci,netdev=n0",
            "-device",
            "virtio-rng-pci",
        ])
        .arg("-drive")
        .arg(format!(
            "if=none,id=seed,format=raw,readonly=on,file={}",
            seed.display()
        ))
        .args(["-device", "virtio-blk-pci,drive=seed"])
        .arg("-kernel")
        .arg(files.join("vmlinuz"))
        .arg("-initrd")
        .arg(files.join("initrd.img"))
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off",
        ])
        .stdin(Stdio::null())
        .spawn();
    match qemu {
        Ok(qemu) => Some(Tiny { qemu, address, dir }),
        Err(error) => {
            say_skipped(&format!("qemu-system-x86_64 cannot be run: {error}"));
            None
        }
    }
}

impl Tiny {
    /// What the guest printed, for a test that fails.
    pub(crate) fn serial(&self) -> String {
        read(&self.dir.path().join("serial.log"))
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read(path).map_or_else(
        |error| error.to_string(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

/// What the tiny guest reads: a user and a key.
fn seed_with(public_key: &str) -> Vec<u8> {
    let mut volume = Cursor::new(vec![0; 1 << 20]);
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"CIDATA     ");
    fatfs::format_volume(&mut volume, options).expect("a volume");
    {
        let volume =
            fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).expect("a volume");
        let user = format!(
            "#cloud-config\nusers:\n- name: user\n  homedir: /home/user\n  ssh_authorized_keys:\n  - {public_key}\n"
        );
        for (name, text) in [
            ("user-data", user.as_str()),
            (
                "meta-data",
                "instance-id: iid-1\nlocal-hostname: lima-tiny\n",
            ),
        ] {
            let mut file = volume.root_dir().create_file(name).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
        }
    }
    volume.into_inner()
}
