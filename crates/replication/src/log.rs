//! The logs of all ranges of a node, written by one thread.
//!
//! ```text
//! group 1 ─append─▶ tail cache ─┐
//! group 2 ─append─▶ tail cache ─┼▶ queue ─▶ writer: drain all ▶ one batch ▶ one fsync ▶ answer all
//! group 3 ─vote────────────────┘                                │
//!                                    apply of i waits for this ─┘ (protocol.md, rule 13)
//! ```
//!
//! An append returns as soon as its entries are in the tail cache, from where replication and
//! apply read them back. Votes, truncations and purges pass through the same queue, so their order
//! among the appends is kept on disk. Log and applied state share the engine's write-ahead log:
//! what survives a crash is a prefix of what was written.

pub mod format;
pub mod group;
#[cfg(test)]
mod suite;
pub mod writer;

pub use group::GroupLog;
pub use writer::{LogTrace, LogWriter, NoTrace};
