//! The life of one machine, and the process that looks after it: the supervisor.
//!
//! ```text
//!              create            start               ready
//!     absent ---------> created --------> starting ---------> running
//!        ^                 |               |    |              |    |
//!        |                 |          stop |    | failed,      |    | stop, or the guest
//!        | delete          | delete        |    | QEMU died    |    | powers itself off
//!        +-----------------+               v    |              |    v
//!        |                             stopping |              | stopping
//!        |                                 |    |              |    |
//!        +-------------- stopped <---------+----|--------------|----+
//!        |                  |                   v              |
//!        +---------------- broken <--------------- QEMU died --+
//!                           |
//!      start from stopped and from broken goes to starting, as from created
//! ```
//!
//! What may be asked in which state is decided in `requests`, what is true after a crash in `status`. A supervisor that
//! finds QEMU running, because the one before it was killed, takes it over. It must not know who started it, nor print.

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::instance::{Instance, Lock};
use crate::launch::Launch;
use crate::limits;
use crate::spec::Spec;
use crate::state::{Failure, Phase};

mod board;
mod boot;
mod clock;
mod guest;
mod running;
mod shares;
mod tend;

use board::Board;
use boot::Begun;
pub(crate) use running::Running;

/// What every part of a supervisor works with.
struct Job<'a> {
    instance: &'a Instance,
    spec: &'a Spec,
    launch: &'a Launch,
    stop: &'a CancellationToken,
}

/// How the life of a machine ended.
enum End {
    /// As it should: it was stopped, or the guest powered itself off; and what was not right with that.
    Stopped(Option<Failure>),
    /// As it should not.
    Broken(Failure),
}

/// Looks after a machine from its start to its end. `stop` ends it in good order.
///
/// # Errors
/// [`Error::Busy`]: somebody else looks after it. [`Error::Damaged`], [`Error::Io`]: its directory cannot be used.
/// How its life ended is written down, and no error of this.
pub async fn supervise(
    instance: &Instance,
    launch: &Launch,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let _lock = lock(instance).await?;
    let spec = instance.spec()?;
    let board = Board::begin(instance)?;
    let job = Job {
        instance,
        spec: &spec,
        launch,
        stop,
    };
    let end = live(&job, &board).await;
    board.change(|state| {
        state.supervisor = None;
        state.qemu = None;
        state.ssh_port = None;
        state.doing.clear();
        match end {
            End::Stopped(failure) => {
                state.phase = Phase::Stopped;
                state.error = failure;
            }
            End::Broken(failure) => {
                state.phase = Phase::Broken;
                state.error = Some(failure);
            }
        }
    });
    Ok(())
}

/// Somebody who only looks whether it is free holds it for a moment.
async fn lock(instance: &Instance) -> Result<Lock, Error> {
    for _ in 1..limits::LOCK_TRIES_COUNT {
        match instance.lock() {
            Err(Error::Busy { .. }) => tokio::time::sleep(limits::LOCK_PAUSE).await,
            other => return other,
        }
    }
    instance.lock()
}

async fn live(job: &Job<'_>, board: &Board) -> End {
    let mut begun = match boot::begin(job, board).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return End::Stopped(None),
        Err(failure) => return End::Broken(failure),
    };
    let end = tend::tend(job, board, &mut begun).await;
    let Begun {
        running, shares, ..
    } = begun;
    let end = tend::finish(job, board, running, end).await;
    shares.end().await;
    end
}

impl Failure {
    /// What an error says.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        let text = error.to_string();
        let mut lines = text.lines().map(str::to_string);
        Failure {
            message: lines.next().unwrap_or_default(),
            details: lines.collect(),
            hint: None,
        }
    }

    /// A sentence.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            details: Vec::new(),
            hint: None,
        }
    }

    /// With these lines below it.
    #[must_use]
    pub(crate) fn with_lines(mut self, text: &str) -> Self {
        self.details.extend(text.lines().map(str::to_string));
        self
    }

    /// With this advice.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
