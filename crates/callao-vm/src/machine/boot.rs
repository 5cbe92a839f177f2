//! Starts QEMU, or takes over one that runs: everything that happens before the guest's first instruction. Must not wait
//! for the guest.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use callao_template::machine::hostname;

use super::Job;
use super::board::Board;
use super::running::{Ended, Running};
use super::shares::Shares;
use crate::cloud_init::{self, Archive};
use crate::process_id::{ProcessId, read_pidfile};
use crate::qemu::accel::Chosen;
use crate::qemu::args::{self, Boot, mac_address};
use crate::qemu::firmware::{self, Firmware, OwnCopies};
use crate::qemu::probe::{self, Qemu};
use crate::qemu::{accel, process};
use crate::ssh::client::{self, Client};
use crate::ssh::command::Access;
use crate::ssh::key::{self, Key};
use crate::ssh::{config, master};
use crate::state::Failure;
use crate::{files, limits, seed};

/// A machine whose guest has begun to boot.
pub(super) struct Begun {
    /// QEMU.
    pub(super) running: Running,
    /// How the guest is reached.
    pub(super) access: Access,
    /// Ports of this computer that lead to it.
    pub(super) ports: Ports,
    /// Directories of the host.
    pub(super) shares: Shares,
    /// Where the serial log of this boot begins.
    pub(super) serial_from: u64,
}

/// Ports of this computer that lead to a guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// To its ssh.
    pub(super) ssh: u16,
    /// To where nothing listens; of no use once the guest is up, so nobody writes it down.
    pub(super) closed: Option<u16>,
}

/// Starts QEMU, or takes over one that runs. `None`: somebody wants it to stop.
///
/// # Errors
/// Why it cannot be started, in QEMU's own words where it said something.
pub(super) async fn begin(job: &Job<'_>, board: &Board) -> Result<Option<Begun>, Failure> {
    let client = client::find(&job.launch.path_dirs, job.launch.ssh.as_deref())
        .map_err(|error| Failure::of(&error))?;
    if let Some(begun) = take_over(job, board, &client).await {
        return Ok(Some(begun));
    }
    board.change(|state| state.qemu = None);
    board.doing("preparing");
    let ready = prepare(job, board, client).await?;
    for attempt in 1..=limits::PORT_TRIES_COUNT {
        if job.stop.is_cancelled() {
            return Ok(None);
        }
        match start(job, board, &ready).await {
            Ok((running, ports)) => {
                return Ok(Some(Begun {
                    running,
                    access: ready.access,
                    ports,
                    shares: ready.shares,
                    serial_from: ready.serial_from,
                }));
            }
            // Somebody else took the port between our look and QEMU's.
            Err(Refused::FoundPort(_)) if attempt < limits::PORT_TRIES_COUNT => {}
            Err(Refused::FoundPort(failure) | Refused::Other(failure)) => {
                ready.shares.end().await;
                return Err(failure);
            }
        }
    }
    Ok(None)
}

/// A QEMU that another supervisor left behind.
async fn take_over(job: &Job<'_>, board: &Board, client: &Client) -> Option<Begun> {
    let places = job.instance.places();
    let state = board.state();
    // QEMU writes its own file before the first instruction; we write ours after it.
    let id = state
        .qemu
        .filter(|id| id.is_alive())
        .or_else(|| read_pidfile(&places.qemu_pid()).and_then(|pid| qemu_of(job, pid)))?;
    let port = state.ssh_port?;
    let mut running = Running::adopted(id);
    if running.connect(&places.qmp_socket()).await.is_err() {
        running.kill(&places.qemu_log()).await;
        return None;
    }
    running.ask_for_space().await;
    board.change(|state| {
        state.qemu = Some(id);
        state.ssh_port = Some(port);
    });
    let access = access(job, client.clone());
    master::end_left_behind(&access, &places.ssh_socket()).await;
    Some(Begun {
        running,
        access,
        ports: Ports {
            ssh: port,
            closed: None,
        },
        shares: Shares::taken_over(job).await,
        serial_from: files::size(&places.serial_log()).unwrap_or_default(),
    })
}

/// Whether the process of QEMU's file is still that one, and not another that got its number: its arguments name the file.
fn qemu_of(job: &Job<'_>, pid: u32) -> Option<ProcessId> {
    let id = ProcessId::of_pid(pid)?;
    let arguments = PathBuf::from(format!("/proc/{pid}/cmdline"));
    let text = files::read_text(&arguments, limits::SMALL_TEXT_BYTES_MAX).ok()?;
    let own = job.instance.places().qemu_pid();
    text.contains(own.to_str()?).then_some(id)
}

/// Everything that does not change between two tries.
struct Ready {
    access: Access,
    qemu: Qemu,
    chosen: Chosen,
    boot: Boot,
    shares: Shares,
    key: Key,
    serial_from: u64,
}

