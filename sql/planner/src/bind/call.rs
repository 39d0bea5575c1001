//! Function calls: scalar ones stay in the expression; aggregates, window calls and set-returning
//! calls are noted at their level and leave a placeholder.

use super::Binder;
use super::scope::{Clause, Placeholder, placeholders};
use crate::ast::{Arg, Call, Expr as Ast, ExprKind, OrderItem, Pos};
use crate::error::{PlanError, Result};
use crate::plan::{AggregateCall, SetCall, SortKey};
use datum::{ColumnType, SqlType};
use expr::{CallOptions, Expr, FunctionKind, ResolvedCall, Resolver};

impl Binder<'_> {
    pub(crate) fn call(&mut self, call: &Call, pos: Pos) -> Result<Expr> {
        let at = self.at(pos);
        let name = call.name.name().to_string();
        match self.resolve_call(call, &name, pos)? {
            Bound::Expr(expr) => Ok(expr),
            Bound::Resolved(ResolvedCall::Scalar(expr)) => {
                if call.over.is_some() {
                    let message = format!(
                        "OVER specified, but {name} is not a window function nor an aggregate function"
                    );
                    return Err(PlanError::new("42809", message).at(at));
                }
                self.refuse_aggregate_syntax(call, &name, pos)?;
                Ok(expr)
            }
            Bound::Resolved(ResolvedCall::Aggregate(aggregate)) => {
                let filter_and_order = self.aggregate_clauses(call)?;
                let (order, filter) = filter_and_order;
                let direct = match &aggregate.bound.def.0.kind {
                    FunctionKind::Aggregate(def) => def.ordered_set_direct.unwrap_or(0),
                    FunctionKind::Scalar(_)
                    | FunctionKind::Set { .. }
                    | FunctionKind::Window(_) => 0,
                };
                let within = call.within_group.len();
                let direct = if within > 0 { aggregate.args.len() - within } else { direct };
                let order = match within {
                    0 => order,
                    _ => within_group_keys(&call.within_group, &aggregate.args[direct..]),
                };
                let mut aggregate = AggregateCall {
                    ty: aggregate.bound.ty.clone(),
                    function: aggregate.bound,
                    args: aggregate.args,
                    direct,
                    distinct: call.distinct,
                    order,
                    filter,
                };
                self.check_distinct(&mut aggregate, pos)?;
                match &call.over {
                    Some(over) => self.window_aggregate(aggregate, over, pos),
                    None => self.aggregate(aggregate, pos),
                }
            }
            Bound::Resolved(ResolvedCall::Window(window)) => match &call.over {
                Some(over) => self.window_call(window, over, pos),
                None => {
                    let message = format!("window function {name} requires an OVER clause");
                    Err(PlanError::new("42809", message).at(at))
                }
            },
            Bound::Resolved(ResolvedCall::Set(set)) => {
                let clause = self.level().clause;
                if !clause.allows_sets() || self.level().in_aggregate {
                    let clause = if self.level().in_aggregate { Clause::Aggregate } else { clause };
                    return Err(self.refuse("set-returning functions", "0A000", clause, pos));
                }
                let nested = set.args.iter().flat_map(placeholders);
                if nested.into_iter().any(|p| matches!(p, Placeholder::Set(_))) {
                    return Err(PlanError::unsupported("nested set-returning functions").at(at));
                }
                let ty = set_type(&set);
                let level = self.level();
                level.sets.push(SetCall { function: set.bound, args: set.args, ty: ty.clone() });
                Ok(Placeholder::Set(level.sets.len() - 1).expr(ty))
            }
        }
    }

    /// The function behind a call and its bound arguments.
    pub(crate) fn resolve_call(&mut self, call: &Call, name: &str, pos: Pos) -> Result<Bound> {
        let at = self.at(pos);
        self.check_function_schema(call, pos)?;
        if call.name.parts.len() == 1
            && let Some(expr) = self.construct(call, name, pos)?
        {
            return Ok(Bound::Expr(expr));
        }
        let aggregate = Resolver::is_aggregate(name) && call.over.is_none();
        let was = self.level().in_aggregate;
        if aggregate {
            if was {
                let message = "aggregate function calls cannot be nested";
                return Err(self.error("42803", message, pos));
            }
            self.level().in_aggregate = true;
        }
        let args = self.call_args(&call.args);
        let within: Result<Vec<Expr>> =
            call.within_group.iter().map(|item| self.typed_expr(&item.expr)).collect();
        self.level().in_aggregate = was;
        let (mut args, names) = args?;
        let within = within?;
        let options = CallOptions {
            names,
            variadic: call.variadic,
            within_group: within.len(),
            position: at,
        };
        args.extend(within);
        if call.star && !Resolver::is_aggregate(name) && !Resolver::is_window_only(name) {
            let message = format!("{name}(*) specified, but {name} is not an aggregate function");
            return Err(self.error("42809", message, pos));
        }
        if args.is_empty() && !call.star && name == "count" {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(self.error("42809", message, pos));
        }
        match self.resolver.resolve_function(name, args, &options) {
            Ok(resolved) => Ok(Bound::Resolved(resolved)),
            Err(error) => {
                let mut error = PlanError::from(error).at(at);
                if call.name.parts.len() > 1 && error.sqlstate == "42883" {
                    error.message = error.message.replacen(name, &call.name.to_string(), 1);
                }
                Err(error)
            }
        }
    }

    fn check_function_schema(&self, call: &Call, pos: Pos) -> Result<()> {
        match call.name.schema() {
            None | Some("pg_catalog") => Ok(()),
            Some(schema) => {
                self.schema(schema, pos)?;
                if schema == "information_schema" && call.name.name().starts_with("_pg") {
                    return Err(PlanError::unsupported(format!("function {}", call.name)));
                }
                let message = format!("function {}() does not exist", call.name);
                Err(self.error("42883", message, pos))
            }
        }
    }

    fn call_args(&mut self, args: &[Arg]) -> Result<(Vec<Expr>, Vec<Option<String>>)> {
        let mut bound = Vec::with_capacity(args.len());
        let mut names = Vec::with_capacity(args.len());
        for arg in args {
            bound.push(self.expr(&arg.value)?);
            names.push(arg.name.as_ref().map(|n| n.name.clone()));
        }
        if names.iter().all(Option::is_none) {
            names.clear();
        }
        Ok((bound, names))
    }

    /// What looks like a function and is an expression of its own.
    fn construct(&mut self, call: &Call, name: &str, pos: Pos) -> Result<Option<Expr>> {
        let at = self.at(pos);
        let plain = |b: &mut Self| -> Result<Vec<Expr>> {
            call.args.iter().map(|arg| b.expr(&arg.value)).collect()
        };
        let expr = match name {
            "coalesce" => {
                let args = plain(self)?;
                self.resolver.coalesce(args)?
            }
            "greatest" => {
                let args = plain(self)?;
                self.resolver.greatest(args)?
            }
            "least" => {
                let args = plain(self)?;
                self.resolver.least(args)?
            }
            "nullif" => {
                let mut args = plain(self)?;
                let (Some(right), Some(left)) = (args.pop(), args.pop()) else {
                    return Err(self.error("42601", "NULLIF takes two arguments", pos));
                };
                self.resolver.nullif(left, right, at)?
            }
            "grouping" => self.grouping(&call.args, pos)?,
            _ => return Ok(None),
        };
        Ok(Some(expr))
    }

    fn grouping(&mut self, args: &[Arg], pos: Pos) -> Result<Expr> {
        let clause = self.level().clause;
        if !clause.allows_aggregates() {
            return Err(self.refuse("grouping operations", "42803", clause, pos));
        }
        let args: Result<Vec<Expr>> = args.iter().map(|arg| self.expr(&arg.value)).collect();
        let level = self.level();
        level.groupings.push(args?);
        let number = level.groupings.len() - 1;
        Ok(Placeholder::Grouping(number).expr(ColumnType::plain(SqlType::Int4)))
    }

    fn refuse_aggregate_syntax(&self, call: &Call, name: &str, pos: Pos) -> Result<()> {
        let what = if call.distinct {
            "DISTINCT"
        } else if !call.order.is_empty() {
            "ORDER BY"
        } else if call.filter.is_some() {
            "FILTER"
        } else {
            return Ok(());
        };
        let message = format!("{what} specified, but {name} is not an aggregate function");
        Err(self.error("42809", message, pos))
    }

    fn aggregate_clauses(&mut self, call: &Call) -> Result<(Vec<SortKey>, Option<Expr>)> {
        let was = std::mem::replace(&mut self.level().in_aggregate, call.over.is_none());
        let order = self.sort_keys(&call.order);
        let filter = call.filter.as_ref().map(|f| self.condition(f, "argument of FILTER"));
        self.level().in_aggregate = was;
        Ok((order?, filter.transpose()?))
    }

    /// DISTINCT aggregates sort by their arguments: ORDER BY may only name these.
    fn check_distinct(&mut self, call: &mut AggregateCall, pos: Pos) -> Result<()> {
        if !call.distinct {
            return Ok(());
        }
        if call.order.iter().any(|key| !call.args.contains(&key.expr)) {
            let message =
                "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(self.error("42P10", message, pos));
        }
        Ok(())
    }

    /// Sort keys whose expressions are plain ones of the current level (no ordinals).
    pub(crate) fn sort_keys(&mut self, items: &[OrderItem]) -> Result<Vec<SortKey>> {
        items
            .iter()
            .map(|item| {
                let expr = self.typed_expr(&item.expr)?;
                self.check_sortable(&expr, item.expr.pos)?;
                Ok(sort_key(expr, item))
            })
            .collect()
    }

    /// # Errors
    /// 42883 `could not identify an ordering operator for type json`.
    pub(crate) fn check_sortable(&self, expr: &Expr, pos: Pos) -> Result<()> {
        let ty = expr.sql_type();
        let element = ty.element_type().unwrap_or_else(|| ty.clone());
        if matches!(element, SqlType::Json | SqlType::Void | SqlType::Xid) {
            let message = format!("could not identify an ordering operator for type {}", ty.name());
            return Err(self
                .error("42883", message, pos)
                .hint("Use an explicit ordering operator or modify the query."));
        }
        Ok(())
    }

    fn aggregate(&mut self, call: AggregateCall, pos: Pos) -> Result<Expr> {
        let clause = self.level().clause;
        if self.level().in_aggregate {
            return Err(self.error("42803", "aggregate function calls cannot be nested", pos));
        }
        let mut inside = call.args.iter().chain(&call.filter).flat_map(placeholders);
        if inside.any(|p| matches!(p, Placeholder::Window(_))) {
            let message = "aggregate function calls cannot contain window function calls";
            return Err(self.error("42803", message, pos));
        }
        let outer_only =
            call.args.iter().any(|arg| arg.any(&mut |e| matches!(e, Expr::OuterColumn { .. })))
                && call.args.iter().all(|arg| arg.columns().is_empty());
        if outer_only {
            return Err(PlanError::unsupported("an aggregate of an outer query").at(self.at(pos)));
        }
        if !clause.allows_aggregates() {
            return Err(self.refuse("aggregate functions", "42803", clause, pos));
        }
        let ty = call.ty.clone();
        let level = self.level();
        // The same aggregate twice is computed once.
        let known = level.aggregates.iter().position(|other| same_aggregate(other, &call));
        let number = known.unwrap_or_else(|| {
            level.aggregates.push(call);
            level.aggregates.len() - 1
        });
        Ok(Placeholder::Aggregate(number).expr(ty))
    }
}

