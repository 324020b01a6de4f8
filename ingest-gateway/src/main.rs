//! (written by its owner)
fn main() {}
