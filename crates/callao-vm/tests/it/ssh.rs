//! The way into a real guest: key, configuration, readiness, commands, copies, forwards with real traffic, and a
//! connection that is lost. Skipped without QEMU and a tiny guest.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callao_template::machine::{GuestEnd, HostEnd, PortForward, Ssh};
use callao_vm::forward::keeper::{Keeper, Note};
use callao_vm::forward::rules::Rules;
use callao_vm::ssh::command::{Access, Argv, Guest, Place, Shell, Workdir, copy};
use callao_vm::ssh::master::{self, Master, State};
use callao_vm::ssh::{client, config, key, ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::tiny::{self, Tiny};

/// An emulated guest on a busy host.
const LONG: Duration = Duration::from_secs(120);

/// A guest that lets in, and the connection to it.
struct In {
    tiny: Tiny,
    access: Access,
    guest: Guest,
    master: Master,
    cancel: CancellationToken,
    kept: JoinHandle<()>,
}

impl In {
    async fn boot() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let client = client::find(&tiny::path_dirs(), None).expect("OpenSSH");
        let key = key::ensure(&client, &dir.path().join("_config"))
            .await
            .expect("a key");
        let tiny = tiny::boot(dir, &key.public)?;
        let here = tiny.dir.path();
        let (control, file) = (here.join("ssh.sock"), here.join("ssh.config"));
        let ssh = Ssh::default();
        let entry = config::Entry {
            name: "tiny",
            key: &key.path,
            user: "user",
            port: tiny.address.port(),
            control: &control,
            ssh: &ssh,
        };
        tiny::write(&file, &config::text(&entry));
        let access = Access {
            client,
            config: file,
            host: config::host_of("tiny"),
        };
        let cancel = CancellationToken::new();
        let answers = ready::answers(tiny.address, None, LONG, &cancel).await;
        assert_eq!(answers, Ok(()), "{}", tiny.serial());
        let (master, keeping) = master::new(access.clone(), control);
        let kept = tokio::spawn(keeping.run(cancel.clone()));
        let lets_in = master.lets_in(LONG, &cancel).await;
        lets_in.unwrap_or_else(|error| panic!("{error}: {}", tiny.serial()));
        let guest = Guest {
            access: access.clone(),
            key: key.path,
            user: "user".to_owned(),
            port: tiny.address.port(),
        };
        Some(Self {
            tiny,
            access,
            guest,
            master,
            cancel,
            kept,
        })
    }

    async fn guest_says(&self, script: &str) -> String {
        let output = self.master.run(script, LONG).await.expect("a script");
        assert_eq!(output.code, Some(0), "{script}: {}", output.stderr);
        output.stdout
    }

    async fn end(self) {
        self.cancel.cancel();
        self.kept.await.expect("no panic");
        assert_eq!(*self.master.state().borrow(), State::Ended);
    }
}

/// Exit code and output of a program with an input.
async fn call(argv: &Argv, input: &str) -> (Option<i32>, String, String) {
    let mut child = tokio::process::Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a program");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).await.expect("written");
    drop(stdin);
    let output = timeout(LONG, child.wait_with_output())
        .await
        .expect("in time")
        .expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn commands_and_copies_reach_a_real_guest() {
    let Some(inside) = In::boot().await else {
        return;
    };
    let access = &inside.access;
    // Through the connection and, when the socket is not used, without it.
    for control in [&[][..], &["-o", "ControlPath=none"]] {
        let mut argv = access.run(&["sh", "-c", "cat; echo \"it's\" >&2; exit 42"]);
        argv.splice(1..1, control.iter().map(Into::into));
        let ended = call(&argv, "in\n").await;
        assert_eq!(ended, (Some(42), "in\n".to_owned(), "it's\n".to_owned()));
    }
    let shell = |workdir, command| Shell {
        workdir,
        shell: None,
        command,
        terminal: false,
    };
    let command = ["sh", "-c", "pwd; echo \"$1\"", "-", "a  'b' $HOME"].map(str::to_owned);
    let ended = call(
        &access.shell(&shell(Workdir::Must("/var/log"), &command)),
        "",
    )
    .await;
    assert_eq!(
        ended,
        (
            Some(0),
            "/var/log\na  'b' $HOME\n".to_owned(),
            String::new()
        )
    );
    let (code, out, _) = call(
        &access.shell(&shell(Workdir::Must("/nowhere"), &command)),
        "",
    )
    .await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let (code, out, _) = call(
        &access.shell(&shell(Workdir::Try("/nowhere"), &command)),
        "",
    )
    .await;
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "/home/user\na  'b' $HOME\n")
    );
    let interactive = call(
        &access.shell(&shell(Workdir::Home, &[])),
        "echo $((6 * 7)); exit 3\n",
    )
    .await;
    assert_eq!((interactive.0, interactive.1.as_str()), (Some(3), "42\n"));
    copies(&inside).await;
    inside.end().await;
}

