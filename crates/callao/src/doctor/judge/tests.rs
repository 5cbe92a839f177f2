//! Tables of facts and what they mean.

use callao_fetch::source::{Abilities, SourceId};

use callao_vm::qemu::accel;

use super::*;
use crate::explain::ask::AskedRouter;

fn told(finding: &Finding) -> (State, &str) {
    (finding.state, &finding.found)
}

fn dir(path: &str) -> DirFacts {
    DirFacts {
        path: path.into(),
        mode: Some(0o40_700),
        ..DirFacts::default()
    }
}

fn good_disk() -> DiskFacts {
    DiskFacts {
        cache: dir("/c"),
        lima: dir("/c/lima"),
        own: dir("/c/callao"),
        free_bytes: Some(1 << 40),
        is_one_file_system: true,
        hard_link: Tried::Works,
        reflink: Tried::Works,
    }
}

fn states(findings: &[Finding]) -> Vec<(&'static str, State)> {
    findings
        .iter()
        .map(|finding| (finding.name, finding.state))
        .collect()
}

#[test]
fn a_good_disk_is_good() {
    let expected = [
        ("cache", State::Ok),
        ("free space", State::Ok),
        ("links", State::Ok),
    ];
    assert_eq!(states(&disk(&good_disk())), expected);
}

type Change = (&'static str, State, fn(&mut DiskFacts), &'static str);

const CHANGES: [Change; 10] = [
    (
        "cache",
        State::Problem,
        |disk| disk.cache.refused = Some("`/c`: Permission denied".into()),
        "`/c` cannot be used: `/c`: Permission denied",
    ),
    (
        "cache",
        State::Problem,
        |disk| disk.lima.refused = Some("`/c/lima` is not a directory".into()),
        "`/c` cannot be used: `/c/lima` is not a directory",
    ),
    (
        "cache",
        State::Ok,
        |disk| disk.cache.kind = DirKind::Missing,
        "`/c` is not there yet; it is made with the first file",
    ),
    (
        "permissions",
        State::Warning,
        |disk| disk.own.mode = Some(0o40_777),
        "others may write to `/c/callao` (mode 777)",
    ),
    (
        "permissions",
        State::Warning,
        |disk| disk.cache.is_foreign = true,
        "`/c` belongs to another user",
    ),
    (
        "free space",
        State::Warning,
        |disk| disk.free_bytes = Some(1 << 30),
        "1.00 GiB: not enough for some images",
    ),
    (
        "free space",
        State::Problem,
        |disk| disk.free_bytes = Some(1 << 20),
        "1.00 MiB",
    ),
    (
        "links",
        State::Warning,
        |disk| {
            disk.hard_link = Tried::Fails("Operation not permitted".into());
            disk.reflink = Tried::Unknown;
        },
        "no hard links (Operation not permitted): the same bytes under a second URL are a copy",
    ),
    (
        "links",
        State::Warning,
        |disk| disk.is_one_file_system = false,
        "lima/ and callao/ are on different file systems: each file is copied when it is complete",
    ),
    (
        "links",
        State::Note,
        |disk| disk.hard_link = Tried::Unknown,
        "not tried: the cache is not there yet, or cannot be written to",
    ),
];

#[test]
fn what_may_be_wrong_with_a_disk() {
    for (name, state, change, found) in CHANGES {
        let mut facts = good_disk();
        change(&mut facts);
        let findings = disk(&facts);
        let finding = findings.iter().find(|finding| finding.name == name);
        let finding = finding.expect(name);
        assert_eq!(told(finding), (state, found));
        let is_fine = matches!(state, State::Ok | State::Note);
        assert_eq!(
            finding.fix.is_none(),
            is_fine,
            "{found}: what is wrong has a fix"
        );
    }
}

