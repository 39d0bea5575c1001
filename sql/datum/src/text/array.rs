//! Arrays `{1,"a b",NULL}`, vectors `1 2 3` and records `(1,"a b",)` as text.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::{
    ArrayDim, ArrayValue, ColumnType, Datum, DatumError, RecordValue, Result, SqlType, TypeContext,
    sqlstate,
};

/// Most dimensions of an array (`MAXDIM`).
const DIMS_MAX: usize = 6;

pub(super) fn parse(element: &ColumnType, input: &str, ctx: &TypeContext) -> Result<Datum> {
    let mut reader = Reader {
        input,
        rest: input.trim_start(),
        element,
        ctx,
        items: Vec::new(),
        lengths: Vec::new(),
    };
    let bounds = reader.bounds()?;
    if !reader.rest.starts_with('{') {
        return Err(reader.malformed(if bounds.is_empty() {
            "Array value must start with \"{\" or dimension information."
        } else {
            "Array contents must start with \"{\"."
        }));
    }
    reader.braces(0)?;
    if !reader.rest.trim().is_empty() {
        return Err(reader.malformed("Junk after closing right brace."));
    }
    let Reader { items, lengths, .. } = &reader;
    if items.is_empty() {
        return Ok(Datum::Array(Arc::new(ArrayValue::empty(element.ty.clone()))));
    }
    let dims: Vec<ArrayDim> = if bounds.is_empty() {
        lengths.iter().map(|&length| ArrayDim { length: length as i32, lower: 1 }).collect()
    } else {
        let matches = bounds.len() == lengths.len()
            && bounds.iter().zip(lengths).all(|(dim, &length)| dim.length as usize == length);
        if !matches {
            return Err(reader.malformed("Specified array dimensions do not match array contents."));
        }
        bounds
    };
    let items = std::mem::take(&mut reader.items);
    Ok(Datum::Array(Arc::new(ArrayValue { element: element.ty.clone(), dims, items })))
}

struct Reader<'a> {
    input: &'a str,
    rest: &'a str,
    element: &'a ColumnType,
    ctx: &'a TypeContext,
    items: Vec<Datum>,
    /// Of each depth, as the first brace at that depth closed.
    lengths: Vec<usize>,
}

impl Reader<'_> {
    fn malformed(&self, detail: &str) -> DatumError {
        DatumError::new(
            sqlstate::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", self.input),
        )
        .with_detail(detail)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// `[1:2][0:3]=`
    fn bounds(&mut self) -> Result<Vec<ArrayDim>> {
        let mut dims = Vec::new();
        while let Some(rest) = self.rest.strip_prefix('[') {
            if !rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
            {
                return Err(
                    self.malformed("\"[\" must introduce explicitly-specified array dimensions.")
                );
            }
            let (inside, after) = rest
                .split_once(']')
                .ok_or_else(|| self.malformed("Missing \"]\" in array dimensions."))?;
            let (lower, upper) = inside.split_once(':').unwrap_or(("1", inside));
            let parse = |s: &str| {
                s.trim()
                    .parse::<i32>()
                    .map_err(|_| self.malformed("Missing array dimension value."))
            };
            let (lower, upper) = (parse(lower)?, parse(upper)?);
            if upper < lower {
                return Err(DatumError::new(
                    sqlstate::ARRAY_SUBSCRIPT_ERROR,
                    "upper bound cannot be less than lower bound",
                ));
            }
            let length = i64::from(upper) - i64::from(lower) + 1;
            let length = i32::try_from(length).map_err(|_| {
                DatumError::new(
                    sqlstate::PROGRAM_LIMIT_EXCEEDED,
                    "array size exceeds the maximum allowed (134217727)",
                )
            })?;
            dims.push(ArrayDim { length, lower });
            self.rest = after.trim_start();
        }
        if dims.is_empty() {
            return Ok(dims);
        }
        match self.rest.strip_prefix('=') {
            Some(rest) => self.rest = rest.trim_start(),
            None => return Err(self.malformed("Missing \"=\" after array dimensions.")),
        }
        Ok(dims)
    }

    /// At an opening brace.
    fn braces(&mut self, depth: usize) -> Result<()> {
        if depth >= DIMS_MAX {
            return Err(DatumError::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "number of array dimensions ({}) exceeds the maximum allowed ({DIMS_MAX})",
                    depth + 1
                ),
            ));
        }
        self.rest = &self.rest[1..];
        let mut count = 0usize;
        let mut nested = false;
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix('}') {
            if depth > 0 {
                return Err(self.malformed("Unexpected \"}\" character."));
            }
            self.rest = rest;
            return self.close(depth, 0);
        }
        loop {
            self.skip_blanks();
            let is_brace = match self.rest.chars().next() {
                None => return Err(self.malformed("Unexpected end of input.")),
                Some('{') => true,
                Some(c @ (',' | '}')) => {
                    return Err(self.malformed(&format!("Unexpected \"{c}\" character.")));
                }
                Some(_) => false,
            };
            if count > 0 && is_brace != nested {
                return Err(self.malformed(if nested {
                    "Unexpected array element."
                } else {
                    "Unexpected \"{\" character."
                }));
            }
            nested = is_brace;
            if is_brace {
                self.braces(depth + 1)?;
            } else {
                if self.lengths.len() > depth + 1 {
                    return Err(self.uneven());
                }
                let item = self.item()?;
                self.items.push(item);
            }
            count += 1;
            self.skip_blanks();
            match self.rest.chars().next() {
                Some(',') => self.rest = &self.rest[1..],
                Some('}') => {
                    self.rest = &self.rest[1..];
                    return self.close(depth, count);
                }
                None => return Err(self.malformed("Unexpected end of input.")),
                Some(_) => return Err(self.malformed("Unexpected array element.")),
            }
        }
    }

    fn uneven(&self) -> DatumError {
        self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
    }

    /// All braces of one depth hold equally many.
    fn close(&mut self, depth: usize, count: usize) -> Result<()> {
        const UNKNOWN: usize = usize::MAX;
        while self.lengths.len() <= depth {
            self.lengths.push(UNKNOWN);
        }
        if self.lengths[depth] == UNKNOWN {
            self.lengths[depth] = count;
        } else if self.lengths[depth] != count {
            return Err(self.uneven());
        }
        Ok(())
    }

    fn item(&mut self) -> Result<Datum> {
        let mut text = String::new();
        let mut quoted = false;
        let mut closed = false;
        // Trailing blanks belong to the item only if they were quoted or escaped.
        let mut kept = 0usize;
        let mut chars = self.rest.char_indices();
        let end = loop {
            let Some((at, c)) = chars.next() else {
                return Err(self.malformed("Unexpected end of input."));
            };
            match c {
                ',' | '}' => break at,
                '{' => return Err(self.malformed("Unexpected \"{\" character.")),
                '\\' => {
                    let Some((_, escaped)) = chars.next() else {
                        return Err(self.malformed("Unexpected end of input."));
                    };
                    text.push(escaped);
                    kept = text.len();
                    quoted = true;
                }
                '"' => {
                    if quoted || !text.trim().is_empty() {
                        return Err(self.malformed("Unexpected array element."));
                    }
                    text.clear();
                    quoted = true;
                    loop {
                        match chars.next() {
                            None => return Err(self.malformed("Unexpected end of input.")),
                            Some((_, '"')) => break,
                            Some((_, '\\')) => match chars.next() {
                                Some((_, escaped)) => text.push(escaped),
                                None => return Err(self.malformed("Unexpected end of input.")),
                            },
                            Some((_, c)) => text.push(c),
                        }
                    }
                    kept = text.len();
                    closed = true;
                }
                c => {
                    if closed && !c.is_ascii_whitespace() {
                        return Err(self.malformed("Unexpected array element."));
                    }
                    text.push(c);
                    if !c.is_ascii_whitespace() {
                        kept = text.len();
                    }
                }
            }
        };
        self.rest = &self.rest[end..];
        text.truncate(kept);
        if !quoted && text.eq_ignore_ascii_case("null") {
            return Ok(Datum::Null);
        }
        super::parse(self.element, &text, self.ctx)
    }
}

