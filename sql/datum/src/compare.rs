//! Order, equality and hash of values within one type, by PostgreSQL's rules: NaN equals itself and is largest, `-0`
//! equals `0`, intervals compare normalised, numerics ignore their scale. NULL sorts last and equals NULL here, as
//! grouping and DISTINCT want it; three-valued logic is expr's.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use crate::{ArrayValue, Datum, Jsonb, SqlType};

/// Trailing blanks do not count in `char(n)`; all else is [`Datum::compare`].
pub fn compare_as(ty: &SqlType, a: &Datum, b: &Datum) -> Ordering {
    match (ty, a, b) {
        (SqlType::Bpchar, Datum::Text(a), Datum::Text(b)) => trimmed(a).cmp(trimmed(b)),
        _ => a.compare(b),
    }
}

pub fn eq_as(ty: &SqlType, a: &Datum, b: &Datum) -> bool {
    compare_as(ty, a, b) == Ordering::Equal
}

pub fn hash_as<H: Hasher>(ty: &SqlType, datum: &Datum, state: &mut H) {
    match (ty, datum) {
        (SqlType::Bpchar, Datum::Text(s)) => Datum::text(trimmed(s)).hash(state),
        _ => datum.hash(state),
    }
}

/// A value as a key of a hash table or of a sorted map: equal keys are equal values of this type.
pub mod key {
    use super::{Datum, SqlType, trimmed};

    pub fn canonical(ty: &SqlType, datum: &Datum) -> Datum {
        match (ty, datum) {
            (SqlType::Bpchar, Datum::Text(s)) if s.ends_with(' ') => Datum::text(trimmed(s)),
            _ => datum.clone(),
        }
    }
}

fn trimmed(s: &str) -> &str {
    s.trim_end_matches(' ')
}

