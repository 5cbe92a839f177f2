//! Both kinds by their help and command lines; a process by a program that behaves like one.
#![expect(clippy::disallowed_methods, reason = "the tests write programs")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const RUST_NEW: &str =
    "Options:\n      --shared-dir <SHARED_DIR>\n      --socket-path <X>\n      --readonly\n";
const RUST_OLD: &str = "Options:\n      --shared-dir <SHARED_DIR>\n      --socket-path <X>\n";
const C: &str = "    -o source=PATH             shared directory tree\n    --socket-path=PATH\n";

fn program(dir: &Path, text: &str) {
    fs::create_dir_all(dir).expect("a directory");
    let path = dir.join("virtiofsd");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn daemon(dir: &Path, kind: Kind) -> Daemon {
    Daemon {
        program: dir.join("virtiofsd"),
        kind,
        read_only: false,
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
fn the_help_says_which_one_it_is() {
    let table = [
        (RUST_NEW, Some((Kind::Rust, true))),
        (RUST_OLD, Some((Kind::Rust, false))),
        (C, Some((Kind::C, false))),
        ("usage: something else", None),
    ];
    for (help, expected) in table {
        assert_eq!(abilities(help), expected, "{help}");
    }
}

#[tokio::test]
async fn the_best_of_several_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    for (name, help) in [
        ("c", C),
        ("old", RUST_OLD),
        ("new", RUST_NEW),
        ("other", "what?"),
    ] {
        program(&at(name), &format!("cat <<'E'\n{help}\nE"));
    }
    let found = async |names: &[&str], is_root| {
        let dirs: Vec<PathBuf> = names.iter().map(|name| at(name)).collect();
        let daemon = find(&dirs, is_root).await?;
        Some((daemon.program, daemon.read_only))
    };
    let program = |name: &str, read_only| Some((at(name).join("virtiofsd"), read_only));
    assert_eq!(
        found(&["c", "old", "new"], true).await,
        program("new", true)
    );
    assert_eq!(
        found(&["other", "c", "old"], true).await,
        program("c", false)
    );
    assert_eq!(found(&["c", "old"], false).await, program("old", false));
    assert_eq!(found(&["c", "other", "nowhere"], false).await, None);
}

#[test]
fn each_has_its_command_line() {
    let dir = Path::new("/bin");
    let socket = Path::new("/i/a/virtiofsd-0.sock");
    assert_eq!(
        shown(&daemon(dir, Kind::Rust).argv(socket, "/a b", false)),
        "/bin/virtiofsd | --socket-path | /i/a/virtiofsd-0.sock | --shared-dir | /a b | --cache | auto | --readonly"
    );
    assert_eq!(
        shown(&daemon(dir, Kind::Rust).argv(socket, "/a", true)),
        "/bin/virtiofsd | --socket-path | /i/a/virtiofsd-0.sock | --shared-dir | /a | --cache | auto"
    );
    assert_eq!(
        shown(&daemon(dir, Kind::C).argv(socket, "/a,b", true)),
        "/bin/virtiofsd | --socket-path=/i/a/virtiofsd-0.sock | -f | -o | source=/a\\,b | -o | cache=auto"
    );
}

#[tokio::test]
async fn one_that_ends_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    program(
        dir.path(),
        "echo 'unshare: Operation not permitted' >&2; exit 1",
    );
    let daemon = daemon(dir.path(), Kind::Rust);
    let socket = dir.path().join("a.sock");
    let shown = daemon.program.display();
    let error = daemon
        .share(&socket, "/a", true)
        .await
        .expect_err("it ended");
    assert_eq!(
        error.to_string(),
        format!("{shown} does not share /a: `unshare: Operation not permitted`")
    );
    fs::remove_file(&daemon.program).expect("removed");
    let error = daemon
        .share(&socket, "/a", true)
        .await
        .expect_err("no program");
    assert_eq!(
        error.to_string(),
        format!("{shown} cannot be run: No such file or directory (os error 2)")
    );
}

/// With the real one, where there is one that this user may run.
#[tokio::test]
async fn a_directory_is_shared_until_it_is_stopped() {
    let dirs: Vec<PathBuf> = DIRS.iter().map(PathBuf::from).collect();
    let Some(daemon) = find(&dirs, rustix::process::geteuid().is_root()).await else {
        println!("skipped: no virtiofsd that this user may run");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("a.sock");
    match daemon.share(&socket, "/usr", true).await {
        Ok(sharing) => {
            assert!(sharing.pid().is_some());
            assert!(files::is_socket(&socket));
            sharing.stop().await;
            assert!(!files::is_there(&socket));
        }
        // In a container it may not make its sandbox.
        Err(error) => println!("skipped: {error}"),
    }
}
