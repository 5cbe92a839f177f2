//! Fuzz target: see `cid` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callao_fuzz::cid(data));
