//! Laws that must hold for any bytes, one module per fuzz target.
//!
//! Each module has a `check`, which panics where a law is broken. libFuzzer's targets (`fuzz_targets/`) and the bounded
//! runner (`src/bin/bounded.rs`) call the same functions, so a finding of either replays in the other. Inputs worth
//! keeping lie under `corpus/<target>/`.

pub mod glance;
pub mod jwks;
pub mod jwt;
pub mod kick_off;
pub mod line_checker;
pub mod manifest;
pub mod ndjson_cutter;
pub mod scope;
pub mod search;

/// A fuzz target: its name, which is its corpus folder's too, and its laws.
pub struct Target {
    /// The name in `Cargo.toml` and under `corpus/`.
    pub name: &'static str,
    /// Panics where a law is broken.
    pub check: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "ndjson_cutter",
        check: ndjson_cutter::check,
    },
    Target {
        name: "line_checker",
        check: line_checker::check,
    },
    Target {
        name: "glance",
        check: glance::check,
    },
    Target {
        name: "manifest",
        check: manifest::check,
    },
    Target {
        name: "kick_off",
        check: kick_off::check,
    },
    Target {
        name: "search",
        check: search::check,
    },
    Target {
        name: "jwt",
        check: jwt::check,
    },
    Target {
        name: "jwks",
        check: jwks::check,
    },
    Target {
        name: "scope",
        check: scope::check,
    },
];
