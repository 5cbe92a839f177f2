//! The scripts of the guest, run by a real shell below a temporary directory instead of `/`. What needs a real guest
//! (mounts, services, another user) is tested in one.
#![expect(
    clippy::disallowed_methods,
    reason = "the test makes a small guest out of files"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::*;

/// What the scripts need of any guest. Nothing else of this computer is in their `PATH`.
const PROGRAMS: [&str; 26] = [
    "awk", "cat", "chmod", "cmp", "cp", "cut", "date", "dirname", "env", "grep", "gzip", "head",
    "id", "ls", "mkdir", "mktemp", "mv", "od", "rm", "sed", "sh", "sleep", "tar", "timeout",
    "touch", "tr",
];

/// A directory that looks like a guest to `boot.sh`, with programs that only say that they were called.
struct Guest {
    root: tempfile::TempDir,
}

impl Guest {
    fn new(machine: &Machine, facts: &Facts) -> Self {
        let guest = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for name in ["seed", "dev", "etc", "proc", "tools"] {
            fs::create_dir(guest.path(name)).unwrap();
        }
        guest.write("proc/mounts", "proc /proc proc rw 0 0\n");
        guest.write("proc/filesystems", "nodev\tvirtiofs\n\text4\n");
        guest.write("etc/hosts", "127.0.0.1 localhost\n");
        for name in PROGRAMS {
            let places =
                ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|place| format!("{place}/{name}"));
            let place = places.iter().find(|place| fs::metadata(place).is_ok());
            let place = place.unwrap_or_else(|| panic!("{name} is not here"));
            std::os::unix::fs::symlink(place, guest.path(&format!("tools/{name}"))).unwrap();
        }
        for name in ["modprobe", "loginctl", "chpasswd"] {
            guest.tool(name, "");
        }
        // A user like any other is not there, and nobody but root could become them.
        guest.tool(
            "sudo",
            "while [ \"$1\" != sh ] && [ \"$1\" != mkdir ]; do shift; done; exec \"$@\"",
        );
        guest.tool("chown", "echo \"chown $*\" >>\"$CALLAO_ROOT/calls\"");
        guest.tool("chgrp", "");
        guest.tool("mount", "echo \"mount $*\" >>\"$CALLAO_ROOT/calls\"; case $* in *broken*) echo 'no such tag' >&2; exit 32 ;; esac");
        guest.seed(machine, facts);
        fs::create_dir_all(guest.path(&machine.user.home[1..])).unwrap();
        guest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tool(&self, name: &str, text: &str) {
        self.program(&format!("tools/{name}"), &format!("#!/bin/sh\n{text}\n"));
    }

    /// A mounted FAT volume: every file may be run.
    fn seed(&self, machine: &Machine, facts: &Facts) {
        for document in documents(machine, facts) {
            let text = String::from_utf8(document.bytes).unwrap();
            self.program(&format!("seed/{}", document.name), &text);
        }
    }

    fn boot(&self, arguments: &[&str]) -> Output {
        let path = self.path("tools");
        Command::new("/bin/sh")
            .arg(self.path("seed/boot.sh"))
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("CALLAO_ROOT", self.root.path())
            .output()
            .unwrap()
    }

    /// The lines of the log that are steps, without their time.
    fn steps(&self) -> Vec<String> {
        let log = self.read("var/log/callao-boot.log");
        let steps = log.lines().filter_map(|line| line.split_once(" callao: "));
        steps.map(|(_, step)| step.to_owned()).collect()
    }
}

fn script(text: &str) -> String {
    format!("#!/bin/sh\n{text}\n")
}

fn note(text: &str) -> String {
    script(&format!("echo {text} >>\"$CALLAO_ROOT/order\""))
}

fn system(text: &str) -> Provision {
    Provision::System {
        script: script(text),
    }
}

