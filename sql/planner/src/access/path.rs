//! Which key or index finds the rows.
//!
//! `choose(table, [#0 = $1, #2 > 5])` on a table with primary key (#0) gives `PkGet { key: [$1] }` and
//! the filter `#2 > 5`. Key expressions get the key column's own type; a comparison across types
//! that cannot be brought to it without loss (int4 key, numeric value) stays a filter.

use crate::plan::{Access, KeyList, KeyPart, KeyRange, SortKey};
use catalog::table::ROWS_INDEX;
use catalog::{IndexDescriptor, IndexState, RowKey, TableDescriptor};
use datum::{ColumnType, Datum, SqlType};
use expr::{Comparison, EvalContext, Expr, NoSession, ParamTypes, Resolver};
use std::ops::Bound;

/// A way to the rows, and what remains to be tested on each.
#[derive(Clone, Debug)]
pub struct AccessPath {
    pub access: Access,
    pub residual: Vec<Expr>,
    /// The rows come in the order that was asked for.
    pub ordered: bool,
}

/// The best access for `conjuncts` (all must hold) over the table's full row, given the order wanted.
pub fn choose(table: &TableDescriptor, conjuncts: &[Expr], order: &[SortKey]) -> AccessPath {
    let mut best = Candidate {
        score: 0,
        access: Access::full_scan(),
        used: Vec::new(),
        ordered: order.is_empty(),
    };
    let row_key_columns = match table.row_key() {
        RowKey::PrimaryKey(index) => Some(index),
        RowKey::Hidden => None,
    };
    if let Some(index) = row_key_columns {
        best.consider(rows_candidate(table, index, conjuncts, order));
    }
    for index in table.secondary_indexes() {
        if index.state == IndexState::Public && index.predicate.is_none() {
            best.consider(index_candidate(table, index, conjuncts, order));
        }
    }
    let residual = conjuncts
        .iter()
        .enumerate()
        .filter(|(i, _)| !best.used.contains(i))
        .map(|(_, e)| e.clone())
        .collect();
    AccessPath { access: best.access, residual, ordered: best.ordered }
}

struct Candidate {
    /// Zero: no better than reading everything.
    score: u32,
    access: Access,
    /// Positions of the conjuncts that the access guarantees.
    used: Vec<usize>,
    ordered: bool,
}

impl Candidate {
    fn consider(&mut self, other: Candidate) {
        // An order for free is worth something, a pinned key more.
        let worth = |c: &Candidate| c.score * 2 + u32::from(c.ordered);
        if worth(&other) > worth(self) {
            *self = other;
        }
    }
}

/// What the conjuncts say about one column.
#[derive(Default)]
struct Facts {
    equal: Option<(Expr, usize)>,
    is_null: Option<usize>,
    lower: Option<(Bound<Expr>, usize)>,
    upper: Option<(Bound<Expr>, usize)>,
    one_of: Option<(Vec<Expr>, usize)>,
    any_of: Option<(Expr, usize)>,
}

fn facts(table: &TableDescriptor, ordinal: usize, conjuncts: &[Expr]) -> Facts {
    let mut facts = Facts::default();
    let ty = &table.columns[ordinal].ty;
    for (at, conjunct) in conjuncts.iter().enumerate() {
        match conjunct {
            Expr::IsNull { arg, negated: false } if is_column(arg, ordinal) => {
                facts.is_null.get_or_insert(at);
            }
            Expr::InList { equal, arg, list, negated: false }
                if is_column(arg, ordinal) && equal.def.name == "=" =>
            {
                let keys: Option<Vec<Expr>> = list.iter().map(|e| key_expr(e, ty)).collect();
                if let Some(keys) = keys
                    && facts.one_of.is_none()
                {
                    facts.one_of = Some((keys, at));
                }
            }
            Expr::AnyAll { op, left, array, all: false }
                if is_column(left, ordinal) && op.def.name == "=" && is_free(array) =>
            {
                let same =
                    array.sql_type().element_type().is_some_and(|e| same_key_type(&e, &ty.ty));
                if same && facts.any_of.is_none() {
                    facts.any_of = Some(((**array).clone(), at));
                }
            }
            other => comparison(other, ordinal, ty, at, &mut facts),
        }
    }
    facts
}

