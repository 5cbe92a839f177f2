//! Command lines as tables. Nothing is run.

use super::*;

fn access(name: &str) -> Access {
    Access {
        client: Client {
            ssh: vec!["/usr/bin/ssh".into()],
            is_chosen: false,
            scp: "/usr/bin/scp".into(),
            keygen: "/usr/bin/ssh-keygen".into(),
        },
        config: format!("/i/{name}/ssh.config").into(),
        host: format!("lima-{name}"),
    }
}

fn guest(name: &str, port: u16) -> Guest {
    Guest {
        access: access(name),
        key: "/i/_config/user".into(),
        user: "us er".to_owned(),
        port,
    }
}

fn shown(argv: &Argv) -> String {
    let words: Vec<String> = argv
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" | ")
}

#[test]
fn a_command_is_quoted_for_the_shell_of_the_guest() {
    assert_eq!(
        shown(&access("a").run(&["-x", "a b", "$HOME"])),
        "/usr/bin/ssh | -F | /i/a/ssh.config | -T | lima-a | -- | -x 'a b' '$HOME'"
    );
}

#[test]
fn an_override_brings_its_arguments() {
    let mut access = access("a");
    access.client.ssh = vec!["my ssh".into(), "-4".into()];
    assert_eq!(
        shown(&access.ssh(&["-O", "check"])),
        "my ssh | -4 | -F | /i/a/ssh.config | -O | check | lima-a"
    );
}

