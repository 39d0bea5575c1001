//! What a schema change does to rows: fill indexes, copy tables, check constraints.
//!
//! All of it reads the newest rows, the transaction's own included: the table is held alone.

use super::code_of;
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::oltp::access::Cursor;
use crate::outcome::Row;
use crate::table_code::TableCode;
use crate::write::{Effects, Writer, violation};
use catalog::change::Validation;
use catalog::{Catalog, ConstraintKind, Rewrite};
use core_domain::{Key, ReadAt};
use datum::Datum;
use expr::Expr;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Puts every row of the table into a new index.
pub(super) async fn fill_index(table: u32, index: u32, ctx: &Arc<ExecContext>) -> SqlResult<()> {
    let code = code_of(table, ctx)?;
    let all: Vec<usize> = (0..code.width()).collect();
    let mut cursor = Cursor::by_key_prefix(&code, &[], ReadAt::Latest)?;
    while let Some(page) = cursor.next(ctx, &all, usize::MAX).await? {
        ctx.check_cancel()?;
        let rows: Vec<(Key, Row)> = page.into_iter().map(|found| (found.key, found.row)).collect();
        add_entries(&code, Some(index), &rows, ctx).await?;
    }
    Ok(())
}

/// Writes the entries of rows into one index, or into all.
async fn add_entries(
    code: &TableCode,
    only: Option<u32>,
    rows: &[(Key, Row)],
    ctx: &Arc<ExecContext>,
) -> SqlResult<()> {
    for index in code.indexes.iter().filter(|i| only.is_none_or(|only| only == i.index.id)) {
        let mut entries = Vec::with_capacity(rows.len());
        let eval = ctx.eval();
        for (key, row) in rows {
            let included = match &index.predicate {
                Some(predicate) => matches!(predicate.eval(row, &eval)?, Datum::Bool(true)),
                None => true,
            };
            if included {
                entries.push((index.keys.entry(row, key)?, row));
            }
        }
        let exclusive: Vec<_> = entries.iter().filter(|(entry, _)| entry.exclusive).collect();
        if !exclusive.is_empty() {
            let keys: Vec<Key> = exclusive.iter().map(|(entry, _)| entry.key.clone()).collect();
            let there = ctx.txn.multi_get(&keys, ReadAt::Latest).await?;
            let mut seen = HashSet::with_capacity(keys.len());
            for ((entry, row), there) in exclusive.iter().zip(there) {
                if there.is_some() || !seen.insert(&entry.key) {
                    let types = &ctx.types;
                    return Err(violation::duplicate_in_new_index(code, index, row, types));
                }
            }
        }
        for (entry, _) in entries {
            ctx.txn.put(entry.key, entry.value)?;
        }
    }
    Ok(ctx.txn.relieve().await?)
}

/// Copies a table's rows to its new storage, converted to its new columns.
pub(super) async fn rewrite(
    rewrite: &Rewrite,
    old: &Arc<Catalog>,
    conversions: &HashMap<u32, Vec<(String, Expr)>>,
    ctx: &Arc<ExecContext>,
) -> SqlResult<()> {
    let code = code_of(rewrite.table, ctx)?;
    let old_table = old.table(rewrite.table).ok_or_else(|| {
        SqlError::internal(format!("table {} was not there before", rewrite.table))
    })?;
    // Not through the cache: it holds one version per table, the new one.
    let from = Arc::new(TableCode::new(old_table, old)?);
    let parts = code.parts(&ctx.catalog)?;
    // Per new column: where its value comes from.
    let sources: Vec<Option<usize>> =
        code.table.columns.iter().map(|column| old_table.ordinal(column.id)).collect();
    let mut converted: HashMap<usize, &Expr> = HashMap::new();
    for (name, expr) in conversions.get(&rewrite.table).into_iter().flatten() {
        if let Some((ordinal, _)) = code.table.column_named(name) {
            converted.insert(ordinal, expr);
        }
    }
    let all: Vec<usize> = (0..from.width()).collect();
    let mut cursor = Cursor::by_key_prefix(&from, &[], ReadAt::Latest)?;
    while let Some(page) = cursor.next(ctx, &all, usize::MAX).await? {
        ctx.check_cancel()?;
        let hidden = match code.row_keys.is_hidden() {
            true => ctx.server.numbers.row_ids(page.len()).await?,
            false => 0..0,
        };
        let mut hidden = hidden.into_iter();
        let mut rows = Vec::with_capacity(page.len());
        {
            let eval = ctx.eval();
            for found in page {
                let mut row = Vec::with_capacity(sources.len());
                for (ordinal, source) in sources.iter().enumerate() {
                    row.push(match (converted.get(&ordinal), source) {
                        (Some(expr), _) => expr.eval(&found.row, &eval)?,
                        (None, Some(source)) => found.row[*source].clone(),
                        (None, None) => parts.defaults[ordinal].eval(&[], &eval)?,
                    });
                }
                for (ordinal, expr) in &parts.generated {
                    row[*ordinal] = expr.eval(&row, &eval)?;
                }
                let key = match hidden.next() {
                    Some(id) => code.row_keys.hidden(id),
                    None => {
                        refuse_null_keys(&code, &row)?;
                        code.row_keys.of_row(&row)?
                    }
                };
                rows.push((key, row));
            }
        }
        refuse_duplicates(&code, &rows, ctx).await?;
        for (key, row) in &rows {
            ctx.txn.put(key.clone(), code.encoder.encode(row))?;
        }
        add_entries(&code, None, &rows, ctx).await?;
    }
    Ok(())
}