/// What a call's name turned out to be.
pub(crate) enum Bound {
    /// COALESCE and its kind.
    Expr(Expr),
    Resolved(ResolvedCall),
}

pub(crate) fn sort_key(expr: Expr, item: &OrderItem) -> SortKey {
    SortKey {
        expr,
        descending: item.descending,
        nulls_first: item.nulls_first.unwrap_or(item.descending),
    }
}

fn within_group_keys(items: &[OrderItem], args: &[Expr]) -> Vec<SortKey> {
    items.iter().zip(args).map(|(item, arg)| sort_key(arg.clone(), item)).collect()
}

/// One column, or a record of several.
pub(crate) fn set_type(set: &expr::SetCall) -> ColumnType {
    match set.bound.columns.as_slice() {
        [(_, ty)] => ty.clone(),
        _ => set.bound.ty.clone(),
    }
}

fn same_aggregate(a: &AggregateCall, b: &AggregateCall) -> bool {
    let same_order = a.order.len() == b.order.len()
        && a.order.iter().zip(&b.order).all(|(a, b)| {
            a.expr == b.expr && a.descending == b.descending && a.nulls_first == b.nulls_first
        });
    let volatile = a.args.iter().any(Expr::is_volatile);
    a.function == b.function
        && a.args == b.args
        && a.distinct == b.distinct
        && a.filter == b.filter
        && same_order
        && !volatile
}

