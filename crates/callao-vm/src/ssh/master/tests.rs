//! The connection with programs that behave as ssh does at its ends: refused, ended, waiting. The real one is tested
//! with a guest (`tests/it/ssh.rs`).
#![expect(clippy::disallowed_methods, reason = "the tests write programs")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::ssh::client::Client;

const LONG: Duration = Duration::from_secs(60);

/// A connection with a script in place of ssh. Its arguments are `-F CONFIG -S SOCKET` and what else; `$SELF` is the directory.
fn with(script: &str) -> (tempfile::TempDir, Master, Keeping) {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("ssh");
    let text = format!("#!/bin/sh\nSELF={}\n{script}\n", dir.path().display());
    fs::write(&program, text).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let access = Access {
        client: Client {
            ssh: vec![program.into_os_string()],
            is_chosen: true,
            scp: "scp".into(),
            keygen: "ssh-keygen".into(),
        },
        config: dir.path().join("ssh.config"),
        host: "lima-a".to_owned(),
    };
    let control = dir.path().join("ssh.sock");
    let (master, keeping) = new(access, control);
    (dir, master, keeping)
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn the_first_line_names_the_interpreter() {
    let table = [
        ("true\n", "sh"),
        ("", "sh"),
        ("#!\n", "sh"),
        ("#!/bin/bash\nset -e\n", "/bin/bash"),
        (
            "#!/usr/bin/env -S python3 -u\n",
            "/usr/bin/env -S python3 -u",
        ),
    ];
    for (script, expected) in table {
        assert_eq!(interpreter(script), expected);
    }
}

#[test]
fn pauses_grow_until_a_connection_works() {
    let mut pause = MASTER_PAUSE;
    for _ in 0..10 {
        let next = next_pause(pause, false);
        assert!(next >= pause && next <= MASTER_PAUSE_MAX);
        pause = next;
    }
    assert_eq!(pause, MASTER_PAUSE_MAX);
    assert_eq!(next_pause(pause, true), MASTER_PAUSE);
}

#[tokio::test]
async fn a_guest_that_lets_nobody_in_is_said_with_the_words_of_ssh() {
    let (_dir, master, keeping) =
        with("echo 'user@127.0.0.1: Permission denied (publickey).' >&2; exit 255");
    let cancel = CancellationToken::new();
    let kept = tokio::spawn(keeping.run(cancel.clone()));
    let within = Duration::from_millis(1200);
    let error = master.lets_in(within, &cancel).await.expect_err("no login");
    assert_eq!(
        error.to_string(),
        "no login in the guest within 1 s; ssh said last: `user@127.0.0.1: Permission denied (publickey).`"
    );
    cancel.cancel();
    kept.await.expect("no panic");
    assert_eq!(*master.state().borrow(), State::Ended);
    let error = master.lets_in(LONG, &CancellationToken::new()).await;
    assert_eq!(
        error.expect_err("ended").to_string(),
        "the connection to the guest was ended"
    );
}

#[tokio::test]
async fn a_connection_that_ends_is_opened_again() {
    let (dir, master, keeping) =
        with("echo >> $SELF/rounds; : > $4; while [ -e $4 ]; do sleep 0.02; done; exit 255");
    let cancel = CancellationToken::new();
    let kept = tokio::spawn(keeping.run(cancel.clone()));
    let mut state = master.state();
    let control = dir.path().join("ssh.sock");
    for round in 1..=3 {
        state
            .wait_for(|state| *state == State::Up(round))
            .await
            .expect("kept");
        fs::remove_file(&control).expect("its socket");
    }
    state
        .wait_for(|state| *state == State::Up(4))
        .await
        .expect("kept");
    assert_eq!(lines(&dir.path().join("rounds")), 4);
    cancel.cancel();
    kept.await.expect("no panic");
    assert!(!files::is_there(&control));
}

#[tokio::test]
async fn what_does_not_work_is_said() {
    let (dir, master, _keeping) =
        with("case $6 in forward) echo 'no such port' >&2; exit 1;; esac; exec sleep 600");
    let forward = Forward {
        reverse: false,
        spec: "127.0.0.1:1:127.0.0.1:2".to_owned(),
    };
    let error = master.forward(&forward).await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "ssh does not forward -L 127.0.0.1:1:127.0.0.1:2: `no such port`"
    );
    let error = master.run("true", Duration::from_millis(20)).await;
    assert_eq!(
        error.expect_err("slow").to_string(),
        "a script in the guest did not end within 0 s"
    );
    let program = dir.path().join("ssh");
    fs::remove_file(&program).expect("the program");
    assert_eq!(
        master
            .run("true", LONG)
            .await
            .expect_err("no ssh")
            .to_string(),
        format!(
            "{} cannot be run: No such file or directory (os error 2)",
            program.display()
        )
    );
}

#[tokio::test]
async fn a_script_is_the_input_of_its_interpreter() {
    // The words after `--` are what the guest runs.
    let (_dir, master, _keeping) =
        with("while [ \"$1\" != -- ]; do shift; done; shift; exec sh -c \"$*\"");
    let output = master
        .run("#!/usr/bin/env sh\necho out; echo err >&2; exit 7\n", LONG)
        .await
        .expect("ended");
    assert_eq!(
        output,
        Output {
            code: Some(7),
            stdout: "out\n".to_owned(),
            stderr: "err\n".to_owned(),
            is_cut: false,
        }
    );
}