impl Datum {
    /// The order within one type. Integers of different widths compare by value, as do text-like and json text;
    /// values of unrelated types have an arbitrary but fixed order.
    pub fn compare(&self, other: &Datum) -> Ordering {
        match (self, other) {
            (Datum::Null, Datum::Null) => Ordering::Equal,
            (Datum::Null, _) => Ordering::Greater,
            (_, Datum::Null) => Ordering::Less,
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::Int4(a), Datum::Int4(b)) => a.cmp(b),
            (Datum::Int8(a), Datum::Int8(b)) => a.cmp(b),
            (Datum::Float4(a), Datum::Float4(b)) => compare_floats(f64::from(*a), f64::from(*b)),
            (Datum::Float8(a), Datum::Float8(b)) => compare_floats(*a, *b),
            (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
            (Datum::Text(a), Datum::Text(b)) | (Datum::Json(a), Datum::Json(b)) => a.cmp(b),
            (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
            (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
            (Datum::Time(a), Datum::Time(b)) => a.cmp(b),
            (Datum::Timetz { micros: a, offset: x }, Datum::Timetz { micros: b, offset: y }) => {
                // By instant, then the zone further east (the smaller zone of PostgreSQL's west-positive sign) first.
                let utc = |micros: i64, east: i32| micros - i64::from(east) * 1_000_000;
                utc(*a, *x).cmp(&utc(*b, *y)).then(y.cmp(x))
            }
            (Datum::Timestamp(a), Datum::Timestamp(b))
            | (Datum::Timestamptz(a), Datum::Timestamptz(b)) => a.cmp(b),
            (Datum::Interval(a), Datum::Interval(b)) => a.cmp(b),
            (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
            (Datum::Jsonb(a), Datum::Jsonb(b)) => a.cmp(b),
            (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
            (Datum::Char(a), Datum::Char(b)) => a.cmp(b),
            (Datum::Array(a), Datum::Array(b)) => compare_arrays(a, b),
            (Datum::Record(a), Datum::Record(b)) => a.fields.iter().cmp(b.fields.iter()),
            (a, b) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
                (Some(x), Some(y), _, _) => x.cmp(&y),
                (_, _, Some(x), Some(y)) => compare_floats(x, y),
                _ => tag(a).cmp(&tag(b)),
            },
        }
    }
}

/// NaN is equal to NaN and above everything; -0 equals 0.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Element by element, then the shorter, then fewer dimensions, then dimensions and bounds.
fn compare_arrays(a: &ArrayValue, b: &ArrayValue) -> Ordering {
    a.items.iter().cmp(b.items.iter()).then_with(|| a.dims.len().cmp(&b.dims.len())).then_with(
        || {
            let lengths = |v: &ArrayValue| v.dims.iter().map(|d| d.length).collect::<Vec<_>>();
            let bounds = |v: &ArrayValue| v.dims.iter().map(|d| d.lower).collect::<Vec<_>>();
            lengths(a).cmp(&lengths(b)).then_with(|| bounds(a).cmp(&bounds(b)))
        },
    )
}

fn tag(datum: &Datum) -> u8 {
    match datum {
        Datum::Null => 255,
        Datum::Bool(_) => 1,
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Oid(_) => 2,
        Datum::Float4(_) | Datum::Float8(_) => 3,
        Datum::Numeric(_) => 4,
        Datum::Text(_) => 5,
        Datum::Bytea(_) => 6,
        Datum::Date(_) => 7,
        Datum::Time(_) => 8,
        Datum::Timetz { .. } => 9,
        Datum::Timestamp(_) => 10,
        Datum::Timestamptz(_) => 11,
        Datum::Interval(_) => 12,
        Datum::Uuid(_) => 13,
        Datum::Json(_) => 14,
        Datum::Jsonb(_) => 15,
        Datum::Char(_) => 16,
        Datum::Array(_) => 17,
        Datum::Record(_) => 18,
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

impl Hash for Datum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        tag(self).hash(state);
        match self {
            Datum::Null => {}
            Datum::Bool(v) => v.hash(state),
            Datum::Int2(v) => i64::from(*v).hash(state),
            Datum::Int4(v) => i64::from(*v).hash(state),
            Datum::Int8(v) => v.hash(state),
            Datum::Oid(v) => i64::from(*v).hash(state),
            Datum::Float4(v) => float_bits(f64::from(*v)).hash(state),
            Datum::Float8(v) => float_bits(*v).hash(state),
            Datum::Numeric(v) => v.hash(state),
            Datum::Text(v) | Datum::Json(v) => v.hash(state),
            Datum::Bytea(v) => v.hash(state),
            Datum::Date(v) => v.hash(state),
            Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v) => v.hash(state),
            Datum::Timetz { micros, offset } => (micros, offset).hash(state),
            Datum::Interval(v) => v.hash(state),
            Datum::Uuid(v) => v.hash(state),
            Datum::Jsonb(v) => v.hash(state),
            Datum::Char(v) => v.hash(state),
            Datum::Array(v) => (&v.items, &v.dims).hash(state),
            Datum::Record(v) => v.fields.hash(state),
        }
    }
}

fn float_bits(v: f64) -> u64 {
    if v.is_nan() {
        f64::NAN.to_bits()
    } else if v == 0.0 {
        0
    } else {
        v.to_bits()
    }
}

/// The btree order of jsonb: Object > Array > Boolean > Number > String > Null; containers by size first. By an old
/// accident that indexes rely on, an empty array at the top is below every scalar.
impl Ord for Jsonb {
    fn cmp(&self, other: &Self) -> Ordering {
        let empty = |j: &Jsonb| matches!(j, Jsonb::Array(items) if items.is_empty());
        let container = |j: &Jsonb| matches!(j, Jsonb::Array(_) | Jsonb::Object(_));
        if empty(self) && !container(other) {
            Ordering::Less
        } else if empty(other) && !container(self) {
            Ordering::Greater
        } else {
            compare_jsonb(self, other)
        }
    }
}

fn compare_jsonb(a: &Jsonb, b: &Jsonb) -> Ordering {
    let rank = |j: &Jsonb| match j {
        Jsonb::Null => 0,
        Jsonb::String(_) => 1,
        Jsonb::Number(_) => 2,
        Jsonb::Bool(_) => 3,
        Jsonb::Array(_) => 4,
        Jsonb::Object(_) => 5,
    };
    match (a, b) {
        (Jsonb::Bool(a), Jsonb::Bool(b)) => a.cmp(b),
        (Jsonb::Number(a), Jsonb::Number(b)) => a.cmp(b),
        (Jsonb::String(a), Jsonb::String(b)) => a.cmp(b),
        (Jsonb::Array(a), Jsonb::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            let orders = a.iter().zip(b).map(|(x, y)| compare_jsonb(x, y));
            first_difference(orders)
        }),
        (Jsonb::Object(a), Jsonb::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let pairs = a.entries().iter().zip(b.entries());
            first_difference(
                pairs.map(|((k, v), (l, w))| k.cmp(l).then_with(|| compare_jsonb(v, w))),
            )
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl PartialOrd for Jsonb {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Jsonb {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Jsonb {}

impl Hash for Jsonb {
    fn hash<H: Hasher>(&self, state: &mut H) {
        discriminant(self).hash(state);
        match self {
            Jsonb::Null => {}
            Jsonb::Bool(v) => v.hash(state),
            Jsonb::Number(v) => v.hash(state),
            Jsonb::String(v) => v.hash(state),
            Jsonb::Array(v) => v.hash(state),
            Jsonb::Object(v) => v.entries().hash(state),
        }
    }
}