/// The name that PostgreSQL gives an output column without AS.
pub(crate) fn column_name(ast: &Ast) -> String {
    name_and_strength(ast).map_or_else(|| "?column?".to_string(), |(name, _)| name)
}

/// FigureColname: a weak name (2 is strong) gives way to a better one further in.
fn name_and_strength(ast: &Ast) -> Option<(String, u8)> {
    let strong = |name: &str| Some((name.to_string(), 2));
    match &ast.kind {
        ExprKind::Column(parts) => parts.last().and_then(|p| strong(&p.name)),
        ExprKind::Field(_, name) => strong(&name.name),
        ExprKind::Subscript(inner, _) => name_and_strength(inner),
        ExprKind::Call(call) => match call.name.name() {
            "btrim" if call.special => strong("btrim"),
            name => strong(name),
        },
        ExprKind::Cast(inner, ty) => {
            let inner = name_and_strength(inner);
            match inner {
                Some((_, 2)) => inner,
                _ => Some((ty.name.name().to_string(), 1)),
            }
        }
        ExprKind::TypedLiteral(ty, _) => Some((ty.name.name().to_string(), 1)),
        ExprKind::Collate(inner, _) => name_and_strength(inner),
        ExprKind::Case { otherwise, .. } => {
            let inner = otherwise.as_deref().and_then(name_and_strength);
            match inner {
                Some((_, 2)) => inner,
                _ => Some(("case".to_string(), 1)),
            }
        }
        ExprKind::Array(_) | ExprKind::ArrayQuery(_) => strong("array"),
        ExprKind::Row(_) => strong("row"),
        ExprKind::Exists(_) => strong("exists"),
        ExprKind::Scalar(query) => super::query::first_column_name(query).and_then(|n| strong(&n)),
        ExprKind::Bool(_) => Some(("bool".to_string(), 1)),
        _ => None,
    }
}
