//! Operators that compare whole rows: INTERSECT, EXCEPT, DISTINCT ON, FETCH ... WITH TIES, and
//! TABLESAMPLE.

use super::{compare_keys, identity_key, values};
use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use crate::relational::QueryContext;
use crate::relational::lower::Lowering;
use datum::SqlType;
use expr::Expr;
use planner::plan::{Rel, RelNode, SortKey};
use std::collections::HashMap;

/// INTERSECT (`keep_common`) or EXCEPT. With ALL, a row is kept min(m, n) or m - n times.
pub fn intersect_or_except(
    left: Vec<Row>,
    right: Vec<Row>,
    types: &[SqlType],
    keep_common: bool,
    all: bool,
) -> SqlResult<Vec<Row>> {
    let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
    for row in &right {
        *counts.entry(identity_key(row, types)?).or_default() += 1;
    }
    let mut kept = Vec::new();
    let mut emitted = std::collections::HashSet::new();
    for row in left {
        let key = identity_key(&row, types)?;
        let common = match counts.get_mut(&key) {
            Some(count) if *count > 0 => {
                if all {
                    *count -= 1;
                }
                true
            }
            _ => false,
        };
        if common == keep_common && (all || emitted.insert(key)) {
            kept.push(row);
        }
    }
    Ok(kept)
}

/// The first row of each run of equal keys; the input is sorted by them.
pub fn distinct_on(rows: Vec<Row>, keys: &[Expr], context: &QueryContext) -> SqlResult<Vec<Row>> {
    let types: Vec<SqlType> = keys.iter().map(|key| key.sql_type().clone()).collect();
    let mut kept = Vec::new();
    let mut last = None;
    for row in rows {
        let key = identity_key(&values(keys, &row, context)?, &types)?;
        if last.as_ref() != Some(&key) {
            kept.push(row);
            last = Some(key);
        }
    }
    Ok(kept)
}

/// `fetch` rows after `skip`, and those that the last of them ties with. The input is sorted.
pub fn limit_with_ties(
    rows: Vec<Row>,
    skip: usize,
    fetch: Option<usize>,
    keys: &[SortKey],
    context: &QueryContext,
) -> SqlResult<Vec<Row>> {
    let mut kept: Vec<Row> = Vec::new();
    let mut last: Option<Row> = None;
    for row in rows.into_iter().skip(skip) {
        if fetch.is_some_and(|fetch| kept.len() >= fetch) {
            let key = values(keys.iter().map(|key| &key.expr), &row, context)?;
            match &last {
                Some(last) if compare_keys(keys, last, &key).is_eq() => {}
                _ => break,
            }
        } else if fetch.is_some_and(|fetch| kept.len() + 1 == fetch) {
            last = Some(values(keys.iter().map(|key| &key.expr), &row, context)?);
        }
        kept.push(row);
    }
    Ok(kept)
}

/// TABLESAMPLE: each row with the given probability.
pub async fn sample(lowering: &mut Lowering, rel: &Rel) -> SqlResult<Vec<Row>> {
    let RelNode::Scan { table, columns, row_id, sample: Some(sample) } = &rel.node else {
        return Err(SqlError::internal("sampling something else than a table"));
    };
    let eval = lowering.context.eval.clone();
    let number =
        |expr: &Expr| -> SqlResult<Option<f64>> { Ok(expr.eval(&[], &eval.borrow())?.as_f64()) };
    let percent = number(&sample.percent)?
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| SqlError::new("2202H", "sample percentage must be between 0 and 100"))?;
    let seed = match &sample.seed {
        Some(seed) => number(seed)?
            .ok_or_else(|| {
                SqlError::new("2202G", "TABLESAMPLE REPEATABLE parameter cannot be null")
            })?
            .to_bits(),
        None => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
    };
    let node = RelNode::Scan {
        table: table.clone(),
        columns: columns.clone(),
        row_id: *row_id,
        sample: None,
    };
    let rows = lowering.rows(&Rel::new(node, rel.fields.clone())).await?;
    // splitmix64: each row's number is a fair draw, the same for the same seed.
    let draw = |index: u64| {
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    Ok(rows
        .into_iter()
        .enumerate()
        .filter(|(index, _)| draw(*index as u64 + 1) * 100.0 < percent)
        .map(|(_, row)| row)
        .collect())
}
