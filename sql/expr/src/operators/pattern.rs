//! LIKE, ILIKE and regular expressions as operators.

use crate::args::{bytes, text};
use crate::error::EvalResult;
use crate::like;
use crate::regex_cache::{self, Flags};
use crate::registry::{Invocation, Registry};
use datum::Datum;

pub(super) fn register(r: &mut Registry) {
    for signature in ["text ~~ text bool", "name ~~ text bool", "bpchar ~~ text bool"] {
        r.operator(signature, |args, _| {
            Ok(Datum::Bool(like::matches(text(args, 0)?, text(args, 1)?)?))
        });
    }
    for signature in ["text !~~ text bool", "name !~~ text bool", "bpchar !~~ text bool"] {
        r.operator(signature, |args, _| {
            Ok(Datum::Bool(!like::matches(text(args, 0)?, text(args, 1)?)?))
        });
    }
    for signature in ["text ~~* text bool", "name ~~* text bool", "bpchar ~~* text bool"] {
        r.operator(signature, |args, _| {
            Ok(Datum::Bool(like::matches_ignoring_case(text(args, 0)?, text(args, 1)?)?))
        });
    }
    for signature in ["text !~~* text bool", "name !~~* text bool", "bpchar !~~* text bool"] {
        r.operator(signature, |args, _| {
            Ok(Datum::Bool(!like::matches_ignoring_case(text(args, 0)?, text(args, 1)?)?))
        });
    }
    r.operator("bytea ~~ bytea bool", |args, _| {
        Ok(Datum::Bool(like::matches_bytes(bytes(args, 0)?, bytes(args, 1)?)?))
    });
    r.operator("bytea !~~ bytea bool", |args, _| {
        Ok(Datum::Bool(!like::matches_bytes(bytes(args, 0)?, bytes(args, 1)?)?))
    });
    for signature in ["text ~ text bool", "name ~ text bool", "bpchar ~ text bool"] {
        r.operator(signature, |args, call| regex(args, call, false, false));
    }
    for signature in ["text ~* text bool", "name ~* text bool", "bpchar ~* text bool"] {
        r.operator(signature, |args, call| regex(args, call, true, false));
    }
    for signature in ["text !~ text bool", "name !~ text bool", "bpchar !~ text bool"] {
        r.operator(signature, |args, call| regex(args, call, false, true));
    }
    for signature in ["text !~* text bool", "name !~* text bool", "bpchar !~* text bool"] {
        r.operator(signature, |args, call| regex(args, call, true, true));
    }
}

fn regex(args: &[Datum], _: &Invocation<'_>, ignore_case: bool, negated: bool) -> EvalResult {
    let flags = Flags { ignore_case, ..Flags::default() };
    let regex = regex_cache::compile(text(args, 1)?, flags)?;
    Ok(Datum::Bool(regex.is_match(text(args, 0)?) != negated))
}
