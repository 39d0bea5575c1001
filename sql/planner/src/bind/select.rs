//! SELECT: from its clauses to a tree.
//!
//! ```text
//! Project (drops sort columns)          what ORDER BY, DISTINCT ON and FOR UPDATE needed besides
//!   Limit
//!     LockRows
//!       Sort / DistinctOn / Distinct
//!         Project                       select list, then those columns
//!           ProjectSet                  set-returning functions
//!             Window
//!               Apply...                subqueries of the select list
//!                 Filter                HAVING
//!                   Aggregate
//!                     Filter            WHERE
//!                       FROM
//! ```

use super::Binder;
use super::call::{column_name, sort_key};
use super::from::{Source, filter};
use super::group::{Above, Grouping};
use super::query::sorted;
use super::scope::{Clause, Placeholder, placeholders};
use crate::ast::{
    Distinct, Expr as Ast, ExprKind, Ident, Locking, OrderItem, Pos, Query, Select, SelectItem,
};
use crate::error::{PlanError, Result};
use crate::plan::{
    Field, FrameBound, LockTarget, ProjectItem, Rel, RelNode, RowLock, SortKey, WindowFunction,
};
use catalog::RowKey;
use datum::{ColumnType, SqlType};
use expr::Expr;

/// One item of the select list, stars expanded.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub expr: Expr,
    pub name: String,
}

/// An ORDER BY or DISTINCT ON item.
#[derive(Clone, Debug)]
enum Key {
    Output(usize),
    /// Computed beside the select list.
    Extra(usize),
}