pub(super) fn format(array: &ArrayValue, ctx: &TypeContext, out: &mut String) {
    if array.items.is_empty() || array.dims.is_empty() {
        return out.push_str("{}");
    }
    if array.dims.iter().any(|dim| dim.lower != 1) {
        for dim in &array.dims {
            let upper = i64::from(dim.lower) + i64::from(dim.length) - 1;
            let _ = write!(out, "[{}:{upper}]", dim.lower);
        }
        out.push('=');
    }
    let mut items = array.items.iter();
    format_level(&array.dims, &mut items, &array.element, ctx, out);
}

fn format_level(
    dims: &[ArrayDim],
    items: &mut std::slice::Iter<'_, Datum>,
    element: &SqlType,
    ctx: &TypeContext,
    out: &mut String,
) {
    let Some((dim, inner)) = dims.split_first() else {
        return;
    };
    out.push('{');
    for at in 0..dim.length {
        if at > 0 {
            out.push(',');
        }
        if !inner.is_empty() {
            format_level(inner, items, element, ctx, out);
            continue;
        }
        match items.next() {
            None | Some(Datum::Null) => out.push_str("NULL"),
            Some(item) => {
                let start = out.len();
                super::format(item, element, ctx, out);
                let text = &out[start..];
                let plain = !text.is_empty()
                    && !text.eq_ignore_ascii_case("null")
                    && !text.contains(|c: char| is_array_special(c));
                if !plain {
                    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
                    out.truncate(start);
                    let _ = write!(out, "\"{quoted}\"");
                }
            }
        }
    }
    out.push('}');
}

fn is_array_special(c: char) -> bool {
    matches!(c, '"' | '\\' | '{' | '}' | ',' | '\x0b') || c.is_ascii_whitespace()
}

/// `int2vector` and `oidvector`: blanks between, subscripts from 0.
pub(super) fn parse_vector(element: &SqlType, input: &str, ctx: &TypeContext) -> Result<Datum> {
    let ty = ColumnType::plain(element.clone());
    let items: Result<Vec<Datum>> =
        input.split_ascii_whitespace().map(|word| super::parse(&ty, word, ctx)).collect();
    let items = items?;
    let dims = vec![ArrayDim { length: items.len() as i32, lower: 0 }];
    Ok(Datum::Array(Arc::new(ArrayValue { element: element.clone(), dims, items })))
}

pub(super) fn format_vector(array: &ArrayValue, ctx: &TypeContext, out: &mut String) {
    for (at, item) in array.items.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        super::format(item, &array.element, ctx, out);
    }
}

/// `(1,"a b",)`: NULL is nothing, the empty text is `""`.
pub(super) fn format_record(record: &RecordValue, ctx: &TypeContext, out: &mut String) {
    out.push('(');
    for (at, field) in record.fields.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if field.is_null() {
            continue;
        }
        let start = out.len();
        let ty = record.types.get(at).unwrap_or(&SqlType::Unknown);
        super::format(field, ty, ctx, out);
        let text = &out[start..];
        let special =
            |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',' | '\x0b') || c.is_ascii_whitespace();
        if text.is_empty() || text.contains(special) {
            let quoted = text.replace('\\', "\\\\").replace('"', "\"\"");
            out.truncate(start);
            let _ = write!(out, "\"{quoted}\"");
        }
    }
    out.push(')');
}
