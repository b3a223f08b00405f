//! `loadgen`
fn main() {}
