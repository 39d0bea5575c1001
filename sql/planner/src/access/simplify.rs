//! `WHERE EXISTS (...)`, `WHERE x IN (...)` and their negations as joins.
//!
//! A Filter over an Apply whose added column only the filter tests becomes a semi or anti join when
//! the right side reads its outer row in plain WHERE conditions only:
//!
//! ```text
//! Filter #n  (Apply Exists L (Filter outer(0, i) = #j (R)))   ->   Join Semi L R on L.i = R.j
//! Filter not #n (Apply Exists ...)                            ->   Join Anti ...
//! Filter #n  (Apply Any { test } L R)                         ->   Join Semi ... with the test
//! ```
//!
//! NOT IN stays an Apply: a NULL on either side must be seen.
//!
//! What is left of a filter over a join goes to the side that it speaks of.

use crate::plan::{ApplyKind, JoinKind, Rel, RelNode, SetOperator};
use datum::{ColumnType, SqlType};
use expr::{BoundCast, CoercionContext, Comparison, Expr, Position};
use std::sync::Arc;

/// Rewrites the whole tree.
pub fn simplify(mut rel: Rel) -> Rel {
    simplify_node(&mut rel);
    rel
}

fn simplify_node(rel: &mut Rel) {
    stacker::maybe_grow(128 << 10, 2 << 20, || {
        for (input, _) in rel.inputs_mut() {
            simplify_node(input);
        }
        if matches!(rel.node, RelNode::Filter { .. }) {
            simplify_filter(rel);
        }
    });
}

fn simplify_filter(rel: &mut Rel) {
    let RelNode::Filter { input, predicate } = &mut rel.node else { return };
    let mut conjuncts = std::mem::replace(predicate, Expr::bool(true)).into_conjuncts();
    answer_topmost_apply(input, &mut conjuncts);
    conjuncts = push_down(input, conjuncts);
    if conjuncts.is_empty() {
        let inner = std::mem::replace(&mut **input, crate::bind::one_row());
        *rel = inner;
        return;
    }
    *predicate = Expr::conjunction(conjuncts);
}

/// Makes the topmost Apply under a filter a semi-join or an anti-join, if its column has no other
/// use than one condition, which goes. (Applies lie on top of each other.)
fn answer_topmost_apply(input: &mut Rel, conjuncts: &mut Vec<Expr>) {
    let RelNode::Apply { kind, left, right } = &mut input.node else { return };
    let column = left.fields.len();
    let mut uses =
        conjuncts.iter().enumerate().filter(|(_, c)| c.columns().contains(&column)).map(|(i, _)| i);
    let (Some(at), None) = (uses.next(), uses.next()) else { return };
    let Some(joined) = semi_join(kind, left, right, &conjuncts[at], column) else { return };
    conjuncts.remove(at);
    let fields = joined.fields.clone();
    // Rows keep their width: what lies above counts on the Apply's column, which is the same for
    // every row that passes.
    let passed = !matches!(joined.node, RelNode::Join { kind: JoinKind::Anti, .. });
    let mut exprs: Vec<Expr> =
        fields.iter().enumerate().map(|(i, f)| Expr::column(i, f.ty.clone())).collect();
    exprs.push(Expr::bool(passed));
    let all = input.fields.clone();
    *input = Rel::new(RelNode::Project { input: Box::new(joined), exprs }, all);
    // Further Applies are below the projection now: push the rest of the filter under it.
    let RelNode::Project { input: below, .. } = &mut input.node else { return };
    let RelNode::Join { left: inner, .. } = &mut below.node else { return };
    if conjuncts.is_empty() {
        return;
    }
    let fields = inner.fields.clone();
    let rest = Expr::conjunction(std::mem::take(conjuncts));
    let old = std::mem::replace(&mut **inner, crate::bind::one_row());
    **inner = Rel::new(RelNode::Filter { input: Box::new(old), predicate: rest }, fields);
    simplify_filter(inner);
}

