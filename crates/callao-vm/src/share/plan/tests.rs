//! Hosts, templates and ways as a table.

use callao_template::Arch;

use super::*;
use crate::limits::MOUNT_TAG_BYTES_MAX;
use crate::plain_machine;
use MountType::{NineP, ReverseSshfs, Virtiofs};

const ALL: Host = Host {
    virtiofs: true,
    virtiofs_read_only: true,
    nine_p: true,
    sftp: true,
};

fn mount(writable: bool) -> Mount {
    Mount {
        location: "/home/user".to_owned(),
        mount_point: "/home/user".to_owned(),
        writable,
        nine_p_security_model: "none".to_owned(),
        nine_p_version: "9p2000.L".to_owned(),
        nine_p_msize_bytes: 128 << 10,
        nine_p_cache: "fscache".to_owned(),
        virtiofs_queue_size: None,
        sshfs_cache: true,
        sshfs_follow_symlinks: false,
    }
}

fn machine(writable: bool, way: Option<MountType>, unsupported: &[MountType]) -> Machine {
    Machine {
        mounts: vec![mount(writable)],
        mount_type: way,
        mount_types_unsupported: unsupported.to_vec(),
        ..plain_machine::machine(Arch::X86_64)
    }
}

fn one(machine: &Machine, host: Host) -> Result<Share, Error> {
    Ok(plan(machine, host)?.remove(0))
}

#[test]
fn the_best_way_that_there_is_is_taken() {
    let weak = Host {
        virtiofs_read_only: false,
        ..ALL
    };
    let no_daemon = Host {
        virtiofs: false,
        ..ALL
    };
    let only_sftp = Host {
        nine_p: false,
        ..no_daemon
    };
    let no_sftp = Host { sftp: false, ..ALL };
    // Writable, unsupported by the guest, host: way, whether sshfs is next, how many reasons.
    type Row<'a> = (bool, &'a [MountType], Host, MountType, bool, usize);
    let table: [Row; 9] = [
        (false, &[], ALL, Virtiofs, true, 0),
        (true, &[], ALL, Virtiofs, true, 0),
        (true, &[], weak, Virtiofs, true, 0),
        (false, &[], weak, NineP, true, 1),
        (true, &[], no_daemon, NineP, true, 1),
        (true, &[], only_sftp, ReverseSshfs, false, 2),
        (true, &[Virtiofs, NineP], ALL, ReverseSshfs, false, 2),
        (true, &[], no_sftp, Virtiofs, false, 0),
        (true, &[ReverseSshfs], ALL, Virtiofs, false, 0),
    ];
    for (writable, unsupported, host, way, then_sshfs, reasons) in table {
        let share = one(&machine(writable, None, unsupported), host).expect("a way");
        assert_eq!(
            (share.way, share.then_sshfs, share.reasons.len()),
            (way, then_sshfs, reasons),
            "{share:?}"
        );
        let is_told = share.why_no_sshfs.is_some();
        assert_eq!(is_told, !then_sshfs && way != ReverseSshfs, "{share:?}");
    }
}

#[test]
fn the_way_of_the_template_is_taken_or_refused() {
    for way in [Virtiofs, NineP, ReverseSshfs] {
        let share = one(&machine(false, Some(way), &[]), ALL).expect("a way");
        assert_eq!((share.way, share.then_sshfs), (way, false));
    }
    let advice = "leave mountType out and the best way that there is is taken";
    let table = [
        (
            Virtiofs,
            Host {
                virtiofs_read_only: false,
                ..ALL
            },
            "mountType virtiofs: mount /home/user: the virtiofsd here cannot keep the guest from writing; \
             one that knows --readonly can (1.13 or newer)",
        ),
        (
            Virtiofs,
            Host {
                virtiofs: false,
                ..ALL
            },
            "mountType virtiofs: mount /home/user: there is no virtiofsd that this user may run, or QEMU has no vhost-user-fs-pci",
        ),
        (
            NineP,
            Host {
                nine_p: false,
                ..ALL
            },
            "mountType 9p: mount /home/user: QEMU has no virtio-9p-pci",
        ),
        (
            ReverseSshfs,
            Host { sftp: false, ..ALL },
            "mountType reverse-sshfs: mount /home/user: \
             there is no sftp-server (Debian, Ubuntu: openssh-sftp-server; Fedora: openssh-server)",
        ),
    ];
    for (way, host, text) in table {
        let error = one(&machine(false, Some(way), &[]), host).expect_err("no way");
        assert_eq!(error.to_string(), format!("{text}; {advice}"));
    }
}

#[test]
fn without_any_way_each_says_why() {
    let error = one(&machine(false, None, &[NineP]), Host::default()).expect_err("no way");
    assert_eq!(
        error.to_string(),
        "mount /home/user: there is no way to share it: \
         virtiofs: there is no virtiofsd that this user may run, or QEMU has no vhost-user-fs-pci; \
         9p: the template says that the guest cannot (mountTypesUnsupported); \
         reverse-sshfs: there is no sftp-server (Debian, Ubuntu: openssh-sftp-server; Fedora: openssh-server)"
    );
}

#[test]
fn a_tag_is_short_and_says_which_mount_it_is() {
    let one = mount(false);
    // printf /home/user:/home/user | sha256sum
    assert_eq!(tag(&one), "lima-6e315e7efecd2be5");
    let other = Mount {
        mount_point: "/mnt".to_owned(),
        ..one.clone()
    };
    assert_ne!(tag(&one), tag(&other));
    assert!(tag(&one).len() <= MOUNT_TAG_BYTES_MAX);
}
