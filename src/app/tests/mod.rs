//! Tests of apps below the node: turns as tables, and whole shards in virtual time with everything going wrong at once.

mod choir;
mod simulation;
mod turns;
