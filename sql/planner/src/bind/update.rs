//! UPDATE and DELETE.

use super::Binder;
use super::from::{Source, filter};
use super::scope::{Clause, Scope};
use crate::ast::{
    Assignment, Delete, Expr as Ast, ExprKind, FromItem, Ident, ObjectName, TableAlias, Update,
};
use crate::error::{PlanError, Result};
use crate::plan::{
    DeleteOp, Field, Planned, Rel, RelNode, Tag, TargetSource, UpdateOp, WriteOp, WritePlan,
};
use catalog::{RowKey, TableDescriptor};
use datum::{ColumnType, SqlType};
use expr::Expr;
use std::sync::Arc;

/// The rows to change, found and with what the other clauses need.
struct Found {
    source: TargetSource,
    /// Over [old row][extra columns].
    set: Vec<(usize, Expr)>,
    /// For RETURNING: [table row][extra columns].
    scope: Scope,
}

/// The clauses that UPDATE and DELETE share.
struct Clauses<'s> {
    name: &'s ObjectName,
    alias: Option<&'s Ident>,
    others: &'s [FromItem],
    filter: Option<&'s Ast>,
    current_of: Option<&'s Ident>,
    set: &'s [Assignment],
}

impl Binder<'_> {
    pub(crate) fn update_statement(&mut self, update: &Update) -> Result<Planned> {
        let write = self.bind_update(update)?;
        Ok(self.write_planned(write, Tag("UPDATE")))
    }

    pub(crate) fn delete_statement(&mut self, delete: &Delete) -> Result<Planned> {
        let write = self.bind_delete(delete)?;
        Ok(self.write_planned(write, Tag("DELETE")))
    }

    pub(crate) fn bind_update(&mut self, update: &Update) -> Result<WritePlan> {
        let open = update.with.as_ref().map(|with| self.open_with(with)).transpose()?;
        let table = self.target(&update.table)?;
        let clauses = Clauses {
            name: &update.table,
            alias: update.alias.as_ref(),
            others: &update.from,
            filter: update.filter.as_ref(),
            current_of: update.current_of.as_ref(),
            set: &update.set,
        };
        let Found { mut source, set, scope } = self.found(&table, &clauses)?;
        self.close_target_with(open, &mut source);
        let assigned: Vec<usize> = set.iter().map(|(o, _)| *o).collect();
        let returning = self.returning(&update.returning, scope, &table)?;
        let changes_key = changes_key(&table, &assigned);
        let generated = self.generated(&table, Some(&assigned))?;
        let mut touched = assigned;
        touched.extend(generated.iter().map(|(o, _)| *o));
        Ok(WritePlan {
            op: WriteOp::Update(UpdateOp { source, set, changes_key }),
            checks: self.checks(&table, Some(&touched))?,
            generated,
            returning,
            table,
        })
    }

    pub(crate) fn bind_delete(&mut self, delete: &Delete) -> Result<WritePlan> {
        let open = delete.with.as_ref().map(|with| self.open_with(with)).transpose()?;
        let table = self.target(&delete.table)?;
        let clauses = Clauses {
            name: &delete.table,
            alias: delete.alias.as_ref(),
            others: &delete.using,
            filter: delete.filter.as_ref(),
            current_of: delete.current_of.as_ref(),
            set: &[],
        };
        let Found { mut source, scope, .. } = self.found(&table, &clauses)?;
        self.close_target_with(open, &mut source);
        let returning = self.returning(&delete.returning, scope, &table)?;
        Ok(WritePlan {
            op: WriteOp::Delete(DeleteOp { source }),
            checks: Vec::new(),
            generated: Vec::new(),
            returning,
            table,
        })
    }

    fn close_target_with(&mut self, open: Option<super::cte::OpenWith>, source: &mut TargetSource) {
        let Some(open) = open else { return };
        let rel = match source {
            TargetSource::Rel { rel, .. } => &mut **rel,
            TargetSource::Keys { .. } | TargetSource::CurrentOf(_) => &mut super::from::one_row(),
        };
        let body = std::mem::replace(rel, super::from::one_row());
        *rel = self.close_with(open, body);
    }

    fn found(&mut self, table: &Arc<TableDescriptor>, clauses: &Clauses<'_>) -> Result<Found> {
        let alias = clauses.alias.map(|a| TableAlias { name: a.clone(), columns: Vec::new() });
        let target = self.stored(table, clauses.name, alias.as_ref(), true)?;
        let Source { rel, scope } = self.from_after(target, clauses.others)?;
        self.push_level(scope, Clause::UpdateSet);
        let result = self.found_at_level(table, clauses, rel);
        let level = self.pop_level();
        let (source, set) = result?;
        let mut scope = level.scope;
        let width = table.columns.len();
        let hidden = usize::from(table.row_key() == RowKey::Hidden);
        for column in &mut scope.columns {
            column.expr.map_columns(&|i| if i < width { i } else { i - hidden });
        }
        Ok(Found { source, set, scope })
    }

    fn found_at_level(
        &mut self,
        table: &Arc<TableDescriptor>,
        clauses: &Clauses<'_>,
        mut rel: Rel,
    ) -> Result<(TargetSource, Vec<(usize, Expr)>)> {
        let mut predicate = match clauses.filter {
            Some(ast) => {
                Some(self.in_clause(Clause::Where, |b| b.condition(ast, "argument of WHERE"))?)
            }
            None => None,
        };
        let mut set = self.assignments(clauses.set, table)?;
        if clauses.others.is_empty() && self.level().subqueries.is_empty() {
            if let Some(cursor) = clauses.current_of {
                return Ok((TargetSource::CurrentOf(cursor.name.clone()), set));
            }
            let conjuncts = predicate.clone().map(Expr::into_conjuncts).unwrap_or_default();
            let path = crate::access::choose(table, &conjuncts, &[]);
            let filter = (!path.residual.is_empty()).then(|| Expr::conjunction(path.residual));
            return Ok((
                TargetSource::Keys { access: path.access, filter, recheck: predicate },
                set,
            ));
        }
        if clauses.current_of.is_some() {
            return Err(PlanError::unsupported("WHERE CURRENT OF with other tables"));
        }
        let same = |e: &Expr| Some(e.clone());
        if let Some(predicate) = &mut predicate {
            rel = self.place_subqueries(rel, &mut [predicate], &same)?;
            rel = filter(rel, predicate.clone());
        }
        let mut values: Vec<&mut Expr> = set.iter_mut().map(|(_, e)| e).collect();
        rel = self.place_subqueries(rel, &mut values, &same)?;

        // [row key][everything beyond the target's row]
        let width = table.columns.len();
        let hidden = usize::from(table.row_key() == RowKey::Hidden);
        let key: Vec<(usize, ColumnType)> = match hidden {
            1 => vec![(width, ColumnType::plain(SqlType::Int8))],
            _ => {
                let ordinals = table.row_key_ordinals().into_iter();
                ordinals.map(|o| (o, table.columns[o].ty.clone())).collect()
            }
        };
        let key_width = key.len();
        let extras = (width + hidden..rel.width()).map(|i| (i, rel.fields[i].ty.clone()));
        let wanted: Vec<(usize, ColumnType)> = key.into_iter().chain(extras).collect();
        let fields: Vec<Field> = wanted.iter().map(|(i, _)| rel.fields[*i].clone()).collect();
        let exprs = wanted.into_iter().map(|(i, ty)| Expr::column(i, ty)).collect();
        let rel = Rel::new(RelNode::Project { input: Box::new(rel), exprs }, fields);
        let rel = Box::new(crate::access::simplify(rel));

        let place = |i: usize| if i < width { i } else { i - hidden };
        for (_, value) in &mut set {
            value.map_columns(&place);
        }
        if let Some(predicate) = &mut predicate {
            predicate.map_columns(&place);
        }
        Ok((TargetSource::Rel { rel, key_width, recheck: predicate }, set))
    }

    /// SET, bound at the current level.
    pub(crate) fn assignments(
        &mut self,
        list: &[Assignment],
        table: &TableDescriptor,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut set: Vec<(usize, Expr)> = Vec::new();
        for assignment in list {
            let mut ordinals = Vec::new();
            for name in &assignment.columns {
                let ordinal = self.target_column(table, name)?;
                if set.iter().any(|(o, _)| *o == ordinal) || ordinals.contains(&ordinal) {
                    let message = format!("multiple assignments to same column \"{}\"", name.name);
                    return Err(self.error("42601", message, name.pos));
                }
                ordinals.push(ordinal);
            }
            let values = self.assigned_values(assignment, &ordinals, table)?;
            set.extend(ordinals.into_iter().zip(values));
        }
        Ok(set)
    }

    fn assigned_values(
        &mut self,
        assignment: &Assignment,
        ordinals: &[usize],
        table: &TableDescriptor,
    ) -> Result<Vec<Expr>> {
        let value = &assignment.value;
        for (ordinal, name) in ordinals.iter().zip(&assignment.columns) {
            let column = &table.columns[*ordinal];
            let is_default = matches!(value.kind, ExprKind::Default);
            let always = column.identity.as_ref().is_some_and(|i| i.always);
            if (column.generated.is_some() || always) && !is_default {
                let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
                let kind = if always {
                    "an identity column defined as GENERATED ALWAYS"
                } else {
                    "a generated column"
                };
                return Err(self
                    .error("428C9", message, name.pos)
                    .detail(format!("Column \"{}\" is {kind}.", column.name)));
            }
        }
        if !assignment.multiple {
            return Ok(vec![self.assigned_value(table, ordinals[0], value)?]);
        }
        match &value.kind {
            ExprKind::Row(fields) => {
                self.check_assigned(fields.len(), ordinals.len(), value.pos)?;
                let pairs = fields.iter().zip(ordinals);
                pairs.map(|(ast, o)| self.assigned_value(table, *o, ast)).collect()
            }
            ExprKind::Scalar(query) => {
                let row = self.row_query(query, ordinals.len(), value.pos)?;
                let pairs = row.into_iter().zip(ordinals);
                pairs.map(|(e, o)| self.assign(e, &table.columns[*o], value.pos)).collect()
            }
            _ if ordinals.len() == 1 => Ok(vec![self.assigned_value(table, ordinals[0], value)?]),
            _ => {
                let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                Err(self.error("0A000", message, value.pos))
            }
        }
    }

    fn check_assigned(&self, values: usize, columns: usize, pos: u32) -> Result<()> {
        match values == columns {
            true => Ok(()),
            false => {
                Err(self.error("42601", "number of columns does not match number of values", pos))
            }
        }
    }
}

/// Whether an assignment may move the row or collide with another: row key and unique columns.
pub(crate) fn changes_key(table: &TableDescriptor, assigned: &[usize]) -> bool {
    let mut keys = table.row_key_ordinals();
    for index in table.unique_indexes() {
        keys.extend(table.index_ordinals(index));
    }
    assigned.iter().any(|o| keys.contains(o))
}
