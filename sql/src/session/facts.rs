//! What SQL functions may ask of the session: current_user, settings, sequences, names of objects.

use super::advisory::Wanted;
use super::core::SessionCore;
use super::limits::{Limits, cancelled, timed_out, transaction_timed_out};
use crate::error::SqlError;
use crate::lock_view::Locks;
use crate::sequence;
use crate::server::Server;
use catalog::{Catalog, CommentKey, deparse};
use core_domain::{KvTransaction, TxnId, TxnStatus, WaitPolicy};
use expr::session_facts::{AdvisoryKey, ObjectKind, ObjectName, RelationSize};
use expr::{ExprError, SessionFacts};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Lives as long as one execution.
pub(crate) struct Facts {
    pub server: Arc<Server>,
    pub core: Arc<SessionCore>,
    pub catalog: Arc<Catalog>,
    pub database: u32,
    pub schemas: Arc<[String]>,
    pub txn: Arc<dyn KvTransaction>,
    pub deadline: Arc<Deadline>,
    pub limits: Limits,
}

/// When `statement_timeout` ends a statement. A client's pauses between the rows of one put it off.
pub(crate) struct Deadline(Mutex<Option<Instant>>);

impl Deadline {
    pub fn after(timeout: Option<Duration>) -> Self {
        Self(Mutex::new(timeout.map(|timeout| Instant::now() + timeout)))
    }

    pub fn get(&self) -> Option<Instant> {
        *self.0.lock()
    }

    pub fn put_off(&self, until: Instant) {
        *self.0.lock() = Some(until);
    }
}

impl From<SqlError> for ExprError {
    fn from(error: SqlError) -> Self {
        let mut own = ExprError::new(error.sqlstate.clone(), error.message.clone());
        own.detail.clone_from(&error.detail);
        own.hint.clone_from(&error.hint);
        own
    }
}

/// Runs a future to its end on this worker thread, which the runtime replaces meanwhile.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

impl Facts {
    fn names(&self, text: &str) -> Option<(Option<String>, String)> {
        let mut parts = crate::settings::identifiers(text, '.');
        let name = parts.pop()?;
        Some((parts.pop(), name))
    }

    /// Returns when the statement is to end, and says why.
    async fn interrupted(&self) -> SqlError {
        let limits = Limits { statement: self.deadline.get(), ..self.limits };
        limits.reached(&self.core).await
    }

    /// How this session spells names of relations.
    fn spelling(&self) -> deparse::Names<'_> {
        deparse::Names { database: self.database, search_path: &self.schemas }
    }
}

impl SessionFacts for Facts {
    fn current_user(&self) -> String {
        self.core.current_user().to_string()
    }

    fn session_user(&self) -> String {
        self.core.user.to_string()
    }

    fn current_database(&self) -> String {
        self.core.database.clone()
    }

    fn current_schemas(&self, include_implicit: bool) -> Vec<String> {
        let existing = self
            .schemas
            .iter()
            .filter(|name| self.catalog.schema_oid(self.database, name).is_some());
        let mut names: Vec<String> = existing.cloned().collect();
        if include_implicit && !names.iter().any(|n| n == "pg_catalog") {
            names.insert(0, "pg_catalog".to_owned());
        }
        names
    }

    fn version(&self) -> String {
        crate::settings::registry::VERSION_TEXT.to_owned()
    }

    fn backend_pid(&self) -> i32 {
        self.core.pid
    }

    fn postmaster_start_time(&self) -> i64 {
        self.server.started_at
    }

    fn transaction_id(&self) -> expr::Result<i64> {
        Ok(self.txn.id().0 as i64)
    }

    fn transaction_id_if_assigned(&self) -> Option<i64> {
        self.txn.has_writes().then(|| self.txn.id().0 as i64)
    }

    fn transaction_status(&self, id: i64) -> expr::Result<Option<String>> {
        if id as u64 == self.txn.id().0 {
            return Ok(Some("in progress".to_owned()));
        }
        let status = block_on(self.server.kv.txn_status(TxnId(id as u64)));
        let word = match status.map_err(SqlError::from)? {
            TxnStatus::InProgress => Some("in progress"),
            TxnStatus::Committed(_) => Some("committed"),
            TxnStatus::RolledBack => Some("aborted"),
            TxnStatus::Unknown => None,
        };
        Ok(word.map(str::to_owned))
    }

    fn client_address(&self) -> Option<String> {
        self.core.peer.map(|peer| peer.ip().to_string())
    }

    fn client_port(&self) -> Option<i32> {
        self.core.peer.map(|peer| i32::from(peer.port()))
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.core.settings.lock().show(name).ok()
    }

