//! The `dormouse` command: chooses the allocator and hands over to [`dormouse::cli`]. Nothing else, so that tests and
//! benchmarks which link the library choose their own.

use std::process::ExitCode;

/// Chosen by bytes per idle connection after a handshake storm: the buffers of a handshake must go back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dormouse::cli::run(std::env::args_os())
}