async fn copies(inside: &In) {
    let has_sftp = "for f in /usr/lib*/openssh/sftp-server /usr/lib*/sftp-server; do [ -x $f ] && echo yes; done; true";
    if inside.guest_says(has_sftp).await.is_empty() {
        tiny::say_skipped("copies: the guest has no sftp-server");
        return;
    }
    let here = inside.tiny.dir.path();
    let (out, back) = (here.join("out put"), here.join("back"));
    tiny::write(&out, "some text\n");
    let there = Place::Remote {
        guest: &inside.guest,
        path: "/tmp/a b",
    };
    let local = |path: &Path| path.to_str().expect("a text").to_owned();
    let (out, back_text) = (local(&out), local(&back));
    for (from, to) in [
        (Place::Local(&out), there),
        (there, Place::Local(&back_text)),
    ] {
        let argv = copy(false, from, to).expect("a command line");
        let (code, _, errors) = call(&argv, "").await;
        assert_eq!(code, Some(0), "{errors}");
    }
    assert_eq!(tiny::read(&back), "some text\n");
}

fn listed(guest: u16, host: SocketAddr) -> PortForward {
    PortForward {
        guest: GuestEnd::Ports {
            ip: [127, 0, 0, 1].into(),
            must_be_zero: false,
            first: guest,
            last: guest,
        },
        host: HostEnd::Ports {
            ip: host.ip(),
            first: host.port(),
        },
        ignore: false,
        is_static: false,
        reverse: false,
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

async fn note(notes: &mut mpsc::Receiver<Note>) -> String {
    let note = timeout(LONG, notes.recv()).await.expect("in time");
    note.expect("a note").to_string()
}

/// What comes back from a server that echoes.
async fn echoed(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("written");
    let mut answer = vec![0; text.len()];
    let read = timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("in time");
    read.expect("an answer");
    String::from_utf8(answer).expect("a text")
}

#[tokio::test]
async fn forwards_follow_what_listens_and_outlive_a_lost_connection() {
    let Some(inside) = In::boot().await else {
        return;
    };
    let (host, follows) = (free_address(), free_address());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("an address");
    let rules = [listed(7001, host), listed(7002, taken.1)];
    let rules = Rules::new(&rules, inside.tiny.address.port(), true);
    let (sender, mut notes) = mpsc::channel(64);
    let keeper = Keeper::new(inside.master.clone(), rules, sender);
    let keeping = tokio::spawn(keeper.run(inside.cancel.clone()));

    let first = [note(&mut notes).await, note(&mut notes).await];
    let opened = format!("forwarding {host} of the host to 127.0.0.1:7001 of the guest");
    let refused = format!(
        "not forwarding {} of the host to 127.0.0.1:7002 of the guest: something else listens there",
        taken.1
    );
    assert!(
        first.contains(&opened) && first.contains(&refused),
        "{first:?}"
    );
    let serve =
        |port: u16| format!("nc -ll -p {port} -e cat </dev/null >/dev/null 2>&1 & echo $!\n");
    let listed = inside.guest_says(&serve(7001)).await;
    let port = follows.port();
    let pid = inside.guest_says(&serve(port)).await;
    let followed =
        format!("forwarding 127.0.0.1:{port} of the host to 127.0.0.1:{port} of the guest");
    assert_eq!(note(&mut notes).await, followed);
    assert_eq!(echoed(follows, "followed").await, "followed");
    assert_eq!(echoed(host, "listed").await, "listed");

    let loops = inside
        .guest_says("grep -l '[p]roc/net/tcp6' /proc/[0-9]*/cmdline | cut -d/ -f3")
        .await;

    // The connection is lost: a new one has the same forwards.
    let asked = call(&inside.access.ssh(&["-O", "exit"]), "").await;
    assert_eq!(asked.0, Some(0), "{}", asked.2);
    let mut again = Vec::new();
    while !again.contains(&followed) {
        again.push(note(&mut notes).await);
    }
    assert!(again.contains(&opened), "{again:?}");
    assert_eq!(*inside.master.state().borrow(), State::Up(2));
    assert_eq!(echoed(follows, "again").await, "again");
    assert_eq!(echoed(host, "again").await, "again");

    let kill = format!("kill {} {}", pid.trim(), listed.trim());
    inside.guest_says(&kill).await;
    assert_eq!(note(&mut notes).await, format!("no longer {followed}"));
    assert!(TcpStream::connect(follows).await.is_err());
    // Nothing else would end the loop whose connection was lost.
    assert!(!loops.is_empty());
    for pid in loops.split_whitespace() {
        let waits = format!("while kill -0 {pid} 2>/dev/null; do sleep 0.1; done");
        inside.guest_says(&waits).await;
    }
    inside.cancel.cancel();
    keeping.await.expect("no panic");
    inside.end().await;
}