/// Moves conditions on one side of a join to that side, where keys may answer them; answers those
/// that stay. Correlated ones stay for [`decorrelate`].
fn push_down(input: &mut Rel, conjuncts: Vec<Expr>) -> Vec<Expr> {
    let movable = |c: &Expr| {
        !c.is_volatile()
            && !c.any(&mut |e| matches!(e, Expr::OuterColumn { .. } | Expr::Subquery { .. }))
    };
    let mut kept = Vec::new();
    match &mut input.node {
        RelNode::Join { kind, left, right, on, .. } => {
            let width = left.fields.len();
            let (to_left, to_right) = match kind {
                JoinKind::Inner => (true, true),
                JoinKind::Left | JoinKind::Semi | JoinKind::Anti => (true, false),
                JoinKind::Right => (false, true),
                JoinKind::Full => (false, false),
            };
            let (mut lefts, mut rights) = (Vec::new(), Vec::new());
            for mut conjunct in conjuncts {
                let columns = conjunct.columns();
                let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
                    kept.push(conjunct);
                    continue;
                };
                if to_left && *last < width && movable(&conjunct) {
                    lefts.push(conjunct);
                } else if to_right && *first >= width && movable(&conjunct) {
                    conjunct.map_columns(&|i| i - width);
                    rights.push(conjunct);
                } else if *kind == JoinKind::Inner
                    && movable(&conjunct)
                    && let Some(pair) = equal_pair(&conjunct, width)
                {
                    // `FROM a, b WHERE a.id = b.id`
                    on.push(pair);
                } else {
                    kept.push(conjunct);
                }
            }
            // What is asked of a column holds for the column that it must equal.
            let (mut there, mut back) = (Vec::new(), Vec::new());
            for (l, r) in on.iter() {
                there.extend(lefts.iter().filter_map(|c| twin(c, l, r)));
                back.extend(rights.iter().filter_map(|c| twin(c, r, l)));
            }
            rights.extend(there);
            lefts.extend(back);
            filter_by(left, lefts);
            filter_by(right, rights);
        }
        RelNode::Apply { left, .. } => {
            let width = left.fields.len();
            let mut lefts = Vec::new();
            for conjunct in conjuncts {
                match conjunct.columns().last() {
                    Some(last) if *last < width && movable(&conjunct) => lefts.push(conjunct),
                    _ => kept.push(conjunct),
                }
            }
            filter_by(left, lefts);
        }
        // A view or subquery: what it passes on unchanged.
        RelNode::Project { input: below, exprs } => {
            let plain = |i: &usize| matches!(exprs.get(*i), Some(Expr::Column { .. }));
            let mut moved = Vec::new();
            for mut conjunct in conjuncts {
                let columns = conjunct.columns();
                if columns.is_empty() || !columns.iter().all(plain) || !movable(&conjunct) {
                    kept.push(conjunct);
                    continue;
                }
                conjunct.transform(&mut |part| {
                    if let Expr::Column { index, .. } = part
                        && let Some(inner) = exprs.get(*index)
                    {
                        *part = inner.clone();
                    }
                });
                moved.push(conjunct);
            }
            filter_by(below, moved);
        }
        RelNode::SetOp { op: SetOperator::Union, left, right, .. } => {
            let (moved, stay): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(movable);
            filter_by(left, moved.clone());
            filter_by(right, moved);
            kept = stay;
        }
        _ => return conjuncts,
    }
    kept
}

/// `from = 5` as `to = 5`, where both are columns of one type.
fn twin(conjunct: &Expr, from: &Expr, to: &Expr) -> Option<Expr> {
    let (Expr::Column { index: from, ty: from_ty }, Expr::Column { ty: to_ty, .. }) = (from, to)
    else {
        return None;
    };
    let (_, a, b) = conjunct.as_comparison()?;
    let is_from = |e: &Expr| matches!(e, Expr::Column { index, .. } if index == from);
    let one = (is_from(a) && b.columns().is_empty()) || (is_from(b) && a.columns().is_empty());
    if !one || from_ty.ty != to_ty.ty {
        return None;
    }
    let mut twin = conjunct.clone();
    twin.transform(&mut |part| {
        if is_from(&*part) {
            *part = to.clone();
        }
    });
    Some(twin)
}

fn filter_by(rel: &mut Rel, conjuncts: Vec<Expr>) {
    if conjuncts.is_empty() {
        return;
    }
    if let RelNode::Filter { predicate, .. } = &mut rel.node {
        let mut all = std::mem::replace(predicate, Expr::bool(true)).into_conjuncts();
        all.extend(conjuncts);
        *predicate = Expr::conjunction(all);
    } else {
        let fields = rel.fields.clone();
        let input = Box::new(std::mem::replace(rel, crate::bind::one_row()));
        let predicate = Expr::conjunction(conjuncts);
        *rel = Rel::new(RelNode::Filter { input, predicate }, fields);
    }
    simplify_filter(rel);
}

fn semi_join(kind: &ApplyKind, left: &Rel, right: &Rel, use_: &Expr, column: usize) -> Option<Rel> {
    let is_value = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == column);
    let negated = match use_ {
        e if is_value(e) => false,
        Expr::Not(inner) if is_value(inner) => true,
        _ => return None,
    };
    let join_kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
    let width = left.fields.len();
    let (mut source, mut conditions) = match kind {
        ApplyKind::Exists => {
            let (source, conditions) = decorrelate(right.clone(), false)?;
            (source, conditions)
        }
        // Only rows for which IN is true matter here; its NULLs count as false.
        ApplyKind::Any { test } if !negated => {
            let (source, mut conditions) = decorrelate(right.clone(), true)?;
            conditions.push(test.clone());
            (source, conditions)
        }
        ApplyKind::Any { .. }
        | ApplyKind::All { .. }
        | ApplyKind::Scalar
        | ApplyKind::ScalarRow
        | ApplyKind::Array
        | ApplyKind::Lateral
        | ApplyKind::LateralLeft { .. } => return None,
    };
    // Outer rows of the nearest Apply become the join's left side; farther ones come nearer.
    if source.reads_outer(0) {
        return None;
    }
    source.shift_outer(-1);
    for condition in &mut conditions {
        to_join_row(condition, width);
    }
    let mut on = Vec::new();
    let mut rest = Vec::new();
    for condition in conditions {
        match equal_pair(&condition, width) {
            Some(pair) => on.push(pair),
            None => rest.push(condition),
        }
    }
    if rest.iter().chain(on.iter().flat_map(|(l, r)| [l, r])).any(|e| e.is_volatile()) {
        return None;
    }
    let filter = (!rest.is_empty()).then(|| Expr::conjunction(rest));
    let fields = left.fields.clone();
    let (left, right) = (Box::new(left.clone()), Box::new(source));
    Some(Rel::new(RelNode::Join { kind: join_kind, left, right, on, filter }, fields))
}

