//! The arguments of QEMU for a machine: pure, and all of them. Compare Lima's `pkg/driver/qemu/qemu.go`.
//!
//! It must not know whether any of the files is there, nor which QEMU will read the arguments.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use callao_template::Arch;
use callao_template::machine::Machine;

use super::accel::Accel;
use crate::cloud_init::ARCHIVE_SERIAL;

/// QEMU's name of the guest's network.
pub(crate) const NETWORK: &str = "net";
/// Where the guest's ssh listens.
const SSH_PORT: u16 = 22;
/// Where nothing listens (`tcpmux`, of which no guest has heard).
const CLOSED_PORT: u16 = 1;

/// What the template does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Name of the instance, for lists of processes.
    pub name: String,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// Where QEMU writes its process ID.
    pub pid_file: PathBuf,
    /// Where QEMU listens for QMP.
    pub qmp_socket: PathBuf,
    /// Where the serial console goes: added to its end, so that the boots before are kept (see `process::keep_short`).
    pub serial_log: PathBuf,
    /// The disk: a qcow2 overlay.
    pub disk: PathBuf,
    /// The seed of cloud-init: a raw volume.
    pub seed: PathBuf,
    /// The archive of containerd, as a raw disk.
    pub archive: Option<PathBuf>,
    /// The port of the host's loopback that leads to the guest's ssh.
    pub ssh_port: u16,
    /// The port of the host's loopback that leads to a port of the guest where nothing listens: see `ssh::ready`.
    pub closed_port: u16,
    /// See `mac_address`.
    pub mac: String,
    /// What is started first.
    pub boot: Boot,
    /// Directories of the host.
    pub shares: Vec<SharedDir>,
}

/// What the machine starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// QEMU's own BIOS; on x86_64 only.
    Bios,
    /// UEFI from flash.
    Uefi {
        /// The code, never written.
        code: PathBuf,
        /// The instance's own variables; without them they are forgotten when QEMU ends.
        vars: Option<PathBuf>,
    },
    /// A kernel, without firmware that looks for one.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// Its first file system.
        initrd: Option<PathBuf>,
        /// What it is told.
        cmdline: String,
    },
}

/// A directory that the guest mounts by its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedDir {
    /// 9p, by QEMU itself.
    NineP {
        /// The tag: at most 31 bytes.
        tag: String,
        /// The directory.
        path: PathBuf,
        /// `none`, `mapped-xattr`, `mapped-file`, `passthrough`.
        security_model: String,
        /// Whether the guest may not write.
        readonly: bool,
    },
    /// virtiofs, by a virtiofsd that listens already.
    Virtiofs {
        /// The tag: at most 35 bytes.
        tag: String,
        /// Its socket.
        socket: PathBuf,
        /// Length of the queue; `None`: QEMU's own.
        queue_size: Option<u32>,
    },
}

/// The arguments, without the program.
#[must_use]
pub fn arguments(machine: &Machine, facts: &Facts) -> Vec<OsString> {
    let mut args = Args(Vec::new());
    args.add("-name", Value::of("callao-").text(&facts.name));
    args.add("-pidfile", Value::default().raw(facts.pid_file.as_os_str()));
    // Nothing from files of this computer, and no floppy, VGA or CD that nobody asked for.
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.add("-display", Value::of("none"));
    processor(&mut args, machine, facts);
    args.add("-rtc", Value::of("base=utc"));
    args.add(
        "-chardev",
        Value::of("socket,id=qmp,server=on,wait=off,path=").path(&facts.qmp_socket),
    );
    args.add("-mon", Value::of("chardev=qmp,mode=control"));
    args.add(
        "-chardev",
        Value::of("file,id=serial,append=on,path=").path(&facts.serial_log),
    );
    args.add("-serial", Value::of("chardev:serial"));
    disks(&mut args, facts);
    network(&mut args, facts);
    args.add("-device", Value::of("virtio-rng-pci"));
    for (number, share) in facts.shares.iter().enumerate() {
        shared(&mut args, number, share);
    }
    boot(&mut args, &facts.boot);
    args.0
}

