//! What `psql`, ORMs and dump tools ask about the catalog: definitions, descriptions, names, sizes.

use crate::args::{int4, oid, text};
use crate::cast;
use crate::error::{EvalResult, ExprError};
use crate::registry::{Invocation, Registry, Volatility};
use crate::session_facts::{ObjectKind, ObjectName, RelationSize};
use datum::{ColumnType, Datum, Numeric, SqlType};

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    register_definitions(r);
    register_descriptions(r);
    register_visibility(r);
    register_names(r);
    register_sizes(r);
    register_odds(r);
    r.volatility(Volatility::Immutable);
}

fn register_definitions(r: &mut Registry) {
    // Expressions are stored as SQL text.
    for signature in ["pg_get_expr(text, oid) text", "pg_get_expr(text, oid, bool) text"] {
        r.strict(signature, |args, _| Ok(args[0].clone()));
    }
    for signature in ["pg_get_indexdef(oid) text", "pg_get_indexdef(oid, int4, bool) text"] {
        r.strict(signature, |args, call| {
            let column = args.get(1).and_then(Datum::as_i64).unwrap_or(0) as i32;
            Ok(call.ctx.facts.index_definition(oid(args, 0)?, column).into())
        });
    }
    for signature in ["pg_get_constraintdef(oid) text", "pg_get_constraintdef(oid, bool) text"] {
        r.strict(signature, |args, call| {
            Ok(call.ctx.facts.constraint_definition(oid(args, 0)?).into())
        });
    }
    for signature in [
        "pg_get_viewdef(oid) text",
        "pg_get_viewdef(oid, bool) text",
        "pg_get_viewdef(oid, int4) text",
    ] {
        r.strict(signature, |args, call| Ok(call.ctx.facts.view_definition(oid(args, 0)?).into()));
    }
    for signature in ["pg_get_viewdef(text) text", "pg_get_viewdef(text, bool) text"] {
        r.strict(signature, |args, call| {
            let view = relation(text(args, 0)?, call)?;
            Ok(call.ctx.facts.view_definition(view).into())
        });
    }
    for signature in [
        "pg_get_ruledef(oid) text",
        "pg_get_ruledef(oid, bool) text",
        "pg_get_statisticsobjdef(oid) text",
        "pg_get_statisticsobjdef_columns(oid) text",
        "pg_get_partition_constraintdef(oid) text",
        "pg_get_partkeydef(oid) text",
    ] {
        r.strict(signature, |_, _| Ok(Datum::Null));
    }
    for signature in ["pg_get_triggerdef(oid) text", "pg_get_triggerdef(oid, bool) text"] {
        r.strict(signature, |args, call| {
            Ok(call.ctx.facts.trigger_definition(oid(args, 0)?).into())
        });
    }
    r.strict("pg_get_functiondef(oid) text", |args, call| {
        Ok(call.ctx.facts.function_definition(oid(args, 0)?).into())
    });
    for signature in
        ["pg_get_function_arguments(oid) text", "pg_get_function_identity_arguments(oid) text"]
    {
        r.strict(signature, |args, _| {
            let wanted = oid(args, 0)?;
            let found = crate::registry::all_functions().into_iter().find(|def| def.oid == wanted);
            Ok(found
                .map(|def| def.args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                .into())
        });
    }
    r.strict("pg_get_function_result(oid) text", |args, _| {
        let wanted = oid(args, 0)?;
        let found = crate::registry::all_functions().into_iter().find(|def| def.oid == wanted);
        Ok(found
            .map(|def| format!("{}{}", if def.returns_set() { "SETOF " } else { "" }, def.returns))
            .into())
    });
    r.strict("pg_get_function_arg_default(oid, int4) text", |_, _| Ok(Datum::Null));
    r.strict("pg_get_function_sqlbody(oid) text", |_, _| Ok(Datum::Null));
}

fn relation(name: &str, call: &Invocation<'_>) -> crate::Result<u32> {
    call.ctx
        .facts
        .relation_oid(name)
        .ok_or_else(|| ExprError::new("42P01", format!("relation \"{name}\" does not exist")))
}

fn register_descriptions(r: &mut Registry) {
    for signature in ["obj_description(oid) text", "obj_description(oid, name) text"] {
        r.strict(signature, |args, call| {
            let catalog = args.get(1).and_then(Datum::as_str).unwrap_or("");
            Ok(call.ctx.facts.object_description(oid(args, 0)?, catalog).into())
        });
    }
    r.strict("shobj_description(oid, name) text", |args, call| {
        Ok(call.ctx.facts.shared_object_description(oid(args, 0)?, text(args, 1)?).into())
    });
    r.strict("col_description(oid, int4) text", |args, call| {
        Ok(call.ctx.facts.column_description(oid(args, 0)?, int4(args, 1)?).into())
    });
}

fn visible(args: &[Datum], kind: ObjectKind, call: &Invocation<'_>) -> EvalResult {
    Ok(call.ctx.facts.is_visible(kind, oid(args, 0)?).into())
}

fn register_visibility(r: &mut Registry) {
    // A kernel is a plain function: each kind has one of its own.
    macro_rules! visibility {
        ($($signature:literal: $kind:ident),+ $(,)?) => {
            $(r.strict($signature, |args, call| visible(args, ObjectKind::$kind, call));)+
        };
    }
    visibility! {
        "pg_table_is_visible(oid) bool": Table,
        "pg_type_is_visible(oid) bool": Type,
        "pg_function_is_visible(oid) bool": Function,
        "pg_operator_is_visible(oid) bool": Operator,
        "pg_opclass_is_visible(oid) bool": OperatorClass,
        "pg_opfamily_is_visible(oid) bool": OperatorClass,
        "pg_collation_is_visible(oid) bool": Collation,
        "pg_conversion_is_visible(oid) bool": Conversion,
        "pg_statistics_obj_is_visible(oid) bool": Statistics,
        "pg_ts_config_is_visible(oid) bool": TextSearch,
        "pg_ts_dict_is_visible(oid) bool": TextSearch,
        "pg_ts_parser_is_visible(oid) bool": TextSearch,
        "pg_ts_template_is_visible(oid) bool": TextSearch,
    }
}

fn register_names(r: &mut Registry) {
    r.lenient("format_type(oid, int4) text", |args, call| {
        if args[0].is_null() {
            return Ok(Datum::Null);
        }
        let wanted = oid(args, 0)?;
        let typmod = args[1].as_i64().unwrap_or(-1) as i32;
        Ok(match SqlType::from_oid(wanted) {
            // char without a length is bpchar, not char(1).
            Some(SqlType::Bpchar) if typmod < 0 && !args[1].is_null() => Datum::text("bpchar"),
            Some(ty) => ColumnType::new(ty, typmod).to_string().into(),
            None if wanted == 0 => Datum::text("-"),
            None => call
                .ctx
                .facts
                .type_name(wanted)
                .or_else(|| pseudo_type_name(wanted).map(str::to_owned))
                .map_or_else(|| Datum::text("???"), Datum::from),
        })
    });
    r.strict("pg_get_userbyid(oid) name", |args, call| {
        let role = oid(args, 0)?;
        let name = call.ctx.facts.role_name(role);
        Ok(name.unwrap_or_else(|| format!("unknown (OID={role})")).into())
    });
    r.strict("pg_encoding_to_char(int4) name", |args, _| {
        Ok(Datum::text(match int4(args, 0)? {
            0 => "SQL_ASCII",
            6 => "UTF8",
            8 => "LATIN1",
            _ => "",
        }))
    });
    r.strict("pg_char_to_encoding(name) int4", |args, _| {
        Ok(Datum::Int4(match text(args, 0)?.to_ascii_lowercase().replace('-', "").as_str() {
            "sql_ascii" => 0,
            "utf8" | "unicode" => 6,
            "latin1" => 8,
            _ => -1,
        }))
    });
    for signature in [
        "to_regclass(text) regclass",
        "to_regtype(text) regtype",
        "to_regproc(text) regproc",
        "to_regnamespace(text) regnamespace",
        "to_regrole(text) regrole",
    ] {
        r.strict(signature, |args, call| {
            let to = ColumnType::plain(call.result_type().clone());
            Ok(cast::parse_input(&to, text(args, 0)?, call.ctx).unwrap_or_default())
        });
    }
    // `'x'::regclass` is resolved with a literal; this is for values.
    r.strict("regclass(text) regclass", |args, call| {
        cast::parse_input(&ColumnType::plain(SqlType::Regclass), text(args, 0)?, call.ctx)
    });
}

fn pseudo_type_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        2276 => "\"any\"",
        2277 => "anyarray",
        2283 => "anyelement",
        2279 => "trigger",
        2275 => "cstring",
        2281 => "internal",
        2249 => "record",
        _ => return None,
    })
}

