//! Schema changes as transactions.
//!
//! ```text
//! lock /system/catalog/version      DDL is serialised, and planned on the newest catalog (session)
//! hold the tables alone             in this process: writers use the descriptor they planned with
//! change.rs     plan ─▶ CatalogChange ─▶ new catalog, key writes, work to do
//! data.rs       fill indexes, copy rewritten tables, check constraints: in the same transaction
//! role.rs       roles: passwords as SCRAM verifiers
//! at commit     the new catalog becomes the process's; dropped data is erased when nobody reads by
//!               the old one any more
//! ```
//!
//! What is not here yet (protocol.md, rule 22): leases that let a schema step wait for writers on
//! other nodes, and online steps outside a transaction block.

mod change;
mod data;
mod role;

use crate::catalog_cache;
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::server::Server;
use crate::session::Session;
use crate::session::statement::{Produced, run_rows};
use crate::session::transaction::{AtCommit, Block};
use crate::table_code::TableCode;
use crate::write::{Effects, Rules, Writer};
use catalog::keys::{SequenceState, sequence_key};
use catalog::{CatalogUpdate, persistence};
use core_domain::{Key, KvTransaction, LockMode, LockedValue, ReadAt, WaitPolicy};
use planner::{DdlPlan, Planned};
use std::sync::Arc;

/// Makes this transaction the only one that changes the catalog; answers the catalog's version.
pub(crate) async fn lock_catalog(txn: &dyn KvTransaction, wait: WaitPolicy) -> SqlResult<u64> {
    let key = persistence::version_key();
    let locked = txn.lock(std::slice::from_ref(&key), LockMode::Exclusive, wait).await?;
    match locked.first() {
        Some(LockedValue::Locked { value: Some(value), .. }) => {
            Ok(persistence::decode_version(value)?)
        }
        Some(LockedValue::Locked { value: None, .. } | LockedValue::Skipped) | None => {
            Err(SqlError::internal("the catalog has no version"))
        }
    }
}

/// Executes a plan that was made on the newest catalog, which is locked; answers the tag.
pub(crate) async fn execute(
    session: &mut Session,
    plan: &DdlPlan,
    planned: &Planned,
    ctx: &Arc<ExecContext>,
) -> SqlResult<String> {
    refuse_in_block(session, plan)?;
    for (table, hold) in change::tables_of(plan, &ctx.catalog) {
        let owner = ctx.txn.id().0;
        let server = ctx.server.clone();
        let guards = session.txn.guards(&server, owner);
        guards.hold(table, hold, &ctx.session, ctx.limits).await?;
    }
    let owner = match ctx.role {
        0 => catalog::bootstrap::BOOTSTRAP_ROLE,
        role => role,
    };
    let mut change = ctx.catalog.change(ctx.database, owner, &ctx.schemas);
    let more = change::apply(plan, &mut change, ctx)?;
    let update = change.finish();
    let changed = update.catalog.clone();
    let work = carry_out(session, update, &more, ctx).await?;
    session.txn.at_commit.append(work);
    session.txn.catalog = Some(changed.clone());
    match plan {
        DdlPlan::CreateTableAs { query, with_data, .. } => {
            let Some(table) = more.created_table else { return Ok(planned.tag.render(0)) };
            let rows = match with_data {
                true => fill_table(table, query, &changed, ctx).await?,
                false => 0,
            };
            Ok(format!("SELECT {rows}"))
        }
        DdlPlan::CreateSchema { name, elements, .. } => {
            for element in elements {
                Box::pin(session.execute_in_schema(element, name)).await?;
            }
            Ok(planned.tag.0.to_owned())
        }
        _ => Ok(planned.tag.0.to_owned()),
    }
}

fn refuse_in_block(session: &Session, plan: &DdlPlan) -> SqlResult<()> {
    let what = match plan {
        DdlPlan::CreateDatabase { .. } => "CREATE DATABASE",
        DdlPlan::DropDatabase { .. } => "DROP DATABASE",
        DdlPlan::CreateIndex { concurrently: true, .. } => "CREATE INDEX CONCURRENTLY",
        _ => return Ok(()),
    };
    if session.txn.block == Block::None {
        return Ok(());
    }
    Err(SqlError::new("25001", format!("{what} cannot run inside a transaction block")))
}

