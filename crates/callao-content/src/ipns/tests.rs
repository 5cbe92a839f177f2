//! Records of a real kubo, and records that are wrong in one way each.

use std::time::{Duration, SystemTime};

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::varint;

const NAME: &str = "k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc";
const RSA_NAME: &str = "k2k4r8pj5hxfaf4bsuzedoljirm18m7smmq3ss6d8p06yv1y6ysbo2xd";
const FIRST: &[u8] = include_bytes!("../../tests/data/ipns/first.ipns-record");
const SECOND: &[u8] = include_bytes!("../../tests/data/ipns/second.ipns-record");
const V2_ONLY: &[u8] = include_bytes!("../../tests/data/ipns/v2-only.ipns-record");
const RSA: &[u8] = include_bytes!("../../tests/data/ipns/rsa.ipns-record");
const CID: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";

fn name(text: &str) -> Cid {
    peer_id::parse(text).expect("a name")
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn message(name: &Cid, bytes: &[u8]) -> String {
    let error = Record::verify(name, bytes).expect_err("it is wrong");
    error.to_string()
}

/// A record as a publisher makes it; every part can be another one.
struct Made {
    key: Ed25519KeyPair,
    value: Vec<u8>,
    validity: String,
    validity_type: u64,
    sequence: u64,
    ttl: u64,
    /// What the copies say that are not signed; none: they are left out.
    copies: Option<Vec<u8>>,
    public_key: Option<Vec<u8>>,
}

impl Made {
    fn new() -> Self {
        Made {
            key: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"),
            value: format!("/ipfs/{CID}").into_bytes(),
            validity: "2026-11-29T17:07:24.259133701Z".into(),
            validity_type: 0,
            sequence: 5,
            ttl: 60_000_000_000,
            copies: None,
            public_key: None,
        }
    }

    fn key(&self) -> Vec<u8> {
        [&[8, 1, 18, 32][..], self.key.public_key().as_ref()].concat()
    }

    fn name(&self) -> Cid {
        let hash = [&[0, 36][..], &self.key()].concat();
        name(&multibase::Base::Base58Btc.encode(hash))
    }

    fn data(&self) -> Vec<u8> {
        let mut data = vec![0xa5];
        let mut number = |key: &str, value: u64| {
            data.push(0x60 | key.len() as u8);
            data.extend_from_slice(key.as_bytes());
            data.push(0x1b);
            data.extend_from_slice(&value.to_be_bytes());
        };
        number("TTL", self.ttl);
        number("Sequence", self.sequence);
        number("ValidityType", self.validity_type);
        for (key, value) in [
            ("Value", &*self.value),
            ("Validity", self.validity.as_bytes()),
        ] {
            data.push(0x60 | key.len() as u8);
            data.extend_from_slice(key.as_bytes());
            data.push(0x59);
            data.extend_from_slice(&(value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
        }
        data
    }

    fn bytes(&self) -> Vec<u8> {
        self.around(&self.data())
    }

    /// A record with this data, signed.
    fn around(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = |number: u64, bytes: &[u8]| {
            varint::write(number << 3 | 2, &mut out);
            varint::write(bytes.len() as u64, &mut out);
            out.extend_from_slice(bytes);
        };
        if let Some(copies) = &self.copies {
            bytes(1, copies);
            bytes(4, self.validity.as_bytes());
        }
        if let Some(key) = &self.public_key {
            bytes(7, key);
        }
        let signed = [SIGNED_PREFIX, data].concat();
        bytes(8, self.key.sign(&signed).as_ref());
        bytes(9, data);
        if self.copies.is_some() {
            for (number, value) in [(3, self.validity_type), (5, self.sequence), (6, self.ttl)] {
                varint::write(number << 3, &mut out);
                varint::write(value, &mut out);
            }
        }
        out
    }
}

#[test]
fn records_of_kubo_are_read() {
    let first = Record::verify(&name(NAME), FIRST).expect("a record");
    let root = cid::parse(CID).expect("a CID");
    let content = |root| Target::Content {
        root,
        path: Vec::new(),
    };
    assert_eq!(first.target(), &content(root));
    assert_eq!(
        (first.sequence(), first.ttl()),
        (0, Duration::from_secs(300))
    );
    assert_eq!(first.bytes(), FIRST);
    assert_eq!(first.name(), &name(NAME));
    // 2026-11-29T17:07:24.259133701Z
    let end = at(1_795_972_044) + Duration::from_nanos(259_133_701);
    assert_eq!(first.valid_until(), end);
    assert!(!first.is_expired(end - Duration::from_nanos(1)));
    assert!(first.is_expired(end));
    let second = Record::verify(&name(NAME), SECOND).expect("a record");
    let v2 = Record::verify(&name(NAME), V2_ONLY).expect("a record");
    assert_eq!((second.sequence(), v2.sequence()), (1, 1));
    assert_eq!(second.target(), v2.target());
    // The one with the higher number, though the other one counts for a day longer; of two with one number the later one.
    assert!(second.replaces(&first) && !first.replaces(&second));
    assert!(v2.replaces(&second) && !second.replaces(&second));
    let rsa = Record::verify(&name(RSA_NAME), RSA).expect("a record");
    assert_eq!(rsa.target(), &content(root));
    // The same key under its other spelling.
    let spelled = peer_id::base58(&name(RSA_NAME));
    assert!(spelled.starts_with("Qm"));
    assert!(Record::verify(&name(&spelled), RSA).is_ok());
}

#[test]
fn not_one_byte_of_what_is_signed_can_be_changed() {
    for (name, record) in [
        (name(NAME), V2_ONLY),
        (name(NAME), FIRST),
        (name(RSA_NAME), RSA),
    ] {
        let good = Record::verify(&name, record).expect("a record");
        for at in 0..record.len() {
            let mut bytes = record.to_vec();
            bytes[at] ^= 1;
            // The signature of version 1 is nobody's business: everything else fails, or says the same.
            if let Ok(read) = Record::verify(&name, &bytes) {
                assert_eq!(read.target(), good.target(), "byte {at}");
                assert_eq!(read.sequence(), good.sequence(), "byte {at}");
                assert_eq!(read.valid_until(), good.valid_until(), "byte {at}");
                let entry = Entry::read(&bytes).expect("a protobuf");
                assert_ne!(
                    entry.signature_v1,
                    Entry::read(record).expect("a protobuf").signature_v1,
                    "byte {at}"
                );
            }
        }
        for end in 0..record.len() {
            assert!(
                Record::verify(&name, &record[..end]).is_err(),
                "{end} bytes"
            );
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let good = Made::new();
    let of = good.name();
    assert!(Record::verify(&of, &good.bytes()).is_ok());
    let made = |change: &dyn Fn(&mut Made)| {
        let mut made = Made::new();
        change(&mut made);
        made.bytes()
    };
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).expect("a key");
    let other = [&[8, 1, 18, 32][..], other.public_key().as_ref()].concat();
    let no_data: Vec<u8> = [&[0x42, 1, 7][..]].concat();
    for (bytes, reason) in [
        (vec![0; 10 * 1024 + 1], "it is larger than any record"),
        (b"\xff\xff".to_vec(), "it is not the protobuf of one"),
        (b"not a record".to_vec(), "it is not the protobuf of one"),
        (Vec::new(), "it has no signature of version 2"),
        (no_data, "it has no signature of version 2"),
        (
            SECOND.to_vec(),
            "its signature is not that of the name's key",
        ),
        (
            made(&|made| made.public_key = Some(other.clone())),
            "the key in it is not that of the name",
        ),
        (
            made(&|made| made.copies = Some(b"/ipfs/bafkqaaa".to_vec())),
            "what is signed and what is not contradict each other",
        ),
        (
            made(&|made| made.validity_type = 1),
            "it does not say until when it counts",
        ),
        (
            made(&|made| made.validity = "tomorrow".into()),
            "until when it counts is no time",
        ),
        (
            made(&|made| made.validity = "1969-01-01T00:00:00Z".into()),
            "until when it counts is no time",
        ),
        (
            made(&|made| made.value = b"/etc/passwd".to_vec()),
            "what it stands for is no path of /ipfs or /ipns",
        ),
        (
            made(&|made| made.value = b"/ipfs/x".to_vec()),
            "what it stands for is no path of /ipfs or /ipns",
        ),
        (
            made(&|made| made.value = Vec::new()),
            "what it stands for is no path of /ipfs or /ipns",
        ),
        (
            good.around(b"\xa1\x63TTL\x01"),
            "a field that it must have is not in its data",
        ),
    ] {
        let wanted = format!("not an IPNS record of this name: {reason}");
        assert_eq!(message(&of, &bytes), wanted);
    }
}

#[test]
fn records_without_what_proves_them_are_refused() {
    let good = Made::new();
    let of = good.name();
    assert_eq!(
        message(&of, &good.around(b"\x81\x01")),
        "not dag-cbor: not a map (byte 1)"
    );
    // Only a version 1 signature: it was dropped, since it does not cover everything.
    assert_eq!(
        message(&name(NAME), &FIRST[..0xb0]),
        "not an IPNS record of this name: it has no signature of version 2"
    );
    assert_eq!(
        message(&name(RSA_NAME), V2_ONLY),
        "not an IPNS record of this name: the key of the name is not in it"
    );
}

#[test]
fn keys_of_other_kinds_are_refused() {
    // secp256k1, as its type says.
    let key = [8, 2, 18, 2, 1, 2];
    let hash = [&[0, key.len() as u8][..], &key].concat();
    let of = name(&multibase::Base::Base58Btc.encode(hash));
    assert_eq!(
        message(&of, V2_ONLY),
        "not an IPNS record of this name: the key of the name is neither Ed25519 nor RSA"
    );
    let hash = multibase::Base::Base58Btc.encode([0, 2, 8, 1]);
    assert_eq!(
        message(&name(&hash), V2_ONLY),
        "not an IPNS record of this name: the key of the name cannot be read"
    );
}

#[test]
fn names_stand_for_content_for_names_and_for_domains() {
    let root = cid::parse(CID).expect("a CID");
    let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
    for (value, target) in [
        (
            format!("/ipfs/{CID}/a b//%20/"),
            Target::Content {
                root,
                path: path(&["a b", "%20"]),
            },
        ),
        (
            format!("/ipns/{NAME}/x"),
            Target::Name {
                name: name(NAME),
                path: path(&["x"]),
            },
        ),
        (
            "/ipns/docs.example.org/x".into(),
            Target::Domain("docs.example.org".into()),
        ),
    ] {
        let made = Made {
            value: value.clone().into_bytes(),
            ..Made::new()
        };
        let read = Record::verify(&made.name(), &made.bytes()).expect("a record");
        assert_eq!(read.target(), &target, "{value}");
    }
    let long = Made {
        ttl: u64::MAX,
        copies: Some(format!("/ipfs/{CID}").into_bytes()),
        ..Made::new()
    };
    let long = Record::verify(&long.name(), &long.bytes()).expect("a record");
    assert_eq!(long.ttl(), IPNS_TTL_MAX);
}