impl Binder<'_> {
    pub(crate) fn select(
        &mut self,
        select: &Select,
        query: Option<&Query>,
        keep_unknown: bool,
    ) -> Result<Rel> {
        if select.into.is_some() {
            return Err(self.error("42601", "SELECT ... INTO is not allowed here", select.pos));
        }
        let locks = query.map_or(&[][..], |q| q.locking.as_slice());
        let was = std::mem::replace(&mut self.row_ids, !locks.is_empty());
        let source = self.from(&select.from);
        self.row_ids = was;
        let Source { rel, scope } = source?;
        self.push_level(scope, Clause::Select);
        let result = self.select_level(select, query, rel, keep_unknown);
        self.pop_level();
        result
    }

    fn select_level(
        &mut self,
        select: &Select,
        query: Option<&Query>,
        mut rel: Rel,
        keep_unknown: bool,
    ) -> Result<Rel> {
        for (i, (name, _)) in select.windows.iter().enumerate() {
            if select.windows[..i].iter().any(|(other, _)| other.name == name.name) {
                let message = format!("window \"{}\" is already defined", name.name);
                return Err(self.error("42P20", message, name.pos));
            }
        }
        self.level().named_windows = select.windows.clone();
        if let Some(ast) = &select.filter {
            rel = self.where_clause(rel, ast)?;
        }
        let mut outputs = self.select_list(&select.items)?;
        if !keep_unknown || select.distinct.is_some() {
            for output in &mut outputs {
                let expr = std::mem::replace(&mut output.expr, Expr::bool(false));
                output.expr = self.resolver.default_unknown(expr)?;
            }
        }
        let grouping = self.in_clause(Clause::GroupBy, |b| b.grouping_clause(select, &outputs))?;
        let having = match &select.having {
            Some(ast) => {
                Some(self.in_clause(Clause::Having, |b| b.condition(ast, "argument of HAVING"))?)
            }
            None => None,
        };
        let mut extras: Vec<Expr> = Vec::new();
        let order_items = query.map_or(&[][..], |q| q.order.as_slice());
        let order =
            self.in_clause(Clause::OrderBy, |b| b.order_keys(order_items, &outputs, &mut extras))?;
        let distinct_on = match &select.distinct {
            Some(Distinct::On(list)) => self.in_clause(Clause::OrderBy, |b| {
                list.iter()
                    .map(|ast| b.key(ast, &outputs, &mut extras, "SELECT DISTINCT ON"))
                    .collect()
            })?,
            Some(Distinct::All) | None => Vec::new(),
        };
        if matches!(select.distinct, Some(Distinct::All)) && !extras.is_empty() {
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            let pos = order_items
                .iter()
                .zip(&order)
                .find(|(_, k)| matches!(k.0, Key::Extra(_)))
                .map_or(select.pos, |(item, _)| item.expr.pos);
            return Err(self.error("42P10", message, pos));
        }
        let grouped = !select.group.is_empty()
            || having.is_some()
            || !self.level().aggregates.is_empty()
            || !self.level().groupings.is_empty();
        let locks = query.map_or(&[][..], |q| q.locking.as_slice());
        if let Some(locking) = locks.first() {
            self.check_locking(select, grouped, locking)?;
        }
        let names: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        let mut exprs: Vec<Expr> = outputs.into_iter().map(|o| o.expr).collect();
        let visible = exprs.len();
        exprs.extend(extras);
        let mut having = having;
        rel = self.compute(rel, grouped.then_some(grouping), &mut having, &mut exprs)?;
        let locked = self.lock_columns(locks, &mut exprs)?;
        rel = project(rel, exprs, &names);
        rel = self.order_and_limit(rel, select, query, visible, order, distinct_on, locked)?;
        Ok(strip(rel, visible))
    }

    pub(crate) fn where_clause(&mut self, rel: Rel, ast: &Ast) -> Result<Rel> {
        let mut predicate =
            self.in_clause(Clause::Where, |b| b.condition(ast, "argument of WHERE"))?;
        let rel = self.place_subqueries(rel, &mut [&mut predicate], &|e| Some(e.clone()))?;
        Ok(filter(rel, predicate))
    }

    // ---- the select list ----

    pub(crate) fn select_list(&mut self, items: &[SelectItem]) -> Result<Vec<Output>> {
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::Star { qualifier, pos } => self.star(qualifier, *pos, &mut outputs)?,
                SelectItem::Expr { expr: ast, alias } => {
                    if let ExprKind::FieldStar(inner) = &ast.kind {
                        self.field_star(inner, ast.pos, &mut outputs)?;
                        continue;
                    }
                    let expr = self.expr(ast)?;
                    let name = match alias {
                        Some(alias) => alias.name.clone(),
                        None => column_name(ast),
                    };
                    outputs.push(Output { expr, name });
                }
            }
        }
        Ok(outputs)
    }

    fn star(&mut self, qualifier: &[Ident], pos: Pos, outputs: &mut Vec<Output>) -> Result<()> {
        let level = self.levels.len() - 1;
        let (level, columns) = if qualifier.is_empty() {
            let scope = &self.levels[level].scope;
            if scope.tables.is_empty() && scope.columns.is_empty() {
                let message = "SELECT * with no tables specified is not valid";
                return Err(self.error("42601", message, pos));
            }
            (level, scope.star.clone())
        } else {
            let found = (0..self.levels.len()).rev().find_map(|l| {
                let table = self.levels[l].scope.table_named(qualifier)?;
                Some((l, table.columns.clone()))
            });
            found.ok_or_else(|| self.no_table(qualifier))?
        };
        for column in columns {
            let name = self.levels[level].scope.columns[column].name.clone();
            outputs.push(Output { expr: self.read(level, column, pos), name });
        }
        Ok(())
    }

    /// `(e).*`: one column per field.
    fn field_star(&mut self, inner: &Ast, pos: Pos, outputs: &mut Vec<Output>) -> Result<()> {
        let record = self.expr(inner)?;
        if let Expr::Row { fields, shape } = record {
            let names = shape.names.iter().map(|n| n.to_string());
            outputs.extend(fields.into_iter().zip(names).map(|(expr, name)| Output { expr, name }));
            return Ok(());
        }
        let at = self.at(pos);
        let Some(shape) = record.shape().cloned() else {
            return Err(
                PlanError::unsupported("(...).* of a record whose fields are not known").at(at)
            );
        };
        for (index, (name, ty)) in shape.names.iter().zip(shape.types.iter()).enumerate() {
            let record = Box::new(record.clone());
            let expr = Expr::Field { record, index, ty: ColumnType::plain(ty.clone()) };
            outputs.push(Output { expr, name: name.to_string() });
        }
        Ok(())
    }

    // ---- ORDER BY ----

    fn order_keys(
        &mut self,
        items: &[OrderItem],
        outputs: &[Output],
        extras: &mut Vec<Expr>,
    ) -> Result<Vec<(Key, OrderItem)>> {
        items
            .iter()
            .map(|item| {
                let key = self.key(&item.expr, outputs, extras, "ORDER BY")?;
                let expr = match &key {
                    Key::Output(i) => &outputs[*i].expr,
                    Key::Extra(i) => &extras[*i],
                };
                self.check_sortable(expr, item.expr.pos)?;
                Ok((key, item.clone()))
            })
            .collect()
    }

    /// An output's name first, then its ordinal, then an expression over the input.
    fn key(
        &mut self,
        ast: &Ast,
        outputs: &[Output],
        extras: &mut Vec<Expr>,
        clause: &str,
    ) -> Result<Key> {
        if let ExprKind::Column(parts) = &ast.kind
            && let [name] = parts.as_slice()
        {
            let mut hits = outputs.iter().enumerate().filter(|(_, o)| o.name == name.name);
            if let Some((at, first)) = hits.next() {
                if hits.any(|(_, o)| o.expr != first.expr) {
                    let message = format!("{clause} \"{}\" is ambiguous", name.name);
                    return Err(self.error("42702", message, name.pos));
                }
                return Ok(Key::Output(at));
            }
        }
        if let Some(at) = self.ordinal(ast, outputs.len(), clause)? {
            return Ok(Key::Output(at));
        }
        let expr = self.typed_expr(ast)?;
        if let Some(at) = outputs.iter().position(|o| o.expr == expr) {
            return Ok(Key::Output(at));
        }
        let known = extras.iter().position(|e| *e == expr);
        Ok(Key::Extra(known.unwrap_or_else(|| {
            extras.push(expr);
            extras.len() - 1
        })))
    }

    // ---- the computing nodes ----

    /// Aggregate, HAVING, subqueries, windows and set-returning functions; `exprs` end up over the result.
    fn compute(
        &mut self,
        mut rel: Rel,
        grouping: Option<Grouping>,
        having: &mut Option<Expr>,
        exprs: &mut [Expr],
    ) -> Result<Rel> {
        let mut windows = std::mem::take(&mut self.level().windows);
        let mut sets = std::mem::take(&mut self.level().sets);
        let mut above: Option<(Vec<Expr>, usize)> = None;
        if let Some(grouping) = grouping {
            let mut all: Vec<&mut Expr> = exprs.iter_mut().collect();
            all.extend(having.as_mut());
            for window in &mut windows {
                all.extend(window_exprs(window));
            }
            for set in &mut sets {
                all.extend(&mut set.args);
            }
            rel = self.aggregated(rel, grouping, &mut all)?;
            if let RelNode::Aggregate { groups, calls, .. } = &rel.node {
                above = Some((groups.clone(), calls.len()));
            }
        }
        let map = |expr: &Expr| match &above {
            None => Some(expr.clone()),
            Some((groups, calls)) => {
                let start = groups.len();
                let above = Above { groups, calls_start: start, groupings_start: start + calls };
                above.rewrite(expr).ok()
            }
        };
        if let Some(predicate) = having {
            rel = self.place_subqueries(rel, &mut [predicate], &map)?;
            rel = filter(rel, predicate.clone());
        }
        {
            let mut all: Vec<&mut Expr> = exprs.iter_mut().collect();
            for window in &mut windows {
                all.extend(window_exprs(window));
            }
            for set in &mut sets {
                all.extend(&mut set.args);
            }
            rel = self.place_subqueries(rel, &mut all, &map)?;
        }
        if !windows.is_empty() {
            let start = rel.width();
            let mut fields = rel.fields.clone();
            fields.extend(windows.iter().map(|w| Field::new("window", w.ty.clone())));
            rel = Rel::new(RelNode::Window { input: Box::new(rel), calls: windows }, fields);
            let set_args = sets.iter_mut().flat_map(|s| s.args.iter_mut());
            for expr in exprs.iter_mut().chain(set_args) {
                replace(expr, |p| match p {
                    Placeholder::Window(n) => Some(start + n),
                    _ => None,
                });
            }
        }
        if !sets.is_empty() {
            rel = project_set(rel, sets, exprs);
        }
        if let Some(left) = exprs.iter().flat_map(placeholders).next() {
            return Err(PlanError::unsupported(format!(
                "this use of a {}",
                match left {
                    Placeholder::Aggregate(_) | Placeholder::Grouping(_) => "aggregate",
                    Placeholder::Window(_) => "window function",
                    Placeholder::Set(_) => "set-returning function",
                    Placeholder::Subquery(..) => "subquery",
                }
            )));
        }
        Ok(rel)
    }

    // ---- what comes after the select list ----

    fn order_and_limit(
        &mut self,
        mut rel: Rel,
        select: &Select,
        query: Option<&Query>,
        visible: usize,
        order: Vec<(Key, OrderItem)>,
        distinct_on: Vec<Key>,
        locks: Vec<LockTarget>,
    ) -> Result<Rel> {
        let position = |key: &Key| match key {
            Key::Output(i) => *i,
            Key::Extra(i) => visible + i,
        };
        let column = |rel: &Rel, key: &Key| {
            let at = position(key);
            Expr::column(at, rel.fields[at].ty.clone())
        };
        let mut keys: Vec<SortKey> =
            order.iter().map(|(key, item)| sort_key(column(&rel, key), item)).collect();
        let fields = rel.fields.clone();
        match &select.distinct {
            Some(Distinct::All) => {
                rel = Rel::new(RelNode::Distinct { input: Box::new(rel) }, fields.clone());
            }
            Some(Distinct::On(_)) => {
                let on: Vec<Expr> = distinct_on.iter().map(|key| column(&rel, key)).collect();
                let leading = keys.iter().take(on.len()).filter(|k| on.contains(&k.expr)).count();
                if leading < keys.len().min(on.len()) {
                    let message =
                        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
                    return Err(self.error("42P10", message, select.pos));
                }
                for expr in &on {
                    if !keys.iter().any(|k| k.expr == *expr) {
                        keys.push(SortKey {
                            expr: expr.clone(),
                            descending: false,
                            nulls_first: false,
                        });
                    }
                }
                let input = Box::new(sorted(rel, std::mem::take(&mut keys)));
                rel = Rel::new(RelNode::DistinctOn { input, keys: on }, fields.clone());
            }
            None => {}
        }
        let ties = query.filter(|q| q.with_ties).map(|_| keys.clone());
        if !keys.is_empty() {
            rel = sorted(rel, keys);
        }
        if !locks.is_empty() {
            rel = Rel::new(RelNode::LockRows { input: Box::new(rel), targets: locks }, fields);
        }
        match query {
            Some(query) => self.limited(rel, query, ties),
            None => Ok(rel),
        }
    }

    // ---- FOR UPDATE ----

    fn check_locking(&self, select: &Select, grouped: bool, locking: &Locking) -> Result<()> {
        let what = if select.distinct.is_some() {
            "DISTINCT clause"
        } else if !select.group.is_empty() {
            "GROUP BY clause"
        } else if select.having.is_some() {
            "HAVING clause"
        } else if grouped {
            "aggregate functions"
        } else {
            return Ok(());
        };
        let message = format!("FOR UPDATE is not allowed with {what}");
        Err(self.error("0A000", message, locking.pos))
    }

    /// Adds the row keys of the tables to lock to what is computed.
    fn lock_columns(
        &mut self,
        locks: &[Locking],
        exprs: &mut Vec<Expr>,
    ) -> Result<Vec<LockTarget>> {
        let mut targets = Vec::new();
        for locking in locks {
            let scope = self.levels[self.levels.len() - 1].scope.clone();
            for name in &locking.of {
                if !scope.tables.iter().any(|t| t.alias == name.name()) {
                    let message = format!(
                        "relation \"{name}\" in FOR UPDATE clause not found in FROM clause"
                    );
                    return Err(self.error("42P01", message, name.pos()));
                }
            }
            for table in &scope.tables {
                let named = locking.of.iter().any(|n| n.name() == table.alias);
                if !(locking.of.is_empty() || named) {
                    continue;
                }
                let Some((stored, start)) = &table.stored else { continue };
                let key_columns: Vec<(usize, ColumnType)> = match stored.row_key() {
                    RowKey::Hidden => {
                        vec![(start + stored.columns.len(), ColumnType::plain(SqlType::Int8))]
                    }
                    RowKey::PrimaryKey(_) => stored
                        .row_key_ordinals()
                        .into_iter()
                        .map(|o| (start + o, stored.columns[o].ty.clone()))
                        .collect(),
                };
                let first = exprs.len();
                let key = (first..first + key_columns.len()).collect();
                exprs.extend(key_columns.into_iter().map(|(i, ty)| Expr::column(i, ty)));
                let lock = RowLock { mode: locking.mode, wait: locking.wait };
                targets.push(LockTarget { table: stored.clone(), key, lock });
            }
        }
        Ok(targets)
    }
}