fn size(args: &[Datum], which: RelationSize, call: &Invocation<'_>) -> EvalResult {
    Ok(call.ctx.facts.relation_size(oid(args, 0)?, which)?.into())
}

fn register_sizes(r: &mut Registry) {
    r.strict("pg_relation_size(regclass) int8", |args, call| size(args, RelationSize::Main, call));
    r.strict("pg_relation_size(regclass, text) int8", |args, call| match text(args, 1)? {
        "main" => size(args, RelationSize::Main, call),
        "fsm" | "vm" | "init" => Ok(Datum::Int8(0)),
        _ => Err(ExprError::invalid_parameter("invalid fork name")
            .with_hint("Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\".")),
    });
    r.strict("pg_table_size(regclass) int8", |args, call| size(args, RelationSize::Table, call));
    r.strict("pg_indexes_size(regclass) int8", |args, call| {
        size(args, RelationSize::Indexes, call)
    });
    r.strict("pg_total_relation_size(regclass) int8", |args, call| {
        size(args, RelationSize::Total, call)
    });
    r.strict("pg_database_size(name) int8", |args, call| {
        Ok(call.ctx.facts.database_size(&ObjectName::Name(text(args, 0)?))?.into())
    });
    r.strict("pg_database_size(oid) int8", |args, call| {
        Ok(call.ctx.facts.database_size(&ObjectName::Oid(oid(args, 0)?))?.into())
    });
    for signature in ["pg_tablespace_size(name) int8", "pg_tablespace_size(oid) int8"] {
        r.strict(signature, |_, _| Ok(Datum::Int8(0)));
    }
    r.strict("pg_tablespace_location(oid) text", |_, _| Ok(Datum::text("")));
    r.strict("pg_relation_filenode(regclass) oid", |args, _| Ok(args[0].clone()));
    r.strict("pg_size_pretty(int8) text", |args, _| {
        Ok(size_pretty(crate::args::int8(args, 0)?).into())
    });
    r.strict("pg_size_pretty(numeric) text", |args, _| {
        match crate::args::numeric(args, 0)?.to_i64() {
            Ok(bytes) => Ok(size_pretty(bytes).into()),
            Err(error) => Err(error.into()),
        }
    });
    r.strict("pg_size_bytes(text) int8", |args, _| size_bytes(text(args, 0)?));
    r.lenient("pg_column_size(any) int4", |args, _| {
        Ok(match &args[0] {
            Datum::Null => Datum::Null,
            value => Datum::Int4(column_size(value)),
        })
    });
}