fn refuse_null_keys(code: &TableCode, row: &[Datum]) -> SqlResult<()> {
    match code.table.row_key_ordinals().into_iter().find(|o| row[*o].is_null()) {
        Some(ordinal) => Err(contains_nulls(code, ordinal)),
        None => Ok(()),
    }
}

async fn refuse_duplicates(
    code: &TableCode,
    rows: &[(Key, Row)],
    ctx: &ExecContext,
) -> SqlResult<()> {
    if code.row_keys.is_hidden() {
        return Ok(());
    }
    let keys: Vec<Key> = rows.iter().map(|(key, _)| key.clone()).collect();
    let there = ctx.txn.multi_get(&keys, ReadAt::Latest).await?;
    let mut seen = HashSet::with_capacity(keys.len());
    for ((key, row), there) in rows.iter().zip(there) {
        if there.is_some() || !seen.insert(key) {
            return Err(violation::duplicate_in_new_key(code, row, &ctx.types));
        }
    }
    Ok(())
}

fn contains_nulls(code: &TableCode, ordinal: usize) -> SqlError {
    let column = &code.table.columns[ordinal].name;
    SqlError::new(
        "23502",
        format!("column \"{column}\" of relation \"{}\" contains null values", code.table.name),
    )
    .with_table(&code.schema_name, &code.table.name)
    .with_column(column)
}

/// Checks what a new constraint says about rows that are there.
pub(super) async fn validate(validation: &Validation, ctx: &Arc<ExecContext>) -> SqlResult<()> {
    match *validation {
        Validation::NotNull { table, column } => {
            let code = code_of(table, ctx)?;
            let Some(ordinal) = code.table.ordinal(column) else { return Ok(()) };
            let mut cursor = Cursor::by_key_prefix(&code, &[], ReadAt::Latest)?;
            while let Some(page) = cursor.next(ctx, &[ordinal], usize::MAX).await? {
                ctx.check_cancel()?;
                if page.iter().any(|found| found.row[ordinal].is_null()) {
                    return Err(contains_nulls(&code, ordinal));
                }
            }
            Ok(())
        }
        Validation::Constraint { table, constraint } => {
            let code = code_of(table, ctx)?;
            let Some(found) = code.table.constraint(constraint).cloned() else { return Ok(()) };
            match &found.kind {
                ConstraintKind::PrimaryKey { .. } | ConstraintKind::Unique { .. } => Ok(()),
                ConstraintKind::Check(_) => validate_check(&code, &found.name, ctx).await,
                ConstraintKind::ForeignKey(_) => validate_foreign_key(&code, ctx).await,
            }
        }
    }
}

async fn validate_check(
    code: &Arc<TableCode>,
    name: &str,
    ctx: &Arc<ExecContext>,
) -> SqlResult<()> {
    let parts = code.parts(&ctx.catalog)?;
    let Some(check) = parts.checks.iter().find(|check| check.name == name) else {
        return Err(SqlError::internal(format!("check {name} is not in its table's plan")));
    };
    let wanted = check.expr.columns();
    let mut cursor = Cursor::by_key_prefix(code, &[], ReadAt::Latest)?;
    while let Some(page) = cursor.next(ctx, &wanted, usize::MAX).await? {
        ctx.check_cancel()?;
        let eval = ctx.eval();
        for found in page {
            if matches!(check.expr.eval(&found.row, &eval)?, Datum::Bool(false)) {
                let table = &code.table.name;
                return Err(SqlError::new(
                    "23514",
                    format!("check constraint \"{name}\" of relation \"{table}\" is violated by some row"),
                )
                .with_table(&code.schema_name, table)
                .with_constraint(name));
            }
        }
    }
    Ok(())
}

/// All foreign keys of the table: those that held before hold again.
async fn validate_foreign_key(code: &Arc<TableCode>, ctx: &Arc<ExecContext>) -> SqlResult<()> {
    let writer = Writer::new(ctx, code.clone());
    let mut effects = Effects::default();
    let all: Vec<usize> = (0..code.width()).collect();
    let mut cursor = Cursor::by_key_prefix(code, &[], ReadAt::Latest)?;
    while let Some(page) = cursor.next(ctx, &all, usize::MAX).await? {
        ctx.check_cancel()?;
        effects.rows_written(&writer, page.iter().map(|found| (None, &found.row))).await?;
    }
    effects.finish(ctx).await
}
