//! The type of UNION, CASE, COALESCE, VALUES, ARRAY and IN: PostgreSQL's section 10.5.

use super::candidate::can_coerce;
use super::{CoercionContext, Resolver};
use crate::error::{ExprError, Result};
use crate::tree::Expr;
use datum::{ColumnType, SqlType};

/// The common type, or the two types that have none.
fn select_or_conflict(types: &[SqlType]) -> Result<SqlType, (SqlType, SqlType, usize)> {
    let Some(first) = types.iter().find(|ty| **ty != SqlType::Unknown) else {
        return Ok(SqlType::Text);
    };
    let mut common = first.clone();
    for (index, ty) in types.iter().enumerate() {
        if *ty == SqlType::Unknown || *ty == common {
            continue;
        }
        if ty.category() != common.category() {
            return Err((common, ty.clone(), index));
        }
        if !common.is_preferred() && can_coerce(&common, ty) && !can_coerce(ty, &common) {
            common = ty.clone();
        }
    }
    Ok(common)
}

pub(super) fn select(types: &[SqlType]) -> Option<SqlType> {
    select_or_conflict(types).ok()
}

impl Resolver<'_> {
    /// The type that all of these expressions are to be brought to; `construct` ("CASE", "UNION", …) begins the
    /// error. The type modifier survives if all agree on it.
    ///
    /// # Errors
    /// 42804 `CASE types integer and text cannot be matched`.
    pub fn common_type(&self, construct: &str, exprs: &[&Expr]) -> Result<ColumnType> {
        let types: Vec<SqlType> = exprs.iter().map(|expr| expr.sql_type().clone()).collect();
        let ty = select_or_conflict(&types).map_err(|(left, right, index)| {
            ExprError::datatype_mismatch(format!(
                "{construct} types {} and {} cannot be matched",
                left.name(),
                right.name()
            ))
            .at(exprs[index].position())
        })?;
        Ok(ColumnType::new(ty.clone(), common_typmod(&ty, exprs)))
    }

    /// Types alone, for set operations whose branches are bound already.
    pub fn common_type_of(&self, construct: &str, types: &[ColumnType]) -> Result<ColumnType> {
        let plain: Vec<SqlType> = types.iter().map(|ty| ty.ty.clone()).collect();
        let ty = select_or_conflict(&plain).map_err(|(left, right, _)| {
            ExprError::datatype_mismatch(format!(
                "{construct} types {} and {} cannot be matched",
                left.name(),
                right.name()
            ))
        })?;
        let first = types.first().map_or(-1, |ty| ty.typmod);
        let same = types.iter().all(|own| own.ty == ty && own.typmod == first);
        Ok(ColumnType::new(ty, if same { first } else { -1 }))
    }

    /// Brings one branch to the common type.
    ///
    /// # Errors
    /// 42846 `CASE could not convert type x to y`; invalid literals.
    pub fn coerce_to_common(&self, construct: &str, expr: Expr, to: &ColumnType) -> Result<Expr> {
        let from = expr.sql_type().clone();
        if !can_coerce(&from, &to.ty) {
            return Err(ExprError::new(
                "42846",
                format!("{construct} could not convert type {} to {}", from.name(), to.ty.name()),
            )
            .at(expr.position()));
        }
        self.coerce(expr, to, CoercionContext::Implicit)
    }
}

fn common_typmod(ty: &SqlType, exprs: &[&Expr]) -> i32 {
    let mut typmod = None;
    for expr in exprs {
        if expr.sql_type() != ty {
            return -1;
        }
        match typmod {
            None => typmod = Some(expr.ty().typmod),
            Some(known) if known != expr.ty().typmod => return -1,
            Some(_) => {}
        }
    }
    typmod.unwrap_or(-1)
}
