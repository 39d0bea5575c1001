//! The transaction a session is in.
//!
//! ```text
//!            begin_implicit        BEGIN
//!   None ───────────────▶ Implicit ──────▶ Explicit      a failed statement sets `failed`
//!    ▲  ◀── end_implicit ────┘                 │          until ROLLBACK or ROLLBACK TO
//!    └────────── COMMIT, ROLLBACK ─────────────┘
//! ```
//!
//! In `None` every statement is its own transaction and may be executed again from its start when
//! it loses a race. The key-value transaction is begun by the first statement that needs one.

use crate::server::Server;
use crate::table_locks::TableGuards;
use catalog::Catalog;
use core_domain::{
    IsolationLevel, KvResult, KvTransaction, SavepointId, Span, Timestamp, TxnOptions,
};
use datum::TypeContext;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Block {
    #[default]
    None,
    /// Several statements of one simple query, or a pipeline until Sync.
    Implicit,
    Explicit,
}

#[derive(Default)]
pub(crate) struct Transaction {
    pub block: Block,
    pub failed: bool,
    /// Set by a row stream that failed after its statement had answered.
    pub stream_failed: Arc<AtomicBool>,
    pub kv: Option<Arc<dyn KvTransaction>>,
    pub isolation: IsolationLevel,
    pub read_only: bool,
    /// AS OF SYSTEM TIME: the moment that is read, and how it was asked for.
    pub as_of: Option<Timestamp>,
    pub as_of_text: Option<Arc<str>>,
    pub savepoints: Vec<Savepoint>,
    /// Microseconds since 1970: `now()`.
    pub started_at: i64,
    /// When `transaction_timeout` ends it.
    pub deadline: Option<Instant>,
    /// The session's type context with `now`.
    pub types: Option<Arc<TypeContext>>,
    /// The catalog, if this transaction has changed it.
    pub catalog: Option<Arc<Catalog>>,
    pub at_commit: AtCommit,
    pub guards: Option<TableGuards>,
    /// The catalog as of the first snapshot. Once there is one, SET TRANSACTION comes too late.
    pub snapshot_catalog: Option<Arc<Catalog>>,
}

/// A savepoint by name, and what a return to it restores.
pub(crate) struct Savepoint {
    pub name: String,
    pub kv: Option<SavepointId>,
    pub settings_mark: usize,
    /// Of the tables held.
    pub guards_mark: usize,
    pub advisory_mark: usize,
    pub catalog: Option<Arc<Catalog>>,
    pub at_commit: AtCommit,
}

/// What remains to be done once the transaction has committed.
#[derive(Clone, Default)]
pub(crate) struct AtCommit {
    /// Keys that nobody reaches any more.
    pub dropped_spans: Vec<Span>,
    /// Table groups that want a range of their own.
    pub new_groups: Vec<u32>,
    /// Sequences whose cached blocks are void.
    pub changed_sequences: Vec<u32>,
}

impl AtCommit {
    pub fn append(&mut self, mut other: AtCommit) {
        self.dropped_spans.append(&mut other.dropped_spans);
        self.new_groups.append(&mut other.new_groups);
        self.changed_sequences.append(&mut other.changed_sequences);
    }
}

impl Transaction {
    /// The key-value transaction, begun now if it has not been.
    pub async fn open(&mut self, server: &Arc<Server>) -> KvResult<Arc<dyn KvTransaction>> {
        if let Some(kv) = &self.kv {
            return Ok(kv.clone());
        }
        let (isolation, read_only, as_of) = (self.isolation, self.read_only, self.as_of);
        let options = TxnOptions { isolation, read_only, as_of };
        let kv = server.kv.begin(options).await?;
        server.opened(&kv);
        self.kv = Some(kv.clone());
        // Savepoints made before have nothing to undo: they are at the start.
        if self.savepoints.iter().any(|s| s.kv.is_none()) {
            let start = kv.savepoint();
            for savepoint in &mut self.savepoints {
                savepoint.kv.get_or_insert(start);
            }
        }
        Ok(kv)
    }

    /// What the transaction holds of tables.
    pub fn guards(&mut self, server: &Arc<Server>, owner: u64) -> &mut TableGuards {
        self.guards.get_or_insert_with(|| TableGuards::new(server.clone(), owner))
    }

    pub fn is_explicit(&self) -> bool {
        self.block == Block::Explicit
    }
}
