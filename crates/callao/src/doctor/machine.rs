//! Facts about the programs that are near: Lima, and what runs virtual machines. Of that, they are those that `callao start`
//! goes by.

use std::path::PathBuf;

use callao_template::Arch;
use callao_vm::qemu::{accel, firmware, probe};
use callao_vm::ssh::client;

use super::facts::{KvmFacts, LimaHomeFacts, LimactlFacts, QemuFacts, Tool};
use crate::app::App;
use crate::commands::vm::firmware_dirs;
use crate::env_vars;
use crate::error::CommandError;
use crate::get::run::new_runtime;
use crate::host::{self, FileKind};
use crate::limactl::Limactl;
use crate::process;
use crate::template::lima_home;

pub(crate) fn limactl(app: &App) -> LimactlFacts {
    let Some(limactl) = Limactl::find(&app.host) else {
        return LimactlFacts::Missing;
    };
    let version = limactl.version(app);
    LimactlFacts::Found {
        path: limactl.path().display().to_string(),
        version: version
            .map(|version| (version.to_string(), version.is_new_enough()))
            .map_err(|error| error.to_string()),
    }
}

pub(crate) fn lima_home(app: &App) -> LimaHomeFacts {
    let named = app.host.text_variable(env_vars::LIMA_HOME);
    let path = lima_home::dir(&app.host).unwrap_or_default();
    let is_instance =
        |name: &std::ffi::OsString| host::kind_of(&path.join(name).join("lima.yaml")).is_some();
    LimaHomeFacts {
        path: path.display().to_string(),
        is_named: named.is_some(),
        is_there: host::kind_of(&path) == Some(FileKind::Directory),
        instances: host::names_in(&path)
            .iter()
            .filter(|name| is_instance(name))
            .count(),
    }
}

/// QEMU is asked which version it is.
///
/// # Errors
/// No runtime can be started.
pub(crate) fn qemu(app: &App, arch: Arch) -> Result<QemuFacts, CommandError> {
    let dirs = path_dirs(app);
    let instead = app.host.text_variable(&probe::variable(arch));
    let asked = new_runtime()?.block_on(probe::qemu(arch, &dirs, instead.as_deref()));
    let mut places = firmware_dirs(app);
    let beside = asked.as_ref().ok();
    places.extend(beside.and_then(|qemu| probe::share_dir(&qemu.system)));
    let firmware = firmware::find(arch, &places);
    Ok(QemuFacts {
        system: program(asked.map(|qemu| format!("`{}` {}", qemu.system.display(), qemu.version))),
        img: program(probe::qemu_img(&dirs).map(|path| path.display().to_string())),
        firmware: match firmware {
            Ok(firmware) => Tool::Found(firmware.code.display().to_string()),
            Err(error) => Tool::Missing(error.to_string()),
        },
    })
}

fn program(found: Result<String, probe::ProbeError>) -> Tool {
    use probe::ProbeError::{Architecture, Missing};
    match found {
        Ok(what) => Tool::Found(what),
        Err(error @ (Missing { .. } | Architecture { .. })) => Tool::Missing(error.to_string()),
        Err(error) => Tool::Unusable(error.to_string()),
    }
}

/// The client that gets into machines.
pub(crate) fn ssh(app: &App) -> Tool {
    let chosen = app.host.text_variable(env_vars::SSH);
    match client::find(&path_dirs(app), chosen.as_deref()) {
        Ok(client) => {
            let words = client.ssh.iter().map(|word| word.to_string_lossy());
            Tool::Found(words.collect::<Vec<_>>().join(" "))
        }
        Err(error @ client::Error::Missing { .. }) => Tool::Missing(error.to_string()),
        Err(error) => Tool::Unusable(error.to_string()),
    }
}

fn path_dirs(app: &App) -> Vec<PathBuf> {
    process::path_dirs(app.host.variable(env_vars::PATH)).collect()
}

/// `None` where there is no KVM because there is no Linux.
pub(crate) fn kvm(app: &App, arch: Arch) -> Option<KvmFacts> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let host = accel::read();
    let chosen = accel::choose(app.settings.accelerator, arch, &host);
    Some(KvmFacts { host, chosen })
}
