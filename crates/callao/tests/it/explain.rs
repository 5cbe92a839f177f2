//! `callao explain`: what is here, who has it, and how the last fetches went.

use std::fs;

use callao_testkit::gateway::{Gateway, GatewayBehaviour, Which};
use callao_testkit::origin::{Behaviour, Origin, Ranges, Status, Times};
use callao_testkit::real::{Kubo, Nginx, NginxOptions};
use callao_testkit::router::{Router, RouterBehaviour, gateway_record};
use insta::assert_snapshot;
use serde_json::Value;

use crate::env::{Run, Sample, TestEnvironment};

const SIZE: usize = 3 * 1024 * 1024 + 17;

fn refusing(code: u16) -> Behaviour {
    Behaviour {
        status: Some(Status {
            code,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    }
}

/// Both streams, steady.
fn all(env: &TestEnvironment, run: &Run) -> String {
    let code = run.code.expect("an exit code");
    format!(
        "exit {code}\n{}{}",
        env.steady(&run.stdout),
        env.steady(&run.stderr)
    )
}

fn answers(run: &Run) -> Vec<(String, String)> {
    let explanation = run.last("explanation");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let sources = explanation["sources"].as_array().expect("sources");
    sources
        .iter()
        .map(|asked| (text(&asked["source"]["kind"]), text(&asked["answer"])))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(one, two): &(&str, &str)| ((*one).to_owned(), (*two).to_owned());
    list.iter().map(own).collect()
}

#[test]
fn before_a_fetch_everybody_is_asked_and_nothing_is_fetched() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(400, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let lacking = Gateway::start(Vec::new(), Vec::new(), GatewayBehaviour::default());
    let (digest, cid) = (sample.digest.to_string(), sample.cid());
    let run = env.run(&[
        "explain",
        &origin.url(),
        "--digest",
        &digest,
        "--cid",
        &cid,
        "--gateway",
        &gateway.url(),
        &lacking.url(),
    ]);
    assert_snapshot!(all(&env, &run), @r##"
    exit 0
    the image `http://127.0.0.1:PORT/image.img`
      wanted    digest sha256:7c46553616fd..., CID bafybeihndro...
      get would fetch it
      here      nothing
      layout    not known yet: the inner nodes are asked for while bytes arrive
      asked     http://127.0.0.1:PORT/image.img: has it (N ms); 3.00 MiB, ranges, ETag "6562a5d0-1c200000", 
          modified Sun, 26 Nov 2023 01:56:00 GMT
                gateway http://127.0.0.1:PORT: has it (N ms); 3.00 MiB, no ranges, blocks, CAR
                gateway http://127.0.0.1:PORT: does not have it: HTTP 404 Not Found (N ms)
      not asked public gateways, routers and peers, the local network, a kubo on this computer: discovery is 
          `none`
      history   no fetch is remembered
    "##);
    assert!(!env.cache_dir().exists(), "nothing was made");
    assert_eq!(origin.bytes_sent(), 1);
    assert!(gateway.bytes_sent() < 20_000, "{}", gateway.bytes_sent());
}

#[test]
fn after_a_fetch_the_entry_is_trusted_and_the_history_tells_the_way() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(401, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let lying = Gateway::start(
        vec![sample.file()],
        Vec::new(),
        GatewayBehaviour {
            wrong: Some(Which::EveryRaw),
            ..GatewayBehaviour::default()
        },
    );
    let digest = sample.digest.to_string();
    let (url, cid, gateway) = (origin.url(), sample.cid(), lying.url());
    let flags = [
        &*url,
        "--digest",
        &digest,
        "--cid",
        &cid,
        "--gateway",
        &gateway,
    ];
    env.succeed(&[&["get"], &flags[..]].concat());
    let run = env.run(&[&["explain", "--offline"], &flags[..]].concat());
    assert_eq!(run.code, Some(0));
    let text = env.steady(&run.stdout);
    assert!(
        text.contains("get would use the file that is here, and ask nobody"),
        "{text}"
    );
    let text = text.replace("\n      ", "");
    assert!(
        text.contains("verified by digest and CID, unchanged since"),
        "{text}"
    );
    assert!(text.contains("limactl believes its digest file"), "{text}");
    assert!(
        text.contains("known, on disk: 3.00 MiB in 13 leaves"),
        "{text}"
    );
    let json = env.run(&[&["explain", "--offline", "--json"], &flags[..]].concat());
    let past = &json.last("explanation")["history"][0];
    assert_eq!(
        (&past["outcome"], &past["size"]),
        (&"done".into(), &SIZE.into())
    );
    let shares = past["shares"].as_array().expect("shares");
    let sum: u64 = shares
        .iter()
        .filter_map(|share| share["bytes"].as_u64())
        .sum();
    assert_eq!(sum, SIZE as u64);
}

#[test]
fn a_failed_fetch_is_remembered_with_its_reasons() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(402, SIZE));
    let origin = Origin::start(sample.bytes.clone(), refusing(404));
    let digest = sample.digest.to_string();
    let flags = [&*origin.url(), "--digest", &digest];
    assert_eq!(env.run(&[&["get"], &flags[..]].concat()).code, Some(3));
    let run = env.run(&[&["explain"], &flags[..]].concat());
    assert_snapshot!(all(&env, &run), @r##"
    exit 3
    the image `http://127.0.0.1:PORT/image.img`
      wanted    digest sha256:4b1ba0c6ddad...
      get would fail: nobody who may be asked has it
      here      nothing
      layout    not known: there is no CID
      asked     http://127.0.0.1:PORT/image.img: does not have it: HTTP 404 Not Found (N ms)
      not asked public gateways, routers and peers, the local network, a kubo on this computer: discovery is 
          `none`
      history   N s ago: failed (not found) from `http://127.0.0.1:PORT/image.img` in N s
                    -   http://127.0.0.1:PORT/image.img dropped: does not have it: HTTP 404 Not Found
                    -   failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver 
          the image
    error: nobody who may be asked has `http://127.0.0.1:PORT/image.img`
    hint: the lines above say why; --discovery, --gateway, --kubo, --car and --mirror allow more places
    "##);
}

#[test]
fn an_interrupted_fetch_and_what_it_left() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(403, SIZE));
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            stop_after_total: Some(2 * 1024 * 1024),
            ..Behaviour::default()
        },
    );
    let digest = sample.digest.to_string();
    let flags = [&*origin.url(), "--digest", &digest];
    assert_eq!(env.run(&[&["get"], &flags[..]].concat()).code, Some(4));
    let run = env.run(&[&["explain", "--json"], &flags[..]].concat());
    assert_eq!(run.code, Some(3));
    let explanation = run.last("explanation");
    let kept = &explanation["kept"];
    assert_eq!(
        (&kept["size"], &kept["in_use"]),
        (&SIZE.into(), &false.into())
    );
    assert!(
        kept["bytes_at_most"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{kept}"
    );
    let past = &explanation["history"][0];
    assert_eq!(past["outcome"], "network");
    assert!(
        past["kept"].as_u64().is_some_and(|bytes| bytes > 0),
        "{past}"
    );
}

