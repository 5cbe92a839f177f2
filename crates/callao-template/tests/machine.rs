//! Templates read as machines: Lima's defaults, its rules, and what the command line says instead.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use callao_template::machine::{
    CaCerts, GuestEnd, HostEnd, Installs, Machine, Mount, MountType, Overrides, PortForward,
    Provision, Surroundings, User, read,
};
use callao_template::{Arch, parse};

const GIB: u64 = 1 << 30;
const IMAGE: &str = "images: [{location: https://example.com/a.img}]\n";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn around() -> Surroundings {
    Surroundings {
        name: "docker".to_owned(),
        dir: "/data/instances/docker".to_owned(),
        arch: Arch::X86_64,
        host_cpus: 16,
        host_memory_bytes: 32 * GIB,
        user: "user".to_owned(),
        user_comment: "A User,Room 1,,".to_owned(),
        uid: 1234,
        home: "/home/user".to_owned(),
        temporary_dir: "/var/tmp".to_owned(),
        timezone: Some("Europe/Berlin".to_owned()),
    }
}

fn machine_with(text: &str, around: &Surroundings, overrides: &Overrides) -> Machine {
    let text = format!("{IMAGE}{text}");
    let parsed = parse(&text, "t.yaml").unwrap_or_else(|error| panic!("{text}: {error}"));
    read(&parsed.template, around, overrides).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn machine(text: &str) -> Machine {
    machine_with(text, &around(), &Overrides::default())
}

#[test]
fn a_template_with_nothing_but_an_image_gets_the_defaults_of_lima() {
    let expected = Machine {
        arch: Arch::X86_64,
        cpus: 4,
        memory_bytes: 4 * GIB,
        disk_bytes: 100 * GIB,
        cpu_type: None,
        legacy_bios: false,
        user: User {
            name: "user".to_owned(),
            comment: "A User".to_owned(),
            home: "/home/user.guest".to_owned(),
            shell: "/bin/bash".to_owned(),
            uid: 1234,
            passwordless_sudo: true,
        },
        ssh: Default::default(),
        mounts: Vec::new(),
        mount_type: None,
        mount_types_unsupported: Vec::new(),
        port_forwards: Vec::new(),
        provision: Vec::new(),
        probes: Vec::new(),
        copy_to_host: Vec::new(),
        containerd: Installs {
            system: false,
            user: true,
        },
        guest_install_prefix: "/usr/local".to_owned(),
        env: BTreeMap::new(),
        param: BTreeMap::new(),
        dns: Vec::new(),
        hosts: BTreeMap::new(),
        propagate_proxy: true,
        ca_certs: CaCerts::default(),
        timezone: Some("Europe/Berlin".to_owned()),
        upgrade_packages: false,
        plain: false,
        message: None,
    };
    assert_eq!(machine(""), expected);
    // Null says nothing, and so do the values that ask for nothing.
    let nothing = "vmType: null\nos: null\narch: null\ncpus: null\nmemory: null\ndisk: null\nmounts: null\nuser: null\n\
                   ssh: {localPort: 0, overVsock: null}\ntpm: null\nnetworks: null\nprovision: []\nmessage: ''\n";
    assert_eq!(machine(nothing), expected);
    let inactive = "vmType: qemu\nos: Linux\nnetworks: []\nadditionalDisks: []\ntpm: false\nnestedVirtualization: false\n\
                    mountInotify: false\naudio: {device: ''}\nvideo: {display: none, vnc: {display: null}}\n\
                    rosetta: {enabled: false}\nssh: {overVsock: false}\nminimumLimaVersion: 2.0.0\nbase: []\n\
                    vmOpts: {vz: {rosetta: {enabled: true}}}\n";
    assert_eq!(machine(inactive), expected);
}

#[test]
fn size_depends_on_the_host_unless_it_is_said() {
    let small = Surroundings {
        host_cpus: 2,
        host_memory_bytes: 3 * GIB + 1,
        ..around()
    };
    let options = Overrides {
        cpus: Some(3),
        memory_bytes: Some(GIB),
        disk_bytes: Some(9 * GIB),
        ..Overrides::default()
    };
    let none = Overrides::default();
    let cases = [
        ("", &small, &none, (2, 1536 << 20, 100 * GIB)),
        ("cpus: 0\n", &small, &none, (2, 1536 << 20, 100 * GIB)),
        (
            "cpus: 1\nmemory: 512MiB\ndisk: 20G\n",
            &small,
            &none,
            (1, 512 << 20, 20 * GIB),
        ),
        (
            "memory: 1.5GiB\ndisk: 5368709120\n",
            &small,
            &none,
            (2, 1536 << 20, 5 * GIB),
        ),
        (
            "cpus: 1\nmemory: 512MiB\ndisk: 20G\n",
            &small,
            &options,
            (3, GIB, 9 * GIB),
        ),
    ];
    for (text, around, overrides, expected) in cases {
        let machine = machine_with(text, around, overrides);
        assert_eq!(
            (machine.cpus, machine.memory_bytes, machine.disk_bytes),
            expected,
            "{text}"
        );
    }
}

#[test]
fn the_user_is_the_one_of_the_host_if_a_guest_can_have_it() {
    let homes = "/home";
    // Name and ID on the host, the template, and name and ID in the guest.
    let cases = [
        (("user", 1234), "", ("user", 1234)),
        (("_a-b9", 501), "", ("_a-b9", 501)),
        (("admin", 1234), "", ("lima", 1234)),
        (("Anna", 1234), "", ("lima", 1234)),
        (("jörg", 1234), "", ("lima", 1234)),
        (("a.b", 1234), "", ("lima", 1234)),
        (("a$", 1234), "", ("lima", 1234)),
        (("9a", 1234), "", ("lima", 1234)),
        (("", 1234), "", ("lima", 1234)),
        (("root", 0), "", ("lima", 1000)),
        (("toor", 0), "", ("lima", 1000)),
        (("root", 0), "user: {name: bob}\n", ("bob", 1000)),
        (("user", 1234), "user: {name: bob, uid: 77}\n", ("bob", 77)),
        (("user", 1234), "user: {name: admin}\n", ("admin", 1234)),
    ];
    for ((name, uid), text, expected) in cases {
        let around = Surroundings {
            user: name.to_owned(),
            uid,
            ..around()
        };
        let user = machine_with(text, &around, &Overrides::default()).user;
        assert_eq!((user.name.as_str(), user.uid), expected, "{name} {text}");
        assert_eq!(user.home, format!("{homes}/{}.guest", user.name));
    }
    let user =
        machine("user: {comment: X, home: '/x/{{.User}}/{{.Name}}/', shell: /bin/sh}\n").user;
    assert_eq!(
        (
            user.comment.as_str(),
            user.home.as_str(),
            user.shell.as_str()
        ),
        ("X", "/x/user/docker", "/bin/sh")
    );
    let user = machine("plain: true\nuser: {passwordlessSudo: false}\n").user;
    assert!(!user.passwordless_sudo);
}

fn mount(location: &str, mount_point: &str, writable: bool) -> Mount {
    Mount {
        location: location.to_owned(),
        mount_point: mount_point.to_owned(),
        writable,
        nine_p_security_model: "none".to_owned(),
        nine_p_version: "9p2000.L".to_owned(),
        nine_p_msize_bytes: 128 << 10,
        nine_p_cache: if writable { "mmap" } else { "fscache" }.to_owned(),
        virtiofs_queue_size: Some(1024),
        sshfs_cache: true,
        sshfs_follow_symlinks: false,
    }
}

#[test]
fn mounts_are_expanded_and_filled() {
    let cases = [
        (
            "[{location: '~'}]",
            vec![mount("/home/user", "/home/user", false)],
        ),
        (
            "[{location: '~/a//b/', mountPoint: /mnt/./b/, writable: true}]",
            vec![mount("/home/user/a/b", "/mnt/b", true)],
        ),
        (
            "[{location: '{{.GlobalTempDir}}/lima', mountPoint: '{{.Home}}/x'}, {location: '{{ .Dir }}/..'}]",
            vec![
                mount("/tmp/lima", "/home/user.guest/x", false),
                mount("/data/instances", "/data/instances", false),
            ],
        ),
        // The same place, said differently: what is said last counts, as in Lima.
        (
            "[{location: '~', writable: false, 9p: {msize: 1MiB}}, {location: /home/user, writable: true}]",
            vec![Mount {
                nine_p_msize_bytes: 1 << 20,
                ..mount("/home/user", "/home/user", true)
            }],
        ),
        (
            "[{location: /a, 9p: {securityModel: mapped-xattr, protocolVersion: 9p2000.u, msize: 8KiB, cache: loose}, \
             sshfs: {cache: false, followSymlinks: true, sftpDriver: builtin}, virtiofs: {queueSize: 256}}]",
            vec![Mount {
                nine_p_security_model: "mapped-xattr".to_owned(),
                nine_p_version: "9p2000.u".to_owned(),
                nine_p_msize_bytes: 8 << 10,
                nine_p_cache: "loose".to_owned(),
                virtiofs_queue_size: Some(256),
                sshfs_cache: false,
                sshfs_follow_symlinks: true,
                ..mount("/a", "/a", false)
            }],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            machine(&format!("mounts: {text}\n")).mounts,
            expected,
            "{text}"
        );
    }
}

#[test]
fn mounts_of_the_command_line_are_added_or_change_what_is_there() {
    let overrides = Overrides {
        mounts: vec![
            ("/home/user".to_owned(), true),
            ("/srv/".to_owned(), false),
            ("/b".to_owned(), false),
        ],
        ..Overrides::default()
    };
    let text = "mounts: [{location: '~'}, {location: /a, mountPoint: /b, writable: true}]\n";
    let mounts = machine_with(text, &around(), &overrides).mounts;
    let expected = [
        mount("/home/user", "/home/user", true),
        mount("/b", "/b", false),
        mount("/srv", "/srv", false),
    ];
    assert_eq!(mounts, expected);
}

#[test]
fn the_type_of_mounts_is_one_that_there_is() {
    let cases = [
        ("mountType: 9p\n", Some(MountType::NineP), vec![]),
        (
            "mountType: reverse-sshfs\n",
            Some(MountType::ReverseSshfs),
            vec![],
        ),
        (
            "mountType: virtiofs\nmountTypesUnsupported: [9p, wsl2, 9p]\n",
            Some(MountType::Virtiofs),
            vec![MountType::NineP],
        ),
    ];
    for (text, kind, unsupported) in cases {
        let machine = machine(text);
        assert_eq!(
            (machine.mount_type, machine.mount_types_unsupported),
            (kind, unsupported),
            "{text}"
        );
    }
}

fn ports(ip: IpAddr, first: u16, last: u16) -> GuestEnd {
    GuestEnd::Ports {
        ip,
        must_be_zero: ip.is_unspecified(),
        first,
        last,
    }
}

fn rule(guest: GuestEnd, host: HostEnd) -> PortForward {
    PortForward {
        guest,
        host,
        ignore: false,
        is_static: false,
        reverse: false,
    }
}

fn host(first: u16) -> HostEnd {
    HostEnd::Ports {
        ip: LOOPBACK,
        first,
    }
}

fn check_forwards<const COUNT: usize>(cases: [(&str, PortForward); COUNT]) {
    for (text, expected) in cases {
        let text = format!("portForwards:\n- {text}\n");
        assert_eq!(machine(&text).port_forwards, [expected], "{text}");
    }
}

#[test]
fn ports_are_filled_as_in_lima() {
    let zero = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    check_forwards([
        (
            "guestPort: 8080",
            rule(ports(LOOPBACK, 8080, 8080), host(8080)),
        ),
        (
            "{guestPort: 80, hostPort: 8080, proto: tcp}",
            rule(ports(LOOPBACK, 80, 80), host(8080)),
        ),
        (
            "{guestPort: 443, hostIP: 0.0.0.0}",
            rule(
                ports(LOOPBACK, 443, 443),
                HostEnd::Ports {
                    ip: zero,
                    first: 443,
                },
            ),
        ),
        (
            "{guestPortRange: [4000, 4009], hostPortRange: [5000, 5009]}",
            rule(ports(LOOPBACK, 4000, 4009), host(5000)),
        ),
        (
            "{guestPortRange: [4000, 4009], guestPort: 4000}",
            rule(ports(LOOPBACK, 4000, 4009), host(4000)),
        ),
        (
            "{guestIP: '::1', guestPort: 1, guestPortRange: [0, 0]}",
            rule(ports("::1".parse().expect("an address"), 1, 1), host(1)),
        ),
        (
            "guestIPMustBeZero: true",
            rule(ports(zero, 1, 65535), host(1)),
        ),
        (
            "{guestIP: 0.0.0.0, proto: any}",
            rule(ports(zero, 1, 65535), host(1)),
        ),
        (
            "{guestIP: 0.0.0.0, guestIPMustBeZero: false, ignore: true}",
            PortForward {
                ignore: true,
                ..rule(
                    GuestEnd::Ports {
                        ip: zero,
                        must_be_zero: false,
                        first: 1,
                        last: 65535,
                    },
                    host(1),
                )
            },
        ),
        (
            "{guestPort: 81, static: true}",
            PortForward {
                is_static: true,
                ..rule(ports(LOOPBACK, 81, 81), host(81))
            },
        ),
    ]);
    let of_udp = machine("portForwards: [{guestPort: 53, proto: udp, ignore: true}]\n");
    assert_eq!(of_udp.port_forwards, []);
}

#[test]
fn sockets_are_forwarded_as_in_lima() {
    let guest_socket = || GuestEnd::Socket("/run/user/1234/docker.sock".to_owned());
    check_forwards([
        (
            "{guestSocket: '/run/user/{{.UID}}/docker.sock', hostSocket: '{{.Dir}}/sock/docker.sock'}",
            rule(
                guest_socket(),
                HostEnd::Socket("/data/instances/docker/sock/docker.sock".to_owned()),
            ),
        ),
        (
            "{guestSocket: '/run/user/{{.UID}}/docker.sock', hostSocket: docker.sock}",
            rule(
                guest_socket(),
                HostEnd::Socket("/data/instances/docker/sock/docker.sock".to_owned()),
            ),
        ),
        (
            "{guestSocket: '/run/user/{{.UID}}/docker.sock', hostSocket: '~/d.sock', reverse: true}",
            PortForward {
                reverse: true,
                ..rule(
                    guest_socket(),
                    HostEnd::Socket("/home/user/d.sock".to_owned()),
                )
            },
        ),
        (
            "{guestSocket: '/run/user/{{.UID}}/docker.sock', hostPort: 2375}",
            rule(guest_socket(), host(2375)),
        ),
        (
            "{guestPort: 2375, hostSocket: /x.sock}",
            rule(
                ports(LOOPBACK, 2375, 2375),
                HostEnd::Socket("/x.sock".to_owned()),
            ),
        ),
    ]);
}

#[test]
fn forwards_of_the_command_line_come_first_and_are_static() {
    let overrides = Overrides {
        port_forwards: vec![(8080, 80)],
        ..Overrides::default()
    };
    let forwards =
        machine_with("portForwards: [{guestPort: 80}]\n", &around(), &overrides).port_forwards;
    let first = PortForward {
        is_static: true,
        ..rule(ports(LOOPBACK, 80, 80), host(8080))
    };
    assert_eq!(forwards, [first, rule(ports(LOOPBACK, 80, 80), host(80))]);
}

#[test]
fn plain_drops_what_lima_drops() {
    let text = "mounts: [{location: '~'}, {location: relative}]\ncontainerd: {system: true}\ntimezone: UTC\n\
                portForwards: [{guestPort: 80}, {guestPort: 81, static: true}, {guestPort: 53, proto: udp}]\n\
                provision: [{script: 'x'}]\n";
    let static_one = PortForward {
        is_static: true,
        ..rule(ports(LOOPBACK, 81, 81), host(81))
    };
    let by_option = Overrides {
        plain: true,
        mounts: vec![("/srv".to_owned(), true)],
        containerd: Some(Installs {
            system: true,
            user: true,
        }),
        ..Overrides::default()
    };
    let by_template = format!("{text}plain: true\n");
    for (text, overrides) in [(text, by_option), (&by_template, Overrides::default())] {
        let machine = machine_with(text, &around(), &overrides);
        assert!(machine.plain);
        assert_eq!(machine.mounts, []);
        assert_eq!(machine.containerd, Installs::default());
        assert_eq!(machine.timezone, None);
        assert_eq!(machine.port_forwards, std::slice::from_ref(&static_one));
        assert_eq!(machine.provision.len(), 1);
    }
}

#[test]
fn containerd_is_lima_s_choice_then_the_template_s_then_the_command_line_s() {
    let installs = |system, user| Installs { system, user };
    let none = None;
    let cases = [
        ("", none, installs(false, true)),
        ("containerd: {user: false}\n", none, installs(false, false)),
        ("containerd: {system: true}\n", none, installs(true, true)),
        (
            "containerd: {system: true}\n",
            Some(installs(false, false)),
            installs(false, false),
        ),
        (
            "containerd: {user: false}\n",
            Some(installs(true, false)),
            installs(true, false),
        ),
    ];
    for (text, containerd, expected) in cases {
        let overrides = Overrides {
            containerd,
            ..Overrides::default()
        };
        assert_eq!(
            machine_with(text, &around(), &overrides).containerd,
            expected,
            "{text}"
        );
    }
}

#[test]
fn the_rest_is_taken_as_it_stands() {
    let text = "vmOpts: {qemu: {cpuType: {x86_64: Haswell-v4, aarch64: cortex-a76}}}\n\
                cpuType: {x86_64: qemu64}\n\
                firmware: {legacyBIOS: true}\n\
                ssh: {localPort: 60022, loadDotSSHPubKeys: true, forwardAgent: true, forwardX11: true, forwardX11Trusted: true}\n\
                env: {FOO: bar baz, NUMBER: 1, EMPTY: null}\n\
                dns: [1.1.1.1, '::1']\n\
                hostResolver: {enabled: false, ipv6: true, hosts: {a: b}}\n\
                propagateProxyEnv: false\n\
                caCerts: {removeDefaults: true, files: [~/ca.pem, /etc/ca.pem], certs: ['PEM']}\n\
                timezone: America/Argentina/Buenos_Aires\n\
                upgradePackages: true\n\
                guestInstallPrefix: /opt/x\n";
    let machine = machine(text);
    assert_eq!(machine.cpu_type.as_deref(), Some("Haswell-v4"));
    assert!(machine.legacy_bios && machine.upgrade_packages && !machine.propagate_proxy);
    let ssh = machine.ssh;
    assert_eq!(ssh.local_port, Some(60022));
    assert!(
        ssh.load_dot_ssh_pub_keys
            && ssh.forward_agent
            && ssh.forward_x11
            && ssh.forward_x11_trusted
    );
    let env = [("EMPTY", ""), ("FOO", "bar baz"), ("NUMBER", "1")];
    assert_eq!(
        machine.env,
        env.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    let dns: Vec<String> = machine.dns.iter().map(ToString::to_string).collect();
    assert_eq!(dns, ["1.1.1.1", "::1"]);
    assert_eq!(
        machine.hosts,
        BTreeMap::new(),
        "hosts belong to the resolver"
    );
    assert!(machine.ca_certs.remove_defaults);
    assert_eq!(machine.ca_certs.files, ["/home/user/ca.pem", "/etc/ca.pem"]);
    assert_eq!(machine.ca_certs.certs, ["PEM"]);
    assert_eq!(
        machine.timezone.as_deref(),
        Some("America/Argentina/Buenos_Aires")
    );
    assert_eq!(machine.guest_install_prefix, "/opt/x");
    assert_eq!(self::machine("timezone: ''\n").timezone, None);
    assert_eq!(
        self::machine("cpuType: {x86_64: max}\n")
            .cpu_type
            .as_deref(),
        Some("max")
    );
    assert_eq!(self::machine("cpuType: {aarch64: max}\n").cpu_type, None);
}

/// Lima's docker template of v1, before it used `mode: yq`.
const DOCKER: &str = r##"
containerd:
  system: false
  user: false
provision:
- mode: system
  script: |
    #!/bin/sh
    sed -i 's/host.lima.internal.*/host.lima.internal host.docker.internal/' /etc/hosts
- mode: user
  script: |
    #!/bin/bash
    dockerd-rootless-setuptool.sh install # for {{.User}} ({{.UID}})
- mode: data
  path: "{{.Home}}/.config/docker/daemon.json"
  content: |
    {"features": {"containerd-snapshotter": {{.Param.containerdSnapshotter}}}}
  owner: "{{.User}}"
  permissions: 600
- mode: dependency
  skipDefaultDependencyResolution: true
  script: |
    #!/bin/sh
    apt-get install -y uidmap
- mode: boot
  script: echo boot
probes:
- script: |
    #!/bin/bash
    if ! timeout 30s bash -c "until command -v docker >/dev/null 2>&1; do sleep 3; done"; then
      echo >&2 "docker is not installed yet"
      exit 1
    fi
  hint: See "/var/log/cloud-init-output.log" in the guest
- description: rootlesskit of {{.User}}
  script: "#!/bin/sh\npgrep -u {{.User}} rootlesskit"
hostResolver:
  hosts:
    host.docker.internal: host.lima.internal
portForwards:
- guestSocket: "/run/user/{{.UID}}/docker.sock"
  hostSocket: "{{.Dir}}/sock/docker.sock"
copyToHost:
- guest: "/etc/rancher/k3s/k3s.yaml"
  host: "{{.Dir}}/copied-from-guest/kubeconfig.yaml"
  deleteOnStop: true
  skipIfMissing: true
message: |
  docker context create lima-{{.Name}} --docker "host=unix://{{.Dir}}/sock/docker.sock"
  {{- if .Instance.Config.VMOpts.vz.rosetta.enabled}}
  Rosetta is enabled
  {{- end}}
param:
  containerdSnapshotter: true
"##;

#[test]
fn a_template_like_lima_s_docker_becomes_a_machine() {
    let machine = machine(DOCKER);
    assert_eq!(machine.containerd, Installs::default());
    assert_eq!(
        machine.provision,
        [
            Provision::System {
                script: "#!/bin/sh\nsed -i 's/host.lima.internal.*/host.lima.internal host.docker.internal/' /etc/hosts\n"
                    .to_owned()
            },
            Provision::User {
                script: "#!/bin/bash\ndockerd-rootless-setuptool.sh install # for user (1234)\n".to_owned()
            },
            Provision::Data {
                content: "{\"features\": {\"containerd-snapshotter\": true}}\n".to_owned(),
                path: "/home/user.guest/.config/docker/daemon.json".to_owned(),
                owner: "user".to_owned(),
                permissions: "600".to_owned(),
                overwrite: true,
            },
            Provision::Dependency {
                script: "#!/bin/sh\napt-get install -y uidmap\n".to_owned(),
                skip_default: true,
            },
            Provision::Boot {
                script: "echo boot".to_owned()
            },
        ]
    );
    let [first, second] = machine.probes.as_slice() else {
        panic!("two probes: {:?}", machine.probes);
    };
    assert_eq!(first.description, "user probe 1/2");
    assert!(first.script.starts_with("#!/bin/bash\nif ! timeout"));
    assert_eq!(
        first.hint,
        "See \"/var/log/cloud-init-output.log\" in the guest"
    );
    assert_eq!(second.description, "rootlesskit of {{.User}}");
    assert_eq!(second.script, "#!/bin/sh\npgrep -u user rootlesskit");
    let hosts = [(
        "host.docker.internal".to_owned(),
        "host.lima.internal".to_owned(),
    )];
    assert_eq!(machine.hosts, hosts.into());
    let [copy] = machine.copy_to_host.as_slice() else {
        panic!("one copy: {:?}", machine.copy_to_host);
    };
    assert_eq!(
        copy.host,
        "/data/instances/docker/copied-from-guest/kubeconfig.yaml"
    );
    assert!(copy.skip_if_missing && copy.delete_on_stop);
    assert_eq!(
        machine.message.as_deref(),
        Some(
            "docker context create lima-docker --docker \"host=unix:///data/instances/docker/sock/docker.sock\"\n\
             {{- if .Instance.Config.VMOpts.vz.rosetta.enabled}}\nRosetta is enabled\n{{- end}}\n"
        )
    );
}

/// From Lima's k3s template.
const K3S: &str = r#"
provision:
- mode: system
  script: |
    #!/bin/sh
    if [ ! -d /var/lib/rancher/k3s ]; then
    {{- if .Param.proxy }}
            export INSTALL_K3S_ARTIFACT_URL={{.Param.proxy}}
    {{- end}}
    {{if not ( and .Param.url .Param.token )}}
            curl -sfL https://get.k3s.io | sh -
    {{else}}
            curl -sfL https://get.k3s.io | K3S_URL={{.Param.url}} K3S_TOKEN={{.Param.token}} sh -
    {{end}}
    fi
param:
  proxy: ""
  url: "https://a"
  token: ""
"#;

#[test]
fn conditions_in_scripts_are_decided() {
    let cases = [
        ("", "\n\n        curl -sfL https://get.k3s.io | sh -\n"),
        (
            "b",
            "\n\n        curl -sfL https://get.k3s.io | K3S_URL=https://a K3S_TOKEN=b sh -\n",
        ),
    ];
    for (token, expected) in cases {
        let text = K3S.replace("token: \"\"", &format!("token: \"{token}\""));
        let expected = format!("#!/bin/sh\nif [ ! -d /var/lib/rancher/k3s ]; then{expected}\nfi\n");
        assert_eq!(
            machine(&text).provision,
            [Provision::System { script: expected }]
        );
    }
}

proptest::proptest! {
    #[test]
    fn braces_in_a_script_never_hurt(script in "[{}.`\"() /*\\-aU\u{e4}]{0,40}(if|end|else|eq|[{}]| ){0,6}") {
        let quoted = script.replace('\'', "''");
        let text = format!("{IMAGE}provision: [{{script: '#{quoted}'}}]\n");
        if let Ok(parsed) = parse(&text, "t.yaml") {
            let machine = read(&parsed.template, &around(), &Overrides::default());
            if !script.contains("{{") {
                proptest::prop_assert!(machine.is_ok(), "{machine:?}");
            }
        }
    }
}
