//! What is already held costs nothing: the same URL again, and the same bytes under another URL.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::Outcome;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::{OTHER, Scene};

pub(super) fn again(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    let command = || scene.get(&url, &["--digest", &image.digest, "--cid", &image.cid]);
    let variants = [Variant::new("callao get, the second time", command)
        .prepared(|| measure::run(&mut command(), scene.notes()).map(drop))
        .checked(|path| scene.check(Path::new(path), image, false))];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![Claim::median(
        "wall time",
        samples[0].walls(),
        Goal::AtMost(0.05),
        " s",
    )];
    Ok(Section {
        mib: None,
        samples,
        claims,
        notes: Vec::new(),
    })
}

pub(super) fn other(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let get = |name| {
        scene.get(
            &server.url(name),
            &["--digest", &image.digest, "--cid", &image.cid],
        )
    };
    let (mut costs, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..scene.runs() {
        scene.fresh()?;
        measure::run(&mut get(image.name), scene.notes())?;
        let first = measure::stdout(scene.notes())?;
        rustix::fs::sync();
        let (sent, blocks) = (server.bytes_sent(), blocks(&scene.cache())?);
        costs.push(measure::run(&mut get(OTHER), scene.notes())?);
        let second = measure::stdout(scene.notes())?;
        if first == second {
            return Err(format!("both URLs gave {first}").into());
        }
        scene.check(Path::new(&second), image, false)?;
        if fs::metadata(&first)?.ino() != fs::metadata(&second)?.ino() {
            return Err(format!("{first} and {second} are two files").into());
        }
        if server.bytes_sent() != sent {
            return Err("the server was asked for bytes again".into());
        }
        rustix::fs::sync();
        grown.push((self::blocks(&scene.cache())? as f64 - blocks as f64) / 2.0);
    }
    let samples = vec![crate::rounds::Samples {
        name: "callao get, another URL",
        costs,
        mib: None,
    }];
    let claims = vec![
        Claim::median("wall time", samples[0].walls(), Goal::AtMost(0.1), " s"),
        // The entry's own directory, its small text files, and rows of the catalogue.
        Claim::worst(
            "growth of the cache on disk",
            grown,
            Goal::AtMost(128.0),
            " KiB",
        ),
    ];
    let note = "Both entries are the same inode; what grows is the second entry's directory and its small text files.";
    Ok(Section {
        mib: None,
        samples,
        claims,
        notes: vec![note.to_owned()],
    })
}

/// Blocks of 512 bytes that a tree takes on disk, each inode once.
pub(super) fn blocks(root: &Path) -> Outcome<u64> {
    let (mut inodes, mut directories) = (HashMap::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            inodes.insert(metadata.ino(), metadata.blocks());
            if metadata.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(inodes.values().sum())
}
