//! The one binary, `fhirhose`.
fn main() {}