    fn set_setting(&self, name: &str, value: Option<&str>, is_local: bool) -> expr::Result<String> {
        if crate::settings::is_causal_token(name) {
            return Err(ExprError::unsupported("set_config of \"causal_token\" (use SET)"));
        }
        match value {
            Some(value) => self.core.set(name, value, is_local)?,
            None => {
                let mut settings = self.core.settings.lock();
                let in_transaction =
                    self.core.in_transaction.load(std::sync::atomic::Ordering::Acquire);
                settings.reset(name, is_local, is_local || in_transaction)?;
            }
        }
        Ok(self.core.settings.lock().show(name)?)
    }

    fn nextval(&self, sequence: u32) -> expr::Result<i64> {
        if self.txn.options().read_only {
            return Err(ExprError::new(
                "25006",
                "cannot execute nextval() in a read-only transaction",
            ));
        }
        let descriptor = sequence::expect(&self.catalog, sequence)?;
        let value = match self.server.sequences.take(descriptor) {
            Some(value) => value,
            None => block_on(self.server.sequences.next(&self.txn, descriptor))?,
        };
        let mut memory = self.core.sequences.lock();
        memory.current.insert(sequence, value);
        memory.last = Some(sequence);
        Ok(value)
    }

    fn currval(&self, sequence: u32) -> expr::Result<i64> {
        let descriptor = sequence::expect(&self.catalog, sequence)?;
        self.core.sequences.lock().current.get(&sequence).copied().ok_or_else(|| {
            ExprError::new(
                "55000",
                format!(
                    "currval of sequence \"{}\" is not yet defined in this session",
                    descriptor.name
                ),
            )
        })
    }

    fn setval(&self, sequence: u32, value: i64, is_called: bool) -> expr::Result<i64> {
        let descriptor = sequence::expect(&self.catalog, sequence)?;
        block_on(self.server.sequences.set(&self.txn, descriptor, value, is_called))?;
        if is_called {
            self.core.sequences.lock().current.insert(sequence, value);
        }
        Ok(value)
    }

    fn lastval(&self) -> expr::Result<i64> {
        let memory = self.core.sequences.lock();
        memory
            .last
            .and_then(|last| memory.current.get(&last).copied())
            .ok_or_else(|| ExprError::new("55000", "lastval is not yet defined in this session"))
    }

    fn serial_sequence(&self, table: &str, column: &str) -> expr::Result<Option<String>> {
        let no_table = || ExprError::new("42P01", format!("relation \"{table}\" does not exist"));
        let oid = self.relation_oid(table).ok_or_else(no_table)?;
        let table = self.catalog.table(oid).ok_or_else(no_table)?;
        let Some((_, found)) = table.column_named(column) else {
            return Err(ExprError::new(
                "42703",
                format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
            ));
        };
        let mut owned = self.catalog.sequences_owned_by(oid);
        let sequence = owned.find(|s| s.owned_by.is_some_and(|(_, c)| c == found.id));
        Ok(sequence.map(|s| deparse::qualified(&self.catalog, s.schema, &s.name)))
    }

    fn sequence_last_value(&self, sequence: u32) -> expr::Result<Option<i64>> {
        let descriptor = sequence::expect(&self.catalog, sequence)?;
        Ok(block_on(self.server.sequences.last_value(&self.txn, descriptor))?)
    }

    fn relation_oid(&self, name: &str) -> Option<u32> {
        let (schema, name) = self.names(name)?;
        let found = self.catalog.resolve(self.database, &self.schemas, schema.as_deref(), &name)?;
        Some(found.oid())
    }

    fn relation_name(&self, oid: u32) -> Option<String> {
        self.spelling().relation(&self.catalog, oid)
    }

    fn namespace_oid(&self, name: &str) -> Option<u32> {
        let (_, name) = self.names(name)?;
        self.catalog.schema_oid(self.database, &name)
    }

    fn namespace_name(&self, oid: u32) -> Option<String> {
        self.catalog.schema_name(oid).map(str::to_owned)
    }

    fn role_oid(&self, name: &str) -> Option<u32> {
        let (_, name) = self.names(name)?;
        self.catalog.role_named(&name).map(|role| role.oid)
    }

    fn role_name(&self, oid: u32) -> Option<String> {
        self.catalog.role(oid).map(|role| role.name.clone())
    }

    fn index_definition(&self, index: u32, column: i32) -> Option<String> {
        match column {
            0 => deparse::index_definition(&self.catalog, index),
            n => deparse::index_column_definition(&self.catalog, index, usize::try_from(n).ok()?),
        }
    }

    fn constraint_definition(&self, constraint: u32) -> Option<String> {
        deparse::constraint_definition(&self.catalog, self.spelling(), constraint, false)
    }

    fn view_definition(&self, view: u32) -> Option<String> {
        deparse::view_definition(&self.catalog, view)
    }

