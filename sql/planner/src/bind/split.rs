//! ALTER TABLE/INDEX ... SPLIT, ALTER RANGE ... TRANSFER LEADER: which keys are meant.
//!
//! ```text
//! alter table t split at values (10), (20)     …| t: 1..9 |10..19 |20.. u …
//! alter table t split apart                    … s| t |u …
//! alter index t_a split at values ('m')        entries below 'm' | from 'm' on
//! ```
//!
//! Values are the leading columns of a key, as many as one likes, and are converted as INSERT does.

use super::alter::skip;
use super::scope::{Clause, Scope};
use super::{Binder, planned};
use crate::ast::{Expr as Ast, ObjectName, SplitPoints};
use crate::error::{PlanError, Result};
use crate::plan::{ObjectKind, Plan, Planned, RangesPlan, Tag};
use catalog::keys::IndexKeys;
use catalog::table::ROWS_INDEX;
use catalog::{IndexDescriptor, Relation, TableDescriptor};
use core_domain::{Key, NodeId, RangeId};
use datum::Datum;

impl Binder<'_> {
    pub(crate) fn split(
        &mut self,
        kind: ObjectKind,
        name: &ObjectName,
        if_exists: bool,
        points: &SplitPoints,
    ) -> Result<Planned> {
        let (tag, a_kind) = match kind {
            ObjectKind::Index => ("ALTER INDEX", "an index"),
            _ => ("ALTER TABLE", "a table"),
        };
        if if_exists && self.find_relation(name)?.is_none() {
            return Ok(skip(format!("relation \"{name}\" does not exist, skipping"), tag));
        }
        let (table, index) = match (kind, self.relation(name)?) {
            (ObjectKind::Index, Relation::Index(table, index)) => (table, Some(index)),
            (ObjectKind::Table, Relation::Table(table)) => (table, None),
            (_, other) => {
                let message = format!("\"{}\" is not {a_kind}", other.name());
                return Err(self.error("42809", message, name.pos()));
            }
        };
        let keys = match points {
            SplitPoints::Apart => {
                let all = match index {
                    Some(index) => Key::index_prefix(table.id, index.id),
                    None => Key::table_prefix(table.id),
                };
                let end = all.prefix_end();
                [all].into_iter().chain(end).collect()
            }
            SplitPoints::Values(rows) => {
                let Some(index) = index.or_else(|| table.index_by_id(ROWS_INDEX)) else {
                    let message = format!("table \"{}\" has no primary key", table.name);
                    return Err(self
                        .error("42704", message, name.pos())
                        .hint("Use SPLIT APART, or split one of its indexes."));
                };
                self.split_keys(table, index, rows)?
            }
        };
        Ok(planned(Plan::Ranges(RangesPlan::SplitAt(keys)), Tag(tag)))
    }

    fn split_keys(
        &mut self,
        table: &TableDescriptor,
        index: &IndexDescriptor,
        rows: &[Vec<Ast>],
    ) -> Result<Vec<Key>> {
        let encoder = IndexKeys::new(table, index);
        let ordinals = table.index_ordinals(index);
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(extra) = row.get(ordinals.len()) {
                let message = "SPLIT AT has more expressions than key columns";
                return Err(self.error("42601", message, extra.pos));
            }
            let mut values = Vec::with_capacity(row.len());
            for (ast, ordinal) in row.iter().zip(&ordinals) {
                values.push(self.split_value(ast, table, *ordinal)?);
            }
            keys.push(encoder.prefix_of(&values)?);
        }
        Ok(keys)
    }

    fn split_value(&mut self, ast: &Ast, table: &TableDescriptor, ordinal: usize) -> Result<Datum> {
        self.push_level(Scope::default(), Clause::InsertValues);
        let bound = self.expr(ast);
        let level = self.pop_level();
        let bound = bound?;
        if !level.subqueries.is_empty() {
            return Err(self.error("0A000", "cannot use subquery in SPLIT AT", ast.pos));
        }
        if !self.resolver.params.snapshot().is_empty() {
            return Err(PlanError::new("42P02", "there is no parameter $1"));
        }
        let value = self.assign(bound, &table.columns[ordinal], ast.pos)?;
        Ok(value.eval(&[], self.resolver.ctx)?)
    }

    pub(crate) fn transfer_leader(&mut self, range: i64, node: i64) -> Result<Planned> {
        let id = |what: &str, number: i64| {
            let unknown = || PlanError::new("42704", format!("{what} {number} does not exist"));
            u64::try_from(number).map_err(|_| unknown())
        };
        let (range, node) = (RangeId(id("range", range)?), NodeId(id("node", node)?));
        let plan = RangesPlan::TransferLeader { range, node };
        Ok(planned(Plan::Ranges(plan), Tag("ALTER RANGE")))
    }
}
