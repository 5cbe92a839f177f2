//! Fuzz target: see `dag_pb` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callao_fuzz::dag_pb(data));