    fn object_description(&self, object: u32, catalog: &str) -> Option<String> {
        let class = match catalog {
            "" => None,
            name => Some(self.relation_oid(&format!("pg_catalog.{name}"))?),
        };
        let found = self.catalog.comments().find(|(key, _)| {
            key.object == object && key.sub == 0 && class.is_none_or(|class| class == key.class)
        });
        found.map(|(_, text)| text.to_owned())
    }

    fn shared_object_description(&self, object: u32, catalog: &str) -> Option<String> {
        self.object_description(object, catalog)
    }

    fn column_description(&self, relation: u32, column: i32) -> Option<String> {
        const PG_CLASS: u32 = 1259;
        let key = CommentKey { class: PG_CLASS, object: relation, sub: column };
        self.catalog.comment(key).map(str::to_owned)
    }

    fn is_visible(&self, kind: ObjectKind, oid: u32) -> Option<bool> {
        match kind {
            ObjectKind::Table | ObjectKind::Sequence => {
                self.catalog.relation_by_oid(oid)?;
                Some(self.catalog.is_visible(self.database, &self.schemas, oid))
            }
            ObjectKind::Column
            | ObjectKind::Schema
            | ObjectKind::Database
            | ObjectKind::Function
            | ObjectKind::Type
            | ObjectKind::Language
            | ObjectKind::Tablespace
            | ObjectKind::Operator
            | ObjectKind::OperatorClass
            | ObjectKind::Collation
            | ObjectKind::Conversion
            | ObjectKind::TextSearch
            | ObjectKind::Statistics => Some(true),
        }
    }

    fn relation_size(&self, relation: u32, _which: RelationSize) -> expr::Result<Option<i64>> {
        // Bytes per table are not counted yet; zero is what an empty table would say.
        Ok(self.catalog.relation_by_oid(relation).map(|_| 0))
    }

    fn database_size(&self, database: &ObjectName<'_>) -> expr::Result<Option<i64>> {
        let known = match database {
            ObjectName::Oid(oid) => self.catalog.database(*oid).is_some(),
            ObjectName::Name(name) => self.catalog.database_named(name).is_some(),
            ObjectName::Column { .. } => false,
        };
        Ok(known.then_some(0))
    }

    fn advisory_lock(
        &self,
        key: AdvisoryKey,
        shared: bool,
        until_commit: bool,
        attempt: bool,
    ) -> expr::Result<bool> {
        let wanted = Wanted { key, shared };
        let wait = match attempt {
            true => WaitPolicy::SkipLocked,
            false => WaitPolicy::Wait(self.limits.lock),
        };
        let (advisory, kv) = (&self.core.advisory, &*self.server.kv);
        let taken = block_on(async {
            let result = tokio::select! {
                biased;
                taken = advisory.lock(kv, self.database, wanted, until_commit, wait) => {
                    taken.map_err(SqlError::from)
                }
                error = self.interrupted() => Err(error),
            };
            if result.is_err() {
                advisory.tidy(self.database, wanted).await;
            }
            result
        });
        Ok(taken?)
    }

    fn advisory_unlock(&self, key: AdvisoryKey, shared: bool) -> expr::Result<bool> {
        let wanted = Wanted { key, shared };
        let unlocked = block_on(self.core.advisory.unlock(self.database, wanted));
        let unlocked = unlocked.map_err(SqlError::from)?;
        if !unlocked {
            let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
            let text = format!("you don't own a lock of type {mode}");
            self.core.notice(SqlError::warning("01000", text));
        }
        Ok(unlocked)
    }

    fn advisory_unlock_all(&self) -> expr::Result<()> {
        Ok(block_on(self.core.advisory.unlock_all()).map_err(SqlError::from)?)
    }

    fn cancel_backend(&self, pid: i32, terminate: bool) -> expr::Result<bool> {
        let found = self.server.cancel_backend(pid, terminate);
        if !found {
            let text = format!("PID {pid} is not a PostgreSQL backend process");
            self.core.notice(SqlError::warning("01000", text));
        }
        Ok(found)
    }

    fn blocking_pids(&self, pid: i32) -> expr::Result<Vec<i32>> {
        Ok(block_on(Locks::gather(&self.server))?.blocking(pid))
    }

    fn notify(&self, _channel: &str, _payload: &str) -> expr::Result<()> {
        Err(ExprError::unsupported("NOTIFY"))
    }

    fn sleep(&self, duration: Duration) -> expr::Result<()> {
        block_on(async {
            tokio::select! {
                () = tokio::time::sleep(duration) => Ok(()),
                error = self.interrupted() => Err(error.into()),
            }
        })
    }

    fn check_cancel(&self) -> expr::Result<()> {
        if self.core.is_cancelled() {
            return Err(cancelled(&self.core).into());
        }
        let now = Instant::now();
        if self.deadline.get().is_some_and(|at| now >= at) {
            return Err(timed_out().into());
        }
        if self.limits.transaction.is_some_and(|at| now >= at) {
            return Err(transaction_timed_out().into());
        }
        Ok(())
    }
}
