//! What INSERT, UPDATE and DELETE have in common: the target table, assignments, defaults, checks,
//! RETURNING.

use super::Binder;
use super::scope::{Clause, Scope, ScopeColumn, ScopeTable};
use super::select::project;
use crate::ast::{Expr as Ast, ExprKind, Ident, ObjectName, SelectItem};
use crate::error::{PlanError, Result};
use crate::plan::{Check, OutColumn, Returning};
use catalog::{ColumnDescriptor, Relation, TableDescriptor};
use expr::{CoercionContext, Expr};
use std::sync::Arc;

impl Binder<'_> {
    /// The table to change.
    ///
    /// # Errors
    /// 42P01; 42809 and 55000 for relations that rows cannot be written to.
    pub(crate) fn target(&mut self, name: &ObjectName) -> Result<Arc<TableDescriptor>> {
        let pos = name.pos();
        let table = match self.relation(name)? {
            Relation::Table(table) => table.clone(),
            Relation::View(view) => {
                let what = format!("changing rows through the view \"{}\"", view.name);
                return Err(PlanError::unsupported(what).at(self.at(pos)));
            }
            Relation::Virtual(table) => {
                let message = format!("permission denied: \"{}\" is a system catalog", table.name);
                return Err(self.error("42501", message, pos));
            }
            Relation::Sequence(s) => {
                let message = format!("cannot change sequence \"{}\"", s.name);
                return Err(self.error("42809", message, pos));
            }
            Relation::Index(_, index) => {
                return Err(self.error("42809", format!("\"{}\" is an index", index.name), pos));
            }
        };
        self.note_use(table.oid, None);
        Ok(table)
    }

    pub(crate) fn target_column(&mut self, table: &TableDescriptor, name: &Ident) -> Result<usize> {
        match table.column_named(&name.name) {
            Some((ordinal, _)) => {
                self.note_use(table.oid, Some(ordinal));
                Ok(ordinal)
            }
            None => {
                let message = format!(
                    "column \"{}\" of relation \"{}\" does not exist",
                    name.name, table.name
                );
                Err(self.error("42703", message, name.pos))
            }
        }
    }

    /// A value for a column: converted by assignment, its length checked.
    pub(crate) fn assign(&self, expr: Expr, column: &ColumnDescriptor, pos: u32) -> Result<Expr> {
        let from = expr.sql_type().clone();
        if !self.resolver.can_coerce(&from, &column.ty.ty, CoercionContext::Assignment) {
            let message = format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                column.ty.ty.name(),
                from.name()
            );
            return Err(self
                .error("42804", message, pos)
                .hint("You will need to rewrite or cast the expression."));
        }
        let at = self.at(pos);
        let expr = self.resolver.coerce(expr, &column.ty, CoercionContext::Assignment);
        expr.map_err(|e| match e.position {
            Some(_) => PlanError::from(e),
            None if self.at(pos).is_some() => PlanError::from(e.at(at)),
            None => PlanError::from(e),
        })
    }

    /// A table's row as a scope: its columns start at `start`.
    pub(crate) fn row_scope(table: &TableDescriptor, alias: &str, start: usize) -> Scope {
        let columns: Vec<ScopeColumn> = table
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| ScopeColumn {
                name: c.name.clone(),
                expr: Expr::column(start + i, c.ty.clone()),
                bare: true,
                origin: Some((table.oid, i)),
            })
            .collect();
        let all: Vec<usize> = (0..columns.len()).collect();
        let own = ScopeTable::named(alias, all.clone());
        Scope { columns, tables: vec![own], star: all }
    }

    // ---- what the catalog keeps as text ----

    /// A column's value where none is given.
    pub(crate) fn default_expr(&mut self, table: &TableDescriptor, ordinal: usize) -> Result<Expr> {
        let key = (table.oid, ordinal);
        if let Some(known) = self.defaults.get(&key) {
            return Ok(known.clone());
        }
        let expr = self.bind_default(table, ordinal)?;
        self.defaults.insert(key, expr.clone());
        Ok(expr)
    }

    fn bind_default(&mut self, table: &TableDescriptor, ordinal: usize) -> Result<Expr> {
        let column = &table.columns[ordinal];
        if let Some(identity) = &column.identity {
            let sequence = Expr::Const(
                datum::Datum::Oid(identity.sequence),
                datum::ColumnType::plain(datum::SqlType::Regclass),
            );
            let next = self.resolver.resolve_scalar("nextval", vec![sequence], None)?;
            return self.assign(next, column, 0);
        }
        let Some(sql) = &column.default else { return Ok(Expr::null(column.ty.clone())) };
        let expr = self.stored_expr(sql, Scope::default(), Clause::Default)?;
        self.apart(None, |b| b.assign(expr, column, 0))
    }

    /// An expression kept as text, over a row.
    pub(crate) fn stored_expr(&mut self, sql: &str, scope: Scope, clause: Clause) -> Result<Expr> {
        let ast = crate::parse::parse_expr(sql)?;
        self.apart(None, |b| {
            b.push_level(scope, clause);
            let bound = b.expr(&ast);
            b.pop_level();
            bound
        })
    }

    /// CHECKs to test: all, or those that read one of the assigned columns.
    pub(crate) fn checks(
        &mut self,
        table: &TableDescriptor,
        assigned: Option<&[usize]>,
    ) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (constraint, check) in table.checks() {
            let reads = table.ordinals(check.columns.iter().copied());
            let touched = match assigned {
                None => true,
                Some(assigned) => reads.is_empty() || reads.iter().any(|o| assigned.contains(o)),
            };
            if !touched {
                continue;
            }
            let scope = Self::row_scope(table, &table.name, 0);
            let expr = self.stored_expr(&check.sql, scope, Clause::Check)?;
            let expr = self.resolver.coerce_to_boolean(expr, "argument of CHECK")?;
            checks.push(Check { name: constraint.name.clone(), expr });
        }
        Ok(checks)
    }

    /// Stored generated columns, over the new row.
    pub(crate) fn generated(
        &mut self,
        table: &TableDescriptor,
        assigned: Option<&[usize]>,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut all = Vec::new();
        for (ordinal, column) in table.columns.iter().enumerate() {
            let Some(generated) = &column.generated else { continue };
            let reads = table.ordinals(generated.uses.iter().copied());
            if assigned.is_some_and(|a| !reads.is_empty() && !reads.iter().any(|o| a.contains(o))) {
                continue;
            }
            let scope = Self::row_scope(table, &table.name, 0);
            let expr = self.stored_expr(&generated.sql, scope, Clause::Generated)?;
            let expr = self.apart(None, |b| b.assign(expr, column, 0))?;
            all.push((ordinal, expr));
        }
        Ok(all)
    }

    /// DEFAULT or an expression, for one column.
    pub(crate) fn assigned_value(
        &mut self,
        table: &TableDescriptor,
        ordinal: usize,
        ast: &Ast,
    ) -> Result<Expr> {
        if matches!(ast.kind, ExprKind::Default) {
            return self.default_expr(table, ordinal);
        }
        let expr = self.expr(ast)?;
        self.assign(expr, &table.columns[ordinal], ast.pos)
    }

    // ---- RETURNING ----

    pub(crate) fn returning(
        &mut self,
        items: &[SelectItem],
        scope: Scope,
        table: &TableDescriptor,
    ) -> Result<Option<Returning>> {
        if items.is_empty() {
            return Ok(None);
        }
        self.push_level(scope, Clause::Returning);
        let outputs = self.select_list(items);
        let level = self.pop_level();
        let mut outputs = outputs?;
        if !level.subqueries.is_empty() {
            return Err(PlanError::unsupported("a subquery in RETURNING"));
        }
        for output in &mut outputs {
            let expr = std::mem::replace(&mut output.expr, Expr::bool(false));
            output.expr = self.resolver.default_unknown(expr)?;
        }
        let names: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        let exprs: Vec<Expr> = outputs.into_iter().map(|o| o.expr).collect();
        let row = crate::plan::Rel::new(
            crate::plan::RelNode::Values { rows: Vec::new() },
            super::from::table_fields(table),
        );
        let fields = project(row, exprs.clone(), &names).fields;
        Ok(Some(Returning { exprs, fields }))
    }

    pub(crate) fn returning_columns(returning: Option<&Returning>) -> Option<Vec<OutColumn>> {
        returning.map(|r| r.fields.iter().map(super::out_column).collect())
    }
}
