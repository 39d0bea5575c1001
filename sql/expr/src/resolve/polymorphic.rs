//! `anyelement` and its kin: whether actual types agree, and what they make of the result.

use super::candidate::can_coerce;
use super::common_type::select;
use crate::registry::ArgPattern;
use datum::SqlType;

/// What the polymorphic names stand for in one call.
#[derive(Default)]
pub(super) struct Binding {
    /// The type of `anyelement`.
    pub element: Option<SqlType>,
    /// The common type of `anycompatible`.
    pub compatible: Option<SqlType>,
}

/// Whether actual types fit declared ones; unknown fits everything.
pub(super) fn consistent(args: &[ArgPattern], types: &[SqlType]) -> bool {
    bind(args, types).is_some()
}

pub(super) fn bind(args: &[ArgPattern], types: &[SqlType]) -> Option<Binding> {
    let mut binding = Binding::default();
    let mut compatible: Vec<SqlType> = Vec::new();
    for (arg, ty) in args.iter().zip(types) {
        if *ty == SqlType::Unknown {
            continue;
        }
        match arg {
            ArgPattern::Exact(_) | ArgPattern::Any => {}
            ArgPattern::AnyElement | ArgPattern::AnyNonArray => {
                if *arg == ArgPattern::AnyNonArray && ty.element_type().is_some() {
                    return None;
                }
                agree(&mut binding.element, ty)?;
            }
            ArgPattern::AnyArray => agree(&mut binding.element, &ty.element_type()?)?,
            ArgPattern::AnyCompatible => compatible.push(ty.clone()),
            ArgPattern::AnyCompatibleArray => compatible.push(ty.element_type()?),
        }
    }
    if !compatible.is_empty() {
        let common = select(&compatible)?;
        if !compatible.iter().all(|ty| can_coerce(ty, &common)) {
            return None;
        }
        // An element that is itself an array cannot be put into one.
        if common.is_array() && args.contains(&ArgPattern::AnyCompatibleArray) {
            return None;
        }
        binding.compatible = Some(common);
    }
    Some(binding)
}

fn agree(slot: &mut Option<SqlType>, ty: &SqlType) -> Option<()> {
    match slot {
        Some(known) => (known == ty).then_some(()),
        None => {
            *slot = Some(ty.clone());
            Some(())
        }
    }
}

impl Binding {
    /// The concrete type of a declared one; `actual` is that of the argument in its place (`unknown` for results).
    pub fn concrete(&self, arg: &ArgPattern, actual: &SqlType) -> Option<SqlType> {
        match arg {
            ArgPattern::Exact(ty) => Some(ty.clone()),
            ArgPattern::Any => Some(match actual {
                SqlType::Unknown => SqlType::Text,
                other => other.clone(),
            }),
            ArgPattern::AnyElement | ArgPattern::AnyNonArray => self.element.clone(),
            ArgPattern::AnyArray => match actual {
                SqlType::Int2Vector | SqlType::OidVector => Some(actual.clone()),
                _ => self.element.clone().map(SqlType::array_of),
            },
            ArgPattern::AnyCompatible => self.compatible.clone(),
            ArgPattern::AnyCompatibleArray => self.compatible.clone().map(SqlType::array_of),
        }
    }
}
