//! Keys read and written, with a guarantee.
//!
//! ```text
//! coordinator.rs   KvStore: begins transactions, keeps them alive, splits, asks what became of one
//! transaction.rs   KvTransaction: snapshot, buffer, locks
//! bulk.rs          transactions that write ahead of their commit, for their size
//! commit.rs        one phase or two; outcomes that are unknown
//! async_commit.rs  several ranges in one round
//! validate.rs      SERIALIZABLE: nothing that was read has changed
//! intents.rs       other transactions' leftovers in the way
//! size_splits.rs   ranges that grow too large are split
//! snapshots.rs     how far back this node reads
//! collector.rs     its part in garbage collection
//! sender.rs        a request to the leader of its range, here or elsewhere; serves the others
//! range_cache.rs   which range has a key, who led it
//! oracle_client.rs timestamps: here at once, elsewhere in batches
//! ```
//!
//! Invariants, as absences: query knows no Raft, no log, no disk; it holds no lock and no data that
//! a leader does not know better; a stale cache costs a redirect, never an answer.

mod async_commit;
mod bulk;
mod collector;
mod commit;
mod coordinator;
mod intents;
mod oracle_client;
mod range_cache;
mod sender;
mod size_splits;
mod snapshots;
mod transaction;
mod validate;

pub use collector::{GC_RETENTION, GcTuning};
pub use coordinator::{TXN_BYTES_MAX, TxnCoordinator, VALUE_BYTES_MAX};
pub use oracle_client::OracleClient;
pub use sender::{PeerList, RANGE_SERVICE, RangeSender, SendTuning};
