//! Where each thing of an instance lives below its directory: pure path arithmetic.
//! Must not know whether anything exists.

use std::path::{Path, PathBuf};

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    dir: PathBuf,
}

impl Places {
    /// Of this directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Places { dir: dir.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the instance is ([`crate::spec::Spec`]).
    #[must_use]
    pub fn spec(&self) -> PathBuf {
        self.dir.join("instance.json")
    }

    /// How it is ([`crate::state::State`]).
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Room on the disk that is given up when a state has to be written and there is none.
    #[must_use]
    pub fn state_reserve(&self) -> PathBuf {
        self.dir.join("state.reserve")
    }

    /// Locked by the supervisor as long as it lives, and by whoever changes or deletes the instance.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The image: a hard link, clone or copy of the file in the cache, or what was packed in it. Never written to.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.dir.join("base")
    }

    /// The disk that the guest writes to: a qcow2 overlay on the base.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// What may be a link to a file of the cache.
    #[must_use]
    pub fn links(&self) -> [PathBuf; 5] {
        [
            self.base(),
            self.kernel(),
            self.initrd(),
            self.archive(),
            self.firmware(),
        ]
    }

    /// The kernel of an image that is booted without a boot loader.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("kernel")
    }

    /// What goes with the kernel.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// UEFI code that the template names.
    #[must_use]
    pub fn firmware(&self) -> PathBuf {
        self.dir.join("firmware.fd")
    }

    /// The variables of UEFI: this machine's own copy.
    #[must_use]
    pub fn firmware_vars(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }

    /// The seed of cloud-init, made anew at every start.
    #[must_use]
    pub fn seed(&self) -> PathBuf {
        self.dir.join("seed.img")
    }

    /// The archive with containerd.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.dir.join("nerdctl.tgz")
    }

    /// How ssh gets in.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.join("ssh.config")
    }

    /// Where one ssh connection is shared.
    #[must_use]
    pub fn ssh_socket(&self) -> PathBuf {
        self.dir.join("ssh.sock")
    }

    /// Where QEMU takes commands.
    #[must_use]
    pub fn qmp_socket(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// Where QEMU writes its process ID.
    #[must_use]
    pub fn qemu_pid(&self) -> PathBuf {
        self.dir.join("qemu.pid")
    }

    /// What QEMU says.
    #[must_use]
    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    /// What the guest says on its serial port.
    #[must_use]
    pub fn serial_log(&self) -> PathBuf {
        self.dir.join("serial.log")
    }

    /// What the supervisor says.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.dir.join("supervisor.log")
    }

    /// The socket of one virtiofsd.
    #[must_use]
    pub fn virtiofsd_socket(&self, index: usize) -> PathBuf {
        self.dir.join(format!("fs-{index}.sock"))
    }

    /// The longest path of a unix socket that will be made here: ssh adds a random ending of 17 characters to its own.
    #[must_use]
    pub fn longest_socket(&self) -> PathBuf {
        self.dir.join("ssh.sock.0123456789abcdef")
    }
}
