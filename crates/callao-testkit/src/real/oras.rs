//! The real `oras`, which pushes files to registries and pulls them: what it does is what people expect.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{ORAS_VARIABLE, find};

/// An `oras` that knows nothing of this computer's logins.
#[derive(Clone, Debug)]
pub struct Oras {
    binary: PathBuf,
    home: PathBuf,
}

impl Oras {
    /// Finds it; `home` is where it may keep what it likes. `None` when there is none, which has then been said.
    ///
    /// # Panics
    /// As [`super::skip`] does.
    pub fn find(home: &Path) -> Option<Self> {
        let binary = find("oras", ORAS_VARIABLE)?;
        Some(Self {
            binary,
            home: home.to_owned(),
        })
    }

    /// A command in `directory`.
    pub fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("DOCKER_CONFIG", self.home.join("docker"))
            .current_dir(directory)
            .args(arguments);
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not start or fails.
    pub fn run(&self, directory: &Path, arguments: &[&str]) -> Output {
        let output = self
            .command(directory, arguments)
            .output()
            .expect("oras starts");
        assert!(
            output.status.success(),
            "oras {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}