/// `-machine`, `-accel`, `-cpu`, `-smp`, `-m`.
fn processor(args: &mut Args, machine: &Machine, facts: &Facts) {
    let is_arm = machine.arch == Arch::Aarch64;
    // The newest interrupt controller that the accelerator has: version 2, the default, has at most 8 CPUs.
    let mut kind = Value::of(if is_arm {
        "virt,gic-version=max"
    } else {
        "q35,vmport=off"
    });
    let shares_memory = |share: &SharedDir| matches!(share, SharedDir::Virtiofs { .. });
    let mib = (machine.memory_bytes >> 20).max(1);
    if facts.shares.iter().any(shares_memory) {
        // virtiofsd reads and writes the guest's memory.
        kind = kind.plain(",memory-backend=memory");
        let size = format!("memory-backend-memfd,id=memory,share=on,size={mib}M");
        args.add("-object", Value::of(&size));
    }
    if let Boot::Uefi { vars, .. } = &facts.boot {
        kind = kind.plain(",pflash0=code");
        if vars.is_some() {
            kind = kind.plain(",pflash1=vars");
        }
    }
    args.add("-machine", kind);
    if !is_arm {
        // A guest that sleeps would neither run nor be stopped.
        args.add("-global", Value::of("ICH9-LPC.disable_s3=1"));
        args.add("-global", Value::of("ICH9-LPC.disable_s4=1"));
    }
    args.add(
        "-accel",
        Value::of(match facts.accel {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=multi,tb-size=512",
        }),
    );
    let suitable = match (facts.accel, is_arm) {
        (Accel::Kvm, _) => "host",
        // A guest that is told that `rep movsb` is fast copies byte by byte, which TCG is slowest at: a twelfth of a boot.
        (Accel::Tcg, false) => "max,-erms,-fsrm",
        // Pointer authentication as the architecture has it takes half of the time of a boot; QEMU has a cheaper one.
        (Accel::Tcg, true) => "max,pauth-impdef=on",
    };
    // What a template says may have flags of its own (`host,-vmx`), so it is not escaped.
    let cpu = machine.cpu_type.as_deref().unwrap_or(suitable);
    args.add("-cpu", Value::of(cpu));
    let cpus = machine.cpus.max(1);
    args.add(
        "-smp",
        Value::of(&format!("{cpus},sockets=1,cores={cpus},threads=1")),
    );
    args.add("-m", Value::of(&format!("{mib}M")));
}

fn disks(args: &mut Args, facts: &Facts) {
    // The format is named, never guessed: a guest could write what looks like another one into its own disk.
    args.add(
        "-blockdev",
        Value::of(
            "driver=qcow2,node-name=disk,discard=unmap,detect-zeroes=unmap,\
             file.driver=file,file.discard=unmap,file.filename=",
        )
        .path(&facts.disk),
    );
    args.add(
        "-device",
        Value::of("virtio-blk-pci,drive=disk,bootindex=1"),
    );
    readonly_disk(args, "seed", &facts.seed);
    args.add("-device", Value::of("virtio-blk-pci,drive=seed"));
    if let Some(archive) = &facts.archive {
        readonly_disk(args, "archive", archive);
        args.add(
            "-device",
            Value::of("virtio-blk-pci,drive=archive,serial=").plain(ARCHIVE_SERIAL),
        );
    }
}

fn readonly_disk(args: &mut Args, node: &str, path: &Path) {
    let start = format!(
        "driver=raw,node-name={node},read-only=on,file.driver=file,file.read-only=on,file.filename="
    );
    args.add("-blockdev", Value::of(&start).path(path));
}

