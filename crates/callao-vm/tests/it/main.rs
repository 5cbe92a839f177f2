//! QEMU itself, disks, what QMP may say, and ssh into a real guest. One binary; each module has one subject.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files and at what the environment names"
)]
#![expect(
    clippy::print_stdout,
    reason = "what is skipped, and what a machine said that failed, is told"
)]

mod boot;
mod client;
mod disks;
mod plain_machine;
mod probe;
mod qmp;
mod ssh;
mod tiny;
mod tools;
