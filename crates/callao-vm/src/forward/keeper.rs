//! Keeps the forwards of a machine as its rules want them, while connections and listeners come and go. What cannot be
//! forwarded is told, and never a reason to stop. Must not know the rules themselves, nor who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use tokio::io::BufReader;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::listeners;
use super::rules::{End, Rules, Wanted};
use crate::child;
use crate::files;
use crate::limits::{LISTENERS_RETRY_PAUSE, SCRIPT_WAIT};
use crate::ssh::master::{Forward, Master, State};
use crate::ssh::quote::{join, quote};

/// What happened to a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is there.
    Opened(Entry),
    /// It is gone, because nothing listens any more.
    Closed(Entry),
    /// It cannot be had.
    Refused {
        /// Which one.
        entry: Entry,
        /// Why.
        why: String,
    },
    /// It is not known what listens in the guest.
    Blind {
        /// Why.
        why: String,
    },
}

/// One forward.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The guest listens, for the host.
    pub reverse: bool,
    /// The host's end.
    pub host: End,
    /// The guest's end.
    pub guest: End,
    /// Whether the template names it; a refusal is worth a warning then.
    pub is_asked: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(entry) => write!(f, "forwarding {entry}"),
            Self::Closed(entry) => write!(f, "no longer forwarding {entry}"),
            Self::Refused { entry, why } => write!(f, "not forwarding {entry}: {why}"),
            Self::Blind { why } => write!(
                f,
                "what listens in the guest is not known, so new ports are not forwarded for now: {why}"
            ),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, guest, .. } = self;
        if self.reverse {
            write!(f, "{guest} of the guest to {host} of the host")
        } else {
            write!(f, "{host} of the host to {guest} of the guest")
        }
    }
}

/// Keeps the forwards of one machine.
#[derive(Debug)]
pub struct Keeper {
    master: Master,
    rules: Rules,
    notes: mpsc::Sender<Note>,
    open: BTreeMap<Forward, Entry>,
    refused: BTreeSet<Forward>,
}

/// However it ends: ssh leaves its sockets behind.
impl Drop for Keeper {
    fn drop(&mut self) {
        for entry in self.open.values().filter(|entry| !entry.reverse) {
            remove_socket(&entry.host);
        }
    }
}

impl Keeper {
    /// Nothing happens until it is run.
    #[must_use]
    pub fn new(master: Master, rules: Rules, notes: mpsc::Sender<Note>) -> Self {
        Self {
            master,
            rules,
            notes,
            open: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Keeps them until the token is cancelled or the connection has ended for good.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut state = self.master.state();
        loop {
            let round = tokio::select! {
                () = cancel.cancelled() => break,
                round = next_round(&mut state) => round,
            };
            let Some(round) = round else { break };
            // Those of the round before ended with it.
            self.open.clear();
            self.refused.clear();
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = state.wait_for(|state| *state != State::Up(round)) => {}
                () = self.keep() => {}
            }
        }
    }

    /// One round; it has no end of its own.
    async fn keep(&mut self) {
        self.adjust(&BTreeSet::new()).await;
        if !self.rules.follows() {
            std::future::pending::<()>().await;
        }
        loop {
            let why = match self.follow().await {
                Ok(()) => "the guest's loop ended".to_owned(),
                Err(error) => error.to_string(),
            };
            self.note(Note::Blind { why }).await;
            sleep(LISTENERS_RETRY_PAUSE).await;
        }
    }

