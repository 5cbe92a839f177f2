//! The running daemon, asked by another callao of the same user: what it knows, and to look again. Must not know what its
//! answers are for.

use std::time::Duration;

use super::pages;
use super::report;
use super::state::Running;
use super::status::Status;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// The daemon is on this computer; it answers from memory.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const STATUS_BYTES_MAX: usize = 16 << 20;

/// The status of a running daemon.
///
/// # Errors
/// Network: it does not answer.
pub(crate) async fn status(running: &Running) -> Result<Status, CommandError> {
    let asked = async {
        let url = format!("{}{}", running.gateway, pages::STATUS);
        let client = report::client(ANSWER_MAX)?;
        let mut answer = client.get(url).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > STATUS_BYTES_MAX {
                break;
            }
        }
        Ok::<_, reqwest::Error>(bytes)
    };
    let bytes = within(running, asked).await?;
    serde_json::from_slice(&bytes).map_err(|error| failed(running, &error.to_string()))
}

/// Has it look at once what is in the cache.
///
/// # Errors
/// Network: it does not answer.
pub(crate) async fn look(running: &Running) -> Result<(), CommandError> {
    let asked = async {
        let url = format!("{}{}", running.gateway, pages::LOOK);
        let request = report::client(ANSWER_MAX)?.post(url);
        let answer = request.bearer_auth(&running.token).send().await?;
        answer.error_for_status().map(drop)
    };
    within(running, asked).await
}

async fn within<T>(
    running: &Running,
    asked: impl Future<Output = Result<T, reqwest::Error>>,
) -> Result<T, CommandError> {
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(answer) => answer.map_err(|error| failed(running, &error.to_string())),
        Err(_) => Err(failed(running, "no answer within 5 s")),
    }
}

fn failed(running: &Running, why: &str) -> CommandError {
    let pid = running.pid;
    let what = format!("`callao serve` (process {pid}) does not answer: {why}");
    CommandError::new(ExitCode::Network, what)
}
