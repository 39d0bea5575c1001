//! Builds a system relation's row by column names, so that definitions may grow columns.

use super::VirtualTable;
use datum::Datum;
use std::sync::Arc;

pub(super) struct Row<'a> {
    table: &'a VirtualTable,
    values: Vec<Datum>,
    /// Where the last name was found: names usually come in order.
    next: usize,
}

impl<'a> Row<'a> {
    /// All NULL.
    pub(super) fn new(table: &'a VirtualTable) -> Self {
        Self { table, values: vec![Datum::Null; table.columns.len()], next: 0 }
    }

    pub(super) fn put(mut self, name: &str, value: impl IntoValue) -> Self {
        let at = match self.table.columns.get(self.next) {
            Some(column) if column.name == name => self.next,
            _ => self.table.column_index(name).expect("rows name columns of their own relation"),
        };
        self.values[at] = value.into_value();
        self.next = at + 1;
        self
    }

    /// Several columns that have one value.
    pub(super) fn all(self, names: &[&str], value: impl IntoValue) -> Self {
        let value = value.into_value();
        names.iter().fold(self, |row, name| row.put(name, value.clone()))
    }

    pub(super) fn done(self) -> Vec<Datum> {
        self.values
    }
}

/// What a column can be given.
pub(super) trait IntoValue {
    fn into_value(self) -> Datum;
}

macro_rules! into_value {
    ($($ty:ty => $make:expr),* $(,)?) => {
        $(impl IntoValue for $ty {
            fn into_value(self) -> Datum {
                ($make)(self)
            }
        })*
    };
}

into_value! {
    Datum => |v| v,
    bool => Datum::Bool,
    i16 => Datum::Int2,
    i32 => Datum::Int4,
    i64 => Datum::Int8,
    f32 => Datum::Float4,
    f64 => Datum::Float8,
    u32 => Datum::Oid,
    &str => |v: &str| Datum::Text(Arc::from(v)),
    &String => |v: &String| Datum::Text(Arc::from(v.as_str())),
    String => |v: String| Datum::Text(Arc::from(v)),
    // "char"
    u8 => Datum::Char,
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Datum {
        self.map_or(Datum::Null, IntoValue::into_value)
    }
}

/// A timestamptz, from microseconds since 1970.
pub(super) fn time(micros: Option<i64>) -> Datum {
    micros.map_or(Datum::Null, Datum::Timestamptz)
}
