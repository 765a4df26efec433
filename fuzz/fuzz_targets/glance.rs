//! The laws of a look at a server's line under libFuzzer: `cargo +nightly fuzz run glance`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::glance::check(data));
