//! has_*_privilege and pg_has_role: (user, object, privilege) or (object, privilege), each by name or oid.

use crate::args::mismatch;
use crate::error::EvalResult;
use crate::registry::{Invocation, Registry, Volatility};
use crate::session_facts::{ObjectKind, ObjectName};
use datum::Datum;

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    macro_rules! privilege {
        ($($name:literal),*) => {
            $(for signature in [
                concat!($name, "(text, text) bool"),
                concat!($name, "(oid, text) bool"),
                concat!($name, "(name, text, text) bool"),
                concat!($name, "(name, oid, text) bool"),
                concat!($name, "(oid, text, text) bool"),
                concat!($name, "(oid, oid, text) bool"),
            ] {
                r.strict(signature, has_privilege);
            })*
        };
    }
    privilege!(
        "has_table_privilege",
        "has_sequence_privilege",
        "has_schema_privilege",
        "has_database_privilege",
        "has_function_privilege",
        "has_type_privilege",
        "has_language_privilege",
        "has_tablespace_privilege",
        "has_any_column_privilege"
    );
    for signature in [
        "has_column_privilege(text, text, text) bool",
        "has_column_privilege(oid, text, text) bool",
        "has_column_privilege(text, int2, text) bool",
        "has_column_privilege(oid, int2, text) bool",
        "has_column_privilege(name, text, text, text) bool",
        "has_column_privilege(name, oid, text, text) bool",
        "has_column_privilege(name, oid, int2, text) bool",
        "has_column_privilege(oid, oid, int2, text) bool",
    ] {
        r.strict(signature, has_column_privilege);
    }
    for signature in [
        "pg_has_role(name, text) bool",
        "pg_has_role(oid, text) bool",
        "pg_has_role(name, name, text) bool",
        "pg_has_role(name, oid, text) bool",
        "pg_has_role(oid, name, text) bool",
        "pg_has_role(oid, oid, text) bool",
    ] {
        r.strict(signature, |args, call| {
            let (user, object, privilege) = split(args, call)?;
            Ok(Datum::Bool(call.ctx.facts.has_role(user.as_deref(), &object, privilege)?))
        });
    }
    r.strict("row_security_active(oid) bool", |_, _| Ok(Datum::Bool(false)));
    r.strict("row_security_active(text) bool", |_, _| Ok(Datum::Bool(false)));
    r.volatility(Volatility::Immutable);
}

fn kind(name: &str) -> ObjectKind {
    match name {
        "has_sequence_privilege" => ObjectKind::Sequence,
        "has_schema_privilege" => ObjectKind::Schema,
        "has_database_privilege" => ObjectKind::Database,
        "has_function_privilege" => ObjectKind::Function,
        "has_type_privilege" => ObjectKind::Type,
        "has_language_privilege" => ObjectKind::Language,
        "has_tablespace_privilege" => ObjectKind::Tablespace,
        _ => ObjectKind::Table,
    }
}

fn object<'a>(value: &'a Datum, args: &[Datum]) -> crate::Result<ObjectName<'a>> {
    match value {
        Datum::Oid(oid) => Ok(ObjectName::Oid(*oid)),
        Datum::Text(name) => Ok(ObjectName::Name(name)),
        _ => mismatch(args),
    }
}

/// (user, object, privilege); the user's oid becomes a name.
fn split<'a>(
    args: &'a [Datum],
    call: &Invocation<'_>,
) -> crate::Result<(Option<String>, ObjectName<'a>, &'a str)> {
    let (user, rest) = if args.len() > 2 { (Some(&args[0]), &args[1..]) } else { (None, args) };
    let user = user.map(|user| user_name(user, call));
    let privilege = rest.last().and_then(Datum::as_str).unwrap_or("");
    Ok((user, object(&rest[0], args)?, privilege))
}

fn user_name(user: &Datum, call: &Invocation<'_>) -> String {
    match user {
        Datum::Oid(oid) => call.ctx.facts.role_name(*oid).unwrap_or_else(|| oid.to_string()),
        user => user.as_str().unwrap_or("").to_owned(),
    }
}

fn has_privilege(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let (user, object, privilege) = split(args, call)?;
    let kind = kind(call.bound.def.name);
    Ok(Datum::Bool(call.ctx.facts.has_privilege(kind, user.as_deref(), &object, privilege)?))
}

fn has_column_privilege(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let (user, rest) = if args.len() > 3 { (Some(&args[0]), &args[1..]) } else { (None, args) };
    let user = user.map(|user| user_name(user, call));
    let [table, column, privilege] = rest else { return mismatch(args) };
    let object = ObjectName::Column {
        table: table.as_str(),
        table_oid: table.as_i64().unwrap_or(0) as u32,
        column: column.as_str(),
        number: column.as_i64().unwrap_or(0) as i16,
    };
    let privilege = privilege.as_str().unwrap_or("");
    let facts = call.ctx.facts;
    Ok(Datum::Bool(facts.has_privilege(ObjectKind::Column, user.as_deref(), &object, privilege)?))
}
