//! `&`, `|`, `#`, `~`, `<<`, `>>` on integers.

use crate::args::mismatch;
use crate::registry::Registry;
use datum::Datum;

macro_rules! bitwise {
    ($r:ident, $symbol:literal, $op:tt) => {
        for signature in [
            concat!("int2 ", $symbol, " int2 int2"),
            concat!("int4 ", $symbol, " int4 int4"),
            concat!("int8 ", $symbol, " int8 int8"),
        ] {
            $r.operator(signature, |args, _| match (&args[0], &args[1]) {
                (Datum::Int2(a), Datum::Int2(b)) => Ok(Datum::Int2(a $op b)),
                (Datum::Int4(a), Datum::Int4(b)) => Ok(Datum::Int4(a $op b)),
                (Datum::Int8(a), Datum::Int8(b)) => Ok(Datum::Int8(a $op b)),
                _ => mismatch(args),
            });
        }
    };
}

pub(super) fn register(r: &mut Registry) {
    bitwise!(r, "&", &);
    bitwise!(r, "|", |);
    bitwise!(r, "#", ^);
    for signature in ["~ int2 int2", "~ int4 int4", "~ int8 int8"] {
        r.operator(signature, |args, _| match &args[0] {
            Datum::Int2(a) => Ok(Datum::Int2(!a)),
            Datum::Int4(a) => Ok(Datum::Int4(!a)),
            Datum::Int8(a) => Ok(Datum::Int8(!a)),
            _ => mismatch(args),
        });
    }
    // As on the machines PostgreSQL runs on, the distance counts modulo the width.
    for signature in ["int2 << int4 int2", "int4 << int4 int4", "int8 << int4 int8"] {
        r.operator(signature, |args, _| match (&args[0], &args[1]) {
            (Datum::Int2(a), Datum::Int4(b)) => {
                Ok(Datum::Int2(i32::from(*a).wrapping_shl(*b as u32) as i16))
            }
            (Datum::Int4(a), Datum::Int4(b)) => Ok(Datum::Int4(a.wrapping_shl(*b as u32))),
            (Datum::Int8(a), Datum::Int4(b)) => Ok(Datum::Int8(a.wrapping_shl(*b as u32))),
            _ => mismatch(args),
        });
    }
    for signature in ["int2 >> int4 int2", "int4 >> int4 int4", "int8 >> int4 int8"] {
        r.operator(signature, |args, _| match (&args[0], &args[1]) {
            (Datum::Int2(a), Datum::Int4(b)) => {
                Ok(Datum::Int2(i32::from(*a).wrapping_shr(*b as u32) as i16))
            }
            (Datum::Int4(a), Datum::Int4(b)) => Ok(Datum::Int4(a.wrapping_shr(*b as u32))),
            (Datum::Int8(a), Datum::Int4(b)) => Ok(Datum::Int8(a.wrapping_shr(*b as u32))),
            _ => mismatch(args),
        });
    }
}
