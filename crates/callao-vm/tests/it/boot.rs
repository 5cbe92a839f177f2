//! Real machines, under TCG: they boot with the arguments of the library, and QMP says what becomes of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_template::Arch;
use callao_vm::disk::{self, Health};
use callao_vm::process_id::{self, Ask, ProcessId};
use callao_vm::qemu::accel::Accel;
use callao_vm::qemu::args::{Boot, Facts, SharedDir, arguments, mac_address};
use callao_vm::qemu::client::Client;
use callao_vm::qemu::firmware::{self, OwnCopies};
use callao_vm::qemu::probe::{Qemu, share_dir};
use callao_vm::qemu::process::{self, Started};
use callao_vm::qemu::qmp::Event;
use tokio::time::{Instant, sleep, timeout};

use crate::plain_machine::machine;
use crate::tools;

/// A guest takes 4 s on a quiet computer.
const BOOT_WAIT: Duration = Duration::from_secs(180);
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// An instance's directory with a disk, and QEMU once it was started. Its end is QEMU's.
struct Instance {
    dir: tempfile::TempDir,
    qemu: Qemu,
    img: PathBuf,
    started: Option<(Started, ProcessId)>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some((started, id)) = &self.started {
            if std::thread::panicking() {
                println!("QEMU said: {}", started.last_words());
                println!(
                    "the guest said: {}",
                    process::last_words(&self.path("serial.log"), 0)
                );
            }
            id.signal(Ask::Kill).expect("it is ours");
        }
    }
}

