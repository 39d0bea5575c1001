//! array_agg, string_agg, json(b)_agg, json(b)_object_agg: aggregates that keep every value.

use super::{Accumulator, first, same};
use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result, check_bytes};
use crate::evaluate::stack_arrays;
use crate::json_build;
use crate::registry::{RecordShape, Registry};
use datum::{ColumnType, Datum, Jsonb, SqlType};
use std::sync::Arc;

pub(super) fn register(r: &mut Registry) {
    r.aggregate("array_agg(anynonarray) anyarray", |bound| {
        let element = bound.ty.ty.element_type().unwrap_or(SqlType::Text);
        Box::new(Arrays { element, items: Vec::new(), bytes: Bytes::default(), nested: false })
    });
    r.aggregate("array_agg(anyarray) anyarray", |bound| {
        let element = bound.ty.ty.element_type().unwrap_or(SqlType::Text);
        Box::new(Arrays { element, items: Vec::new(), bytes: Bytes::default(), nested: true })
    });
    r.aggregate("string_agg(text, text) text", |_| Box::new(Joined::new(true)));
    r.aggregate("string_agg(bytea, bytea) bytea", |_| Box::new(Joined::new(false)));
    for (signature, binary) in
        [("json_agg(anyelement) json", false), ("jsonb_agg(anyelement) jsonb", true)]
    {
        let new: super::New = if binary {
            |bound| Box::new(JsonList::of(bound, true))
        } else {
            |bound| Box::new(JsonList::of(bound, false))
        };
        r.aggregate(signature, new);
    }
    r.aggregate("json_object_agg(any, any) json", |bound| Box::new(JsonMap::of(bound, false)));
    r.aggregate("jsonb_object_agg(any, any) jsonb", |bound| Box::new(JsonMap::of(bound, true)));
}

/// Bytes of the values that a state keeps.
#[derive(Default)]
struct Bytes(usize);

impl Bytes {
    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.0 += bytes;
        check_bytes(self.0)
    }
}

struct Arrays {
    element: SqlType,
    items: Vec<Datum>,
    bytes: Bytes,
    /// Arrays go in; an array of one dimension more comes out.
    nested: bool,
}

impl Accumulator for Arrays {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let value = first(args);
        if self.nested && value.is_null() {
            return Err(ExprError::new("22004", "cannot accumulate null arrays"));
        }
        self.bytes.grow(value.size_bytes())?;
        self.items.push(value.clone());
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.bytes.grow(other.bytes.0)?;
        self.items.extend(other.items);
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        if self.items.is_empty() {
            return Ok(Datum::Null);
        }
        if self.nested {
            return stack_arrays(self.element.clone(), self.items.clone()).map_err(|_| {
                ExprError::new("2202E", "cannot accumulate arrays of different dimensionality")
            });
        }
        Ok(Datum::array(self.element.clone(), self.items.clone()))
    }

    fn size_bytes(&self) -> usize {
        64 + self.bytes.0
    }
}

/// `string_agg` of text or of bytea. The first value's delimiter is not used.
struct Joined {
    is_text: bool,
    joined: Option<Vec<u8>>,
    /// What `merge` puts before the other state's bytes.
    first_delimiter: Vec<u8>,
}

impl Joined {
    fn new(is_text: bool) -> Self {
        Self { is_text, joined: None, first_delimiter: Vec::new() }
    }

    fn bytes<'a>(&self, value: &'a Datum) -> Option<&'a [u8]> {
        if self.is_text { value.as_str().map(str::as_bytes) } else { value.as_bytes() }
    }

    fn append(joined: &mut Vec<u8>, delimiter: &[u8], value: &[u8]) -> Result<()> {
        check_bytes(joined.len() + delimiter.len() + value.len())?;
        joined.extend_from_slice(delimiter);
        joined.extend_from_slice(value);
        Ok(())
    }
}

impl Accumulator for Joined {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let Some(value) = self.bytes(first(args)) else { return Ok(()) };
        let delimiter = args.get(1).and_then(|arg| self.bytes(arg)).unwrap_or_default();
        match &mut self.joined {
            Some(joined) => Self::append(joined, delimiter, value),
            None => {
                self.first_delimiter = delimiter.to_vec();
                self.joined = Some(value.to_vec());
                Ok(())
            }
        }
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        match (&mut self.joined, other.joined) {
            (_, None) => Ok(()),
            (Some(joined), Some(more)) => Self::append(joined, &other.first_delimiter, &more),
            (None, Some(more)) => {
                self.joined = Some(more);
                self.first_delimiter = other.first_delimiter;
                Ok(())
            }
        }
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(match &self.joined {
            None => Datum::Null,
            Some(joined) if self.is_text => {
                Datum::text(std::str::from_utf8(joined).expect("joined from text"))
            }
            Some(joined) => Datum::bytea(joined),
        })
    }

    fn size_bytes(&self) -> usize {
        64 + self.joined.as_ref().map_or(0, Vec::len)
    }
}

