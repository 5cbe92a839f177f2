//! Every message about a template, or an option, that makes no machine here, word for word.

use callao_template::machine::{Overrides, Surroundings, read};
use callao_template::{Arch, parse};

fn around() -> Surroundings {
    Surroundings {
        name: "a".to_owned(),
        dir: "/data/a".to_owned(),
        arch: Arch::X86_64,
        host_cpus: 4,
        host_memory_bytes: 8 << 30,
        user: "user".to_owned(),
        user_comment: String::new(),
        uid: 1000,
        home: "/home/user".to_owned(),
        temporary_dir: "/tmp".to_owned(),
        timezone: None,
    }
}

fn message_with(text: &str, around: &Surroundings, overrides: &Overrides) -> String {
    let text = format!("images: [{{location: a}}]\n{text}\n");
    let parsed = parse(&text, "t.yaml").unwrap_or_else(|error| panic!("{text}: {error}"));
    match read(&parsed.template, around, overrides) {
        Ok(machine) => panic!("{text} was accepted: {machine:?}"),
        Err(error) => error.to_string(),
    }
}

/// Texts, each one on line 2, and what follows the name of the template and the line.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let (line, expected) = match expected.split_once('|') {
            Some((line, expected)) => (line, expected),
            None => ("2", *expected),
        };
        assert_eq!(
            message_with(text, &around(), &Overrides::default()),
            format!("template t.yaml, line {line}: {expected}"),
            "{text}"
        );
    }
}

const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "vmType: vz",
        "vmType `vz` is not supported: remove it or write `vmType: qemu`",
    ),
    (
        "vmType: wsl2",
        "vmType `wsl2` is not supported: remove it or write `vmType: qemu`",
    ),
    (
        "vmType: krunkit",
        "vmType `krunkit` is not supported: remove it or write `vmType: qemu`",
    ),
    (
        "os: Darwin",
        "os `Darwin` is not supported: only guests with Linux can be run",
    ),
    (
        "\nnetworks:\n- lima: shared",
        "4|networks is not supported: remove it; the machine has QEMU's user network, and portForwards lead into it",
    ),
    (
        "additionalDisks: [data]",
        "additionalDisks is not supported: remove it and choose a larger `disk:`, or share a directory by `mounts:`",
    ),
    (
        "audio: {device: default}",
        "audio.device `default` is not supported: remove it; the machine has no sound",
    ),
    (
        "video:\n  display: vnc",
        "3|video.display `vnc` is not supported: remove it or write `display: none`; the machine is reached by ssh",
    ),
    ("tpm: true", "tpm `true` is not supported: remove it"),
    (
        "nestedVirtualization: true",
        "nestedVirtualization `true` is not supported: remove it",
    ),
    (
        "mountInotify: true",
        "mountInotify `true` is not supported: remove it; programs in the guest must poll for changes on the host",
    ),
    (
        "rosetta: {enabled: true}",
        "rosetta.enabled `true` is not supported: remove it; it belongs to vmType vz on macOS",
    ),
    (
        "ssh: {overVsock: true}",
        "ssh.overVsock `true` is not supported: remove it; ssh uses a loopback port",
    ),
    (
        "mountType: wsl2",
        "mountType `wsl2` is not supported: write reverse-sshfs, 9p or virtiofs, or remove it",
    ),
    (
        "provision: [{mode: yq, path: /x, expression: .a}]",
        "provision[0].mode `yq` is not supported: write the file with `mode: data`, or change it in a script",
    ),
    (
        "provision: [{mode: ansible, playbook: x}]",
        "provision[0].mode `ansible` is not supported: run ansible-playbook yourself once the machine runs",
    ),
    (
        "portForwards: [{guestPort: 53, proto: udp}]",
        "portForwards[0].proto `udp` is not supported: TCP ports and unix sockets are forwarded; write `tcp` or \
             remove the rule",
    ),
];

#[test]
fn what_callao_cannot_do_is_told_with_field_and_help() {
    check(UNSUPPORTED);
    let foreign = Surroundings {
        arch: Arch::Riscv64,
        ..around()
    };
    assert_eq!(
        message_with("\narch: riscv64", &foreign, &Overrides::default()),
        "template t.yaml, line 3: arch `riscv64` is not supported: choose x86_64 or aarch64 with --arch"
    );
}

