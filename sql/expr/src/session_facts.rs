//! What functions may ask of the session and its catalog: implemented in `sql`, absent in unit tests.
//!
//! All calls are synchronous. An implementation that needs I/O (sequences, sizes) blocks its worker
//! (`tokio::task::block_in_place`) or answers from what it prefetched; `Expr::is_volatile` and
//! `registry` names tell the planner beforehand that such a function occurs.

use crate::error::{ExprError, Result};
use datum::Datum;

/// Every method has a default that is honest for "no session": absent objects, 0A000 for actions.
pub trait SessionFacts: Send + Sync {
    fn current_user(&self) -> String {
        "shanghai".to_owned()
    }
    fn session_user(&self) -> String {
        self.current_user()
    }
    fn current_database(&self) -> String {
        "shanghai".to_owned()
    }
    /// The schemas of the search path that exist, in order; with `pg_catalog` if implicit ones are asked for.
    fn current_schemas(&self, _include_implicit: bool) -> Vec<String> {
        vec!["public".to_owned()]
    }
    /// `version()`.
    fn version(&self) -> String {
        "PostgreSQL 15.0 (Shanghai)".to_owned()
    }
    /// Whether the statement may go on; long computations ask now and then.
    ///
    /// # Errors
    /// 57014 after a cancel request, or when its time is over.
    fn check_cancel(&self) -> Result<()> {
        Ok(())
    }
    fn backend_pid(&self) -> i32 {
        0
    }
    /// Microseconds since 1970 UTC, now: `clock_timestamp()`.
    fn clock_timestamp(&self) -> i64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_micros() as i64)
    }
    fn postmaster_start_time(&self) -> i64 {
        0
    }
    fn is_in_recovery(&self) -> bool {
        false
    }
    fn transaction_id(&self) -> Result<i64> {
        Err(ExprError::unsupported("txid_current()"))
    }
    /// `None` where no transaction id has been assigned.
    fn transaction_id_if_assigned(&self) -> Option<i64> {
        None
    }
    /// `committed`, `aborted`, `in progress`, or `None` when it is too old to know.
    fn transaction_status(&self, _id: i64) -> Result<Option<String>> {
        Err(ExprError::unsupported("txid_status()"))
    }
    fn client_address(&self) -> Option<String> {
        None
    }
    fn client_port(&self) -> Option<i32> {
        None
    }

    /// `current_setting`; `None`: no such parameter.
    fn setting(&self, _name: &str) -> Option<String> {
        None
    }
    /// `set_config`; answers the new value.
    fn set_setting(&self, name: &str, _value: Option<&str>, _is_local: bool) -> Result<String> {
        Err(ExprError::unsupported(format!("set_config of \"{name}\"")))
    }

    /// Sequences, by oid (the argument is a `regclass`).
    fn nextval(&self, _sequence: u32) -> Result<i64> {
        Err(ExprError::unsupported("nextval()"))
    }
    fn currval(&self, _sequence: u32) -> Result<i64> {
        Err(ExprError::unsupported("currval()"))
    }
    fn setval(&self, _sequence: u32, _value: i64, _is_called: bool) -> Result<i64> {
        Err(ExprError::unsupported("setval()"))
    }
    fn lastval(&self) -> Result<i64> {
        Err(ExprError::new("55000", "lastval is not yet defined in this session"))
    }
    /// `pg_get_serial_sequence(table, column)`: the qualified name.
    fn serial_sequence(&self, _table: &str, _column: &str) -> Result<Option<String>> {
        Ok(None)
    }
    /// `pg_sequence_last_value`.
    fn sequence_last_value(&self, _sequence: u32) -> Result<Option<i64>> {
        Ok(None)
    }

    /// The oid behind a possibly qualified and quoted name, as the input of `regclass` reads it.
    fn relation_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    /// As `regclass` prints: quoted, qualified if not visible. `None`: no such relation.
    fn relation_name(&self, _oid: u32) -> Option<String> {
        None
    }
    fn namespace_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    fn namespace_name(&self, _oid: u32) -> Option<String> {
        None
    }
    fn role_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    /// `pg_get_userbyid` and `regrole`.
    fn role_name(&self, _oid: u32) -> Option<String> {
        None
    }
    /// User-defined types (row types of tables); built-in ones are answered without asking.
    fn type_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    fn type_name(&self, _oid: u32) -> Option<String> {
        None
    }

    /// `pg_get_indexdef(oid, column, pretty)`; column 0 is the whole statement.
    fn index_definition(&self, _index: u32, _column: i32) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _constraint: u32) -> Option<String> {
        None
    }
    fn view_definition(&self, _view: u32) -> Option<String> {
        None
    }
    fn function_definition(&self, _function: u32) -> Option<String> {
        None
    }
    fn trigger_definition(&self, _trigger: u32) -> Option<String> {
        None
    }
    /// `obj_description(oid, catalog)`; the catalog is empty when it was not given.
    fn object_description(&self, _object: u32, _catalog: &str) -> Option<String> {
        None
    }
    fn shared_object_description(&self, _object: u32, _catalog: &str) -> Option<String> {
        None
    }
    fn column_description(&self, _relation: u32, _column: i32) -> Option<String> {
        None
    }
    /// `pg_table_is_visible` and its kin; `None`: no such object.
    fn is_visible(&self, _kind: ObjectKind, _oid: u32) -> Option<bool> {
        Some(true)
    }
    /// `has_*_privilege`. `user` is `None` for the current one.
    fn has_privilege(
        &self,
        _kind: ObjectKind,
        _user: Option<&str>,
        _object: &ObjectName<'_>,
        _privilege: &str,
    ) -> Result<bool> {
        Ok(true)
    }
    /// `pg_has_role`.
    fn has_role(
        &self,
        _user: Option<&str>,
        _role: &ObjectName<'_>,
        _privilege: &str,
    ) -> Result<bool> {
        Ok(true)
    }
    /// Bytes on disk; `None`: no such relation.
    fn relation_size(&self, _relation: u32, _which: RelationSize) -> Result<Option<i64>> {
        Ok(Some(0))
    }
    fn database_size(&self, _database: &ObjectName<'_>) -> Result<Option<i64>> {
        Ok(Some(0))
    }

    /// `pg_advisory_lock` and its kin. True if taken; blocks unless `attempt`.
    fn advisory_lock(
        &self,
        _key: AdvisoryKey,
        _shared: bool,
        _until_commit: bool,
        _attempt: bool,
    ) -> Result<bool> {
        Err(ExprError::unsupported("advisory locking"))
    }
    /// True if it was held.
    fn advisory_unlock(&self, _key: AdvisoryKey, _shared: bool) -> Result<bool> {
        Err(ExprError::unsupported("advisory locking"))
    }
    fn advisory_unlock_all(&self) -> Result<()> {
        Ok(())
    }
    fn cancel_backend(&self, _pid: i32, _terminate: bool) -> Result<bool> {
        Err(ExprError::unsupported("pg_cancel_backend()"))
    }
    /// `pg_blocking_pids`: the sessions that this one waits for.
    fn blocking_pids(&self, _pid: i32) -> Result<Vec<i32>> {
        Ok(Vec::new())
    }
    /// `pg_notify`.
    fn notify(&self, _channel: &str, _payload: &str) -> Result<()> {
        Err(ExprError::unsupported("pg_notify()"))
    }
    fn sleep(&self, duration: std::time::Duration) -> Result<()> {
        std::thread::sleep(duration);
        Ok(())
    }
    /// Functions of Shanghai itself; `None`: not here.
    fn other(&self, _name: &str, _args: &[Datum]) -> Option<Result<Datum>> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Table,
    Column,
    Sequence,
    Schema,
    Database,
    Function,
    Type,
    Language,
    Tablespace,
    Operator,
    OperatorClass,
    Collation,
    Conversion,
    TextSearch,
    Statistics,
}

/// As the privilege functions take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectName<'a> {
    Oid(u32),
    Name(&'a str),
    /// A column of a table, by name or number.
    Column {
        table: Option<&'a str>,
        table_oid: u32,
        column: Option<&'a str>,
        number: i16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationSize {
    /// `pg_relation_size`: the primary index.
    Main,
    /// `pg_table_size`.
    Table,
    /// `pg_indexes_size`.
    Indexes,
    /// `pg_total_relation_size`.
    Total,
}

/// One 64-bit key or two of 32 bits: two key spaces, as in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdvisoryKey {
    Big(i64),
    Pair(i32, i32),
}

/// No session at all: constants in DDL, unit tests.
#[derive(Debug, Default)]
pub struct NoSession;

impl SessionFacts for NoSession {}
