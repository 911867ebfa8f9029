//! Load generator for Dormouse.
fn main() {}
