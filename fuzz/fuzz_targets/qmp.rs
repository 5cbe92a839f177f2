//! Fuzz target: see `src/qmp.rs`.
#![no_main]

#[path = "../src/qmp.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::qmp(data));