#[test]
fn a_template_says_which_entry_is_taken_and_why_not_the_others() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(404, SIZE));
    let gone = Origin::start(sample.bytes.clone(), refusing(404));
    let good = Origin::start(sample.bytes.clone(), Behaviour::default());
    let other = Sample::random(405, 1000);
    env.write(
        "t.yaml",
        format!(
            "images:\n\
             - location: {}\n  arch: x86_64\n  digest: {}\n\
             - location: {}\n  arch: x86_64\n  digest: {}\n\
             - location: {}\n  arch: x86_64\n\
             - location: https://arm.example/a.img\n  arch: aarch64\n",
            gone.url_of("/old.img"),
            other.digest,
            good.url_of("/new.img"),
            sample.digest,
            good.url_of("/latest.img"),
        ),
    );
    let flags = ["t.yaml", "--arch", "x86_64", "--no-archives"];
    let before = env.run(&[&["explain"], &flags[..]].concat());
    assert_snapshot!(all(&env, &before), @r##"
    exit 0
    the image `http://127.0.0.1:PORT/old.img`
      wanted    digest sha256:6ef2dc041bc9..., for x86_64
      entry     1 of 2: cannot be had
      get would fail: nobody who may be asked has it
      here      nothing
      layout    not known: there is no CID
      asked     http://127.0.0.1:PORT/old.img: does not have it: HTTP 404 Not Found (N ms)
      not asked public gateways, routers and peers, the local network, a kubo on this computer: discovery is 
          `none`
      history   no fetch is remembered

    the image `http://127.0.0.1:PORT/new.img`
      wanted    digest sha256:cbfaf03ec572..., for x86_64
      entry     2 of 2: this one is taken
      get would fetch it
      here      nothing
      layout    not known: there is no CID
      asked     http://127.0.0.1:PORT/new.img: has it (N ms); 3.00 MiB, ranges, ETag "6562a5d0-1c200000", 
          modified Sun, 26 Nov 2023 01:56:00 GMT
      not asked public gateways, routers and peers, the local network, a kubo on this computer: discovery is 
          `none`
      history   no fetch is remembered
    not tried: `http://127.0.0.1:PORT/latest.img`: it has neither digest nor CID, and others have 
          (--allow-unpinned of `get`)
    not tried: `https://arm.example/a.img`: for aarch64
    "##);
    env.succeed(&[&["get"], &flags[..]].concat());
    let after = env.run(&[&["explain", "--offline", "--json"], &flags[..]].concat());
    let explanations: Vec<_> = after.json();
    let taken = explanations.iter().find(|one| one["choice"] == "taken");
    let past = &taken.expect("one is taken")["history"][0];
    assert_eq!(past["instead_of"][0]["location"], gone.url_of("/old.img"));
    assert!(
        past["instead_of"][0]["reason"]
            .as_str()
            .is_some_and(|why| why.contains("failed to download the image")),
        "{past}"
    );
}

