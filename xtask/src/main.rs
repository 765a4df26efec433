//! Chores of the repository: generating tables, tidy checks.
fn main() {}
