//! nextval, currval, setval, lastval: `SessionFacts` keeps the state.

use crate::args::{boolean, int8, oid, text};
use crate::registry::{Registry, Volatility};
use datum::Datum;

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Volatile);
    r.strict("nextval(regclass) int8", |args, call| {
        Ok(Datum::Int8(call.ctx.facts.nextval(oid(args, 0)?)?))
    });
    r.strict("currval(regclass) int8", |args, call| {
        Ok(Datum::Int8(call.ctx.facts.currval(oid(args, 0)?)?))
    });
    r.strict("setval(regclass, int8) int8", |args, call| {
        Ok(Datum::Int8(call.ctx.facts.setval(oid(args, 0)?, int8(args, 1)?, true)?))
    });
    r.strict("setval(regclass, int8, bool) int8", |args, call| {
        let facts = call.ctx.facts;
        Ok(Datum::Int8(facts.setval(oid(args, 0)?, int8(args, 1)?, boolean(args, 2)?)?))
    });
    r.strict("lastval() int8", |_, call| Ok(Datum::Int8(call.ctx.facts.lastval()?)));
    r.strict("pg_sequence_last_value(regclass) int8", |args, call| {
        Ok(call.ctx.facts.sequence_last_value(oid(args, 0)?)?.into())
    });
    r.volatility(Volatility::Stable);
    r.strict("pg_get_serial_sequence(text, text) text", |args, call| {
        Ok(call.ctx.facts.serial_sequence(text(args, 0)?, text(args, 1)?)?.into())
    });
    r.volatility(Volatility::Immutable);
}