async fn prepare(job: &Job<'_>, board: &Board, client: Client) -> Result<Ready, Failure> {
    let machine = &job.spec.machine;
    let launch = job.launch;
    let places = job.instance.places();
    let (qemu, key) = tokio::join!(
        probe::qemu(machine.arch, &launch.path_dirs, launch.qemu.as_deref()),
        key::ensure(&client, &launch.key_dir)
    );
    let qemu = qemu.map_err(|error| Failure::of(&error))?;
    let key = key.map_err(|error| Failure::of(&error))?;
    let chosen = accel::choose(launch.accelerator, machine.arch, &accel::read())
        .map_err(|error| Failure::of(&error))?;
    board.change(|state| state.accelerator = chosen.accel.name().into());
    let boot = boot(job, &qemu)?;
    let shares = Shares::begin(job, board, &qemu).await?;
    write_seed(job, &key, &shares)?;
    for socket in [places.qmp_socket(), places.qemu_pid()] {
        files::remove(&socket)
            .map_err(|error| Failure::of(&crate::Error::io("remove", &socket, error)))?;
    }
    process::keep_short(&places.serial_log())
        .map_err(|error| Failure::of(&crate::Error::io("rename", &places.serial_log(), error)))?;
    Ok(Ready {
        access: access(job, client),
        qemu,
        chosen,
        boot,
        shares,
        key,
        serial_from: files::size(&places.serial_log()).unwrap_or_default(),
    })
}

fn access(job: &Job<'_>, client: Client) -> Access {
    Access {
        client,
        config: job.instance.places().ssh_config(),
        host: config::host_of(&job.spec.name),
    }
}

/// What the machine starts with.
fn boot(job: &Job<'_>, qemu: &Qemu) -> Result<Boot, Failure> {
    let machine = &job.spec.machine;
    let places = job.instance.places();
    if let Some(cmdline) = &job.spec.kernel_command_line {
        let initrd = places.initrd();
        return Ok(Boot::Kernel {
            kernel: places.kernel(),
            initrd: files::is_there(&initrd).then_some(initrd),
            cmdline: cmdline.clone(),
        });
    }
    let is_arm = machine.arch == callao_template::Arch::Aarch64;
    if machine.legacy_bios && !is_arm {
        return Ok(Boot::Bios);
    }
    let own = places.firmware();
    let firmware = match files::is_there(&own) {
        true => Firmware {
            code: own,
            vars: None,
        },
        false => {
            let mut dirs = job.launch.firmware_dirs.clone();
            dirs.extend(probe::share_dir(&qemu.system));
            firmware::find(machine.arch, &dirs).map_err(|error| Failure::of(&error))?
        }
    };
    let copies = OwnCopies {
        code: &places.dir().join("code.fd"),
        vars: &places.firmware_vars(),
    };
    firmware::prepare(&firmware, machine.arch, copies).map_err(|error| Failure::of(&error))
}

/// The seed of cloud-init: a change of the key, of a mount or of the proxies reaches a guest that was set up long ago.
fn write_seed(job: &Job<'_>, key: &Key, shares: &Shares) -> Result<(), Failure> {
    let machine = &job.spec.machine;
    let places = job.instance.places();
    let mut keys = vec![key.public.clone()];
    keys.extend(job.launch.public_keys.iter().cloned());
    let archive = places.archive();
    let has_archive =
        (machine.containerd.system || machine.containerd.user) && files::is_there(&archive);
    let certificates: Result<Vec<String>, Failure> = machine
        .ca_certs
        .files
        .iter()
        .map(|file| certificate(Path::new(file)))
        .collect();
    let facts = cloud_init::Facts {
        name: job.spec.name.clone(),
        hostname: hostname(&job.spec.name),
        instance_id: job.spec.instance_id.clone(),
        mac_address: mac_address(&job.spec.instance_id),
        ssh_public_keys: keys,
        mounts: shares.for_guest(),
        ca_certificates: certificates?,
        proxies: job.launch.proxies.clone(),
        containerd_archive: has_archive.then(|| Archive {
            size_bytes: files::size(&archive).unwrap_or_default(),
            identity: archive_identity(&archive),
        }),
    };
    let documents = cloud_init::documents(machine, &facts);
    let image = seed::image(&documents).map_err(|error| Failure::of(&error))?;
    let path = places.seed();
    files::replace(&path, &image, files::PRIVATE_FILE)
        .map_err(|error| Failure::of(&crate::Error::io("write", &path, error)))
}

fn certificate(file: &Path) -> Result<String, Failure> {
    files::read_text(file, limits::CERTIFICATES_BYTES_MAX).map_err(|error| {
        Failure::of(&crate::Error::io("read", file, error))
            .with_hint("caCerts.files of the template names it")
    })
}

