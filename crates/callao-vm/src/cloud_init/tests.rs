//! What the documents look like, word for word, and that nothing in a template can break out of its place.

use callao_template::Arch;
use callao_template::machine::{CaCerts, Installs, Machine, Provision, User};

use super::*;
use crate::plain_machine;

/// A machine as a small template makes it.
pub(super) fn machine() -> Machine {
    let plain = plain_machine::machine(Arch::X86_64);
    Machine {
        user: User {
            comment: "A User".to_owned(),
            home: "/home/user.guest".to_owned(),
            shell: "/bin/sh".to_owned(),
            ..plain.user
        },
        guest_install_prefix: "/usr/local".to_owned(),
        propagate_proxy: true,
        ..plain
    }
}

pub(super) fn facts() -> Facts {
    Facts {
        name: "default".to_owned(),
        hostname: "lima-default".to_owned(),
        instance_id: "callao-1f2e3d".to_owned(),
        mac_address: "52:55:55:12:34:56".to_owned(),
        ssh_public_keys: vec!["ssh-ed25519 AAAAC3Nz callao\n".to_owned()],
        ..Facts::default()
    }
}

fn text(documents: &[Document], name: &str) -> String {
    let document = documents.iter().find(|document| document.name == name);
    String::from_utf8(document.unwrap().bytes.clone()).unwrap()
}

