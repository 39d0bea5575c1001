//! SQL text in, rows out: sessions, transactions, plans executed on the key-value interface.
//!
//! ```text
//! server.rs        Server: one per process; catalog cache, plan cache, registry of sessions
//! session/         Session: settings, transaction state, statements
//! prepared.rs      Prepared: one planned statement, re-planned when the catalog moves
//! outcome.rs       Outcome, RowStream, CopyIn, CopyOut: what a statement answers
//! error.rs         SqlError, Notice: SQLSTATE, position, detail, hint
//! oltp/            point and short-range reads, straight on KvTransaction
//! write/           the one Write operator: constraints, indexes, foreign keys, RETURNING
//! ddl/             schema changes as transactions, with their backfills
//! copy/            COPY: text, csv and binary, both ways
//! relational/      everything else: DataFusion
//! ```
//!
//! How `wire` drives a session:
//!
//! ```text
//! connect            let mut s = server.connect(params).await?       s.backend_key(), s.parameters()
//! simple query       let list = s.split(sql)?                        empty list: EmptyQueryResponse
//!                    if list.len() > 1 { s.begin_implicit() }        one statement commits by itself
//!                    for each: let p = s.plan(&statement).await?
//!                              match s.execute(&p, vec![]).await? { Outcome::.. }   drain its rows
//!                    s.end_implicit().await?     commits, or rolls back after an error;
//!                                                before the last CommandComplete leaves
//! extended           Parse:   s.prepare(sql, &oids).await?           s.store_prepared(name, p)
//!                    Execute: unless this is the only Execute and Sync is already in the buffer:
//!                             s.begin_implicit() first (idempotent)
//!                    Sync:    s.end_implicit().await
//! COPY FROM STDIN    s.copy_write(&mut copy, chunk).await, s.copy_finish(copy).await -> tag,
//!                    s.copy_fail(copy, reason).await -> the error to send
//! ReadyForQuery      s.status(); before it s.take_parameter_changes(), s.take_notices()
//! an error           whatever method failed, the session has already noted it (25P02 from now on in
//!                    a transaction block); for errors of wire's own (a bad Bind), call s.fail()
//! ```
//!
//! Execute a second time on the same portal = `RowStream::next` again: the stream is the portal.
//!
//! Invariants, as absences: nothing here knows ranges, replicas or sockets; no statement is retried
//! after a row of it has left; no plan outlives the catalog version that it was made for.

mod catalog_cache;
pub mod context;
mod copy;
mod ddl;
pub mod error;
mod explain;
mod literals;
mod lock_view;
mod number_blocks;
mod oltp;
pub mod outcome;
mod plan_cache;
pub mod prepared;
pub mod relational;
mod row_locks;
mod sequence;
pub mod server;
pub mod session;
pub mod settings;
mod table_code;
mod table_locks;
mod virtual_context;
mod write;

pub use context::ExecContext;
pub use error::{Notice, Severity, SqlError, SqlResult};
pub use outcome::{CopyFormat, CopyIn, CopyOut, Outcome, Row, RowSource, RowStream};
pub use prepared::{ColumnDesc, Prepared, Statement};
pub use server::{ClusterView, ConnectParams, NoCluster, Server, ServerConfig};
pub use session::{Session, TransactionStatus};