#[test]
fn the_catalogue_is_never_a_problem() {
    let table = [
        (CatalogueFacts::Missing, State::Ok, "there is none yet"),
        (
            CatalogueFacts::Opened {
                files: 3,
                bytes: 2048,
                was_damaged: false,
            },
            State::Ok,
            "3 files known, 2.00 KiB on disk",
        ),
        (
            CatalogueFacts::Opened {
                files: 0,
                bytes: 1,
                was_damaged: true,
            },
            State::Warning,
            "it was damaged: it has been moved aside and a new one begun",
        ),
        (
            CatalogueFacts::Unusable("cannot use the catalogue /c".into()),
            State::Warning,
            "cannot use the catalogue /c; without it every file is hashed again",
        ),
    ];
    for (facts, state, found) in table {
        assert_eq!(told(&catalogue(&facts)), (state, found));
    }
}

#[test]
fn lima_may_be_missing() {
    let found = |version| LimactlFacts::Found {
        path: "/b/limactl".into(),
        version,
    };
    let table = [
        (
            LimactlFacts::Missing,
            State::Note,
            "there is none on PATH: `get` works without",
        ),
        (
            found(Ok(("2.2.0".into(), true))),
            State::Ok,
            "`/b/limactl` is version 2.2.0",
        ),
        (
            found(Ok(("1.2.1".into(), false))),
            State::Warning,
            "`/b/limactl` is version 1.2.1: too old for `callao lima` and for plugins",
        ),
        (
            found(Err("limactl refuses".into())),
            State::Warning,
            "limactl refuses",
        ),
    ];
    for (facts, state, words) in table {
        assert_eq!(told(&limactl(&facts)), (state, words));
    }
    let home = |is_there| LimaHomeFacts {
        path: "/l".into(),
        is_named: true,
        is_there,
        instances: 2,
    };
    assert_eq!(
        told(&lima_home(&home(true))),
        (State::Ok, "`/l` ($LIMA_HOME): 2 instances")
    );
    assert_eq!(
        told(&lima_home(&home(false))),
        (State::Note, "`/l` ($LIMA_HOME) is not there")
    );
}

fn asked(kind: SourceKind, answer: Answer, reason: Option<&str>) -> Asked {
    Asked {
        source: SourceId {
            kind,
            place: "https://g".into(),
        },
        answer,
        reason: reason.map(str::to_string),
        latency_ms: 12,
        size: None,
        size_proven: true,
        size_agrees: None,
        etag: None,
        last_modified: None,
        abilities: Abilities {
            car: Some(true),
            version: Some("kubo 0.43.1".into()),
            ..Abilities::default()
        },
        found_by: None,
    }
}

fn network(sources: Vec<Asked>) -> NetworkFacts {
    NetworkFacts {
        discovery: Discovery::Public,
        offline: false,
        unusable: None,
        sources,
        routers: Vec::new(),
        clock: ClockFacts::default(),
    }
}

#[test]
fn places_that_do_not_answer_are_warnings() {
    let facts = network(vec![
        asked(SourceKind::Gateway, Answer::HasIt, None),
        asked(
            SourceKind::Gateway,
            Answer::Network,
            Some("no connection: refused"),
        ),
        asked(SourceKind::Kubo, Answer::HasIt, None),
        asked(
            SourceKind::Kubo,
            Answer::Network,
            Some("no connection: refused"),
        ),
    ]);
    let found = gateways(&facts);
    assert_eq!(
        told(&found[0]),
        (State::Ok, "https://g gives blocks and CARs (12 ms)")
    );
    assert_eq!(
        told(&found[1]),
        (State::Warning, "https://g: no connection: refused")
    );
    let found = kubo(&RepositoryFacts::Unknown, &facts);
    assert_eq!(
        told(&found[0]),
        (
            State::Note,
            "nothing says where it would be: `get` works without"
        )
    );
    assert_eq!(
        told(&found[1]),
        (
            State::Ok,
            "https://g is kubo 0.43.1; bytes come by the API (12 ms)"
        )
    );
    assert_eq!(
        told(&found[2]),
        (State::Warning, "https://g: no connection: refused")
    );
    let router = |providers, reason: Option<&str>| AskedRouter {
        place: "https://r".into(),
        providers,
        refused: 0,
        reason: reason.map(str::to_string),
        latency_ms: 3,
    };
    let facts = NetworkFacts {
        routers: vec![router(Some(0), None), router(None, Some("HTTP 500"))],
        ..network(Vec::new())
    };
    let found = routers(&facts);
    assert_eq!(told(&found[0]), (State::Ok, "https://r answers (3 ms)"));
    assert_eq!(told(&found[1]), (State::Warning, "https://r: HTTP 500"));
}

