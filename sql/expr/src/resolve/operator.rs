//! Operators by symbol and operand types.

use super::candidate::{Candidate, Choice, choose};
use super::{Resolver, polymorphic};
use crate::error::{ExprError, Result};
use crate::registry::{self, BoundFunction, FuncRef};
use crate::tree::{Expr, Position};
use datum::{ColumnType, SqlType};
use std::sync::Arc;

impl Resolver<'_> {
    /// `left symbol right`, or `symbol right`. `position` is the operator's own.
    ///
    /// # Errors
    /// 42883 `operator does not exist: text = integer`, 42725 `operator is not unique: ..`, invalid literals.
    pub fn resolve_operator(
        &self,
        symbol: &str,
        left: Option<Expr>,
        right: Expr,
        position: impl Into<Position>,
    ) -> Result<Expr> {
        let position = position.into();
        let args: Vec<Expr> = left.into_iter().chain([right]).collect();
        let types: Vec<SqlType> = args.iter().map(|arg| arg.sql_type().clone()).collect();
        let func = self.bind_operator(symbol, &types, position.0)?;
        let args = args
            .into_iter()
            .zip(&func.arg_types)
            .map(|(arg, to)| self.coerce_argument(arg, &to.ty))
            .collect::<Result<Vec<_>>>()?;
        Ok(Expr::Call { func, args, position })
    }

    /// The overload alone, for constructs that are not calls (IN, ANY, IS DISTINCT FROM): its `arg_types` say what
    /// the operands must be brought to.
    pub fn bind_operator(
        &self,
        symbol: &str,
        types: &[SqlType],
        position: Option<u32>,
    ) -> Result<Arc<BoundFunction>> {
        let candidates: Vec<Candidate> = registry::operators(symbol)
            .iter()
            .filter(|def| def.args.len() == types.len())
            .map(|def| Candidate { def, args: def.args.clone() })
            .collect();
        let describe = || match types {
            [left, right] => format!("{} {symbol} {}", left.name(), right.name()),
            [right] => format!("{symbol} {}", right.name()),
            _ => symbol.to_owned(),
        };
        let candidate = match choose(candidates, types, true) {
            Choice::One(candidate) => candidate,
            Choice::None => {
                return Err(ExprError::new(
                    "42883",
                    format!("operator does not exist: {}", describe()),
                )
                .with_hint(
                    "No operator matches the given name and argument types. \
                     You might need to add explicit type casts.",
                )
                .at(position));
            }
            Choice::Ambiguous => {
                return Err(ExprError::new(
                    "42725",
                    format!("operator is not unique: {}", describe()),
                )
                .with_hint(
                    "Could not choose a best candidate operator. \
                     You might need to add explicit type casts.",
                )
                .at(position));
            }
        };
        let binding = polymorphic::bind(&candidate.args, types).unwrap_or_default();
        let concrete = |arg, actual: &SqlType| {
            binding.concrete(arg, actual).ok_or_else(|| undetermined().at(position))
        };
        let arg_types = candidate
            .args
            .iter()
            .zip(types)
            .map(|(arg, actual)| concrete(arg, actual).map(ColumnType::plain))
            .collect::<Result<Vec<_>>>()?;
        let ty = concrete(&candidate.def.returns, &SqlType::Unknown)?;
        Ok(Arc::new(BoundFunction {
            def: FuncRef(candidate.def),
            arg_types,
            arg_shapes: Vec::new(),
            ty: ColumnType::plain(ty),
            result_shape: None,
            variadic_array: false,
            columns: Vec::new(),
        }))
    }
}

pub(super) fn undetermined() -> ExprError {
    ExprError::datatype_mismatch(
        "could not determine polymorphic type because input has type unknown",
    )
}
