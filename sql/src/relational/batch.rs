//! Datums in Arrow arrays and back.
//!
//! ```text
//! SQL type                                          Arrow              compares natively
//! bool, int2/4/8, oid and reg*                      Boolean, Int16..64, UInt32     yes
//! date / time, timestamp, timestamptz               Int32 / Int64 (as in Datum)    yes
//! text, varchar, name                               Utf8               yes, by bytes
//! bytea / uuid                                      Binary / FixedSizeBinary(16)   yes
//! float4, float8                                    Float32, Float64   order only: -0 = 0 in PostgreSQL
//! everything else (numeric, interval, jsonb, ...)   Binary: datum::codec           no: `sort_key` first
//! ```
//!
//! A type that does not compare natively goes through [`sort_key`]: bytes whose order and equality
//! are the SQL type's.

use crate::error::{SqlError, SqlResult};
use crate::outcome::Row;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    UInt32Builder,
};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt32Type,
};
use datafusion::arrow::record_batch::RecordBatch;
use datum::{Datum, Jsonb, SqlType, codec, memcmp};
use std::sync::Arc;

/// The Arrow type that carries a SQL type.
pub fn arrow_type(ty: &SqlType) -> DataType {
    match ty {
        SqlType::Bool => DataType::Boolean,
        SqlType::Int2 => DataType::Int16,
        SqlType::Int4 | SqlType::Date => DataType::Int32,
        SqlType::Int8 | SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz => {
            DataType::Int64
        }
        SqlType::Float4 => DataType::Float32,
        SqlType::Float8 => DataType::Float64,
        SqlType::Text | SqlType::Varchar | SqlType::Name | SqlType::Unknown | SqlType::Void => {
            DataType::Utf8
        }
        SqlType::Oid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole
        | SqlType::Xid => DataType::UInt32,
        SqlType::Uuid => DataType::FixedSizeBinary(16),
        SqlType::Bytea => DataType::Binary,
        SqlType::Numeric
        | SqlType::Bpchar
        | SqlType::Char
        | SqlType::Timetz
        | SqlType::Interval
        | SqlType::Json
        | SqlType::Jsonb
        | SqlType::Int2Vector
        | SqlType::OidVector
        | SqlType::Record
        | SqlType::Array(_) => DataType::Binary,
    }
}

/// Bytes of texts in one column of a batch; Arrow counts them in an i32.
const COLUMN_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// Whether Arrow's order and equality are the SQL type's.
pub fn compares_natively(ty: &SqlType) -> bool {
    match arrow_type(ty) {
        DataType::Float32 | DataType::Float64 => false,
        DataType::Binary => *ty == SqlType::Bytea,
        _ => true,
    }
}

/// Collects the values of one column.
pub enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Bytes(BinaryBuilder),
    Opaque(BinaryBuilder, Vec<u8>),
}