/// Takes correlated conditions out of the right side: they come back as expressions in which the
/// outer row is `OuterColumn { depth: 0 }` and the right row starts at [`RIGHT`].
fn decorrelate(right: Rel, keep_outputs: bool) -> Option<(Rel, Vec<Expr>)> {
    let mut right = right;
    if !right.reads_outer(0) {
        return Some((right, Vec::new()));
    }
    // SELECT list over WHERE over the rest.
    let (exprs, input, fields) = match right.node {
        RelNode::Project { exprs, input } => (Some(exprs), input, right.fields),
        node => (None, Box::new(Rel::new(node, right.fields.clone())), right.fields),
    };
    let input = *input;
    let RelNode::Filter { input: mut source, predicate } = input.node else { return None };
    if source.reads_outer(0) {
        return None;
    }
    let (correlated, own): (Vec<Expr>, Vec<Expr>) = predicate
        .into_conjuncts()
        .into_iter()
        .partition(|c| c.any(&mut |e| matches!(e, Expr::OuterColumn { depth: 0, .. })));
    let below = match own.is_empty() {
        true => *source,
        false => {
            let fields = source.fields.clone();
            Rel::new(RelNode::Filter { input: source, predicate: Expr::conjunction(own) }, fields)
        }
    };
    let mut conditions = correlated;
    let rel = match exprs {
        Some(exprs) if keep_outputs => {
            if exprs.iter().any(|e| e.any(&mut |e| matches!(e, Expr::OuterColumn { depth: 0, .. })))
            {
                return None;
            }
            // The outputs first, then everything the conditions read.
            let shift = exprs.len();
            let mut all = exprs;
            let mut names = fields;
            for (i, field) in below.fields.iter().enumerate() {
                all.push(Expr::column(i, field.ty.clone()));
                names.push(field.clone());
            }
            for condition in &mut conditions {
                condition.map_columns(&|i| i + shift);
            }
            Rel::new(RelNode::Project { input: Box::new(below), exprs: all }, names)
        }
        _ => below,
    };
    for condition in &mut conditions {
        condition.map_columns(&|i| i + RIGHT);
    }
    Some((rel, conditions))
}

/// Marks columns of the right side while both sides are in one expression.
const RIGHT: usize = 1 << 31;

/// Columns of the Apply's test are [left][right] already; marked ones move behind the left width, and
/// the nearest outer row is the left side.
fn to_join_row(condition: &mut Expr, width: usize) {
    condition.transform(&mut |part| match part {
        Expr::Column { index, .. } if *index >= RIGHT => *index = *index - RIGHT + width,
        Expr::OuterColumn { depth: 0, index, ty } => {
            *part = Expr::Column { index: *index, ty: ty.clone() };
        }
        Expr::OuterColumn { depth, .. } => *depth -= 1,
        _ => {}
    });
}

/// `left = right`, each over one side only and of the same type: a hash join's key. Columns of the
/// right side start at `width`.
pub(crate) fn equal_pair(term: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let (Comparison::Eq, a, b) = term.as_comparison()? else { return None };
    if term.is_volatile() || term.any(&mut |e| matches!(e, Expr::OuterColumn { .. })) {
        return None;
    }
    let side = |e: &Expr| {
        let columns = e.columns();
        let (first, last) = (columns.first()?, columns.last()?);
        if *last < width {
            Some(true)
        } else if *first >= width {
            Some(false)
        } else {
            None
        }
    };
    let (left, right) = match (side(a)?, side(b)?) {
        (true, false) => (a, b),
        (false, true) => (b, a),
        _ => return None,
    };
    let (mut left, mut right) = (left.clone(), right.clone());
    if left.sql_type() != right.sql_type() {
        if !(left.sql_type().is_integer() && right.sql_type().is_integer()) {
            return None;
        }
        (left, right) = (widened(left)?, widened(right)?);
    }
    if *left.sql_type() == SqlType::Record {
        return None;
    }
    right.map_columns(&|i| i - width);
    Some((left, right))
}

/// An integer as a bigint, so that both sides of a pair hash alike.
fn widened(expr: Expr) -> Option<Expr> {
    if *expr.sql_type() == SqlType::Int8 {
        return Some(expr);
    }
    let to = ColumnType::plain(SqlType::Int8);
    let cast = BoundCast::find(expr.ty(), &to, CoercionContext::Implicit)?;
    Some(Expr::Cast { cast: Arc::new(cast), arg: Box::new(expr), position: Position::default() })
}
