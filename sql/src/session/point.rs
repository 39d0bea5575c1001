//! A statement that reads one row by its primary key, on its own: the shortest way.
//!
//! `select abalance from accounts where aid = $1` outside any block is one read of one key. When
//! nothing has to be waited for, it is answered here without a transaction, a future or a stream:
//!
//! ```text
//! plan still current? ─▶ key from constants and parameters ─▶ KvStore::try_get ─▶ columns of the row
//!        └──────────────── no, or anything unusual: Session::execute ────────────────┘
//! ```
//!
//! The answer and the receipt are those of the ordinary way, and so are errors, since whatever could
//! end in one goes there. The causal token moves to what was seen, not to when: often it stays.

use super::transaction::Block;
use super::{Session, now_micros};
use crate::outcome::Row;
use crate::prepared::Prepared;
use crate::table_code::TableCode;
use core_domain::{ConsistencyLevel, Guarantee};
use datum::Datum;
use expr::Expr;
use planner::{Access, OltpPlan, Plan, Planned};
use std::sync::{Arc, OnceLock};

/// A plan that is one read by key: what remains to be done when the parameters are known.
pub(crate) struct PointPlan {
    key: Box<[Source]>,
    columns: Box<[Source]>,
    code: OnceLock<Arc<TableCode>>,
}

/// Where a value comes from.
enum Source {
    Constant(Datum),
    Parameter(usize),
    /// Of the row; only in `columns`.
    Column(usize),
}

impl PointPlan {
    /// `None` if `planned` is more than that, or reads the past.
    pub fn of(planned: &Planned) -> Option<Self> {
        let Planned { plan: Plan::Oltp(plan), as_of: None, .. } = planned else { return None };
        let OltpPlan {
            table: Some(_),
            access: Access::PkGet { key },
            columns: _,
            filter: None,
            aggregates,
            having: None,
            order: _,
            limit: None,
            offset: None,
            lock: None,
            project,
            fields: _,
        } = &**plan
        else {
            return None;
        };
        if !aggregates.is_empty() {
            return None;
        }
        let sources = |exprs: &[Expr]| exprs.iter().map(Source::of).collect::<Option<Box<[_]>>>();
        let key = sources(key)?;
        if key.iter().any(|source| matches!(source, Source::Column(_))) {
            return None;
        }
        Some(Self { key, columns: sources(project)?, code: OnceLock::new() })
    }
}

impl Source {
    fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Const(value, _) => Some(Source::Constant(value.clone())),
            Expr::Param { index, .. } => Some(Source::Parameter(*index)),
            Expr::Column { index, .. } => Some(Source::Column(*index)),
            _ => None,
        }
    }
}

impl Session {
    /// The row that `prepared` asks for, at most one, if it is such a statement and can be answered
    /// without waiting. `None`: execute it.
    pub fn try_point(&mut self, prepared: &Prepared, params: &[Datum]) -> Option<Option<Row>> {
        let plan = prepared.plan();
        let point = plan.point.as_ref()?;
        if self.txn.block != Block::None
            || self.txn.kv.is_some()
            || self.txn.catalog.is_some()
            || params.len() != prepared.param_types.len()
            || self.termination().is_some()
            || self.server.table_locks.any_alone()
            // A lock that was lost is noticed where statements are executed.
            || self.core.advisory.is_in_use()
        {
            return None;
        }
        let version = self.server.catalog.known_version()?;
        if !plan.is_for(version, self.database.oid, &self.effective.search_path) {
            return None;
        }
        let code = match point.code.get() {
            Some(code) => code,
            None => {
                let Plan::Oltp(oltp) = &plan.planned.plan else { return None };
                let code = self.server.codes.get(oltp.table.as_ref()?, &plan.catalog).ok()?;
                point.code.get_or_init(|| code)
            }
        };
        let mut values = Vec::with_capacity(point.key.len());
        for source in &point.key {
            let value = match source {
                Source::Constant(value) => value,
                Source::Parameter(index) => params.get(*index)?,
                Source::Column(_) => return None,
            };
            if value.is_null() {
                return None;
            }
            values.push(value.clone());
        }
        let key = code.row_keys.of_values(&values).ok()?;
        let read = self.server.kv.try_get(&key)?;
        // What a table's end erases, it erases after the catalog without it is known here.
        if self.server.catalog.known_version() != Some(version) {
            return None;
        }
        let row = match &read.value {
            Some(value) => Some(code.pick(value, &point.columns, params)?),
            None => None,
        };
        self.core.clear_cancel();
        let shown = self.shown_text.take();
        self.note_point(shown.as_ref().unwrap_or(&prepared.text));
        let receipt = self.last_guarantee.get_or_insert_default();
        let mut replicas = std::mem::take(&mut receipt.replicas);
        replicas.clear();
        replicas.push(read.node);
        *receipt = Guarantee {
            asked: ConsistencyLevel::Strong,
            served: ConsistencyLevel::Strong,
            read_timestamp: read.at,
            replicas,
            ..Guarantee::default()
        };
        self.saw(read.seen);
        Some(row)
    }

    /// For pg_stat_activity: began and ended in one moment.
    fn note_point(&self, text: &Arc<str>) {
        let now = now_micros();
        let mut activity = self.core.activity.lock();
        if !Arc::ptr_eq(&activity.query, text) {
            activity.query = text.clone();
        }
        activity.query_start = now;
        activity.state_change = now;
    }
}

impl TableCode {
    /// Only what is asked for; `None` if the bytes are not a row.
    fn pick(&self, value: &[u8], columns: &[Source], params: &[Datum]) -> Option<Row> {
        let view = self.view(value).ok()?;
        let mut row = Vec::with_capacity(columns.len());
        for source in columns {
            row.push(match source {
                Source::Constant(value) => value.clone(),
                Source::Parameter(index) => params.get(*index)?.clone(),
                Source::Column(ordinal) => self.column(&view, *ordinal).ok()?,
            });
        }
        Some(row)
    }
}
