//! `check`
fn main() {}
