//! `->`, `->>`, `#>`, `#>>`, `@>`, `<@`, `?`, `?|`, `?&`, `||`, `-`, `#-` on json and jsonb.
//!
//! json keeps the user's spelling, so its accessors cut the text; jsonb's walk the tree.

use crate::args::{array, int4, jsonb, text};
use crate::error::{EvalResult, ExprError, Result, check_items};
use crate::json_text;
use crate::registry::{Invocation, Registry};
use datum::{Datum, Jsonb, JsonbObject};
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    r.operator("json -> text json", |args, _| {
        Ok(json_text::member(text(args, 0)?, text(args, 1)?)?.map_or(Datum::Null, as_json))
    });
    r.operator("json -> int4 json", |args, _| {
        Ok(json_text::element(text(args, 0)?, int4(args, 1)?)?.map_or(Datum::Null, as_json))
    });
    r.operator("json ->> text text", |args, _| {
        scalar_text(json_text::member(text(args, 0)?, text(args, 1)?)?)
    });
    r.operator("json ->> int4 text", |args, _| {
        scalar_text(json_text::element(text(args, 0)?, int4(args, 1)?)?)
    });
    r.operator("json #> text[] json", |args, _| Ok(json_path(args)?.map_or(Datum::Null, as_json)));
    r.operator("json #>> text[] text", |args, _| scalar_text(json_path(args)?));
    r.operator("jsonb -> text jsonb", |args, _| Ok(wrap(member(jsonb(args, 0)?, text(args, 1)?))));
    r.operator("jsonb -> int4 jsonb", |args, _| Ok(wrap(element(jsonb(args, 0)?, int4(args, 1)?))));
    r.operator("jsonb ->> text text", |args, _| {
        Ok(as_text(member(jsonb(args, 0)?, text(args, 1)?)))
    });
    r.operator("jsonb ->> int4 text", |args, _| {
        Ok(as_text(element(jsonb(args, 0)?, int4(args, 1)?)))
    });
    r.operator("jsonb #> text[] jsonb", |args, _| {
        Ok(wrap(walk(jsonb(args, 0)?, &path_of(args, 1)?)))
    });
    r.operator("jsonb #>> text[] text", |args, _| {
        Ok(as_text(walk(jsonb(args, 0)?, &path_of(args, 1)?)))
    });
    r.operator("jsonb @> jsonb bool", |args, _| {
        Ok(Datum::Bool(contains(jsonb(args, 0)?, jsonb(args, 1)?, true)))
    });
    r.operator("jsonb <@ jsonb bool", |args, _| {
        Ok(Datum::Bool(contains(jsonb(args, 1)?, jsonb(args, 0)?, true)))
    });
    r.operator("jsonb ? text bool", |args, _| {
        Ok(Datum::Bool(has_key(jsonb(args, 0)?, text(args, 1)?)))
    });
    r.operator("jsonb ?| text[] bool", |args, _| {
        let (value, keys) = (jsonb(args, 0)?, path_of(args, 1)?);
        Ok(Datum::Bool(keys.iter().flatten().any(|key| has_key(value, key))))
    });
    r.operator("jsonb ?& text[] bool", |args, _| {
        let (value, keys) = (jsonb(args, 0)?, path_of(args, 1)?);
        Ok(Datum::Bool(keys.iter().flatten().all(|key| has_key(value, key))))
    });
    r.operator("jsonb || jsonb jsonb", |args, _| {
        check_items(args)?;
        Ok(own(concat(jsonb(args, 0)?, jsonb(args, 1)?)))
    });
    r.operator("jsonb - text jsonb", |args, _| {
        without(jsonb(args, 0)?, &[text(args, 1)?]).map(own)
    });
    r.operator("jsonb - text[] jsonb", |args, _| {
        let keys = path_of(args, 1)?;
        let keys: Vec<&str> = keys.iter().flatten().map(|key| &**key).collect();
        without(jsonb(args, 0)?, &keys).map(own)
    });
    r.operator("jsonb - int4 jsonb", |args, _| {
        without_index(jsonb(args, 0)?, int4(args, 1)?).map(own)
    });
    r.operator("jsonb #- text[] jsonb", |args, _| {
        let path = path_of(args, 1)?;
        if !matches!(&**jsonb(args, 0)?, Jsonb::Array(_) | Jsonb::Object(_)) {
            return Err(ExprError::invalid_parameter("cannot delete path in scalar"));
        }
        Ok(own(without_path(jsonb(args, 0)?, &path)))
    });
    for signature in [
        "json_extract_path(json, text...) json",
        "json_extract_path_text(json, text...) text",
        "jsonb_extract_path(jsonb, text...) jsonb",
        "jsonb_extract_path_text(jsonb, text...) text",
    ] {
        r.strict(signature, extract_path);
    }
}

