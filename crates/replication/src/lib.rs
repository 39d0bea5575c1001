//! One range = one Raft group.
//!
//! ```text
//! store.rs       Store: every replica of this node; opens, creates, finds, removes them
//! replica.rs     Replica: propose, leadership, ReadIndex, transfer, membership
//! command.rs     Command: what goes into the log, and its bytes
//! descriptor.rs  RangeDescriptor: span, generation, replicas
//! observer.rs    what the layer above hears
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
pub mod observer;

pub use command::{Applied, Body, COMMAND_BYTES_MAX, Command, EngineOp};
pub use descriptor::{RangeDescriptor, ReplicaPlace, ReplicaRole, SYSTEM_RANGE};
pub use error::{ReplicationError, Result};
pub use observer::{Deaf, Observer};

// The shape of what follows, for those who code against it now (owner F replaces this text):
//
// pub enum Leadership { Serving { term: u64 }, Unconfirmed { term: u64 }, Follower }
//     Serving: leader, own-term entry applied, lease valid (or sole voter): read locally now.
//     Unconfirmed: call confirm_leadership().await first, then read.
//
// pub struct Replica;   // used as Arc<Replica>
// impl Replica {
//     pub fn range(&self) -> RangeId;
//     pub fn id(&self) -> ReplicaId;
//     pub fn node(&self) -> NodeId;
//     pub fn descriptor(&self) -> Arc<RangeDescriptor>;            // applied, with generation
//     pub fn leadership(&self) -> Leadership;                      // lock-free
//     pub fn leader(&self) -> Option<ReplicaPlace>;                // as far as known here
//     pub fn not_leader(&self) -> ReplicationError;
//     pub async fn confirm_leadership(&self) -> Result<()>;        // ReadIndex, applied up to it
//     pub async fn propose(&self, command: &Command) -> Result<Applied>;
//     pub fn applied_index(&self) -> u64;
//     pub async fn transfer_to(&self, node: NodeId) -> Result<()>;
//     pub async fn add_replica(&self, node: NodeId, address: &str) -> Result<()>;
//     pub async fn remove_replica(&self, node: NodeId) -> Result<()>;
//     pub async fn reconcile(&self, live: &[(NodeId, String)]) -> Result<()>;
// }
//
// pub struct Store;     // used as Arc<Store>
// impl Store {
//     pub async fn open(engine: Arc<dyn storage::Engine>, node: NodeId, transport: Arc<dyn cluster::Transport>,
//                       clock: Arc<dyn core_domain::Clock>, observer: Arc<dyn Observer>, tuning: Tuning) -> Result<Arc<Store>>;
//     pub fn node(&self) -> NodeId;  pub fn engine(&self) -> &Arc<dyn Engine>;
//     pub fn group(&self, range: RangeId) -> Option<Arc<Replica>>;
//     pub fn group_at(&self, key: &Key) -> Option<Arc<Replica>>;   // by applied span
//     pub fn groups(&self) -> Vec<Arc<Replica>>;
//     pub async fn bootstrap(&self, founders: &[(NodeId, String)], ranges: &[(RangeId, Span)]) -> Result<()>;
//     pub async fn shutdown(&self);
// }
