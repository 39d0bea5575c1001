//! DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor's rows are read when it is declared: it is insensitive to later changes, as PostgreSQL's
//! are, and it may move both ways. The price is memory, of which all statements have so much together
//! (53200); rows beyond `ROWS_MAX` are refused.

use super::Session;
use super::statement::{Produced, run_rows};
use super::transaction::Block;
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::outcome::{Outcome, Row, RowStream};
use crate::prepared::{ColumnDesc, Prepared, VersionedPlan};
use crate::relational::Kept;
use planner::{CursorPlan, FetchDirection, FetchPlan, Plan};
use std::sync::Arc;

/// Rows that one cursor may hold.
const ROWS_MAX: usize = 10_000_000;

pub(super) struct Cursor {
    columns: Arc<[ColumnDesc]>,
    rows: Arc<[Row]>,
    _kept: Kept,
    /// The row the cursor is on, from one; zero before the first, one past the last after it.
    at: usize,
    scroll: bool,
    hold: bool,
    /// A held cursor of a transaction that has not committed yet goes if it rolls back.
    committed: bool,
}

impl Cursor {
    pub fn is_held(&self) -> bool {
        self.hold && self.committed
    }

    /// Moves, and answers the rows on the way (or the row arrived at).
    fn fetch(&mut self, direction: FetchDirection) -> SqlResult<Vec<Row>> {
        let len = self.rows.len();
        let backward = match direction {
            FetchDirection::Forward(_) => false,
            FetchDirection::Backward(_) | FetchDirection::First | FetchDirection::Last => true,
            FetchDirection::Absolute(to) => (to.max(0) as usize) <= self.at,
            FetchDirection::Relative(by) => by <= 0,
        };
        if backward && !self.scroll {
            return Err(SqlError::new("55000", "cursor can only scan forward")
                .with_hint("Declare it with SCROLL option to enable backward scan."));
        }
        let range = match direction {
            FetchDirection::Forward(Some(0)) | FetchDirection::Backward(Some(0)) => {
                return Ok(self.one(self.at));
            }
            FetchDirection::Forward(count) => {
                let from = self.at.min(len);
                let count = count.map_or(len, |n| usize::try_from(n).unwrap_or(len));
                let to = from.saturating_add(count);
                self.at = if to > len || count == len { len + 1 } else { to };
                return Ok(self.rows[from..to.min(len)].to_vec());
            }
            FetchDirection::Backward(count) => {
                let to = self.at.saturating_sub(1);
                let count = count.map_or(len + 1, |n| usize::try_from(n).unwrap_or(len + 1));
                let from = to.saturating_sub(count);
                self.at = if count > to { 0 } else { from + 1 };
                let mut rows = self.rows[from..to.min(len)].to_vec();
                rows.reverse();
                return Ok(rows);
            }
            FetchDirection::First => 1,
            FetchDirection::Last => len as i64,
            FetchDirection::Absolute(to) if to < 0 => len as i64 + 1 + to,
            FetchDirection::Absolute(to) => to,
            FetchDirection::Relative(by) => self.at as i64 + by,
        };
        self.at = range.clamp(0, len as i64 + 1) as usize;
        Ok(self.one(self.at))
    }

    fn one(&self, at: usize) -> Vec<Row> {
        at.checked_sub(1).and_then(|i| self.rows.get(i)).cloned().into_iter().collect()
    }
}

impl Session {
    pub(super) async fn declare_cursor(
        &mut self,
        plan: &CursorPlan,
        outer: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
    ) -> SqlResult<Outcome> {
        if self.txn.block == Block::None && !plan.hold {
            return Err(SqlError::new(
                "25P01",
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.cursors.contains_key(&plan.name) {
            return Err(SqlError::new("42P03", format!("cursor \"{}\" already exists", plan.name)));
        }
        let alone = self.txn.block == Block::None;
        let outer = self.hold_tables(outer, prepared).await?;
        let Plan::DeclareCursor(plan) = &outer.planned.plan else {
            return Err(SqlError::internal("DECLARE CURSOR has become another statement"));
        };
        let ctx = self.begin_statement(&outer, Arc::from([])).await?;
        let core = self.core.clone();
        let limits = ctx.limits.reached(&core);
        let rows = tokio::select! {
            biased;
            rows = all_rows(plan, &ctx) => rows,
            error = tokio::task::coop::unconstrained(limits) => Err(error),
        };
        let (rows, kept) = rows?;
        let columns = plan.query.columns.as_deref().unwrap_or_default().iter();
        let columns = columns.map(|c| ColumnDesc {
            name: c.name.as_str().into(),
            ty: c.ty.clone(),
            table_oid: c.table_oid,
            attnum: c.attnum,
        });
        let cursor = Cursor {
            columns: columns.collect(),
            rows: rows.into(),
            _kept: kept,
            at: 0,
            scroll: plan.scroll,
            hold: plan.hold,
            committed: false,
        };
        self.cursors.insert(plan.name.clone(), cursor);
        if alone {
            self.commit().await?;
        }
        Ok(Outcome::Complete { tag: "DECLARE CURSOR".to_owned() })
    }

    pub(super) fn fetch(
        &mut self,
        plan: &FetchPlan,
        _columns: &Option<Arc<[ColumnDesc]>>,
    ) -> SqlResult<Outcome> {
        let cursor = self.cursors.get_mut(&plan.cursor).ok_or_else(|| no_cursor(&plan.cursor))?;
        let rows = cursor.fetch(plan.direction)?;
        if plan.is_move {
            return Ok(Outcome::Complete { tag: format!("MOVE {}", rows.len()) });
        }
        let columns = cursor.columns.clone();
        Ok(Outcome::Rows { columns, rows: RowStream::ready(rows).counted("FETCH ") })
    }

    /// The columns of an open cursor, for Describe of a FETCH.
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<[ColumnDesc]>> {
        self.cursors.get(name).map(|cursor| cursor.columns.clone())
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> SqlResult<Outcome> {
        let tag = match name {
            Some(name) => {
                self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
                "CLOSE CURSOR"
            }
            None => {
                self.cursors.clear();
                "CLOSE CURSOR ALL"
            }
        };
        Ok(Outcome::Complete { tag: tag.to_owned() })
    }

    /// At commit: held cursors stay, the others are closed.
    pub(super) fn hold_cursors(&mut self) {
        if self.cursors.is_empty() {
            return;
        }
        self.cursors.retain(|_, cursor| cursor.hold);
        for cursor in self.cursors.values_mut() {
            cursor.committed = true;
        }
    }
}

async fn all_rows(plan: &CursorPlan, ctx: &Arc<ExecContext>) -> SqlResult<(Vec<Row>, Kept)> {
    let mut stream = match run_rows(&plan.query.plan, plan.query.tag, ctx).await? {
        Produced::Stream(stream) => stream,
        Produced::Written(written) => return Ok((written.rows, written.kept)),
    };
    let kept = Kept::new();
    let mut rows = Vec::new();
    while let Some(mut batch) = stream.next(10_000).await? {
        ctx.check_cancel()?;
        kept.rows_once(&batch)?;
        rows.append(&mut batch);
        if rows.len() > ROWS_MAX {
            return Err(SqlError::new("54000", "a cursor holds too many rows"));
        }
    }
    Ok((rows, kept))
}

fn no_cursor(name: &str) -> SqlError {
    SqlError::new("34000", format!("cursor \"{name}\" does not exist"))
}
