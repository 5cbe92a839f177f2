//! What each side is told. The two talking to each other needs a guest with FUSE.

use super::*;

fn mount(location: &str, mount_point: &str, writable: bool) -> Mount {
    Mount {
        location: location.to_owned(),
        mount_point: mount_point.to_owned(),
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

#[test]
fn the_host_s_side_refuses_to_write_unless_it_may() {
    let shown = |mount: &Mount| {
        let argv = server(Path::new("/usr/lib/openssh/sftp-server"), mount);
        argv.iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" | ")
    };
    assert_eq!(
        shown(&mount("/a b", "/m", false)),
        "/usr/lib/openssh/sftp-server | -R | -d | /a b"
    );
    assert_eq!(
        shown(&mount("/100%d", "/m", true)),
        "/usr/lib/openssh/sftp-server | -d | /100%%d"
    );
}

#[test]
fn the_guest_s_side_mounts_as_root() {
    let plain = mount("/a b", "/m n", false);
    assert_eq!(
        client(&plain),
        "as_root=; [ \"$(id -u)\" = 0 ] || as_root='sudo -n'; exec $as_root sh -c \
         'mkdir -p \"$1\" && echo $$ >\"$2\" && exec sshfs \"$3\" \"$1\" -o \"$4\"' \
         sshfs '/m n' '/run/callao-sshfs%-m n.pid' ':/a b' slave,allow_other,ro"
    );
    let special = Mount {
        sshfs_cache: false,
        sshfs_follow_symlinks: true,
        ..mount("/a", "/m", true)
    };
    assert!(client(&special).ends_with(" :/a slave,allow_other,cache=no,follow_symlinks"));
}

#[test]
fn both_sides_are_sh() {
    let odd = mount("/it's $HOME", "/m\\n\t#", true);
    for script in [
        client(&odd),
        clear(&odd),
        waits(&odd.mount_point, Duration::from_secs(1)),
    ] {
        let status = std::process::Command::new("sh")
            .args(["-n", "-c", &script])
            .status();
        assert!(status.expect("a shell").success(), "{script}");
    }
}

#[test]
fn waiting_ends_by_itself() {
    let script = waits("/nowhere at all", Duration::from_secs(0));
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert_eq!(status.expect("a shell").code(), Some(1));
}

#[test]
fn messages_say_which_mount_and_why() {
    let (location, mount_point) = ("/a".to_owned(), "/m".to_owned());
    let ended = Error::Ended {
        location: location.clone(),
        mount_point: mount_point.clone(),
        said: "sh: sshfs: not found".to_owned(),
    };
    assert_eq!(
        ended.to_string(),
        "mount /a at /m: sshfs in the guest ended (it needs sshfs and FUSE there): `sh: sshfs: not found`"
    );
    let slow = Error::Slow {
        location: location.clone(),
        mount_point,
        within: Duration::from_secs(60),
    };
    assert_eq!(slow.to_string(), "mount /a at /m: not there after 60 s");
    let guest = Error::Guest {
        location: location.clone(),
        error: master::Error::Ended,
    };
    assert_eq!(
        guest.to_string(),
        "mount /a: the connection to the guest was ended"
    );
    let program = Error::Program {
        location,
        program: "sftp-server".to_owned(),
        error: io::Error::from_raw_os_error(2),
    };
    assert_eq!(
        program.to_string(),
        "mount /a: sftp-server cannot be run: No such file or directory (os error 2)"
    );
}