#[test]
fn nobody_reached_is_told_once_more() {
    let gateway = |answer| asked(SourceKind::Gateway, answer, Some("no connection"));
    let all = |answers: &[Answer]| network(answers.iter().map(|answer| gateway(*answer)).collect());
    assert_eq!(connection(&all(&[])), None);
    assert_eq!(connection(&all(&[Answer::Network, Answer::Busy])), None);
    let found = connection(&all(&[Answer::Network, Answer::Network])).expect("a warning");
    assert_eq!(
        told(&found),
        (
            State::Warning,
            "none of 2 gateways and routers could be reached"
        )
    );
}

#[test]
fn repositories_that_cannot_be_read_in_place() {
    let found = |unreadable: Option<&str>, api: Option<&str>| RepositoryFacts::Found {
        path: "/r".into(),
        version: Some("18".into()),
        unreadable: unreadable.map(str::to_string),
        api: api.map(str::to_string),
    };
    let api = Some("/ip4/127.0.0.1/tcp/5001");
    let table = [
        (
            found(None, None),
            true,
            State::Ok,
            "`/r`: flatfs, read in place, format 18; no daemon runs on it",
        ),
        (
            found(None, api),
            true,
            State::Ok,
            "`/r`: flatfs, read in place, format 18; a daemon listens, or did, at /ip4/127.0.0.1/tcp/5001",
        ),
        (found(Some("pebble"), None), true, State::Warning, "pebble"),
        (
            found(Some("pebble"), api),
            true,
            State::Note,
            "pebble; a daemon listens, or did, at /ip4/127.0.0.1/tcp/5001",
        ),
        (
            found(Some("pebble"), None),
            false,
            State::Note,
            "pebble; no daemon runs on it; it is not looked at, since discovery is `none` (--kubo names it)",
        ),
    ];
    for (facts, is_looked_at, state, words) in table {
        assert_eq!(told(&repository(&facts, is_looked_at)), (state, words));
    }
}

#[test]
fn the_clock_is_compared_with_the_closest_one() {
    let now = CLOCK_UNIX_MIN + 1;
    let heard = |all: &[(&str, i64)]| {
        all.iter()
            .map(|(place, ahead)| ((*place).to_string(), *ahead))
            .collect()
    };
    type Case = (i64, &'static [(&'static str, i64)], State, &'static str);
    let table: [Case; 6] = [
        (
            now,
            &[],
            State::Ok,
            "plausible; nobody was heard who could confirm it",
        ),
        (
            now,
            &[("a", 2), ("b", -900)],
            State::Ok,
            "agrees with that of a",
        ),
        (
            now,
            &[("a", 3600), ("b", 3700)],
            State::Warning,
            "1 h 0 min ahead of that of a",
        ),
        (
            now,
            &[("a", -86_400 * 3)],
            State::Warning,
            "3 d behind that of a",
        ),
        (
            0,
            &[("a", 1)],
            State::Warning,
            "0 seconds after 1970 cannot be now",
        ),
        (
            CLOCK_UNIX_MAX,
            &[],
            State::Warning,
            "4102444800 seconds after 1970 cannot be now",
        ),
    ];
    for (now, ahead, state, words) in table {
        let facts = ClockFacts {
            now,
            ahead: heard(ahead),
        };
        assert_eq!(told(&clock(&facts)), (state, words));
    }
}

