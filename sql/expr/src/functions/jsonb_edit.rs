//! `jsonb_set`, `jsonb_set_lax`, `jsonb_insert`.

use crate::args::{boolean, jsonb};
use crate::error::{ExprError, Result, check_items};
use crate::operators::{own, path_of, position};
use crate::registry::Registry;
use datum::{Datum, Jsonb};
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    r.strict("jsonb_set(jsonb, text[], jsonb, bool=true) jsonb", |args, _| {
        let change = if boolean(args, 3)? { Change::Set } else { Change::Replace };
        edit(args, change)
    });
    r.strict("jsonb_insert(jsonb, text[], jsonb, bool=false) jsonb", |args, _| {
        let change = if boolean(args, 3)? { Change::InsertAfter } else { Change::InsertBefore };
        edit(args, change)
    });
    r.lenient("jsonb_set_lax(jsonb, text[], jsonb, bool=true, text=use_json_null) jsonb", |args, _| {
        if args[0].is_null() || args[1].is_null() || args[3].is_null() {
            return Ok(Datum::Null);
        }
        let change = if boolean(args, 3)? { Change::Set } else { Change::Replace };
        if !args[2].is_null() {
            return edit(args, change);
        }
        let mut changed = args.to_vec();
        match args[4].as_str() {
            Some("use_json_null") => {
                changed[2] = own(Jsonb::Null);
                edit(&changed, change)
            }
            Some("return_target") => Ok(args[0].clone()),
            Some("delete_key") => {
                let path = path_of(args, 1)?;
                apply(jsonb(args, 0)?, &path, 0, &Jsonb::Null, Change::Delete).map(own)
            }
            Some("raise_exception") => Err(ExprError::new("22004", "JSON value must not be null")),
            _ => Err(ExprError::invalid_parameter(
                "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
            )),
        }
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Set,
    Replace,
    InsertBefore,
    InsertAfter,
    Delete,
}

fn edit(args: &[Datum], change: Change) -> Result<Datum> {
    check_items(&args[..3])?;
    let path = path_of(args, 1)?;
    let target = jsonb(args, 0)?;
    if !matches!(&**target, Jsonb::Object(_) | Jsonb::Array(_)) {
        return Err(ExprError::invalid_parameter("cannot set path in scalar"));
    }
    apply(target, &path, 0, jsonb(args, 2)?, change).map(own)
}

fn apply(
    value: &Jsonb,
    path: &[Option<Arc<str>>],
    depth: usize,
    new: &Jsonb,
    change: Change,
) -> Result<Jsonb> {
    let Some(part) = path.get(depth) else { return Ok(value.clone()) };
    let part = part.as_deref().ok_or_else(|| {
        ExprError::new("22004", format!("path element at position {} is null", depth + 1))
    })?;
    let last = depth + 1 == path.len();
    match value {
        Jsonb::Object(object) => {
            let mut entries = object.entries().to_vec();
            let at = entries.iter().position(|(key, _)| **key == *part);
            match (at, last, change) {
                (Some(_), true, Change::InsertBefore | Change::InsertAfter) => {
                    return Err(ExprError::invalid_parameter("cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
                (Some(at), true, Change::Delete) => {
                    entries.remove(at);
                }
                (Some(at), true, _) => entries[at].1 = new.clone(),
                (Some(at), false, _) => {
                    entries[at].1 = apply(&entries[at].1, path, depth + 1, new, change)?;
                }
                (None, true, Change::Set | Change::InsertBefore | Change::InsertAfter) => {
                    entries.push((part.into(), new.clone()));
                }
                (None, _, _) => {}
            }
            Ok(Jsonb::object(entries))
        }
        Jsonb::Array(items) => {
            let index: i32 = part.trim().parse().map_err(|_| {
                ExprError::new(
                    "22P02",
                    format!("path element at position {} is not an integer: \"{part}\"", depth + 1),
                )
            })?;
            let mut items = items.clone();
            match (position(index, items.len()), last, change) {
                (Some(at), true, Change::InsertBefore) => items.insert(at, new.clone()),
                (Some(at), true, Change::InsertAfter) => items.insert(at + 1, new.clone()),
                (Some(at), true, Change::Delete) => {
                    items.remove(at);
                }
                (Some(at), true, Change::Set | Change::Replace) => items[at] = new.clone(),
                (Some(at), false, _) => {
                    items[at] = apply(&items[at], path, depth + 1, new, change)?
                }
                // Beyond an end: prepended or appended.
                (None, true, Change::Set | Change::InsertBefore | Change::InsertAfter) => {
                    let at = if index < 0 { 0 } else { items.len() };
                    items.insert(at, new.clone());
                }
                (None, _, _) => {}
            }
            Ok(Jsonb::Array(items))
        }
        scalar => Ok(scalar.clone()),
    }
}
