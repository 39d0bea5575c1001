//! Conversions: parsing literals, inferring parameters, inserting casts.

use super::{CoercionContext, Resolver};
use crate::cast::{self, BoundCast};
use crate::error::{ExprError, Result};
use crate::tree::{Expr, Position};
use datum::{ColumnType, Datum, SqlType};
use std::sync::Arc;

impl Resolver<'_> {
    /// `expr` as a value of `to`, type modifier included: `CAST(expr AS to)` with `CoercionContext::Explicit`.
    ///
    /// # Errors
    /// 42846 `cannot cast type x to y`, or what the input function says about a literal, at its position.
    pub fn coerce(&self, expr: Expr, to: &ColumnType, context: CoercionContext) -> Result<Expr> {
        let position = expr.position();
        match expr {
            Expr::Unknown { text, position } => self.literal(text, position, to, context),
            Expr::Param { index, ty, position } if ty.ty == SqlType::Unknown => {
                if to.ty == SqlType::Unknown {
                    return Ok(Expr::Param { index, ty, position });
                }
                self.params.infer(index, &to.ty, position.0)?;
                let plain = ColumnType::plain(to.ty.clone());
                self.fit(Expr::Param { index, ty: plain, position }, to, context)
            }
            Expr::Array { elements, .. } if self.can_retype_array(&elements, to, context) => {
                let element =
                    ColumnType::new(to.ty.element_type().unwrap_or(SqlType::Unknown), to.typmod);
                let elements = elements
                    .into_iter()
                    .map(|part| match part {
                        nested @ Expr::Array { .. } => self.coerce(nested, to, context),
                        part => self.coerce(part, &element, context),
                    })
                    .collect::<Result<_>>()?;
                Ok(Expr::Array { elements, ty: to.clone() })
            }
            Expr::Const(Datum::Null, from) if self.can_coerce(&from.ty, &to.ty, context) => {
                Ok(Expr::Const(Datum::Null, to.clone()))
            }
            expr if expr.ty().ty == to.ty => self.fit(expr, to, context),
            expr => {
                let from = expr.ty().clone();
                let cast = BoundCast::find(&from, to, context)
                    .ok_or_else(|| cannot_cast(&from.ty, &to.ty).at(position))?;
                Ok(Expr::Cast {
                    cast: Arc::new(cast),
                    arg: Box::new(expr),
                    position: Position(position),
                })
            }
        }
    }

    /// The same for an argument of a kernel: conversions that change only the label are left out.
    pub(super) fn coerce_argument(&self, expr: Expr, to: &SqlType) -> Result<Expr> {
        let from = expr.sql_type();
        if from == to || (*from != SqlType::Unknown && cast::is_relabel(from, to)) {
            return Ok(expr);
        }
        self.coerce(expr, &ColumnType::plain(to.clone()), CoercionContext::Implicit)
    }

    /// Whether `coerce` would find a way (literals may still turn out invalid).
    pub fn can_coerce(&self, from: &SqlType, to: &SqlType, context: CoercionContext) -> bool {
        from == to
            || *from == SqlType::Unknown
            || cast::allowed(from, to).is_some_and(|least| least <= context)
    }

    /// A value for a boolean context: WHERE, ON, AND. `construct` is "argument of WHERE".
    ///
    /// # Errors
    /// 42804 `argument of WHERE must be type boolean, not type integer`.
    pub fn coerce_to_boolean(&self, expr: Expr, construct: &str) -> Result<Expr> {
        match expr.sql_type() {
            SqlType::Bool => Ok(expr),
            SqlType::Unknown => {
                self.coerce(expr, &ColumnType::plain(SqlType::Bool), CoercionContext::Implicit)
            }
            other => Err(ExprError::datatype_mismatch(format!(
                "{construct} must be type boolean, not type {}",
                other.name()
            ))
            .at(expr.position())),
        }
    }

    /// LIMIT and OFFSET, frame offsets: `argument of LIMIT must be type bigint, not type text`.
    pub fn coerce_to_bigint(&self, expr: Expr, construct: &str) -> Result<Expr> {
        if !self.can_coerce(expr.sql_type(), &SqlType::Int8, CoercionContext::Assignment) {
            return Err(ExprError::datatype_mismatch(format!(
                "{construct} must be type bigint, not type {}",
                expr.sql_type().name()
            ))
            .at(expr.position()));
        }
        self.coerce(expr, &ColumnType::plain(SqlType::Int8), CoercionContext::Assignment)
    }

    /// What is left of type unknown in a select list becomes text.
    pub fn default_unknown(&self, expr: Expr) -> Result<Expr> {
        if expr.is_unknown() {
            self.coerce(expr, &ColumnType::plain(SqlType::Text), CoercionContext::Implicit)
        } else {
            Ok(expr)
        }
    }

    fn can_retype_array(
        &self,
        elements: &[Expr],
        to: &ColumnType,
        context: CoercionContext,
    ) -> bool {
        let Some(element) = to.ty.element_type() else { return false };
        to.ty.is_array()
            && elements.iter().all(|part| match part {
                Expr::Array { elements, .. } => self.can_retype_array(elements, to, context),
                part => {
                    !part.sql_type().is_array()
                        && self.can_coerce(part.sql_type(), &element, context)
                }
            })
    }

    /// Applies the type modifier where it may change the value.
    fn fit(&self, expr: Expr, to: &ColumnType, context: CoercionContext) -> Result<Expr> {
        if to.typmod < 0 || expr.ty().typmod == to.typmod {
            return Ok(expr);
        }
        let explicit = context == CoercionContext::Explicit;
        let position = expr.position();
        // Cutting to length is execution, not parsing: its errors have no position.
        if let Expr::Const(value, _) = expr {
            return Ok(Expr::Const(datum::typmod::apply(value, to, explicit)?, to.clone()));
        }
        let cast = BoundCast::length(expr.ty(), to, explicit);
        Ok(Expr::Cast { cast: Arc::new(cast), arg: Box::new(expr), position: Position(position) })
    }

    fn literal(
        &self,
        text: Option<Arc<str>>,
        position: Position,
        to: &ColumnType,
        context: CoercionContext,
    ) -> Result<Expr> {
        let Some(text) = text else { return Ok(Expr::Const(Datum::Null, to.clone())) };
        if to.ty == SqlType::Unknown {
            return Ok(Expr::Unknown { text: Some(text), position });
        }
        if depends_on_session(&to.ty, &text) {
            self.note_session_dependence();
        }
        // Input functions run without the modifier, save that of interval, whose fields decide how to read.
        let input_type = match to.ty {
            SqlType::Interval => to.clone(),
            _ => ColumnType::plain(to.ty.clone()),
        };
        let at = |error: ExprError| error.at(position.0);
        let value = cast::parse_input(&input_type, &text, self.ctx).map_err(at)?;
        let value = if to.typmod >= 0 {
            datum::typmod::apply(value, to, context == CoercionContext::Explicit)?
        } else {
            value
        };
        Ok(Expr::Const(value, to.clone()))
    }
}

fn cannot_cast(from: &SqlType, to: &SqlType) -> ExprError {
    ExprError::new("42846", format!("cannot cast type {} to {}", from.name(), to.name()))
}

fn depends_on_session(ty: &SqlType, text: &str) -> bool {
    let named_time = || {
        let lower = text.to_ascii_lowercase();
        ["now", "today", "tomorrow", "yesterday"].iter().any(|word| lower.contains(word))
    };
    match ty.element_type().as_ref().unwrap_or(ty) {
        SqlType::Timestamptz | SqlType::Timetz => true,
        // Reading also depends on the date style, unless the year comes first.
        SqlType::Date | SqlType::Timestamp | SqlType::Time => {
            named_time() || !text.trim_start().chars().take(4).all(|c| c.is_ascii_digit())
        }
        SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => true,
        _ => false,
    }
}
