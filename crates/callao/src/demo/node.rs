//! A `callao serve` of a user of the demo: on loopback, wherever there is room. Ends with the story. Must not know what it
//! serves.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::child::{Line, Next, Running};
use super::user::User;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// How long it may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(30);
const ARGUMENTS: [&str; 6] = [
    "serve",
    "--json",
    "--gateway",
    "127.0.0.1:0",
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
];

/// A node that runs.
pub(crate) struct Node {
    running: Running,
    /// Its peer ID.
    pub(crate) id: String,
    /// A multiaddr that ends in `/p2p/ID`.
    pub(crate) address: String,
}

impl Node {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub(crate) fn start(user: &User<'_>) -> Result<Self, CommandError> {
        let mut running =
            Running::start(&mut user.command(&ARGUMENTS)).map_err(|error| failed(&error, &[]))?;
        let ready = ready(&running)?;
        running.ignore();
        let addresses = ready["addresses"].as_array().into_iter().flatten();
        let mut addresses = addresses.filter_map(Value::as_str);
        let id = ready["peer_id"].as_str();
        let (Some(id), Some(address)) = (id, addresses.find(|all| all.contains("/tcp/"))) else {
            return Err(failed(
                &format!("it has no address for peers: {ready}"),
                &[],
            ));
        };
        Ok(Node {
            running,
            id: id.into(),
            address: address.into(),
        })
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It does not end so.
    pub(crate) fn end(mut self) -> Result<(), CommandError> {
        let status = self.running.end().map_err(|error| failed(&error, &[]))?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(&format!("it ended with {status}"), &[])),
        }
    }
}

/// Its first line.
fn ready(running: &Running) -> Result<Value, CommandError> {
    let since = Instant::now();
    let mut messages = Vec::new();
    loop {
        let left = READY_MAX.saturating_sub(since.elapsed());
        match running.next(left) {
            Next::Line(Line::Result(line)) => {
                return serde_json::from_str(&line).map_err(|error| failed(&error, &messages));
            }
            Next::Line(Line::Message(line)) => messages.push(line),
            Next::Nothing => return Err(failed(&"it is not ready in time", &messages)),
            Next::End => return Err(failed(&"it ended", &messages)),
        }
    }
}

fn failed(why: &dyn std::fmt::Display, messages: &[String]) -> CommandError {
    let mut error = CommandError::new(
        ExitCode::Unexpected,
        format!("the demo failed: `callao serve`: {why}"),
    );
    error.details.extend_from_slice(messages);
    error
}