/// About what the value takes stored.
fn column_size(value: &Datum) -> i32 {
    match value {
        Datum::Text(s) | Datum::Json(s) => s.len() as i32 + if s.len() < 127 { 1 } else { 4 },
        Datum::Bytea(b) => b.len() as i32 + if b.len() < 127 { 1 } else { 4 },
        value => match value.natural_type().typlen() {
            length if length > 0 => i32::from(length),
            _ => value.size_bytes() as i32,
        },
    }
}

/// Units change at 10240, halves round away from zero.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let sign = if bytes < 0 { "-" } else { "" };
    // One bit more than shown is kept for rounding.
    let mut doubled = u128::from(bytes.unsigned_abs()) * 2;
    let mut unit = 0;
    while doubled >= 10_240 * 2 - u128::from(unit > 0) && unit + 1 < UNITS.len() {
        doubled /= 1024;
        unit += 1;
    }
    let shown = if unit == 0 { doubled / 2 } else { doubled.div_ceil(2) };
    format!("{sign}{shown} {}", UNITS[unit])
}

fn size_bytes(input: &str) -> EvalResult {
    let invalid = || ExprError::invalid_parameter(format!("invalid size: \"{input}\""));
    let trimmed = input.trim();
    let end = trimmed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(trimmed.len());
    let number: Numeric = trimmed[..end].parse().map_err(|_| invalid())?;
    let unit = trimmed[end..].trim();
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "kb" => 1,
        "mb" => 2,
        "gb" => 3,
        "tb" => 4,
        "pb" => 5,
        _ => {
            return Err(invalid()
                .with_detail(format!("Invalid size unit: \"{unit}\"."))
                .with_hint(
                    "Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".",
                ));
        }
    };
    let bytes = number.mul(&Numeric::from(1024i64.pow(power)))?;
    Ok(Datum::Int8(bytes.to_i64()?))
}

