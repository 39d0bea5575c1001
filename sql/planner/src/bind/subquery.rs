//! Subqueries in expressions: bound now, placed as Applies when their level's tree is assembled.

use super::Binder;
use super::scope::{Placeholder, placeholders};
use crate::ast::{Expr as Ast, ExprKind, Pos, Query};
use crate::error::{PlanError, Result};
use crate::plan::{ApplyKind, Field, Rel, RelNode};
use datum::{ColumnType, SqlType};
use expr::{Comparison, Expr, Position};

/// A subquery whose Apply is still to be placed.
#[derive(Clone, Debug)]
pub(crate) struct PendingSubquery {
    pub kind: ApplyKind,
    pub right: Rel,
    /// What the Apply adds to its left input.
    pub fields: Vec<Field>,
    pub pos: Pos,
    pub placed: bool,
}

/// `ApplyKind::Any`'s test reads the right side's columns from here on, until the width of the left
/// input is known.
pub(crate) const RIGHT_BASE: usize = 1 << 30;

impl Binder<'_> {
    /// `(SELECT ...)` as a value.
    pub(crate) fn scalar_query(&mut self, query: &Query, pos: Pos) -> Result<Expr> {
        let right = self.subquery(query)?;
        if right.width() != 1 {
            return Err(self.error("42601", "subquery must return only one column", pos));
        }
        let field = right.fields[0].clone();
        Ok(self.pend(ApplyKind::Scalar, right, vec![Field::new(field.name, field.ty)], pos))
    }

    pub(crate) fn exists_query(&mut self, query: &Query, pos: Pos) -> Result<Expr> {
        let right = self.subquery(query)?;
        let field = Field::new("exists", ColumnType::plain(SqlType::Bool));
        Ok(self.pend(ApplyKind::Exists, right, vec![field], pos))
    }

    pub(crate) fn array_query(&mut self, query: &Query, pos: Pos) -> Result<Expr> {
        let right = self.subquery(query)?;
        if right.width() != 1 {
            return Err(self.error("42601", "subquery must return only one column", pos));
        }
        let element = right.fields[0].ty.clone();
        let ty = ColumnType::new(SqlType::array_of(element.ty), element.typmod);
        Ok(self.pend(ApplyKind::Array, right, vec![Field::new("array", ty)], pos))
    }

    /// The columns of a one-row subquery, for row comparisons and multiple assignment.
    pub(crate) fn row_query(&mut self, query: &Query, width: usize, pos: Pos) -> Result<Vec<Expr>> {
        let right = self.subquery(query)?;
        if right.width() != width {
            let message = if right.width() < width {
                "subquery has too few columns"
            } else {
                "subquery has too many columns"
            };
            return Err(self.error("42601", message, pos));
        }
        let fields: Vec<Field> =
            right.fields.iter().map(|f| Field::new(f.name.clone(), f.ty.clone())).collect();
        let types: Vec<ColumnType> = fields.iter().map(|f| f.ty.clone()).collect();
        let number = self.pend_number(ApplyKind::ScalarRow, right, fields, pos);
        let part = |(i, ty)| Placeholder::Subquery(number, i).expr(ty);
        Ok(types.into_iter().enumerate().map(part).collect())
    }

    /// `left op ANY|ALL (SELECT ...)`; IN is `= ANY`, NOT IN is `<> ALL`.
    pub(crate) fn quantified_query(
        &mut self,
        op: &str,
        left: &Ast,
        query: &Query,
        all: bool,
        pos: Pos,
    ) -> Result<Expr> {
        let at = self.at(pos);
        let left = match &left.kind {
            ExprKind::Row(fields) => {
                fields.iter().map(|f| self.expr(f)).collect::<Result<Vec<_>>>()?
            }
            _ => match self.expr(left)? {
                Expr::Row { fields, .. } => fields,
                other => vec![other],
            },
        };
        let right = self.subquery(query)?;
        if right.width() != left.len() {
            let message = if right.width() < left.len() {
                "subquery has too few columns"
            } else {
                "subquery has too many columns"
            };
            return Err(self.error("42601", message, pos));
        }
        let columns: Vec<Expr> = right
            .fields
            .iter()
            .enumerate()
            .map(|(i, f)| Expr::column(RIGHT_BASE + i, f.ty.clone()))
            .collect();
        let test = if let ([left], [column]) = (left.as_slice(), columns.as_slice()) {
            self.resolver.resolve_operator(op, Some(left.clone()), column.clone(), Position(at))?
        } else {
            let Some(comparison) = Comparison::from_symbol(op) else {
                return Err(self.error(
                    "42883",
                    format!("operator does not exist: record {op} record"),
                    pos,
                ));
            };
            let left = self.resolver.untyped_row(left);
            let right = self.resolver.untyped_row(columns);
            self.resolver.compare(comparison, left, right, at)?
        };
        if *test.sql_type() != SqlType::Bool {
            let message = "op ANY/ALL (array) requires operator to yield boolean";
            return Err(self.error("42809", message, pos));
        }
        let kind = if all { ApplyKind::All { test } } else { ApplyKind::Any { test } };
        let field = Field::new("?column?", ColumnType::plain(SqlType::Bool));
        Ok(self.pend(kind, right, vec![field], pos))
    }

    fn subquery(&mut self, query: &Query) -> Result<Rel> {
        if self.levels.is_empty() {
            return Err(PlanError::unsupported("a subquery here"));
        }
        self.deeper(|b| b.query(query))
    }

    fn pend(&mut self, kind: ApplyKind, right: Rel, fields: Vec<Field>, pos: Pos) -> Expr {
        let ty = fields[0].ty.clone();
        let number = self.pend_number(kind, right, fields, pos);
        Placeholder::Subquery(number, 0).expr(ty)
    }

    fn pend_number(&mut self, kind: ApplyKind, right: Rel, fields: Vec<Field>, pos: Pos) -> usize {
        let level = self.level();
        level.subqueries.push(PendingSubquery { kind, right, fields, pos, placed: false });
        level.subqueries.len() - 1
    }

    /// Places the Applies of the subqueries that `exprs` use (and that are not placed yet) on top of
    /// `rel`, and puts their columns into `exprs`. `map` translates expressions over the level's own
    /// columns into `rel`'s; it answers `None` if one is gone (ungrouped), and leaves the right side's
    /// columns (from [`RIGHT_BASE`]) and subquery placeholders as they are.
    pub(crate) fn place_subqueries(
        &mut self,
        mut rel: Rel,
        exprs: &mut [&mut Expr],
        map: &dyn Fn(&Expr) -> Option<Expr>,
    ) -> Result<Rel> {
        let mut wanted: Vec<usize> = Vec::new();
        for expr in exprs.iter() {
            for placeholder in placeholders(expr) {
                if let Placeholder::Subquery(number, _) = placeholder
                    && !wanted.contains(&number)
                {
                    wanted.push(number);
                }
            }
        }
        // A test may itself hold subqueries, which come first in number.
        wanted.sort_unstable();
        let mut starts: Vec<(usize, usize)> = Vec::new();
        for number in wanted {
            rel = self.place_subquery(rel, number, &mut starts, map)?;
        }
        for expr in exprs.iter_mut() {
            replace_subqueries(expr, &starts);
        }
        Ok(rel)
    }

    fn place_subquery(
        &mut self,
        mut rel: Rel,
        number: usize,
        starts: &mut Vec<(usize, usize)>,
        map: &dyn Fn(&Expr) -> Option<Expr>,
    ) -> Result<Rel> {
        if starts.iter().any(|(n, _)| *n == number) {
            return Ok(rel);
        }
        let PendingSubquery { mut kind, mut right, fields, pos, placed } =
            self.level().subqueries[number].clone();
        if placed {
            return Err(PlanError::unsupported("a subquery used in two places").at(self.at(pos)));
        }
        self.level().subqueries[number].placed = true;
        if let ApplyKind::Any { test } | ApplyKind::All { test } = &mut kind {
            for inner in placeholders(test) {
                match inner {
                    Placeholder::Subquery(inner, _) => {
                        rel = self.place_subquery(rel, inner, starts, map)?;
                    }
                    Placeholder::Window(_) | Placeholder::Set(_) => {
                        let error = PlanError::unsupported(
                            "IN (SELECT ...) over a window or set-returning function",
                        );
                        return Err(error.at(self.at(pos)));
                    }
                    Placeholder::Aggregate(_) | Placeholder::Grouping(_) => {}
                }
            }
            let Some(mapped) = map(test) else { return Err(ungrouped(self, pos)) };
            *test = mapped;
            replace_subqueries(test, starts);
            let width = rel.width();
            test.map_columns(&|i| {
                if (RIGHT_BASE..1 << 40).contains(&i) { width + (i - RIGHT_BASE) } else { i }
            });
        }
        let mut missing = false;
        right.walk_exprs_mut(0, &mut |expr, inside| {
            expr.transform(&mut |part| {
                let Expr::OuterColumn { depth, index, ty } = part else { return };
                if *depth != inside {
                    return;
                }
                match map(&Expr::Column { index: *index, ty: ty.clone() }) {
                    Some(Expr::Column { index: to, .. }) => *index = to,
                    _ => missing = true,
                }
            });
        });
        if missing {
            return Err(ungrouped(self, pos));
        }
        starts.push((number, rel.width()));
        let mut all = rel.fields.clone();
        all.extend(fields);
        let node = RelNode::Apply { kind, left: Box::new(rel), right: Box::new(right) };
        Ok(Rel::new(node, all))
    }
}

fn ungrouped(binder: &Binder<'_>, pos: Pos) -> PlanError {
    binder.error("42803", "subquery uses ungrouped column from outer query", pos)
}

fn replace_subqueries(expr: &mut Expr, starts: &[(usize, usize)]) {
    expr.transform(&mut |part| {
        if let Expr::Column { index, .. } = part
            && let Some(Placeholder::Subquery(number, column)) = Placeholder::of(*index)
            && let Some((_, start)) = starts.iter().find(|(n, _)| *n == number)
        {
            *index = start + column;
        }
    });
}
