//! A program that runs to its end, with input, bounded output and a deadline; and the end of one that does not end by
//! itself. Must not know which program it is.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::limits::CHILD_END_WAIT;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Whether more was said than was kept.
    pub(crate) is_cut: bool,
}

/// A command that dies with its handle.
pub(crate) fn command(argv: &[OsString]) -> Command {
    let mut words = argv.iter();
    let mut command = Command::new(words.next().cloned().unwrap_or_default());
    // Messages are shown and read: not in the language of the terminal.
    command.args(words).env("LC_ALL", "C").kill_on_drop(true);
    command
}

/// Runs a program to its end. What it does not read of the input is lost; of each output as many bytes as given are kept.
///
/// # Errors
/// It cannot be started, or does not end in time ([`io::ErrorKind::TimedOut`]).
pub(crate) async fn run(
    argv: &[OsString],
    input: &[u8],
    bytes_max: usize,
    within: Duration,
) -> io::Result<Ended> {
    let mut child = command(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let fed = async {
        if let Some(mut stdin) = stdin {
            // A program may end without reading everything.
            let _ = stdin.write_all(input).await;
        }
    };
    let all = async {
        tokio::join!(
            fed,
            read_start(stdout, bytes_max),
            read_start(stderr, bytes_max),
            child.wait()
        )
    };
    let ((), (stdout, more_out), (stderr, more_err), status) = timeout(within, all)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    Ok(Ended {
        status: status?,
        stdout,
        stderr,
        is_cut: more_out || more_err,
    })
}

/// Reads to the end, keeps the start, and says whether there was more.
pub(crate) async fn read_start(
    stream: Option<impl AsyncRead + Unpin>,
    bytes_max: usize,
) -> (Vec<u8>, bool) {
    let Some(mut stream) = stream else {
        return (Vec::new(), false);
    };
    let mut kept = Vec::new();
    let mut is_cut = false;
    let mut buffer = vec![0; 8 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = bytes_max - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
        is_cut |= length > room;
    }
    (kept, is_cut)
}

/// Asks a child to end, and kills it if it does not.
pub(crate) async fn end(child: &mut Child) {
    let id = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended in between.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    if timeout(CHILD_END_WAIT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(Into::into).to_vec()
    }

    #[tokio::test]
    async fn input_output_and_status_pass_through() {
        let ended = run(&sh("cat; echo wrong >&2; exit 3"), b"text", 100, LONG)
            .await
            .expect("ended");
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.stdout, b"text");
        assert_eq!(ended.stderr, b"wrong\n");
        assert!(!ended.is_cut);
    }

    #[tokio::test]
    async fn of_a_flood_the_start_is_kept_and_what_is_not_read_holds_nothing_up() {
        let input = vec![b'x'; 1 << 20];
        let ended = run(&sh("head -c 1000000 /dev/zero; true"), &input, 10, LONG)
            .await
            .expect("ended");
        assert_eq!(ended.stdout, [0; 10]);
        assert!(ended.is_cut && ended.status.success());
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_given_up() {
        let error = run(&sh("exec sleep 600"), b"", 10, Duration::from_millis(50))
            .await
            .expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_child_ends_even_if_it_does_not_want_to() {
        for script in [
            "exec sleep 600",
            "trap '' TERM; echo; while :; do sleep 0.05; done",
        ] {
            let mut child = command(&sh(script))
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell");
            end(&mut child).await;
            assert!(child.try_wait().expect("a status").is_some(), "{script}");
        }
    }
}
