//! The directory of instances: what is there, what is made, what is removed. An instance is there as a whole or not at
//! all: it is made under a name that nobody looks at, and gets its own when it is complete; it leaves the same way.
//! Must not know QEMU, nor what a state means.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::places::Places;
use crate::process_id::ProcessId;
use crate::spec::Spec;
use crate::state::State;
use crate::status::{self, Alive, Status};
use crate::{files, limits};

/// How the directory of an instance begins that is being made or removed.
const HIDDEN: char = '.';

/// All instances of a user.
#[derive(Debug, Clone)]
pub struct Instances {
    root: PathBuf,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Instance {
    name: String,
    places: Places,
}

/// What is known of an instance.
#[derive(Debug, Clone)]
pub struct Known {
    /// How it is.
    pub status: Status,
    /// Why, if that needs a reason.
    pub reason: Option<String>,
    /// What was written down; the default if it was never started.
    pub state: State,
}

/// Nobody else changes the instance as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Instances {
    /// Those in this directory, whether it exists or not.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Instances { root: root.into() }
    }

    /// Their names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = files::names_in(&self.root);
        names.retain(|name| !name.starts_with(HIDDEN) && files::is_dir(&self.root.join(name)));
        names
    }

    /// The one of this name, damaged or not.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn find(&self, name: &str) -> Result<Instance, Error> {
        let dir = self.root.join(name);
        if name.is_empty() || name.starts_with(HIDDEN) || name.contains('/') || !files::is_dir(&dir)
        {
            return Err(Error::NotFound { name: name.into() });
        }
        Ok(Instance {
            name: name.into(),
            places: Places::new(dir),
        })
    }

    /// Where the instance of this name would be.
    #[must_use]
    pub fn place(&self, name: &str) -> Places {
        Places::new(self.root.join(name))
    }

    /// Begins to make an instance.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::SocketPath`]; [`Error::Io`].
    pub fn draft(&self, name: &str) -> Result<Draft, Error> {
        let target = self.place(name);
        if files::is_there(target.dir()) {
            return Err(Error::Exists { name: name.into() });
        }
        let longest = target.longest_socket();
        if longest.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
            return Err(Error::SocketPath {
                name: name.into(),
                path: longest,
            });
        }
        self.clear_up();
        let dir = self.hidden(name);
        files::make_dirs(&dir).map_err(|source| Error::io("make", &dir, source))?;
        Ok(Draft {
            name: name.into(),
            places: Places::new(dir),
            target,
            is_finished: false,
        })
    }

    /// A directory that nobody looks at, of this process.
    fn hidden(&self, name: &str) -> PathBuf {
        hidden(&self.root, name)
    }

    /// Removes what killed processes left behind.
    fn clear_up(&self) {
        for name in files::names_in(&self.root) {
            let owner = name
                .strip_prefix(HIDDEN)
                .and_then(|rest| rest.rsplit_once('.'))
                .and_then(|(_, pid)| pid.parse().ok());
            let is_left = owner.is_some_and(|pid: u32| {
                pid != std::process::id() && ProcessId::of_pid(pid).is_none()
            });
            if is_left {
                // The next one tries again.
                let _ = files::remove_dir(&self.root.join(name));
            }
        }
    }
}

fn hidden(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{HIDDEN}{name}.{}", std::process::id()))
}

impl Instance {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its things are.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What it is.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn spec(&self) -> Result<Spec, Error> {
        Spec::read(&self.places.spec())
    }

    /// How it is. A state that cannot be read makes it broken.
    #[must_use]
    pub fn known(&self) -> Known {
        let written = match State::read(&self.places.state()) {
            Ok(written) => written,
            Err(error) => {
                return Known {
                    status: Status::Broken,
                    reason: Some(error.to_string()),
                    state: State::default(),
                };
            }
        };
        let is_alive = |id: Option<ProcessId>| id.is_some_and(|id| id.is_alive());
        let alive = written.as_ref().map_or(Alive::default(), |state| Alive {
            supervisor: is_alive(state.supervisor),
            qemu: is_alive(state.qemu),
        });
        let (status, reason) = status::judge(written.as_ref(), alive);
        Known {
            status,
            reason,
            state: written.unwrap_or_default(),
        }
    }

    /// Keeps everybody else from changing it.
    ///
    /// # Errors
    /// [`Error::Busy`]: its supervisor lives, or another callao changes it. [`Error::Io`].
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.places.lock();
        match files::lock(&path) {
            Ok(Some(file)) => Ok(Lock { _file: file }),
            Ok(None) => Err(Error::Busy {
                name: self.name.clone(),
            }),
            Err(source) => Err(Error::io("lock", &path, source)),
        }
    }

    /// Removes it. It must not run: whoever holds its lock has made sure.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delete(self, lock: Lock) -> Result<(), Error> {
        let dir = self.places.dir();
        let gone = hidden(dir.parent().unwrap_or(dir), &self.name);
        files::rename(dir, &gone).map_err(|source| Error::io("remove", dir, source))?;
        drop(lock);
        files::remove_dir(&gone).map_err(|source| Error::io("remove", &gone, source))
    }
}

/// An instance that is being made. Dropped before it is finished, it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    name: String,
    places: Places,
    target: Places,
    is_finished: bool,
}

impl Draft {
    /// Where its things go.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Makes it an instance.
    ///
    /// # Errors
    /// [`Error::Exists`]: somebody else was quicker. [`Error::Io`].
    pub fn finish(mut self, spec: &Spec) -> Result<Instance, Error> {
        spec.write(&self.places.spec())?;
        let target = self.target.dir();
        files::rename(self.places.dir(), target).map_err(|source| {
            // A directory that is not empty cannot be replaced.
            if files::is_there(target) {
                Error::Exists {
                    name: self.name.clone(),
                }
            } else {
                Error::io("make", target, source)
            }
        })?;
        self.is_finished = true;
        Ok(Instance {
            name: self.name.clone(),
            places: self.target.clone(),
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed when the next one is made.
            let _ = files::remove_dir(self.places.dir());
        }
    }
}
