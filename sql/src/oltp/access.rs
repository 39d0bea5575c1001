//! Where rows come from: key lookups and spans of an index, page by page.
//!
//! A cursor is opened by evaluating the plan's key expressions once. It then answers pages of
//! [`Found`] rows in the access's order: row keys with the wanted columns decoded. What it does not
//! do: filters, locks, order by anything else.

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::table_code::TableCode;
use catalog::keys::IndexKeys;
use core_domain::{Key, ReadAt, ScanOptions, Span, Value};
use datum::Datum;
use expr::{EvalContext, Expr};
use planner::{Access, KeyList, KeyPart, KeyRange};
use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

/// Rows asked of a span at a time, at most.
const PAGE_ROWS: usize = 1000;
/// Keys asked for at a time, at most.
const PAGE_KEYS: usize = 1000;

/// A row and its key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub key: Key,
    pub row: Row,
}

pub(crate) struct Cursor {
    code: Arc<TableCode>,
    read_at: ReadAt,
    source: Source,
    /// The entries asked for of a secondary index, by its position in `code.indexes`.
    through: Option<(usize, Span)>,
}

enum Source {
    /// Row keys, each once.
    Keys(std::vec::IntoIter<Key>),
    Rows {
        rest: Option<Span>,
        reverse: bool,
    },
    /// Entries of the secondary index at this position of `code.indexes`.
    Entries {
        index: usize,
        rest: Option<Span>,
        reverse: bool,
        covering: bool,
    },
}

impl Cursor {
    /// `access` must not be `Values`.
    pub async fn open(
        access: &Access,
        code: &Arc<TableCode>,
        ctx: &ExecContext,
        read_at: ReadAt,
    ) -> SqlResult<Self> {
        let eval = ctx.eval();
        let mut through = None;
        let source = match access {
            Access::Values(_) => {
                return Err(SqlError::internal("rows of VALUES are not read from a table"));
            }
            Access::PkGet { key } => Source::Keys(match values(key, &eval)? {
                Some(key) => vec![code.row_keys.of_values(&key)?].into_iter(),
                None => Vec::new().into_iter(),
            }),
            Access::PkMultiGet { keys } => Source::Keys(key_list(keys, code, &eval)?.into_iter()),
            Access::PkRange(range) => Source::Rows {
                rest: if range.is_everything() {
                    Some(code.row_keys.span())
                } else {
                    key_span(range, code.row_keys.keys(), &eval)?
                },
                reverse: range.reverse,
            },
            Access::IndexGet { index, key } => {
                let at = position(code, *index)?;
                let index = &code.indexes[at];
                let keys = match values(key, &eval)? {
                    Some(key) => {
                        let entry = index.keys.prefix_of(&key)?;
                        through = Some((at, Span::point(entry.clone())));
                        match ctx.txn.get(&entry, read_at).await? {
                            Some(value) => vec![index.keys.row_key(&entry, &value)?],
                            None => Vec::new(),
                        }
                    }
                    None => Vec::new(),
                };
                Source::Keys(keys.into_iter())
            }
            Access::IndexRange { index, range, covering } => {
                let at = position(code, *index)?;
                let rest = key_span(range, &code.indexes[at].keys, &eval)?;
                through = rest.clone().map(|span| (at, span));
                Source::Entries { rest, index: at, reverse: range.reverse, covering: *covering }
            }
        };
        Ok(Self { code: code.clone(), read_at, source, through })
    }

    /// Whether the access would find this row (all columns) under this key: asked of the newest
    /// version of a row that an index has found.
    pub fn admits(&self, key: &Key, row: &[Datum]) -> SqlResult<bool> {
        match &self.through {
            None => Ok(true),
            Some((index, span)) => {
                let entry = self.code.indexes[*index].keys.entry(row, key)?;
                Ok(span.contains(&entry.key))
            }
        }
    }

    /// Entries of `index` whose leading columns equal `values`, none of them NULL.
    pub fn by_index_prefix(
        code: &Arc<TableCode>,
        index: usize,
        values: &[Datum],
        read_at: ReadAt,
    ) -> SqlResult<Self> {
        let rest = Some(code.indexes[index].keys.span(values, None)?);
        let source = Source::Entries { index, rest, reverse: false, covering: false };
        Ok(Self { code: code.clone(), read_at, source, through: None })
    }

