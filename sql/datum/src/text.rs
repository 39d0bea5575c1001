//! Text input and output of every type.
use crate::{ColumnType, Datum, DatumError, Result, SqlType, TypeContext};

/// The type's input function: what `'…'::type`, COPY and text parameters run. A type modifier is applied by the rules
/// of assignment (too long a text is an error); explicit casts parse without modifier and then call
/// [`crate::typmod::apply`]. Never yields NULL.
pub fn parse(ty: &ColumnType, input: &str, ctx: &TypeContext) -> Result<Datum> {
    let _ = (ty, ctx);
    Err(DatumError::invalid_syntax("draft", input))
}

/// The type's output function. `ty` matters little, since a datum shows its kind; NULL appends nothing.
pub fn format(datum: &Datum, ty: &SqlType, ctx: &TypeContext, out: &mut String) {
    let _ = (datum, ty, ctx, out);
}

pub fn to_string(datum: &Datum, ty: &SqlType, ctx: &TypeContext) -> String {
    let mut out = String::new();
    format(datum, ty, ctx, &mut out);
    out
}
