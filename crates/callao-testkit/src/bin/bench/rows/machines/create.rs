//! `callao create` of an image that the cache holds: a link to it and a disk on top, beside a copy of the image, which is
//! what limactl makes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use callao_testkit::image::Image;

use crate::Outcome;
use crate::machines::Machines;
use crate::machines::lima::Lima;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::rows::held::blocks;
use crate::scene::Scene;

const NAME: &str = "held";
const IMAGE: &str = "disk.qcow2";
/// Random bytes that are in the image.
const IMAGE_BYTES: u64 = 450 << 20;
const KIB: f64 = 1024.0;

pub(crate) fn run(scene: &Scene) -> Outcome<Section> {
    make_image(scene)?;
    let machines = Machines::new(scene)?;
    let lima = Lima::find(scene, machines.root())?;
    let (template, image) = machines.held(IMAGE, "disk: 10GiB\n")?;
    let (image_text, base) = (
        image.display().to_string(),
        machines.directory(NAME).join("base"),
    );
    let before = std::cell::Cell::new(0);
    let grown = std::cell::RefCell::new(Vec::new());
    let world = machines.root();
    let mut variants = vec![
        Variant::new("callao create", || {
            machines.callao(&["create", "--name", NAME, &template])
        })
        .prepared(|| {
            machines.delete(NAME)?;
            rustix::fs::sync();
            before.set(blocks(world)?);
            Ok(())
        })
        .checked(|_| {
            if fs::metadata(&base)?.ino() != fs::metadata(&image)?.ino() {
                return Err("the base is no hard link to the image in the cache".into());
            }
            rustix::fs::sync();
            let blocks = blocks(world)?.saturating_sub(before.get());
            grown.borrow_mut().push(blocks as f64 / 2.0);
            Ok(())
        }),
        Variant::new("ln -s, qemu-img info, qemu-img create", || {
            scene.shell(&format!(
                "ln -s '{image_text}' base && qemu-img info --output=json -f qcow2 base >/dev/null && \
                 qemu-img create -q -f qcow2 -F qcow2 -b base disk 10G"
            ))
        }),
        Variant::new("cp", || scene.shell(&format!("cp '{image_text}' base"))),
    ];
    if let Some(lima) = &lima {
        variants.push(
            Variant::new("limactl create, cached", || {
                lima.command(&["create", "--name", NAME, &template])
            })
            .prepared(|| lima.delete(NAME)),
        );
    }
    let samples = interleave(scene, scene.runs(), &variants)?;
    drop(variants);
    Ok(Section {
        mib: None,
        claims: claims(&samples, grown.into_inner()),
        samples,
        notes: notes(lima.is_some()),
    })
}

fn notes(with_limactl: bool) -> Vec<String> {
    let mut notes = vec![format!(
        "The image is a qcow2 of {} MiB of random bytes, held in the cache. `cp` is not synced. What `callao create` adds on \
         disk are the overlay and two small files; the base is a hard link to the image in the cache, checked by its inode.",
        IMAGE_BYTES >> 20
    )];
    if !with_limactl {
        notes.push(format!("Without limactl: {}.", Lima::missing()));
    }
    notes
}

fn claims(samples: &[Samples], grown: Vec<f64>) -> Vec<Claim> {
    let milliseconds = samples[0].walls().iter().map(|wall| wall * 1e3).collect();
    let mut claims = vec![
        Claim::median("callao create", milliseconds, Goal::AtMost(150.0), " ms"),
        Claim::worst("growth on disk", grown, Goal::AtMost(KIB), " KiB"),
    ];
    if let Some(lima) = samples.get(3) {
        claims.push(Claim::median(
            "callao create / limactl create, cached",
            samples[0].ratios(lima),
            Goal::AtMost(0.3),
            "",
        ));
    }
    claims
}

/// A qcow2 whose clusters are all in use, as in an image that was filled and not compressed.
fn make_image(scene: &Scene) -> Outcome<()> {
    let (raw, qcow2) = (scene.lasting("disk.raw"), scene.files().join(IMAGE));
    let mut file = std::io::BufWriter::new(fs::File::create(&raw)?);
    Image::Random(452).write_to(IMAGE_BYTES, &mut file)?;
    std::io::Write::flush(&mut file)?;
    let mut convert = Command::new("qemu-img");
    convert
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .arg(&raw)
        .arg(qcow2);
    measure::run(&mut convert, scene.notes())?;
    Ok(fs::remove_file(raw)?)
}
