//! Order-preserving bytes of values inside keys.
use crate::{ColumnType, Datum, DatumError, Result, SqlType};

/// Appends a self-delimiting encoding whose byte order is the order of the values, NULL first or last.
/// `char(n)` loses its trailing blanks, numeric its display scale: see [`is_lossless`].
pub fn encode(
    datum: &Datum,
    ty: &SqlType,
    desc: bool,
    nulls_first: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    let _ = (datum, desc, nulls_first, out);
    Err(DatumError::corrupted(ty.sql_name()))
}

/// Reads one value from the front of `input` and moves it on.
pub fn decode(ty: &ColumnType, desc: bool, nulls_first: bool, input: &mut &[u8]) -> Result<Datum> {
    let _ = (desc, nulls_first, input);
    Err(DatumError::corrupted(ty.ty.sql_name()))
}

/// Moves `input` past one value.
pub fn skip(ty: &SqlType, desc: bool, nulls_first: bool, input: &mut &[u8]) -> Result<()> {
    let _ = (desc, nulls_first, input);
    Err(DatumError::corrupted(ty.sql_name()))
}

/// Whether a type can be a key column at all (json cannot).
pub fn is_indexable(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Json | SqlType::Void | SqlType::Record)
}

/// Whether decoding gives back exactly what was encoded. If not (numeric without a scale, interval, timetz, floats'
/// -0), the row value must hold the column too.
pub fn is_lossless(ty: &ColumnType) -> bool {
    let _ = ty;
    false
}
