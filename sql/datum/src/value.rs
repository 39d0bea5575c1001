//! A SQL value in memory: 24 bytes, cheap to clone, no lifetime. What is larger lives behind an `Arc`.

use std::sync::Arc;

use crate::{Interval, Jsonb, Numeric, SqlType};

#[derive(Debug, Clone, Default)]
pub enum Datum {
    #[default]
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    /// text, varchar, bpchar (stored padded), name, unknown; void is the empty text.
    Text(Arc<str>),
    Bytea(Arc<[u8]>),
    /// Days since 1970-01-01; MIN and MAX are -infinity and infinity.
    Date(i32),
    /// Microseconds since midnight, 24:00:00 included.
    Time(i64),
    /// Local microseconds since midnight, and the offset in seconds **east** of UTC.
    Timetz {
        micros: i64,
        offset: i32,
    },
    /// Microseconds since 1970-01-01 of no particular zone; MIN and MAX are the infinities.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 UTC; MIN and MAX are the infinities.
    Timestamptz(i64),
    Interval(Interval),
    Uuid([u8; 16]),
    /// Valid JSON, in the user's own spelling.
    Json(Arc<str>),
    Jsonb(Arc<Jsonb>),
    /// oid, xid, reg*.
    Oid(u32),
    /// `"char"`.
    Char(u8),
    Array(Arc<ArrayValue>),
    Record(Arc<RecordValue>),
}

const _: () = assert!(std::mem::size_of::<Datum>() <= 24);

/// Elements in row-major order. No dimensions means the empty array.
#[derive(Debug, Clone)]
pub struct ArrayValue {
    pub element: SqlType,
    pub dims: Vec<ArrayDim>,
    /// As many as the product of the dimensions' lengths.
    pub items: Vec<Datum>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArrayDim {
    pub length: i32,
    /// Lower bound, normally 1.
    pub lower: i32,
}

/// Fields with their types, since a record's text and binary forms need them. Names live in the planner.
#[derive(Debug, Clone)]
pub struct RecordValue {
    pub types: Arc<[SqlType]>,
    pub fields: Vec<Datum>,
}

impl ArrayValue {
    /// A one-dimensional array with lower bound 1, or the empty array.
    pub fn new(element: SqlType, items: Vec<Datum>) -> Self {
        let dims = if items.is_empty() {
            Vec::new()
        } else {
            vec![ArrayDim { length: items.len() as i32, lower: 1 }]
        };
        Self { element, dims, items }
    }

    pub fn empty(element: SqlType) -> Self {
        Self { element, dims: Vec::new(), items: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The element at these subscripts, if they are as many as the dimensions and within bounds.
    pub fn get(&self, subscripts: &[i32]) -> Option<&Datum> {
        if subscripts.len() != self.dims.len() || subscripts.is_empty() {
            return None;
        }
        let mut index = 0usize;
        for (dim, &subscript) in self.dims.iter().zip(subscripts) {
            let at = i64::from(subscript) - i64::from(dim.lower);
            if at < 0 || at >= i64::from(dim.length) {
                return None;
            }
            index = index * dim.length as usize + at as usize;
        }
        self.items.get(index)
    }
}

impl Datum {
    pub fn text(s: impl AsRef<str>) -> Datum {
        Datum::Text(Arc::from(s.as_ref()))
    }

    pub fn bytea(b: impl AsRef<[u8]>) -> Datum {
        Datum::Bytea(Arc::from(b.as_ref()))
    }

    pub fn array(element: SqlType, items: Vec<Datum>) -> Datum {
        Datum::Array(Arc::new(ArrayValue::new(element, items)))
    }

    pub fn record(types: impl Into<Arc<[SqlType]>>, fields: Vec<Datum>) -> Datum {
        Datum::Record(Arc::new(RecordValue { types: types.into(), fields }))
    }

    pub fn void() -> Datum {
        Datum::text("")
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Datum::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(s) | Datum::Json(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Datum::Bytea(b) => Some(b),
            _ => None,
        }
    }

    /// Any integer or oid, widened.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Datum::Int2(v) => Some(i64::from(*v)),
            Datum::Int4(v) => Some(i64::from(*v)),
            Datum::Int8(v) => Some(*v),
            Datum::Oid(v) => Some(i64::from(*v)),
            _ => None,
        }
    }