/// What tells the archive from another one: a file of an instance is written once.
fn archive_identity(archive: &Path) -> String {
    let stamp = files::modified(archive).unwrap_or_default();
    format!("{}-{stamp}", files::size(archive).unwrap_or_default())
}

/// Why QEMU did not start.
enum Refused {
    /// A port that we found is taken.
    FoundPort(Failure),
    /// Anything else.
    Other(Failure),
}

/// One try to start QEMU.
async fn start(job: &Job<'_>, board: &Board, ready: &Ready) -> Result<(Running, Ports), Refused> {
    let places = job.instance.places();
    let wanted = job.spec.machine.ssh.local_port;
    let [found, closed] = free_ports().map_err(Refused::Other)?;
    let port = wanted.unwrap_or(found);
    let ports = Ports {
        ssh: port,
        closed: Some(closed),
    };
    write_config(job, ready, port).map_err(Refused::Other)?;
    board.doing("starting QEMU");
    let archive = places.archive();
    let mut arguments = ready.qemu.first_arguments.clone();
    arguments.extend(args::arguments(
        &job.spec.machine,
        &args::Facts {
            name: job.spec.name.clone(),
            accel: ready.chosen.accel,
            pid_file: places.qemu_pid(),
            qmp_socket: places.qmp_socket(),
            serial_log: places.serial_log(),
            disk: places.disk(),
            seed: places.seed(),
            archive: files::is_there(&archive).then_some(archive),
            ssh_port: port,
            closed_port: closed,
            mac: mac_address(&job.spec.instance_id),
            boot: ready.boot.clone(),
            shares: ready.shares.for_qemu(job),
        },
    ));
    // Written down before QEMU runs: whoever comes after a crash finds its port.
    board.change(|state| state.ssh_port = Some(port));
    let started = process::spawn(&ready.qemu.system, &arguments, &places.qemu_log())
        .map_err(|error| Refused::Other(Failure::of(&error)))?;
    let id = started.child.id().and_then(ProcessId::of_pid);
    let Some(id) = id else {
        return Err(refused(&started.last_words(), None, wanted));
    };
    board.change(|state| state.qemu = Some(id));
    let mut running = Running::new(id, started);
    match running.connect(&places.qmp_socket()).await {
        Ok(()) => Ok((running, ports)),
        Err(error) => {
            let words = match running
                .ended_within(&places.qemu_log(), limits::KILL_WAIT)
                .await
            {
                Some(Ended::Died { status, words }) => return Err(refused(&words, status, wanted)),
                _ => error.to_string(),
            };
            running.kill(&places.qemu_log()).await;
            Err(Refused::Other(Failure::new(words)))
        }
    }
}

/// What QEMU said when it did not want to run. `wanted`: the port for ssh that the template names.
fn refused(words: &str, status: Option<std::process::ExitStatus>, wanted: Option<u16>) -> Refused {
    // "Could not set up host forwarding rule 'tcp:127.0.0.1:60022-:22'" (net/slirp.c).
    if words.contains("host forwarding rule") {
        return match wanted.filter(|port| words.contains(&format!("127.0.0.1:{port}-"))) {
            Some(port) => Refused::Other(
                Failure::new(format!("port {port} of this computer, for ssh, is taken"))
                    .with_lines(words)
                    .with_hint("name another one as ssh.localPort in the template, or none: then a free one is taken"),
            ),
            None => Refused::FoundPort(
                Failure::new("the ports of this computer that were free are taken").with_lines(words),
            ),
        };
    }
    let how = status.map_or_else(String::new, |status| format!(" ({status})"));
    let failure = Failure::new(format!("QEMU did not start{how}")).with_lines(words);
    Refused::Other(failure)
}

fn write_config(job: &Job<'_>, ready: &Ready, port: u16) -> Result<(), Failure> {
    let places = job.instance.places();
    let text = config::text(&config::Entry {
        name: &job.spec.name,
        key: &ready.key.path,
        user: &job.spec.machine.user.name,
        port,
        control: &places.ssh_socket(),
        ssh: &job.spec.machine.ssh,
    });
    let path = places.ssh_config();
    files::replace(&path, text.as_bytes(), files::PRIVATE_FILE)
        .map_err(|error| Failure::of(&crate::Error::io("write", &path, error)))
}

/// Two ports that nobody uses at this moment.
fn free_ports() -> Result<[u16; 2], Failure> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    // Both are held until both are known: they differ.
    let both = listen().and_then(|a| listen().map(|b| (a, b)));
    both.and_then(|(a, b)| Ok([port(&a)?, port(&b)?]))
        .map_err(|error| Failure::new(format!("there is no free port on 127.0.0.1: {error}")))
}
