//! Set-returning functions, in the select list and in FROM.

use super::values;
use crate::error::SqlResult;
use crate::outcome::Row;
use crate::relational::QueryContext;
use crate::relational::memory::Kept;
use datum::{Datum, SqlType};
use planner::plan::{ProjectItem, SetCall, TableFunctionCall, TableFunctionSource};
use std::sync::Arc;

fn call(call: &SetCall, row: &[Datum], context: &QueryContext) -> SqlResult<Vec<Row>> {
    let arguments = values(&call.args, row, context)?;
    Ok(call.function.call_set(&arguments, &context.eval.borrow())?)
}

/// Each input row with its sets unrolled side by side; shorter sets are padded with NULL. What comes
/// out is counted as kept.
pub fn project_set(
    rows: Vec<Row>,
    items: &[ProjectItem],
    context: &QueryContext,
    kept: &Kept,
) -> SqlResult<Vec<Row>> {
    enum Filled {
        Scalar(Datum),
        Set(Vec<Row>),
    }
    let mut out = Vec::new();
    for row in rows {
        context.exec.check_cancel()?;
        let sets = Kept::new();
        let mut filled = Vec::with_capacity(items.len());
        let mut longest = 0;
        for item in items {
            filled.push(match item {
                ProjectItem::Scalar(expr) => {
                    Filled::Scalar(expr.eval(&row, &context.eval.borrow())?)
                }
                ProjectItem::Set(set) => {
                    let set = one_column(set, call(set, &row, context)?);
                    sets.rows_once(&set)?;
                    longest = longest.max(set.len());
                    Filled::Set(set)
                }
            });
        }
        let before = out.len();
        for index in 0..longest {
            out.push(
                filled
                    .iter()
                    .map(|item| match item {
                        Filled::Scalar(value) => value.clone(),
                        Filled::Set(rows) => one_value(rows.get(index)),
                    })
                    .collect(),
            );
        }
        kept.rows(&out[before..])?;
    }
    Ok(out)
}

/// A function of several columns gives records where one value has its place.
fn one_column(set: &SetCall, rows: Vec<Row>) -> Vec<Row> {
    let columns = &set.function.columns;
    if columns.len() < 2 {
        return rows;
    }
    let types: Arc<[SqlType]> = columns.iter().map(|(_, ty)| ty.ty.clone()).collect();
    rows.into_iter().map(|row| vec![Datum::record(types.clone(), row)]).collect()
}

/// A row of a set function in a place for one value.
fn one_value(row: Option<&Row>) -> Datum {
    row.and_then(|row| row.first()).cloned().unwrap_or_default()
}

/// Functions in FROM, side by side, padded with NULLs; with ordinality, a counter from one.
pub fn table_function(
    functions: &[TableFunctionCall],
    ordinality: bool,
    context: &QueryContext,
) -> SqlResult<Vec<Row>> {
    let sets = Kept::new();
    let mut sources: Vec<(Vec<Row>, usize)> = Vec::new();
    for function in functions {
        let rows = match &function.source {
            TableFunctionSource::Set(set) => call(set, &[], context)?,
            TableFunctionSource::Scalar(expr) => match expr.eval(&[], &context.eval.borrow())? {
                Datum::Record(record) if function.width != 1 => vec![record.fields.clone()],
                Datum::Null if function.width != 1 => vec![vec![Datum::Null; function.width]],
                value => vec![vec![value]],
            },
        };
        sets.rows_once(&rows)?;
        sources.push((rows, function.width));
    }
    let longest = sources.iter().map(|(rows, _)| rows.len()).max().unwrap_or(0);
    let mut out = Vec::with_capacity(longest);
    for index in 0..longest {
        let mut row = Vec::new();
        for (rows, width) in &sources {
            match rows.get(index) {
                Some(values) => row.extend(values.iter().cloned()),
                None => row.extend(std::iter::repeat_n(Datum::Null, *width)),
            }
        }
        if ordinality {
            row.push(Datum::Int8(index as i64 + 1));
        }
        out.push(row);
    }
    Ok(out)
}
