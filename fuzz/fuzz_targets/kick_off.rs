//! The laws of the kick-off parameters under libFuzzer: `cargo +nightly fuzz run kick_off`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::kick_off::check(data));
