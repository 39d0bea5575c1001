//! Who, where and under which settings: answered by `SessionFacts`.

use crate::args::{boolean, int4, int8, text};
use crate::error::{EvalResult, ExprError};
use crate::registry::{Invocation, Registry, Volatility};
use crate::session_facts::AdvisoryKey;
use datum::{Datum, SqlType};

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    register_names(r);
    register_settings(r);
    register_server(r);
    r.volatility(Volatility::Volatile);
    register_actions(r);
    register_advisory_locks(r);
    r.volatility(Volatility::Immutable);
    r.lenient("pg_typeof(any) regtype", |_, call| Ok(Datum::Oid(call.arg_type(0).oid())))
        .volatility = Volatility::Stable;
}

fn register_names(r: &mut Registry) {
    for signature in ["current_user() name", "user() name", "current_role() name"] {
        r.strict(signature, |_, call| Ok(call.ctx.facts.current_user().into()));
    }
    r.strict("session_user() name", |_, call| Ok(call.ctx.facts.session_user().into()));
    for signature in ["current_database() name", "current_catalog() name"] {
        r.strict(signature, |_, call| Ok(call.ctx.facts.current_database().into()));
    }
    r.strict("current_schema() name", |_, call| {
        Ok(call.ctx.facts.current_schemas(false).into_iter().next().into())
    });
    r.strict("current_schemas(bool) name[]", |args, call| {
        let schemas = call.ctx.facts.current_schemas(boolean(args, 0)?);
        Ok(Datum::array(SqlType::Name, schemas.into_iter().map(Datum::from).collect()))
    });
    r.strict("current_query() text", |_, _| Ok(Datum::Null));
}

fn register_settings(r: &mut Registry) {
    for signature in ["current_setting(text) text", "current_setting(text, bool) text"] {
        r.strict(signature, |args, call| {
            let name = text(args, 0)?;
            match call.ctx.facts.setting(name) {
                Some(value) => Ok(value.into()),
                None if args.get(1) == Some(&Datum::Bool(true)) => Ok(Datum::Null),
                None => Err(ExprError::new(
                    "42704",
                    format!("unrecognized configuration parameter \"{name}\""),
                )),
            }
        });
    }
    r.lenient("set_config(text, text, bool) text", |args, call| {
        if args[0].is_null() {
            return Err(ExprError::new("22004", "SET requires parameter name"));
        }
        let local = args[2].as_bool() == Some(true);
        Ok(call.ctx.facts.set_setting(text(args, 0)?, args[1].as_str(), local)?.into())
    })
    .volatility = Volatility::Volatile;
}

fn register_server(r: &mut Registry) {
    r.strict("version() text", |_, call| Ok(call.ctx.facts.version().into()));
    r.strict("pg_backend_pid() int4", |_, call| Ok(Datum::Int4(call.ctx.facts.backend_pid())));
    r.strict("pg_is_in_recovery() bool", |_, call| {
        Ok(Datum::Bool(call.ctx.facts.is_in_recovery()))
    });
    r.strict("pg_is_wal_replay_paused() bool", |_, _| {
        Err(ExprError::new("55000", "recovery is not in progress")
            .with_hint("Recovery control functions can only be executed during recovery."))
    });
    r.strict("pg_postmaster_start_time() timestamptz", |_, call| {
        Ok(Datum::Timestamptz(call.ctx.facts.postmaster_start_time()))
    });
    r.strict("pg_conf_load_time() timestamptz", |_, call| {
        Ok(Datum::Timestamptz(call.ctx.facts.postmaster_start_time()))
    });
    for signature in ["txid_current() int8", "pg_current_xact_id() int8"] {
        r.strict(signature, |_, call| Ok(Datum::Int8(call.ctx.facts.transaction_id()?)));
    }
    for signature in ["txid_current_if_assigned() int8", "pg_current_xact_id_if_assigned() int8"] {
        r.strict(signature, |_, call| Ok(call.ctx.facts.transaction_id_if_assigned().into()));
    }
    for signature in ["txid_status(int8) text", "pg_xact_status(int8) text"] {
        r.strict(signature, |args, call| {
            Ok(call.ctx.facts.transaction_status(int8(args, 0)?)?.into())
        });
    }
    // inet has no type here: the address as text.
    for signature in ["inet_client_addr() text", "inet_server_addr() text"] {
        r.strict(signature, |_, call| {
            Ok(if call.bound.def.name == "inet_client_addr" {
                call.ctx.facts.client_address().into()
            } else {
                Datum::Null
            })
        });
    }
    for signature in ["inet_client_port() int4", "inet_server_port() int4"] {
        r.strict(signature, |_, call| {
            Ok(if call.bound.def.name == "inet_client_port" {
                call.ctx.facts.client_port().into()
            } else {
                Datum::Null
            })
        });
    }
    r.strict("pg_my_temp_schema() oid", |_, _| Ok(Datum::Oid(0)));
    r.strict("pg_is_other_temp_schema(oid) bool", |_, _| Ok(Datum::Bool(false)));
    r.strict("pg_trigger_depth() int4", |_, _| Ok(Datum::Int4(0)));
    r.strict("pg_jit_available() bool", |_, _| Ok(Datum::Bool(false)));
}

