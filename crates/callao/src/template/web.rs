//! A template from a web server: one GET, within fixed limits. Unlike limactl, it looks at the status: a page that says
//! "not found" is no template.

use std::time::Duration;

use callao_template::limits::TEMPLATE_SIZE_BYTES_MAX;
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run;
use crate::get::sources::Places;

/// For the whole of a text of at most 4 MiB, however slowly it comes.
const SECONDS_MAX: u64 = 60;

/// The bytes behind a URL.
///
/// # Errors
/// Not found: 404 or 410, or no socket may be opened. Network: everything else that a server can do wrong. Template:
/// it is too large.
pub(super) fn get(app: &App, url: &str) -> Result<Vec<u8>, CommandError> {
    if app.settings.offline {
        return Err(CommandError::new(
            ExitCode::NotFound,
            format!("template `{url}` is on the web, and --offline allows nothing to be asked"),
        ));
    }
    let _guard = app.interrupt.guard();
    let runtime = run::new_runtime()?;
    runtime.block_on(async {
        tokio::select! {
            answer = within(Duration::from_secs(SECONDS_MAX), url, fetch(app, url)) => answer,
            () = app.interrupt.token().cancelled() => Err(CommandError::interrupted()),
        }
    })
}

/// Whatever the parts of an answer may take, the whole has its limit too.
async fn within(
    limit: Duration,
    url: &str,
    answer: impl Future<Output = Result<Vec<u8>, CommandError>>,
) -> Result<Vec<u8>, CommandError> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let reason = format!("it did not arrive within {} s", limit.as_secs());
        Err(failed(url, &reason))
    })
}

async fn fetch(app: &App, url: &str) -> Result<Vec<u8>, CommandError> {
    let settings = &app.settings;
    let client = Places::new(app, &SourceArgs::default(), &[])?.plain_client()?;
    let sent = timeout(settings.connect + settings.answer, client.get(url).send()).await;
    let mut response = match sent {
        Ok(sent) => sent.map_err(|error| failed(url, &reason(&error)))?,
        Err(_) => return Err(failed(url, "the server does not answer")),
    };
    let status = response.status();
    if !status.is_success() {
        let mut error = failed(url, &format!("the server answers {status}"));
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            error.kind = ExitCode::NotFound;
        }
        return Err(error);
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = match timeout(settings.stall, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| failed(url, &reason(&error)))?,
            Err(_) => return Err(failed(url, "the server stopped in the middle")),
        };
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > TEMPLATE_SIZE_BYTES_MAX {
            return Err(CommandError::new(
                ExitCode::Template,
                format!("template `{url}` has more than {TEMPLATE_SIZE_BYTES_MAX} bytes"),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn failed(url: &str, reason: &str) -> CommandError {
    CommandError::new(
        ExitCode::Network,
        format!("failed to get template `{url}`: {reason}"),
    )
}

/// The innermost reason: reqwest's own words repeat the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    source.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_template_that_never_ends_is_given_up() {
        let answer = within(Duration::ZERO, "http://h/t.yaml", std::future::pending());
        let error = answer.await.expect_err("too slow");
        assert_eq!(
            error.message,
            "failed to get template `http://h/t.yaml`: it did not arrive within 0 s"
        );
        assert_eq!(error.kind, ExitCode::Network);
    }
}
