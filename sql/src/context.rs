//! What one execution of a statement works with.

use crate::error::{Notice, SqlResult};
use crate::outcome::Row;
use crate::server::Server;
use crate::session::limits::Limits;
use crate::session::{Deadline, SessionCore};
use crate::write::Unseen;
use catalog::Catalog;
use core_domain::{KvTransaction, Timestamp, WaitPolicy};
use datum::{Datum, TypeContext};
use expr::{EvalContext, OwnedContext, SessionFacts};
use planner::{CteId, RowLockWait};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Made once per execution; everything in it is cheap to clone. Executors share it as an `Arc`.
pub struct ExecContext {
    pub server: Arc<Server>,
    pub session: Arc<SessionCore>,
    /// The session's database.
    pub database: u32,
    /// The role it runs as, zero if the catalog has none of that name.
    pub role: u32,
    /// The search path, `$user` resolved.
    pub schemas: Arc<[String]>,
    /// The statement has been begun: reads see its snapshot.
    pub txn: Arc<dyn KvTransaction>,
    pub snapshot: Timestamp,
    /// The catalog the plan was made for.
    pub catalog: Arc<Catalog>,
    /// `now` is the transaction's start.
    pub types: Arc<TypeContext>,
    pub params: Arc<[Datum]>,
    /// Microseconds since 1970 UTC.
    pub statement_timestamp: i64,
    pub facts: Arc<dyn SessionFacts>,
    pub(crate) deadline: Arc<Deadline>,
    pub(crate) limits: Limits,
    pub lock_timeout: Option<Duration>,
    /// RETURNING rows of writing CTEs, for `RelNode::CteRef`.
    pub cte_rows: HashMap<CteId, Arc<Vec<Row>>>,
    /// `txn` again, in a statement whose WITH queries write.
    pub(crate) unseen: Option<Arc<Unseen>>,
}

impl ExecContext {
    /// For evaluating expressions on rows.
    pub fn eval(&self) -> EvalContext<'_> {
        EvalContext::new(&self.types, &*self.facts)
            .with_params(&self.params)
            .with_statement_timestamp(self.statement_timestamp)
    }

    /// The same, owned, for functions inside the relational engine.
    pub fn owned_eval(&self) -> OwnedContext {
        OwnedContext {
            types: self.types.clone(),
            params: self.params.clone(),
            subqueries: Arc::from([]),
            statement_timestamp: self.statement_timestamp,
            facts: self.facts.clone(),
        }
    }

    /// A copy that also knows the rows of a writing CTE.
    pub fn with_cte_rows(&self, id: CteId, rows: Vec<Row>) -> Self {
        let mut cte_rows = self.cte_rows.clone();
        cte_rows.insert(id, Arc::new(rows));
        Self { cte_rows, ..self.shallow_clone() }
    }

    /// A copy whose reads do not see what is written through it.
    pub(crate) fn with_unseen(&self, unseen: Arc<Unseen>) -> Self {
        Self { txn: unseen.clone(), unseen: Some(unseen), ..self.shallow_clone() }
    }

    /// A copy that works on a changed catalog.
    pub fn with_catalog(&self, catalog: Arc<Catalog>) -> Self {
        Self { catalog, ..self.shallow_clone() }
    }

    fn shallow_clone(&self) -> Self {
        Self {
            server: self.server.clone(),
            session: self.session.clone(),
            database: self.database,
            role: self.role,
            schemas: self.schemas.clone(),
            txn: self.txn.clone(),
            snapshot: self.snapshot,
            catalog: self.catalog.clone(),
            types: self.types.clone(),
            params: self.params.clone(),
            statement_timestamp: self.statement_timestamp,
            facts: self.facts.clone(),
            deadline: self.deadline.clone(),
            limits: self.limits,
            lock_timeout: self.lock_timeout,
            cte_rows: self.cte_rows.clone(),
            unseen: self.unseen.clone(),
        }
    }

    pub fn notice(&self, notice: Notice) {
        self.session.notice(notice);
    }

    /// How a writing statement waits for locks.
    pub fn wait(&self) -> WaitPolicy {
        WaitPolicy::Wait(self.lock_timeout)
    }

    pub fn wait_policy(&self, wait: RowLockWait) -> WaitPolicy {
        match wait {
            RowLockWait::Wait => self.wait(),
            RowLockWait::NoWait => WaitPolicy::NoWait,
            RowLockWait::SkipLocked => WaitPolicy::SkipLocked,
        }
    }

    /// # Errors
    /// 57014 if a cancel request has come or the time is over: long loops ask now and then.
    pub fn check_cancel(&self) -> SqlResult<()> {
        Ok(self.facts.check_cancel()?)
    }
}
