//! From `callao start` of a machine that was created before, to the first `true` by ssh in its guest; beside QEMU that is
//! started with the same arguments, seed and disk.

use std::fs;
use std::time::Instant;

use crate::Outcome;
use crate::machines::Machines;
use crate::machines::answer::{Door, free_port};
use crate::machines::bare::Bare;
use crate::measure::Cost;
use crate::process::{cpu_seconds, parent, peak_mib};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Dice, Samples, extent, median};
use crate::scene::Scene;

const NAME: &str = "boot";

/// What every round needs.
struct Setting<'a> {
    machines: Machines<'a>,
    scene: &'a Scene,
    template: String,
    /// Into callao's guest.
    door: Door,
    /// Into the other one.
    bare_door: Door,
    bare: Bare,
}

/// Seconds of one round that the table does not show.
#[derive(Default)]
struct Later {
    /// Until `callao start` had ended.
    returned: Vec<f64>,
    /// Until `callao shell ... true`, after that, had ended.
    shell: Vec<f64>,
}

pub(crate) fn run(scene: &Scene) -> Outcome<Section> {
    let setting = prepare(scene)?;
    let mut samples = ["callao start", "QEMU with the same arguments"].map(|name| Samples {
        name,
        costs: Vec::new(),
        mib: None,
    });
    let (mut dice, mut later) = (Dice::fixed(), Later::default());
    for _ in 0..scene.runs() {
        let mut order = [0, 1];
        dice.shuffle(&mut order);
        for index in order {
            samples[index].costs.push(match index {
                0 => by_callao(&setting, &mut later)?,
                _ => by_itself(&setting)?,
            });
        }
    }
    let claims = vec![Claim::median(
        "callao start / QEMU with the same arguments",
        samples[0].ratios(&samples[1]),
        Goal::AtMost(1.1),
        "",
    )];
    let said = |values: &[f64]| {
        let (low, high) = extent(values);
        format!("{:.3} s [{low:.3} {high:.3}]", median(values))
    };
    let note = format!(
        "The tiny guest (`scripts/make-tiny-image`) without KVM: BIOS, 1 CPU, 512 MiB, its first boot from a new disk. The time \
         ends with the first `ssh ... true` that succeeds: with the machine's own `ssh.config` where callao runs it, which goes \
         through the connection that callao has just made; with a login of the benchmark's own into the other. The port is \
         looked at every 100 ms in both. `callao start` returned after {}: the guest's set-up was done by then; and \
         `callao shell {NAME} true` after that had ended after {}. CPU seconds are those of QEMU and, of callao, of what looks \
         after it, until the guest answered; memory is QEMU's.",
        said(&later.returned),
        said(&later.shell)
    );
    Ok(Section {
        mib: None,
        samples: samples.into(),
        claims,
        notes: vec![note],
    })
}

/// One start that does not count: it makes the key, and shows QEMU's arguments.
fn prepare(scene: &Scene) -> Outcome<Setting<'_>> {
    let machines = Machines::new(scene)?;
    let (port, bare_port) = (free_port()?, free_port()?);
    let template = machines.tiny(port)?;
    machines.run(&["create", "--name", NAME, &template])?;
    machines.run(&["start", NAME])?;
    let instance = machines.directory(NAME);
    let config = machines.root().join("ssh.config");
    fs::copy(instance.join("ssh.config"), &config)?;
    let bare = Bare::of(
        machines.process(NAME, "driverPID")?,
        &instance,
        &machines.root().join("bare"),
        (port, bare_port),
    )?;
    machines.delete(NAME)?;
    let host = format!("lima-{NAME}");
    Ok(Setting {
        door: Door::Kept {
            config: instance.join("ssh.config"),
            socket: instance.join("ssh.sock"),
            host: host.clone(),
        },
        bare_door: Door::Own {
            config,
            port: bare_port,
            host,
        },
        machines,
        scene,
        template,
        bare,
    })
}

fn by_callao(setting: &Setting<'_>, later: &mut Later) -> Outcome<Cost> {
    let machines = &setting.machines;
    machines.run(&["create", "--name", NAME, &setting.template])?;
    rustix::fs::sync();
    let since = Instant::now();
    let mut start = machines.start(NAME)?;
    setting.door.open()?;
    let wall = since.elapsed().as_secs_f64();
    // From files: a command would take time in which the guest goes on.
    let qemu = fs::read_to_string(machines.directory(NAME).join("qemu.pid"))?;
    let qemu = qemu.trim().parse()?;
    let supervisor = parent(qemu)?;
    let cost = Cost {
        wall,
        cpu: cpu_seconds(qemu)? + cpu_seconds(supervisor)?,
        peak_mib: peak_mib(qemu)?,
    };
    machines.started(&mut start)?;
    later.returned.push(since.elapsed().as_secs_f64());
    machines.run(&["shell", NAME, "true"])?;
    later.shell.push(since.elapsed().as_secs_f64());
    machines.delete(NAME)?;
    Ok(cost)
}

fn by_itself(setting: &Setting<'_>) -> Outcome<Cost> {
    setting.bare.prepare(setting.scene.notes())?;
    rustix::fs::sync();
    let since = Instant::now();
    let mut qemu = setting.bare.start()?;
    setting.bare_door.open()?;
    let wall = since.elapsed().as_secs_f64();
    let pid = qemu.child().id();
    Ok(Cost {
        wall,
        cpu: cpu_seconds(pid)?,
        peak_mib: peak_mib(pid)?,
    })
}
