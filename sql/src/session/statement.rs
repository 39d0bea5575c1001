//! Running a plan: its transaction, its limits, its second chances.
//!
//! ```text
//! execute ─▶ current plan ─▶ transaction control, settings, cursors ...        (no retry)
//!                       └──▶ begin statement ─▶ run ─▶ commit if on its own    (again on a lost race,
//!                                                                              while nothing has left)
//! ```
//!
//! A statement on its own (no block around it) is a transaction: when it loses a race it is rolled
//! back and executed again from its start, with a fresh snapshot, as long as none of its rows has
//! left. So is the first statement of a block, with its whole transaction. Later in a block a lost
//! race is the client's to handle (40001).

use super::facts::Deadline;
use super::limits::timed_out;
use super::transaction::Block;
use super::{Session, now_micros};
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::{Outcome, Row, RowSource, RowStream, TagKind};
use crate::prepared::{ColumnDesc, Prepared, VersionedPlan};
use crate::settings::Effective;
use crate::{copy, ddl, explain, oltp, relational, write};
use async_trait::async_trait;
use catalog::Catalog;
use core_domain::WaitPolicy;
use datum::Datum;
use planner::{CopyDirection, CteId, Plan, TableLockMode, Tag, UtilityPlan, WritePlan};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often a statement on its own is executed again after a lost race.
const ATTEMPTS_MAX: u32 = 20;

/// Rows that a block's next statement must not disturb.
pub(super) type OpenStream = Weak<SharedStream>;