impl Instance {
    /// With an overlay on an image of the guest, or on an empty one.
    async fn new(arch: Arch, image: Option<&Path>) -> Option<Self> {
        let (qemu, img) = tools::qemu(arch).await?;
        // A comma must do no harm.
        let dir = tempfile::Builder::new()
            .prefix("a,b")
            .tempdir()
            .expect("a directory");
        let base = dir.path().join("base");
        match image {
            Some(image) => drop(std::fs::copy(image, &base).expect("copied")),
            None => std::fs::File::create(&base)
                .and_then(|file| file.set_len(1 << 20))
                .expect("made"),
        }
        let image = disk::inspect(&img, &base).await.expect("it is an image");
        let made = disk::create_overlay(&img, dir.path(), "base", image, "disk", 1 << 30).await;
        made.expect("there is an overlay");
        seed(&dir.path().join("seed"));
        Some(Self {
            dir,
            qemu,
            img,
            started: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn facts(&self, boot: Boot) -> Facts {
        Facts {
            name: "it,self".to_owned(),
            accel: Accel::Tcg,
            pid_file: self.path("qemu.pid"),
            qmp_socket: self.path("qmp.sock"),
            serial_log: self.path("serial.log"),
            disk: self.path("disk"),
            seed: self.path("seed"),
            archive: Some(self.path("seed")),
            ssh_port: tools::free_port(),
            closed_port: tools::free_port(),
            mac: mac_address("it"),
            boot,
            shares: Vec::new(),
        }
    }

    fn start(&mut self, arch: Arch, facts: &Facts) {
        let mut small = machine(arch);
        small.memory_bytes = 512 << 20;
        let all = arguments(&small, facts);
        let started = process::spawn(&self.qemu.system, &all, &self.path("qemu.log"));
        let started = started.expect("it starts");
        let pid = started.child.id().expect("it was not waited for");
        let id = ProcessId::of_pid(pid).expect("it runs");
        self.started = Some((started, id));
    }

    async fn qmp(&self) -> Client {
        let socket = self.path("qmp.sock");
        Client::connect(&socket, ANSWER_WAIT)
            .await
            .expect("QEMU answers")
    }

    /// Until the serial console has said something.
    async fn heard(&self, words: &str) {
        let end = Instant::now() + BOOT_WAIT;
        loop {
            let log = std::fs::read(self.path("serial.log")).unwrap_or_default();
            if String::from_utf8_lossy(&log).contains(words) {
                return;
            }
            assert!(Instant::now() < end, "`{words}` was not heard");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until QEMU has ended, and how.
    async fn ended(&mut self) -> Option<i32> {
        let (started, id) = self.started.as_mut().expect("it was started");
        let status = timeout(ANSWER_WAIT, started.child.wait()).await;
        let status = status.expect("it ends").expect("it can be waited for");
        assert!(!id.is_alive());
        status.code()
    }
}

/// A volume as cloud-init looks for it.
fn seed(path: &Path) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    let file = file.expect("created");
    file.set_len(1 << 20).expect("sparse");
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"CIDATA     ");
    fatfs::format_volume(&file, options).expect("formatted");
}

async fn next(qmp: &mut Client) -> Option<Event> {
    timeout(BOOT_WAIT, qmp.next_event())
        .await
        .expect("there is an event")
        .expect("it is QMP")
}

/// Waits for one that says why the machine goes off.
async fn shutdown(qmp: &mut Client) -> (bool, String) {
    loop {
        match next(qmp).await {
            Some(Event::Shutdown { guest, reason }) => return (guest, reason),
            Some(_) => {}
            None => panic!("QEMU ended without a word"),
        }
    }
}

/// The whole life of a machine: on, heard, asked, switched off by the button, disk in order.
async fn lives(instance: &mut Instance, facts: &Facts) {
    instance.start(Arch::X86_64, facts);
    let mut qmp = instance.qmp().await;
    let (version, found) = (instance.qemu.version, qmp.version());
    assert_eq!(
        found,
        (
            version.major.into(),
            version.minor.into(),
            version.patch.into()
        )
    );
    let id = instance.started.as_ref().expect("it was started").1;
    assert_eq!(
        process_id::read_pidfile(&instance.path("qemu.pid")),
        Some(id.pid)
    );
    instance.heard("tiny: ready").await;
    let status = qmp
        .execute("query-status", None, ANSWER_WAIT)
        .await
        .expect("it answers");
    assert_eq!(status["status"], "running");
    // The button counts once the guest listens to it, which it does right after it says that it is ready.
    let end = Instant::now() + BOOT_WAIT;
    let ended = loop {
        assert!(Instant::now() < end, "the guest does not hear the button");
        qmp.execute("system_powerdown", None, ANSWER_WAIT)
            .await
            .expect("it is pressed");
        if let Ok(ended) = timeout(Duration::from_secs(2), shutdown(&mut qmp)).await {
            break ended;
        }
    };
    assert_eq!(ended, (true, "guest-shutdown".to_owned()));
    while next(&mut qmp).await.is_some() {}
    assert_eq!(instance.ended().await, Some(0));
    let health = disk::check(&instance.img, &instance.path("disk")).await;
    assert_eq!(health.expect("it can be read"), Health::Good);
}

#[tokio::test]
async fn a_guest_boots_by_bios_and_hears_the_button() {
    let Some(guest) = tools::guest() else { return };
    let made = Instance::new(Arch::X86_64, Some(&guest.join("tiny.qcow2"))).await;
    let Some(mut instance) = made else { return };
    let mut facts = instance.facts(Boot::Bios);
    if instance.qemu.has_nine_p {
        facts.shares.push(SharedDir::NineP {
            tag: "mount0".to_owned(),
            path: instance.dir.path().to_owned(),
            security_model: "none".to_owned(),
            readonly: true,
        });
    }
    lives(&mut instance, &facts).await;
    // The log has both boots.
    let first = std::fs::metadata(instance.path("serial.log"))
        .expect("a log")
        .len();
    instance.start(Arch::X86_64, &facts);
    let mut qmp = instance.qmp().await;
    qmp.execute("quit", None, ANSWER_WAIT)
        .await
        .expect("it ends");
    assert_eq!(
        shutdown(&mut qmp).await,
        (false, "host-qmp-quit".to_owned())
    );
    assert_eq!(instance.ended().await, Some(0));
    assert!(
        std::fs::metadata(instance.path("serial.log"))
            .expect("a log")
            .len()
            >= first
    );
}

#[tokio::test]
async fn a_guest_boots_by_uefi_with_its_own_variables() {
    let Some(guest) = tools::guest() else { return };
    let made = Instance::new(Arch::X86_64, Some(&guest.join("tiny.qcow2"))).await;
    let Some(mut instance) = made else { return };
    let Some(boot) = uefi(&instance, Arch::X86_64) else {
        return;
    };
    assert!(
        matches!(&boot, Boot::Uefi { vars: Some(vars), .. } if vars.starts_with(instance.dir.path()))
    );
    let facts = instance.facts(boot);
    lives(&mut instance, &facts).await;
}

#[tokio::test]
async fn a_guest_boots_from_a_kernel() {
    let Some(guest) = tools::guest() else { return };
    let Some(mut instance) = Instance::new(Arch::X86_64, None).await else {
        return;
    };
    let cmdline = std::fs::read_to_string(guest.join("cmdline")).expect("a text");
    let facts = instance.facts(Boot::Kernel {
        kernel: guest.join("vmlinuz"),
        initrd: Some(guest.join("initrd.img")),
        cmdline: cmdline.trim().to_owned(),
    });
    lives(&mut instance, &facts).await;
}

fn uefi(instance: &Instance, arch: Arch) -> Option<Boot> {
    let dirs: Vec<PathBuf> = share_dir(&instance.qemu.system).into_iter().collect();
    let firmware = match firmware::find(arch, &dirs) {
        Ok(firmware) => firmware,
        Err(error) => {
            tools::skipped(&error.to_string());
            return None;
        }
    };
    let (code, vars) = (instance.path("code.fd"), instance.path("vars.fd"));
    let own = OwnCopies {
        code: &code,
        vars: &vars,
    };
    Some(firmware::prepare(&firmware, arch, own).expect("prepared"))
}

/// There is no guest for aarch64 here: its firmware starts, which shows that QEMU takes the arguments.
#[tokio::test]
async fn the_firmware_of_aarch64_starts() {
    let Some(mut instance) = Instance::new(Arch::Aarch64, None).await else {
        return;
    };
    let Some(boot) = uefi(&instance, Arch::Aarch64) else {
        return;
    };
    let facts = instance.facts(boot);
    instance.start(Arch::Aarch64, &facts);
    let mut qmp = instance.qmp().await;
    instance.heard("UEFI").await;
    qmp.execute("quit", None, ANSWER_WAIT)
        .await
        .expect("it ends");
    assert_eq!(
        shutdown(&mut qmp).await,
        (false, "host-qmp-quit".to_owned())
    );
    assert_eq!(instance.ended().await, Some(0));
}

#[tokio::test]
async fn qemu_says_what_it_does_not_like() {
    let Some(mut instance) = Instance::new(Arch::X86_64, None).await else {
        return;
    };
    let mut facts = instance.facts(Boot::Bios);
    facts.disk = instance.path("no,disk");
    instance.start(Arch::X86_64, &facts);
    assert_eq!(instance.ended().await, Some(1));
    let words = instance
        .started
        .as_ref()
        .expect("it was started")
        .0
        .last_words();
    let expected = format!(
        "Could not open '{}': No such file or directory",
        facts.disk.display()
    );
    assert!(words.contains(&expected), "{words}");
}

#[tokio::test]
async fn what_is_killed_is_gone_and_its_disk_in_order() {
    let Some(mut instance) = Instance::new(Arch::X86_64, None).await else {
        return;
    };
    let facts = instance.facts(Boot::Bios);
    instance.start(Arch::X86_64, &facts);
    let mut qmp = instance.qmp().await;
    let id = instance.started.as_ref().expect("it was started").1;
    assert!(id.is_alive() && id.signal(Ask::Kill).expect("it is ours"));
    assert_eq!(instance.ended().await, None);
    assert_eq!(next(&mut qmp).await, None);
    let error = qmp
        .execute("query-status", None, ANSWER_WAIT)
        .await
        .expect_err("it is gone");
    assert!(
        error
            .to_string()
            .starts_with("QEMU closed its connection at "),
        "{error}"
    );
    let health = disk::check(&instance.img, &instance.path("disk")).await;
    assert!(!matches!(
        health.expect("it can be read"),
        Health::Corrupt { .. }
    ));
}
