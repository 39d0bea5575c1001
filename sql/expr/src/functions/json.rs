//! Building and taking apart json and jsonb.

use super::sets::{check_rows, one_column};
use super::text::variadic_type;
use crate::args::{array, jsonb, mismatch, text};
use crate::error::{EvalResult, ExprError, Result, check_bytes};
use crate::json_build::{key_text, push_string, to_jsonb, write_json};
use crate::json_text;
use crate::operators::{as_text, own};
use crate::registry::{Invocation, Registry, Volatility};
use datum::{ColumnType, Datum, Jsonb, SqlType};
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    register_builders(r);
    r.volatility(Volatility::Immutable);
    register_looks(r);
    register_sets(r);
    register_records(r);
}

/// One value as json or jsonb, whichever the function returns.
fn convert(value: &Datum, index: usize, call: &Invocation<'_>) -> EvalResult {
    let ty = variadic_type(call, index);
    let shape = call.shape(index).map(Arc::as_ref);
    if *call.result_type() == SqlType::Jsonb {
        return Ok(own(to_jsonb(value, ty, shape, call.ctx)?));
    }
    let mut out = String::new();
    write_json(value, ty, shape, call.ctx, &mut out)?;
    Ok(Datum::Json(out.into()))
}

/// A text of JSON in the form that the function returns.
fn finish(json: String, call: &Invocation<'_>) -> EvalResult {
    if *call.result_type() == SqlType::Jsonb {
        Ok(own(datum::json::parse(&json)?))
    } else {
        Ok(Datum::Json(json.into()))
    }
}

fn register_builders(r: &mut Registry) {
    for signature in [
        "to_json(anyelement) json",
        "to_jsonb(anyelement) jsonb",
        "row_to_json(record) json",
        "array_to_json(anyarray) json",
    ] {
        r.strict(signature, |args, call| convert(&args[0], 0, call));
    }
    r.strict("row_to_json(record, bool) json", |args, call| convert(&args[0], 0, call));
    r.strict("array_to_json(anyarray, bool) json", |args, call| convert(&args[0], 0, call));
    for signature in [
        "json_build_array() json",
        "jsonb_build_array() jsonb",
        "json_build_array(any...) json",
        "jsonb_build_array(any...) jsonb",
    ] {
        r.lenient(signature, |args, call| {
            let mut out = String::from("[");
            for (index, arg) in args.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                let shape = call.shape(index).map(Arc::as_ref);
                write_json(arg, variadic_type(call, index), shape, call.ctx, &mut out)?;
            }
            out.push(']');
            finish(out, call)
        });
    }
    for signature in [
        "json_build_object() json",
        "jsonb_build_object() jsonb",
        "json_build_object(any...) json",
        "jsonb_build_object(any...) jsonb",
    ] {
        r.lenient(signature, build_object);
    }
    for signature in ["json_object(text[]) json", "jsonb_object(text[]) jsonb"] {
        r.strict(signature, |args, call| {
            let pairs = array(args, 0)?;
            match pairs.dims.as_slice() {
                [] | [_] if pairs.len() % 2 != 0 => {
                    return Err(ExprError::new("2202E", "array must have even number of elements"));
                }
                [_, inner] if inner.length != 2 => {
                    return Err(ExprError::new("2202E", "array must have two columns"));
                }
                [_, _, ..] if pairs.dims.len() > 2 => {
                    return Err(ExprError::new("2202E", "wrong number of array subscripts"));
                }
                _ => {}
            }
            let (keys, values): (Vec<_>, Vec<_>) =
                pairs.items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
            text_object(&keys, &values, call)
        });
    }
    for signature in ["json_object(text[], text[]) json", "jsonb_object(text[], text[]) jsonb"] {
        r.strict(signature, |args, call| {
            let (keys, values) = (array(args, 0)?, array(args, 1)?);
            if keys.len() != values.len() {
                return Err(ExprError::new("2202E", "mismatched array dimensions"));
            }
            text_object(&keys.items, &values.items, call)
        });
    }
}

