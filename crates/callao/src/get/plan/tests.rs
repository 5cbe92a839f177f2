//! Tables for the plan: which entries become one file, and which are not tried.

use super::*;

const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";
const OTHER_CID: &str = "bafybeidyzm3zkljztw3xqqjjapcqzsr4odz4evnmk4kfhdmmgird6citbi";

fn digest(byte: char) -> Option<Digest> {
    format!("sha256:{}", byte.to_string().repeat(64))
        .parse()
        .ok()
}

fn image(location: &str, digest: Option<Digest>, cid: Option<&str>) -> Alternative {
    let cid = cid.map(|text| cid::parse(text).expect("a CID"));
    let file = File {
        location: location.into(),
        arch: None,
        digest,
        cid,
        line: None,
    };
    Alternative::of(Want::of_file(Noun::Image, &file))
}

fn locations(need: &Need) -> Vec<Vec<&str>> {
    let of = |alternative: &Alternative| -> Vec<String> {
        alternative
            .wants
            .iter()
            .flat_map(|want| want.locations.iter().map(|location| location.text.clone()))
            .collect()
    };
    let owned: Vec<Vec<String>> = need.alternatives.iter().map(of).collect();
    owned
        .into_iter()
        .map(|group| group.into_iter().map(|text| &*text.leak()).collect())
        .collect()
}

#[test]
fn the_same_digest_is_one_file_with_all_locations() {
    let ipfs = format!("ipfs://{CID}/a.img");
    let all = vec![
        image(&ipfs, digest('a'), None),
        image("https://h/b.img", digest('b'), None),
        image("https://h/a.img", digest('a'), None),
        image("https://h/a.img", digest('a'), None),
    ];
    let need = need(all, Pins::Preferred);
    assert_eq!(
        locations(&need),
        [
            vec![ipfs.as_str(), "https://h/a.img"],
            vec!["https://h/b.img"]
        ]
    );
}

#[test]
fn the_same_cid_is_one_file_unless_the_digests_differ() {
    let named = format!("ipfs://{CID}/a.img");
    let same = need(
        vec![
            image("https://h/a.img", digest('a'), Some(CID)),
            image(&named, None, None),
        ],
        Pins::Preferred,
    );
    assert_eq!(same.alternatives.len(), 1);
    assert_eq!(same.alternatives[0].wants[0].digest, digest('a'));
    let differ = need(
        vec![
            image("x://a", digest('a'), Some(CID)),
            image("x://b", digest('b'), Some(CID)),
        ],
        Pins::Preferred,
    );
    assert_eq!(differ.alternatives.len(), 2);
    let below = [
        image(&format!("ipfs://{CID}/a"), None, None),
        image(&format!("ipfs://{CID}/b"), None, None),
    ];
    assert_eq!(
        need(below.to_vec(), Pins::Preferred).alternatives.len(),
        2,
        "two files of a directory"
    );
    let others = [
        image("x://a", None, Some(CID)),
        image("x://b", None, Some(OTHER_CID)),
    ];
    assert_eq!(need(others.to_vec(), Pins::Preferred).alternatives.len(), 2);
}

#[test]
fn entries_without_a_pin_are_no_alternative_to_pinned_ones() {
    let all = || {
        vec![
            image("https://h/dated.img", digest('a'), None),
            image("https://h/latest.img", None, None),
        ]
    };
    let preferred = need(all(), Pins::Preferred);
    assert_eq!(
        (locations(&preferred), preferred.unpinned.clone()),
        (
            vec![vec!["https://h/dated.img"]],
            vec!["https://h/latest.img".to_string()]
        )
    );
    assert_eq!(need(all(), Pins::Optional).alternatives.len(), 2);
    let only_unpinned = || vec![image("https://h/latest.img", None, None)];
    assert_eq!(need(only_unpinned(), Pins::Preferred).alternatives.len(), 1);
    let required = need(only_unpinned(), Pins::Required);
    assert_eq!(
        (required.alternatives.len(), required.unpinned.len()),
        (0, 1)
    );
}

#[test]
fn the_digest_of_a_manifest_is_a_pin_and_a_tag_is_none() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let all = vec![
        image(&format!("oci://h/a@{digest}"), None, None),
        image("oci://h/a:1", None, None),
    ];
    assert_eq!(need(all, Pins::Preferred).unpinned, ["oci://h/a:1"]);
}

#[test]
fn a_file_in_a_registry_is_called_by_its_name() {
    let noun = |text| Noun::of_location(text);
    assert_eq!(noun("oci://h/a:1"), Noun::File);
    assert_eq!(noun("oci://h/a:1#disk.qcow2.zst"), Noun::Image);
    assert_eq!(noun("https://h/a#disk.qcow2"), Noun::File);
}

#[test]
fn an_ipfs_address_is_a_pin() {
    let all = vec![
        image(&format!("ipfs://{CID}/a.img"), None, None),
        image("https://h/latest.img", None, None),
    ];
    assert_eq!(
        need(all, Pins::Preferred).unpinned,
        ["https://h/latest.img"]
    );
}

#[test]
fn locations_lead_where_lima_thinks() {
    let cases = [
        ("https://h/a.img", Place::Http(None)),
        ("./a.img", Place::Local("./a.img".into())),
        ("file:///a.img", Place::Local("/a.img".into())),
        ("cid:bafy", Place::Local("cid:bafy".into())),
        ("s3://h/a", Place::Other("s3".into())),
        ("oci://h/A", Place::Other("oci".into())),
    ];
    for (text, want) in cases {
        assert_eq!(Location::read(text).place, want, "{text}");
    }
    assert!(matches!(Location::read("oci://h/a").place, Place::Oci(_)));
    assert!(matches!(
        Location::read(&format!("ipfs://{CID}/a")).place,
        Place::Ipfs(_)
    ));
}

#[test]
fn nouns_are_those_of_limactl() {
    assert_eq!(Noun::of_location("https://h/a.qcow2.xz?x=1"), Noun::Image);
    assert_eq!(Noun::of_location("https://h/a.tar.gz"), Noun::File);
    assert_eq!(Noun::Archive.bare(), "nerdctl archive");
    let want = &image("https://h/dir/a.img?x#y", None, None).wants[0];
    assert_eq!(want.base_name(), "a.img");
}