#[test]
fn each_state_of_an_entry_has_its_word() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(406, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let digest = sample.digest.to_string();
    let url = origin.url();
    let flags = ["explain", "--offline", "--json", &*url, "--digest", &digest];
    let seen = || {
        let explanation = env.run(&flags).last("explanation");
        let state = explanation["copies"][0]["state"].clone();
        (state, explanation["verdict"].clone())
    };
    // Another program put it there.
    let entry = env.entry(&url);
    fs::create_dir_all(&entry).expect("an entry");
    fs::write(entry.join("data"), &sample.bytes).expect("data");
    assert_eq!(seen(), ("unverified".into(), "hash_once".into()));
    env.succeed(&["get", &url, "--digest", &digest]);
    assert_eq!(seen(), ("trusted".into(), "use".into()));
    // Written to: what is there now has to be looked at.
    fs::write(entry.join("data"), &sample.bytes).expect("data");
    assert_eq!(seen(), ("touched".into(), "hash_once".into()));
    // The same location with another digest.
    env.succeed(&["get", &url, "--digest", &digest]);
    let other = format!("sha256:{}", "0".repeat(64));
    let run = env.run(&["explain", "--offline", "--json", &url, "--digest", &other]);
    let explanation = run.last("explanation");
    assert_eq!(
        (
            &explanation["copies"][0]["state"],
            &explanation["verdict"],
            run.code
        ),
        (&"other_bytes".into(), &"fail".into(), Some(3))
    );
    // The same bytes under another name.
    let run = env.run(&[
        "explain",
        "--offline",
        "--json",
        &origin.url_of("/b.img"),
        "--digest",
        &digest,
    ]);
    let explanation = run.last("explanation");
    assert_eq!(explanation["verdict"], "link");
    let copy = &explanation["copies"][0];
    assert_eq!(
        (&copy["location"], &copy["digest_files"][0]),
        (&url.clone().into(), &digest.clone().into())
    );
    let unpinned = env.run(&["explain", "--offline", "--json", &url]);
    assert_eq!(unpinned.last("explanation")["verdict"], "ask_server");
    fs::remove_file(entry.join("data")).expect("data");
    let run = env.run(&flags);
    assert_eq!(run.last("explanation")["copies"][0]["state"], "no_data");
}