impl Session {
    /// Executes a planned statement. `params` are of the types in `prepared.param_types`.
    ///
    /// # Errors
    /// Whatever went wrong; the session has noted it.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
    ) -> SqlResult<Outcome> {
        self.core.clear_cancel();
        let had_failed = self.has_failed();
        let shown = self.shown_text.take();
        self.note_activity("active", Some(shown.as_ref().unwrap_or(&prepared.text)));
        let outcome = self.execute_prepared(prepared, params).await;
        let mut outcome = outcome.map_err(|error| self.explain_conflict(error));
        if outcome.is_err() && self.txn.block == Block::None && self.txn.kv.is_some() {
            self.abort().await;
        }
        if outcome.is_err() && !had_failed {
            Box::pin(self.give_back()).await;
        }
        if let (Err(error), Some(_)) = (&mut outcome, &shown) {
            // It would point into the template.
            error.position = None;
        }
        if let Err(error) = &mut outcome
            && prepared.offset > 0
            && let Some(position) = &mut error.position
        {
            *position += prepared.offset;
        }
        self.renew_effective();
        let outcome = self.noting(outcome);
        self.note_activity(self.idle_state(), None);
        outcome
    }

    async fn execute_prepared(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
    ) -> SqlResult<Outcome> {
        if prepared.is_empty() {
            return Ok(Outcome::Empty);
        }
        if self.has_failed() && !self.ends_failure(prepared) {
            return Err(failed_block());
        }
        self.refuse_if_shut_down()?;
        if self.core.advisory.is_in_use() {
            Box::pin(self.core.advisory.check()).await?;
        }
        if params.len() != prepared.param_types.len() {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but prepared statement requires {}",
                    params.len(),
                    prepared.param_types.len()
                ),
            ));
        }
        // COMMIT and its kin must work whatever the catalog says.
        let plan = match &prepared.plan().planned.plan {
            Plan::Txn(txn) => return Box::pin(self.control(txn)).await,
            _ => self.current_plan(prepared).await?,
        };
        self.execute_plan(&plan, prepared, params).await
    }

    pub(super) async fn execute_plan(
        &mut self,
        plan: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
    ) -> SqlResult<Outcome> {
        let columns = &prepared.columns;
        match &plan.planned.plan {
            Plan::Empty => Ok(Outcome::Empty),
            Plan::Txn(txn) => Box::pin(self.control(txn)).await,
            Plan::Session(command) => Box::pin(self.session_command(command, columns)).await,
            Plan::Prepare(prepare) => Box::pin(self.prepare_command(prepare)).await,
            Plan::Execute(execute) => Box::pin(self.execute_command(execute)).await,
            Plan::Deallocate(name) => self.deallocate(name.as_deref()),
            Plan::DeclareCursor(cursor) => {
                Box::pin(self.declare_cursor(cursor, plan, prepared)).await
            }
            Plan::Fetch(fetch) => self.fetch(fetch, columns),
            Plan::CloseCursor(name) => self.close_cursor(name.as_deref()),
            Plan::Listen(_) => Err(SqlError::unsupported("LISTEN")),
            Plan::Unlisten(_) => Ok(Outcome::Complete { tag: "UNLISTEN".to_owned() }),
            Plan::Notify { .. } => Err(SqlError::unsupported("NOTIFY")),
            Plan::Ranges(ranges) => Box::pin(self.arrange_ranges(ranges, plan.planned.tag)).await,
            Plan::Copy(copy) if matches!(copy.direction, CopyDirection::From(_)) => {
                Box::pin(self.begin_copy_in(plan, prepared)).await
            }
            Plan::Oltp(_)
            | Plan::Query(_)
            | Plan::Write(_)
            | Plan::WithWrites { .. }
            | Plan::Copy(_)
            | Plan::Utility(_)
            | Plan::Ddl(_)
            | Plan::Explain(_) => self.run(plan, prepared, params).await,
        }
    }

    /// Runs a statement that reads or writes, again if it may and must.
    async fn run(
        &mut self,
        plan: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
    ) -> SqlResult<Outcome> {
        let params: Arc<[Datum]> = params.into();
        let alone = self.txn.block == Block::None;
        let first = !alone && self.is_untouched();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let result = self.attempt(plan, prepared, &params, alone).await;
            match result {
                Err(error) if alone => {
                    self.abort().await;
                    if !error.retryable || attempt == ATTEMPTS_MAX {
                        return Err(error);
                    }
                    back_off(&error, attempt).await;
                }
                Err(error) if first && error.retryable && attempt < ATTEMPTS_MAX => {
                    self.begin_block_again().await;
                    back_off(&error, attempt).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(
        &mut self,
        plan: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        alone: bool,
    ) -> SqlResult<Outcome> {
        let columns = &prepared.columns;
        let plan = match &plan.planned.plan {
            Plan::Ddl(_) => Box::pin(self.plan_ddl(prepared)).await?,
            _ => self.hold_tables(plan, prepared).await?,
        };
        let ctx = self.begin_statement(&plan, params.clone()).await?;
        let core = self.core.clone();
        let limits = ctx.limits.reached(&core);
        // A statement that has used up its task's budget must not starve the clock that ends it.
        let limits = tokio::task::coop::unconstrained(limits);
        let outcome = if let Plan::Ddl(statement) = &plan.planned.plan {
            tokio::select! {
                biased;
                result = Box::pin(ddl::execute(self, statement, &plan.planned, &ctx)) => {
                    Ok(Outcome::Complete { tag: result? })
                }
                error = limits => Err(error),
            }
        } else {
            tokio::select! {
                biased;
                result = run_plan(&plan, columns, &ctx) => result,
                error = limits => Err(error),
            }
        };
        let mut outcome = outcome?;
        if let Some(at) = ctx.deadline.get() {
            // What never waited was not interrupted; the rows to come have the time that is left.
            let left = at.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Err(timed_out());
            }
            let rows = match &mut outcome {
                Outcome::Rows { rows, .. } => Some(rows),
                Outcome::CopyOut(copy) => Some(&mut copy.rows),
                Outcome::Complete { .. } | Outcome::CopyIn(_) | Outcome::Empty => None,
            };
            if let Some(rows) = rows
                && !rows.is_ready()
            {
                let tag = rows.tag_kind();
                let inner = std::mem::replace(rows, RowStream::ready(Vec::new()));
                let timed = Timed { inner, left, deadline: ctx.deadline.clone() };
                *rows = RowStream::pull(Box::new(timed)).with_tag_kind(tag);
            }
        }
        self.last_guarantee = Some(ctx.txn.guarantee());
        self.saw(ctx.snapshot);
        if !alone {
            self.keep_apart(&mut outcome);
            return Ok(outcome);
        }
        match &mut outcome {
            // Rows still to come: the stream keeps its transaction, which only reads.
            Outcome::Rows { rows, .. } if !rows.is_ready() && !plan.planned.plan.writes() => {
                self.release();
                return Ok(outcome);
            }
            Outcome::CopyOut(_) => {
                self.release();
                return Ok(outcome);
            }
            Outcome::Rows { rows, .. } => rows.read_ahead().await?,
            Outcome::Complete { .. } | Outcome::CopyIn(_) | Outcome::Empty => {}
        }
        self.commit().await?;
        Ok(outcome)
    }

    /// DDL is planned on the newest catalog, which nobody else can change from now on.
    async fn plan_ddl(&mut self, prepared: &Prepared) -> SqlResult<Arc<VersionedPlan>> {
        if self.txn.block == Block::None {
            self.start_transaction(now_micros());
        }
        if self.txn.as_of.is_some() {
            let tag = prepared.plan().planned.tag.0;
            let message = format!("cannot execute {tag} in a read-only transaction");
            return Err(SqlError::new("25006", message));
        }
        let kv = self.txn.open(&self.server).await?;
        self.core.txn_id.store(kv.id().0, Ordering::Relaxed);
        if self.txn.snapshot_catalog.is_none() {
            kv.begin_statement().await?;
        }
        let wait = WaitPolicy::Wait(self.effective.lock_timeout);
        let (core, limits) = (self.core.clone(), self.limits());
        let version = tokio::select! {
            biased;
            version = ddl::lock_catalog(&*kv, wait) => version?,
            error = limits.reached(&core) => return Err(error),
        };
        let catalog = ddl::newest(self, &*kv, version).await?;
        let Some(parsed) = &prepared.parsed else {
            return Err(SqlError::internal("DDL without a statement"));
        };
        let planned = self.bind_on(&catalog, parsed, &prepared.param_types)?;
        Ok(Arc::new(self.versioned(&catalog, planned)))
    }

    /// CREATE SCHEMA's elements: DDL with the new schema first in the search path.
    pub(crate) async fn execute_in_schema(
        &mut self,
        statement: &planner::Statement,
        schema: &str,
    ) -> SqlResult<()> {
        let catalog = self.catalog().await?;
        let mut schemas = vec![schema.to_owned()];
        schemas.extend(self.effective.schemas.iter().cloned());
        let before = self.effective.clone();
        let changed = Effective { schemas: schemas.into(), ..(*before).clone() };
        self.effective = Arc::new(changed);
        let result = self.execute_element(statement, &catalog).await;
        self.effective = before;
        result
    }

    async fn execute_element(
        &mut self,
        statement: &planner::Statement,
        catalog: &Arc<Catalog>,
    ) -> SqlResult<()> {
        let planned = self.bind_on(catalog, statement, &[])?;
        let plan = self.versioned(catalog, planned);
        let Plan::Ddl(element) = &plan.planned.plan else {
            return Err(SqlError::unsupported("this statement in CREATE SCHEMA"));
        };
        let ctx = self.begin_statement(&plan, Arc::from([])).await?;
        ddl::execute(self, element, &plan.planned, &ctx).await.map(|_| ())
    }

    /// In a block, rows that are still to come survive the block's next statement.
    fn keep_apart(&mut self, outcome: &mut Outcome) {
        let rows = match outcome {
            Outcome::Rows { rows, .. } => rows,
            Outcome::CopyOut(copy) => &mut copy.rows,
            Outcome::Complete { .. } | Outcome::CopyIn(_) | Outcome::Empty => return,
        };
        if rows.is_ready() {
            return;
        }
        let tag = rows.tag_kind();
        let inner = std::mem::replace(rows, RowStream::ready(Vec::new()));
        let shared = Arc::new(SharedStream {
            state: tokio::sync::Mutex::new(SharedState { stream: inner, failed: None }),
        });
        self.open_stream = Some(Arc::downgrade(&shared));
        *rows = RowStream::pull(Box::new(SharedSource(shared)))
            .with_tag_kind(tag)
            .noting_failure_in(self.txn.stream_failed.clone());
    }

    /// Reads what an unfinished stream of this block still has to give: the statement that comes
    /// moves the transaction's snapshot.
    pub(super) async fn drain_open_stream(&mut self) {
        let Some(shared) = self.open_stream.take().and_then(|weak| weak.upgrade()) else { return };
        let mut state = shared.state.lock().await;
        if let Err(error) = state.stream.read_ahead().await {
            state.stream = RowStream::ready(Vec::new());
            state.failed = Some(error);
        }
    }

    fn ends_failure(&self, prepared: &Prepared) -> bool {
        use planner::TxnPlan;
        match &prepared.plan().planned.plan {
            Plan::Txn(txn) => matches!(
                txn,
                TxnPlan::Commit { .. } | TxnPlan::Rollback { .. } | TxnPlan::RollbackTo(_)
            ),
            _ => false,
        }
    }

    pub(super) fn refuse_if_shut_down(&self) -> SqlResult<()> {
        match self.termination() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.txn.failed || self.txn.stream_failed.load(Ordering::Acquire)
    }

    /// A transaction block has failed.
    pub(super) fn note_failure(&mut self) {
        if self.txn.block == Block::Explicit && self.txn.savepoints.is_empty() {
            // Nothing of it will be asked for again. Dropped, it is rolled back in the background.
            self.txn.kv = None;
            self.txn.guards = None;
        }
        if self.txn.block != Block::None {
            self.txn.failed = true;
        }
    }

    /// An error of the wire's own happened: a statement that cannot be parsed, a bad Bind, a
    /// protocol violation.
    pub fn fail(&mut self) {
        self.note_failure();
    }

    pub(super) fn noting<T>(&mut self, result: SqlResult<T>) -> SqlResult<T> {
        if result.is_err() {
            self.note_failure();
        }
        result
    }

    pub(super) fn renew_effective(&mut self) {
        let settings = self.core.settings.lock();
        if !Arc::ptr_eq(settings.effective(), &self.effective) {
            self.effective = settings.effective().clone();
            self.txn.types = None;
            // Set within a transaction, it counts from then on.
            let timeout = self.effective.transaction_timeout;
            let open = self.txn.block != Block::None || self.txn.kv.is_some();
            let timeout = timeout.filter(|_| open);
            self.txn.deadline = match (timeout, self.txn.deadline) {
                (Some(_), Some(deadline)) => Some(deadline),
                (timeout, _) => timeout.map(|limit| tokio::time::Instant::now() + limit),
            };
        }
    }

    fn note_activity(&self, state: &'static str, query: Option<&Arc<str>>) {
        let now = now_micros();
        let mut activity = self.core.activity.lock();
        activity.state = state;
        activity.state_change = now;
        if let Some(query) = query {
            activity.query = query.clone();
            activity.query_start = now;
        }
        activity.transaction_start = self.txn.started_at;
    }

    fn idle_state(&self) -> &'static str {
        match (self.txn.block, self.has_failed()) {
            (Block::Explicit, true) => "idle in transaction (aborted)",
            (Block::Explicit, false) => "idle in transaction",
            (Block::None | Block::Implicit, _) => "idle",
        }
    }
}

