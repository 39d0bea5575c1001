//! `=`, `<>`, `<`, `<=`, `>`, `>=` within types and between those that PostgreSQL compares directly.

use crate::args::mismatch;
use crate::cast;
use crate::error::Result;
use crate::registry::{Invocation, Kernel, Registry, Volatility};
use datum::{Datum, SqlType};
use std::cmp::Ordering;

/// A kernel per comparison from an expression that orders two arguments.
macro_rules! six {
    ($order:expr) => {
        [
            ("=", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_eq()))),
            ("<>", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_ne()))),
            ("<", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_lt()))),
            ("<=", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_le()))),
            (">", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_gt()))),
            (">=", |args, call| Ok(Datum::Bool(($order)(args, call)?.is_ge()))),
        ]
    };
}

type Six = [(&'static str, Kernel); 6];

pub(super) fn register(r: &mut Registry) {
    let plain: Six = six!(plain_order);
    for ty in SAME {
        six_operators(r, ty, ty, &plain);
    }
    for ints in [
        ("int2", "int4"),
        ("int2", "int8"),
        ("int4", "int8"),
        ("float4", "float8"),
        ("name", "text"),
    ] {
        six_operators(r, ints.0, ints.1, &plain);
        six_operators(r, ints.1, ints.0, &plain);
    }
    let padded: Six = six!(padded_order);
    six_operators(r, "bpchar", "bpchar", &padded);
    let times: Six = six!(time_order);
    for (left, right, volatility) in [
        ("date", "timestamp", Volatility::Immutable),
        ("date", "timestamptz", Volatility::Stable),
        ("timestamp", "timestamptz", Volatility::Stable),
    ] {
        r.volatility(volatility);
        six_operators(r, left, right, &times);
        six_operators(r, right, left, &times);
    }
    r.volatility(Volatility::Immutable);
    let records: Six = six!(record_order);
    six_operators(r, "record", "record", &records);
    r.operator("xid = xid bool", |args, _| Ok(Datum::Bool(args[0] == args[1])));
    r.operator("xid <> xid bool", |args, _| Ok(Datum::Bool(args[0] != args[1])));
    r.operator("xid = int4 bool", |args, _| Ok(Datum::Bool(args[0].as_i64() == args[1].as_i64())));
    for (symbol, kernel) in [
        ("text ~<~ text bool", plain[2].1),
        ("text ~<=~ text bool", plain[3].1),
        ("text ~>~ text bool", plain[4].1),
        ("text ~>=~ text bool", plain[5].1),
    ] {
        r.operator(symbol, kernel);
    }
}

const SAME: [&str; 23] = [
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "name",
    "bytea",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "jsonb",
    "oid",
    "\"char\"",
    "anyarray",
    "int2vector",
    "oidvector",
];

fn six_operators(r: &mut Registry, left: &str, right: &str, kernels: &Six) {
    for (symbol, kernel) in kernels {
        // Once per process: signatures live as long as the registry.
        let signature: &'static str =
            Box::leak(format!("{left} {symbol} {right} bool").into_boxed_str());
        r.operator(signature, *kernel);
    }
}

fn plain_order(args: &[Datum], _: &Invocation<'_>) -> Result<Ordering> {
    match args {
        [left, right] => Ok(left.compare(right)),
        _ => mismatch(args),
    }
}

/// Trailing blanks do not count.
fn padded_order(args: &[Datum], _: &Invocation<'_>) -> Result<Ordering> {
    Ok(datum::compare_as(&SqlType::Bpchar, &args[0], &args[1]))
}

/// Dates and timestamps without zone are taken in the session's zone beside one with.
fn time_order(args: &[Datum], call: &Invocation<'_>) -> Result<Ordering> {
    let zoned = args.iter().any(|arg| matches!(arg, Datum::Timestamptz(_)));
    let instant = |value: &Datum| {
        Ok(match value {
            Datum::Date(date) => {
                // Dates beyond the range of timestamps still compare.
                let local = datum::datetime::date_to_timestamp(*date).unwrap_or(i64::MAX - 1);
                if zoned { cast::local_to_utc(local, call.ctx) } else { local }
            }
            Datum::Timestamp(t) if zoned => cast::local_to_utc(*t, call.ctx),
            Datum::Timestamp(t) | Datum::Timestamptz(t) => *t,
            _ => return mismatch(args),
        })
    };
    Ok(instant(&args[0])?.cmp(&instant(&args[1])?))
}

fn record_order(args: &[Datum], _: &Invocation<'_>) -> Result<Ordering> {
    let (Datum::Record(left), Datum::Record(right)) = (&args[0], &args[1]) else {
        return mismatch(args);
    };
    if left.fields.len() != right.fields.len() {
        return Err(crate::ExprError::datatype_mismatch(
            "cannot compare record types with different numbers of columns",
        ));
    }
    Ok(args[0].compare(&args[1]))
}