#[test]
fn bad_sources_are_told_apart() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(407, SIZE));
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            ranges: Ranges::Ignore,
            ..Behaviour::default()
        },
    );
    let shorter = Origin::start(sample.bytes[..1000].to_vec(), Behaviour::default());
    let silent = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            never_answer: true,
            ..Behaviour::default()
        },
    );
    let busy = Origin::start(sample.bytes.clone(), refusing(429));
    let lying = Gateway::start(
        vec![sample.file()],
        Vec::new(),
        GatewayBehaviour {
            wrong: Some(Which::Block(*sample.layout.root())),
            ..GatewayBehaviour::default()
        },
    );
    let honest = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let cid = sample.cid();
    let run = env.run(&[
        "explain",
        "--json",
        &origin.url(),
        "--cid",
        &cid,
        "--mirror",
        &shorter.url(),
        &silent.url(),
        &busy.url(),
        "--gateway",
        &lying.url(),
        &honest.url(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = pairs(&[
        ("http", "has_it"),
        ("http", "has_it"),
        ("http", "network"),
        ("http", "busy"),
        ("gateway", "lied"),
        ("gateway", "has_it"),
    ]);
    assert_eq!(answers(&run), expected);
    let sources = &run.last("explanation")["sources"];
    assert_eq!(
        (&sources[0]["ranges"], &sources[0]["size_agrees"]),
        (&false.into(), &true.into())
    );
    assert_eq!(sources[1]["size_agrees"], false, "another length");
    assert_eq!(
        (&sources[5]["car"], &sources[5]["size_proven"]),
        (&true.into(), &true.into())
    );
}

#[test]
fn whoever_may_not_be_asked_is_named_with_the_reason() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(408, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let (cid, gateway_url) = (sample.cid(), gateway.url());
    let not_asked = |flags: &[&str]| {
        let all = [
            &["explain", "--json", &cid, "--gateway", &gateway_url],
            flags,
        ]
        .concat();
        let run = env.run(&all);
        let list = run.last("explanation")["not_asked"].clone();
        let line = |one: &Value| format!("{}: {}", one["what"], one["why"]).replace('"', "");
        let lines: Vec<_> = list.as_array().expect("a list").iter().map(line).collect();
        (run.code, lines)
    };
    let none = "public gateways, routers and peers, the local network, a kubo on this computer: discovery is `none`";
    let only = "gateways and routers: --only allows other kinds of source";
    let offline = "everything but local files: offline: no socket may be opened";
    assert_eq!(not_asked(&[]), (Some(0), vec![none.into()]));
    assert_eq!(
        not_asked(&["--only", "kubo"]),
        (Some(3), vec![only.into(), none.into()])
    );
    assert_eq!(
        not_asked(&["--offline"]),
        (Some(3), vec![offline.into(), none.into()])
    );
    let lan = "public gateways, routers and peers: discovery is `lan`";
    assert_eq!(
        not_asked(&["--discovery", "lan"]),
        (Some(0), vec![lan.into()])
    );
    // Without a CID a gateway cannot be asked.
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.run(&[
        "explain",
        "--json",
        &origin.url(),
        "--gateway",
        &gateway_url,
    ]);
    assert_eq!(
        run.last("explanation")["not_asked"][0]["why"],
        "the CID of the file is not known"
    );
}

#[test]
fn routers_are_asked_and_what_they_name_is_not_believed() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(409, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let router = Router::start(RouterBehaviour {
        records: vec![gateway_record(&gateway.url())],
        ..RouterBehaviour::default()
    });
    let failing = Router::start(RouterBehaviour {
        status: Some((500, None)),
        ..RouterBehaviour::default()
    });
    env.set(&format!(
        "gateways = []\nrouters = [\"{}\", \"{}\"]\n",
        router.url(),
        failing.url()
    ));
    let run = env.run(&["explain", "--json", &sample.cid(), "--discovery", "public"]);
    let routers = &run.last("explanation")["routers"];
    assert_eq!((&routers[0]["providers"], run.code), (&0.into(), Some(3)));
    assert_eq!(routers[1]["reason"], "HTTP 500 Internal Server Error");
    assert_eq!(gateway.requests().len(), 0, "loopback is not dialled");
}

#[test]
fn a_path_below_a_directory_is_followed() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(410, SIZE);
    fs::create_dir(env.path("d")).expect("a directory");
    env.write("d/a.img", &sample.bytes);
    let dir = kubo.run(&[
        "add",
        "-Q",
        "-r",
        "--cid-version=1",
        &env.path("d").to_string_lossy(),
    ]);
    let location = format!("ipfs://{dir}/a.img");
    let run = env.run(&[
        "explain",
        "--json",
        "--offline",
        &location,
        "--kubo",
        "repository",
    ]);
    assert_eq!(answers(&run), pairs(&[("kubo_repo", "has_it")]));
    let explanation = run.last("explanation");
    assert_eq!(
        (&explanation["cid"], run.code),
        (&sample.cid().into(), Some(0))
    );
    assert_eq!(explanation["sources"][0]["size"], SIZE);
    let wrong = format!("ipfs://{dir}/b.img");
    let run = env.run(&[
        "explain",
        "--json",
        "--offline",
        &wrong,
        "--kubo",
        "repository",
    ]);
    assert!(
        run.last("explanation")["not_followed"].is_string(),
        "{}",
        run.stdout
    );
    let daemon = kubo.daemon(true);
    let run = env.run(&["explain", "--json", &sample.cid(), "--kubo", "repository"]);
    let expected = pairs(&[("kubo_repo", "has_it"), ("kubo", "has_it")]);
    assert_eq!(answers(&run), expected);
    let asked = &run.last("explanation")["sources"][1];
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    assert!(text("version").starts_with("kubo 0."), "{asked}");
    assert!(
        text("way").starts_with("its gateway http://127.0.0.1:"),
        "{asked}"
    );
    drop(daemon);
}

#[test]
fn nginx_is_seen_as_it_is() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(411, SIZE));
    let root = env.path("www");
    fs::create_dir(&root).expect("a root");
    fs::write(root.join("a.img"), &sample.bytes).expect("a file");
    let Some(nginx) = Nginx::start(&root, &NginxOptions::default()) else {
        return;
    };
    let run = env.run(&["explain", "--json", &nginx.url("a.img")]);
    let asked = &run.last("explanation")["sources"][0];
    assert_eq!(
        (&asked["size"], &asked["ranges"]),
        (&SIZE.into(), &true.into())
    );
    assert!(
        asked["etag"].is_string() && asked["last_modified"].is_string(),
        "{asked}"
    );
    let missing = env.run(&["explain", &nginx.url("missing.img")]);
    assert_eq!(missing.code, Some(3));
    assert!(
        missing.stdout.contains("HTTP 404 Not Found"),
        "{}",
        missing.stdout
    );
}