fn extract_path(args: &[Datum], call: &Invocation<'_>) -> EvalResult {
    let path: Vec<Option<Arc<str>>> =
        args[1..].iter().map(|part| part.as_str().map(Arc::from)).collect();
    let wants_text = call.bound.def.name.ends_with("_text");
    match &args[0] {
        Datum::Json(json) => {
            let found = json_text::walk(json, &path)?;
            if wants_text { scalar_text(found) } else { Ok(found.map_or(Datum::Null, as_json)) }
        }
        Datum::Jsonb(json) => {
            let found = walk(json, &path);
            Ok(if wants_text { as_text(found) } else { wrap(found) })
        }
        _ => crate::args::mismatch(args),
    }
}

fn as_json(text: &str) -> Datum {
    Datum::Json(Arc::from(text))
}

fn scalar_text(found: Option<&str>) -> EvalResult {
    found.map_or(Ok(Datum::Null), |text| Ok(json_text::unquote(text)?.into()))
}

fn json_path(args: &[Datum]) -> Result<Option<&str>> {
    json_text::walk(text(args, 0)?, &path_of(args, 1)?)
}

/// The elements of a text[], nulls kept.
pub(crate) fn path_of(args: &[Datum], index: usize) -> Result<Vec<Option<Arc<str>>>> {
    Ok(array(args, index)?
        .items
        .iter()
        .map(|item| match item {
            Datum::Text(text) => Some(Arc::clone(text)),
            _ => None,
        })
        .collect())
}

pub(crate) fn own(value: Jsonb) -> Datum {
    Datum::Jsonb(Arc::new(value))
}

fn wrap(found: Option<&Jsonb>) -> Datum {
    found.map_or(Datum::Null, |value| own(value.clone()))
}

/// Strings without quotes, JSON null as NULL, the rest as JSON.
pub(crate) fn as_text(found: Option<&Jsonb>) -> Datum {
    match found {
        None | Some(Jsonb::Null) => Datum::Null,
        Some(Jsonb::String(text)) => Datum::text(text),
        Some(other) => {
            let mut out = String::new();
            datum::json::format(other, &mut out);
            Datum::from(out)
        }
    }
}

fn member<'a>(value: &'a Jsonb, key: &str) -> Option<&'a Jsonb> {
    match value {
        Jsonb::Object(object) => object.get(key),
        _ => None,
    }
}

fn element(value: &Jsonb, index: i32) -> Option<&Jsonb> {
    match value {
        Jsonb::Array(items) => items.get(position(index, items.len())?),
        _ => None,
    }
}

/// Negative counts from the end.
pub(crate) fn position(index: i32, length: usize) -> Option<usize> {
    let at = if index < 0 { length as i64 + i64::from(index) } else { i64::from(index) };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn walk<'a>(value: &'a Jsonb, path: &[Option<Arc<str>>]) -> Option<&'a Jsonb> {
    let mut at = value;
    for part in path {
        let part = part.as_deref()?;
        at = match at {
            Jsonb::Object(object) => object.get(part)?,
            Jsonb::Array(items) => items.get(position(part.trim().parse().ok()?, items.len())?)?,
            _ => return None,
        };
    }
    Some(at)
}