pub(super) fn failed_block() -> SqlError {
    SqlError::new(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// Between one attempt and the next.
async fn back_off(error: &SqlError, attempt: u32) {
    tracing::debug!(%error, attempt, "statement executed again");
    if attempt > 2 {
        tokio::time::sleep(Duration::from_millis(1 << attempt.min(6))).await;
    }
}

/// Rows that must have come in time; a client's pauses between them do not count.
struct Timed {
    inner: RowStream,
    left: Duration,
    deadline: Arc<Deadline>,
}

#[async_trait]
impl RowSource for Timed {
    async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>> {
        if self.left.is_zero() {
            return Err(timed_out());
        }
        let began = tokio::time::Instant::now();
        self.deadline.put_off(began + self.left);
        let rows = tokio::time::timeout(self.left, self.inner.next(rows_max)).await;
        self.left = self.left.saturating_sub(began.elapsed());
        rows.unwrap_or_else(|_| Err(timed_out()))
    }
}

async fn run_plan(
    plan: &Arc<VersionedPlan>,
    columns: &Option<Arc<[ColumnDesc]>>,
    ctx: &Arc<ExecContext>,
) -> SqlResult<Outcome> {
    let planned = &plan.planned;
    let with_rows = |rows: RowStream| {
        let columns = columns.clone().unwrap_or_else(|| Arc::from([]));
        Outcome::Rows { columns, rows }
    };
    match &planned.plan {
        Plan::Explain(statement) => {
            let lines = Box::pin(explain::execute(statement, ctx)).await?;
            let rows = lines.into_iter().map(|line| vec![Datum::text(line)]).collect();
            Ok(with_rows(RowStream::ready_tagged(rows, "EXPLAIN")))
        }
        Plan::Copy(statement) => Box::pin(copy::begin_out(statement, ctx)).await,
        Plan::Utility(utility) => run_utility(utility, planned.tag, ctx),
        other => match run_rows(other, planned.tag, ctx).await? {
            Produced::Stream(rows) => Ok(with_rows(rows)),
            Produced::Written(written) => {
                let tag = planned.tag.render(written.count);
                Ok(match columns {
                    Some(_) => {
                        with_rows(RowStream::ready_tagged(written.rows, tag).keeping(written.kept))
                    }
                    None => Outcome::Complete { tag },
                })
            }
        },
    }
}

pub(crate) enum Produced {
    Stream(RowStream),
    Written(write::Written),
}

/// Runs what produces rows: queries and writes.
pub(crate) async fn run_rows(plan: &Plan, tag: Tag, ctx: &Arc<ExecContext>) -> SqlResult<Produced> {
    // A future is as large as its largest branch, and is copied on its way up: point reads keep
    // theirs small by boxing the others.
    match plan {
        Plan::Oltp(oltp) => oltp::execute(oltp, ctx).await.map(Produced::Stream),
        Plan::Query(query) => {
            Box::pin(relational::execute(&query.rel, ctx)).await.map(Produced::Stream)
        }
        Plan::Write(write) => Box::pin(write::execute(write, ctx)).await.map(Produced::Written),
        Plan::WithWrites { writes, body } => {
            Box::pin(run_with_writes(writes, body, tag, ctx)).await
        }
        _ => Err(SqlError::unsupported(format!("{} here", tag.0))),
    }
}

async fn run_with_writes(
    writes: &[(CteId, WritePlan)],
    body: &Plan,
    tag: Tag,
    ctx: &Arc<ExecContext>,
) -> SqlResult<Produced> {
    let unseen = Arc::new(write::Unseen::new(ctx.txn.clone()));
    let mut ctx = Arc::new(ctx.with_unseen(unseen.clone()));
    let mut kept = Vec::with_capacity(writes.len());
    for (id, write) in writes {
        let written = write::execute(write, &ctx).await?;
        kept.push(written.kept);
        ctx = Arc::new(ctx.with_cte_rows(*id, written.rows));
    }
    let mut produced = run_rows(body, tag, &ctx).await?;
    if let Produced::Stream(rows) = &mut produced {
        rows.read_ahead().await?;
    }
    unseen.take_effects().finish(&ctx).await?;
    unseen.show()?;
    Ok(produced)
}

/// What is honest to do for PostgreSQL's maintenance commands.
fn run_utility(plan: &UtilityPlan, tag: Tag, ctx: &ExecContext) -> SqlResult<Outcome> {
    let done = Ok(Outcome::Complete { tag: tag.0.to_owned() });
    match plan {
        // Nothing drops old versions yet; there are no statistics yet; the log is synced at every
        // commit; indexes have no bloat. Nothing is left to be done.
        UtilityPlan::Vacuum { .. }
        | UtilityPlan::Analyze { .. }
        | UtilityPlan::Checkpoint
        | UtilityPlan::Reindex
        | UtilityPlan::Cluster => done,
        // What every SELECT takes in PostgreSQL; here its snapshot is enough.
        UtilityPlan::LockTable { mode: TableLockMode::AccessShare, .. } => done,
        UtilityPlan::LockTable { .. } => {
            let _ = ctx;
            Err(SqlError::unsupported("LOCK TABLE"))
        }
    }
}

/// A stream that the session can read to its end when it must.
pub(super) struct SharedStream {
    state: tokio::sync::Mutex<SharedState>,
}

struct SharedState {
    stream: RowStream,
    failed: Option<SqlError>,
}

struct SharedSource(Arc<SharedStream>);

#[async_trait]
impl RowSource for SharedSource {
    async fn next(&mut self, rows_max: usize) -> SqlResult<Option<Vec<Row>>> {
        let mut state = self.0.state.lock().await;
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.stream.next(rows_max).await
    }
}

impl RowStream {
    pub(crate) fn tag_kind(&self) -> TagKind {
        self.tag.clone()
    }

    pub(crate) fn with_tag_kind(mut self, tag: TagKind) -> Self {
        self.tag = tag;
        self
    }
}
