//! On a network of its own: how soon the first bytes come from a callao that nobody named, and whether a plain download
//! waits for the search.

use callao_testkit::real::{Network, Nginx, NginxOptions, Serve};

use crate::Outcome;
use crate::peers::{SMALL_PROFILE, add};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

const HOLDER: u8 = 0;
const TAKER: u8 = 1;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let (image, leaf) = (scene.image()?, scene.leaf()?);
    let network = Network::start(2).ok_or("there are no network namespaces")?;
    let nginx = Nginx::start_on(&network, HOLDER, &scene.files(), &NginxOptions::default());
    let nginx = nginx.ok_or("there is no nginx")?;
    let world = scene.lasting("holder-first");
    add(scene, &world, leaf, SMALL_PROFILE)?;
    let serve = scene.callao_in(
        &world,
        &[
            "serve",
            "--json",
            "--discovery",
            "lan",
            "--gateway",
            "127.0.0.1:0",
            "--listen",
            "/ip4/0.0.0.0/tcp/0",
            "--lan",
            "0.0.0.0:22554",
        ],
    );
    let log = std::fs::File::create(scene.notes().join("serve.log"))?;
    let _serve = Serve::start(network.moved(HOLDER, &serve).stderr(log));
    let found = format!("ipfs://{}", leaf.cid);
    let url = nginx.url(image.name);
    let get = |arguments: &[&str]| {
        let all = [&["get", "--no-progress"], arguments].concat();
        network.moved(TAKER, &scene.callao(&all))
    };
    let plain = |discovery: &str| get(&[&url, "--digest", &image.digest, "--discovery", discovery]);
    let whole = |path: &str| scene.check(path.as_ref(), image, false);
    let variants = [
        Variant::new("callao get of 256 KiB from a callao found by mDNS", || {
            get(&[&found, "--discovery", "lan", "--only", "lan"])
        })
        .sized(leaf.mib())
        .checked(|path| scene.check(path.as_ref(), leaf, true)),
        Variant::new("callao get URL, while peers are looked for", || {
            plain("lan")
        })
        .checked(whole),
        Variant::new("callao get URL, without", || plain("none")).checked(whole),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![
        Claim::worst(
            "from the start of the program to the end of one that fetched a leaf from a peer, which is later than the first byte",
            samples[0].walls(),
            Goal::AtMost(1.5),
            " s",
        ),
        Claim::median(
            "time of a plain download while peers are looked for / without",
            samples[1].ratios(&samples[2]),
            Goal::AtMost(1.1),
            "",
        ),
    ];
    let note = "Two network namespaces joined by a bridge. The peer is a `callao serve --lan` of which the fetching side knows \
                nothing; no daemon runs there. The plain file is on nginx alone.";
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: vec![note.to_owned()],
    })
}
