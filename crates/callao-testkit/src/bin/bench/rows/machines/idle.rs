//! What the process that looks after a machine needs while the guest idles: memory, and how often it wakes up.

use std::fs;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::machines::Machines;
use crate::machines::answer::free_port;
use crate::process::{cpu_seconds, resident_mib, shares_mib, wake_ups};
use crate::report::{Claim, Goal, Section};
use crate::scene::Scene;

const NAME: &str = "idle";
/// The last connection of the start may still be closing for this long.
const SETTLE: Duration = Duration::from_secs(5);
/// How long it is watched.
const IDLE: Duration = Duration::from_secs(20);

pub(crate) fn run(scene: &Scene) -> Outcome<Section> {
    let machines = Machines::new(scene)?;
    let template = machines.tiny(free_port()?)?;
    machines.run(&["create", "--name", NAME, &template])?;
    let (mut resident, mut rates, mut shares, mut cpu, mut helpers) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scene.runs() {
        machines.run(&["start", NAME])?;
        let pid = machines.process(NAME, "hostAgentPID")?;
        std::thread::sleep(SETTLE);
        let others = ssh_of(pid)?;
        let all = |ids: &[u32]| ids.iter().map(|id| wake_ups(*id)).sum::<Outcome<u64>>();
        let (since, before, used) = (Instant::now(), wake_ups(pid)?, cpu_seconds(pid)?);
        let others_before = all(&others)?;
        std::thread::sleep(IDLE);
        let seconds = since.elapsed().as_secs_f64();
        rates.push((wake_ups(pid)? - before) as f64 / seconds);
        helpers.push((all(&others)? - others_before) as f64 / seconds);
        cpu.push((cpu_seconds(pid)? - used) / seconds * 100.0);
        resident.push(resident_mib(pid)?);
        shares.push(shares_mib(pid)?);
        machines.run(&["stop", "--force", NAME])?;
    }
    let (proportional, anonymous): (Vec<f64>, Vec<f64>) = shares.into_iter().unzip();
    let note = format!(
        "Watched for {} s, from {} s after `callao start` had returned. Of what is resident, {:.1} MiB are the process's own \
         (`Rss_Anon`) and the rest is of the binary's file; {:.1} MiB is its share (`Pss`). Wake-ups are voluntary context \
         switches of all threads. It used {:.2} % of a core. The two ssh clients that it keeps open (the connection, and the \
         list of what listens in the guest) woke up {:.2} times a second together.",
        IDLE.as_secs(),
        SETTLE.as_secs(),
        crate::rounds::median(&anonymous),
        crate::rounds::median(&proportional),
        crate::rounds::median(&cpu),
        crate::rounds::median(&helpers),
    );
    Ok(Section {
        claims: vec![
            Claim::worst("resident", resident, Goal::AtMost(15.0), " MiB"),
            Claim::worst("wake-ups a second", rates, Goal::AtMost(1.0), ""),
        ],
        notes: vec![note],
        ..Section::default()
    })
}

/// Its children, but QEMU.
fn ssh_of(pid: u32) -> Outcome<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let ids = children.split_whitespace().filter_map(|id| id.parse().ok());
    Ok(ids
        .filter(|id: &u32| {
            fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "ssh")
        })
        .collect())
}
