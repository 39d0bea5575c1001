//! What tests share: an in-memory key-value store, real processes, SQL scripts, workloads and the
//! checkers of their histories.
//!
//! ```text
//! memory_kv.rs      KvStore in memory, with real versions and waiting locks
//! node_process.rs   one Shanghai node as a child process
//! postgres.rs       a PostgreSQL of Debian's, as the reference
//! client.rs         psql and pgbench as child processes
//! slt.rs            .slt scripts against either server
//! workload/         random transactions over a KvStore, recorded
//! check/            what was recorded, judged: cycles, linearizability, totals
//! random.rs         random numbers that a seed decides
//! conversation.rs   several sessions interleaved by a script, against either server
//! simple_client.rs  a session that keeps command tags
//! ```
//!
//! Invariants, as absences: nothing here is linked into the binary; nothing listens beyond
//! loopback; no process outlives the value that started it.

pub mod check;
pub mod client;
pub mod conversation;
pub mod memory_kv;
pub mod node_process;
pub mod postgres;
pub mod random;
pub mod simple_client;
pub mod slt;
pub mod workload;

pub use client::{Server, pgbench, psql, psql_file};
pub use memory_kv::MemoryKv;
pub use node_process::NodeProcess;
pub use postgres::Postgres;
