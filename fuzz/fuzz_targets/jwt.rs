//! The laws of signed texts under libFuzzer: `cargo +nightly fuzz run jwt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::jwt::check(data));
