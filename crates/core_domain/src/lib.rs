//! The shared words of Shanghai, without I/O.
//!
//! ```text
//! key.rs          Key, Span, the keyspace's top-level layout
//! time.rs         Timestamp (oracle time), Clock
//! id.rs           NodeId, RangeId, ReplicaId, TxnId, LogSequenceNumber, ...
//! consistency.rs  ConsistencyLevel, IsolationLevel, Guarantee (the receipt)
//! token.rs        CausalToken: authenticated, versioned
//! kv.rs           KvTransaction, KvStore: the one interface between SQL and the ranges
//! write_buffer.rs WriteBuffer: a running transaction's own writes, pure
//! read_set.rs     ReadSet: what a serializable transaction has read, pure
//! error.rs        KvError, classified by what the caller can do
//! node.rs         NodeState, ReplicationMode, events
//! planted.rs      bugs that tests put in to try their checkers
//! ```
//!
//! Invariants, as absences: nothing here touches a disk, a network, or the wall clock; nothing
//! here knows SQL, Raft or RocksDB; there is no second definition of any of these words elsewhere.

pub mod consistency;
pub mod error;
pub mod id;
pub mod key;
pub mod kv;
pub mod node;
pub mod planted;
pub mod read_set;
pub mod time;
pub mod token;
pub mod write_buffer;

pub use consistency::{ConsistencyLevel, Guarantee, IsolationLevel};
pub use error::{KvError, KvResult};
pub use id::{
    ClusterId, Generation, LogSequenceNumber, NodeId, RangeId, ReplicaId, TableId, TxnId, Version,
};
pub use key::{Key, Span, Value};
pub use kv::{
    CommitReceipt, KvStore, KvTransaction, LockMode, LockWait, LockedValue, OtherWaits, PointRead,
    ReadAt, SavepointId, ScanOptions, ScanPage, TxnOptions, TxnStatus, WaitPolicy,
};
pub use node::{DomainEvent, NodeState, ReplicationMode};
pub use read_set::{ReadSet, ReadSpan};
pub use time::{Clock, SystemClock, Timestamp};
pub use token::{CausalToken, TokenError, TokenKey};
pub use write_buffer::WriteBuffer;