    /// Follows what listens, as long as the guest tells it.
    async fn follow(&mut self) -> io::Result<()> {
        let mut argv = self.master.argv(&["-T"]);
        let script = listeners::script();
        argv.extend(["--".into(), join(&["sh", "-c", &script]).into()]);
        let mut guest = child::command(&argv)
            // It is never written to; its end is what ends the loop.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let Some(stdout) = guest.stdout.take() else {
            return Ok(());
        };
        let mut stdout = BufReader::new(stdout);
        while let Some(listeners) = listeners::next(&mut stdout).await? {
            self.adjust(&listeners).await;
        }
        Ok(())
    }

    async fn adjust(&mut self, listeners: &BTreeSet<SocketAddr>) {
        let wanted = entries(self.rules.wanted(listeners));
        let (close, open) = difference(&self.open, &wanted);
        for (forward, entry) in close {
            // ssh may not know it any more, which is as good.
            let _ = self.master.cancel(&forward).await;
            remove_socket(&entry.host);
            self.open.remove(&forward);
            self.note(Note::Closed(entry)).await;
        }
        // What is not wanted any more is told again when it is wanted again.
        self.refused.retain(|forward| wanted.contains_key(forward));
        for (forward, entry) in open {
            match self.open_one(&forward, &entry).await {
                Ok(()) => {
                    self.refused.remove(&forward);
                    self.open.insert(forward, entry.clone());
                    self.note(Note::Opened(entry)).await;
                }
                Err(why) => {
                    // It is tried again with every change, and told once.
                    if self.refused.insert(forward) {
                        self.note(Note::Refused { entry, why }).await;
                    }
                }
            }
        }
    }

    async fn open_one(&self, forward: &Forward, entry: &Entry) -> Result<(), String> {
        match (&entry.host, &entry.guest) {
            (_, End::Socket(path)) if entry.reverse => self.make_room_in_guest(path).await?,
            (End::Tcp(address), _) => free_port(*address)?,
            (End::Socket(path), _) => free_socket(Path::new(path))?,
        }
        let opened = self.master.forward(forward).await;
        opened.map_err(|error| error.to_string())
    }

    /// sshd does not replace a socket that was left behind.
    async fn make_room_in_guest(&self, path: &str) -> Result<(), String> {
        let dir = Path::new(path)
            .parent()
            .and_then(Path::to_str)
            .unwrap_or("/");
        let script = format!("mkdir -p {} && rm -f {}\n", quote(dir), quote(path));
        match self.master.run(&script, SCRIPT_WAIT).await {
            Ok(output) if output.code == Some(0) => Ok(()),
            Ok(output) => Err(crate::ssh::said::said(output.stderr.as_bytes())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Nobody may be listening to notes.
    async fn note(&self, note: Note) {
        let _ = self.notes.send(note).await;
    }
}

/// The number of the round that is there or comes next; `None`: there will be none.
async fn next_round(state: &mut watch::Receiver<State>) -> Option<u64> {
    let is_settled = |state: &State| !matches!(state, State::Down(_));
    let settled = state.wait_for(is_settled).await.ok()?;
    match *settled {
        State::Up(round) => Some(round),
        _ => None,
    }
}

/// What ssh is told for each forward.
fn entries(wanted: Wanted) -> BTreeMap<Forward, Entry> {
    let to_guest = wanted.to_guest.into_iter().map(|(host, target)| Entry {
        reverse: false,
        host,
        guest: target.guest,
        is_asked: target.is_asked,
    });
    let to_host = wanted.to_host.into_iter().map(|(guest, host)| Entry {
        reverse: true,
        host: End::Socket(host),
        guest: End::Socket(guest),
        is_asked: true,
    });
    let all = to_guest.chain(to_host);
    all.map(|entry| (forward_of(&entry), entry)).collect()
}

fn forward_of(entry: &Entry) -> Forward {
    let (listener, target) = if entry.reverse {
        (&entry.guest, &entry.host)
    } else {
        (&entry.host, &entry.guest)
    };
    Forward {
        reverse: entry.reverse,
        spec: format!("{}:{}", written(listener), written(target)),
    }
}

/// ssh takes a colon in a path for the end of it, unless there is a backslash before.
fn written(end: &End) -> String {
    match end {
        End::Tcp(address) => address.to_string(),
        End::Socket(path) => path.replace('\\', "\\\\").replace(':', "\\:"),
    }
}

type Forwards = Vec<(Forward, Entry)>;

/// What is to be closed, and what is to be opened afterwards.
fn difference(
    open: &BTreeMap<Forward, Entry>,
    wanted: &BTreeMap<Forward, Entry>,
) -> (Forwards, Forwards) {
    let without = |these: &BTreeMap<Forward, Entry>, those: &BTreeMap<Forward, Entry>| {
        let rest = these
            .iter()
            .filter(|(forward, _)| !those.contains_key(forward));
        rest.map(|(forward, entry)| (forward.clone(), entry.clone()))
            .collect()
    };
    (without(open, wanted), without(wanted, open))
}

/// ssh says no more than that it failed, so the port is tried first.
fn free_port(address: SocketAddr) -> Result<(), String> {
    let error = match TcpListener::bind(address) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens there".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privileges; give it another one with `hostPort:`".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "the host has no such address".to_owned(),
        _ => error.to_string(),
    })
}

/// Makes the directory of a socket, and removes a socket that nobody listens on.
fn free_socket(path: &Path) -> Result<(), String> {
    if let Some(dir) = path.parent() {
        files::make_dirs(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    if !files::is_there(path) {
        return Ok(());
    }
    if !files::is_socket(path) {
        return Err("there is a file that is no socket".to_owned());
    }
    if UnixStream::connect(path).is_ok() {
        return Err("something else listens there".to_owned());
    }
    files::remove(path).map_err(|error| error.to_string())
}

fn remove_socket(end: &End) {
    if let End::Socket(path) = end {
        // A socket that stays is stale, and removed when it is needed again.
        let _ = files::remove(Path::new(path));
    }
}

#[cfg(test)]
mod tests;
