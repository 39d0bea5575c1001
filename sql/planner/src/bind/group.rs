//! GROUP BY and aggregation: from expressions over the input to expressions over groups.

use super::Binder;
use super::scope::{Placeholder, placeholders};
use super::select::Output;
use super::subquery::RIGHT_BASE;
use crate::ast::{Expr as Ast, ExprKind, GroupItem, Select};
use crate::error::{PlanError, Result};
use crate::plan::{Field, Rel, RelNode};
use datum::{ColumnType, SqlType};
use expr::Expr;

/// The GROUP BY clause, bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grouping {
    pub groups: Vec<Expr>,
    /// `None`: plain GROUP BY.
    pub sets: Option<Vec<Vec<usize>>>,
}

/// PostgreSQL's bound on CUBE and its kin.
const SETS_MAX: usize = 4096;

impl Binder<'_> {
    pub(crate) fn grouping_clause(
        &mut self,
        select: &Select,
        outputs: &[Output],
    ) -> Result<Grouping> {
        let mut grouping = Grouping::default();
        let simple =
            select.group.iter().all(|item| matches!(item, GroupItem::Expr(_) | GroupItem::List(_)));
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for item in &select.group {
            let own = self.group_sets(item, outputs, &mut grouping.groups)?;
            if sets.len().saturating_mul(own.len()) > SETS_MAX {
                let message = "too many grouping sets present (maximum 4096)";
                return Err(PlanError::new("54001", message));
            }
            sets = sets
                .iter()
                .flat_map(|before| {
                    own.iter().map(move |set| {
                        let mut all = before.clone();
                        all.extend(set.iter().filter(|g| !before.contains(g)));
                        all
                    })
                })
                .collect();
        }
        if !simple {
            if select.group_distinct {
                let mut seen = std::collections::BTreeSet::new();
                sets.retain(|set| {
                    let mut key = set.clone();
                    key.sort_unstable();
                    seen.insert(key)
                });
            }
            grouping.sets = Some(sets);
        }
        Ok(grouping)
    }

    fn group_sets(
        &mut self,
        item: &GroupItem,
        outputs: &[Output],
        groups: &mut Vec<Expr>,
    ) -> Result<Vec<Vec<usize>>> {
        let mut lists = |b: &mut Self, lists: &[Vec<Ast>]| -> Result<Vec<Vec<usize>>> {
            lists.iter().map(|list| b.group_list(list, outputs, groups)).collect()
        };
        Ok(match item {
            GroupItem::Expr(ast) => {
                vec![self.group_list(std::slice::from_ref(ast), outputs, groups)?]
            }
            GroupItem::List(list) => vec![self.group_list(list, outputs, groups)?],
            GroupItem::Empty => vec![Vec::new()],
            GroupItem::Rollup(parts) => {
                let parts = lists(self, parts)?;
                (0..=parts.len()).rev().map(|n| parts[..n].concat()).collect()
            }
            GroupItem::Cube(parts) => {
                let parts = lists(self, parts)?;
                if parts.len() > 12 {
                    return Err(PlanError::new("54011", "CUBE is limited to 12 elements"));
                }
                (0..1usize << parts.len())
                    .rev()
                    .map(|mask| {
                        let bit = |i: usize| mask >> (parts.len() - 1 - i) & 1 == 1;
                        (0..parts.len())
                            .filter(|i| bit(*i))
                            .flat_map(|i| parts[i].clone())
                            .collect()
                    })
                    .collect()
            }
            GroupItem::Sets(items) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(self.group_sets(item, outputs, groups)?);
                }
                all
            }
        })
    }

    fn group_list(
        &mut self,
        list: &[Ast],
        outputs: &[Output],
        groups: &mut Vec<Expr>,
    ) -> Result<Vec<usize>> {
        list.iter()
            .map(|ast| {
                let expr = self.group_expr(ast, outputs)?;
                Ok(groups.iter().position(|g| *g == expr).unwrap_or_else(|| {
                    groups.push(expr);
                    groups.len() - 1
                }))
            })
            .collect()
    }

    /// An input column, an output's name or ordinal, or an expression; in this order.
    fn group_expr(&mut self, ast: &Ast, outputs: &[Output]) -> Result<Expr> {
        let mut found = self.ordinal(ast, outputs.len(), "GROUP BY")?;
        if let ExprKind::Column(parts) = &ast.kind
            && let [name] = parts.as_slice()
        {
            let scope = &self.levels[self.levels.len() - 1].scope;
            let is_input = scope.columns.iter().any(|c| c.bare && c.name == name.name);
            if !is_input {
                let mut hits = outputs.iter().enumerate().filter(|(_, o)| o.name == name.name);
                found = hits.next().map(|(i, _)| i);
                if found.is_some()
                    && hits.any(|(_, o)| Some(&o.expr) != found.map(|f| &outputs[f].expr))
                {
                    let message = format!("GROUP BY \"{}\" is ambiguous", name.name);
                    return Err(self.error("42702", message, name.pos));
                }
            }
        }
        let expr = match found {
            Some(at) => outputs[at].expr.clone(),
            None => self.typed_expr(ast)?,
        };
        let expr = self.resolver.default_unknown(expr)?;
        for placeholder in placeholders(&expr) {
            let what = match placeholder {
                Placeholder::Aggregate(_) | Placeholder::Grouping(_) => "aggregate functions",
                Placeholder::Window(_) => "window functions",
                Placeholder::Set(_) => {
                    return Err(PlanError::unsupported("a set-returning function in GROUP BY")
                        .at(self.at(ast.pos)));
                }
                Placeholder::Subquery(..) => continue,
            };
            let sqlstate = if what == "window functions" { "42P20" } else { "42803" };
            let message = format!("{what} are not allowed in GROUP BY");
            return Err(self.error(sqlstate, message, ast.pos));
        }
        if *expr.sql_type() == SqlType::Json {
            let message = "could not identify an equality operator for type json";
            return Err(self.error("42883", message, ast.pos));
        }
        Ok(expr)
    }

    /// Puts the Aggregate on `rel` and rewrites `exprs` (all that is computed above it).
    pub(crate) fn aggregated(
        &mut self,
        mut rel: Rel,
        mut grouping: Grouping,
        exprs: &mut [&mut Expr],
    ) -> Result<Rel> {
        let mut calls = std::mem::take(&mut self.level().aggregates);
        // Subqueries within groups and arguments run below.
        {
            let mut below: Vec<&mut Expr> = Vec::new();
            for call in &mut calls {
                below.extend(&mut call.args);
                below.extend(call.order.iter_mut().map(|key| &mut key.expr));
                below.extend(&mut call.filter);
            }
            let originals: Vec<Expr> = grouping.groups.clone();
            let mut groups = originals.clone();
            below.extend(&mut groups);
            rel = self.place_subqueries(rel, &mut below, &|e| Some(e.clone()))?;
            // An expression above that is grouped by has the same subquery in it: it is placed now.
            for expr in exprs.iter_mut() {
                expr.transform(&mut |part| {
                    if let Some(at) = originals.iter().position(|original| original == part) {
                        *part = groups[at].clone();
                    }
                });
            }
            grouping.groups = groups;
        }
        if grouping.sets.is_none() {
            self.add_dependent_columns(&mut grouping.groups, exprs);
        }
        let groupings = std::mem::take(&mut self.level().groupings);
        let groupings: Result<Vec<Vec<usize>>> = groupings
            .iter()
            .map(|args| {
                args.iter()
                    .map(|arg| {
                        grouping.groups.iter().position(|g| g == arg).ok_or_else(|| {
                            PlanError::new(
                                "42803",
                                "arguments to GROUPING must be grouping expressions of the associated query level",
                            )
                        })
                    })
                    .collect()
            })
            .collect();
        let groupings = groupings?;
        let above = Above {
            groups: &grouping.groups,
            calls_start: grouping.groups.len(),
            groupings_start: grouping.groups.len() + calls.len(),
        };
        for expr in exprs.iter_mut() {
            **expr = above.rewrite(expr).map_err(|column| self.ungrouped(&rel, column))?;
        }
        let mut fields: Vec<Field> = grouping
            .groups
            .iter()
            .map(|g| match g {
                Expr::Column { index, .. } => rel.fields[*index].clone(),
                other => Field::new("?column?", other.ty().clone()),
            })
            .collect();
        fields.extend(calls.iter().map(|c| Field::new(c.function.def.name, c.ty.clone())));
        fields.extend(
            groupings.iter().map(|_| Field::new("grouping", ColumnType::plain(SqlType::Int4))),
        );
        let sets = grouping.sets;
        let node = RelNode::Aggregate {
            input: Box::new(rel),
            groups: grouping.groups,
            sets,
            calls,
            groupings,
        };
        Ok(Rel::new(node, fields))
    }

    /// A table's other columns come along when its whole primary key is grouped by.
    fn add_dependent_columns(&mut self, groups: &mut Vec<Expr>, exprs: &mut [&mut Expr]) {
        let mut dependent: Vec<(usize, ColumnType)> = Vec::new();
        let level = &mut self.levels.last_mut().expect("aggregation happens at some level");
        for table in &level.scope.tables {
            let Some((table, start)) = &table.stored else { continue };
            let key = table.primary_key_ordinals();
            let grouped = |ordinal: &usize| {
                groups
                    .iter()
                    .any(|g| matches!(g, Expr::Column { index, .. } if *index == start + ordinal))
            };
            if !key.is_empty() && key.iter().all(grouped) {
                let columns = table.columns.iter().enumerate();
                dependent.extend(columns.map(|(i, c)| (start + i, c.ty.clone())));
            }
        }
        if dependent.is_empty() {
            return;
        }
        let mut used: Vec<usize> = Vec::new();
        for expr in exprs.iter() {
            used.extend(expr.columns());
        }
        for pending in &mut level.subqueries {
            if !pending.placed {
                pending.right.walk_outer_mut(&mut |depth, index| {
                    if *depth == 0 {
                        used.push(*index);
                    }
                });
                if let crate::plan::ApplyKind::Any { test } | crate::plan::ApplyKind::All { test } =
                    &pending.kind
                {
                    used.extend(test.columns());
                }
            }
        }
        for (index, ty) in dependent {
            let column = Expr::column(index, ty);
            if used.contains(&index) && !groups.contains(&column) {
                groups.push(column);
            }
        }
    }

    pub(crate) fn ungrouped(&self, rel: &Rel, column: usize) -> PlanError {
        let field = rel.fields.get(column);
        let name = field.map_or_else(String::new, |f| match &f.qualifier {
            Some(qualifier) => format!("{qualifier}.{}", f.name),
            None => f.name.clone(),
        });
        let message = format!(
            "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
        );
        let pos = self.levels.last().and_then(|l| l.mentions.get(&column).copied());
        PlanError::new("42803", message).at(pos.and_then(|pos| self.at(pos)))
    }
}

