//! SQL types and values: what a value is, how it is ordered, and every form in which it leaves memory.
//!
//! ```text
//!   text "1.50"  ──text::parse──▶            ┌──▶ text::format     "1.50"          psql, COPY, casts to text
//!   wire bytes   ──binary::decode──▶  Datum ─┼──▶ binary::encode   network order   binary protocol, binary COPY
//!   row payload  ──codec::read_datum─▶       ├──▶ codec::write_datum               row values on disk
//!   key bytes    ──memcmp::decode──▶         └──▶ memcmp::encode   order preserving keys on disk
//! ```
//!
//! One worked example: `'1.50'::numeric(12,2)` is `text::parse(&ColumnType::new(Numeric, typmod), "1.50", &ctx)`,
//! gives `Datum::Numeric` with mantissa 150 and display scale 2, and prints as `1.50` again; as a key it
//! is the same bytes as `1.5`, since the two are equal.
//!
//! What datum does not know: tables, names of relations (a `regclass` is its oid here), SQL syntax (but for
//! `keywords`: which words need quotes), functions by name, sessions, clocks. All time-dependent input (`'now'`) reads `TypeContext::now`.
//!
//! Conventions: `Text`, `Varchar`, `Bpchar`, `Name`, `Unknown` all carry `Datum::Text`; `Oid`, `Xid` and `Reg*` carry
//! `Datum::Oid`; `Int2Vector` and `OidVector` carry `Datum::Array`. Dates are days and timestamps microseconds since
//! 1970-01-01; `i32`/`i64` `MIN`/`MAX` are -infinity/infinity. Every message and SQLSTATE is PostgreSQL 15's.

pub mod binary;
pub mod codec;
mod compare;
mod context;
pub mod datetime;
mod error;
pub mod float;
mod interval;
pub mod json;
mod jsonb;
pub mod keywords;
pub mod memcmp;
pub mod numeric;
pub mod text;
mod types;
pub mod typmod;
mod value;
mod zone;

pub use compare::{compare_as, eq_as, hash_as, key};
pub use context::{ByteaOutput, DateOrder, DateStyle, DateStyleFormat, IntervalStyle, TypeContext};
pub use error::{DatumError, Result, sqlstate};
pub use interval::Interval;
pub use jsonb::{Jsonb, JsonbObject};
pub use numeric::Numeric;
pub use types::{Category, ColumnType, SqlType};
pub use value::{ArrayDim, ArrayValue, Datum, RecordValue};
pub use zone::TimeZone;
