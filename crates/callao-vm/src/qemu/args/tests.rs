//! The arguments, word for word, for each kind of machine.

use super::*;
use crate::plain_machine::machine;

fn facts(accel: Accel, boot: Boot) -> Facts {
    Facts {
        name: "tiny".to_owned(),
        accel,
        pid_file: "/i/qemu.pid".into(),
        qmp_socket: "/i/qmp.sock".into(),
        serial_log: "/i/serial.log".into(),
        disk: "/i/disk".into(),
        seed: "/i/seed".into(),
        archive: None,
        ssh_port: 2222,
        closed_port: 2223,
        mac: "52:55:55:12:34:56".to_owned(),
        boot,
        shares: Vec::new(),
    }
}

fn uefi() -> Boot {
    Boot::Uefi {
        code: "/f/code.fd".into(),
        vars: Some("/i/vars.fd".into()),
    }
}

/// An option and its value on one line.
fn lines(machine: &Machine, facts: &Facts) -> String {
    let mut out = String::new();
    for argument in arguments(machine, facts) {
        let argument = argument.into_string().expect("it is text");
        let is_option = argument.starts_with('-');
        out.push(if is_option { '\n' } else { ' ' });
        out.push_str(&argument);
    }
    out.trim_start().to_owned()
}

/// The lines that another machine does not have.
fn beside(machine: &Machine, facts: &Facts, usual: &str) -> String {
    let all = lines(machine, facts);
    let usual: Vec<&str> = usual.lines().collect();
    let own: Vec<&str> = all.lines().filter(|line| !usual.contains(line)).collect();
    own.join("\n")
}

fn usual() -> String {
    lines(&machine(Arch::X86_64), &facts(Accel::Tcg, Boot::Bios))
}

