//! Choosing between overloads: the steps of PostgreSQL's sections 10.2 and 10.3, in their order.

use super::CoercionContext;
use super::polymorphic;
use crate::cast;
use crate::registry::{ArgPattern, FunctionDef};
use datum::{Category, SqlType};

/// An overload with its declared arguments stretched to the number of actual ones.
#[derive(Clone)]
pub(super) struct Candidate {
    pub def: &'static FunctionDef,
    pub args: Vec<ArgPattern>,
}

pub(super) enum Choice {
    One(Candidate),
    None,
    Ambiguous,
}

impl Candidate {
    fn is_exact(&self, types: &[SqlType]) -> bool {
        self.args
            .iter()
            .zip(types)
            .all(|(arg, ty)| matches!(arg, ArgPattern::Exact(exact) if exact == ty))
    }

    fn accepts(&self, types: &[SqlType]) -> bool {
        self.args.len() == types.len()
            && self.args.iter().zip(types).all(|(arg, ty)| match arg {
                ArgPattern::Exact(exact) => can_coerce(ty, exact),
                _ => true,
            })
            && polymorphic::consistent(&self.args, types)
    }
}

pub(super) fn can_coerce(from: &SqlType, to: &SqlType) -> bool {
    from == to
        || *from == SqlType::Unknown
        || cast::allowed(from, to).is_some_and(|context| context == CoercionContext::Implicit)
}

/// The overload that these types mean. `assume_same` is the rule for operators: an unknown operand is first
/// tried as the type of the other one.
pub(super) fn choose(candidates: Vec<Candidate>, types: &[SqlType], assume_same: bool) -> Choice {
    if let Some(exact) = candidates.iter().find(|candidate| candidate.is_exact(types)) {
        return Choice::One(exact.clone());
    }
    if assume_same && let [left, right] = types {
        let assumed = match (left, right) {
            (SqlType::Unknown, other) | (other, SqlType::Unknown) => [other.clone(), other.clone()],
            _ => [left.clone(), right.clone()],
        };
        if let Some(exact) = candidates.iter().find(|candidate| candidate.is_exact(&assumed)) {
            return Choice::One(exact.clone());
        }
    }
    let mut left: Vec<Candidate> =
        candidates.into_iter().filter(|candidate| candidate.accepts(types)).collect();
    if left.is_empty() {
        return Choice::None;
    }
    // A fixed signature hides a variadic one that it matches.
    if left.len() > 1 && left.iter().any(|candidate| !candidate.def.variadic) {
        left.retain(|candidate| !candidate.def.variadic);
    }
    keep_best(&mut left, |candidate| {
        zip(candidate, types).filter(|(arg, ty)| is_type(arg, ty)).count()
    });
    if left.len() > 1 {
        keep_best(&mut left, |candidate| {
            zip(candidate, types)
                .filter(|(arg, ty)| {
                    **ty != SqlType::Unknown
                        && (is_type(arg, ty)
                            || exact(arg).is_some_and(|to| {
                                to.is_preferred() && to.category() == ty.category()
                            }))
                })
                .count()
        });
    }
    if left.len() > 1 && types.contains(&SqlType::Unknown) {
        narrow_by_unknowns(&mut left, types);
    }
    match left.len() {
        1 => Choice::One(left.remove(0)),
        _ => Choice::Ambiguous,
    }
}

/// Unknown literals look like strings if any candidate takes one there; else they must agree on a category. Failing
/// that, they are taken to be of the type that all known arguments have.
fn narrow_by_unknowns(left: &mut Vec<Candidate>, types: &[SqlType]) {
    let mut slots: Vec<(usize, Category, bool)> = Vec::new();
    let mut conflict = false;
    for (index, _) in types.iter().enumerate().filter(|(_, ty)| **ty == SqlType::Unknown) {
        let mut category = None;
        let mut preferred = false;
        let mut disagree = false;
        for candidate in left.iter() {
            let (own, own_preferred) = category_of(&candidate.args[index]);
            match category {
                None => {
                    category = Some(own);
                    preferred = own_preferred;
                }
                Some(known) if known == own => preferred |= own_preferred,
                Some(_) if own == Category::String => {
                    category = Some(own);
                    preferred = own_preferred;
                    disagree = false;
                }
                Some(Category::String) => {}
                Some(_) => disagree = true,
            }
        }
        if disagree && category != Some(Category::String) {
            conflict = true;
            break;
        }
        slots.push((index, category.unwrap_or(Category::Unknown), preferred));
    }
    if !conflict {
        let kept: Vec<Candidate> = left
            .iter()
            .filter(|candidate| {
                slots.iter().all(|(index, category, preferred)| {
                    let (own, own_preferred) = category_of(&candidate.args[*index]);
                    own == *category && (own_preferred || !preferred)
                })
            })
            .cloned()
            .collect();
        if !kept.is_empty() {
            *left = kept;
        }
        if left.len() == 1 {
            return;
        }
    }
    let mut known = types.iter().filter(|ty| **ty != SqlType::Unknown);
    if let Some(first) = known.next()
        && known.all(|ty| ty == first)
    {
        let assumed: Vec<SqlType> = vec![first.clone(); types.len()];
        let fitting: Vec<Candidate> =
            left.iter().filter(|candidate| candidate.accepts(&assumed)).cloned().collect();
        if fitting.len() == 1 {
            *left = fitting;
        }
    }
}

fn keep_best(left: &mut Vec<Candidate>, score: impl Fn(&Candidate) -> usize) {
    let best = left.iter().map(&score).max().unwrap_or(0);
    left.retain(|candidate| score(candidate) == best);
}

fn zip<'a>(
    candidate: &'a Candidate,
    types: &'a [SqlType],
) -> impl Iterator<Item = (&'a ArgPattern, &'a SqlType)> {
    candidate.args.iter().zip(types)
}

fn is_type(arg: &ArgPattern, ty: &SqlType) -> bool {
    *ty != SqlType::Unknown && exact(arg) == Some(ty)
}

fn exact(arg: &ArgPattern) -> Option<&SqlType> {
    match arg {
        ArgPattern::Exact(ty) => Some(ty),
        _ => None,
    }
}

fn category_of(arg: &ArgPattern) -> (Category, bool) {
    match arg {
        ArgPattern::Exact(ty) => (ty.category(), ty.is_preferred()),
        _ => (Category::Pseudo, false),
    }
}