fn comparison(conjunct: &Expr, ordinal: usize, ty: &ColumnType, at: usize, facts: &mut Facts) {
    let Some((op, left, right)) = conjunct.as_comparison() else { return };
    let (op, value) = if is_column(left, ordinal) {
        (op, right)
    } else if is_column(right, ordinal) {
        (op.swapped(), left)
    } else {
        return;
    };
    let Some(value) = key_expr(value, ty) else { return };
    match op {
        Comparison::Eq => {
            facts.equal.get_or_insert((value, at));
        }
        Comparison::Lt => {
            facts.upper.get_or_insert((Bound::Excluded(value), at));
        }
        Comparison::Le => {
            facts.upper.get_or_insert((Bound::Included(value), at));
        }
        Comparison::Gt => {
            facts.lower.get_or_insert((Bound::Excluded(value), at));
        }
        Comparison::Ge => {
            facts.lower.get_or_insert((Bound::Included(value), at));
        }
        Comparison::Ne => {}
    }
}

fn is_column(expr: &Expr, ordinal: usize) -> bool {
    matches!(expr, Expr::Column { index, .. } if *index == ordinal)
}

/// The same for every row of one execution.
fn is_free(expr: &Expr) -> bool {
    !expr.is_volatile()
        && !expr.any(&mut |e| {
            matches!(e, Expr::Column { .. } | Expr::OuterColumn { .. } | Expr::Subquery { .. })
        })
}

/// Types whose values have the same key bytes.
fn same_key_type(a: &SqlType, b: &SqlType) -> bool {
    let text = |t: &SqlType| matches!(t, SqlType::Text | SqlType::Varchar | SqlType::Name);
    a == b || (text(a) && text(b)) || (a.is_oid_like() && b.is_oid_like())
}

/// A value to look for, as one of the key column's type; `None` if that could change it.
fn key_expr(value: &Expr, ty: &ColumnType) -> Option<Expr> {
    if !is_free(value) {
        return None;
    }
    let from = value.sql_type();
    if same_key_type(from, &ty.ty) {
        return Some(value.clone());
    }
    // A constant that fits is as good as one of the type itself.
    if let Some(number) = value.as_const().and_then(Datum::as_i64) {
        let narrowed = match ty.ty {
            SqlType::Int2 => i16::try_from(number).ok().map(Datum::Int2),
            SqlType::Int4 => i32::try_from(number).ok().map(Datum::Int4),
            SqlType::Int8 => Some(Datum::Int8(number)),
            _ => None,
        };
        if let Some(value) = narrowed {
            return Some(Expr::Const(value, ColumnType::plain(ty.ty.clone())));
        }
    }
    let widens = matches!(
        (from, &ty.ty),
        (SqlType::Int2, SqlType::Int4 | SqlType::Int8 | SqlType::Numeric)
            | (SqlType::Int4, SqlType::Int8 | SqlType::Numeric)
            | (SqlType::Int8, SqlType::Numeric)
    );
    if !widens {
        return None;
    }
    let types = datum::TypeContext::default();
    let context = EvalContext::new(&types, &NoSession);
    let params = ParamTypes::default();
    let resolver = Resolver::new(&context, &params);
    let to = ColumnType::plain(ty.ty.clone());
    resolver.coerce(value.clone(), &to, expr::CoercionContext::Implicit).ok()
}

/// The prefix of an index's columns that the conjuncts pin, and the range on the next.
struct Span {
    range: KeyRange,
    used: Vec<usize>,
    equal: usize,
    bounded: u32,
}

fn span(table: &TableDescriptor, ordinals: &[usize], conjuncts: &[Expr], nulls: bool) -> Span {
    let mut span = Span { range: KeyRange::default(), used: Vec::new(), equal: 0, bounded: 0 };
    for ordinal in ordinals {
        let facts = facts(table, *ordinal, conjuncts);
        if let Some((value, at)) = facts.equal {
            span.range.prefix.push(KeyPart::Equal(value));
            span.used.push(at);
            span.equal += 1;
            continue;
        }
        if let (true, Some(at)) = (nulls, facts.is_null) {
            span.range.prefix.push(KeyPart::IsNull);
            span.used.push(at);
            continue;
        }
        if let Some((bound, at)) = facts.lower {
            span.range.lower = bound;
            span.used.push(at);
            span.bounded += 1;
        }
        if let Some((bound, at)) = facts.upper {
            span.range.upper = bound;
            span.used.push(at);
            span.bounded += 1;
        }
        break;
    }
    span
}

impl Span {
    fn score(&self) -> u32 {
        self.range.prefix.len() as u32 * 8 + self.bounded * 3
    }
}

