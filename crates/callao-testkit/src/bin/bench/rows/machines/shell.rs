//! From `start` of a machine that was created before and never started, to a shell in it: by callao, and by limactl with the
//! same template, image, QEMU and accelerator.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use callao_testkit::real::guest;

use crate::Outcome;
use crate::machines::Machines;
use crate::machines::lima::Lima;
use crate::measure::{self, Cost};
use crate::process::{cpu_seconds, parent, peak_mib};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Dice, Samples, extent, median};
use crate::scene::Scene;

const NAME: &str = "shell";
/// Name of the image below [`Scene::files`].
const IMAGE: &str = "debian.qcow2";
/// A killed QEMU is gone after less than a second.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const END_PAUSE: Duration = Duration::from_millis(20);
/// What either of them has to ask QEMU for. Which features the CPUs have is for each of them to know.
const ASKED: [(&str, &str); 2] = [
    ("-smp", "2,sockets=1,cores=2,threads=1"),
    ("-accel", "tcg,thread=multi,tb-size=512"),
];

/// Makes a command of arguments.
type Make<'a> = Box<dyn Fn(&[&str]) -> Command + 'a>;

/// One of the two.
struct Way<'a> {
    command: Make<'a>,
    delete: Box<dyn Fn() -> Outcome<()> + 'a>,
    /// The instance's.
    directory: &'a Path,
}

pub(crate) fn run(scene: &Scene) -> Outcome<Section> {
    let debian = guest::debian().ok_or_else(|| {
        let variable = guest::DEBIAN_VARIABLE;
        format!("{variable} names no Debian image (scripts/make-debian-image), or there is no QEMU")
    })?;
    let machines = Machines::new(scene)?;
    let lima = Lima::find(scene, machines.root())?.ok_or_else(Lima::missing)?;
    fs::copy(&debian.qcow2, scene.files().join(IMAGE))?;
    // The proxy that limactl is given is for limactl alone.
    let more = "cpus: 2\nmemory: 1GiB\ndisk: 10GiB\npropagateProxyEnv: false\n";
    let (template, _) = machines.held(IMAGE, more)?;
    let directories = [machines.directory(NAME), lima.directory(NAME)];
    let ways = [
        Way {
            command: Box::new(|arguments| machines.callao(arguments)),
            delete: Box::new(|| machines.delete(NAME)),
            directory: &directories[0],
        },
        Way {
            command: Box::new(|arguments| lima.command(arguments)),
            delete: Box::new(|| lima.delete(NAME)),
            directory: &directories[1],
        },
    ];
    let mut samples = [
        "callao start, callao shell true",
        "limactl start, limactl shell true",
    ]
    .map(|name| Samples {
        name,
        costs: Vec::new(),
        mib: None,
    });
    let (mut dice, mut returned) = (Dice::fixed(), [Vec::new(), Vec::new()]);
    for _ in 0..scene.runs() {
        let mut order = [0, 1];
        dice.shuffle(&mut order);
        for index in order {
            let (cost, start) = once(&ways[index], &template, scene.notes())?;
            samples[index].costs.push(cost);
            returned[index].push(start);
        }
    }
    let claims = vec![Claim::median(
        "callao / limactl",
        samples[0].ratios(&samples[1]),
        Goal::AtMost(0.7),
        "",
    )];
    Ok(Section {
        mib: None,
        samples: samples.into(),
        claims,
        notes: vec![note(&returned)],
    })
}

fn note(returned: &[Vec<f64>; 2]) -> String {
    let [callao, limactl] = returned.each_ref().map(|values| {
        let (low, high) = extent(values);
        format!("{:.3} s [{low:.3} {high:.3}]", median(values))
    });
    format!(
        "The first boot of `scripts/make-debian-image`'s Debian 12 with cloud-init, without KVM: 2 CPUs, 1 GiB, a disk of \
         10 GiB, no mounts, no containerd, `--plain` to both `create`, which are not timed. UEFI, as each of them finds it: \
         callao takes Debian's OVMF_CODE_4M.fd with variables, limactl OVMF_CODE.fd without. CPUs: limactl's are `max`, \
         callao's `max,-erms,-fsrm`. The same QEMU runs both; \
         limactl's is started by a script that replaces KVM by what limactl itself asks for where there is none. limactl's \
         `start` waits for the guest's set-up, callao's for ssh alone where a plain guest has nothing to be set up: \
         callao's returned after {callao}, limactl's after {limactl}. CPU \
         seconds are those of QEMU and of what looks after it until `true` had ended; memory is QEMU's."
    )
}

/// The cost of a working shell, and the seconds until `start` had returned.
fn once(way: &Way<'_>, template: &str, notes: &Path) -> Outcome<(Cost, f64)> {
    let run = |arguments: &[&str]| measure::run(&mut (way.command)(arguments), notes);
    (way.delete)()?;
    run(&["create", "--plain", "--name", NAME, template])?;
    rustix::fs::sync();
    let since = Instant::now();
    run(&["start", NAME])?;
    let returned = since.elapsed().as_secs_f64();
    run(&["shell", NAME, "true"])?;
    let wall = since.elapsed().as_secs_f64();
    let qemu = fs::read_to_string(way.directory.join("qemu.pid"))?;
    let qemu: u32 = qemu.trim().parse()?;
    let cost = Cost {
        wall,
        cpu: cpu_seconds(qemu)? + cpu_seconds(parent(qemu)?)?,
        peak_mib: peak_mib(qemu)?,
    };
    asks_for_the_same(qemu)?;
    (way.delete)()?;
    // It was killed: the other one must not start before it has given back its memory.
    let end = Instant::now() + END_LIMIT;
    while Path::new(&format!("/proc/{qemu}")).exists() {
        if Instant::now() > end {
            return Err("QEMU does not end".into());
        }
        std::thread::sleep(END_PAUSE);
    }
    Ok((cost, returned))
}

/// Fails when a QEMU was asked for other CPUs, or to be run by something else.
fn asks_for_the_same(qemu: u32) -> Outcome<()> {
    let words = fs::read_to_string(format!("/proc/{qemu}/cmdline"))?;
    let words: Vec<&str> = words.split('\0').collect();
    for (option, value) in ASKED {
        if !words.windows(2).any(|pair| pair == [option, value]) {
            return Err(format!("QEMU was not asked for {option} {value}: {words:?}").into());
        }
    }
    Ok(())
}
