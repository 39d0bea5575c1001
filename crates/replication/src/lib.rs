//! One range = one Raft group.
//!
//! ```text
//! store.rs       Store: every replica of this node; opens, creates, finds, removes them
//! replica.rs     Replica: propose, leadership, ReadIndex, transfer, membership
//! command.rs     Command: what goes into the log, and its bytes
//! descriptor.rs  RangeDescriptor: span, generation, replicas
//! observer.rs    what the layer above hears
//! placement.rs   which nodes hold a range: one step at a time
//! log.rs         the logs of all ranges, one writer thread
//! machine.rs     apply: entries become engine batches
//! size.rs        how large a range is, and its middle
//! snapshot.rs    a range's state in chunks, installed under a marker
//! network.rs     Raft messages over the transport; service.rs receives them
//! types.rs       openraft with this crate's words
//! evaluate/      requests become commands, at the leader
//! ```
//!
//! ```text
//!  propose ─▶ openraft core ─▶ log/ tail cache ─▶ log/writer: all groups, one batch, one fsync
//!                 │   ▲                                     │
//!                 ▼   └────────────── io_completed ◀────────┘
//!            network ─▶ followers        commit ─▶ machine: one unsynced batch with applied id
//! ```
//!
//! Invariants, as absences: no openraft type leaves this crate; nothing below `evaluate` knows
//! transactions; no entry is acknowledged before the fsync that covers it; no replica id is ever
//! used twice.

pub mod command;
pub mod descriptor;
pub mod error;
pub mod evaluate;
mod log;
mod machine;
mod network;
pub mod observer;
pub mod placement;
pub mod replica;
mod service;
mod size;
mod snapshot;
pub mod store;
mod types;

pub use command::{Applied, Body, COMMAND_BYTES_MAX, Command, EngineOp};
pub use descriptor::{RangeDescriptor, ReplicaPlace, ReplicaRole, SYSTEM_RANGE};
pub use error::{ReplicationError, Result};
pub use log::{LogTrace, NoTrace};
pub use observer::{Deaf, Observer};
pub use replica::{Leadership, Replica};
pub use store::{Store, Tuning};
