//! The laws of search criteria under libFuzzer: `cargo +nightly fuzz run search`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::search::check(data));