fn rows_candidate(
    table: &TableDescriptor,
    index: &IndexDescriptor,
    conjuncts: &[Expr],
    order: &[SortKey],
) -> Candidate {
    let ordinals = table.index_ordinals(index);
    let mut span = span(table, &ordinals, conjuncts, false);
    if span.equal == ordinals.len() {
        let key = span.range.prefix.into_iter().filter_map(equal_part).collect();
        return Candidate {
            score: 1000,
            access: Access::PkGet { key },
            used: span.used,
            ordered: true,
        };
    }
    if let Some(candidate) = multi_get(table, &ordinals, conjuncts, order) {
        return candidate;
    }
    let order = walk_order(table, index, &ordinals, span.range.prefix.len(), order);
    span.range.reverse = order == Some(true);
    Candidate {
        score: span.score() + u32::from(span.score() > 0),
        access: Access::PkRange(span.range),
        used: span.used,
        ordered: order.is_some(),
    }
}

fn equal_part(part: KeyPart) -> Option<Expr> {
    match part {
        KeyPart::Equal(expr) => Some(expr),
        KeyPart::IsNull => None,
    }
}

/// All key columns equal, one of them to any of a list.
fn multi_get(
    table: &TableDescriptor,
    ordinals: &[usize],
    conjuncts: &[Expr],
    order: &[SortKey],
) -> Option<Candidate> {
    let all: Vec<Facts> = ordinals.iter().map(|o| facts(table, *o, conjuncts)).collect();
    let listed = all.iter().position(|f| f.equal.is_none())?;
    let mut used = Vec::new();
    let mut prefix: Vec<Option<Expr>> = Vec::new();
    for (i, facts) in all.iter().enumerate() {
        match &facts.equal {
            Some((value, at)) => {
                used.push(*at);
                prefix.push(Some(value.clone()));
            }
            None if i == listed => prefix.push(None),
            None => return None,
        }
    }
    let ordered = order.is_empty();
    if let Some((values, at)) = &all[listed].one_of {
        used.push(*at);
        let key = |value: &Expr| {
            prefix.iter().map(|part| part.clone().unwrap_or_else(|| value.clone())).collect()
        };
        let keys = KeyList::Keys(values.iter().map(key).collect());
        return Some(Candidate { score: 900, access: Access::PkMultiGet { keys }, used, ordered });
    }
    let (array, at) = all[listed].any_of.as_ref()?;
    if ordinals.len() != 1 {
        return None;
    }
    used.push(*at);
    let keys = KeyList::Array(array.clone());
    Some(Candidate { score: 900, access: Access::PkMultiGet { keys }, used, ordered })
}

fn index_candidate(
    table: &TableDescriptor,
    index: &IndexDescriptor,
    conjuncts: &[Expr],
    order: &[SortKey],
) -> Candidate {
    let ordinals = table.index_ordinals(index);
    let mut span = span(table, &ordinals, conjuncts, true);
    if index.unique && span.equal == ordinals.len() {
        let key = span.range.prefix.into_iter().filter_map(equal_part).collect();
        let access = Access::IndexGet { index: index.id, key };
        return Candidate { score: 800, access, used: span.used, ordered: true };
    }
    let order = walk_order(table, index, &ordinals, span.range.prefix.len(), order);
    span.range.reverse = order == Some(true);
    let score = span.score();
    Candidate {
        score,
        access: Access::IndexRange { index: index.id, range: span.range, covering: false },
        used: span.used,
        ordered: order.is_some(),
    }
}

/// Whether the index, its first `pinned` columns equal, gives the order asked for: `Some(true)` when
/// walked backward.
fn walk_order(
    table: &TableDescriptor,
    index: &IndexDescriptor,
    ordinals: &[usize],
    pinned: usize,
    order: &[SortKey],
) -> Option<bool> {
    let mut direction: Option<bool> = None;
    let mut next = pinned;
    for key in order {
        let Expr::Column { index: column, .. } = &key.expr else { return None };
        // Ordering by what is pinned orders nothing.
        if ordinals[..pinned].contains(column) {
            continue;
        }
        if next == ordinals.len() {
            // All columns of a unique key: nothing is left to order.
            let total = index.unique && ordinals.iter().all(|o| table.columns[*o].not_null);
            return total.then_some(direction.unwrap_or(false));
        }
        if ordinals[next] != *column {
            return None;
        }
        let own = &index.columns[next];
        let reverse = key.descending != own.descending;
        let nulls_agree = (key.nulls_first != own.nulls_first) == reverse;
        let never_null = table.columns[*column].not_null || index.id == ROWS_INDEX;
        if !(nulls_agree || never_null) {
            return None;
        }
        if direction.is_some_and(|d| d != reverse) {
            return None;
        }
        direction = Some(reverse);
        next += 1;
    }
    Some(direction.unwrap_or(false))
}
