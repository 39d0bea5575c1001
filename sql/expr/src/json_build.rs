//! SQL values as JSON: to_json, row_to_json, json_build_*, json_agg and their jsonb twins.

use crate::cast;
use crate::context::EvalContext;
use crate::error::{ExprError, Result, VALUE_BYTES_MAX, check_bytes};
use crate::registry::RecordShape;
use datum::{Datum, Jsonb, SqlType};

/// `to_json(value)`, appended.
pub(crate) fn write_json(
    value: &Datum,
    ty: &SqlType,
    shape: Option<&RecordShape>,
    ctx: &EvalContext<'_>,
    out: &mut String,
) -> Result<()> {
    check_bytes(out.len())?;
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => {
            datum::text::format(value, ty, ctx.types, out);
        }
        // NaN and the infinities are no JSON numbers.
        Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_) => {
            let text = cast::output_text(value, ty, ctx);
            if text.contains(['N', 'y']) {
                push_string(&text, out)?;
            } else {
                out.push_str(&text);
            }
        }
        Datum::Json(text) => {
            check_bytes(out.len() + text.len())?;
            out.push_str(text);
        }
        Datum::Jsonb(json) => datum::json::format(json, out),
        Datum::Array(array) => {
            let element = ty.element_type().unwrap_or_else(|| array.element.clone());
            let mut items = array.items.iter();
            let lengths: Vec<usize> = array.dims.iter().map(|dim| dim.length as usize).collect();
            write_array(&mut items, &lengths, &element, ctx, out)?;
        }
        Datum::Record(record) => {
            out.push('{');
            for (index, field) in record.fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(&field_name(shape, index), out)?;
                out.push(':');
                let ty = record.types.get(index).cloned().unwrap_or_else(|| field.natural_type());
                write_json(field, &ty, None, ctx, out)?;
            }
            out.push('}');
        }
        Datum::Text(text) => push_string(text, out)?,
        other => push_string(&json_text_of(other, ty, ctx), out)?,
    }
    Ok(())
}

/// A text as a JSON string, appended.
///
/// # Errors
/// 54000 if the whole would be too large: a control character becomes six.
pub(crate) fn push_string(text: &str, out: &mut String) -> Result<()> {
    let escaped = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
    let bytes = out.len() + text.len();
    if bytes > VALUE_BYTES_MAX / 6 {
        check_bytes(bytes + 5 * text.bytes().filter(escaped).count())?;
    }
    datum::json::escape(text, out);
    Ok(())
}

/// Dates and times in ISO 8601 with a `T`, whatever the session's style.
fn json_text_of(value: &Datum, ty: &SqlType, ctx: &EvalContext<'_>) -> String {
    let text = match value {
        Datum::Date(_) | Datum::Timestamp(_) | Datum::Timestamptz(_) => {
            let mut iso = ctx.types.clone();
            iso.date_style.format = datum::DateStyleFormat::Iso;
            datum::text::to_string(value, ty, &iso)
        }
        value => cast::output_text(value, ty, ctx),
    };
    match value {
        Datum::Timestamp(t) | Datum::Timestamptz(t) if !cast::is_infinite(*t) => {
            let mut text = text.replacen(' ', "T", 1);
            // PostgreSQL writes zones here as +00:00.
            if matches!(value, Datum::Timestamptz(_))
                && let Some(at) = text.rfind(['+', '-'])
                && text.len() - at == 3
            {
                text.push_str(":00");
            }
            text
        }
        _ => text,
    }
}

fn write_array<'a>(
    items: &mut impl Iterator<Item = &'a Datum>,
    lengths: &[usize],
    element: &SqlType,
    ctx: &EvalContext<'_>,
    out: &mut String,
) -> Result<()> {
    out.push('[');
    if let Some((length, inner)) = lengths.split_first() {
        for index in 0..*length {
            if index > 0 {
                out.push(',');
            }
            if inner.is_empty() {
                write_json(items.next().unwrap_or(&Datum::Null), element, None, ctx, out)?;
            } else {
                write_array(items, inner, element, ctx, out)?;
            }
        }
    }
    out.push(']');
    Ok(())
}

fn field_name(shape: Option<&RecordShape>, index: usize) -> String {
    shape
        .and_then(|shape| shape.names.get(index))
        .map_or_else(|| format!("f{}", index + 1), |name| name.to_string())
}

/// `to_jsonb(value)`.
pub(crate) fn to_jsonb(
    value: &Datum,
    ty: &SqlType,
    shape: Option<&RecordShape>,
    ctx: &EvalContext<'_>,
) -> Result<Jsonb> {
    Ok(match value {
        Datum::Null => Jsonb::Null,
        Datum::Bool(v) => Jsonb::Bool(*v),
        Datum::Jsonb(json) => (**json).clone(),
        Datum::Numeric(v) if v.is_finite() => Jsonb::Number(v.clone()),
        Datum::Json(text) => datum::json::parse(text)?,
        value => match value.as_i64().filter(|_| !matches!(value, Datum::Oid(_))) {
            Some(v) => Jsonb::Number(v.into()),
            None => {
                let mut text = String::new();
                write_json(value, ty, shape, ctx, &mut text)?;
                datum::json::parse(&text)?
            }
        },
    })
}

/// A value as an object's key.
pub(crate) fn key_text(value: &Datum, ty: &SqlType, ctx: &EvalContext<'_>) -> Result<String> {
    match value {
        Datum::Null => Err(ExprError::invalid_parameter("null value not allowed for object key")),
        Datum::Array(_) | Datum::Record(_) | Datum::Json(_) | Datum::Jsonb(_) => Err(
            ExprError::invalid_parameter("key value must be scalar, not array, composite, or json"),
        ),
        Datum::Bool(v) => Ok(if *v { "true" } else { "false" }.to_owned()),
        value => Ok(json_text_of(value, ty, ctx)),
    }
}
