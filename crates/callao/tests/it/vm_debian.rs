//! A whole Debian with the real cloud-init, systemd and OpenSSH in a machine: everything that a template can ask of a
//! guest, in one machine that boots twice. Only `scripts/test --full` makes what it needs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use callao_content::digest::{Algorithm, Digest};
use callao_testkit::real::guest::{self, Guest, NerdctlArchive};
use callao_testkit::real::{Oras, Registry};

use crate::env::Run;
use crate::vm_world::{World, http};

const NAME: &str = "debian";
/// The guest's user where the tests run as root, who has no ID to share.
const UID: u32 = 1234;
/// Longer than a Debian takes without hardware virtualisation on a computer that is busy.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the machine is asked for; names between `@` stand for what differs from run to run.
const TEMPLATE: &str = include_str!("vm_debian.yaml");

/// The machine and what it was given.
struct Debian {
    world: World,
    /// The host's end of ports 9000 to 9003.
    first_port: u16,
    uid: u32,
}

#[test]
fn a_whole_debian() {
    let (Some(image), Some(archive)) = (guest::debian(), guest::nerdctl()) else {
        return;
    };
    let Some(debian) = Debian::create(&image, &archive) else {
        return;
    };
    let Some(registry) = registry_with_image(&debian, &archive) else {
        return;
    };
    let run = debian.start();
    assert!(!run.stderr.contains("is not mounted"), "{}", run.stderr);
    assert!(!run.stderr.contains("not forwarding"), "{}", run.stderr);

    debian.has_its_user();
    debian.has_all_of_its_disk();
    debian.knows_its_surroundings();
    debian.ran_its_scripts_and_in_order(1);
    debian.lets_in_who_has_a_key_of_the_user();
    debian.sees_the_directories_of_the_host();
    debian.answers_through_socket_and_port();
    let copy = debian.copied_to_the_host();
    debian.runs_containers(&registry.host());

    debian.sh("echo kept > ~/kept; sync");
    debian.world.succeed(&["stop", NAME]);
    assert_eq!(debian.world.status(NAME), "Stopped");
    debian.left_nothing_open();
    assert!(!copy.exists(), "deleteOnStop");
    debian.start();
    assert_eq!(debian.sh("cat ~/kept"), "kept");
    assert_eq!(
        debian.sh("findmnt -no FSTYPE / && sudo dmesg | grep -ci 'recovery complete' || true"),
        "ext4\n0"
    );
    let shutdown =
        debian.sh("sudo journalctl -b -1 -o cat -t systemd | grep -i 'power.*off' | tail -n 1");
    assert!(
        shutdown.contains("ower"),
        "it was switched off in good order: {shutdown}"
    );
    debian.ran_its_scripts_and_in_order(2);
    debian.sees_the_directories_of_the_host();
    debian.answers_through_socket_and_port();
    debian.still_runs_containers(&registry.host());

    debian.world.succeed(&["stop", NAME]);
    debian.left_nothing_open();
    debian.world.succeed(&["delete", NAME]);
    assert!(!debian.world.dir(NAME).exists());
}

/// A registry of the host's loopback, with an image in it.
fn registry_with_image(debian: &Debian, archive: &NerdctlArchive) -> Option<Registry> {
    let registry = Registry::start(false)?;
    let oras = Oras::find(&debian.world.env.home())?;
    let to = format!("{}/library/busybox:latest", registry.host());
    let directory = archive.image.parent().expect("a directory");
    oras.run(
        directory,
        &[
            "cp",
            "--from-oci-layout",
            "image:latest",
            "--to-plain-http",
            &to,
        ],
    );
    Some(registry)
}

