//! What every command works with: settings, output, disk, the places on it, and the signals. Knows no command.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callao_store::catalogue::Catalogue;
use callao_store::disk::{Disk, RealDisk};
use callao_store::places::Places;
use callao_store::staging::{WaitChoice, Waited};

use crate::cli::Common;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind, Host};
use crate::interrupt::Interrupt;
use crate::output::{Output, human};
use crate::settings::{Overrides, Settings};

/// What it means that there is a new, empty catalogue.
const HASHED_AGAIN: &str =
    "Files are hashed again when they are used; `callao cache rebuild` does it for all of them";

/// The surroundings of one command.
pub struct App {
    /// The process's surroundings.
    pub host: Host,
    /// What is meant.
    pub settings: Settings,
    /// Where everything is printed.
    pub output: Arc<Output>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where each thing lives on it.
    pub places: Places,
    /// Signals.
    pub interrupt: Interrupt,
    /// Before this command has written anything.
    catalogue_is_gone: bool,
    catalogue: OnceLock<Option<Catalogue>>,
}

impl App {
    /// Decides the settings and begins to listen for signals.
    ///
    /// # Errors
    /// Usage, if a setting is wrong.
    pub fn new(
        host: Host,
        common: &Common,
        overrides: &Overrides,
        output: &Arc<Output>,
    ) -> Result<App, CommandError> {
        let settings = Settings::resolve(&host, common, overrides)?;
        let interrupt = Interrupt::install(Arc::clone(output)).map_err(|error| {
            CommandError::new(
                ExitCode::Unexpected,
                format!("failed to listen for signals: {error}"),
            )
        })?;
        let places = Places::new(&settings.cache_dir);
        // A proof is written with a record: if there is one without the other, the catalogue was deleted.
        let catalogue_is_gone = host::kind_of(&places.catalogue()).is_none()
            && !host::names_in(&places.proofs()).is_empty();
        let output = Arc::clone(output);
        Ok(App {
            host,
            settings,
            output,
            disk: Arc::new(RealDisk),
            places,
            interrupt,
            catalogue_is_gone,
            catalogue: OnceLock::new(),
        })
    }

    /// The catalogue; without it (read-only disk) everything works, only slower. Says so once, and also when there was
    /// one that could not be read or is gone.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.catalogue
            .get_or_init(|| self.open_catalogue())
            .as_ref()
    }

    fn open_catalogue(&self) -> Option<Catalogue> {
        let path = self.places.catalogue();
        let output = Arc::clone(&self.output);
        let shown = path.display().to_string();
        let told = move |aside: &Path| {
            output.warning(format!(
                "the catalogue `{shown}` cannot be read; it was moved aside to `{}`. {HASHED_AGAIN}",
                aside.display()
            ));
        };
        match Catalogue::open_telling(&path, told) {
            Ok(catalogue) => {
                if self.catalogue_is_gone {
                    let path = path.display();
                    self.output
                        .warning(format!("the catalogue `{path}` is gone. {HASHED_AGAIN}"));
                }
                Some(catalogue)
            }
            Err(error) => {
                self.output.warning(CommandError::from(error).message);
                None
            }
        }
    }

    /// Path and size of a file that is named on the command line.
    ///
    /// # Errors
    /// Not found: there is none.
    pub(crate) fn named_file(&self, given: &Path) -> Result<(PathBuf, u64), CommandError> {
        let path = self.host.working_dir.join(given);
        match host::kind_of(&path) {
            Some(FileKind::File { size }) => Ok((path, size)),
            _ => Err(CommandError::new(
                ExitCode::NotFound,
                format!("there is no file `{}`", given.display()),
            )),
        }
    }

    /// How to wait for a lock: says so once, gives up at the deadline or at a signal.
    pub fn lock_waiter(&self) -> impl FnMut(Waited) -> WaitChoice {
        let mut said = false;
        move |waited: Waited| {
            if !said && waited.since > Duration::from_millis(250) {
                said = true;
                let limit = human::duration(self.settings.lock_wait);
                self.output.info(format!(
                    "Waiting for another process that holds `{}` (at most {limit})",
                    waited.path.display()
                ));
            }
            if self.interrupt.is_set() || waited.since >= self.settings.lock_wait {
                return WaitChoice::GiveUp;
            }
            WaitChoice::KeepWaiting
        }
    }
}