/// Set-returning calls: all input columns stay, then one column per call.
fn project_set(input: Rel, sets: Vec<crate::plan::SetCall>, exprs: &mut [Expr]) -> Rel {
    let start = input.width();
    let mut fields = input.fields.clone();
    let mut items: Vec<ProjectItem> = fields
        .iter()
        .enumerate()
        .map(|(i, f)| ProjectItem::Scalar(Expr::column(i, f.ty.clone())))
        .collect();
    for set in sets {
        fields.push(Field::new(set.function.def.name, set.ty.clone()));
        items.push(ProjectItem::Set(set));
    }
    for expr in exprs {
        replace(expr, |p| match p {
            Placeholder::Set(n) => Some(start + n),
            _ => None,
        });
    }
    Rel::new(RelNode::ProjectSet { input: Box::new(input), items }, fields)
}

fn replace(expr: &mut Expr, place: impl Fn(Placeholder) -> Option<usize>) {
    expr.transform(&mut |part| {
        if let Expr::Column { index, .. } = part
            && let Some(at) = Placeholder::of(*index).and_then(&place)
        {
            *index = at;
        }
    });
}

fn window_exprs(window: &mut crate::plan::WindowCall) -> Vec<&mut Expr> {
    let mut all: Vec<&mut Expr> = match &mut window.function {
        WindowFunction::Window { args, .. } => args.iter_mut().collect(),
        WindowFunction::Aggregate(call) => call.args.iter_mut().chain(&mut call.filter).collect(),
    };
    all.extend(&mut window.partition);
    all.extend(window.order.iter_mut().map(|key| &mut key.expr));
    for bound in [&mut window.frame.start, &mut window.frame.end] {
        match bound {
            FrameBound::Preceding(expr) | FrameBound::Following(expr) => all.push(expr),
            FrameBound::UnboundedPreceding
            | FrameBound::CurrentRow
            | FrameBound::UnboundedFollowing => {}
        }
    }
    all
}

/// A projection whose first columns have these names; columns keep their origin.
pub(crate) fn project(input: Rel, exprs: Vec<Expr>, names: &[String]) -> Rel {
    let fields = exprs
        .iter()
        .enumerate()
        .map(|(i, expr)| {
            let origin = match expr {
                Expr::Column { index, .. } => input.fields.get(*index).and_then(|f| f.origin),
                _ => None,
            };
            let name = names.get(i).cloned().unwrap_or_else(|| "?column?".to_string());
            Field { origin, ..Field::new(name, expr.ty().clone()) }
        })
        .collect();
    Rel::new(RelNode::Project { input: Box::new(input), exprs }, fields)
}

/// Keeps the first columns only.
fn strip(rel: Rel, visible: usize) -> Rel {
    if rel.width() == visible {
        return rel;
    }
    let fields: Vec<Field> = rel.fields[..visible].to_vec();
    let exprs = fields.iter().enumerate().map(|(i, f)| Expr::column(i, f.ty.clone())).collect();
    Rel::new(RelNode::Project { input: Box::new(rel), exprs }, fields)
}