fn build_object(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    if !args.len().is_multiple_of(2) {
        let which = if *call.result_type() == SqlType::Jsonb { "jsonb" } else { "json" };
        return Err(ExprError::invalid_parameter(
            "argument list must have even number of elements",
        )
        .with_hint(format!(
            "The arguments of {which}_build_object() must consist of alternating keys and values."
        )));
    }
    let mut out = String::from("{");
    for (index, pair) in args.chunks(2).enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        let at = index * 2;
        if pair[0].is_null() {
            return Err(ExprError::invalid_parameter(format!(
                "argument {}: key must not be null",
                at + 1
            ))
            .with_hint("Object keys should be text."));
        }
        push_string(&key_text(&pair[0], variadic_type(call, at), call.ctx)?, &mut out)?;
        out.push_str(" : ");
        let shape = call.shape(at + 1).map(Arc::as_ref);
        write_json(&pair[1], variadic_type(call, at + 1), shape, call.ctx, &mut out)?;
    }
    out.push('}');
    finish(out, call)
}

fn text_object(keys: &[Datum], values: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let mut out = String::from("{");
    for (index, (key, value)) in keys.iter().zip(values).enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        let Some(key) = key.as_str() else {
            return Err(ExprError::new("22004", "null value not allowed for object key"));
        };
        push_string(key, &mut out)?;
        out.push_str(" : ");
        match value.as_str() {
            Some(value) => push_string(value, &mut out)?,
            None => out.push_str("null"),
        }
    }
    out.push('}');
    finish(out, call)
}

fn register_looks(r: &mut Registry) {
    r.strict("json_typeof(json) text", |args, _| Ok(json_text::type_of(text(args, 0)?).into()));
    r.strict("jsonb_typeof(jsonb) text", |args, _| Ok(jsonb(args, 0)?.type_name().into()));
    r.strict("json_array_length(json) int4", |args, _| {
        let json = text(args, 0)?;
        match json_text::elements(json)? {
            Some(elements) => Ok(Datum::Int4(elements.len() as i32)),
            None => Err(not_an_array(json_text::type_of(json))),
        }
    });
    r.strict("jsonb_array_length(jsonb) int4", |args, _| match &**jsonb(args, 0)? {
        Jsonb::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        other => Err(not_an_array(other.type_name())),
    });
    r.strict("jsonb_pretty(jsonb) text", |args, _| {
        let value = jsonb(args, 0)?;
        check_bytes(value.size_bytes().saturating_add(indent_bytes(value, 1)))?;
        let mut out = String::new();
        datum::json::format_pretty(value, &mut out);
        Ok(out.into())
    });
    r.strict("json_strip_nulls(json) json", |args, _| {
        Ok(Datum::Json(strip_json(text(args, 0)?)?.into()))
    });
    r.strict("jsonb_strip_nulls(jsonb) jsonb", |args, _| Ok(own(strip_jsonb(jsonb(args, 0)?))));
}

/// What `jsonb_pretty` adds to a value whose parts are indented `depth` times.
fn indent_bytes(value: &Jsonb, depth: usize) -> usize {
    let line = 4 * depth + 1;
    match value {
        Jsonb::Array(items) => items.iter().map(|item| line + indent_bytes(item, depth + 1)).sum(),
        Jsonb::Object(object) => {
            let entries = object.entries().iter();
            entries.map(|(_, value)| line + indent_bytes(value, depth + 1)).sum()
        }
        _ => 0,
    }
}

fn not_an_array(kind: &str) -> ExprError {
    ExprError::invalid_parameter(match kind {
        "object" => "cannot get array length of a non-array",
        _ => "cannot get array length of a scalar",
    })
}

