//! The binary as its users meet it: real processes, psql, pgbench, drivers. One test program, so
//! that it links once.

mod chinook;
mod cluster;
mod consistency;
mod conversations;
mod crash;
mod hostile;
mod operations;
mod past;
mod pgbench;
mod psql;
mod scripts;
mod semantics;
mod splits;

use std::path::{Path, PathBuf};
use testkit::NodeProcess;

/// The binary under test, built with the same profile.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_shanghai"))
}

fn node() -> NodeProcess {
    NodeProcess::single(binary())
}

/// A file of the workspace.
fn file(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether `make soak` runs: longer versions of the same tests.
fn soak() -> bool {
    std::env::var_os("SHANGHAI_SOAK").is_some()
}
