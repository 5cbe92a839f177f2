//! A QEMU that runs: what ends it, and how it ended. It may be our child, or one that another supervisor left behind.
//! Must not know what the guest does.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::process_id::{Ask, ProcessId};
use crate::qemu::args::NETWORK;
use crate::qemu::client::{Client, ClientError};
use crate::qemu::process::{Started, last_words};
use crate::qemu::qmp::Event;

/// A QEMU that runs.
pub(crate) struct Running {
    id: ProcessId,
    started: Option<Started>,
    client: Option<Client>,
    /// Why it is going to end, if it has said so.
    shutdown: Option<bool>,
    /// Whether the guest stands still because the disk of this computer is full.
    no_space: watch::Sender<bool>,
    /// Whether it goes on, and is about to find out whether there is room now.
    tries_again: bool,
    /// A port of this computer that leads nowhere in the guest, and when it is of no use any more.
    closed_port: Option<(u16, CancellationToken)>,
}

/// How QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The guest switched the machine off.
    ByGuest,
    /// Somebody asked it to end.
    ByHost,
    /// Without a word.
    Died {
        /// How, if it was our child.
        status: Option<ExitStatus>,
        /// What it said last.
        words: String,
    },
}

/// What makes a supervisor do something.
enum Turn {
    /// QEMU, or its end.
    Said(Result<Option<Event>, ClientError>),
    /// A port is of no use any more.
    GiveUp(u16),
    /// A guest that stands still, or that tries again, has done so for a while.
    Waited,
}

/// Waits until the port is of no use any more; without one, for ever.
async fn is_useless(closed_port: Option<&(u16, CancellationToken)>) -> u16 {
    match closed_port {
        Some((port, until)) => {
            until.cancelled().await;
            *port
        }
        None => std::future::pending().await,
    }
}

impl Running {
    /// A QEMU that was just started.
    pub(crate) fn new(id: ProcessId, started: Started) -> Self {
        Running {
            id,
            started: Some(started),
            client: None,
            shutdown: None,
            no_space: watch::Sender::new(false),
            tries_again: false,
            closed_port: None,
        }
    }

    /// One that another supervisor started.
    pub(crate) fn adopted(id: ProcessId) -> Self {
        Running {
            id,
            started: None,
            client: None,
            shutdown: None,
            no_space: watch::Sender::new(false),
            tries_again: false,
            closed_port: None,
        }
    }

    /// Has QEMU give up a port of this computer, once `until` is cancelled.
    pub(crate) fn give_up(&mut self, port: u16, until: CancellationToken) {
        self.closed_port = Some((port, until));
    }

    /// Whether the guest stands still because the disk of this computer is full, and a way to wait for changes.
    pub(crate) fn no_space(&self) -> watch::Receiver<bool> {
        self.no_space.subscribe()
    }

    /// Connects to its monitor.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) async fn connect(&mut self, socket: &Path) -> Result<(), ClientError> {
        let client = tokio::select! {
            client = Client::connect(socket, limits::QMP_CONNECT_WAIT) => client?,
            // A QEMU that refuses its arguments never listens.
            _ = self.gone() => {
                return Err(ClientError::Connect {
                    socket: socket.to_owned(),
                    source: std::io::ErrorKind::ConnectionRefused.into(),
                });
            }
        };
        self.client = Some(client);
        Ok(())
    }

    /// Learns whether the guest of a QEMU that another supervisor started stands still: that was said once.
    pub(crate) async fn ask_for_space(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let status = client.execute("query-status", None, limits::QMP_ANSWER_WAIT);
        // One that does not answer now may later: its events are heard.
        if let Ok(answer) = status.await
            && answer["status"] == "io-error"
        {
            self.no_space.send_replace(true);
        }
    }

    /// Waits for its end. May be dropped at any time.
    pub(crate) async fn ended(&mut self, log: &Path) -> Ended {
        // The monitor tells why, and closes when the process ends.
        while let Some(client) = &mut self.client {
            let is_stuck = *self.no_space.borrow();
            let pause = match self.tries_again {
                true => limits::NO_SPACE_SETTLED,
                false => limits::NO_SPACE_PAUSE,
            };
            let turn = tokio::select! {
                event = client.next_event() => Turn::Said(event),
                port = is_useless(self.closed_port.as_ref()) => Turn::GiveUp(port),
                () = tokio::time::sleep(pause), if is_stuck => Turn::Waited,
            };
            // What QEMU answers to a command that fails changes nothing: it is tried again, or a port stays open.
            match turn {
                Turn::Said(Ok(Some(event))) => self.note(&event),
                Turn::Said(_) => self.client = None,
                Turn::GiveUp(port) => {
                    self.closed_port = None;
                    let line = format!("hostfwd_remove {NETWORK} tcp:127.0.0.1:{port}");
                    let arguments = serde_json::json!({ "command-line": line });
                    let command = "human-monitor-command";
                    let _ = client
                        .execute(command, Some(arguments), limits::QMP_ANSWER_WAIT)
                        .await;
                }
                Turn::Waited if self.tries_again => {
                    self.no_space.send_replace(false);
                }
                // What could not be written is tried again when the guest goes on.
                Turn::Waited => {
                    let _ = client.execute("cont", None, limits::QMP_ANSWER_WAIT).await;
                }
            }
        }
        let status = self.gone().await;
        match self.shutdown {
            Some(true) => Ended::ByGuest,
            Some(false) => Ended::ByHost,
            None => Ended::Died {
                status,
                words: match &self.started {
                    Some(started) => started.last_words(),
                    None => last_words(log, 0),
                },
            },
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Shutdown { guest, .. } => self.shutdown = Some(*guest),
            Event::BlockIoError { no_space: true, .. } => {
                self.tries_again = false;
                self.no_space.send_replace(true);
            }
            Event::Resume => self.tries_again = true,
            _ => {}
        }
    }

    /// Waits until there is no such process any more.
    async fn gone(&mut self) -> Option<ExitStatus> {
        if let Some(started) = &mut self.started {
            return started.child.wait().await.ok();
        }
        // Not our child: the system tells nobody. Without its monitor it is about to end.
        while self.id.is_alive() {
            tokio::time::sleep(limits::PROCESS_LOOK_PAUSE).await;
        }
        None
    }

    /// As [`Running::ended`], for at most so long.
    pub(crate) async fn ended_within(&mut self, log: &Path, within: Duration) -> Option<Ended> {
        timeout_at(Instant::now() + within, self.ended(log))
            .await
            .ok()
    }

    /// Has the guest switch itself off, and ends QEMU when it does not in time. Says whether that was needed.
    pub(crate) async fn power_off(&mut self, log: &Path, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            if let Some(client) = &mut self.client {
                // A guest that cannot be asked is waited for, and ended, all the same.
                let _ = client
                    .execute("system_powerdown", None, limits::QMP_ANSWER_WAIT)
                    .await;
            }
            // A guest that is still booting does not hear it: it is asked again.
            let again = (Instant::now() + limits::POWER_OFF_AGAIN).min(end);
            if timeout_at(again, self.ended(log)).await.is_ok() {
                return false;
            }
            if Instant::now() >= end {
                self.kill(log).await;
                return true;
            }
        }
    }

    /// Ends QEMU at once.
    pub(crate) async fn kill(&mut self, log: &Path) {
        // One that cannot be signalled has ended, or will be seen to live.
        let _ = self.id.signal(Ask::Kill);
        let end = Instant::now() + limits::KILL_WAIT;
        let _ = timeout_at(end, self.ended(log)).await;
    }
}
