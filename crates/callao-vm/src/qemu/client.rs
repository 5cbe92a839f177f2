//! Talks QMP over a unix socket: one connection, commands with a deadline, events in the order in which they came.
//!
//! It must not know what a command is good for, nor whether QEMU should be running.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::qmp::{self, Event, Message, QmpError};
use crate::limits;

/// A connection to QEMU.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    /// What was read and is not yet a whole line.
    buffer: Vec<u8>,
    /// Up to here there is no end of a line in the buffer.
    searched: usize,
    events: VecDeque<Event>,
    last_id: u64,
    version: (u64, u64, u64),
}

/// QEMU does not answer, or says no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot reach QEMU at {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection to QEMU at {} broke: {source}", socket.display())]
    Broke {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// QEMU closed the connection: it has ended.
    #[error("QEMU closed its connection at {}", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
    },
    /// No answer.
    #[error("QEMU at {} did not answer {what} in time", socket.display())]
    Late {
        /// The socket.
        socket: PathBuf,
        /// What it was asked.
        what: String,
    },
    /// It said no.
    #[error("QEMU refused {what}: {class}: `{desc}`")]
    Refused {
        /// What it was asked.
        what: String,
        /// QEMU's class of errors.
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// It spoke nonsense.
    #[error("at {}: {source}", socket.display())]
    Language {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        source: QmpError,
    },
}

impl Client {
    /// Connects, trying again until the socket is there and answers, and until the deadline. QEMU that refuses its arguments
    /// never listens: wait for its end at the same time.
    ///
    /// # Errors
    /// Nobody listens until the deadline, or it is not QEMU.
    pub async fn connect(socket: &Path, wait: Duration) -> Result<Self, ClientError> {
        let end = Instant::now() + wait;
        let stream = loop {
            let source = match timeout_at(end, UnixStream::connect(socket)).await {
                Ok(Ok(stream)) => break stream,
                Ok(Err(source)) => source,
                Err(_) => std::io::ErrorKind::TimedOut.into(),
            };
            // A path that is too long for a socket stays so.
            let is_final = source.kind() == std::io::ErrorKind::InvalidInput;
            if is_final || Instant::now() + limits::QMP_CONNECT_PAUSE >= end {
                return Err(ClientError::Connect {
                    socket: socket.to_owned(),
                    source,
                });
            }
            sleep(limits::QMP_CONNECT_PAUSE).await;
        };
        let mut client = Self {
            socket: socket.to_owned(),
            stream,
            buffer: Vec::new(),
            searched: 0,
            events: VecDeque::new(),
            last_id: 0,
            version: (0, 0, 0),
        };
        let greeting = timeout_at(end, client.next_message()).await;
        match greeting.map_err(|_| client.late("a connection"))?? {
            Some(Message::Greeting { version }) => client.version = version,
            Some(other) => {
                return Err(client.language(QmpError::NoMessage {
                    line: crate::program::shown(&format!("{other:?}")),
                }));
            }
            None => return Err(client.closed()),
        }
        client.execute_until("qmp_capabilities", None, end).await?;
        Ok(client)
    }

    /// The version that QEMU greeted with: major, minor, micro.
    #[must_use]
    pub fn version(&self) -> (u64, u64, u64) {
        self.version
    }

    /// Has QEMU carry out a command, such as `query-status`, `system_powerdown`, `quit`.
    ///
    /// # Errors
    /// QEMU refuses, has ended, or does not answer in time. After that the connection can still be used.
    pub async fn execute(
        &mut self,
        name: &str,
        arguments: Option<Value>,
        wait: Duration,
    ) -> Result<Value, ClientError> {
        self.execute_until(name, arguments, Instant::now() + wait)
            .await
    }

    async fn execute_until(
        &mut self,
        name: &str,
        arguments: Option<Value>,
        end: Instant,
    ) -> Result<Value, ClientError> {
        self.last_id += 1;
        let id = self.last_id;
        let line = qmp::command(name, arguments, id);
        let sent = timeout_at(end, self.stream.write_all(&line)).await;
        sent.map_err(|_| self.late(name))?
            .map_err(|source| self.broke(source))?;
        loop {
            let message = timeout_at(end, self.next_message()).await;
            match message.map_err(|_| self.late(name))?? {
                None => return Err(self.closed()),
                Some(Message::Event(event)) => self.keep(event),
                Some(Message::Return {
                    id: Some(answered),
                    value,
                }) if answered == id => return Ok(value),
                // Without a number it is a command that QEMU could not read: ours is the only one under way.
                Some(Message::Refused {
                    id: answered,
                    class,
                    desc,
                }) if answered.is_none_or(|answered| answered == id) => {
                    return Err(ClientError::Refused {
                        what: name.to_owned(),
                        class,
                        desc,
                    });
                }
                // The late answer to a command that was given up.
                Some(_) => {}
            }
        }
    }

    /// The next event; none when QEMU has ended. May be dropped at any time without losing anything.
    ///
    /// # Errors
    /// The connection broke, or it is not QEMU.
    pub async fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.next_message().await? {
                Some(Message::Event(event)) => return Ok(Some(event)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn keep(&mut self, event: Event) {
        if self.events.len() == limits::QMP_EVENTS_COUNT_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// May be dropped while it waits: what was read stays in the buffer.
    async fn next_message(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(place) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + place).collect();
                self.searched = 0;
                let message = qmp::parse_line(&line);
                return message.map(Some).map_err(|error| self.language(error));
            }
            self.searched = self.buffer.len();
            if self.searched > limits::QMP_LINE_BYTES_MAX {
                return Err(self.language(QmpError::TooLong));
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // QEMU ends without reading what it was sent last.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Err(error) => return Err(self.broke(error)),
            }
        }
    }

    fn late(&self, what: &str) -> ClientError {
        ClientError::Late {
            socket: self.socket.clone(),
            what: what.to_owned(),
        }
    }

    fn closed(&self) -> ClientError {
        ClientError::Closed {
            socket: self.socket.clone(),
        }
    }

    fn broke(&self, source: std::io::Error) -> ClientError {
        if source.kind() == std::io::ErrorKind::BrokenPipe {
            return self.closed();
        }
        ClientError::Broke {
            socket: self.socket.clone(),
            source,
        }
    }

    fn language(&self, source: QmpError) -> ClientError {
        ClientError::Language {
            socket: self.socket.clone(),
            source,
        }
    }
}