fn strip_json(json: &str) -> Result<String> {
    let mut out = String::new();
    if let Some(members) = json_text::members(json)? {
        out.push('{');
        for (key, value) in members.into_iter().filter(|(_, value)| *value != "null") {
            if out.len() > 1 {
                out.push(',');
            }
            datum::json::escape(&key, &mut out);
            out.push(':');
            out.push_str(&strip_json(value)?);
        }
        out.push('}');
    } else if let Some(elements) = json_text::elements(json)? {
        let parts = elements.into_iter().map(strip_json).collect::<Result<Vec<_>>>()?;
        out = format!("[{}]", parts.join(","));
    } else {
        out.push_str(json.trim());
    }
    Ok(out)
}

fn strip_jsonb(value: &Jsonb) -> Jsonb {
    match value {
        Jsonb::Object(object) => Jsonb::object(
            object
                .entries()
                .iter()
                .filter(|(_, value)| !matches!(value, Jsonb::Null))
                .map(|(key, value)| (key.clone(), strip_jsonb(value)))
                .collect(),
        ),
        Jsonb::Array(items) => Jsonb::Array(items.iter().map(strip_jsonb).collect()),
        other => other.clone(),
    }
}

fn register_sets(r: &mut Registry) {
    for name in ["json_array_elements(json) json", "json_array_elements_text(json) text"] {
        r.set_of(
            name,
            if name.ends_with("text") { "value text" } else { "value json" },
            |args, call| {
                let json = text(args, 0)?;
                let elements = json_text::elements(json)?.ok_or_else(|| {
                    cannot(call, json_text::type_of(json), "cannot extract elements from")
                })?;
                check_rows(elements.len())?;
                elements.into_iter().map(|element| Ok(vec![json_value(element, call)?])).collect()
            },
        );
    }
    for name in ["jsonb_array_elements(jsonb) jsonb", "jsonb_array_elements_text(jsonb) text"] {
        r.set_of(
            name,
            if name.ends_with("text") { "value text" } else { "value jsonb" },
            |args, call| match &**jsonb(args, 0)? {
                Jsonb::Array(items) => one_column(items.iter().map(|item| jsonb_value(item, call))),
                other => Err(cannot(call, other.type_name(), "cannot extract elements from")),
            },
        );
    }
    for (name, columns) in [
        ("json_each(json) record", "key text, value json"),
        ("json_each_text(json) record", "key text, value text"),
    ] {
        r.set_of(name, columns, |args, call| {
            let json = text(args, 0)?;
            let members = json_text::members(json)?
                .ok_or_else(|| cannot_deconstruct(call, json_text::type_of(json)))?;
            members
                .into_iter()
                .map(|(key, value)| Ok(vec![Datum::from(key), json_value(value, call)?]))
                .collect()
        });
    }
    for (name, columns) in [
        ("jsonb_each(jsonb) record", "key text, value jsonb"),
        ("jsonb_each_text(jsonb) record", "key text, value text"),
    ] {
        r.set_of(name, columns, |args, call| match &**jsonb(args, 0)? {
            Jsonb::Object(object) => Ok(object
                .entries()
                .iter()
                .map(|(key, value)| vec![Datum::text(key), jsonb_value(value, call)])
                .collect()),
            other => Err(cannot_deconstruct(call, other.type_name())),
        });
    }
    r.set("json_object_keys(json) text", |args, _| {
        let json = text(args, 0)?;
        let members = json_text::members(json)?
            .ok_or_else(|| no_keys("json_object_keys", json_text::type_of(json)))?;
        Ok(members.into_iter().map(|(key, _)| vec![Datum::from(key)]).collect())
    });
    r.set("jsonb_object_keys(jsonb) text", |args, _| match &**jsonb(args, 0)? {
        Jsonb::Object(object) => {
            Ok(object.entries().iter().map(|(key, _)| vec![Datum::text(key)]).collect())
        }
        other => Err(no_keys("jsonb_object_keys", other.type_name())),
    });
}

fn wants_text(call: &Invocation<'_>) -> bool {
    call.bound.columns.last().is_some_and(|(_, ty)| ty.ty == SqlType::Text)
}

