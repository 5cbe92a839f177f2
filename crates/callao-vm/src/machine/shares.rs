//! The directories of the host that a machine has: who serves them, what QEMU and the guest are told, and what is done
//! about those that the guest cannot mount. Must not know how QEMU is started, nor which way is the best one.

use std::path::{Path, PathBuf};

use callao_template::machine::{Mount, MountType};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Job;
use super::board::Board;
use super::guest::Guest;
use crate::cloud_init::{GuestMount, MountHow};
use crate::qemu::args::SharedDir;
use crate::qemu::probe::Qemu;
use crate::share::plan::{self, Host, Share};
use crate::share::sshfs;
use crate::share::virtiofsd::{self, Daemon, Sharing};
use crate::ssh::master::{Master, State};
use crate::state::Failure;
use crate::{files, limits};

/// The directories of one machine.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: Vec<Share>,
    daemons: Vec<Sharing>,
    sftp_server: Option<PathBuf>,
    /// One for each directory that goes over ssh.
    keeping: JoinSet<()>,
}

/// Programs that serve directories.
struct Programs {
    virtiofsd: Option<Daemon>,
    sftp_server: Option<PathBuf>,
}

impl Programs {
    async fn find(job: &Job<'_>) -> Self {
        let with = |more: &[&str]| {
            let mut dirs = job.launch.path_dirs.clone();
            dirs.extend(more.iter().map(PathBuf::from));
            dirs
        };
        let is_root = rustix::process::geteuid().is_root();
        Programs {
            virtiofsd: virtiofsd::find(&with(&virtiofsd::DIRS), is_root).await,
            sftp_server: sshfs::find(&with(&sshfs::DIRS)),
        }
    }
}

impl Shares {
    /// Plans the way of each directory, and starts who serves it.
    ///
    /// # Errors
    /// A directory goes no way, or not the one that the template wants.
    pub(super) async fn begin(job: &Job<'_>, board: &Board, qemu: &Qemu) -> Result<Self, Failure> {
        let machine = &job.spec.machine;
        if machine.mounts.is_empty() {
            return Ok(Shares::default());
        }
        for mount in &machine.mounts {
            // As limactl: a directory that is not there is made.
            let dir = Path::new(&mount.location);
            files::make_dirs(dir)
                .map_err(|error| Failure::of(&crate::Error::io("make", dir, error)))?;
        }
        let programs = Programs::find(job).await;
        let mut host = Host {
            virtiofs: programs.virtiofsd.is_some() && qemu.has_virtiofs,
            virtiofs_read_only: programs.virtiofsd.as_ref().is_some_and(|it| it.read_only),
            nine_p: qemu.has_nine_p,
            sftp: programs.sftp_server.is_some(),
        };
        let plan = |host| plan::plan(machine, host).map_err(|error| Failure::of(&error));
        let mut shares = plan(host)?;
        let mut daemons = Vec::new();
        if let Some(daemon) = &programs.virtiofsd
            && let Err(error) = serve(job, daemon, &shares, &mut daemons).await
        {
            board.notice(format!("virtiofs is not used: {error}"));
            for sharing in daemons.drain(..) {
                sharing.stop().await;
            }
            host.virtiofs = false;
            shares = plan(host)?;
        }
        for share in &shares {
            board.log(&format!(
                "`{}` by {} {}",
                share.mount.location,
                plan::name(share.way),
                share.reasons.join("; ")
            ));
        }
        Ok(Shares {
            shares,
            daemons,
            sftp_server: programs.sftp_server,
            keeping: JoinSet::new(),
        })
    }

    /// Those of a machine that another supervisor started: what QEMU and virtiofsd serve goes on; what went over ssh
    /// has to be mounted again.
    pub(super) async fn taken_over(job: &Job<'_>) -> Self {
        if job.spec.machine.mounts.is_empty() {
            return Shares::default();
        }
        let programs = Programs::find(job).await;
        let host = Host {
            sftp: programs.sftp_server.is_some(),
            // How they are served was decided at their start; the guest knows what came of it.
            virtiofs: true,
            virtiofs_read_only: true,
            nine_p: true,
        };
        Shares {
            shares: plan::plan(&job.spec.machine, host).unwrap_or_default(),
            sftp_server: programs.sftp_server,
            ..Shares::default()
        }
    }

    /// What the guest is told.
    pub(super) fn for_guest(&self) -> Vec<GuestMount> {
        let of = |share: &Share| GuestMount {
            tag: share.tag.clone(),
            mount_point: share.mount.mount_point.clone(),
            writable: share.mount.writable,
            how: match share.way {
                MountType::NineP => MountHow::NineP {
                    msize_bytes: share.mount.nine_p_msize_bytes,
                    version: share.mount.nine_p_version.clone(),
                    cache: share.mount.nine_p_cache.clone(),
                },
                MountType::Virtiofs => MountHow::Virtiofs,
                MountType::ReverseSshfs => MountHow::Sshfs,
            },
            then_sshfs: share.then_sshfs,
        };
        self.shares.iter().map(of).collect()
    }

    /// What QEMU is told.
    pub(super) fn for_qemu(&self, job: &Job<'_>) -> Vec<SharedDir> {
        let of = |(index, share): (usize, &Share)| match share.way {
            MountType::NineP => Some(SharedDir::NineP {
                tag: share.tag.clone(),
                path: PathBuf::from(&share.mount.location),
                security_model: share.mount.nine_p_security_model.clone(),
                readonly: !share.mount.writable,
            }),
            MountType::Virtiofs => Some(SharedDir::Virtiofs {
                tag: share.tag.clone(),
                socket: job.instance.places().virtiofsd_socket(index),
                queue_size: share.mount.virtiofs_queue_size,
            }),
            MountType::ReverseSshfs => None,
        };
        self.shares.iter().enumerate().filter_map(of).collect()
    }

