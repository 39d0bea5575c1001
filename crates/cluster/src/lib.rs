//! Who is alive, and how to reach them.
//!
//! Invariants, as absences: cluster knows nothing about ranges, Raft or SQL; it moves bytes
//! between named services and tells who seems alive. Nothing here is trusted for safety.

pub mod transport;

pub use transport::{Handler, Transport, TransportError};
