//! Fuzz target: see `merge` in `src/templates.rs`.
#![no_main]

#[path = "../src/templates.rs"]
mod templates;

libfuzzer_sys::fuzz_target!(|data: &[u8]| templates::merge(data));