    /// Rows whose leading key columns equal `values`; all rows if there are none.
    pub fn by_key_prefix(
        code: &Arc<TableCode>,
        values: &[Datum],
        read_at: ReadAt,
    ) -> SqlResult<Self> {
        let span = match values {
            [] => code.row_keys.span(),
            _ => code.row_keys.keys().span(values, None)?,
        };
        let source = Source::Rows { rest: Some(span), reverse: false };
        Ok(Self { code: code.clone(), read_at, source, through: None })
    }

    /// The next page; `None` at the end. `rows_hint` is how many are needed at least, if that is
    /// known; pages may be empty.
    pub async fn next(
        &mut self,
        ctx: &ExecContext,
        wanted: &[usize],
        rows_hint: usize,
    ) -> SqlResult<Option<Vec<Found>>> {
        let page_rows = rows_hint.clamp(1, PAGE_ROWS);
        match &mut self.source {
            Source::Keys(keys) => {
                let keys: Vec<Key> = keys.take(PAGE_KEYS).collect();
                match keys.as_slice() {
                    [] => Ok(None),
                    [key] => {
                        let value = ctx.txn.get(key, self.read_at).await?;
                        let found = value.map(|value| self.found(key.clone(), &value, wanted));
                        Ok(Some(found.into_iter().collect::<SqlResult<_>>()?))
                    }
                    _ => self.fetch(ctx, keys, wanted).await.map(Some),
                }
            }
            Source::Rows { rest, reverse } => {
                let Some(span) = rest.take() else { return Ok(None) };
                let options = ScanOptions {
                    read_at: self.read_at,
                    reverse: *reverse,
                    rows_max: page_rows,
                    ..ScanOptions::default()
                };
                let page = ctx.txn.scan(&span, options).await?;
                *rest = page.rest;
                let rows = page.rows.into_iter();
                rows.map(|(key, value)| self.found(key, &value, wanted))
                    .collect::<SqlResult<_>>()
                    .map(Some)
            }
            Source::Entries { index, rest, reverse, covering } => {
                let Some(span) = rest.take() else { return Ok(None) };
                let options = ScanOptions {
                    read_at: self.read_at,
                    reverse: *reverse,
                    rows_max: page_rows,
                    ..ScanOptions::default()
                };
                let page = ctx.txn.scan(&span, options).await?;
                *rest = page.rest;
                let (index, covering) = (*index, *covering);
                if covering {
                    let entries = page.rows.into_iter();
                    return entries
                        .map(|(key, value)| self.covered(index, &key, &value))
                        .collect::<SqlResult<_>>()
                        .map(Some);
                }
                let index = &self.code.indexes[index].keys;
                let entries = page.rows.iter();
                let keys =
                    entries
                        .map(|(key, value)| index.row_key(key, value))
                        .collect::<Result<Vec<Key>, _>>()?;
                self.fetch(ctx, keys, wanted).await.map(Some)
            }
        }
    }

    async fn fetch(
        &self,
        ctx: &ExecContext,
        keys: Vec<Key>,
        wanted: &[usize],
    ) -> SqlResult<Vec<Found>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values = ctx.txn.multi_get(&keys, self.read_at).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            if let Some(value) = value {
                found.push(self.found(key, &value, wanted)?);
            }
        }
        Ok(found)
    }

    fn found(&self, key: Key, value: &Value, wanted: &[usize]) -> SqlResult<Found> {
        Ok(Found { row: self.code.decode(value, wanted)?, key })
    }

    /// A row made of an index entry alone.
    fn covered(&self, index: usize, entry: &Key, value: &Value) -> SqlResult<Found> {
        let index = &self.code.indexes[index];
        let key = index.keys.row_key(entry, value)?;
        let mut row = vec![Datum::Null; self.code.width()];
        if !self.code.row_keys.is_hidden() {
            let keys = self.code.row_keys.keys();
            for (ordinal, datum) in keys.ordinals().zip(keys.decode(&key)?) {
                row[ordinal] = datum;
            }
        }
        for (ordinal, datum) in index.ordinals.iter().zip(index.keys.decode(entry)?) {
            row[*ordinal] = datum;
        }
        Ok(Found { key, row })
    }
}

