//! JOIN: conditions, USING and NATURAL with their merged columns.

use super::Binder;
use super::from::{Source, filter, join, lateral_apply};
use super::scope::{Clause, Scope, ScopeColumn, ScopeTable};
use crate::access::equal_pair;
use crate::ast::{Expr as Ast, FromItem, Ident, JoinCondition, JoinType, Pos, TableAlias};
use crate::error::{PlanError, Result};
use crate::plan::{ApplyKind, JoinKind, Rel, RelNode};
use expr::{Expr, Position};

/// One column of USING: where it is on both sides.
struct Merged {
    name: String,
    left: usize,
    right: usize,
}

impl Binder<'_> {
    pub(crate) fn join_item(
        &mut self,
        kind: JoinType,
        left: &FromItem,
        right: &FromItem,
        condition: &JoinCondition,
        alias: Option<&TableAlias>,
        pos: Pos,
    ) -> Result<Source> {
        let left = self.from_item(left)?;
        let (right, lateral) = self.beside(&left.scope, right)?;
        if lateral && matches!(kind, JoinType::Right | JoinType::Full) {
            let message = "invalid reference to FROM-clause entry";
            return Err(self
                .error("42P10", message, pos)
                .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        self.check_aliases(&left.scope, &right.scope)?;
        let mut source = self.combine(kind, left, right, lateral, condition, pos)?;
        if let Some(alias) = alias {
            source.scope = self.join_alias(source.scope, alias)?;
        }
        Ok(source)
    }

    fn combine(
        &mut self,
        kind: JoinType,
        left: Source,
        right: Source,
        lateral: bool,
        condition: &JoinCondition,
        pos: Pos,
    ) -> Result<Source> {
        let left_width = left.rel.width();
        let left_columns = left.scope.columns.len();
        let mut scope = left.scope;
        let mut right_scope = Scope::default();
        right_scope.append(right.scope, 0);
        let merged = self.merged_columns(&scope, &right_scope, condition)?;
        scope.append(right_scope, left_width);

        let mut terms = Vec::new();
        let mut pending = false;
        match condition {
            JoinCondition::On(ast) => {
                self.push_level(scope.clone(), Clause::JoinOn);
                let bound = self.condition(ast, "argument of JOIN/ON");
                let level = self.pop_level();
                let bound = bound?;
                if level.subqueries.is_empty() {
                    terms = bound.into_conjuncts();
                } else {
                    pending = true;
                }
            }
            JoinCondition::Using { .. } | JoinCondition::Natural => {
                for m in &merged {
                    let (l, r) = (&scope.columns[m.left], &scope.columns[left_columns + m.right]);
                    let (l, r) = (l.expr.clone(), r.expr.clone());
                    terms.push(self.resolver.resolve_operator(
                        "=",
                        Some(l),
                        r,
                        Position(self.at(pos)),
                    )?);
                }
            }
            JoinCondition::None => {}
        }
        let rel = match (lateral, pending, condition) {
            (_, true, JoinCondition::On(ast)) => {
                self.join_with_subqueries(kind, left.rel, right.rel, lateral, &scope, ast)?
            }
            (true, ..) => lateral_join(kind, left.rel, right.rel, terms),
            (false, ..) => self.plain_join(kind, left.rel, right.rel, terms)?,
        };
        if !merged.is_empty() {
            self.merge(kind, &mut scope, &merged, left_columns)?;
            if let JoinCondition::Using { alias: Some(alias), .. } = condition {
                let start = scope.columns.len() - merged.len();
                let columns = (start..scope.columns.len()).collect();
                scope.tables.push(ScopeTable::named(alias.name.clone(), columns));
            }
        }
        Ok(Source { rel, scope })
    }

    fn plain_join(&self, kind: JoinType, left: Rel, right: Rel, terms: Vec<Expr>) -> Result<Rel> {
        let left_width = left.width();
        let mut joined = join(join_kind(kind), left, right);
        let RelNode::Join { on, filter, .. } = &mut joined.node else { return Ok(joined) };
        let mut rest = Vec::new();
        for term in terms {
            match equal_pair(&term, left_width) {
                Some(pair) => on.push(pair),
                None => rest.push(term),
            }
        }
        if !rest.is_empty() {
            *filter = Some(Expr::conjunction(rest));
        }
        Ok(joined)
    }

    /// ON with subqueries: only inner joins can test it afterwards.
    fn join_with_subqueries(
        &mut self,
        kind: JoinType,
        left: Rel,
        right: Rel,
        lateral: bool,
        scope: &Scope,
        ast: &Ast,
    ) -> Result<Rel> {
        if kind != JoinType::Inner {
            return Err(PlanError::unsupported("a subquery in the condition of an outer join")
                .at(self.at(ast.pos)));
        }
        let joined = match lateral {
            true => lateral_apply(ApplyKind::Lateral, left, right),
            false => join(JoinKind::Inner, left, right),
        };
        self.push_level(scope.clone(), Clause::JoinOn);
        let result = (|| {
            let mut predicate = self.condition(ast, "argument of JOIN/ON")?;
            let rel = self.place_subqueries(joined, &mut [&mut predicate], &|e| Some(e.clone()))?;
            Ok(filter(rel, predicate))
        })();
        self.pop_level();
        result
    }

    fn merged_columns(
        &self,
        left: &Scope,
        right: &Scope,
        condition: &JoinCondition,
    ) -> Result<Vec<Merged>> {
        let names: Vec<Ident> = match condition {
            JoinCondition::Using { columns, .. } => columns.clone(),
            JoinCondition::Natural => left
                .star
                .iter()
                .map(|c| &left.columns[*c].name)
                .filter(|name| right.star.iter().any(|r| right.columns[*r].name == **name))
                .map(|name| Ident { name: name.clone(), pos: 0 })
                .collect(),
            JoinCondition::None | JoinCondition::On(_) => return Ok(Vec::new()),
        };
        names
            .into_iter()
            .map(|name| {
                let left = self.using_side(left, &name, "left")?;
                let right = self.using_side(right, &name, "right")?;
                Ok(Merged { name: name.name, left, right })
            })
            .collect()
    }

    fn using_side(&self, scope: &Scope, name: &Ident, side: &str) -> Result<usize> {
        let mut hits = scope.star.iter().copied().filter(|c| scope.columns[*c].name == name.name);
        let Some(found) = hits.next() else {
            let message = format!(
                "column \"{}\" specified in USING clause does not exist in {side} table",
                name.name
            );
            return Err(self.error("42703", message, name.pos));
        };
        if hits.next().is_some() {
            let message = format!(
                "common column name \"{}\" appears more than once in {side} table",
                name.name
            );
            return Err(self.error("42702", message, name.pos));
        }
        Ok(found)
    }

    /// Adds the merged columns in front of what `*` shows; their sides are then found by `t.c` only.
    fn merge(
        &mut self,
        kind: JoinType,
        scope: &mut Scope,
        merged: &[Merged],
        left_columns: usize,
    ) -> Result<()> {
        let mut star = Vec::new();
        for m in merged {
            let right_at = left_columns + m.right;
            let left = scope.columns[m.left].clone();
            let right = scope.columns[right_at].clone();
            let both = vec![left.expr.clone(), right.expr.clone()];
            let (mut both, _) = self.resolver.unify("JOIN/USING", both)?;
            let expr = match kind {
                JoinType::Full => self.resolver.coalesce(both)?,
                JoinType::Right => both.remove(1),
                JoinType::Inner | JoinType::Left | JoinType::Cross => both.remove(0),
            };
            for side in [m.left, right_at] {
                scope.columns[side].bare = false;
                scope.star.retain(|c| *c != side);
            }
            star.push(scope.columns.len());
            scope.columns.push(ScopeColumn {
                name: m.name.clone(),
                expr,
                bare: true,
                origin: left.origin,
            });
        }
        star.append(&mut scope.star);
        scope.star = star;
        Ok(())
    }

    /// `(a JOIN b ...) AS j (x, y)`: one table of all columns; a and b are no longer visible.
    fn join_alias(&mut self, scope: Scope, alias: &TableAlias) -> Result<Scope> {
        if alias.columns.len() > scope.star.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {} columns specified",
                alias.name.name,
                scope.star.len(),
                alias.columns.len()
            );
            return Err(self.error("42P10", message, alias.name.pos));
        }
        let mut columns: Vec<ScopeColumn> =
            scope.star.iter().map(|c| scope.columns[*c].clone()).collect();
        for (i, column) in columns.iter_mut().enumerate() {
            column.bare = true;
            if let Some(given) = alias.columns.get(i) {
                column.name.clone_from(&given.name);
            }
        }
        let all: Vec<usize> = (0..columns.len()).collect();
        let table = ScopeTable::named(alias.name.name.clone(), all.clone());
        Ok(Scope { columns, tables: vec![table], star: all })
    }
}

fn join_kind(kind: JoinType) -> JoinKind {
    match kind {
        JoinType::Cross | JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
    }
}

fn lateral_join(kind: JoinType, left: Rel, right: Rel, terms: Vec<Expr>) -> Rel {
    let condition = (!terms.is_empty()).then(|| Expr::conjunction(terms));
    if kind == JoinType::Left {
        return lateral_apply(ApplyKind::LateralLeft { on: condition }, left, right);
    }
    let rel = lateral_apply(ApplyKind::Lateral, left, right);
    match condition {
        Some(condition) => filter(rel, condition),
        None => rel,
    }
}
