//! Array functions; `||`, `array_append` and their kin are with the operators.

use super::regex::check_parts;
use crate::args::{array, int4, int4_or, text, texts};
use crate::error::{EvalResult, ExprError, Result, check_bytes, check_items};
use crate::registry::{Invocation, Registry, Volatility};
use datum::{ArrayDim, ArrayValue, Datum, SqlType};
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    register_shape(r);
    register_search(r);
    register_strings(r);
}

/// The dimension number `args[1]`, if there is one.
fn dimension(args: &[Datum]) -> Result<Option<ArrayDim>> {
    let number = int4(args, 1)?;
    let at = usize::try_from(i64::from(number) - 1).ok();
    Ok(at.and_then(|at| args[0].as_array().and_then(|array| array.dims.get(at).copied())))
}

fn register_shape(r: &mut Registry) {
    r.strict("array_length(anyarray, int4) int4", |args, _| {
        Ok(dimension(args)?.map(|dim| dim.length).into())
    });
    r.strict("array_lower(anyarray, int4) int4", |args, _| {
        Ok(dimension(args)?.map(|dim| dim.lower).into())
    });
    r.strict("array_upper(anyarray, int4) int4", |args, _| {
        Ok(dimension(args)?.map(|dim| dim.lower + dim.length - 1).into())
    });
    r.strict("array_ndims(anyarray) int4", |args, _| {
        let dims = array(args, 0)?.dims.len();
        Ok(if dims == 0 { Datum::Null } else { Datum::Int4(dims as i32) })
    });
    r.strict("cardinality(anyarray) int4", |args, _| Ok(Datum::Int4(array(args, 0)?.len() as i32)));
    r.strict("array_dims(anyarray) text", |args, _| {
        let dims = &array(args, 0)?.dims;
        if dims.is_empty() {
            return Ok(Datum::Null);
        }
        let parts: String = dims
            .iter()
            .map(|dim| format!("[{}:{}]", dim.lower, dim.lower + dim.length - 1))
            .collect();
        Ok(parts.into())
    });
    for signature in [
        "array_fill(anyelement, int4[]) anyarray",
        "array_fill(anyelement, int4[], int4[]) anyarray",
    ] {
        r.lenient(signature, fill);
    }
    r.strict("trim_array(anyarray, int4) anyarray", |args, _| {
        let (value, cut) = (array(args, 0)?, int4(args, 1)?);
        let length = value.dims.first().map_or(0, |dim| dim.length);
        if cut < 0 || cut > length {
            return Err(ExprError::new(
                "2202E",
                format!("number of elements to trim must be between 0 and {length}"),
            ));
        }
        let mut dims = value.dims.clone();
        if let Some(first) = dims.first_mut() {
            first.length -= cut;
        }
        let keep: usize = dims.iter().map(|dim| dim.length as usize).product();
        let items = value.items[..if dims.is_empty() { 0 } else { keep }].to_vec();
        if items.is_empty() {
            dims.clear();
        }
        Ok(Datum::Array(Arc::new(ArrayValue { element: value.element.clone(), dims, items })))
    });
    r.volatility(Volatility::Volatile);
    r.strict("array_shuffle(anyarray) anyarray", |args, _| {
        let value = array(args, 0)?;
        let mut items = value.items.clone();
        for at in (1..items.len()).rev() {
            items.swap(at, rand::random_range(0..=at));
        }
        let value = ArrayValue { element: value.element.clone(), dims: value.dims.clone(), items };
        Ok(Datum::Array(Arc::new(value)))
    });
    r.volatility(Volatility::Immutable);
}

fn fill(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let (Some(Datum::Array(lengths)), element) = (args.get(1), call.result_type().element_type())
    else {
        return Err(ExprError::new("22004", "dimension array or low bound array cannot be null"));
    };
    let lowers = args.get(2).and_then(Datum::as_array);
    let dims: Vec<ArrayDim> = lengths
        .items
        .iter()
        .enumerate()
        .map(|(index, length)| ArrayDim {
            length: length.as_i64().unwrap_or(0) as i32,
            lower: lowers
                .and_then(|lowers| lowers.items.get(index))
                .and_then(Datum::as_i64)
                .unwrap_or(1) as i32,
        })
        .collect();
    let count = dims.iter().try_fold(1i64, |count, dim| count.checked_mul(i64::from(dim.length)));
    let count = count.filter(|count| (0..1 << 27).contains(count)).ok_or_else(|| {
        ExprError::new("54000", "array size exceeds the maximum allowed (134217727)")
    })?;
    let element = element.unwrap_or(SqlType::Text);
    if count == 0 || dims.is_empty() {
        return Ok(Datum::Array(Arc::new(ArrayValue::empty(element))));
    }
    check_bytes(args[0].size_bytes().saturating_mul(count as usize))?;
    let items = vec![args[0].clone(); count as usize];
    Ok(Datum::Array(Arc::new(ArrayValue { element, dims, items })))
}

