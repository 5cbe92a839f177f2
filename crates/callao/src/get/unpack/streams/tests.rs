//! Archives and compressed streams that are as they should be, and that are not.

use std::io::Write as _;

use super::*;

/// Keeps everything.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Sink for Kept {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn again(&mut self) -> Result<(), Failure> {
        self.0.clear();
        Ok(())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder
            .append_data(&mut header, name, *bytes)
            .expect("a Vec takes everything");
    }
    builder.into_inner().expect("a Vec takes everything")
}

fn out(packed: &[u8], form: Form) -> Result<Vec<u8>, String> {
    let mut kept = Kept::default();
    match unpack(packed, &form, &mut kept) {
        Ok(()) => Ok(kept.0),
        Err(Failure::Bad(why) | Failure::NotThere(why)) => Err(why),
        Err(Failure::Sink(error)) => Err(error.message),
    }
}

fn tar_form(packing: Option<Packing>, member: Option<&str>) -> Form {
    Form::Tar {
        packing,
        member: member.map(str::to_string),
    }
}

fn content() -> Vec<u8> {
    (0..700_000_u32).map(|at| (at / 3 % 251) as u8).collect()
}

#[test]
fn compressed_files_come_out_whole() {
    let bytes = content();
    assert_eq!(
        out(&gzip(&bytes), Form::Packed(Packing::Gzip)),
        Ok(bytes.clone())
    );
    assert_eq!(
        out(&zstd(&bytes), Form::Packed(Packing::Zstd)),
        Ok(bytes.clone())
    );
    assert_eq!(out(&bytes, Form::Plain), Ok(bytes.clone()));
    assert_eq!(out(&gzip(b""), Form::Packed(Packing::Gzip)), Ok(Vec::new()));
}

#[test]
fn several_members_and_frames_are_one_file() {
    let mut two = gzip(b"one ");
    two.extend(gzip(b"two"));
    assert_eq!(
        out(&two, Form::Packed(Packing::Gzip)),
        Ok(b"one two".to_vec())
    );
    let mut frames = zstd(b"one ");
    // A skippable frame, as pzstd and seekable zstd write them.
    frames.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);
    frames.extend(zstd(b"two"));
    assert_eq!(
        out(&frames, Form::Packed(Packing::Zstd)),
        Ok(b"one two".to_vec())
    );
}

#[test]
fn the_file_of_an_archive_is_the_named_one_or_the_only_disk() {
    let bytes = content();
    let image = tar(&[("disk/", b""), ("./disk/a.qcow2", &bytes)]);
    assert_eq!(out(&image, tar_form(None, None)), Ok(bytes.clone()));
    let packed = gzip(&image);
    assert_eq!(
        out(&packed, tar_form(Some(Packing::Gzip), None)),
        Ok(bytes.clone())
    );
    let beside = tar(&[
        ("README", b"read"),
        ("disk/a.img", &bytes),
        ("LICENSE", b"free"),
    ]);
    assert_eq!(out(&beside, tar_form(None, None)), Ok(bytes.clone()));
    let named = tar_form(Some(Packing::Zstd), Some("README"));
    assert_eq!(out(&zstd(&beside), named), Ok(b"read".to_vec()));
    let two = tar(&[("a.img", b"a"), ("b.raw", b"b")]);
    assert_eq!(
        out(&two, tar_form(None, None)),
        Err("there are several files in the archive: `a.img`, `b.raw`".into())
    );
    assert_eq!(out(&two, tar_form(None, Some("/b.raw"))), Ok(b"b".to_vec()));
    assert_eq!(
        out(&two, tar_form(None, Some("c.img"))),
        Err("there is no file `c.img` in the archive; there is `a.img`, `b.raw`".into())
    );
    let twice = tar(&[("a.img", b"a"), ("a.img", b"b")]);
    assert_eq!(
        out(&twice, tar_form(None, Some("a.img"))),
        Err("`a.img` is in the archive twice".into())
    );
    assert_eq!(
        out(&tar(&[("d/", b"")]), tar_form(None, None)),
        Err("there is no file in the archive".into())
    );
}

#[test]
fn a_titled_layer_may_be_the_file_or_an_archive_of_it() {
    let bytes = content();
    let form = || Form::FileOrTar(Packing::Gzip);
    assert_eq!(out(&gzip(&bytes), form()), Ok(bytes.clone()));
    assert_eq!(out(&gzip(&tar(&[("a.img", &bytes)])), form()), Ok(bytes));
    assert_eq!(out(&gzip(b"short"), form()), Ok(b"short".to_vec()));
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let bytes = content();
    let mut cut = gzip(&bytes);
    cut.truncate(cut.len() / 2);
    assert!(out(&cut, Form::Packed(Packing::Gzip)).is_err());
    let mut cut = zstd(&bytes);
    cut.truncate(cut.len() / 2);
    assert!(out(&cut, Form::Packed(Packing::Zstd)).is_err());
    assert!(out(&bytes, Form::Packed(Packing::Gzip)).is_err());
    assert!(out(&bytes, Form::Packed(Packing::Zstd)).is_err());
    assert!(out(&bytes, tar_form(None, None)).is_err());
    let mut archive = tar(&[("a.img", &bytes)]);
    archive.truncate(100_000);
    assert!(out(&archive, tar_form(None, None)).is_err());
}

#[test]
fn a_name_that_never_ends_is_not_read_into_memory() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 33);
    header.set_path("././@LongLink").expect("a short name");
    header.set_cksum();
    let endless = Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(b'a'));
    let mut kept = Kept::default();
    match unpack(endless, &tar_form(None, None), &mut kept) {
        Err(Failure::Bad(why)) => assert!(why.contains("too long"), "{why}"),
        other => panic!("{other:?}"),
    }
}