fn json_value(json: &str, call: &Invocation<'_>) -> EvalResult {
    if wants_text(call) {
        Ok(json_text::unquote(json)?.into())
    } else {
        Ok(Datum::Json(Arc::from(json)))
    }
}

fn jsonb_value(value: &Jsonb, call: &Invocation<'_>) -> Datum {
    if wants_text(call) { as_text(Some(value)) } else { own(value.clone()) }
}

fn cannot(_: &Invocation<'_>, kind: &str, what: &str) -> ExprError {
    let of = if kind == "object" { "an object" } else { "a scalar" };
    ExprError::invalid_parameter(format!("{what} {of}"))
}

fn cannot_deconstruct(call: &Invocation<'_>, kind: &str) -> ExprError {
    let name = call.bound.def.name;
    ExprError::invalid_parameter(match kind {
        "array" if name.starts_with("jsonb") => format!("cannot call {name} on a non-object"),
        "array" => "cannot deconstruct an array as an object".to_owned(),
        _ if name.starts_with("jsonb") => format!("cannot call {name} on a non-object"),
        _ => "cannot deconstruct a scalar".to_owned(),
    })
}

fn no_keys(function: &str, kind: &str) -> ExprError {
    let of = if kind == "array" { "an array" } else { "a scalar" };
    ExprError::invalid_parameter(format!("cannot call {function} on {of}"))
}

/// `json_to_record(set)`: the columns come from the column definition list.
fn register_records(r: &mut Registry) {
    for signature in ["json_to_record(json) record", "jsonb_to_record(jsonb) record"] {
        r.set(signature, |args, call| Ok(vec![record_row(&whole(args)?, call)?]));
    }
    for signature in ["json_to_recordset(json) record", "jsonb_to_recordset(jsonb) record"] {
        r.set(signature, |args, call| match whole(args)? {
            Jsonb::Array(items) => items.iter().map(|item| record_row(item, call)).collect(),
            _ => Err(ExprError::invalid_parameter(format!(
                "cannot call {} on a non-array",
                call.bound.def.name
            ))),
        });
    }
}

fn whole(args: &[Datum]) -> Result<Jsonb> {
    match &args[0] {
        Datum::Json(text) => Ok(datum::json::parse(text)?),
        Datum::Jsonb(json) => Ok((**json).clone()),
        _ => mismatch(args),
    }
}

fn record_row(value: &Jsonb, call: &Invocation<'_>) -> Result<Vec<Datum>> {
    let Jsonb::Object(object) = value else {
        return Err(ExprError::invalid_parameter(format!(
            "cannot call {} on a non-object",
            call.bound.def.name
        )));
    };
    call.bound.columns.iter().map(|(name, ty)| field_value(object.get(name), ty, call)).collect()
}

fn field_value(value: Option<&Jsonb>, ty: &ColumnType, call: &Invocation<'_>) -> EvalResult {
    match (value, &ty.ty) {
        (None | Some(Jsonb::Null), _) => Ok(Datum::Null),
        (Some(value), SqlType::Jsonb) => Ok(own(value.clone())),
        (Some(Jsonb::Array(items)), SqlType::Array(element)) => {
            let element_type = ColumnType::plain((**element).clone());
            let items = items
                .iter()
                .map(|item| field_value(Some(item), &element_type, call))
                .collect::<Result<_>>()?;
            Ok(Datum::array((**element).clone(), items))
        }
        (Some(value), SqlType::Json) => {
            let mut out = String::new();
            datum::json::format(value, &mut out);
            Ok(Datum::Json(out.into()))
        }
        (value, _) => match as_text(value) {
            Datum::Text(text) => {
                let plain = ColumnType::plain(ty.ty.clone());
                let value = crate::cast::parse_input(&plain, &text, call.ctx)?;
                Ok(if ty.typmod >= 0 { datum::typmod::apply(value, ty, false)? } else { value })
            }
            other => Ok(other),
        },
    }
}