impl ColumnBuilder {
    pub fn new(ty: &SqlType, capacity: usize) -> Self {
        match arrow_type(ty) {
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(capacity)),
            DataType::Int16 => Self::Int16(Int16Builder::with_capacity(capacity)),
            DataType::Int32 => Self::Int32(Int32Builder::with_capacity(capacity)),
            DataType::Int64 => Self::Int64(Int64Builder::with_capacity(capacity)),
            DataType::UInt32 => Self::UInt32(UInt32Builder::with_capacity(capacity)),
            DataType::Float32 => Self::Float32(Float32Builder::with_capacity(capacity)),
            DataType::Float64 => Self::Float64(Float64Builder::with_capacity(capacity)),
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(capacity, capacity * 16)),
            DataType::FixedSizeBinary(_) => {
                Self::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16))
            }
            _ if *ty == SqlType::Bytea => {
                Self::Bytes(BinaryBuilder::with_capacity(capacity, capacity * 16))
            }
            _ => Self::Opaque(BinaryBuilder::with_capacity(capacity, capacity * 16), Vec::new()),
        }
    }

    /// # Errors
    /// 53200 beyond [`COLUMN_BYTES_MAX`]. XX000: the value is not of the column's type, a broken
    /// promise of the binder's.
    pub fn append(&mut self, datum: &Datum) -> SqlResult<()> {
        match (self, datum) {
            (Self::Bool(b), Datum::Bool(v)) => b.append_value(*v),
            (Self::Int16(b), Datum::Int2(v)) => b.append_value(*v),
            (Self::Int32(b), Datum::Int4(v) | Datum::Date(v)) => b.append_value(*v),
            (
                Self::Int64(b),
                Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v),
            ) => b.append_value(*v),
            (Self::UInt32(b), Datum::Oid(v)) => b.append_value(*v),
            (Self::Float32(b), Datum::Float4(v)) => b.append_value(*v),
            (Self::Float64(b), Datum::Float8(v)) => b.append_value(*v),
            (Self::Text(b), Datum::Text(v)) => {
                room(b.values_slice().len(), v.len())?;
                b.append_value(v);
            }
            (Self::Uuid(b), Datum::Uuid(v)) => {
                b.append_value(v).map_err(|error| SqlError::internal(error.to_string()))?;
            }
            (Self::Bytes(b), Datum::Bytea(v)) => {
                room(b.values_slice().len(), v.len())?;
                b.append_value(v);
            }
            (Self::Bool(b), Datum::Null) => b.append_null(),
            (Self::Int16(b), Datum::Null) => b.append_null(),
            (Self::Int32(b), Datum::Null) => b.append_null(),
            (Self::Int64(b), Datum::Null) => b.append_null(),
            (Self::UInt32(b), Datum::Null) => b.append_null(),
            (Self::Float32(b), Datum::Null) => b.append_null(),
            (Self::Float64(b), Datum::Null) => b.append_null(),
            (Self::Text(b), Datum::Null) => b.append_null(),
            (Self::Uuid(b), Datum::Null) => b.append_null(),
            (Self::Bytes(b) | Self::Opaque(b, _), Datum::Null) => b.append_null(),
            (Self::Opaque(b, scratch), value) => {
                scratch.clear();
                codec::write_datum(value, scratch);
                room(b.values_slice().len(), scratch.len())?;
                b.append_value(&scratch);
            }
            (_, other) => {
                return Err(SqlError::internal(format!(
                    "a value of type {} in a column of another",
                    other.natural_type().name()
                )));
            }
        }
        Ok(())
    }

    pub fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut b) => Arc::new(b.finish()),
            Self::Int16(mut b) => Arc::new(b.finish()),
            Self::Int32(mut b) => Arc::new(b.finish()),
            Self::Int64(mut b) => Arc::new(b.finish()),
            Self::UInt32(mut b) => Arc::new(b.finish()),
            Self::Float32(mut b) => Arc::new(b.finish()),
            Self::Float64(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Uuid(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) | Self::Opaque(mut b, _) => Arc::new(b.finish()),
        }
    }
}

fn room(held: usize, more: usize) -> SqlResult<()> {
    if held + more > COLUMN_BYTES_MAX {
        return Err(SqlError::new("53200", "out of memory").with_detail(format!(
            "The values of one column would take more than {COLUMN_BYTES_MAX} bytes in one batch of rows."
        )));
    }
    Ok(())
}

/// One value of an array that [`ColumnBuilder`] made for `ty`.
///
/// # Errors
/// The array's type is not what `ty` is carried by, or opaque bytes do not decode.
pub fn read(array: &dyn Array, row: usize, ty: &SqlType) -> SqlResult<Datum> {
    if array.is_null(row) {
        return Ok(Datum::Null);
    }
    Ok(match (array.data_type(), ty) {
        (DataType::Boolean, _) => Datum::Bool(array.as_boolean().value(row)),
        (DataType::Int16, _) => Datum::Int2(array.as_primitive::<Int16Type>().value(row)),
        (DataType::Int32, SqlType::Date) => {
            Datum::Date(array.as_primitive::<Int32Type>().value(row))
        }
        (DataType::Int32, _) => Datum::Int4(array.as_primitive::<Int32Type>().value(row)),
        (DataType::Int64, ty) => {
            let value = array.as_primitive::<Int64Type>().value(row);
            match ty {
                SqlType::Time => Datum::Time(value),
                SqlType::Timestamp => Datum::Timestamp(value),
                SqlType::Timestamptz => Datum::Timestamptz(value),
                _ => Datum::Int8(value),
            }
        }
        (DataType::UInt32, _) => Datum::Oid(array.as_primitive::<UInt32Type>().value(row)),
        (DataType::Float32, _) => Datum::Float4(array.as_primitive::<Float32Type>().value(row)),
        (DataType::Float64, _) => Datum::Float8(array.as_primitive::<Float64Type>().value(row)),
        (DataType::Utf8, _) => Datum::text(array.as_string::<i32>().value(row)),
        (DataType::FixedSizeBinary(16), _) => {
            let bytes = array.as_fixed_size_binary().value(row);
            Datum::Uuid(bytes.try_into().map_err(|_| SqlError::internal("a uuid of odd size"))?)
        }
        (DataType::Binary, SqlType::Bytea) => Datum::bytea(array.as_binary::<i32>().value(row)),
        (DataType::Binary, ty) => codec::read_datum(ty, array.as_binary::<i32>().value(row))
            .map_err(|error| SqlError::internal(error.to_string()))?,
        (other, ty) => {
            return Err(SqlError::internal(format!("{} carried as {other}", ty.name())));
        }
    })
}