#[test]
fn every_script_is_one_that_a_shell_reads() {
    let mut shells: Vec<Vec<&str>> = vec![vec!["sh"]];
    if Command::new("busybox").output().is_ok() {
        shells.push(vec!["busybox", "sh"]);
    } else {
        eprintln!("busybox is not here: its shell was not asked");
    }
    let guest = Guest::new(&machine(), &facts());
    let per_boot = ("per-boot.sh", include_str!("../../guest/per-boot.sh"));
    for (name, text) in SCRIPTS.iter().chain(&[per_boot]) {
        let path = format!("seed/{name}");
        guest.write(&path, text);
        for shell in &shells {
            let checked = Command::new(shell[0])
                .args(&shell[1..])
                .arg("-n")
                .arg(guest.path(&path))
                .output()
                .unwrap();
            assert!(
                checked.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
        assert!(
            text.starts_with("#!/bin/sh\n# "),
            "{name} does not say what it is for"
        );
        assert!(
            !text.contains("[[") && !text.contains("&>"),
            "{name} uses what only bash has"
        );
    }
}

#[test]
fn the_steps_come_in_their_order_and_a_failure_stops_none() {
    let mut machine = machine();
    machine.provision = vec![
        Provision::User {
            script: note("user"),
        },
        system("echo system >>\"$CALLAO_ROOT/order\"; exit 3"),
        system("exit 4"),
        Provision::Dependency {
            script: note("dependency"),
            skip_default: false,
        },
        Provision::Boot {
            script: note("boot"),
        },
        Provision::System {
            script: note("last"),
        },
    ];
    let guest = Guest::new(&machine, &facts());
    let done = guest.boot(&[]);
    assert_eq!(done.status.code(), Some(3));
    assert_eq!(
        guest.read("order"),
        "boot\ndependency\nsystem\nlast\nuser\n"
    );
    assert_eq!(
        guest.read("run/callao/boot-done"),
        "3\nprovision.system.00000001\n"
    );
    insta::assert_snapshot!(guest.steps().join("\n"), @r#"
    blocks
    provision.boot.00000004
    session
    mounts
    provision.dependency.00000003
    packages
    containerd
    provision.system.00000001
    provision.system.00000001 failed with exit code 3
    provision.system.00000002
    provision.system.00000002 failed with exit code 4
    provision.system.00000005
    provision.user.00000000
    done with exit code 3
    "#);
}

#[test]
fn what_went_well_says_so() {
    let guest = Guest::new(&machine(), &facts());
    let done = guest.boot(&[]);
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        guest.read("var/log/callao-boot.log")
    );
    assert_eq!(guest.read("run/callao/boot-done"), "0\n\n");
    assert_eq!(guest.read("run/callao/mounts"), "");
}

#[test]
fn boot_scripts_run_early_or_with_the_rest_but_once_a_boot() {
    let mut machine = machine();
    machine.provision = vec![Provision::Boot {
        script: script("echo boot >>\"$CALLAO_ROOT/order\"; exit 7"),
    }];
    let guest = Guest::new(&machine, &facts());
    assert!(guest.boot(&["early"]).status.success());
    assert_eq!(guest.read("order"), "boot\n");
    assert!(!guest.path("run/callao/boot-done").exists());
    assert_eq!(guest.boot(&[]).status.code(), Some(7));
    assert_eq!(guest.read("order"), "boot\n");
    assert_eq!(
        guest.read("run/callao/boot-done"),
        "7\nprovision.boot.00000000\n"
    );
    assert!(
        guest
            .steps()
            .contains(&"provision.boot.00000000".to_owned()),
        "the log has both parts"
    );
    // Nothing ran early the next time.
    assert_eq!(guest.boot(&[]).status.code(), Some(7));
    assert_eq!(guest.read("order"), "boot\nboot\n");
}

#[test]
fn scripts_see_params_environment_and_limas_names() {
    let (mut machine, facts) = strange();
    machine.containerd = Installs::default();
    machine.user.name = "user".to_owned();
    machine.user.home = "/home/user".to_owned();
    machine.user.passwordless_sudo = true;
    let show = "printf '%s|' \"$PARAM_key\" \"$EVIL\" \"$SPACES\" \"$LIMA_CIDATA_NAME\" \"$LIMA_CIDATA_HOME\" \
                \"$LIMA_CIDATA_MOUNTS_1_MOUNTPOINT\" >>\"$LIMA_CIDATA_MNT/../shown\"";
    machine.provision = vec![
        system(show),
        Provision::User {
            script: script(show),
        },
    ];
    let guest = Guest::new(&machine, &facts);
    // The user's home is below the test's root, and a login shell would know.
    machine.user.home = guest.path("home/user").display().to_string();
    fs::create_dir_all(guest.path("home/user")).unwrap();
    assert_eq!(
        guest.boot(&[]).status.code(),
        Some(0),
        "{}",
        guest.read("var/log/callao-boot.log")
    );
    let evil = &machine.env["EVIL"];
    let one = format!("{evil}|{evil}| a |default|/home/user|/mnt/it's mount1|");
    assert_eq!(guest.read("shown"), format!("{one}{one}"));
    let left: Vec<_> = fs::read_dir(guest.path("home/user")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_second_run_changes_nothing() {
    let mut machine = machine();
    machine.env.insert("A".to_owned(), "b c".to_owned());
    machine
        .hosts
        .insert("alias".to_owned(), "10.0.0.1".to_owned());
    let guest = Guest::new(&machine, &facts());
    guest.write("etc/environment", "OWN=1\n");
    guest.boot(&[]);
    let first = (guest.read("etc/hosts"), guest.read("etc/environment"));
    guest.boot(&[]);
    assert_eq!(
        (guest.read("etc/hosts"), guest.read("etc/environment")),
        first
    );
    assert_eq!(
        first.0,
        "127.0.0.1 localhost\n# callao begin\n192.168.5.2\thost.lima.internal\n10.0.0.1\talias\n# callao end\n"
    );
    assert_eq!(first.1, "OWN=1\n# callao begin\nA=b c\n# callao end\n");
    // A template that says something else.
    machine.env.clear();
    guest.seed(&machine, &facts());
    guest.boot(&[]);
    assert_eq!(
        guest.read("etc/environment"),
        "OWN=1\n# callao begin\n# callao end\n"
    );
}

#[test]
fn files_that_have_nothing_to_say_stay_as_they_are_and_nobody_is_logged_out() {
    let mut machine = machine();
    machine.env.clear();
    machine.propagate_proxy = false;
    let guest = Guest::new(&machine, &facts());
    fs::create_dir_all(guest.path("run/systemd/system")).unwrap();
    guest.tool("loginctl", "echo \"loginctl $*\" >>\"$CALLAO_ROOT/calls\"");
    guest.write("etc/environment", "OWN=1\n");
    guest.boot(&[]);
    assert_eq!(guest.read("etc/environment"), "OWN=1\n");
    let calls = fs::read_to_string(guest.path("calls")).unwrap_or_default();
    assert!(!calls.contains("terminate-user"), "{calls}");
}

/// PAM reads the variables once for a connection, and the host has had one since the guest's ssh answered.
#[test]
fn who_is_logged_in_begins_anew_when_the_variables_change() {
    let mut machine = machine();
    machine.env.insert("A".to_owned(), "b".to_owned());
    let guest = Guest::new(&machine, &facts());
    fs::create_dir_all(guest.path("run/systemd/system")).unwrap();
    guest.tool("loginctl", "echo \"loginctl $*\" >>\"$CALLAO_ROOT/calls\"");
    let terminations = || {
        guest
            .read("calls")
            .matches("loginctl terminate-user user\n")
            .count()
    };
    guest.boot(&[]);
    assert_eq!(terminations(), 1, "{}", guest.read("calls"));
    guest.boot(&[]);
    assert_eq!(terminations(), 1, "nothing has changed");
    machine.env.insert("A".to_owned(), "c".to_owned());
    guest.seed(&machine, &facts());
    assert_eq!(guest.boot(&[]).status.code(), Some(0));
    assert_eq!(terminations(), 2);
}

#[test]
fn every_mount_gets_its_line() {
    let (_, mut facts) = strange();
    let broken = GuestMount {
        tag: "broken".to_owned(),
        mount_point: "/mnt/b".to_owned(),
        writable: false,
        how: MountHow::Virtiofs,
        then_sshfs: false,
    };
    facts.mounts.push(broken);
    let mut machine = machine();
    machine.provision = vec![Provision::Dependency {
        script: script(
            "printf '#!/bin/sh\\n' >\"$CALLAO_ROOT/tools/sshfs\"; chmod 755 \"$CALLAO_ROOT/tools/sshfs\"",
        ),
        skip_default: true,
    }];
    let guest = Guest::new(&machine, &facts);
    assert_eq!(guest.boot(&[]).status.code(), Some(0));
    insta::assert_snapshot!(guest.read("run/callao/mounts"), @r#"
    mount0 failed the guest's kernel has no 9p
    mount1 ok
    mount2 sshfs
    broken failed no such tag
    "#);
    let calls = guest
        .read("calls")
        .replace(&guest.root.path().display().to_string(), "");
    assert!(
        calls.contains("mount -t virtiofs -o rw mount1 /mnt/it's mount1\n"),
        "{calls}"
    );
    // In the same boot again: what is mounted stays.
    guest.write(
        "proc/mounts",
        "mount1 /mnt/it's\\040mount1 virtiofs rw 0 0\n",
    );
    guest.write("calls", "");
    guest.boot(&[]);
    assert!(!guest.read("calls").contains("mount1"));
    assert!(guest.read("run/callao/mounts").contains("mount1 ok\n"));
}

#[test]
fn where_sudo_asks_for_a_password_there_is_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut machine = machine();
    machine.user.passwordless_sudo = false;
    let guest = Guest::new(&machine, &facts());
    guest.tool("chpasswd", "cat >>\"$CALLAO_ROOT/passwords\"");
    guest.boot(&[]);
    let password = guest.read("home/user.guest/password");
    assert_eq!(password.trim().len(), 16);
    assert_eq!(guest.read("passwords"), format!("user:{password}"));
    let file = fs::metadata(guest.path("home/user.guest/password")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    guest.boot(&[]);
    assert_eq!(guest.read("home/user.guest/password"), password);
}

#[test]
fn what_is_missing_is_installed_unless_the_template_forbids_it() {
    let mut facts = facts();
    facts.mounts = vec![GuestMount {
        tag: "mount0".to_owned(),
        mount_point: "/mnt/s".to_owned(),
        writable: false,
        how: MountHow::Sshfs,
        then_sshfs: false,
    }];
    let guest = Guest::new(&machine(), &facts);
    let install = "echo \"apt-get $*\" >>\"$CALLAO_ROOT/calls\"; case $* in *install*) ";
    let makes_sshfs = "cp \"$CALLAO_ROOT/tools/modprobe\" \"$CALLAO_ROOT/tools/sshfs\" ;; esac";
    guest.tool("apt-get", &format!("{install}{makes_sshfs}"));
    assert_eq!(guest.boot(&[]).status.code(), Some(0));
    assert!(
        guest
            .read("calls")
            .contains(" install -q -y --no-install-recommends sshfs\n")
    );
    assert_eq!(guest.read("run/callao/mounts"), "mount0 sshfs\n");

    let guest = Guest::new(&machine(), &facts);
    guest.tool("apt-get", &format!("{install}exit 100 ;; esac"));
    assert_eq!(guest.boot(&[]).status.code(), Some(0));
    let missing = "mount0 failed sshfs is not installed in the guest\n";
    assert_eq!(guest.read("run/callao/mounts"), missing);
    assert!(
        guest
            .read("var/log/callao-boot.log")
            .contains("not installed: sshfs\n")
    );

    let mut machine = machine();
    machine.provision = vec![Provision::Dependency {
        script: script("true"),
        skip_default: true,
    }];
    let guest = Guest::new(&machine, &facts);
    guest.tool("apt-get", &format!("{install}{makes_sshfs}"));
    guest.boot(&[]);
    assert_eq!(guest.read("run/callao/mounts"), missing);
}

/// Debian's own cloud images: no 9p in the kernel, and no sshfs.
#[test]
fn sshfs_is_installed_where_another_way_failed() {
    let mut facts = facts();
    facts.mounts = vec![GuestMount {
        tag: "mount0".to_owned(),
        mount_point: "/mnt/s".to_owned(),
        writable: false,
        how: MountHow::NineP {
            msize_bytes: 131_072,
            version: "9p2000.L".to_owned(),
            cache: "mmap".to_owned(),
        },
        then_sshfs: true,
    }];
    let guest = Guest::new(&machine(), &facts);
    let told = "[ ! -e \"$CALLAO_ROOT/run/callao/mounts\" ] || exit 1";
    let makes_sshfs = "cp \"$CALLAO_ROOT/tools/modprobe\" \"$CALLAO_ROOT/tools/sshfs\"";
    guest.tool(
        "apt-get",
        &format!("{told}; echo \"$*\" >>\"$CALLAO_ROOT/calls\"; {makes_sshfs}"),
    );
    assert_eq!(guest.boot(&[]).status.code(), Some(0));
    assert!(
        guest
            .read("calls")
            .ends_with("--no-install-recommends sshfs\n")
    );
    let failed = "mount0 failed the guest's kernel has no 9p\n";
    assert_eq!(guest.read("run/callao/mounts"), failed);
    // Now that it is there, the host is told at once.
    guest.write("calls", "");
    guest.boot(&[]);
    assert!(!guest.read("calls").contains("install"));
    assert_eq!(guest.read("run/callao/mounts"), failed);

    facts.mounts[0].then_sshfs = false;
    let guest = Guest::new(&machine(), &facts);
    guest.tool("apt-get", "exit 1");
    guest.boot(&[]);
    assert_eq!(guest.read("run/callao/mounts"), failed);
    assert!(
        !guest
            .read("var/log/callao-boot.log")
            .contains("not installed")
    );
}

#[test]
fn mounts_below_the_home_are_the_users() {
    let mut facts = facts();
    facts.mounts = vec![GuestMount {
        tag: "mount0".to_owned(),
        mount_point: "/home/user.guest/a/b".to_owned(),
        writable: true,
        how: MountHow::Virtiofs,
        then_sshfs: true,
    }];
    let guest = Guest::new(&machine(), &facts);
    guest.boot(&[]);
    let calls = guest
        .read("calls")
        .replace(&guest.root.path().display().to_string(), "");
    assert!(
        calls.contains("chown user /home/user.guest/a\nchown user /home/user.guest/a/b\n"),
        "{calls}"
    );
}

#[test]
fn data_files_get_their_place_and_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = |path: &str, content: &str, overwrite| Provision::Data {
        content: content.to_owned(),
        path: path.to_owned(),
        owner: "user:group".to_owned(),
        permissions: "640".to_owned(),
        overwrite,
    };
    let mut machine = machine();
    machine.provision = vec![
        data("/etc/new dir/it's", "one\n", false),
        data("/etc/kept", "new\n", false),
        data("/etc/replaced", "new\n", true),
    ];
    let guest = Guest::new(&machine, &facts());
    guest.write("etc/kept", "old\n");
    guest.write("etc/replaced", "old\n");
    assert_eq!(
        guest.boot(&[]).status.code(),
        Some(0),
        "{}",
        guest.read("var/log/callao-boot.log")
    );
    assert_eq!(guest.read("etc/new dir/it's"), "one\n");
    assert_eq!(guest.read("etc/kept"), "old\n");
    assert_eq!(guest.read("etc/replaced"), "new\n");
    let mode = |name: &str| fs::metadata(guest.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("etc/replaced"), 0o640);
    assert!(guest.read("calls").contains("chown user:group "));
}

/// The archive as it is on its disk: padded with zeros to a full sector.
#[test]
fn the_archive_is_unpacked_once_from_a_disk_with_padding() {
    let mut machine = machine();
    machine.containerd.system = true;
    machine.guest_install_prefix = "/opt/c".to_owned();
    let mut facts = facts();
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("bin")).unwrap();
    fs::write(root.path().join("bin/containerd"), "program").unwrap();
    let tar = Command::new("tar")
        .args(["-C"])
        .arg(root.path())
        .args(["-czf", "-", "bin"])
        .output()
        .unwrap();
    assert!(tar.status.success());
    facts.containerd_archive = Some(Archive {
        size_bytes: tar.stdout.len() as u64,
        identity: "one".to_owned(),
    });
    let guest = Guest::new(&machine, &facts);
    fs::create_dir_all(guest.path("sys/block/vda")).unwrap();
    fs::create_dir_all(guest.path("sys/block/vdb")).unwrap();
    guest.write("sys/block/vdb/serial", ARCHIVE_SERIAL);
    let mut disk = tar.stdout;
    disk.resize(disk.len().next_multiple_of(512) + 512, 0);
    fs::write(guest.path("dev/vdb"), &disk).unwrap();
    // There is no systemd here to start it.
    assert_eq!(guest.boot(&[]).status.code(), Some(1));
    assert_eq!(guest.read("run/callao/boot-done"), "1\ncontainerd\n");
    assert_eq!(guest.read("opt/c/bin/containerd"), "program");
    assert_eq!(guest.read("var/lib/callao/containerd"), "one\n");
    let log = guest.read("var/log/callao-boot.log");
    assert!(
        log.contains("containerd is unpacked, but this guest has no systemd to start it\n"),
        "{log}"
    );

    guest.write("opt/c/bin/containerd", "changed");
    guest.boot(&[]);
    assert_eq!(guest.read("opt/c/bin/containerd"), "changed");
    let archive = facts.containerd_archive.as_mut().unwrap();
    archive.identity = "two".to_owned();
    guest.seed(&machine, &facts);
    guest.boot(&[]);
    assert_eq!(guest.read("opt/c/bin/containerd"), "program");

    // A disk that was cut short leaves no mark, so the next boot tries again.
    let archive = facts.containerd_archive.as_mut().unwrap();
    archive.identity = "three".to_owned();
    guest.seed(&machine, &facts);
    fs::write(guest.path("dev/vdb"), &disk[..60]).unwrap();
    guest.boot(&[]);
    assert!(!guest.path("var/lib/callao/containerd").exists());
}

#[test]
fn wanting_containerd_without_its_archive_is_told() {
    let mut machine = machine();
    machine.containerd.user = true;
    let guest = Guest::new(&machine, &facts());
    guest.boot(&[]);
    assert_eq!(guest.read("run/callao/boot-done"), "1\ncontainerd\n");
    assert!(
        guest
            .read("var/log/callao-boot.log")
            .contains("no archive of containerd is attached\n")
    );
}