/// Where things are in the Aggregate's output.
pub(crate) struct Above<'g> {
    pub groups: &'g [Expr],
    pub calls_start: usize,
    pub groupings_start: usize,
}

impl Above<'_> {
    /// An expression over the input as one over the Aggregate; or the column that is not grouped.
    pub(crate) fn rewrite(&self, expr: &Expr) -> std::result::Result<Expr, usize> {
        if let Some(at) = self.groups.iter().position(|g| g == expr) {
            return Ok(Expr::column(at, expr.ty().clone()));
        }
        if let Expr::Column { index, ty } = expr {
            return match Placeholder::of(*index) {
                Some(Placeholder::Aggregate(n)) => {
                    Ok(Expr::column(self.calls_start + n, ty.clone()))
                }
                Some(Placeholder::Grouping(n)) => {
                    Ok(Expr::column(self.groupings_start + n, ty.clone()))
                }
                Some(Placeholder::Window(_) | Placeholder::Set(_) | Placeholder::Subquery(..)) => {
                    Ok(expr.clone())
                }
                None if (RIGHT_BASE..1 << 40).contains(index) => Ok(expr.clone()),
                None => Err(*index),
            };
        }
        let mut result = expr.clone();
        for child in result.children_mut() {
            *child = self.rewrite(child)?;
        }
        Ok(result)
    }
}