/// The rows of a batch whose columns have these types.
///
/// # Errors
/// As [`read`].
pub fn rows(batch: &RecordBatch, types: &[SqlType]) -> SqlResult<Vec<Row>> {
    let mut rows: Vec<Row> =
        (0..batch.num_rows()).map(|_| Vec::with_capacity(types.len())).collect();
    for (column, ty) in batch.columns().iter().zip(types) {
        for (index, row) in rows.iter_mut().enumerate() {
            row.push(read(column.as_ref(), index, ty)?);
        }
    }
    Ok(rows)
}

/// Bytes that order and compare as the value does: NULLs excepted, which stay NULL.
///
/// # Errors
/// 42883: the type has no order (json).
pub fn sort_key(datum: &Datum, ty: &SqlType, out: &mut Vec<u8>) -> SqlResult<()> {
    match (ty, datum) {
        (SqlType::Jsonb, Datum::Jsonb(value)) => {
            // An empty array at the top is below everything else.
            let empty = matches!(&**value, Jsonb::Array(items) if items.is_empty());
            out.push(u8::from(!empty));
            jsonb_key(value, out)
        }
        _ => memcmp::encode(datum, ty, false, false, out).map_err(|_| no_order(ty)),
    }
}

/// The order of [`Jsonb`]'s `cmp` as bytes: rank, then size, then the parts.
fn jsonb_key(value: &Jsonb, out: &mut Vec<u8>) -> SqlResult<()> {
    let part = |datum: Datum, ty: &SqlType, out: &mut Vec<u8>| {
        memcmp::encode(&datum, ty, false, false, out).map_err(|_| no_order(&SqlType::Jsonb))
    };
    match value {
        Jsonb::Null => out.push(0),
        Jsonb::String(text) => {
            out.push(1);
            part(Datum::text(&**text), &SqlType::Text, out)?;
        }
        Jsonb::Number(number) => {
            out.push(2);
            part(Datum::Numeric(number.clone()), &SqlType::Numeric, out)?;
        }
        Jsonb::Bool(value) => out.extend([3, u8::from(*value)]),
        Jsonb::Array(items) => {
            out.push(4);
            out.extend((items.len() as u64).to_be_bytes());
            for item in items {
                jsonb_key(item, out)?;
            }
        }
        Jsonb::Object(object) => {
            out.push(5);
            out.extend((object.len() as u64).to_be_bytes());
            for (key, value) in object.entries() {
                part(Datum::text(&**key), &SqlType::Text, out)?;
                jsonb_key(value, out)?;
            }
        }
    }
    Ok(())
}

fn no_order(ty: &SqlType) -> SqlError {
    SqlError::new(
        "42883",
        format!("could not identify an ordering operator for type {}", ty.name()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use datum::Numeric;

    #[test]
    fn a_column_of_a_batch_has_a_largest_size() {
        let half = "x".repeat(COLUMN_BYTES_MAX / 2);
        let json = Datum::Json(half.as_str().into());
        for (ty, value) in [
            (SqlType::Text, Datum::text(&half)),
            (SqlType::Bytea, Datum::bytea(&half)),
            (SqlType::Json, json),
        ] {
            let mut builder = ColumnBuilder::new(&ty, 3);
            builder.append(&value).unwrap();
            let mut further = (0..2).map(|_| builder.append(&value));
            assert!(further.any(|appended| appended.is_err_and(|e| e.sqlstate == "53200")));
        }
    }

    #[test]
    fn every_kind_of_column_survives_the_round_trip() {
        let samples = [
            (SqlType::Bool, Datum::Bool(true)),
            (SqlType::Int2, Datum::Int2(-2)),
            (SqlType::Date, Datum::Date(i32::MAX)),
            (SqlType::Timestamptz, Datum::Timestamptz(i64::MIN)),
            (SqlType::Regclass, Datum::Oid(7)),
            (SqlType::Varchar, Datum::text("é")),
            (SqlType::Bytea, Datum::bytea([0, 255])),
            (SqlType::Uuid, Datum::Uuid([9; 16])),
            (SqlType::Numeric, Datum::Numeric(Numeric::from(12i64))),
        ];
        for (ty, value) in samples {
            let mut builder = ColumnBuilder::new(&ty, 2);
            builder.append(&value).unwrap();
            builder.append(&Datum::Null).unwrap();
            let array = builder.finish();
            assert_eq!(array.data_type(), &arrow_type(&ty));
            let back = read(array.as_ref(), 0, &ty).unwrap();
            assert!(value.compare(&back).is_eq(), "{value:?} came back as {back:?}");
            assert!(read(array.as_ref(), 1, &ty).unwrap().is_null());
        }
    }
}