#[test]
fn sizes_that_cannot_be_are_told() {
    check(&[
        (
            "cpus: many",
            "cpus must be a whole number from 0 to 255, not `many`",
        ),
        (
            "cpus: -1",
            "cpus must be a whole number from 0 to 255, not `-1`",
        ),
        ("cpus: [1]", "cpus must be a text, not a list"),
        (
            "memory: lots",
            "memory must be a size such as `4GiB`, not `lots`",
        ),
        (
            "memory: 1MiB",
            "memory must be at least 33554432 bytes, not `1MiB`",
        ),
        (
            "disk: 4096P",
            "disk must be at most 1152921504606846976 bytes, not `4096P`",
        ),
        (
            "vmOpts: {qemu: {cpuType: {x86_64: a b}}}",
            "vmOpts.qemu.cpuType.x86_64 must be the name of a CPU, not `a b`",
        ),
        (
            "ssh: {localPort: 22}",
            "ssh.localPort must not be 22, where the host's own ssh is",
        ),
        (
            "ssh: {localPort: 65536}",
            "ssh.localPort must be a whole number from 0 to 65535, not `65536`",
        ),
        ("ssh: true", "ssh must be a mapping, not a boolean"),
    ]);
}

#[test]
fn users_that_cannot_be_are_told() {
    check(&[
        (
            "user: {name: Anna}",
            "user.name must be at most 32 of a-z, 0-9, `_` and `-`, and begin with a letter or `_`, not `Anna`",
        ),
        (
            "user: {name: root}",
            "user.name must not be `root`, whom every guest has; the user has `sudo`",
        ),
        (
            "user: {uid: 0}",
            "user.uid must not be 0, the superuser's; the user has `sudo`",
        ),
        (
            "user: {uid: x}",
            "user.uid must be a whole number from 0 to 4294967294, not `x`",
        ),
        (
            "user: {shell: bash}",
            "user.shell must be an absolute path, not `bash`",
        ),
        (
            "user: {home: /}",
            "user.home must be a directory for the user alone, not `/`",
        ),
        (
            "user: {home: '/x/{{.Home}}'}",
            "user.home has `{{.Home}}`, which is not known there; known are {{.Name}}, {{.Hostname}}, {{.UID}}, {{.User}}",
        ),
        (
            "user: {comment: 'a:b'}",
            "user.comment must have no colon, no line break and no other control character",
        ),
        (
            "user: {passwordlessSudo: false}",
            "user.passwordlessSudo can be false with `plain: true` only: mounts and containerd are set up by `sudo`",
        ),
    ]);
}

#[test]
fn mounts_that_cannot_be_are_told() {
    check(&[
        (
            "mounts: [{mountPoint: /x}]",
            "mounts[0].location is missing",
        ),
        ("mounts: [/x]", "mounts[0] must be a mapping, not a text"),
        (
            "mounts:\n- location: a/b",
            "3|mounts[0].location must be an absolute path, not `a/b`",
        ),
        (
            "mounts: [{location: ~anna/x}]",
            "mounts[0].location must begin with `~/`, not with the name of a user: `~anna/x`",
        ),
        (
            "mounts: [{location: \"/a\\nb\"}]",
            "mounts[0].location contains a control character",
        ),
        (
            "mounts: [{location: /x, mountPoint: ~/x}]",
            "mounts[0].mountPoint must not begin with `~`; {{.Home}} is the home directory in the guest",
        ),
        (
            "mounts: [{location: /x, mountPoint: /usr/}]",
            "mounts[0].mountPoint would hide `/usr` of the guest: choose another mountPoint",
        ),
        (
            "mounts: [{location: /tmp}]",
            "mounts[0].location would hide `/tmp` of the guest: choose another mountPoint",
        ),
        (
            "mounts: [{location: /x, mountPoint: '{{.Home}}'}]",
            "mounts[0].mountPoint would hide the home directory of the guest, `/home/user.guest`: choose another mountPoint",
        ),
        (
            "mounts: [{location: /x, 9p: {cache: 'a,b'}}]",
            "mounts[0].9p.cache must be one of none, loose, fscache, mmap, readahead, not `a,b`",
        ),
        (
            "mounts: [{location: /x, 9p: {msize: 1}}]",
            "mounts[0].9p.msize must be at least 4096 bytes, not `1`",
        ),
        (
            "mounts: [{location: /x, virtiofs: {queueSize: 100}}]",
            "mounts[0].virtiofs.queueSize must be a power of two, not `100`",
        ),
        (
            "mounts: [{location: /x, sshfs: {sftpDriver: other}}]",
            "mounts[0].sshfs.sftpDriver must be one of builtin, openssh-sftp-server, not `other`",
        ),
        (
            "mounts: [{location: '{{json .X}}'}]",
            "mounts[0].location has `{{json .X}}`, of which callao understands names and conditions only, such as {{.User}}; braces that \
             the guest should see are written {{`…`}}",
        ),
        (
            "mountType: 9p\nmountTypesUnsupported: [9p]",
            "mountType must not be `9p`, which mountTypesUnsupported excludes",
        ),
    ]);
    for system in [
        "/", "/bin", "/dev", "/etc", "/home", "/opt", "/sbin", "/var", "/proc", "/run", "/sys",
    ] {
        let text = format!("mounts: [{{location: /x, mountPoint: {system}}}]");
        let expected = format!(
            "mounts[0].mountPoint would hide `{system}` of the guest: choose another mountPoint"
        );
        check(&[(text.as_str(), expected.as_str())]);
    }
}

