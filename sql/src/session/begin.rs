//! Where a statement begins: its transaction, the tables it holds, its snapshot.
//!
//! ```text
//! plan ─▶ open transaction ─▶ share the tables ─▶ plan still current? ─▶ snapshot ─▶ run
//!                 ▲                                     │ no: plan again
//!                 └─────────────────────────────────────┘
//! ```
//!
//! In this order, since a schema change may come in at each step: a writer that has waited for one
//! must not follow the old schema, and what a change drops stays until those who were open before
//! it are gone.

use super::facts::{Deadline, Facts};
use super::limits::Limits;
use super::transaction::Block;
use super::{Session, now_micros};
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::prepared::{Prepared, VersionedPlan};
use crate::table_locks::Hold;
use catalog::{Catalog, TableDescriptor};
use core_domain::{IsolationLevel, KvTransaction};
use datum::{Datum, TypeContext};
use planner::{ConflictAction, CopyDirection, Plan, Planned, WriteOp, WritePlan};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Session {
    /// The plan that is current in the open transaction, which shares the tables that it writes and,
    /// in a block, those that it reads.
    ///
    /// # Errors
    /// 55P03 if a table stays locked; what has become wrong with the statement in the meantime.
    pub(super) async fn hold_tables(
        &mut self,
        plan: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
    ) -> SqlResult<Arc<VersionedPlan>> {
        let mut plan = plan.clone();
        loop {
            let owner = self.open_transaction(&plan).await?.id().0;
            let limits = self.limits();
            for table in &plan.shared_tables {
                let guards = self.txn.guards(&self.server, owner);
                guards.hold(*table, Hold::Write, &self.core, limits).await?;
            }
            if self.txn.is_explicit() || self.server.table_locks.any_alone() {
                for table in &plan.read_tables {
                    let guards = self.txn.guards(&self.server, owner);
                    guards.hold(*table, Hold::Read, &self.core, limits).await?;
                }
            }
            // Who changes the catalog is alone in that.
            if self.txn.catalog.is_some() {
                return Ok(plan);
            }
            let current = self.current_plan(prepared).await?;
            if current.made_for.catalog == plan.made_for.catalog {
                self.refuse_newer_tables(&current)?;
                return Ok(current);
            }
            plan = current;
        }
    }

    /// A snapshot that is kept does not see into what was filled after it: a new index would seem
    /// to lack its rows.
    fn refuse_newer_tables(&self, plan: &VersionedPlan) -> SqlResult<()> {
        let Some(then) = &self.txn.snapshot_catalog else { return Ok(()) };
        if self.txn.isolation == IsolationLevel::ReadCommitted
            || then.version() == plan.catalog.version()
        {
            return Ok(());
        }
        for used in &plan.planned.uses {
            let (Some(old), Some(new)) =
                (then.table(used.relation), plan.catalog.table(used.relation))
            else {
                continue;
            };
            let known = |index| old.indexes.iter().any(|i| i.id == index);
            if old.id != new.id || !new.indexes.iter().all(|index| known(index.id)) {
                let message = "could not serialize access due to a concurrent schema change";
                return Err(SqlError::new("40001", message).with_detail(format!(
                    "Table \"{}\" was changed after this transaction's snapshot.",
                    new.name
                )));
            }
        }
        Ok(())
    }

    /// Opens the transaction that `plan` runs in, if none is open and the plan may run in it.
    async fn open_transaction(
        &mut self,
        plan: &VersionedPlan,
    ) -> SqlResult<Arc<dyn KvTransaction>> {
        self.drain_open_stream().await;
        if self.txn.block == Block::None && self.txn.kv.is_none() {
            self.start_transaction(now_micros());
        }
        if let Some(text) = &plan.planned.as_of {
            Box::pin(self.read_past(text)).await?;
        }
        if self.txn.read_only && plan.planned.plan.writes() {
            return Err(SqlError::new(
                "25006",
                format!("cannot execute {} in a read-only transaction", plan.planned.tag.0),
            ));
        }
        let kv = self.txn.open(&self.server).await?;
        kv.limit_memory(self.effective.transaction_memory);
        self.core.txn_id.store(kv.id().0, Ordering::Relaxed);
        Ok(kv)
    }

    /// What ends a statement that begins now.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            statement: self.effective.statement_timeout.map(|limit| Instant::now() + limit),
            transaction: self.txn.deadline,
            lock: self.effective.lock_timeout,
        }
    }

    /// The key-value statement and what the executors need, once [`hold_tables`](Self::hold_tables)
    /// or, for DDL, the catalog's lock has settled the plan.
    pub(super) async fn begin_statement(
        &mut self,
        plan: &VersionedPlan,
        params: Arc<[Datum]>,
    ) -> SqlResult<Arc<ExecContext>> {
        let kv = self.open_transaction(plan).await?;
        let snapshot = kv.begin_statement().await?;
        if self.txn.as_of.is_some() {
            Box::pin(self.refuse_changed_since(&*kv, plan)).await?;
        }
        self.txn.snapshot_catalog.get_or_insert_with(|| plan.catalog.clone());
        let types = match &self.txn.types {
            Some(types) => types.clone(),
            None => {
                let types =
                    TypeContext { now: self.txn.started_at, ..self.effective.types.clone() };
                let types = Arc::new(types);
                self.txn.types = Some(types.clone());
                types
            }
        };
        let deadline = Arc::new(Deadline::after(self.effective.statement_timeout));
        let limits = Limits { statement: deadline.get(), ..self.limits() };
        let facts = Facts {
            server: self.server.clone(),
            core: self.core.clone(),
            catalog: plan.catalog.clone(),
            database: self.database.oid,
            schemas: self.effective.schemas.clone(),
            txn: kv.clone(),
            deadline: deadline.clone(),
            limits,
        };
        Ok(Arc::new(ExecContext {
            server: self.server.clone(),
            session: self.core.clone(),
            database: self.database.oid,
            role: self.role,
            schemas: self.effective.schemas.clone(),
            txn: kv,
            snapshot,
            catalog: plan.catalog.clone(),
            types,
            params,
            statement_timestamp: now_micros(),
            facts: Arc::new(facts),
            deadline,
            limits,
            lock_timeout: self.effective.lock_timeout,
            cte_rows: HashMap::new(),
            unseen: None,
        }))
    }
}

