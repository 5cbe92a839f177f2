//! The same peers with a round trip of 60 ms between them. The proxy in between is not the bottleneck: it only delays.

use std::time::Duration;

use callao_testkit::delay::Delay;

use crate::Outcome;
use crate::peers::{CallaoHolder, KuboHolder, Taker, bitswap_from, callao_gets};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, interleave};
use crate::scene::Scene;

/// Rounds: kubo to kubo takes a minute each.
const RUNS_MAX: usize = 3;
/// Half a round trip.
const ONE_WAY: Duration = Duration::from_millis(30);

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let (image, far) = (scene.image()?, scene.far()?);
    let (kubo, named) = KuboHolder::start(scene, &[far, image])?;
    let callao = CallaoHolder::start(scene, "holder-far", &[far, image])?;
    let [small, whole] = &named[..] else {
        return Err("two images".into());
    };
    let gateway = kubo.daemon.borrow().gateway_url().to_owned();
    let gateway = gateway.trim_start_matches("http://").parse()?;
    let proxies = [
        Delay::start(kubo.kubo.tcp_address(), ONE_WAY),
        Delay::start(callao.serve.borrow().tcp_address(), ONE_WAY),
        Delay::start(gateway, ONE_WAY),
        Delay::start(callao.serve.borrow().gateway_address(), ONE_WAY),
    ];
    let (kubo_id, _) = kubo.kubo.identity();
    let from_kubo = format!("{}/p2p/{kubo_id}", proxies[0].multiaddr());
    let callao_id = callao.serve.borrow().peer_id();
    let from_callao = format!("{}/p2p/{callao_id}", proxies[1].multiaddr());
    let http = |proxy: &Delay| vec!["--gateway".to_owned(), proxy.url()];
    let taker = Taker::default();
    let (little, much) = ((&*small.small, far), (&*whole.small, image));
    let mib = far.mib();
    let variants = [
        taker.gets(scene, "kubo to kubo: ipfs get", much, from_kubo.clone()),
        callao_gets(
            scene,
            "kubo to callao: bitswap",
            much,
            bitswap_from(&from_kubo),
        ),
        taker
            .gets(
                scene,
                "callao to kubo: ipfs get",
                little,
                from_callao.clone(),
            )
            .sized(mib),
        callao_gets(
            scene,
            "callao to callao: bitswap",
            much,
            bitswap_from(&from_callao),
        ),
        callao_gets(scene, "kubo to callao: any way", much, http(&proxies[2])),
        callao_gets(scene, "callao to callao: any way", much, http(&proxies[3])),
    ];
    let samples = interleave(scene, scene.runs().min(RUNS_MAX), &variants)?;
    let note = format!(
        "Leaves of 256 KiB. callao to kubo fetches {mib:.0} MiB, and rates are compared. A connection itself is made without a \
         delay; everything that is sent over it is delayed. Peaks of memory count what the benchmark, which delays, holds."
    );
    Ok(Section {
        mib: Some(image.mib()),
        claims: claims(&samples, image.mib()),
        samples,
        notes: vec![note],
    })
}

fn claims(samples: &[Samples], mib: f64) -> Vec<Claim> {
    let goals = [(1, 2.0), (2, 2.0), (3, 8.0), (4, 20.0), (5, 20.0)];
    goals
        .into_iter()
        .map(|(what, least)| {
            let (what, than) = (&samples[what], &samples[0]);
            Claim::median(
                format!("rate of ({}) / rate of ({})", what.name, than.name),
                what.times_the_rate_of(than, mib),
                Goal::AtLeast(least),
                "",
            )
        })
        .collect()
}
