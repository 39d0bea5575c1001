//! The wire's binary format of every type.
use crate::{ColumnType, Datum, DatumError, Result, SqlType};

/// Appends the payload without its length. NULL appends nothing; the caller writes length -1.
pub fn encode(datum: &Datum, ty: &SqlType, out: &mut Vec<u8>) {
    let _ = (datum, ty, out);
}

/// Reads one payload that must be consumed exactly.
pub fn decode(ty: &ColumnType, input: &[u8]) -> Result<Datum> {
    let _ = input;
    Err(DatumError::out_of_range(ty.ty.sql_name()))
}