fn register_actions(r: &mut Registry) {
    r.strict("pg_blocking_pids(int4) int4[]", |args, call| {
        let pids = call.ctx.facts.blocking_pids(int4(args, 0)?)?;
        Ok(Datum::array(SqlType::Int4, pids.into_iter().map(Datum::Int4).collect()))
    });
    r.strict("pg_cancel_backend(int4) bool", |args, call| {
        Ok(Datum::Bool(call.ctx.facts.cancel_backend(int4(args, 0)?, false)?))
    });
    for signature in ["pg_terminate_backend(int4) bool", "pg_terminate_backend(int4, int8) bool"] {
        r.strict(signature, |args, call| {
            Ok(Datum::Bool(call.ctx.facts.cancel_backend(int4(args, 0)?, true)?))
        });
    }
    r.lenient("pg_notify(text, text) void", |args, call| {
        let payload = args[1].as_str().unwrap_or("");
        call.ctx.facts.notify(args[0].as_str().unwrap_or(""), payload)?;
        Ok(Datum::void())
    });
    r.strict("pg_reload_conf() bool", |_, _| Ok(Datum::Bool(true)));
}

fn register_advisory_locks(r: &mut Registry) {
    for signature in [
        "pg_advisory_lock(int8) void",
        "pg_advisory_lock(int4, int4) void",
        "pg_advisory_lock_shared(int8) void",
        "pg_advisory_lock_shared(int4, int4) void",
        "pg_advisory_xact_lock(int8) void",
        "pg_advisory_xact_lock(int4, int4) void",
        "pg_advisory_xact_lock_shared(int8) void",
        "pg_advisory_xact_lock_shared(int4, int4) void",
        "pg_try_advisory_lock(int8) bool",
        "pg_try_advisory_lock(int4, int4) bool",
        "pg_try_advisory_lock_shared(int8) bool",
        "pg_try_advisory_lock_shared(int4, int4) bool",
        "pg_try_advisory_xact_lock(int8) bool",
        "pg_try_advisory_xact_lock(int4, int4) bool",
        "pg_try_advisory_xact_lock_shared(int8) bool",
        "pg_try_advisory_xact_lock_shared(int4, int4) bool",
        "pg_advisory_unlock(int8) bool",
        "pg_advisory_unlock(int4, int4) bool",
        "pg_advisory_unlock_shared(int8) bool",
        "pg_advisory_unlock_shared(int4, int4) bool",
    ] {
        r.strict(signature, advisory);
    }
    r.strict("pg_advisory_unlock_all() void", |_, call| {
        call.ctx.facts.advisory_unlock_all()?;
        Ok(Datum::void())
    });
}

/// The name says which: `pg_[try_]advisory_[xact_](lock|unlock)[_shared]`.
fn advisory(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let key = match args {
        [Datum::Int8(key)] => AdvisoryKey::Big(*key),
        [Datum::Int4(high), Datum::Int4(low)] => AdvisoryKey::Pair(*high, *low),
        _ => return crate::args::mismatch(args),
    };
    let name = call.bound.def.name;
    let shared = name.ends_with("_shared");
    if name.contains("unlock") {
        return Ok(Datum::Bool(call.ctx.facts.advisory_unlock(key, shared)?));
    }
    let attempt = name.contains("_try_");
    let taken = call.ctx.facts.advisory_lock(key, shared, name.contains("_xact_"), attempt)?;
    Ok(if attempt { Datum::Bool(taken) } else { Datum::void() })
}
