//! The laws of keys under libFuzzer: `cargo +nightly fuzz run jwks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::jwks::check(data));