    /// Goes on where the guest is done with its mounts: `said` is what came of them, a line for each. Those that it could
    /// not mount are tried over ssh; those that cannot be had at all are told.
    pub(super) async fn complete(&mut self, board: &Board, guest: &Guest, said: &str) {
        let mut waiting = Vec::new();
        for share in &self.shares {
            let outcome = outcome(said, &share.tag);
            let reason = match &outcome {
                Outcome::Mounted => continue,
                Outcome::ByHost => String::new(),
                Outcome::Failed(reason) => reason.clone(),
            };
            let over_ssh = outcome == Outcome::ByHost || share.then_sshfs;
            let Some(program) = self.sftp_server.clone().filter(|_| over_ssh) else {
                let reason = match &share.why_no_sshfs {
                    Some(why) => format!("{reason}; over ssh: {why}"),
                    None => reason,
                };
                board.notice(not_mounted(&share.mount, &reason));
                continue;
            };
            let (first, is_done) = oneshot::channel();
            let keeper = OverSsh {
                master: guest.master.clone(),
                program,
                mount: share.mount.clone(),
                reason,
            };
            self.keeping.spawn(keeper.keep(first));
            waiting.push(is_done);
        }
        for is_done in waiting {
            // A task that ended without a word was ended by us.
            if let Ok(Err(reason)) = is_done.await {
                board.notice(reason);
            }
        }
    }

    /// Ends who serves them.
    pub(super) async fn end(mut self) {
        self.keeping.shutdown().await;
        for sharing in self.daemons {
            sharing.stop().await;
        }
    }
}

/// Starts a virtiofsd for each directory that goes this way.
async fn serve(
    job: &Job<'_>,
    daemon: &Daemon,
    shares: &[Share],
    daemons: &mut Vec<Sharing>,
) -> Result<(), virtiofsd::Error> {
    for (index, share) in shares.iter().enumerate() {
        if share.way == MountType::Virtiofs {
            let socket = job.instance.places().virtiofsd_socket(index);
            let mount = &share.mount;
            let sharing = daemon
                .share(&socket, &mount.location, mount.writable)
                .await?;
            daemons.push(sharing);
        }
    }
    Ok(())
}

/// What the guest says of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It has it.
    Mounted,
    /// The host shall mount it, over ssh.
    ByHost,
    /// It cannot.
    Failed(String),
}

/// Reads `TAG ok`, `TAG sshfs` or `TAG failed REASON`.
fn outcome(said: &str, tag: &str) -> Outcome {
    let line = said.lines().find_map(|line| line.strip_prefix(tag));
    match line.map(str::trim) {
        Some("ok") => Outcome::Mounted,
        Some("sshfs") => Outcome::ByHost,
        Some(failed) => Outcome::Failed(
            failed
                .strip_prefix("failed")
                .unwrap_or(failed)
                .trim()
                .into(),
        ),
        None => Outcome::Failed("the guest did not try it".into()),
    }
}

fn not_mounted(mount: &Mount, reason: &str) -> String {
    format!(
        "`{}` is not mounted at `{}` in the guest: {reason}",
        mount.location, mount.mount_point
    )
}

/// One directory that goes over ssh.
struct OverSsh {
    master: Master,
    program: PathBuf,
    mount: Mount,
    /// Why it does not go another way.
    reason: String,
}

impl OverSsh {
    /// Keeps it mounted: with the connection it goes, and comes again. `first` is told what came of the first try.
    async fn keep(self, first: oneshot::Sender<Result<(), String>>) {
        let mut first = Some(first);
        let mut tries = 0;
        let mut state = self.master.state();
        loop {
            let up = state.wait_for(|state| matches!(state, State::Up(_) | State::Ended));
            match up.await.as_deref() {
                Ok(State::Up(_)) => {}
                _ => return,
            }
            let mounted =
                sshfs::mount(&self.master, &self.program, &self.mount, limits::SSHFS_WAIT).await;
            match mounted {
                Ok(mut mounted) => {
                    if let Some(first) = first.take() {
                        // Nobody waits any more when the machine is being stopped.
                        let _ = first.send(Ok(()));
                    }
                    mounted.ended().await;
                }
                // A guest that has just booted is busy: once is no answer.
                Err(_) if first.is_some() && tries + 1 < limits::SSHFS_TRIES_COUNT => tries += 1,
                Err(error) => {
                    let reason = match self.reason.is_empty() {
                        true => error.to_string(),
                        false => format!("{}; over ssh: {error}", self.reason),
                    };
                    if let Some(first) = first.take() {
                        let _ = first.send(Err(not_mounted(&self.mount, &reason)));
                        return;
                    }
                }
            }
            sleep(limits::SSHFS_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_of_a_mount() {
        let said = "lima-a ok\nlima-b failed the guest's kernel has no 9p\nlima-c sshfs\n";
        assert_eq!(outcome(said, "lima-a"), Outcome::Mounted);
        assert_eq!(
            outcome(said, "lima-b"),
            Outcome::Failed("the guest's kernel has no 9p".into())
        );
        assert_eq!(outcome(said, "lima-c"), Outcome::ByHost);
        assert_eq!(
            outcome(said, "lima-d"),
            Outcome::Failed("the guest did not try it".into())
        );
    }
}