    /// Any float, widened.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Datum::Float4(v) => Some(f64::from(*v)),
            Datum::Float8(v) => Some(*v),
            _ => None,
        }
    }

    pub fn as_numeric(&self) -> Option<&Numeric> {
        match self {
            Datum::Numeric(n) => Some(n),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&Arc<ArrayValue>> {
        match self {
            Datum::Array(a) => Some(a),
            _ => None,
        }
    }

    /// The type that a value shows by itself: `Text` for all text-like types, `Oid` for reg*; `Unknown` for NULL.
    pub fn natural_type(&self) -> SqlType {
        match self {
            Datum::Null => SqlType::Unknown,
            Datum::Bool(_) => SqlType::Bool,
            Datum::Int2(_) => SqlType::Int2,
            Datum::Int4(_) => SqlType::Int4,
            Datum::Int8(_) => SqlType::Int8,
            Datum::Float4(_) => SqlType::Float4,
            Datum::Float8(_) => SqlType::Float8,
            Datum::Numeric(_) => SqlType::Numeric,
            Datum::Text(_) => SqlType::Text,
            Datum::Bytea(_) => SqlType::Bytea,
            Datum::Date(_) => SqlType::Date,
            Datum::Time(_) => SqlType::Time,
            Datum::Timetz { .. } => SqlType::Timetz,
            Datum::Timestamp(_) => SqlType::Timestamp,
            Datum::Timestamptz(_) => SqlType::Timestamptz,
            Datum::Interval(_) => SqlType::Interval,
            Datum::Uuid(_) => SqlType::Uuid,
            Datum::Json(_) => SqlType::Json,
            Datum::Jsonb(_) => SqlType::Jsonb,
            Datum::Oid(_) => SqlType::Oid,
            Datum::Char(_) => SqlType::Char,
            Datum::Array(a) => SqlType::array_of(a.element.clone()),
            Datum::Record(_) => SqlType::Record,
        }
    }

    /// Heap and inline bytes, roughly; for memory accounting and row size limits.
    pub fn size_bytes(&self) -> usize {
        let heap = match self {
            Datum::Text(s) | Datum::Json(s) => s.len() + 16,
            Datum::Bytea(b) => b.len() + 16,
            Datum::Numeric(n) => n.heap_bytes(),
            Datum::Jsonb(j) => j.size_bytes(),
            Datum::Array(a) => 64 + a.items.iter().map(Datum::size_bytes).sum::<usize>(),
            Datum::Record(r) => 48 + r.fields.iter().map(Datum::size_bytes).sum::<usize>(),
            _ => 0,
        };
        std::mem::size_of::<Datum>() + heap
    }
}

macro_rules! datum_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Datum {
            fn from(value: $from) -> Datum {
                Datum::$variant(value)
            }
        })*
    };
}

datum_from! {
    bool => Bool, i16 => Int2, i32 => Int4, i64 => Int8, f32 => Float4, f64 => Float8,
    Numeric => Numeric, Interval => Interval, u32 => Oid, Arc<str> => Text,
}

impl From<&str> for Datum {
    fn from(value: &str) -> Datum {
        Datum::text(value)
    }
}

impl From<String> for Datum {
    fn from(value: String) -> Datum {
        Datum::Text(value.into())
    }
}

impl<T: Into<Datum>> From<Option<T>> for Datum {
    fn from(value: Option<T>) -> Datum {
        value.map_or(Datum::Null, Into::into)
    }
}
