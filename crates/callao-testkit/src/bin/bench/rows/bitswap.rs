//! Two peers on loopback, one of which has nothing: kubo and callao in each part, by bitswap alone and by any way.

use crate::Outcome;
use crate::peers::{CallaoHolder, KuboHolder, Taker, bitswap_from, callao_gets};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, interleave};
use crate::scene::Scene;

/// What the variants are, in the order of the table.
const NAMES: [&str; 12] = [
    "kubo to kubo: ipfs get, 256 KiB",
    "kubo to callao: bitswap, 256 KiB",
    "callao to callao: bitswap, 256 KiB",
    "callao to kubo: ipfs get, 256 KiB",
    "kubo to kubo: ipfs get, 1 MiB",
    "kubo to callao: bitswap, 1 MiB",
    "callao to callao: bitswap, 1 MiB",
    "callao to kubo: ipfs get, 1 MiB",
    "kubo to callao: its gateway, 256 KiB",
    "kubo to callao: its gateway, 1 MiB",
    "kubo to callao: gateway and repository, 256 KiB",
    "kubo to callao: gateway and repository, 1 MiB",
];

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let (kubo, named) = KuboHolder::start(scene, &[image])?;
    let callao = CallaoHolder::start(scene, "holder", &[image])?;
    let names = named.first().ok_or("no image")?;
    let taker = Taker::default();
    let (from_kubo, from_callao) = (kubo.address(), callao.address());
    let by_gateway = [
        "--kubo".to_owned(),
        kubo.daemon.borrow().api_url().to_owned(),
    ];
    // As callao finds a kubo of this computer.
    let by_all = [
        "--kubo".to_owned(),
        kubo.kubo.repository().display().to_string(),
    ];
    let mut variants = Vec::new();
    for (cid, at) in [(&names.small, 0), (&names.large, 4)] {
        let what = (cid.as_str(), image);
        variants.extend([
            taker.gets(scene, NAMES[at], what, from_kubo.clone()),
            callao_gets(scene, NAMES[at + 1], what, bitswap_from(&from_kubo)),
            callao_gets(scene, NAMES[at + 2], what, bitswap_from(&from_callao)),
            taker.gets(scene, NAMES[at + 3], what, from_callao.clone()),
        ]);
    }
    for (at, way) in [(8, &by_gateway), (10, &by_all)] {
        for (cid, name) in [(&names.small, NAMES[at]), (&names.large, NAMES[at + 1])] {
            variants.push(callao_gets(scene, name, (cid, image), way.to_vec()));
        }
    }
    let before = (kubo.cpu()?, callao.cpu()?);
    let samples = interleave(scene, scene.runs(), &variants)?;
    let after = (kubo.cpu()?, callao.cpu()?);
    let runs = scene.runs() as f64;
    let note = format!(
        "CPU and memory are those of the command that fetches; of `ipfs get` the daemon that does the work is not in them. \
         Per fetch, the serving kubo used {:.2} s of CPU in the mean of its eight, the serving callao {:.2} s in the mean of \
         its four. callao syncs the file, kubo does not.",
        (after.0 - before.0) / runs / 8.0,
        (after.1 - before.1) / runs / 4.0,
    );
    Ok(Section {
        mib: Some(image.mib()),
        claims: claims(&samples, image.mib()),
        samples,
        notes: vec![note],
    })
}

fn claims(samples: &[Samples], mib: f64) -> Vec<Claim> {
    // (what, as many times as fast as what, at least)
    let table = [
        (1, 0, 3.0),
        (5, 4, 2.0),
        (8, 0, 10.0),
        (2, 0, 6.0),
        (3, 0, 1.0),
        (7, 4, 1.0),
    ];
    let mut claims: Vec<_> = table
        .into_iter()
        .map(|(what, than, least)| {
            let (what, than) = (&samples[what], &samples[than]);
            Claim::median(
                format!("rate of ({}) / rate of ({})", what.name, than.name),
                what.times_the_rate_of(than, mib),
                Goal::AtLeast(least),
                "",
            )
        })
        .collect();
    claims.push(Claim::median(
        format!("rate of ({})", samples[2].name),
        samples[2].rates(mib),
        Goal::AtLeast(400.0),
        " MiB/s",
    ));
    claims
}