fn one_dimension(array: &ArrayValue, action: &str) -> Result<()> {
    if array.dims.len() > 1 {
        return Err(ExprError::unsupported_text(format!(
            "{action} multidimensional arrays is not supported"
        )));
    }
    Ok(())
}

fn register_search(r: &mut Registry) {
    for signature in [
        "array_position(anycompatiblearray, anycompatible) int4",
        "array_position(anycompatiblearray, anycompatible, int4) int4",
    ] {
        r.lenient(signature, |args, _| {
            let Some(value) = args[0].as_array() else { return Ok(Datum::Null) };
            one_dimension(value, "searching for elements in")?;
            let lower = value.dims.first().map_or(1, |dim| dim.lower);
            let from = int4_or(args, 2, lower)?;
            let skip = (i64::from(from) - i64::from(lower)).max(0) as usize;
            let at = value.items.iter().skip(skip).position(|item| *item == args[1]);
            Ok(at.map(|at| lower + (skip + at) as i32).into())
        });
    }
    r.lenient("array_positions(anycompatiblearray, anycompatible) int4[]", |args, _| {
        let Some(value) = args[0].as_array() else { return Ok(Datum::Null) };
        one_dimension(value, "searching for elements in")?;
        let lower = value.dims.first().map_or(1, |dim| dim.lower);
        let found = value.items.iter().enumerate().filter(|(_, item)| **item == args[1]);
        let found = found.map(|(at, _)| Datum::Int4(lower + at as i32)).collect();
        Ok(Datum::array(SqlType::Int4, found))
    });
    r.lenient("array_remove(anycompatiblearray, anycompatible) anycompatiblearray", |args, _| {
        let Some(value) = args[0].as_array() else { return Ok(Datum::Null) };
        one_dimension(value, "removing elements from")?;
        let items = value.items.iter().filter(|item| **item != args[1]).cloned().collect();
        Ok(Datum::array(value.element.clone(), items))
    });
    r.lenient(
        "array_replace(anycompatiblearray, anycompatible, anycompatible) anycompatiblearray",
        |args, _| {
            let Some(value) = args[0].as_array() else { return Ok(Datum::Null) };
            let items: Vec<Datum> = value
                .items
                .iter()
                .map(|item| if *item == args[1] { args[2].clone() } else { item.clone() })
                .collect();
            check_items(&items)?;
            Ok(Datum::Array(Arc::new(ArrayValue {
                element: value.element.clone(),
                dims: value.dims.clone(),
                items,
            })))
        },
    );
    for signature in ["num_nulls(any...) int4", "num_nonnulls(any...) int4"] {
        r.lenient(signature, |args, call| {
            let nulls = args.iter().filter(|arg| arg.is_null()).count();
            let wants_nulls = call.bound.def.name == "num_nulls";
            Ok(Datum::Int4(if wants_nulls { nulls } else { args.len() - nulls } as i32))
        });
    }
}

fn register_strings(r: &mut Registry) {
    r.volatility(Volatility::Stable);
    for signature in
        ["array_to_string(anyarray, text) text", "array_to_string(anyarray, text, text) text"]
    {
        r.lenient(signature, |args, call| {
            let (Some(value), Some(separator)) = (args[0].as_array(), args[1].as_str()) else {
                return Ok(Datum::Null);
            };
            let null = args.get(2).and_then(Datum::as_str);
            let element = call.arg_type(0).element_type().unwrap_or_else(|| value.element.clone());
            let parts = value.items.iter().filter(|item| !item.is_null() || null.is_some());
            let mut out = String::new();
            for (index, item) in parts.enumerate() {
                if index > 0 {
                    out.push_str(separator);
                }
                match (item, null) {
                    (Datum::Null, null) => out.push_str(null.unwrap_or_default()),
                    _ => crate::cast::write_output(item, &element, call.ctx, &mut out),
                }
                check_bytes(out.len())?;
            }
            Ok(out.into())
        });
    }
    r.volatility(Volatility::Immutable);
    for signature in
        ["string_to_array(text, text) text[]", "string_to_array(text, text, text) text[]"]
    {
        r.lenient(signature, |args, _| Ok(string_parts(args)?.map_or(Datum::Null, texts)));
    }
}

/// The parts of `string_to_array`: by characters for a null separator, whole for an empty one.
pub(super) fn string_parts(args: &[Datum]) -> Result<Option<Vec<Datum>>> {
    if args[0].is_null() {
        return Ok(None);
    }
    let s = text(args, 0)?;
    let null = args.get(2).and_then(Datum::as_str);
    let count = match args[1].as_str() {
        None => s.chars().count(),
        Some("") => 1,
        Some(separator) => s.matches(separator).count() + 1,
    };
    check_parts(count, s)?;
    let part = |part: &str| if Some(part) == null { Datum::Null } else { Datum::text(part) };
    Ok(Some(match args[1].as_str() {
        _ if s.is_empty() => Vec::new(),
        None => s.char_indices().map(|(at, c)| part(&s[at..at + c.len_utf8()])).collect(),
        Some("") => vec![part(s)],
        Some(separator) => s.split(separator).map(part).collect(),
    }))
}
