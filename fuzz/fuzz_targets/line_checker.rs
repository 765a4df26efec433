//! The laws of the line checker under libFuzzer: `cargo +nightly fuzz run line_checker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::line_checker::check(data));