fn position(code: &TableCode, id: catalog::IndexId) -> SqlResult<usize> {
    code.indexes
        .iter()
        .position(|index| index.index.id == id)
        .ok_or_else(|| SqlError::internal(format!("no index {id}")))
}

/// The values of key expressions; `None` if one is NULL.
fn values(exprs: &[Expr], eval: &EvalContext<'_>) -> SqlResult<Option<Vec<Datum>>> {
    let mut values = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let value = expr.eval(&[], eval)?;
        if value.is_null() {
            return Ok(None);
        }
        values.push(value);
    }
    Ok(Some(values))
}

/// The row key that a plan pins, if it pins one: what an UPDATE locks without reading first.
pub(crate) fn pinned_key(
    access: &Access,
    code: &TableCode,
    eval: &EvalContext<'_>,
) -> SqlResult<Option<Vec<Key>>> {
    match access {
        Access::PkGet { key } => Ok(Some(match values(key, eval)? {
            Some(key) => vec![code.row_keys.of_values(&key)?],
            None => Vec::new(),
        })),
        Access::PkMultiGet { keys } => key_list(keys, code, eval).map(Some),
        Access::Values(_)
        | Access::PkRange(_)
        | Access::IndexGet { .. }
        | Access::IndexRange { .. } => Ok(None),
    }
}

fn key_list(keys: &KeyList, code: &TableCode, eval: &EvalContext<'_>) -> SqlResult<Vec<Key>> {
    let mut list = Vec::new();
    match keys {
        KeyList::Keys(keys) => {
            for key in keys {
                if let Some(key) = values(key, eval)? {
                    list.push(code.row_keys.of_values(&key)?);
                }
            }
        }
        KeyList::Array(array) => match array.eval(&[], eval)? {
            Datum::Null => {}
            Datum::Array(array) => {
                for item in array.items.iter().filter(|item| !item.is_null()) {
                    list.push(code.row_keys.of_values(std::slice::from_ref(item))?);
                }
            }
            _ => return Err(SqlError::internal("= ANY of something that is no array")),
        },
    }
    let mut seen = HashSet::with_capacity(list.len());
    list.retain(|key| seen.insert(key.clone()));
    Ok(list)
}

/// `None` if a NULL makes the range empty.
fn key_span(range: &KeyRange, keys: &IndexKeys, eval: &EvalContext<'_>) -> SqlResult<Option<Span>> {
    let mut equal = Vec::with_capacity(range.prefix.len());
    for part in &range.prefix {
        match part {
            KeyPart::IsNull => equal.push(Datum::Null),
            KeyPart::Equal(expr) => match expr.eval(&[], eval)? {
                Datum::Null => return Ok(None),
                value => equal.push(value),
            },
        }
    }
    let Some(lower) = bound(&range.lower, eval)? else { return Ok(None) };
    let Some(upper) = bound(&range.upper, eval)? else { return Ok(None) };
    let open = matches!((&lower, &upper), (Bound::Unbounded, Bound::Unbounded));
    let span = match open {
        true => keys.span(&equal, None)?,
        false => keys.span(&equal, Some((lower.as_ref(), upper.as_ref())))?,
    };
    Ok((!span.is_empty()).then_some(span))
}

/// `None` if the bound is NULL.
fn bound(bound: &Bound<Expr>, eval: &EvalContext<'_>) -> SqlResult<Option<Bound<Datum>>> {
    let (expr, make): (&Expr, fn(Datum) -> Bound<Datum>) = match bound {
        Bound::Unbounded => return Ok(Some(Bound::Unbounded)),
        Bound::Included(expr) => (expr, Bound::Included),
        Bound::Excluded(expr) => (expr, Bound::Excluded),
    };
    let value = expr.eval(&[], eval)?;
    Ok((!value.is_null()).then(|| make(value)))
}