/// Writes the new descriptors and does the work on data.
async fn carry_out(
    session: &mut Session,
    update: CatalogUpdate,
    more: &change::More,
    ctx: &Arc<ExecContext>,
) -> SqlResult<AtCommit> {
    for notice in &update.notices {
        let mut told = match notice.sqlstate {
            "00000" => SqlError::notice(&notice.message),
            state => SqlError::warning(state, &notice.message),
        };
        told.severity = crate::error::Severity::Notice;
        told.detail.clone_from(&notice.detail);
        ctx.notice(told);
    }
    for (key, value) in update.writes {
        match value {
            Some(value) => ctx.txn.put(key, value)?,
            None => ctx.txn.delete(key)?,
        }
    }
    let old = ctx.catalog.clone();
    let new = update.catalog.clone();
    // Everything below sees the new catalog.
    let ctx = Arc::new(ctx.with_catalog(new.clone()));
    for oid in &update.new_sequences {
        if let Some(sequence) = new.sequence(*oid) {
            let state = SequenceState::initial(sequence);
            ctx.txn.put(sequence_key(*oid), state.encode())?;
        }
    }
    let mut changed_sequences = more.altered_sequences.clone();
    for oid in &update.restarted_sequences {
        let Some(sequence) = new.sequence(*oid) else { continue };
        write_sequence(&ctx, *oid, Some(SequenceState::initial(sequence))).await?;
        changed_sequences.push(*oid);
    }
    for (oid, state) in &more.sequence_values {
        write_sequence(&ctx, *oid, Some(*state)).await?;
        changed_sequences.push(*oid);
    }
    for oid in &update.dropped_sequences {
        write_sequence(&ctx, *oid, None).await?;
        changed_sequences.push(*oid);
    }
    for rewrite in &update.rewrites {
        data::rewrite(rewrite, &old, &more.conversions, &ctx).await?;
    }
    for (table, index) in &update.new_indexes {
        data::fill_index(*table, *index, &ctx).await?;
    }
    for validation in &update.validations {
        data::validate(validation, &ctx).await?;
    }
    let _ = session;
    Ok(AtCommit {
        dropped_spans: update.dropped_spans,
        new_groups: update.new_groups,
        changed_sequences,
    })
}

/// Sets or removes a sequence's stored value, after whoever takes a block from it just now.
async fn write_sequence(
    ctx: &ExecContext,
    oid: u32,
    state: Option<SequenceState>,
) -> SqlResult<()> {
    let key = sequence_key(oid);
    ctx.txn.lock(std::slice::from_ref(&key), LockMode::Exclusive, ctx.wait()).await?;
    match state {
        Some(state) => ctx.txn.put(key, state.encode())?,
        None => ctx.txn.delete(key)?,
    }
    Ok(())
}

/// CREATE TABLE AS: the query's rows into the new table.
async fn fill_table(
    table: u32,
    query: &Planned,
    catalog: &Arc<catalog::Catalog>,
    ctx: &Arc<ExecContext>,
) -> SqlResult<u64> {
    let rows = match run_rows(&query.plan, query.tag, ctx).await? {
        Produced::Stream(mut stream) => stream.collect().await?,
        Produced::Written(written) => written.rows,
    };
    let ctx = Arc::new(ctx.with_catalog(catalog.clone()));
    let code = code_of(table, &ctx)?;
    let writer = Writer::new(&ctx, code);
    let rules = Rules { checks: &[], generated: &[] };
    let mut effects = Effects::default();
    let count = rows.len() as u64;
    let mut rows = rows.into_iter();
    loop {
        let chunk: Vec<_> = rows.by_ref().take(1000).collect();
        if chunk.is_empty() {
            return Ok(count);
        }
        ctx.check_cancel()?;
        writer.insert(chunk, &rules, &mut effects).await?;
    }
}

fn code_of(table: u32, ctx: &ExecContext) -> SqlResult<Arc<TableCode>> {
    let table = ctx.catalog.table(table).ok_or_else(|| {
        SqlError::internal(format!("table {table} is not in its own new catalog"))
    })?;
    ctx.server.codes.get(table, &ctx.catalog)
}

/// What a committed change leaves to do; failures leave garbage, never damage.
///
/// Erasing shows to readers of every timestamp, so it waits for everybody who may still read by the
/// old catalog. Those of other nodes are not known here: where there are other nodes, dropped data
/// stay until there is garbage collection.
pub(crate) async fn finish(server: Arc<Server>, at_commit: AtCommit) {
    for group in at_commit.new_groups {
        if let Err(error) = server.kv.split_at(&Key::group_start(group)).await {
            tracing::warn!(%error, group, "a table group has no range of its own yet");
        }
    }
    if at_commit.dropped_spans.is_empty() || server.config.cluster_view.nodes().len() > 1 {
        return;
    }
    server.others_ended().await;
    for span in at_commit.dropped_spans {
        if let Err(error) = server.kv.erase(&span).await {
            tracing::warn!(%error, start = %span.start, "dropped data is still there");
        }
    }
}

/// The newest catalog, once its lock is held.
pub(crate) async fn newest(
    session: &Session,
    txn: &dyn KvTransaction,
    version: u64,
) -> SqlResult<Arc<catalog::Catalog>> {
    if let Some(changed) = &session.txn.catalog {
        return Ok(changed.clone());
    }
    let known = session.server.catalog.current().await?;
    if known.version() == version {
        return Ok(known);
    }
    let loaded = catalog_cache::load(txn, ReadAt::Latest).await?;
    let loaded = loaded.ok_or_else(|| SqlError::internal("the catalog is gone"))?;
    let loaded = Arc::new(loaded);
    session.server.catalog.install(loaded.clone());
    Ok(loaded)
}
