//! WITH RECURSIVE: rounds over a working table until one adds nothing.

use super::identity_key;
use crate::error::SqlResult;
use crate::outcome::Row;
use crate::relational::lower::{CteRows, Lowering};
use datum::SqlType;
use planner::plan::{CteId, Rel};
use std::collections::HashSet;
use std::sync::Arc;

/// All rows of the recursion. Without `all`, a row that was seen before is dropped, and so does not
/// feed the next round.
pub async fn recurse(
    lowering: &mut Lowering,
    id: CteId,
    all: bool,
    base: &Rel,
    step: &Rel,
    types: &[SqlType],
) -> SqlResult<Vec<Row>> {
    let mut seen = HashSet::new();
    let mut fresh = |rows: Vec<Row>| -> SqlResult<Vec<Row>> {
        if all {
            return Ok(rows);
        }
        let mut kept = Vec::new();
        for row in rows {
            if seen.insert(identity_key(&row, types)?) {
                kept.push(row);
            }
        }
        Ok(kept)
    };
    let outer = lowering.ctes.remove(&id);
    let mut working = fresh(lowering.rows(base).await?)?;
    let mut result = Vec::new();
    while !working.is_empty() {
        lowering.context.exec.check_cancel()?;
        let round = Arc::new(working);
        result.extend(round.iter().cloned());
        lowering.ctes.insert(id, CteRows::Rows(round));
        working = fresh(lowering.rows(step).await?)?;
    }
    match outer {
        Some(rows) => lowering.ctes.insert(id, rows),
        None => lowering.ctes.remove(&id),
    };
    Ok(result)
}