/// The tables that running `plan` writes, and those whose keys that looks up: parents of what is
/// written, and children of what is changed.
pub(super) fn shared_tables(plan: &Plan, catalog: &Catalog) -> Box<[u32]> {
    let mut shared = Vec::new();
    match plan {
        Plan::Write(write) => add_written(write, catalog, &mut shared),
        Plan::WithWrites { writes, body } => {
            writes.iter().for_each(|(_, write)| add_written(write, catalog, &mut shared));
            shared.extend(shared_tables(body, catalog));
        }
        Plan::Copy(copy) => {
            if let CopyDirection::From(from) = &copy.direction {
                add_with_parents(&from.table, &mut shared);
            }
        }
        Plan::Explain(explain) if explain.options.analyze => {
            return shared_tables(&explain.plan.plan, catalog);
        }
        // Who changes the schema has tables alone; the others write no rows.
        Plan::Ddl(_)
        | Plan::Explain(_)
        | Plan::Empty
        | Plan::Oltp(_)
        | Plan::Query(_)
        | Plan::Txn(_)
        | Plan::Session(_)
        | Plan::Utility(_)
        | Plan::Ranges(_)
        | Plan::Prepare(_)
        | Plan::Execute(_)
        | Plan::Deallocate(_)
        | Plan::DeclareCursor(_)
        | Plan::Fetch(_)
        | Plan::CloseCursor(_)
        | Plan::Listen(_)
        | Plan::Unlisten(_)
        | Plan::Notify { .. } => {}
    }
    shared.sort_unstable();
    shared.dedup();
    shared.into()
}

/// The tables that running `planned` reads, those left out that it writes.
pub(super) fn read_tables(planned: &Planned, written: &[u32], catalog: &Catalog) -> Box<[u32]> {
    if matches!(planned.plan, Plan::Ddl(_)) {
        return Box::default();
    }
    let used = planned.uses.iter().map(|used| used.relation);
    used.filter(|oid| catalog.table(*oid).is_some() && !written.contains(oid)).collect()
}

fn add_written(write: &WritePlan, catalog: &Catalog, shared: &mut Vec<u32>) {
    let changes_rows = match &write.op {
        WriteOp::Insert(insert) => {
            let conflict = insert.on_conflict.as_ref();
            conflict.is_some_and(|c| matches!(c.action, ConflictAction::Update { .. }))
        }
        WriteOp::Update(_) | WriteOp::Delete(_) => true,
    };
    match changes_rows {
        true => add_with_children(&write.table, catalog, shared),
        false => add_with_parents(&write.table, shared),
    }
}

fn add_with_parents(table: &TableDescriptor, shared: &mut Vec<u32>) {
    shared.push(table.oid);
    shared.extend(table.foreign_keys().map(|(_, key)| key.referenced_table));
}

fn add_with_children(table: &TableDescriptor, catalog: &Catalog, shared: &mut Vec<u32>) {
    add_with_parents(table, shared);
    for (holder, ..) in catalog.referenced_by(table.oid) {
        if !shared.contains(&holder.oid) {
            add_with_children(holder, catalog, shared);
        }
    }
}