#[test]
fn a_history_that_cannot_be_written_costs_nothing() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(412, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let digest = sample.digest.to_string();
    // A directory in the place of the database.
    fs::create_dir_all(env.cache_dir().join("callao/v1/catalogue.sqlite")).expect("a directory");
    env.succeed(&["get", &origin.url(), "--digest", &digest]);
    let run = env.run(&["explain", "--json", &origin.url(), "--digest", &digest]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.last("explanation")["history"], serde_json::json!([]));
}

#[test]
fn lies_and_contradictions_are_in_the_history() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(413, SIZE));
    let lying = Gateway::start(
        vec![sample.file()],
        Vec::new(),
        GatewayBehaviour {
            wrong: Some(Which::EveryRaw),
            ..GatewayBehaviour::default()
        },
    );
    let happenings = |flags: &[&str], past: usize| {
        let run = env.run(&[&["explain", "--json", "--offline"], flags].concat());
        let happenings = run.last("explanation")["history"][past]["happenings"].clone();
        let what = |one: &Value| one["what"].as_str().unwrap_or_default().to_owned();
        let all = happenings.as_array().expect("a list").iter().map(what);
        all.collect::<Vec<_>>()
    };
    let (cid, gateway) = (sample.cid(), lying.url());
    let run = env.run(&["get", &cid, "--gateway", &gateway]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert_eq!(happenings(&[&cid], 0), ["banned"]);
    // A wrong digest: nothing of it is kept.
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let wrong = format!("sha256:{}", "1".repeat(64));
    let flags = [&*origin.url(), "--digest", &wrong];
    assert_eq!(env.run(&[&["get"], &flags[..]].concat()).code, Some(5));
    let run = env.run(&[&["explain", "--json", "--offline"], &flags[..]].concat());
    let past = &run.last("explanation")["history"][0];
    assert_eq!(
        (&past["outcome"], &past["kept"]),
        (&"integrity".into(), &0.into())
    );
    // The CID is that of other bytes than the digest: the digest decides.
    let other = Sample::random(414, SIZE);
    let honest = Gateway::start(vec![other.file()], Vec::new(), GatewayBehaviour::default());
    let digest = sample.digest.to_string();
    let flags = [&*origin.url(), "--digest", &digest, "--cid", &other.cid()];
    env.succeed(&[&["get", "--gateway", &honest.url()], &flags[..]].concat());
    let seen = happenings(&flags, 0);
    assert!(
        seen.contains(&"cid_contradicts_digest".to_owned()),
        "{seen:?}"
    );
}

