//! `||`, `@>`, `<@`, `&&` on arrays.

use crate::args::array;
use crate::error::{EvalResult, ExprError, Result, check_bytes, check_items};
use crate::registry::{Invocation, Registry};
use datum::{ArrayDim, ArrayValue, Datum, SqlType};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    r.operator_as("anycompatiblearray || anycompatiblearray anycompatiblearray", false, concat);
    r.operator_as("anycompatiblearray || anycompatible anycompatiblearray", false, append);
    r.operator_as("anycompatible || anycompatiblearray anycompatiblearray", false, prepend);
    r.lenient("array_cat(anycompatiblearray, anycompatiblearray) anycompatiblearray", concat);
    r.lenient("array_append(anycompatiblearray, anycompatible) anycompatiblearray", append);
    r.lenient("array_prepend(anycompatible, anycompatiblearray) anycompatiblearray", prepend);
    r.operator("anyarray @> anyarray bool", |args, _| {
        Ok(Datum::Bool(contains(array(args, 0)?, array(args, 1)?)))
    });
    r.operator("anyarray <@ anyarray bool", |args, _| {
        Ok(Datum::Bool(contains(array(args, 1)?, array(args, 0)?)))
    });
    r.operator("anyarray && anyarray bool", |args, _| {
        let left = set(array(args, 0)?);
        Ok(Datum::Bool(array(args, 1)?.items.iter().any(|item| left.contains(item))))
    });
}

/// Nulls are contained in nothing.
fn set(array: &ArrayValue) -> HashSet<&Datum> {
    array.items.iter().filter(|item| !item.is_null()).collect()
}

fn contains(whole: &ArrayValue, part: &ArrayValue) -> bool {
    let whole = set(whole);
    part.items.iter().all(|item| whole.contains(item))
}

fn incompatible() -> ExprError {
    ExprError::new("2202E", "cannot concatenate incompatible arrays")
}

fn concat(args: &[Datum], _: &Invocation<'_>) -> EvalResult {
    let (left, right) = match (&args[0], &args[1]) {
        (Datum::Array(left), Datum::Array(right)) => (left, right),
        (Datum::Null, other) | (other, Datum::Null) => return Ok(other.clone()),
        _ => return crate::args::mismatch(args),
    };
    if left.is_empty() {
        return Ok(args[1].clone());
    }
    if right.is_empty() {
        return Ok(args[0].clone());
    }
    let dims = joined_dims(left, right)?;
    check_bytes(args[0].size_bytes() + args[1].size_bytes())?;
    let items = left.items.iter().chain(&right.items).cloned().collect();
    Ok(Datum::Array(Arc::new(ArrayValue { element: left.element.clone(), dims, items })))
}

/// Equal shapes stack along the first dimension; an array may also join one of a dimension more as its slice.
fn joined_dims(left: &ArrayValue, right: &ArrayValue) -> Result<Vec<ArrayDim>> {
    let lengths = |dims: &[ArrayDim]| dims.iter().map(|dim| dim.length).collect::<Vec<_>>();
    let (a, b) = (&left.dims, &right.dims);
    let detail = |error: ExprError, text: &str| error.with_detail(text);
    let mut dims;
    if a.len() == b.len() {
        if lengths(&a[1..]) != lengths(&b[1..]) {
            return Err(detail(
                incompatible(),
                "Arrays with differing element dimensions are not compatible for concatenation.",
            ));
        }
        dims = a.clone();
        dims[0].length += b[0].length;
    } else if a.len() == b.len() + 1 {
        if lengths(&a[1..]) != lengths(b) {
            return Err(detail(
                incompatible(),
                "Arrays with differing dimensions are not compatible for concatenation.",
            ));
        }
        dims = a.clone();
        dims[0].length += 1;
    } else if a.len() + 1 == b.len() {
        if lengths(a) != lengths(&b[1..]) {
            return Err(detail(
                incompatible(),
                "Arrays with differing dimensions are not compatible for concatenation.",
            ));
        }
        dims = b.clone();
        dims[0].length += 1;
    } else {
        return Err(detail(
            incompatible(),
            &format!(
                "Arrays of {} and {} dimensions are not compatible for concatenation.",
                a.len(),
                b.len()
            ),
        ));
    }
    Ok(dims)
}

fn element_type(call: &Invocation<'_>) -> SqlType {
    call.result_type().element_type().unwrap_or(SqlType::Text)
}

fn append(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    extend(&args[0], &args[1], element_type(call), false)
}

fn prepend(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    extend(&args[1], &args[0], element_type(call), true)
}

fn extend(array: &Datum, item: &Datum, element: SqlType, front: bool) -> EvalResult {
    let empty = Arc::new(ArrayValue::empty(element.clone()));
    let array = match array {
        Datum::Array(array) => array,
        _ => &empty,
    };
    if array.dims.len() > 1 {
        return Err(ExprError::new("22000", "argument must be empty or one-dimensional array"));
    }
    check_items(&array.items)?;
    check_bytes(item.size_bytes())?;
    let lower = array.dims.first().map_or(1, |dim| dim.lower);
    let mut items = Vec::with_capacity(array.len() + 1);
    if front {
        items.push(item.clone());
    }
    items.extend(array.items.iter().cloned());
    if !front {
        items.push(item.clone());
    }
    let dims = vec![ArrayDim { length: items.len() as i32, lower }];
    Ok(Datum::Array(Arc::new(ArrayValue { element, dims, items })))
}