/// What follows `portForwards[0].`.
const FORWARDS: &[(&str, &str)] = &[
    (
        "{guestPort: 1, guestSocket: /x}",
        "guestSocket must not stand beside a port of the guest",
    ),
    (
        "{guestPort: 1, hostPort: 1, hostSocket: /x}",
        "hostSocket must not stand beside a port of the host",
    ),
    (
        "{guestPort: 22}",
        "guestPort must not be 22, which is for ssh",
    ),
    (
        "{guestPort: 80, hostPortRange: [22, 22]}",
        "hostPortRange must not be 22, which is for ssh",
    ),
    (
        "{guestPort: 65536}",
        "guestPort must be a whole number from 0 to 65535, not `65536`",
    ),
    (
        "{guestPort: 1, guestPortRange: [2, 3]}",
        "guestPort must be the first of guestPortRange, or be left out",
    ),
    (
        "{guestPortRange: [3, 2]}",
        "guestPortRange must not end below its first port",
    ),
    (
        "{guestPortRange: [3]}",
        "guestPortRange must be two ports from 1 to 65535",
    ),
    (
        "{guestPortRange: [0, 5]}",
        "guestPortRange must be two ports from 1 to 65535",
    ),
    (
        "{guestPortRange: 5}",
        "guestPortRange must be a list, not a text",
    ),
    (
        "{guestPortRange: [10, 19], hostPortRange: [10, 18]}",
        "hostPortRange must be as many ports as in the guest: 10, not 9",
    ),
    (
        "{hostPort: 80}",
        "hostPort must be as many ports as in the guest: 65535, not 1",
    ),
    (
        "{guestSocket: /x, hostPortRange: [1, 2]}",
        "hostPortRange must be as many ports as in the guest: 1, not 2",
    ),
    (
        "{guestSocket: /x}",
        "guestSocket needs a hostSocket or a hostPort",
    ),
    (
        "{guestSocket: x, hostSocket: y}",
        "guestSocket must be an absolute path, not `x`",
    ),
    (
        "{guestPortRange: [1, 2], hostSocket: /x}",
        "hostSocket takes what comes from a single port or socket, not from a range",
    ),
    (
        "{guestPort: 1, reverse: true}",
        "reverse can be true between guestSocket and hostSocket only",
    ),
    (
        "{guestIP: 127.0.0.1, guestIPMustBeZero: true}",
        "guestIPMustBeZero can be true with guestIP 0.0.0.0 only, not with 127.0.0.1",
    ),
    (
        "{guestPort: 1, hostIP: localhost}",
        "hostIP must be an IP address, not `localhost`",
    ),
    (
        "{guestPort: 1, proto: sctp}",
        "proto must be any, tcp or udp, not `sctp`",
    ),
    (
        "{guestIP: 127.0.0.1, static: true}",
        "static would open 65535 ports from the start; name the ports, at most 1000",
    ),
];

#[test]
fn forwards_that_cannot_be_are_told() {
    for (text, expected) in FORWARDS {
        let text = format!("portForwards: [{text}]");
        let expected = format!("portForwards[0].{expected}");
        check(&[(text.as_str(), expected.as_str())]);
    }
    let long = "x".repeat(107);
    let text = format!("portForwards: [{{guestPort: 1, hostSocket: /{long}}}]");
    let expected = format!(
        "portForwards[0].hostSocket is longer than the 107 bytes that the path of a unix socket may have: `/{long}`"
    );
    check(&[(text.as_str(), expected.as_str())]);
}