/// The same network as Lima's: the guest is 192.168.5.15, the host 192.168.5.2, the resolver 192.168.5.3.
fn network(args: &mut Args, facts: &Facts) {
    let (port, closed) = (facts.ssh_port, facts.closed_port);
    args.add(
        "-netdev",
        Value::of(&format!(
            "user,id={NETWORK},net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:{port}-:{SSH_PORT},\
             hostfwd=tcp:127.0.0.1:{closed}-:{CLOSED_PORT}"
        )),
    );
    // No program to boot from the network: it is a package of its own, and costs time.
    let device = format!("virtio-net-pci,netdev={NETWORK},mac={},romfile=", facts.mac);
    args.add("-device", Value::of(&device));
}

fn shared(args: &mut Args, number: usize, share: &SharedDir) {
    match share {
        SharedDir::NineP {
            tag,
            path,
            security_model,
            readonly,
        } => {
            // Directories of several file systems have files of the same number: they are told apart.
            let start = format!("local,id=share{number},multidevs=remap,security_model=");
            let readonly = if *readonly { "on" } else { "off" };
            let value = Value::of(&start)
                .text(security_model)
                .plain(",readonly=")
                .plain(readonly)
                .plain(",path=")
                .path(path);
            args.add("-fsdev", value);
            let start = format!("virtio-9p-pci,fsdev=share{number},mount_tag=");
            args.add("-device", Value::of(&start).text(tag));
        }
        SharedDir::Virtiofs {
            tag,
            socket,
            queue_size,
        } => {
            let start = format!("socket,id=share{number},path=");
            args.add("-chardev", Value::of(&start).path(socket));
            let queue = queue_size.map_or_else(String::new, |size| format!(",queue-size={size}"));
            let start = format!("vhost-user-fs-pci,chardev=share{number}{queue},tag=");
            args.add("-device", Value::of(&start).text(tag));
        }
    }
}

fn boot(args: &mut Args, boot: &Boot) {
    match boot {
        Boot::Bios => {}
        Boot::Uefi { code, vars } => {
            readonly_disk(args, "code", code);
            if let Some(vars) = vars {
                let start = "driver=raw,node-name=vars,file.driver=file,file.filename=";
                args.add("-blockdev", Value::of(start).path(vars));
            }
        }
        Boot::Kernel {
            kernel,
            initrd,
            cmdline,
        } => {
            // These three are not lists of options: nothing is escaped in them.
            args.add("-kernel", Value::default().raw(kernel.as_os_str()));
            if let Some(initrd) = initrd {
                args.add("-initrd", Value::default().raw(initrd.as_os_str()));
            }
            args.add("-append", Value::of(cmdline));
        }
    }
}

/// Arguments that are being gathered.
struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn add(&mut self, name: &str, value: Value) {
        self.0.push(name.into());
        self.0.push(value.0);
    }
}

/// The value of an argument: a list of options, in which a comma in a name is doubled.
#[derive(Default)]
struct Value(OsString);

impl Value {
    /// Our own text, as it is.
    fn of(text: &str) -> Self {
        Self(text.into())
    }

    fn plain(self, text: &str) -> Self {
        self.raw(OsStr::new(text))
    }

    fn raw(mut self, text: &OsStr) -> Self {
        self.0.push(text);
        self
    }

    /// Foreign text inside a list of options.
    fn text(self, text: &str) -> Self {
        self.plain(&text.replace(',', ",,"))
    }

    /// A path inside a list of options.
    fn path(self, path: &Path) -> Self {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut bytes = Vec::new();
        for byte in path.as_os_str().as_bytes() {
            bytes.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == b',')));
        }
        self.raw(&OsString::from_vec(bytes))
    }
}

/// A MAC address that is always the same for the same text: `52:55:55` (Lima's) and three bytes of its SHA-256.
#[must_use]
pub fn mac_address(seed: &str) -> String {
    let [a, b, c, ..] = callao_content::hash::sha256(seed.as_bytes());
    format!("52:55:55:{a:02x}:{b:02x}:{c:02x}")
}

#[cfg(test)]
#[path = "args/tests.rs"]
mod tests;
