//! Repositories made by hand in kubo's format.
#![expect(clippy::disallowed_methods, reason = "writes the repositories")]

use std::error::Error as StdError;
use std::fs;

use callao_content::hash;

use super::*;

type Outcome = Result<(), Box<dyn StdError>>;

const SPEC: &str = r#"{"mounts":[
    {"mountpoint":"/blocks","path":"blocks","shardFunc":"/repo/flatfs/shard/v1/next-to-last/2","type":"flatfs"},
    {"mountpoint":"/","path":"datastore","type":"levelds"}],"type":"mount"}"#;

/// The empty directory's block, as every kubo repository has it.
const EMPTY_DIRECTORY: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

#[test]
fn shards_are_those_of_flatfs() {
    let table = [
        ("/repo/flatfs/shard/v1/next-to-last/2", "CIQABCXY", "CX"),
        ("/repo/flatfs/shard/v1/prefix/3", "CIQABCXY", "CIQ"),
        ("/repo/flatfs/shard/v1/suffix/2", "CIQABCXY", "XY"),
        ("/repo/flatfs/shard/v1/next-to-last/2", "AB", "_A"),
        ("/repo/flatfs/shard/v1/next-to-last/2", "", "__"),
        ("/repo/flatfs/shard/v1/prefix/3", "A", "A__"),
        ("/repo/flatfs/shard/v1/suffix/3", "A", "__A"),
    ];
    for (function, key, expected) in table {
        let shard = Shard::parse(function).expect("a known function");
        assert_eq!(shard.directory(key), expected, "{function} {key}");
    }
    for bad in [
        "",
        "next-to-last/2",
        "/repo/flatfs/shard/v1/middle/2",
        "/repo/flatfs/shard/v1/prefix/-1",
    ] {
        assert_eq!(Shard::parse(bad), None, "{bad}");
    }
}

#[test]
fn blocks_are_where_kubo_puts_them() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::create_dir(dir.path().join("blocks"))?;
    fs::write(dir.path().join("datastore_spec"), SPEC)?;
    fs::write(
        dir.path().join("blocks/SHARDING"),
        "/repo/flatfs/shard/v1/next-to-last/2\n",
    )?;
    let repository = Flatfs::open(dir.path())?;
    let cid = cid::parse(EMPTY_DIRECTORY)?;
    let known = dir
        .path()
        .join("blocks/X3/CIQFTFEEHEDF6KLBT32BFAGLXEZL4UWFNWM4LFTLMXQBCERZ6CMLX3Y.data");
    assert_eq!(repository.block_path(&cid), known);

    let mut buffer = vec![1, 2, 3];
    assert!(!repository.read_into(&cid, &mut buffer)?);
    assert!(buffer.is_empty());
    fs::create_dir(dir.path().join("blocks/X3"))?;
    fs::write(&known, b"\x0a\x02\x08\x01")?;
    assert!(repository.read_into(&cid, &mut buffer)?);
    cid::verify_block(&cid, &buffer)?;
    // Both versions of a CID are one file.
    let v1 = cid::parse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")?;
    assert_eq!(
        repository.get(&v1)?.as_deref(),
        Some(&b"\x0a\x02\x08\x01"[..])
    );
    // A damaged block is handed over; its hash tells.
    fs::write(&known, b"damaged")?;
    assert!(cid::verify_block(&cid, &repository.get(&cid)?.expect("it is there")).is_err());
    // The blocks directory itself will do, and identity CIDs need no file.
    let identity = cid::parse("bafkqablimvwgy3y")?;
    assert_eq!(
        Flatfs::open(&dir.path().join("blocks"))?
            .get(&identity)?
            .as_deref(),
        Some(&b"hello"[..])
    );
    Ok(())
}

#[test]
fn other_datastores_are_named() -> Outcome {
    let check = |spec: Option<&str>| -> Result<String, Box<dyn StdError>> {
        let dir = tempfile::tempdir()?;
        if let Some(spec) = spec {
            fs::write(dir.path().join("datastore_spec"), spec)?;
        }
        let error = Flatfs::open(dir.path()).expect_err("there is no flatfs");
        Ok(error
            .to_string()
            .replace(&dir.path().display().to_string(), "REPO"))
    };
    let only = "which only kubo itself can read: start the daemon and give its API address instead";
    assert_eq!(
        check(Some(
            r#"{"mounts":[{"mountpoint":"/","path":"pebbleds","type":"pebbleds"}],"type":"mount"}"#
        ))?,
        format!("REPO keeps its blocks in pebbleds, {only}")
    );
    assert_eq!(
        check(Some(r#"{"path":"badgerds","type":"badgerds"}"#))?,
        format!("REPO keeps its blocks in badgerds, {only}")
    );
    assert_eq!(
        check(Some("{"))?,
        format!("REPO keeps its blocks in an unreadable datastore_spec, {only}")
    );
    assert_eq!(
        check(None)?,
        "REPO is not a kubo repository (no datastore_spec and no blocks/SHARDING)"
    );
    Ok(())
}

#[test]
fn reading_many_blocks_reuses_the_buffer() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::create_dir(dir.path().join("blocks"))?;
    fs::write(
        dir.path().join("blocks/SHARDING"),
        "/repo/flatfs/shard/v1/next-to-last/2",
    )?;
    let repository = Flatfs::open(dir.path())?;
    let blocks: Vec<Vec<u8>> = (1..40_usize)
        .map(|number| vec![number as u8; number * 1000])
        .collect();
    for block in &blocks {
        let path = repository.block_path(&cid::raw_sha256(hash::sha256(block)));
        fs::create_dir_all(path.parent().expect("a shard"))?;
        fs::write(path, block)?;
    }
    let mut buffer = Vec::new();
    let mut capacity = None;
    for block in &blocks {
        assert!(repository.read_into(&cid::raw_sha256(hash::sha256(block)), &mut buffer)?);
        assert!(buffer == *block);
        assert_eq!(
            *capacity.get_or_insert(buffer.capacity()),
            buffer.capacity()
        );
    }
    Ok(())
}