fn register_odds(r: &mut Registry) {
    // No partitions, no channels, no access lists beyond the owner's.
    r.set("pg_partition_ancestors(regclass) regclass", |args, _| Ok(vec![vec![args[0].clone()]]));
    r.set("pg_listening_channels() text", |_, _| Ok(Vec::new()));
    r.strict("acldefault(\"char\", oid) text[]", |_, _| Ok(Datum::Null));
    r.set_of(
        "aclexplode(text[]) record",
        "grantor oid, grantee oid, privilege_type text, is_grantable bool",
        |_, _| Ok(Vec::new()),
    );
    r.set_of(
        "pg_options_to_table(text[]) record",
        "option_name text, option_value text",
        |args, _| {
            Ok(crate::args::array(args, 0)?
                .items
                .iter()
                .filter_map(Datum::as_str)
                .map(|option| match option.split_once('=') {
                    Some((name, value)) => vec![Datum::text(name), Datum::text(value)],
                    None => vec![Datum::text(option), Datum::Null],
                })
                .collect())
        },
    );
    r.strict("pg_relation_is_publishable(regclass) bool", |_, _| Ok(Datum::Bool(false)));
    r.strict("pg_relation_is_updatable(regclass, bool) int4", |_, _| Ok(Datum::Int4(28)));
    r.strict("pg_column_is_updatable(regclass, int2, bool) bool", |_, _| Ok(Datum::Bool(true)));
    r.strict("pg_index_column_has_property(regclass, int4, text) bool", |args, _| {
        Ok(match text(args, 2)? {
            "asc" | "orderable" | "returnable" | "nulls_last" => Datum::Bool(true),
            "desc" | "nulls_first" | "distance_orderable" => Datum::Bool(false),
            "search_array" | "search_nulls" => Datum::Bool(true),
            _ => Datum::Null,
        })
    });
    r.strict("pg_indexam_has_property(oid, text) bool", |args, _| {
        Ok(match text(args, 1)? {
            "can_order" | "can_unique" | "can_multi_col" | "can_include" => Datum::Bool(true),
            "can_exclude" => Datum::Bool(false),
            _ => Datum::Null,
        })
    });
    r.strict("pg_stat_get_numscans(oid) int8", |_, _| Ok(Datum::Int8(0)));
    for signature in ["pg_stat_get_live_tuples(oid) int8", "pg_stat_get_dead_tuples(oid) int8"] {
        r.strict(signature, |_, _| Ok(Datum::Int8(0)));
    }
    r.strict("pg_describe_object(oid, oid, int4) text", |args, call| {
        Ok(call.ctx.facts.relation_name(oid(args, 1)?).into())
    });
}
