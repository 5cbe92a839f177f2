//! Fuzz target: see `src/oci.rs`.
#![no_main]

#[path = "../src/oci.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::oci(data));
