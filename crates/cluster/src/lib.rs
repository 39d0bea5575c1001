//! Who is alive, and how to reach them.
//!
//! ```text
//! transport.rs   bytes between named services: the trait
//! grpc.rs        the real one
//! memory.rs      one within a process, for tests
//! discovery.rs   --join to addresses
//! formation.rs   empty nodes become exactly one cluster
//! membership.rs  SWIM gossip
//! phi.rs         how suspicious a silence is
//! ```
//!
//! Invariants, as absences: cluster knows nothing about ranges, Raft or SQL; it moves bytes
//! between named services and tells who seems alive. Nothing here is trusted for safety.

pub mod discovery;
pub mod formation;
pub mod grpc;
pub mod membership;
pub mod memory;
pub mod phi;
pub mod transport;

pub use formation::{Greeter, Hello, Identity, Step};
pub use grpc::GrpcTransport;
pub use membership::{Member, MemberView, Membership};
pub use memory::{MemoryNetwork, MemoryTransport};
pub use transport::{Handler, Transport, TransportError};
