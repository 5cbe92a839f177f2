//! A machine as a template that says nothing describes it, for tests; those of the library include this file.

use std::collections::BTreeMap;

use callao_template::Arch;
use callao_template::machine::{CaCerts, Installs, Machine, Ssh, User};

/// Two CPUs, 1 GiB of memory, a disk of 8 GiB.
pub(crate) fn machine(arch: Arch) -> Machine {
    Machine {
        arch,
        cpus: 2,
        memory_bytes: 1 << 30,
        disk_bytes: 8 << 30,
        cpu_type: None,
        legacy_bios: false,
        user: User {
            name: "user".to_owned(),
            comment: String::new(),
            home: "/home/user".to_owned(),
            shell: "/bin/bash".to_owned(),
            uid: 1000,
            passwordless_sudo: true,
        },
        ssh: Ssh::default(),
        mounts: Vec::new(),
        mount_type: None,
        mount_types_unsupported: Vec::new(),
        port_forwards: Vec::new(),
        provision: Vec::new(),
        probes: Vec::new(),
        copy_to_host: Vec::new(),
        containerd: Installs::default(),
        guest_install_prefix: String::new(),
        env: BTreeMap::new(),
        param: BTreeMap::new(),
        dns: Vec::new(),
        hosts: BTreeMap::new(),
        propagate_proxy: false,
        ca_certs: CaCerts::default(),
        timezone: None,
        upgrade_packages: false,
        plain: false,
        message: None,
    }
}