fn contains(whole: &Jsonb, part: &Jsonb, top: bool) -> bool {
    match (whole, part) {
        (Jsonb::Object(whole), Jsonb::Object(part)) => {
            part.entries().iter().all(|(key, wanted)| {
                whole.get(key).is_some_and(|found| contains(found, wanted, false))
            })
        }
        (Jsonb::Array(whole), Jsonb::Array(part)) => {
            part.iter().all(|wanted| whole.iter().any(|found| contains(found, wanted, false)))
        }
        // Only at the top may an array contain a bare scalar.
        (Jsonb::Array(whole), scalar)
            if top && !matches!(scalar, Jsonb::Object(_) | Jsonb::Array(_)) =>
        {
            whole.contains(scalar)
        }
        (Jsonb::Object(_) | Jsonb::Array(_), _) | (_, Jsonb::Object(_) | Jsonb::Array(_)) => false,
        (whole, part) => whole == part,
    }
}

fn has_key(value: &Jsonb, key: &str) -> bool {
    match value {
        Jsonb::Object(object) => object.get(key).is_some(),
        Jsonb::Array(items) => {
            items.iter().any(|item| matches!(item, Jsonb::String(text) if **text == *key))
        }
        Jsonb::String(text) => **text == *key,
        _ => false,
    }
}

fn concat(left: &Jsonb, right: &Jsonb) -> Jsonb {
    match (left, right) {
        (Jsonb::Object(a), Jsonb::Object(b)) => {
            Jsonb::object(a.entries().iter().chain(b.entries()).cloned().collect())
        }
        (a, b) => {
            let items = |value: &Jsonb| match value {
                Jsonb::Array(items) => items.clone(),
                other => vec![other.clone()],
            };
            Jsonb::Array(items(a).into_iter().chain(items(b)).collect())
        }
    }
}

fn without(value: &Jsonb, keys: &[&str]) -> Result<Jsonb> {
    match value {
        Jsonb::Object(object) => Ok(Jsonb::Object(JsonbObject::from_entries(
            object.entries().iter().filter(|(key, _)| !keys.contains(&&**key)).cloned().collect(),
        ))),
        Jsonb::Array(items) => Ok(Jsonb::Array(
            items
                .iter()
                .filter(|item| !matches!(item, Jsonb::String(text) if keys.contains(&&**text)))
                .cloned()
                .collect(),
        )),
        _ => Err(ExprError::invalid_parameter("cannot delete from scalar")),
    }
}

fn without_index(value: &Jsonb, index: i32) -> Result<Jsonb> {
    match value {
        Jsonb::Array(items) => {
            let mut items = items.clone();
            if let Some(at) = position(index, items.len()) {
                items.remove(at);
            }
            Ok(Jsonb::Array(items))
        }
        Jsonb::Object(_) => {
            Err(ExprError::invalid_parameter("cannot delete from object using integer index"))
        }
        _ => Err(ExprError::invalid_parameter("cannot delete from scalar")),
    }
}

fn without_path(value: &Jsonb, path: &[Option<Arc<str>>]) -> Jsonb {
    let Some((Some(first), rest)) =
        path.split_first().map(|(first, rest)| (first.as_deref(), rest))
    else {
        return value.clone();
    };
    match value {
        Jsonb::Object(object) => Jsonb::Object(JsonbObject::from_entries(
            object
                .entries()
                .iter()
                .filter(|(key, _)| !(rest.is_empty() && **key == *first))
                .map(|(key, inner)| {
                    let inner =
                        if **key == *first { without_path(inner, rest) } else { inner.clone() };
                    (key.clone(), inner)
                })
                .collect(),
        )),
        Jsonb::Array(items) => {
            let mut items = items.clone();
            if let Some(at) = first.parse().ok().and_then(|index| position(index, items.len())) {
                if rest.is_empty() {
                    items.remove(at);
                } else {
                    items[at] = without_path(&items[at], rest);
                }
            }
            Jsonb::Array(items)
        }
        other => other.clone(),
    }
}