#[test]
fn proxies_and_certificates() {
    let one = |name: &str, value: &str, is_good| (name.to_string(), value.to_string(), is_good);
    assert_eq!(
        told(&proxies(&Vec::new())),
        (State::Ok, "the environment names none")
    );
    let good = vec![
        one("HTTPS_PROXY", "http://p:1", true),
        one("NO_PROXY", "a,b", true),
    ];
    assert_eq!(
        told(&proxies(&good)),
        (State::Ok, "HTTPS_PROXY=http://p:1 NO_PROXY=a,b")
    );
    let bad = vec![one("HTTP_PROXY", "http://", false)];
    assert_eq!(
        told(&proxies(&bad)),
        (
            State::Warning,
            "$HTTP_PROXY is `http://`, which is no URL: it is not used"
        )
    );
    let named = |unusable: Option<&str>| CertificateFacts::Named {
        variable: "SSL_CERT_FILE",
        path: "/ca.pem".into(),
        unusable: unusable.map(str::to_string),
    };
    let table = [
        (named(None), State::Ok, "`/ca.pem`, as $SSL_CERT_FILE says"),
        (
            named(Some("it holds no certificate")),
            State::Problem,
            "$SSL_CERT_FILE is `/ca.pem`: it holds no certificate; no HTTPS server can be trusted",
        ),
        (
            CertificateFacts::System("/etc/x".into()),
            State::Ok,
            "those of the system (/etc/x)",
        ),
        (
            CertificateFacts::Missing,
            State::Warning,
            "none were found where systems keep them: HTTPS will fail",
        ),
    ];
    for (facts, state, words) in table {
        assert_eq!(told(&certificates(&facts)), (state, words));
    }
}

#[test]
fn discovery_and_places_are_told() {
    let at = |discovery| NetworkFacts {
        discovery,
        ..network(Vec::new())
    };
    for (scope, word) in [
        (Discovery::Public, "`public`"),
        (Discovery::Lan, "`lan`"),
        (Discovery::None, "`none`"),
    ] {
        assert!(discovery(&at(scope)).found.starts_with(word));
    }
    let offline = NetworkFacts {
        offline: true,
        ..network(Vec::new())
    };
    assert_eq!(discovery(&offline).state, State::Note);
    assert_eq!(places(&offline), None);
    let unusable = NetworkFacts {
        unusable: Some("no URL".into()),
        ..network(Vec::new())
    };
    assert_eq!(
        places(&unusable).map(|finding| finding.state),
        Some(State::Problem)
    );
}

#[test]
fn machines_are_never_a_problem() {
    use Tool::{Found, Missing, Unusable};
    let of = |system: &Tool, img: &Tool, firmware: &Tool| {
        qemu(&QemuFacts {
            system: system.clone(),
            img: img.clone(),
            firmware: firmware.clone(),
        })
    };
    let (qemu, img) = (Found("`/b/qemu` 10.0.2".into()), Found("/b/img".into()));
    let firmware = Found("/f".into());
    let missing = |what: &str| Missing(format!("{what} was not found: install it (D: x)"));
    let old = "/b/qemu is QEMU 5.0.0, which is too old: at least 6.2.0 is needed";
    let table = [
        (
            of(&qemu, &img, &firmware),
            State::Ok,
            "`/b/qemu` 10.0.2; firmware `/f`",
            None,
        ),
        (
            of(&qemu, &missing("qemu-img"), &firmware),
            State::Note,
            "`/b/qemu` 10.0.2; firmware `/f`; qemu-img was not found",
            Some("install it (D: x)"),
        ),
        (
            of(&qemu, &img, &missing("no firmware")),
            State::Note,
            "`/b/qemu` 10.0.2; no firmware was not found",
            Some("install it (D: x)"),
        ),
        (
            of(&missing("qemu"), &img, &firmware),
            State::Note,
            "qemu was not found: `get` works without, virtual machines do not",
            Some("install it (D: x)"),
        ),
        (
            of(&Unusable(old.into()), &img, &firmware),
            State::Warning,
            old,
            None,
        ),
        (
            ssh(&Found("/b/ssh -4".into())),
            State::Ok,
            "`/b/ssh -4`, with scp and ssh-keygen",
            None,
        ),
        (
            ssh(&missing("scp")),
            State::Note,
            "scp was not found: `get` works without, virtual machines do not",
            Some("install it (D: x)"),
        ),
    ];
    for (finding, state, words, fix) in table {
        assert_eq!(told(&finding), (state, words));
        assert_eq!(finding.fix.as_deref(), fix, "{words}");
    }
}