impl Debian {
    fn create(image: &Guest, archive: &NerdctlArchive) -> Option<Self> {
        let mut world = World::new()?;
        // The registry is asked directly, as anything on this computer is.
        world.set("NO_PROXY", "127.0.0.1,localhost,[::1],192.168.5.2");
        let own = rustix::process::geteuid();
        let uid = if own.is_root() { UID } else { own.as_raw() };
        let debian = Debian {
            world,
            first_port: free_ports(4),
            uid,
        };
        debian.make_files();
        debian
            .world
            .env
            .write("debian.yaml", debian.template(image, archive));
        debian
            .world
            .succeed(&["create", "debian.yaml", "--name", NAME]);
        Some(debian)
    }

    fn start(&self) -> Run {
        let seconds = PATIENCE.as_secs().to_string();
        self.world.succeed(&["start", NAME, "--timeout", &seconds])
    }

    /// What a script says that the user's shell runs in the guest.
    fn sh(&self, script: &str) -> String {
        self.world.shell(NAME, &["bash", "-lc", script])
    }

    /// What the guest finds on this computer.
    fn make_files(&self) {
        let env = &self.world.env;
        for dir in ["rw", "ro"] {
            fs::create_dir(env.path(dir)).expect("a directory");
            fs::write(env.path(dir).join("hello"), format!("{dir} of the host\n")).expect("a file");
        }
        if rustix::process::geteuid().is_root() {
            chown(env.path("rw"), Some(self.uid), None).expect("an owner");
        }
        let ssh = env.home().join(".ssh");
        fs::create_dir(&ssh).expect("a directory");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "own key", "-f"])
            .arg(ssh.join("id_own"))
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        env.write("ca.pem", CERTIFICATE);
    }

    fn template(&self, image: &Guest, archive: &NerdctlArchive) -> String {
        let bytes = fs::read(&archive.archive).expect("the archive");
        let place = |name: &str| self.world.env.path(name).display().to_string();
        TEMPLATE
            .replace("@IMAGE@", &image.qcow2.display().to_string())
            .replace("@ARCHIVE@", &archive.archive.display().to_string())
            .replace("@SHA256@", &Digest::of(Algorithm::Sha256, &bytes).hex())
            .replace("@UID@", &self.uid.to_string())
            .replace("@RW@", &place("rw"))
            .replace("@RO@", &place("ro"))
            .replace("@CA@", &place("ca.pem"))
            .replace("@FIRST@", &self.first_port.to_string())
            .replace("@LAST@", &(self.first_port + 3).to_string())
    }

    fn has_its_user(&self) {
        assert_eq!(
            self.sh("id -un; id -u; pwd; echo $SHELL"),
            format!("ali\n{}\n/home/user.of.debian\n/bin/bash", self.uid)
        );
        assert_eq!(self.sh("getent passwd ali | cut -d: -f5"), "Ali B. Callao");
        assert_eq!(self.sh("sudo -n id -un"), "root");
        assert_eq!(self.world.shell(NAME, &["hostname"]), "lima-debian");
    }

    fn has_all_of_its_disk(&self) {
        let size: u64 = self
            .sh("df --output=size -B1 / | tail -n 1")
            .trim()
            .parse()
            .expect("a number");
        assert!(size > 5 << 30, "the root has grown to 6 GiB: {size}");
    }

    fn knows_its_surroundings(&self) {
        assert_eq!(self.sh("echo \"$GREETING\""), "hello there");
        // The host's loopback has another name in the guest.
        assert_eq!(
            self.sh("echo $HTTP_PROXY $http_proxy $NO_PROXY"),
            "http://192.168.5.2:1 http://192.168.5.2:1 127.0.0.1,localhost,[::1],192.168.5.2"
        );
        assert_eq!(
            self.sh("getent hosts a.test b.test host.lima.internal | tr -s ' '"),
            "10.9.8.7 a.test\n192.168.5.2 b.test\n192.168.5.2 host.lima.internal"
        );
        assert_eq!(
            self.sh("resolvectl dns | grep -o '192[0-9.]*'"),
            "192.168.5.3"
        );
        assert_eq!(
            self.sh("readlink /etc/localtime; date +%Z -d 2026-07-01"),
            "/usr/share/zoneinfo/Europe/Lisbon\nWEST"
        );
        let line = CERTIFICATE.lines().nth(1).expect("a line");
        assert_eq!(
            self.sh(&format!(
                "grep -c '{line}' /etc/ssl/certs/ca-certificates.crt"
            )),
            "1"
        );
        assert_eq!(
            self.sh("cloud-init status --wait | tail -n 1"),
            "status: done"
        );
    }

    /// `boots` times by now.
    fn ran_its_scripts_and_in_order(&self, boots: usize) {
        let once = format!(
            "boot root sweet sour\ndependency root\nsystem root hello there ali\nuser ali /home/user.of.debian /run/user/{}\n",
            self.uid
        );
        assert_eq!(self.sh("cat /var/lib/order"), once.repeat(boots).trim_end());
        assert_eq!(
            self.sh("stat -c '%U:%G %a' /etc/callao/data.conf; sudo cat /etc/callao/data.conf"),
            "root:ali 640\nfor ali of debian: sweet sour"
        );
        let log = self.sh("tail -n 1 /var/log/callao-boot.log");
        assert!(log.ends_with("callao: done with exit code 0"), "{log}");
    }

    fn lets_in_who_has_a_key_of_the_user(&self) {
        let port = self.world.listed(NAME)["sshLocalPort"].to_string();
        let output = Command::new("ssh")
            .args(["-F", "none", "-p", &port, "-i"])
            .arg(self.world.env.home().join(".ssh/id_own"))
            .args([
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
            ])
            .args([
                "-o",
                "UserKnownHostsFile=/dev/null",
                "ali@127.0.0.1",
                "echo",
                "in",
            ])
            .output()
            .expect("ssh runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "in\n",
            "{output:?}"
        );
    }

    fn sees_the_directories_of_the_host(&self) {
        let there = |path: &str| self.world.env.path(path);
        assert_eq!(
            self.sh("cat /mnt/rw/hello ~/'read only/hello'"),
            "rw of the host\nro of the host"
        );
        // A guest's root may do as it likes with its own mounts, and still cannot write.
        let tried = self.sh(
            "cd ~/'read only'; touch a; sudo touch b; sudo mount -o remount,rw \"$PWD\"; sudo touch c; true",
        );
        assert_eq!(tried, "");
        let names = fs::read_dir(there("ro")).expect("a directory");
        assert_eq!(names.count(), 1, "nothing was written");
        let said = format!("said in {}", self.sh("cat /proc/sys/kernel/random/boot_id"));
        self.sh(&format!("echo {said} > /mnt/rw/said && mkdir -p /mnt/rw/deep/er && mv /mnt/rw/said /mnt/rw/deep/er/"));
        assert_eq!(
            fs::read_to_string(there("rw/deep/er/said"))
                .expect("a file")
                .trim(),
            said
        );
        fs::write(there("rw/answer"), &said).expect("a file");
        assert_eq!(self.sh("cat /mnt/rw/answer"), said);
    }

    fn answers_through_socket_and_port(&self) {
        let socket = self.world.dir(NAME).join("echo.sock");
        assert_eq!(ask(&socket, "asked"), "asked from lima-debian");
        self.sh("systemctl --user is-active web || systemd-run --user -q --unit web python3 -m http.server -d /usr/share/python3 9002");
        let begun = Instant::now();
        let answer = loop {
            match http(self.first_port + 2, "/debian_defaults") {
                Some(answer) => break answer,
                None => assert!(begun.elapsed() < PATIENCE, "the port was not forwarded"),
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        assert!(answer.contains("default-version"), "{answer}");
    }

    /// The copy that goes when the machine stops.
    fn copied_to_the_host(&self) -> std::path::PathBuf {
        let dir = self.world.dir(NAME);
        let bytes = fs::read(dir.join("bytes")).expect("the copy");
        let digest = Digest::of(Algorithm::Sha256, &bytes).hex();
        assert_eq!(bytes.len(), 300_000);
        assert_eq!(
            self.sh("sudo sha256sum /etc/callao-bytes | cut -d' ' -f1"),
            digest
        );
        dir.join("bytes")
    }

    fn runs_containers(&self, registry: &str) {
        let image = image_as_seen_by_the_guest(registry);
        self.world.succeed(&[
            "shell",
            NAME,
            "sudo",
            "ctr",
            "images",
            "pull",
            "--plain-http",
            &image,
        ]);
        self.still_runs_containers(registry);
        assert_eq!(
            self.sh("sudo stat -c %U $(readlink -f $(command -v containerd))"),
            "root"
        );
    }

    /// The image that was pulled once is there; the rootless one answers as well, and is another.
    fn still_runs_containers(&self, registry: &str) {
        let image = image_as_seen_by_the_guest(registry);
        let run = [
            "shell",
            NAME,
            "sudo",
            "ctr",
            "run",
            "--rm",
            &image,
            "c1",
            "/bin/sh",
            "-c",
            "echo hello from $(uname -s); exit 6",
        ];
        let run = self.world.fail(&run, 6);
        assert_eq!(run.stdout, "hello from Linux\n");
        assert_eq!(
            self.sh("systemctl is-active containerd; systemctl --user is-active containerd"),
            "active\nactive"
        );
        let rootless = "nsenter -U --preserve-credentials -m -n -t $(cat $XDG_RUNTIME_DIR/containerd-rootless/child_pid) ctr";
        let answer = self.sh(&format!(
            "{rootless} version | grep -c Version; {rootless} images ls -q"
        ));
        assert_eq!(answer, "2", "it answers, and has no images yet");
    }

    fn left_nothing_open(&self) {
        let dir = self.world.dir(NAME);
        for socket in ["echo.sock", "ssh.sock", "qmp.sock", "qemu.pid"] {
            assert!(!dir.join(socket).exists(), "{socket}");
        }
        let checked = Command::new("qemu-img")
            .args(["check", "-q", "-f", "qcow2"])
            .arg(dir.join("disk.qcow2"))
            .output()
            .expect("qemu-img runs");
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    }
}

fn image_as_seen_by_the_guest(registry: &str) -> String {
    let port = registry.rsplit(':').next().expect("a port");
    format!("192.168.5.2:{port}/library/busybox:latest")
}

/// What a unix socket answers.
fn ask(socket: &Path, words: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it is forwarded");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.write_all(words.as_bytes()).expect("it is read");
    stream.shutdown(Shutdown::Write).expect("that is all");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The first of some ports in a row that nobody uses.
fn free_ports(count: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let firsts = (20_000..30_000).step_by(usize::from(count));
    let mut free = firsts.filter(|first| (0..count).all(|next| is_free(first + next)));
    free.next().expect("there are some")
}

/// Of nobody: its key was thrown away.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUKipwyrujrNIj8b4Yh7/4qJYhm84wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOQ2FsbGFvIFRlc3QgQ0EwHhcNMjYxMTI3MjExNDI2WhcNMzUw
MjEzMjExNDI2WjAZMRcwFQYDVQQDDA5DYWxsYW8gVGVzdCBDQTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABC9Toe7Yy9N6Jn6Kuqn6l7WrP2SUm+qa+i8BwnXmN6jQ
JUWzseykbDHR1kbRlnJoDqfJZ3/Q5sp6bQgfLkzwpvajUzBRMB0GA1UdDgQWBBQn
0h0eKcX3gfCSFXRUxvzdpTgC7TAfBgNVHSMEGDAWgBQn0h0eKcX3gfCSFXRUxvzd
pTgC7TAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCICkeTWmUYAlO
dJ7t1S5gMauLkR9L9T5VU3Qd1s4UupJ0AiEAhXOqfELFNtvE0r5j0NjQqONKTwK+
As43vyFntqncUGU=
-----END CERTIFICATE-----
";
