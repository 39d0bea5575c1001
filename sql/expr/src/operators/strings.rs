//! `||` on text and bytea, `^@`.

use crate::args::{bytes, text};
use crate::cast;
use crate::error::check_bytes;
use crate::registry::{Registry, Volatility};
use datum::Datum;

pub(super) fn register(r: &mut Registry) {
    r.operator("text || text text", |args, _| {
        let (a, b) = (text(args, 0)?, text(args, 1)?);
        check_bytes(a.len() + b.len())?;
        let mut joined = String::with_capacity(a.len() + b.len());
        joined.push_str(a);
        joined.push_str(b);
        Ok(Datum::from(joined))
    });
    r.operator("bytea || bytea bytea", |args, _| {
        let (a, b) = (bytes(args, 0)?, bytes(args, 1)?);
        check_bytes(a.len() + b.len())?;
        Ok(Datum::bytea([a, b].concat()))
    });
    r.operator("text ^@ text bool", |args, _| {
        Ok(Datum::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
    });
    // The text of a timestamp depends on settings.
    r.volatility(Volatility::Stable);
    for signature in ["text || anynonarray text", "anynonarray || text text"] {
        r.operator(signature, |args, call| {
            let mut joined = cast::output_text(&args[0], call.arg_type(0), call.ctx);
            cast::write_output(&args[1], call.arg_type(1), call.ctx, &mut joined);
            check_bytes(joined.len())?;
            Ok(Datum::from(joined))
        });
    }
    r.volatility(Volatility::Immutable);
}
