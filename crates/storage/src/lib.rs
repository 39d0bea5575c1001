//! Ordered versioned bytes on disk.
//!
//! ```text
//! ballast.rs       room that is given back to a store whose disk is full when it starts
//! engine.rs        Engine, WriteBatch, iterators: the trait
//! rocks_engine.rs  the real one, on RocksDB
//! crash_engine.rs  in memory; a crash discards a suffix of what was not synced
//! hidden.rs        versions of transactions that were not decided when they wrote them
//! gc.rs           what nobody may ask for any more, and how it goes
//! keyspace.rs      user keys to engine keys, spans to bounds
//! lookup.rs        exact reads of many keys by one cursor
//! mvcc.rs          versions of a key: formats, point reads, scans at a timestamp
//! row_cache.rs     newest versions of rows that are read one by one
//! space.rs         how much room the file system has
//! ```
//!
//! Invariants, as absences: storage knows nothing about ranges, Raft, transactions that are still
//! running, or SQL. Nothing here reads a clock or draws a timestamp. `rocksdb` is named nowhere
//! else.

mod ballast;
pub mod crash_engine;
pub mod engine;
pub mod error;
pub mod gc;
pub mod hidden;
pub mod keyspace;
pub mod lookup;
pub mod mvcc;
pub mod rocks_engine;
pub mod row_cache;
mod space;

pub use crash_engine::CrashEngine;
pub use engine::{BatchOp, Cf, Engine, EngineIterator, EngineReader, IterOptions, WriteBatch};
pub use error::{StorageError, StorageResult};
pub use gc::{Garbage, Marks};
pub use lookup::Lookup;
pub use rocks_engine::{RocksEngine, RocksOptions};
pub use row_cache::RowCache;
