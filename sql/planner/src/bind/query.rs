//! Queries: set operations, VALUES, and ORDER BY, LIMIT over their results.

use super::Binder;
use super::call::{column_name, sort_key};
use super::from::one_row;
use super::scope::{Clause, Scope, ScopeColumn};
use crate::ast::{Expr as Ast, ExprKind, OrderItem, Query, SelectItem, SetExpr};
use crate::error::{PlanError, Result};
use crate::plan::{Field, Rel, RelNode, SetOperator, SortKey};
use datum::{ColumnType, SqlType};
use expr::Expr;

impl Binder<'_> {
    /// The query of a statement.
    pub(crate) fn top_query(&mut self, query: &Query) -> Result<Rel> {
        self.query(query)
    }

    /// A query whose literals without a type have become text.
    pub(crate) fn query(&mut self, query: &Query) -> Result<Rel> {
        self.query_keeping(query, false)
    }

    /// With `keep_unknown`, output literals stay untyped for the caller to settle
    /// ([`Binder::coerce_outputs`]).
    pub(crate) fn query_keeping(&mut self, query: &Query, keep_unknown: bool) -> Result<Rel> {
        let open = query.with.as_ref().map(|with| self.open_with(with)).transpose()?;
        let rel = self.query_body(query, keep_unknown)?;
        Ok(match open {
            Some(open) => self.close_with(open, rel),
            None => rel,
        })
    }

    fn query_body(&mut self, query: &Query, keep_unknown: bool) -> Result<Rel> {
        match &query.body {
            SetExpr::Select(select) => self.select(select, Some(query), keep_unknown),
            body => {
                if let Some(locking) = query.locking.first() {
                    let message = match body {
                        SetExpr::Values(_) => "FOR UPDATE cannot be applied to VALUES",
                        _ => "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
                    };
                    return Err(self.error("0A000", message, locking.pos));
                }
                let bare =
                    query.order.is_empty() && query.limit.is_none() && query.offset.is_none();
                let rel = self.set_operand(body, keep_unknown && bare)?;
                let is_set_op = matches!(body, SetExpr::SetOp { .. });
                let keys = self.output_order(&rel, &query.order, is_set_op)?;
                let ties = query.with_ties.then(|| keys.clone());
                let rel = if keys.is_empty() { rel } else { sorted(rel, keys) };
                self.limited(rel, query, ties)
            }
        }
    }

    /// A branch of a set operation, or a whole body.
    pub(crate) fn set_operand(&mut self, body: &SetExpr, keep_unknown: bool) -> Result<Rel> {
        self.deeper(|b| match body {
            SetExpr::Select(select) => b.select(select, None, keep_unknown),
            SetExpr::Values(rows) => b.values(rows, keep_unknown),
            SetExpr::Nested(query) => b.query_keeping(query, keep_unknown),
            SetExpr::SetOp { op, all, left, right, pos } => {
                b.set_operation(*op, *all, left, right, *pos)
            }
        })
    }

    fn set_operation(
        &mut self,
        op: SetOperator,
        all: bool,
        left: &SetExpr,
        right: &SetExpr,
        pos: u32,
    ) -> Result<Rel> {
        let word = match op {
            SetOperator::Union => "UNION",
            SetOperator::Intersect => "INTERSECT",
            SetOperator::Except => "EXCEPT",
        };
        let mut left = self.set_operand(left, true)?;
        let mut right = self.set_operand(right, true)?;
        if left.width() != right.width() {
            let message = format!("each {word} query must have the same number of columns");
            return Err(self.error("42601", message, pos));
        }
        let mut types = Vec::with_capacity(left.width());
        for (l, r) in left.fields.iter().zip(&right.fields) {
            types.push(self.resolver.common_type_of(word, &[l.ty.clone(), r.ty.clone()])?);
        }
        self.coerce_outputs(&mut left, &types, word)?;
        self.coerce_outputs(&mut right, &types, word)?;
        let fields = left.fields.iter().map(|f| Field::new(f.name.clone(), f.ty.clone())).collect();
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Rel::new(RelNode::SetOp { op, all, left, right }, fields))
    }

    /// Brings a query's columns to these types, literals without a type included.
    pub(crate) fn coerce_outputs(
        &mut self,
        rel: &mut Rel,
        types: &[ColumnType],
        construct: &str,
    ) -> Result<()> {
        // What is unknown on both sides of a set operation is text.
        let types: Vec<ColumnType> = types
            .iter()
            .map(|ty| match ty.ty {
                SqlType::Unknown => ColumnType::plain(SqlType::Text),
                _ => ty.clone(),
            })
            .collect();
        if rel.fields.iter().zip(&types).all(|(f, ty)| f.ty == *ty) {
            return Ok(());
        }
        let resolver = &self.resolver;
        let coerce = |expr: &mut Expr, ty: &ColumnType| -> Result<()> {
            let old = std::mem::replace(expr, Expr::bool(false));
            *expr = match old.ty() == ty {
                true => old,
                false => resolver.coerce_to_common(construct, old, ty)?,
            };
            Ok(())
        };
        match &mut rel.node {
            RelNode::Project { exprs, .. } => {
                for (expr, ty) in exprs.iter_mut().zip(&types) {
                    coerce(expr, ty)?;
                }
            }
            RelNode::Values { rows } => {
                for row in rows {
                    for (expr, ty) in row.iter_mut().zip(&types) {
                        coerce(expr, ty)?;
                    }
                }
            }
            _ => {
                let old = std::mem::replace(rel, one_row());
                let mut exprs: Vec<Expr> = Vec::with_capacity(types.len());
                for (i, (field, ty)) in old.fields.iter().zip(&types).enumerate() {
                    let mut expr = Expr::column(i, field.ty.clone());
                    coerce(&mut expr, ty)?;
                    exprs.push(expr);
                }
                let fields = old.fields.clone();
                *rel = Rel::new(RelNode::Project { input: Box::new(old), exprs }, fields);
            }
        }
        for (field, ty) in rel.fields.iter_mut().zip(types) {
            if field.ty != ty {
                field.ty = ty;
                field.origin = None;
            }
        }
        Ok(())
    }

    // ---- VALUES ----

    fn values(&mut self, rows: &[Vec<Ast>], keep_unknown: bool) -> Result<Rel> {
        self.push_level(Scope::default(), Clause::Values);
        let result = self.values_rows(rows, keep_unknown);
        self.pop_level();
        result
    }

    fn values_rows(&mut self, rows: &[Vec<Ast>], keep_unknown: bool) -> Result<Rel> {
        let width = rows.first().map_or(0, Vec::len);
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            if row.len() != width {
                let pos = row.first().map_or(0, |e| e.pos);
                return Err(self.error("42601", "VALUES lists must all be the same length", pos));
            }
            bound.push(self.exprs(row)?);
        }
        let mut fields = Vec::with_capacity(width);
        for column in 0..width {
            let all: Vec<&Expr> = bound.iter().map(|row| &row[column]).collect();
            let unknown = all.iter().all(|e| e.is_unknown());
            let ty = match (unknown, keep_unknown) {
                (true, true) => ColumnType::plain(SqlType::Unknown),
                (true, false) => ColumnType::plain(SqlType::Text),
                _ => self.resolver.common_type("VALUES", &all)?,
            };
            for row in &mut bound {
                let expr = std::mem::replace(&mut row[column], Expr::bool(false));
                row[column] = match unknown && keep_unknown {
                    true => expr,
                    false => self.resolver.coerce_to_common("VALUES", expr, &ty)?,
                };
            }
            fields.push(Field::new(format!("column{}", column + 1), ty));
        }
        if self.level().subqueries.is_empty() {
            return Ok(Rel::new(RelNode::Values { rows: bound }, fields));
        }
        self.values_with_subqueries(bound, &fields)
    }

    /// Each row becomes a projection of its own over its subqueries.
    fn values_with_subqueries(&mut self, rows: Vec<Vec<Expr>>, fields: &[Field]) -> Result<Rel> {
        let mut all: Option<Rel> = None;
        for mut exprs in rows {
            let mut parts: Vec<&mut Expr> = exprs.iter_mut().collect();
            let input = self.place_subqueries(one_row(), &mut parts, &|e| Some(e.clone()))?;
            let node = RelNode::Project { input: Box::new(input), exprs };
            let row = Rel::new(node, fields.to_vec());
            all = Some(match all {
                None => row,
                Some(before) => {
                    let (left, right) = (Box::new(before), Box::new(row));
                    let op = SetOperator::Union;
                    Rel::new(RelNode::SetOp { op, all: true, left, right }, fields.to_vec())
                }
            });
        }
        all.ok_or_else(|| PlanError::syntax("VALUES without rows"))
    }

    // ---- ORDER BY and LIMIT of whole results ----

    fn output_order(
        &mut self,
        rel: &Rel,
        order: &[OrderItem],
        is_set_op: bool,
    ) -> Result<Vec<SortKey>> {
        let mut keys = Vec::with_capacity(order.len());
        for item in order {
            let expr = match self.output_column(rel, &item.expr, "ORDER BY")? {
                Some(column) => Expr::column(column, rel.fields[column].ty.clone()),
                None if is_set_op => {
                    let message = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
                    return Err(self
                        .error("0A000", message, item.expr.pos)
                        .detail("Only result column names can be used, not expressions or functions.")
                        .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."));
                }
                None => {
                    self.push_level(output_scope(rel), Clause::Limit);
                    let bound = self.typed_expr(&item.expr);
                    let level = self.pop_level();
                    if !level.subqueries.is_empty() {
                        return Err(PlanError::unsupported("a subquery in this ORDER BY"));
                    }
                    bound?
                }
            };
            self.check_sortable(&expr, item.expr.pos)?;
            keys.push(sort_key(expr, item));
        }
        Ok(keys)
    }

    /// An ordinal or the name of an output column.
    fn output_column(&self, rel: &Rel, ast: &Ast, clause: &str) -> Result<Option<usize>> {
        if let Some(ordinal) = self.ordinal(ast, rel.width(), clause)? {
            return Ok(Some(ordinal));
        }
        let ExprKind::Column(parts) = &ast.kind else { return Ok(None) };
        let [name] = parts.as_slice() else { return Ok(None) };
        let mut hits = rel.fields.iter().enumerate().filter(|(_, f)| f.name == name.name);
        let Some((at, _)) = hits.next() else {
            let message = format!("column \"{}\" does not exist", name.name);
            return Err(self.error("42703", message, name.pos));
        };
        if hits.next().is_some() {
            let message = format!("{clause} \"{}\" is ambiguous", name.name);
            return Err(self.error("42702", message, name.pos));
        }
        Ok(Some(at))
    }

    /// # Errors
    /// 42P10 `ORDER BY position 5 is not in select list`, 42601 for other constants.
    pub(crate) fn ordinal(&self, ast: &Ast, width: usize, clause: &str) -> Result<Option<usize>> {
        match &ast.kind {
            ExprKind::Int(digits) => match digits.parse::<usize>() {
                Ok(n) if (1..=width).contains(&n) => Ok(Some(n - 1)),
                _ => {
                    let message = format!("{clause} position {digits} is not in select list");
                    Err(self.error("42P10", message, ast.pos))
                }
            },
            ExprKind::Decimal(_) | ExprKind::Str(_) | ExprKind::Null | ExprKind::Bool(_)
                if !matches!(ast.kind, ExprKind::Null | ExprKind::Bool(_))
                    || clause == "GROUP BY" =>
            {
                let message = format!("non-integer constant in {clause}");
                Err(self.error("42601", message, ast.pos))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn limited(
        &mut self,
        rel: Rel,
        query: &Query,
        ties: Option<Vec<SortKey>>,
    ) -> Result<Rel> {
        if query.limit.is_none() && query.offset.is_none() {
            return Ok(rel);
        }
        if query.with_ties && ties.as_ref().is_none_or(Vec::is_empty) {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(PlanError::new("42601", message));
        }
        let limit = query.limit.as_ref().map(|e| self.row_count(e, "LIMIT")).transpose()?;
        let offset = query.offset.as_ref().map(|e| self.row_count(e, "OFFSET")).transpose()?;
        let fields = rel.fields.clone();
        Ok(Rel::new(RelNode::Limit { input: Box::new(rel), limit, offset, ties }, fields))
    }

    fn row_count(&mut self, ast: &Ast, clause: &str) -> Result<Expr> {
        self.push_level(Scope::default(), Clause::Limit);
        let bound = self.expr(ast);
        let level = self.pop_level();
        if !level.subqueries.is_empty() {
            return Err(
                PlanError::unsupported(format!("a subquery in {clause}")).at(self.at(ast.pos))
            );
        }
        let at = self.at(ast.pos);
        let expr = self.resolver.coerce_to_bigint(bound?, &format!("argument of {clause}"));
        expr.map_err(|e| PlanError::from(e.at(at)))
    }
}

pub(crate) fn sorted(input: Rel, keys: Vec<SortKey>) -> Rel {
    let fields = input.fields.clone();
    Rel::new(RelNode::Sort { input: Box::new(input), keys }, fields)
}

/// The output columns of a query as names.
fn output_scope(rel: &Rel) -> Scope {
    let columns = rel.fields.iter().enumerate().map(|(i, f)| ScopeColumn {
        name: f.name.clone(),
        expr: Expr::column(i, f.ty.clone()),
        bare: true,
        origin: None,
    });
    Scope { columns: columns.collect(), ..Scope::default() }
}

/// What a scalar subquery's column is called.
pub(crate) fn first_column_name(query: &Query) -> Option<String> {
    let mut body = &query.body;
    loop {
        match body {
            SetExpr::Select(select) => {
                return match select.items.first()? {
                    SelectItem::Expr { alias: Some(alias), .. } => Some(alias.name.clone()),
                    SelectItem::Expr { expr, alias: None } => Some(column_name(expr)),
                    SelectItem::Star { .. } => None,
                };
            }
            SetExpr::Values(_) => return Some("column1".to_string()),
            SetExpr::SetOp { left, .. } => body = left,
            SetExpr::Nested(inner) => body = &inner.body,
        }
    }
}