/// `json_agg`: `[1, 2]` on one line, rows of records each on a line of their own.
struct JsonList {
    ty: ColumnType,
    shape: Option<Arc<RecordShape>>,
    binary: bool,
    values: Vec<Datum>,
    bytes: Bytes,
}

impl JsonList {
    fn of(bound: &crate::BoundFunction, binary: bool) -> Self {
        Self {
            ty: bound.arg_types.first().cloned().unwrap_or_else(|| SqlType::Text.into()),
            shape: bound.arg_shapes.first().cloned().flatten(),
            binary,
            values: Vec::new(),
            bytes: Bytes::default(),
        }
    }
}

impl Accumulator for JsonList {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        self.bytes.grow(first(args).size_bytes())?;
        self.values.push(first(args).clone());
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.bytes.grow(other.bytes.0)?;
        self.values.extend(other.values);
        Ok(())
    }

    fn finish(&self, ctx: &EvalContext<'_>) -> EvalResult {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        let shape = self.shape.as_deref();
        if self.binary {
            let items = self
                .values
                .iter()
                .map(|value| json_build::to_jsonb(value, &self.ty.ty, shape, ctx))
                .collect::<Result<_>>()?;
            return Ok(Datum::Jsonb(Arc::new(Jsonb::Array(items))));
        }
        let between = match self.ty.ty {
            SqlType::Record | SqlType::Array(_) => ", \n ",
            _ => ", ",
        };
        let mut out = String::from("[");
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                out.push_str(between);
            }
            json_build::write_json(value, &self.ty.ty, shape, ctx, &mut out)?;
        }
        out.push(']');
        Ok(Datum::Json(out.into()))
    }

    fn size_bytes(&self) -> usize {
        64 + self.bytes.0
    }
}

struct JsonMap {
    types: [SqlType; 2],
    shape: Option<Arc<RecordShape>>,
    binary: bool,
    pairs: Vec<(String, Datum)>,
    bytes: Bytes,
}

impl JsonMap {
    fn of(bound: &crate::BoundFunction, binary: bool) -> Self {
        let ty =
            |index: usize| bound.arg_types.get(index).map_or(SqlType::Text, |ty| ty.ty.clone());
        Self {
            types: [ty(0), ty(1)],
            shape: bound.arg_shapes.get(1).cloned().flatten(),
            binary,
            pairs: Vec::new(),
            bytes: Bytes::default(),
        }
    }
}

impl Accumulator for JsonMap {
    fn update(&mut self, args: &[Datum], ctx: &EvalContext<'_>) -> Result<()> {
        let [key, value] = args else { return Ok(()) };
        if key.is_null() {
            let message = if self.binary {
                "field name must not be null"
            } else {
                "null value not allowed for object key"
            };
            return Err(ExprError::new(if self.binary { "22023" } else { "22004" }, message));
        }
        let key = json_build::key_text(key, &self.types[0], ctx)?;
        self.bytes.grow(size_of::<String>() + key.len() + value.size_bytes())?;
        self.pairs.push((key, value.clone()));
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.bytes.grow(other.bytes.0)?;
        self.pairs.extend(other.pairs);
        Ok(())
    }

    fn finish(&self, ctx: &EvalContext<'_>) -> EvalResult {
        if self.pairs.is_empty() {
            return Ok(Datum::Null);
        }
        let shape = self.shape.as_deref();
        if self.binary {
            let entries = self
                .pairs
                .iter()
                .map(|(key, value)| {
                    let value = json_build::to_jsonb(value, &self.types[1], shape, ctx)?;
                    Ok((key.as_str().into(), value))
                })
                .collect::<Result<_>>()?;
            return Ok(Datum::Jsonb(Arc::new(Jsonb::object(entries))));
        }
        let mut out = String::from("{ ");
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            json_build::push_string(key, &mut out)?;
            out.push_str(" : ");
            json_build::write_json(value, &self.types[1], shape, ctx, &mut out)?;
        }
        out.push_str(" }");
        Ok(Datum::Json(out.into()))
    }

    fn size_bytes(&self) -> usize {
        64 + self.bytes.0
    }
}