/// A machine that uses everything, with texts that try to be more than texts.
fn strange() -> (Machine, Facts) {
    let evil = "it's \"q\": #x\n- \\y $(id) `id` é\u{1f680}";
    let mut machine = machine();
    machine.user.name = "o'user".to_owned();
    machine.user.comment = evil.to_owned();
    machine.user.home = "/home/user: x".to_owned();
    machine.user.passwordless_sudo = false;
    machine.timezone = Some("Europe/Paris".to_owned());
    machine.upgrade_packages = true;
    machine.dns = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    machine.ca_certs = CaCerts {
        remove_defaults: true,
        files: vec!["/not/read".to_owned()],
        certs: vec!["-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_owned()],
    };
    machine.containerd = Installs {
        system: true,
        user: true,
    };
    for (name, value) in [
        ("EVIL", evil),
        ("QUOTED", "\"x\""),
        ("SPACES", " a "),
        ("USUAL", "a b"),
        ("not a name", "x"),
    ] {
        machine.env.insert(name.to_owned(), value.to_owned());
    }
    machine.param.insert("key".to_owned(), evil.to_owned());
    machine.provision = vec![
        Provision::Boot {
            script: "#!/bin/sh\necho boot\n".to_owned(),
        },
        Provision::Data {
            content: evil.to_owned(),
            path: "/etc/a 'file'".to_owned(),
            owner: "user:user".to_owned(),
            permissions: "600".to_owned(),
            overwrite: false,
        },
        Provision::Dependency {
            script: "#!/bin/sh\n".to_owned(),
            skip_default: true,
        },
    ];
    let mut facts = facts();
    facts.hostname = "h: \"x\"".to_owned();
    facts.ca_certificates = vec!["first".to_owned()];
    facts.containerd_archive = Some(Archive {
        size_bytes: 12_345,
        identity: "sha256:00ff".to_owned(),
    });
    facts.mounts = strange_mounts();
    (machine, facts)
}

fn strange_mounts() -> Vec<GuestMount> {
    let nine_p = MountHow::NineP {
        msize_bytes: 131_072,
        version: "9p2000.L".to_owned(),
        cache: "mmap".to_owned(),
    };
    let mounts = [
        ("mount0", nine_p),
        ("mount1", MountHow::Virtiofs),
        ("mount2", MountHow::Sshfs),
    ];
    mounts
        .map(|(tag, how)| GuestMount {
            tag: tag.to_owned(),
            mount_point: format!("/mnt/it's {tag}"),
            writable: how == MountHow::Virtiofs,
            then_sshfs: how == MountHow::Virtiofs,
            how,
        })
        .into()
}

#[test]
fn what_cloud_init_reads() {
    let documents = documents(&machine(), &facts());
    insta::assert_snapshot!(text(&documents, "user-data"), @r#"
    #cloud-config
    users:
      - name: "user"
        uid: "1000"
        gecos: "A User"
        homedir: "/home/user.guest"
        shell: "/bin/sh"
        sudo: "ALL=(ALL) NOPASSWD:ALL"
        lock_passwd: true
        ssh_authorized_keys:
          - "ssh-ed25519 AAAAC3Nz callao"
    growpart:
      mode: auto
      devices: ["/"]
    resize_rootfs: true
    hostname: "lima-default"
    manage_etc_hosts: localhost
    write_files:
      - path: /var/lib/cloud/scripts/per-boot/00-callao.boot.sh
        owner: root:root
        permissions: "0755"
        content: |
          #!/bin/sh
          # Made by callao: runs boot.sh of the seed volume, at every boot. `early`: what must run before the network.
          seed=/mnt/lima-cidata
          if [ ! -e "$seed/boot.sh" ]; then
            mkdir -p "$seed"
            for label in CIDATA cidata; do
              device=/dev/disk/by-label/$label
              [ -e "$device" ] || device=$(blkid -L $label 2>/dev/null || findfs LABEL=$label 2>/dev/null) || continue
              # Some kernels lack the character set that is the default.
              mount -t vfat -o ro,umask=0077 "$device" "$seed" 2>/dev/null ||
                mount -t vfat -o ro,umask=0077,iocharset=utf8 "$device" "$seed" && break
            done
          fi
          [ -e "$seed/boot.sh" ] || { echo "callao: no volume CIDATA with a boot.sh" >&2; exit 1; }
          exec /bin/sh "$seed/boot.sh" "$@"
    "#);
    insta::assert_snapshot!(text(&documents, "meta-data"), @r#"
    instance-id: "callao-1f2e3d"
    local-hostname: "lima-default"
    "#);
    insta::assert_snapshot!(text(&documents, "network-config"), @r#"
    version: 2
    ethernets:
      callao0:
        match:
          macaddress: "52:55:55:12:34:56"
        dhcp4: true
        dhcp-identifier: mac
        dhcp4-overrides:
          route-metric: 200
    "#);
}

#[test]
fn what_the_scripts_read() {
    let (machine, facts) = strange();
    let documents = documents(&machine, &facts);
    insta::assert_snapshot!(text(&documents, "lima.env"), @r#"
    LIMA_CIDATA_IID='callao-1f2e3d'
    LIMA_CIDATA_NAME='default'
    LIMA_CIDATA_USER='o'\''user'
    LIMA_CIDATA_UID='1000'
    LIMA_CIDATA_COMMENT='it'\''s "q": #x
    - \y $(id) `id` é🚀'
    LIMA_CIDATA_HOME='/home/user: x'
    LIMA_CIDATA_SHELL='/bin/sh'
    LIMA_CIDATA_MOUNTS='3'
    LIMA_CIDATA_MOUNTS_0_MOUNTPOINT='/mnt/it'\''s mount0'
    LIMA_CIDATA_MOUNTS_1_MOUNTPOINT='/mnt/it'\''s mount1'
    LIMA_CIDATA_MOUNTS_2_MOUNTPOINT='/mnt/it'\''s mount2'
    LIMA_CIDATA_MOUNTTYPE='9p'
    LIMA_CIDATA_GUEST_INSTALL_PREFIX='/usr/local'
    LIMA_CIDATA_UPGRADE_PACKAGES='1'
    LIMA_CIDATA_CONTAINERD_USER='1'
    LIMA_CIDATA_CONTAINERD_SYSTEM='1'
    LIMA_CIDATA_SLIRP_DNS='192.168.5.3'
    LIMA_CIDATA_SLIRP_GATEWAY='192.168.5.2'
    LIMA_CIDATA_SLIRP_IP_ADDRESS='192.168.5.15'
    LIMA_CIDATA_SKIP_DEFAULT_DEPENDENCY_RESOLUTION='1'
    LIMA_CIDATA_VMTYPE='qemu'
    LIMA_CIDATA_PLAIN=''
    LIMA_CIDATA_PASSWORDLESS_SUDO=''
    "#);
    insta::assert_snapshot!(text(&documents, "callao.env"), @r#"
    CALLAO_MOUNTS='3'
    CALLAO_MOUNT_0_TAG='mount0'
    CALLAO_MOUNT_0_TYPE='9p'
    CALLAO_MOUNT_0_OPTIONS='ro,trans=virtio,version=9p2000.L,msize=131072,cache=mmap'
    CALLAO_MOUNT_0_POINT='/mnt/it'\''s mount0'
    CALLAO_MOUNT_0_SSHFS=''
    CALLAO_MOUNT_1_TAG='mount1'
    CALLAO_MOUNT_1_TYPE='virtiofs'
    CALLAO_MOUNT_1_OPTIONS='rw'
    CALLAO_MOUNT_1_POINT='/mnt/it'\''s mount1'
    CALLAO_MOUNT_1_SSHFS='1'
    CALLAO_MOUNT_2_TAG='mount2'
    CALLAO_MOUNT_2_TYPE='sshfs'
    CALLAO_MOUNT_2_OPTIONS='ro'
    CALLAO_MOUNT_2_POINT='/mnt/it'\''s mount2'
    CALLAO_MOUNT_2_SSHFS='1'
    CALLAO_DATA_00000001_PATH='/etc/a '\''file'\'''
    CALLAO_DATA_00000001_OWNER='user:user'
    CALLAO_DATA_00000001_PERMISSIONS='600'
    CALLAO_DATA_00000001_OVERWRITE=''
    CALLAO_ARCHIVE_SERIAL='callao-nerdctl'
    CALLAO_ARCHIVE_BYTES='12345'
    CALLAO_ARCHIVE_IDENTITY='sha256:00ff'
    "#);
    insta::assert_snapshot!(text(&documents, "etc_environment"), @r#"
    # EVIL is missing: this file can hold neither `#` nor control characters
    QUOTED=""x""
    SPACES=" a "
    USUAL=a b
    # "not a name" is no name of a variable
    "#);
}

#[test]
fn the_volume_has_these_files() {
    let (machine, facts) = strange();
    let documents = documents(&machine, &facts);
    let names: Vec<&str> = documents
        .iter()
        .map(|document| document.name.as_str())
        .collect();
    insta::assert_snapshot!(names.join("\n"), @r#"
    user-data
    meta-data
    network-config
    lima.env
    param.env
    callao.env
    guest.env
    etc_environment
    etc_hosts
    provision.boot.00000000
    provision.data.00000001
    provision.dependency.00000002
    boot.sh
    blocks.sh
    session.sh
    mounts.sh
    packages.sh
    data.sh
    as-user.sh
    containerd.sh
    rootless.sh
    "#);
}

#[test]
fn a_reader_of_yaml_finds_what_the_template_says() {
    let (machine, facts) = strange();
    let documents = documents(&machine, &facts);
    let read = |name: &str| -> serde_json::Value {
        serde_saphyr::from_str(&text(&documents, name)).unwrap()
    };
    let user_data = read("user-data");
    let user = &user_data["users"][0];
    let comment = "it's \"q\" #x- \\y $(id) `id` é\u{1f680}";
    for (field, wanted) in [
        ("name", "o'user"),
        ("uid", "1000"),
        ("gecos", comment),
        ("homedir", "/home/user: x"),
        ("sudo", "ALL=(ALL) ALL"),
    ] {
        assert_eq!(user[field], wanted, "{field}");
    }
    assert_eq!(user["lock_passwd"], false);
    assert_eq!(
        user["ssh_authorized_keys"][0],
        "ssh-ed25519 AAAAC3Nz callao"
    );
    assert_eq!(user_data["hostname"], "h: \"x\"");
    assert_eq!(user_data["timezone"], "Europe/Paris");
    assert_eq!(user_data["package_upgrade"], true);
    assert_eq!(user_data["ca_certs"]["remove_defaults"], true);
    assert_eq!(user_data["ca_certs"]["trusted"][0], "first");
    assert_eq!(
        user_data["ca_certs"]["trusted"][1],
        machine.ca_certs.certs[0]
    );
    assert_eq!(user_data["resolv_conf"]["nameservers"][1], "fd00::1");
    let per_boot = include_str!("../guest/per-boot.sh");
    assert_eq!(user_data["write_files"][0]["content"], per_boot);
    assert_eq!(user_data["bootcmd"][0][2], per_boot);
    assert_eq!(user_data["bootcmd"][0][4], "early");
    assert_eq!(read("meta-data")["local-hostname"], "h: \"x\"");
    let network = read("network-config");
    let card = &network["ethernets"]["callao0"];
    assert_eq!(card["match"]["macaddress"], "52:55:55:12:34:56");
    assert_eq!(card["nameservers"]["addresses"][0], "10.0.0.1");
}

#[test]
fn certificates_are_left_alone_unless_the_template_says_something() {
    let documents = documents(&machine(), &facts());
    let user_data: serde_json::Value =
        serde_saphyr::from_str(&text(&documents, "user-data")).unwrap();
    for absent in [
        "ca_certs",
        "bootcmd",
        "resolv_conf",
        "package_upgrade",
        "timezone",
    ] {
        assert_eq!(user_data.get(absent), None, "{absent}");
    }
}

mod guest;
