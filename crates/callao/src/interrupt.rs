//! SIGINT and SIGTERM. The first one asks whoever is in the middle of something to stop in good order; the second
//! one ends the process at once. Knows nothing of what is being stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::Output;

/// Whether somebody wants us to stop.
#[derive(Clone)]
pub struct Interrupt {
    token: CancellationToken,
    in_the_middle: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Starts to listen for signals, in a thread that lives as long as the process.
    ///
    /// # Errors
    /// The system refuses the handler or the thread.
    pub fn install(output: Arc<Output>) -> std::io::Result<Self> {
        let interrupt = Interrupt {
            token: CancellationToken::new(),
            in_the_middle: Arc::default(),
        };
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let listener = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                for _ in signals.forever() {
                    let again = listener.token.is_cancelled();
                    if again || listener.in_the_middle.load(Ordering::SeqCst) == 0 {
                        signal_hook::low_level::exit(ExitCode::Interrupted.number().into());
                    }
                    // Said first: whoever sees the token gives up its guard, and may end the process.
                    output.info("Stopping; what arrived is kept (once more to end at once)");
                    listener.token.cancel();
                }
            })?;
        Ok(interrupt)
    }

    /// Until the guard is dropped, the first signal only cancels [`Interrupt::token`]: there is something to put in
    /// order. Without a guard it ends the process.
    pub fn guard(&self) -> Guard {
        self.in_the_middle.fetch_add(1, Ordering::SeqCst);
        Guard(Arc::clone(&self.in_the_middle))
    }

    /// Cancelled by the first signal.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether there was a signal.
    pub fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Stops here if there was a signal.
    ///
    /// # Errors
    /// [`CommandError::interrupted`].
    pub fn check(&self) -> Result<(), CommandError> {
        if self.is_set() {
            Err(CommandError::interrupted())
        } else {
            Ok(())
        }
    }
}

/// See [`Interrupt::guard`].
pub struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
