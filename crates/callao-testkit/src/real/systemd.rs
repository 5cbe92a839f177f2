//! A real `systemd --user` of an ordinary user who exists only here: in a mount namespace in which the computer looks as if
//! it had been booted with systemd, and in control groups of its own. Needs root, systemd and util-linux; all of it goes
//! when it is dropped.
//!
//! Knows nothing of the services that it runs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::process::{Process, until};
use super::say_skipped;

/// Nobody's number, as a rule; nothing depends on it.
const USER: u32 = 61_234;
const START_LIMIT: Duration = Duration::from_secs(20);
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
const CGROUPS: &str = "/sys/fs/cgroup";
/// In every control group: the processes in it.
const PROCS: &str = "cgroup.procs";

/// `$1`: files that take a process into its control groups; `$2`: the manager; then the command that makes it an ordinary
/// user's.
const BEGIN: &str = "\
set -e
for procs in $1; do echo $$ >$procs; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/systemd/unit-root /run/systemd/mount-rootfs
manager=$2
shift 2
exec \"$@\" \"$manager\" --user --log-target=null";

/// A manager, and the user whose it is.
#[derive(Debug)]
pub struct UserManager {
    dir: PathBuf,
    cgroups: Vec<PathBuf>,
    process: Option<Process>,
}

impl UserManager {
    /// Starts one for the user of `dir`, who owns everything there from now on and has `dir/home` as home. `None` when this
    /// computer cannot have one, which has then been said.
    pub fn start(dir: &Path) -> Option<Self> {
        let mut manager = UserManager {
            dir: dir.to_owned(),
            cgroups: Vec::new(),
            process: None,
        };
        match manager.begin() {
            Ok(()) => Some(manager),
            Err(trouble) => {
                say_skipped(&format!(
                    "no `systemd --user` (it needs root, systemd and control groups): {trouble}"
                ));
                None
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let mut programs = PROGRAMS.iter().filter(|path| Path::new(path).is_file());
        let program = programs.next().ok_or("there is no systemd")?;
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        let run = self.dir.join("run");
        fs::create_dir(&run).map_err(|error| error.to_string())?;
        self.own(&self.dir)?;
        self.make_cgroups()?;
        let procs = self.cgroups.iter().map(|group| group.join(PROCS));
        let procs: Vec<String> = procs.map(|file| file.display().to_string()).collect();
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "sh",
                "-c",
                BEGIN,
                "sh",
                &procs.join(" "),
                program,
            ])
            .args(self.as_user())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Process::start(&mut command).map_err(|error| error.to_string())?;
        let process = self.process.insert(started);
        let socket = run.join("systemd/private");
        let ready = until(process, START_LIMIT, || socket.exists().then_some(()));
        ready.ok_or_else(|| format!("it does not start: {:?}", process.ended()))
    }

    /// In every hierarchy that a manager wants to have a place in: of version 2, and systemd's own of version 1.
    fn make_cgroups(&mut self) -> Result<(), String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(CGROUPS);
        let all = match root.join(PROCS).exists() {
            true => vec![root.to_owned()],
            false => vec![root.join("unified"), root.join("systemd")],
        };
        for hierarchy in all {
            if !hierarchy.join(PROCS).exists() {
                continue;
            }
            let group = hierarchy.join(format!("callao-test-{}-{number}", std::process::id()));
            let made = fs::create_dir(&group);
            made.map_err(|error| format!("{}: {error}", group.display()))?;
            self.cgroups.push(group.clone());
            self.own(&group)?;
        }
        match self.cgroups.is_empty() {
            true => Err("there are no control groups".into()),
            false => Ok(()),
        }
    }

    /// Gives the user everything in a directory.
    ///
    /// # Errors
    /// The disk.
    fn own(&self, path: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        chown(path, Some(USER), Some(USER)).map_err(failed)?;
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                self.own(&entry.map_err(failed)?.path())?;
            }
        }
        Ok(())
    }

    /// A command of this user, as after a login, with more variables (`NAME=value`).
    pub fn command(&self, variables: &[String], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(&self.as_user()[1..])
            .args(variables)
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    fn as_user(&self) -> Vec<String> {
        let (dir, user) = (self.dir.display(), USER.to_string());
        let words = [
            "setpriv",
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "env",
            "-i",
        ];
        let variables = [
            "PATH=/usr/bin:/bin".to_owned(),
            "LANG=C.UTF-8".to_owned(),
            format!("HOME={dir}/home"),
            format!("XDG_RUNTIME_DIR={dir}/run"),
        ];
        words
            .into_iter()
            .map(str::to_owned)
            .chain(variables)
            .collect()
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        // It ends its services first.
        drop(self.process.take());
        for group in &self.cgroups {
            remove_group(group);
        }
    }
}

/// A group can be removed when there are neither groups nor processes in it. Whatever is still there was started by the
/// manager, which did not end it.
fn remove_group(group: &Path) {
    let left = fs::read_to_string(group.join(PROCS)).unwrap_or_default();
    for pid in left.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid) {
            kill_process(pid, Signal::KILL).unwrap_or(());
        }
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    // Somebody may still be in it: then it stays, and holds nothing.
    fs::remove_dir(group).unwrap_or(());
}