#[test]
fn several_files_that_nobody_has_are_listed() {
    let env = TestEnvironment::new();
    let (one, two) = (Sample::random(415, 1000), Sample::random(416, 1000));
    let run = env.run(&["explain", "--offline", &one.cid(), &two.cid()]);
    assert_eq!(run.code, Some(3));
    assert_snapshot!(env.steady(&run.stderr), @r##"
    error: nobody who may be asked has 2 of the files
      `ipfs://bafkreibm5mr...`
      `ipfs://bafkreidgzem...`
    hint: the lines above say why; --discovery, --gateway, --kubo, --car and --mirror allow more places
    "##);
}

#[test]
fn firmware_that_nobody_has_is_no_failure() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(417, 1000));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let gone = Origin::start(sample.bytes.clone(), refusing(404));
    env.write(
        "t.yaml",
        format!(
            "plain: true\narch: x86_64\nimages: [{{location: \"{}\", digest: \"{}\"}}]\n\
             firmware: {{images: [{{location: \"{}\"}}]}}\n",
            origin.url(),
            sample.digest,
            gone.url_of("/firmware.fd")
        ),
    );
    let run = env.succeed(&["explain", "t.yaml", "--no-archives"]);
    let line = run
        .stdout
        .lines()
        .find(|line| line.contains("go on without"));
    assert_eq!(
        line,
        Some(
            "  get would go on without it: limactl takes the firmware that is installed with QEMU"
        )
    );
}