#[test]
fn a_shell_goes_to_its_directory_and_is_a_login_shell() {
    let command =
        |words: &[&str]| -> Vec<String> { words.iter().map(|w| (*w).to_owned()).collect() };
    let shell = "exec \"${SHELL:-/bin/sh}\" -l";
    let table = [
        (Workdir::Home, None, vec![], shell.to_owned()),
        (
            Workdir::Try("/a b"),
            None,
            vec![],
            format!("cd '/a b'; {shell}"),
        ),
        (
            Workdir::Must("/a"),
            None,
            vec![],
            format!("cd /a || exit 1; {shell}"),
        ),
        (
            Workdir::Home,
            Some("/bin/zsh"),
            vec![],
            "exec /bin/zsh -l".to_owned(),
        ),
        (
            Workdir::Home,
            None,
            command(&["echo", "it's", "a b"]),
            format!("{shell} -c {}", quote(r#"echo 'it'"'"'s' 'a b'"#)),
        ),
    ];
    for (workdir, which, command, script) in table {
        for (terminal, option) in [(true, "-t"), (false, "-T")] {
            let shell = Shell {
                workdir,
                shell: which,
                command: &command,
                terminal,
            };
            assert_eq!(
                shown(&access("a").shell(&shell)),
                format!("/usr/bin/ssh | -F | /i/a/ssh.config | {option} | lima-a | -- | {script}")
            );
        }
    }
}

#[test]
fn the_words_of_a_command_arrive_as_they_are() {
    let words = ["printf", "%s|", "it's", "a  b", "$HOME", "\"", "*", ""];
    let command: Vec<String> = words.map(str::to_owned).to_vec();
    let shell = Shell {
        workdir: Workdir::Must("/"),
        shell: Some("sh"),
        command: &command,
        terminal: false,
    };
    // What sshd does with the script: it gives it to the user's shell.
    let output = std::process::Command::new("sh")
        .args(["-c", &shell.script()])
        .output()
        .expect("a shell");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "it's|a  b|$HOME|\"|*||"
    );
}

fn mount(location: &str, mount_point: &str) -> Mount {
    Mount {
        location: location.to_owned(),
        mount_point: mount_point.to_owned(),
        writable: false,
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
fn the_nearest_mount_says_where_the_guest_has_a_directory() {
    let mounts = [
        mount("/home/user", "/home/user"),
        mount("/home/user/src", "/src"),
        mount("/data", "/mnt/data"),
    ];
    let table = [
        ("/home/user", Some("/home/user")),
        ("/home/user/a/b", Some("/home/user/a/b")),
        ("/home/user/src", Some("/src")),
        ("/home/user/src/x y", Some("/src/x y")),
        ("/home/user/srcs", Some("/home/user/srcs")),
        ("/data/d", Some("/mnt/data/d")),
        ("/database", None),
        ("/", None),
    ];
    for (dir, there) in table {
        assert_eq!(
            dir_in_guest(Path::new(dir), &mounts).as_deref(),
            there,
            "{dir}"
        );
    }
    let everything = [mount("/", "/host")];
    assert_eq!(
        dir_in_guest(Path::new("/a"), &everything).as_deref(),
        Some("/host/a")
    );
}

#[test]
fn a_side_of_a_copy_is_a_machine_s_when_a_name_is_before_the_colon() {
    let local = |text: &str| Side::Local(text.to_owned());
    let remote = |name: &str, path: &str| Side::Remote {
        name: name.to_owned(),
        path: path.to_owned(),
    };
    let table = [
        ("a", local("a")),
        ("-a", local("-a")),
        ("./a:b", local("./a:b")),
        ("/a:b", local("/a:b")),
        (":b", local(":b")),
        ("a:b", remote("a", "b")),
        ("a:", remote("a", "")),
        ("a:/b:c", remote("a", "/b:c")),
    ];
    for (text, side) in table {
        assert_eq!(Side::parse(text), side);
    }
}

#[test]
fn a_copy_names_local_files_so_that_scp_takes_them_for_files() {
    let one = guest("one", 1001);
    let there = Place::Remote {
        guest: &one,
        path: "/x y",
    };
    let table = [
        ("a", "a"),
        ("-a", "-a"),
        ("a:b", "./a:b"),
        ("scp://a", "./scp://a"),
        ("./a:b", "./a:b"),
        ("/a:b", "/a:b"),
        ("a/b:c", "a/b:c"),
    ];
    for (path, written) in table {
        let argv = copy(false, Place::Local(path), there).expect("a command line");
        assert_eq!(
            shown(&argv),
            format!("/usr/bin/scp | -F | /i/one/ssh.config | -- | {written} | lima-one:/x y")
        );
        let argv = copy(true, there, Place::Local(path)).expect("a command line");
        assert_eq!(
            shown(&argv),
            format!("/usr/bin/scp | -F | /i/one/ssh.config | -r | -- | lima-one:/x y | {written}")
        );
    }
}

#[test]
fn a_copy_between_guests_goes_through_the_host() {
    let (one, two) = (guest("one", 1001), guest("two", 1002));
    let from = Place::Remote {
        guest: &one,
        path: "/a b",
    };
    let same = Place::Remote {
        guest: &one,
        path: "",
    };
    let other = Place::Remote {
        guest: &two,
        path: "c:d",
    };
    assert_eq!(
        shown(&copy(false, from, same).expect("a command line")),
        "/usr/bin/scp | -F | /i/one/ssh.config | -3 | -- | lima-one:/a b | lima-one:"
    );
    let argv = shown(&copy(true, from, other).expect("a command line"));
    assert!(
        argv.starts_with("/usr/bin/scp | -F | none | -i | /i/_config/user | -o | "),
        "{argv}"
    );
    assert!(
        argv.ends_with(" | -3 | -r | -- | scp://us%20er@127.0.0.1:1001//a%20b | scp://us%20er@127.0.0.1:1002/c%3Ad"),
        "{argv}"
    );
}

#[test]
fn scp_is_told_the_chosen_ssh() {
    let mut one = guest("one", 1001);
    one.access.client.is_chosen = true;
    let argv = copy(
        false,
        Place::Local("a"),
        Place::Remote {
            guest: &one,
            path: "b",
        },
    );
    assert_eq!(
        shown(&argv.expect("a command line")),
        "/usr/bin/scp | -F | /i/one/ssh.config | -S | /usr/bin/ssh | -- | a | lima-one:b"
    );
}

#[test]
fn a_copy_needs_a_machine() {
    assert_eq!(
        copy(false, Place::Local("a"), Place::Local("b"))
            .expect_err("no machine")
            .to_string(),
        "copy a b: neither is in a machine; NAME:path is, and a local name with a colon is written ./b"
    );
}
