//! The laws of scopes under libFuzzer: `cargo +nightly fuzz run scope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::scope::check(data));
