//! The command line from outside: every test runs the real program in a world of its own (`env`).
//!
//! One binary, one module per subject. A module that is not listed here would not run; `every_file_is_registered` sees
//! to that.
#![expect(
    clippy::disallowed_methods,
    reason = "tests prepare files and look at what the program left"
)]

mod add;
mod bad_gateways;
mod bad_origins;
mod bad_registries;
mod cache;
mod cache_prune;
mod cache_rebuild;
mod cache_repair;
mod completions;
mod dashboard;
mod dashboard_http;
mod dashboard_serve;
mod dashboard_stand;
mod demo;
#[cfg(feature = "p2p")]
mod demo_machine;
mod discovery;
mod disk;
mod doctor;
mod env;
mod explain;
mod gateway;
mod gateway_connections;
mod gateway_fetching;
mod gateway_kubo;
mod gateway_peers;
mod gateway_world;
mod get;
mod help;
#[cfg(feature = "p2p")]
mod holder;
mod interrupts;
mod judge;
#[cfg(feature = "p2p")]
mod kubo_both_ways;
mod lima;
mod lima_templates;
mod lima_url;
mod limactl;
#[cfg(all(feature = "p2p", target_os = "linux"))]
mod links;
mod lock;
mod lock_faults;
mod lock_sums;
mod locks;
#[cfg(all(feature = "p2p", target_os = "linux"))]
mod mdns;
mod names;
mod oci;
#[cfg(feature = "p2p")]
mod peers;
mod pins;
mod publish;
mod publish_kubo;
mod publish_serve;
mod real;
mod serve;
mod serve_bad_days;
mod serve_kubo;
#[cfg(feature = "p2p")]
mod serve_peers;
mod serve_pruned;
mod serve_world;
mod service;
mod service_systemd;
#[cfg(all(feature = "p2p", target_os = "linux"))]
mod swarm;
mod template_places;
mod templates;
mod vm_aarch64;
mod vm_bad_days;
mod vm_crashes;
mod vm_debian;
mod vm_life;
mod vm_mounts;
mod vm_world;

#[test]
fn every_file_is_registered() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let here = include_str!("main.rs");
    for entry in std::fs::read_dir(dir).expect("the folder of the tests") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        assert!(
            here.contains(&format!("\nmod {module};")),
            "{name} is not registered in main.rs"
        );
    }
}
