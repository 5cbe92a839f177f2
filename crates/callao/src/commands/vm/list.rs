//! `callao list`: which instances there are, and how they are. The keys of `--json` are limactl's where they mean the
//! same (`limactl list --json`, Lima v2.2).

use callao_template::machine;
use callao_vm::instance::{Instance, Known};
use callao_vm::process_id::ProcessId;
use callao_vm::spec::Spec;
use callao_vm::status::Status;
use serde::Serialize;

use super::{find, instances};
use crate::app::App;
use crate::cli::ListArgs;
use crate::error::CommandError;
use crate::output::human;

const HEADER: [&str; 7] = ["NAME", "STATUS", "SSH", "ARCH", "CPUS", "MEMORY", "DISK"];

/// One instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    /// `instance`.
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    hostname: String,
    status: &'static str,
    dir: String,
    vm_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_local_port: Option<u16>,
    ssh_config_file: String,
    ssh_address: &'static str,
    #[serde(rename = "hostAgentPID", skip_serializing_if = "Option::is_none")]
    supervisor: Option<u32>,
    #[serde(rename = "driverPID", skip_serializing_if = "Option::is_none")]
    qemu: Option<u32>,
    errors: Vec<String>,
    /// Location of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

pub(crate) fn run(app: &App, args: &ListArgs) -> Result<(), CommandError> {
    let all = match args.names.is_empty() {
        true => {
            let instances = instances(app)?;
            let names = instances.names();
            let found = names.iter().filter_map(|name| instances.find(name).ok());
            found.collect()
        }
        false => args
            .names
            .iter()
            .map(|name| find(app, name))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let listed: Vec<Listed> = all.iter().map(of).collect();
    if app.output.style().json {
        for one in &listed {
            app.output.json(one);
        }
    } else if app.output.style().verbosity < crate::output::Verbosity::Normal {
        for one in &listed {
            app.output.result(&one.name);
        }
    } else {
        table(app, &listed);
    }
    Ok(())
}

/// What is known of an instance.
pub(super) fn of(instance: &Instance) -> Listed {
    listed(
        instance,
        instance.known(),
        instance.spec().map_err(|error| error.to_string()),
    )
}

fn listed(instance: &Instance, known: Known, spec: Result<Spec, String>) -> Listed {
    let places = instance.places();
    let alive = |id: Option<ProcessId>| id.filter(|id| id.is_alive()).map(|id| id.pid);
    let mut errors: Vec<String> = known.reason.into_iter().collect();
    let (spec, status) = match spec {
        Ok(spec) => (Some(spec), known.status),
        Err(reason) => {
            errors.push(reason);
            (None, Status::Broken)
        }
    };
    let machine = spec.as_ref().map(|spec| &spec.machine);
    Listed {
        kind: "instance",
        name: instance.name().into(),
        hostname: machine::hostname(instance.name()),
        status: status.name(),
        dir: places.dir().display().to_string(),
        vm_type: "qemu",
        arch: machine.map(|machine| machine.arch.name()),
        cpus: machine.map(|machine| machine.cpus),
        memory: machine.map(|machine| machine.memory_bytes),
        disk: machine.map(|machine| machine.disk_bytes),
        ssh_local_port: known
            .state
            .ssh_port
            .filter(|_| matches!(status, Status::Running | Status::Starting)),
        ssh_config_file: places.ssh_config().display().to_string(),
        ssh_address: "127.0.0.1",
        supervisor: alive(known.state.supervisor),
        qemu: alive(known.state.qemu),
        errors,
        image: spec.map(|spec| spec.image),
    }
}

fn table(app: &App, listed: &[Listed]) {
    if listed.is_empty() {
        app.output
            .info("There is no instance yet; callao start --help tells how to make one");
        return;
    }
    let mut rows: Vec<[String; 7]> = vec![HEADER.map(str::to_string)];
    rows.extend(listed.iter().map(row));
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:<width$}    "))
            .collect();
        app.output.result(line.trim_end());
    }
    for one in listed {
        for error in &one.errors {
            app.output
                .warning(format!("instance `{}`: {error}", one.name));
        }
    }
}

fn row(one: &Listed) -> [String; 7] {
    let dash = || "-".to_string();
    [
        one.name.clone(),
        one.status.into(),
        one.ssh_local_port
            .map_or_else(dash, |port| format!("{}:{port}", one.ssh_address)),
        one.arch.map_or_else(dash, str::to_string),
        one.cpus.map_or_else(dash, |cpus| cpus.to_string()),
        one.memory.map_or_else(dash, human::short_bytes),
        one.disk.map_or_else(dash, human::short_bytes),
    ]
}
