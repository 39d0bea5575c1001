//! What system relations need to know beyond the catalog. The session fills it in.

use crate::Oid;
use crate::deparse::Names;
use crate::keys::SequenceState;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct VirtualContext {
    /// The session's database.
    pub database: Oid,
    /// The session's role.
    pub role: Oid,
    pub search_path: Vec<String>,
    /// The function registry: pg_proc.
    pub functions: Arc<[FunctionInfo]>,
    pub settings: Vec<SettingInfo>,
    pub sessions: Vec<SessionInfo>,
    pub locks: Vec<LockInfo>,
    pub prepared: Vec<PreparedInfo>,
    pub nodes: Vec<NodeInfo>,
    pub ranges: Vec<RangeInfo>,
    /// Values of sequences, as far as they were read; only pg_sequences shows them.
    pub sequences: HashMap<Oid, SequenceState>,
    /// Estimated row counts by table OID: pg_class.reltuples.
    pub row_counts: HashMap<Oid, f64>,
}

impl VirtualContext {
    pub fn names(&self) -> Names<'_> {
        Names { database: self.database, search_path: &self.search_path }
    }
}

/// A function, aggregate or window function.
#[derive(Clone, Debug, Default)]
pub struct FunctionInfo {
    /// Stable across restarts: PostgreSQL's own where there is one.
    pub oid: Oid,
    pub name: String,
    /// `f` function, `a` aggregate, `w` window function, `p` procedure.
    pub kind: u8,
    /// Type OIDs.
    pub arguments: Vec<Oid>,
    pub returns: Oid,
    pub returns_set: bool,
    pub strict: bool,
    /// `i`, `s` or `v`.
    pub volatility: u8,
    /// Element type of a VARIADIC last argument, or zero.
    pub variadic: Oid,
    pub description: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct SettingInfo {
    pub name: String,
    pub value: String,
    pub unit: Option<String>,
    pub category: String,
    pub description: String,
    /// `user`, `superuser`, `sighup`, `postmaster`, `internal`.
    pub context: String,
    /// `bool`, `integer`, `real`, `string`, `enum`.
    pub kind: String,
    /// `default`, `session`, `database`, `user`, `configuration file`, ...
    pub source: String,
    pub min: Option<String>,
    pub max: Option<String>,
    pub choices: Vec<String>,
    pub boot_value: String,
    pub reset_value: String,
    pub pending_restart: bool,
}

/// Times are microseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, Default)]
pub struct SessionInfo {
    pub pid: i32,
    pub database: Oid,
    pub role: Oid,
    pub role_name: String,
    pub application_name: String,
    pub client_address: Option<String>,
    pub client_port: Option<i32>,
    pub started: i64,
    pub transaction_started: Option<i64>,
    pub query_started: Option<i64>,
    pub state_changed: Option<i64>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: String,
    pub query: String,
    /// Type and name.
    pub wait_event: Option<(&'static str, &'static str)>,
    /// The transaction's id, once it has written.
    pub transaction: Option<u64>,
}

/// A line of pg_locks. What is `None` is NULL.
#[derive(Clone, Debug, Default)]
pub struct LockInfo {
    /// `relation`, `tuple`, `transactionid`, `virtualxid`, `advisory`.
    pub kind: &'static str,
    pub database: Option<Oid>,
    pub relation: Option<Oid>,
    /// The transaction whose end is waited for, or that ends.
    pub transaction: Option<u64>,
    pub virtual_id: Option<String>,
    /// Class, object and sub-number of an advisory lock.
    pub advisory: Option<(Oid, Oid, i16)>,
    pub pid: i32,
    /// The transaction that holds it or waits.
    pub holder: u64,
    pub mode: &'static str,
    pub granted: bool,
}

#[derive(Clone, Debug, Default)]
pub struct PreparedInfo {
    pub name: String,
    pub statement: String,
    pub prepared: i64,
    pub parameters: Vec<Oid>,
    pub from_sql: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub id: u64,
    pub state: String,
    pub rpc_address: String,
    pub sql_address: String,
    pub http_address: String,
    pub started: Option<i64>,
    pub ranges: u64,
    pub leaders: u64,
    /// Phi of the accrual failure detector.
    pub suspicion: Option<f64>,
    pub version: String,
    pub is_local: bool,
}

#[derive(Clone, Debug, Default)]
pub struct RangeInfo {
    pub id: u64,
    pub span: core_domain::Span,
    pub generation: u64,
    pub leader: Option<u64>,
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    /// About, as far as this node has a replica.
    pub size_bytes: Option<u64>,
}