#[test]
fn what_runs_guests_is_what_start_takes() {
    use accel::{Choice, choose};
    use callao_template::Arch;
    let of = |choice, has_virtualisation, device: Device| {
        let host = accel::Host {
            arch: Some(Arch::X86_64),
            has_virtualisation,
            device,
        };
        let chosen = choose(choice, Arch::X86_64, &host);
        kvm(&KvmFacts { host, chosen })
    };
    let refused = Device::Refused("no".into());
    let table = [
        (
            of(Choice::Auto, true, Device::Opens),
            State::Ok,
            "/dev/kvm opens, and runs the guests",
            "",
        ),
        (
            of(Choice::Auto, false, Device::Opens),
            State::Note,
            "/dev/kvm is there, but this CPU has neither vmx nor svm: guests are run by QEMU's own translator, which is slower",
            "turn on virtualisation",
        ),
        (
            of(Choice::Auto, true, Device::Missing),
            State::Note,
            "there is no /dev/kvm: guests are run by QEMU's own translator, which is slower",
            "load the module",
        ),
        (
            of(Choice::Auto, true, refused.clone()),
            State::Note,
            "/dev/kvm cannot be opened for reading and writing: no (is the user in the group kvm?): guests are run by \
             QEMU's own translator, which is slower",
            "add yourself to the group kvm",
        ),
        (
            of(Choice::Force(Accel::Tcg), true, Device::Opens),
            State::Ok,
            "not used: tcg is asked for, which is slower",
            "",
        ),
        (
            of(Choice::Force(Accel::Kvm), true, refused),
            State::Warning,
            "the accelerator kvm was asked for, but /dev/kvm cannot be opened for reading and writing: no (is the user \
             in the group kvm?)",
            "$CALLAO_ACCELERATOR",
        ),
    ];
    for (finding, state, words, fix) in table {
        assert_eq!(told(&finding), (state, words));
        let given = finding.fix.unwrap_or_default();
        assert!(
            given.contains(fix) && given.is_empty() == fix.is_empty(),
            "{given}"
        );
    }
}

#[test]
fn the_first_problem_decides_the_exit_code() {
    let fine = [
        Finding::ok("a", ""),
        Finding::warning("b", ""),
        Finding::note("c", ""),
    ];
    assert!(verdict(&fine).is_ok());
    let bad = [
        Finding::warning("a", ""),
        Finding::problem("cache", ExitCode::Disk, ""),
        Finding::problem("places", ExitCode::Usage, ""),
    ];
    let error = verdict(&bad).expect_err("it cannot work");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ExitCode::Disk, "callao get cannot work here: cache, places")
    );
    let error = CommandError::usage("settings `/f`: wrong");
    assert_eq!(
        told(&no_settings(&error)),
        (State::Problem, "settings `/f`: wrong")
    );
    let facts = SettingsFacts {
        file: Some("/f".into()),
        variables: vec!["CALLAO_OFFLINE".into()],
    };
    assert_eq!(
        told(&settings(&facts)),
        (
            State::Ok,
            "`/f` is valid; the environment sets CALLAO_OFFLINE"
        )
    );
}
