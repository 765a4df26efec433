//! The laws of the NDJSON cutter under libFuzzer: `cargo +nightly fuzz run ndjson_cutter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fhirhose_fuzz::ndjson_cutter::check(data));