#[test]
fn scripts_that_cannot_be_are_told() {
    check(&[
        (
            "provision: [{mode: later, script: x}]",
            "provision[0].mode must be system, user, boot, dependency or data, not `later`",
        ),
        (
            "provision:\n- mode: user",
            "3|provision[0].script is missing or empty",
        ),
        (
            "provision: [{file: x.sh}]",
            "provision[0].file cannot be read here: write its text in its place",
        ),
        (
            "provision: [{script: x, skipDefaultDependencyResolution: true}]",
            "provision[0].skipDefaultDependencyResolution can stand in an entry of `mode: dependency` only",
        ),
        (
            "provision: [{script: x, path: /y}]",
            "provision[0].path can stand in an entry of `mode: data` only",
        ),
        (
            "provision: [{mode: data, script: x}]",
            "provision[0].script cannot stand in an entry of `mode: data`, which has `content:`",
        ),
        (
            "provision: [{mode: data}]",
            "provision[0].path is missing: `mode: data` writes a file",
        ),
        (
            "provision: [{mode: data, path: x}]",
            "provision[0].path must be an absolute path, not `x`",
        ),
        (
            "provision: [{mode: data, path: /x, owner: 'a b'}]",
            "provision[0].owner must be a user, or user:group, not `a b`",
        ),
        (
            "provision: [{mode: data, path: /x, permissions: rwx}]",
            "provision[0].permissions must be an octal number such as 644, not `rwx`",
        ),
        (
            "provision:\n- script: |\n    #!/bin/sh\n    docker ps --format '{{.Names'",
            "4|provision[0].script has `{{` without `}}`: `{{.Names'`",
        ),
        (
            "probes: [{script: echo}]",
            "probes[0].script must begin with a `#!` line",
        ),
        (
            "probes: [{hint: x}]",
            "probes[0].script must begin with a `#!` line",
        ),
        (
            "probes: [{mode: x, script: '#!x'}]",
            "probes[0].mode can only be readiness, not `x`",
        ),
        ("copyToHost: [{guest: /x}]", "copyToHost[0].host is missing"),
        (
            "copyToHost: [{guest: x, host: /x}]",
            "copyToHost[0].guest must be an absolute path, not `x`",
        ),
        (
            "copyToHost: [{guest: /x, host: x}]",
            "copyToHost[0].host must be an absolute path, not `x`",
        ),
    ]);
}

#[test]
fn the_rest_is_told_as_well() {
    check(&[
        (
            "base: template:x",
            "base must be merged before a machine is made of it",
        ),
        (
            "env: {1A: x}",
            "env has `1A`, which is not the name of a variable: it must be letters, digits and `_`",
        ),
        ("env: {A: \"x\\ny\"}", "env has a control character in `A`"),
        ("env: {A: [x]}", "env.A must be a text, not a list"),
        (
            "param: {_a: x}",
            "param has `_a`, which cannot be a name: it must be letters, digits and `_`, a letter first",
        ),
        (
            "param: {a: \"x\\ny\"}",
            "param has a control character in `a`",
        ),
        (
            "param: {a: x}\nprovision: [{script: 'PARAM_ab'}]",
            "param has `a`, which is used nowhere: it is `{{.Param.a}}` in the template and `PARAM_a` in scripts",
        ),
        (
            "dns: [1.1.1.1]",
            "dns must be empty unless hostResolver.enabled is false",
        ),
        (
            "dns: [one]\nhostResolver: {enabled: false}",
            "dns must have IP addresses only, not `one`",
        ),
        (
            "hostResolver: {hosts: {a: ''}}",
            "hostResolver.hosts must lead from a name to a name or an address, not from `a` to ``",
        ),
        (
            "caCerts: {files: [ca.pem]}",
            "caCerts.files must be an absolute path, not `ca.pem`",
        ),
        (
            "timezone: ../x",
            "timezone must be a time zone such as Europe/Berlin, not `../x`",
        ),
        (
            "guestInstallPrefix: x",
            "guestInstallPrefix must be an absolute path, not `x`",
        ),
    ]);
}

#[test]
fn options_that_do_not_fit_are_told() {
    let none = Overrides::default;
    let cases = [
        (
            Overrides {
                cpus: Some(0),
                ..none()
            },
            "--cpus must be a number from 1 to 255, not `0`",
        ),
        (
            Overrides {
                memory_bytes: Some(5),
                ..none()
            },
            "--memory must not be 5 bytes",
        ),
        (
            Overrides {
                disk_bytes: Some(0),
                ..none()
            },
            "--disk must not be 0 bytes",
        ),
        (
            Overrides {
                mounts: vec![("x".to_owned(), false)],
                ..none()
            },
            "--mount `x` must be an absolute path",
        ),
        (
            Overrides {
                mounts: vec![("/etc".to_owned(), false)],
                ..none()
            },
            "--mount `/etc` would hide `/etc` of the guest: choose another mountPoint",
        ),
        (
            Overrides {
                port_forwards: vec![(22, 80)],
                ..none()
            },
            "--port-forward `22:80` must have ports from 1 to 65535 except 22, which is for ssh",
        ),
    ];
    for (overrides, expected) in cases {
        assert_eq!(message_with("", &around(), &overrides), expected);
    }
}