#[test]
fn x86_64_by_bios_under_tcg() {
    insta::assert_snapshot!(usual(), @r"
    -name callao-tiny
    -pidfile /i/qemu.pid
    -nodefaults
    -no-user-config
    -display none
    -machine q35,vmport=off
    -global ICH9-LPC.disable_s3=1
    -global ICH9-LPC.disable_s4=1
    -accel tcg,thread=multi,tb-size=512
    -cpu max,-erms,-fsrm
    -smp 2,sockets=1,cores=2,threads=1
    -m 1024M
    -rtc base=utc
    -chardev socket,id=qmp,server=on,wait=off,path=/i/qmp.sock
    -mon chardev=qmp,mode=control
    -chardev file,id=serial,append=on,path=/i/serial.log
    -serial chardev:serial
    -blockdev driver=qcow2,node-name=disk,discard=unmap,detect-zeroes=unmap,file.driver=file,file.discard=unmap,file.filename=/i/disk
    -device virtio-blk-pci,drive=disk,bootindex=1
    -blockdev driver=raw,node-name=seed,read-only=on,file.driver=file,file.read-only=on,file.filename=/i/seed
    -device virtio-blk-pci,drive=seed
    -netdev user,id=net,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:2223-:1
    -device virtio-net-pci,netdev=net,mac=52:55:55:12:34:56,romfile=
    -device virtio-rng-pci
    ");
}

#[test]
fn x86_64_by_uefi_under_kvm() {
    let own = beside(&machine(Arch::X86_64), &facts(Accel::Kvm, uefi()), &usual());
    insta::assert_snapshot!(own, @r"
    -machine q35,vmport=off,pflash0=code,pflash1=vars
    -accel kvm
    -cpu host
    -blockdev driver=raw,node-name=code,read-only=on,file.driver=file,file.read-only=on,file.filename=/f/code.fd
    -blockdev driver=raw,node-name=vars,file.driver=file,file.filename=/i/vars.fd
    ");
}

#[test]
fn x86_64_by_uefi_without_variables() {
    let boot = Boot::Uefi {
        code: "/i/template,own.fd".into(),
        vars: None,
    };
    let own = beside(&machine(Arch::X86_64), &facts(Accel::Tcg, boot), &usual());
    insta::assert_snapshot!(own, @r"
    -machine q35,vmport=off,pflash0=code
    -blockdev driver=raw,node-name=code,read-only=on,file.driver=file,file.read-only=on,file.filename=/i/template,,own.fd
    ");
}

#[test]
fn x86_64_by_kernel() {
    let boot = Boot::Kernel {
        kernel: "/i/kernel,1".into(),
        initrd: Some("/i/initrd".into()),
        cmdline: "console=ttyS0 root=/dev/vda1,x".to_owned(),
    };
    let own = beside(&machine(Arch::X86_64), &facts(Accel::Tcg, boot), &usual());
    insta::assert_snapshot!(own, @r"
    -kernel /i/kernel,1
    -initrd /i/initrd
    -append console=ttyS0 root=/dev/vda1,x
    ");
}

#[test]
fn aarch64_under_either() {
    let tcg = lines(&machine(Arch::Aarch64), &facts(Accel::Tcg, uefi()));
    insta::assert_snapshot!(tcg, @r"
    -name callao-tiny
    -pidfile /i/qemu.pid
    -nodefaults
    -no-user-config
    -display none
    -machine virt,gic-version=max,pflash0=code,pflash1=vars
    -accel tcg,thread=multi,tb-size=512
    -cpu max,pauth-impdef=on
    -smp 2,sockets=1,cores=2,threads=1
    -m 1024M
    -rtc base=utc
    -chardev socket,id=qmp,server=on,wait=off,path=/i/qmp.sock
    -mon chardev=qmp,mode=control
    -chardev file,id=serial,append=on,path=/i/serial.log
    -serial chardev:serial
    -blockdev driver=qcow2,node-name=disk,discard=unmap,detect-zeroes=unmap,file.driver=file,file.discard=unmap,file.filename=/i/disk
    -device virtio-blk-pci,drive=disk,bootindex=1
    -blockdev driver=raw,node-name=seed,read-only=on,file.driver=file,file.read-only=on,file.filename=/i/seed
    -device virtio-blk-pci,drive=seed
    -netdev user,id=net,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:2223-:1
    -device virtio-net-pci,netdev=net,mac=52:55:55:12:34:56,romfile=
    -device virtio-rng-pci
    -blockdev driver=raw,node-name=code,read-only=on,file.driver=file,file.read-only=on,file.filename=/f/code.fd
    -blockdev driver=raw,node-name=vars,file.driver=file,file.filename=/i/vars.fd
    ");
    let own = beside(&machine(Arch::Aarch64), &facts(Accel::Kvm, uefi()), &tcg);
    insta::assert_snapshot!(own, @r"
    -accel kvm
    -cpu host
    ");
}

#[test]
fn shares_archive_and_names_with_commas() {
    let mut facts = facts(Accel::Tcg, Boot::Bios);
    facts.disk = "/i,j/disk,,".into();
    facts.serial_log = "/i,j/log".into();
    facts.qmp_socket = "/i,j/qmp".into();
    facts.pid_file = "/i,j/pid".into();
    facts.name = "a,b".to_owned();
    facts.archive = Some("/i/archive".into());
    facts.shares = vec![
        SharedDir::NineP {
            tag: "mount0".to_owned(),
            path: "/home/user/a,b".into(),
            security_model: "none".to_owned(),
            readonly: true,
        },
        SharedDir::NineP {
            tag: "mount1".to_owned(),
            path: "/tmp".into(),
            security_model: "mapped-xattr".to_owned(),
            readonly: false,
        },
        SharedDir::Virtiofs {
            tag: "mount2".to_owned(),
            socket: "/i/fs2.sock".into(),
            queue_size: Some(512),
        },
        SharedDir::Virtiofs {
            tag: "mount3".to_owned(),
            socket: "/i/fs3.sock".into(),
            queue_size: None,
        },
    ];
    let own = beside(&machine(Arch::X86_64), &facts, &usual());
    insta::assert_snapshot!(own, @r"
    -name callao-a,,b
    -pidfile /i,j/pid
    -object memory-backend-memfd,id=memory,share=on,size=1024M
    -machine q35,vmport=off,memory-backend=memory
    -chardev socket,id=qmp,server=on,wait=off,path=/i,,j/qmp
    -chardev file,id=serial,append=on,path=/i,,j/log
    -blockdev driver=qcow2,node-name=disk,discard=unmap,detect-zeroes=unmap,file.driver=file,file.discard=unmap,file.filename=/i,,j/disk,,,,
    -blockdev driver=raw,node-name=archive,read-only=on,file.driver=file,file.read-only=on,file.filename=/i/archive
    -device virtio-blk-pci,drive=archive,serial=callao-nerdctl
    -fsdev local,id=share0,multidevs=remap,security_model=none,readonly=on,path=/home/user/a,,b
    -device virtio-9p-pci,fsdev=share0,mount_tag=mount0
    -fsdev local,id=share1,multidevs=remap,security_model=mapped-xattr,readonly=off,path=/tmp
    -device virtio-9p-pci,fsdev=share1,mount_tag=mount1
    -chardev socket,id=share2,path=/i/fs2.sock
    -device vhost-user-fs-pci,chardev=share2,queue-size=512,tag=mount2
    -chardev socket,id=share3,path=/i/fs3.sock
    -device vhost-user-fs-pci,chardev=share3,tag=mount3
    ");
}

#[test]
fn the_template_says_size_and_cpu() {
    let mut machine = machine(Arch::X86_64);
    machine.cpu_type = Some("Haswell-v4,-vmx".to_owned());
    machine.cpus = 5;
    machine.memory_bytes = (3 << 29) + 1;
    let own = beside(&machine, &facts(Accel::Kvm, Boot::Bios), &usual());
    insta::assert_snapshot!(own, @r"
    -accel kvm
    -cpu Haswell-v4,-vmx
    -smp 5,sockets=1,cores=5,threads=1
    -m 1536M
    ");
    machine.cpus = 0;
    machine.memory_bytes = 0;
    let own = beside(&machine, &facts(Accel::Tcg, Boot::Bios), &usual());
    insta::assert_snapshot!(own, @r"
    -cpu Haswell-v4,-vmx
    -smp 1,sockets=1,cores=1,threads=1
    -m 1M
    ");
}

#[test]
fn a_path_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let mut facts = facts(Accel::Tcg, Boot::Bios);
    facts.seed = OsStr::from_bytes(b"/i/\xff,").into();
    let all = arguments(&machine(Arch::X86_64), &facts);
    let has = |argument: &OsString| argument.as_bytes().ends_with(b"file.filename=/i/\xff,,");
    assert!(all.iter().any(has));
}

#[test]
fn addresses_stay_the_same_and_differ() {
    assert_eq!(mac_address("a"), "52:55:55:ca:97:81");
    assert_ne!(mac_address("a"), mac_address("b"));
}
