//! Which casts exist (`pg_cast`, and the I/O conversions that stand in for missing ones), and what they do.

use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::Volatility;
use crate::resolve::CoercionContext;
use datum::datetime::{self, MICROS_PER_DAY as DAY};
use datum::{ArrayValue, Category, ColumnType, Datum, Numeric, SqlType};
use std::sync::Arc;

/// A cast between concrete types, as it sits in an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundCast {
    pub from: ColumnType,
    pub to: ColumnType,
    /// Written by the user: too long a text is cut instead of refused.
    pub explicit: bool,
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// The value stays as it is.
    Relabel,
    Convert,
}

/// The least context in which a cast is applied; `None` where there is none. Includes identity.
pub fn allowed(from: &SqlType, to: &SqlType) -> Option<CoercionContext> {
    use CoercionContext::{Assignment, Explicit, Implicit};
    use SqlType::*;
    if from == to || *from == Unknown {
        return Some(Implicit);
    }
    let known = match (from, to) {
        (Int2, Int4 | Int8 | Numeric | Float4 | Float8) => Some(Implicit),
        (Int4, Int8 | Numeric | Float4 | Float8) => Some(Implicit),
        (Int8, Numeric | Float4 | Float8) => Some(Implicit),
        (Int2 | Int4 | Int8, Oid | Regclass | Regtype | Regproc | Regnamespace | Regrole) => {
            Some(Implicit)
        }
        (Int4, Int2) | (Int8, Int2 | Int4) => Some(Assignment),
        (Int4, Bool | Char) | (Bool, Int4) | (Char, Int4) => Some(Explicit),
        (Numeric, Float4 | Float8) | (Float4, Float8) => Some(Implicit),
        (Numeric, Int2 | Int4 | Int8) => Some(Assignment),
        (Float4, Int2 | Int4 | Int8 | Numeric) => Some(Assignment),
        (Float8, Int2 | Int4 | Int8 | Numeric | Float4) => Some(Assignment),
        (Oid, Regclass | Regtype | Regproc | Regnamespace | Regrole) => Some(Implicit),
        (Regclass | Regtype | Regproc | Regnamespace | Regrole, Oid) => Some(Implicit),
        (Oid | Regclass | Regtype | Regproc | Regnamespace | Regrole, Int4 | Int8) => {
            Some(Assignment)
        }
        (Text, Bpchar | Varchar | Name) | (Varchar, Text | Bpchar | Name) => Some(Implicit),
        (Bpchar, Text | Varchar | Name) | (Name, Text) | (Char, Text) => Some(Implicit),
        (Text | Varchar | Bpchar, Char) => Some(Assignment),
        (Name | Char, Bpchar | Varchar) | (Bool, Text | Varchar | Bpchar) => Some(Assignment),
        (Text | Varchar, Regclass) => Some(Implicit),
        (Date, Timestamp | Timestamptz) | (Time, Interval | Timetz) => Some(Implicit),
        (Timestamp, Timestamptz) => Some(Implicit),
        (Timestamp, Date | Time) | (Timestamptz, Date | Time | Timestamp | Timetz) => {
            Some(Assignment)
        }
        (Interval | Timetz, Time) => Some(Assignment),
        (Json, Jsonb) | (Jsonb, Json) => Some(Assignment),
        (Jsonb, Bool | Numeric | Int2 | Int4 | Int8 | Float4 | Float8) => Some(Explicit),
        (Int2Vector, Array(element)) if **element == Int2 => Some(Implicit),
        (OidVector, Array(element)) if **element == Oid => Some(Implicit),
        (Array(from), Array(to)) => allowed(from, to),
        _ => None,
    };
    known.or_else(|| by_text(from, to))
}

/// I/O conversions: anything to a string type on assignment, a string type to anything explicitly.
fn by_text(from: &SqlType, to: &SqlType) -> Option<CoercionContext> {
    let is_string = |ty: &SqlType| ty.category() == Category::String;
    if *to == SqlType::Void || *from == SqlType::Void {
        return None;
    }
    if is_string(to) {
        Some(CoercionContext::Assignment)
    } else if is_string(from) && *to != SqlType::Record {
        Some(CoercionContext::Explicit)
    } else {
        None
    }
}

/// Both types are carried by the same values, without change (type modifiers aside).
pub fn is_relabel(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    match (from, to) {
        _ if from == to => true,
        (Text | Varchar | Name, Text | Varchar) | (Text | Varchar, Bpchar) => true,
        (Xid, _) | (_, Xid) => false,
        (Int2Vector, Array(element)) => **element == Int2,
        (OidVector, Array(element)) => **element == Oid,
        (Array(from), Array(to)) => is_relabel(from, to),
        _ => from.is_oid_like() && to.is_oid_like(),
    }
}

impl BoundCast {
    /// The cast from one type to another with its type modifier, if the context permits it.
    pub fn find(from: &ColumnType, to: &ColumnType, context: CoercionContext) -> Option<Self> {
        if allowed(&from.ty, &to.ty)? > context {
            return None;
        }
        let relabel = is_relabel(&from.ty, &to.ty) && to.typmod < 0;
        Some(Self {
            from: from.clone(),
            to: to.clone(),
            explicit: context == CoercionContext::Explicit,
            method: if relabel { Method::Relabel } else { Method::Convert },
        })
    }

    /// The type modifier alone.
    pub fn length(from: &ColumnType, to: &ColumnType, explicit: bool) -> Self {
        Self { from: from.clone(), to: to.clone(), explicit, method: Method::Convert }
    }

    /// Changes no value: an index on the argument also serves the cast.
    pub fn is_relabel(&self) -> bool {
        self.method == Method::Relabel
    }

    pub fn apply(&self, value: Datum, ctx: &EvalContext<'_>) -> EvalResult {
        if value.is_null() || self.method == Method::Relabel {
            return Ok(value);
        }
        let value = if self.from.ty == self.to.ty {
            value
        } else {
            convert(value, &self.from.ty, &self.to.ty, ctx)?
        };
        if self.to.typmod < 0 || value.is_null() {
            return Ok(value);
        }
        Ok(datum::typmod::apply(value, &self.to, self.explicit)?)
    }

    pub fn volatility(&self) -> Volatility {
        use SqlType::*;
        let depends = |ty: &SqlType| {
            matches!(
                ty.element_type().as_ref().unwrap_or(ty),
                Date | Time
                    | Timetz
                    | Timestamp
                    | Timestamptz
                    | Interval
                    | Bytea
                    | Record
                    | Float4
                    | Float8
                    | Regclass
                    | Regtype
                    | Regproc
                    | Regnamespace
                    | Regrole
            )
        };
        match (&self.from.ty, &self.to.ty) {
            (from, to) if from == to || is_relabel(from, to) => Volatility::Immutable,
            (from, to) if from.is_text_like() || to.is_text_like() => {
                if depends(from) || depends(to) {
                    Volatility::Stable
                } else {
                    Volatility::Immutable
                }
            }
            (from, to) if *from == Timestamptz || *to == Timestamptz => Volatility::Stable,
            _ => Volatility::Immutable,
        }
    }
}

/// A type's input function, `regclass` and its kin included (they need the session's catalog).
pub fn parse_input(ty: &ColumnType, text: &str, ctx: &EvalContext<'_>) -> EvalResult {
    use SqlType::*;
    match ty.ty {
        Regclass | Regtype | Regproc | Regnamespace | Regrole => parse_reg(&ty.ty, text, ctx),
        Record => Err(ExprError::unsupported("input of anonymous composite types")),
        _ => Ok(datum::text::parse(ty, text, ctx.types)?),
    }
}

/// A type's output function: what a client sees, and what `||`, `format` and casts to text use.
pub fn output_text(value: &Datum, ty: &SqlType, ctx: &EvalContext<'_>) -> String {
    let mut out = String::new();
    write_output(value, ty, ctx, &mut out);
    out
}

pub fn write_output(value: &Datum, ty: &SqlType, ctx: &EvalContext<'_>, out: &mut String) {
    use SqlType::*;
    match (ty, value) {
        (Regclass | Regtype | Regproc | Regnamespace | Regrole, Datum::Oid(oid)) => {
            match reg_name(ty, *oid, ctx) {
                Some(name) => out.push_str(&name),
                None if *oid == 0 => out.push('-'),
                None => out.push_str(&oid.to_string()),
            }
        }
        (Array(element), Datum::Array(array))
            if element.is_oid_like() && **element != Oid && **element != Xid =>
        {
            let names = array
                .items
                .iter()
                .map(|item| match item {
                    Datum::Null => Datum::Null,
                    item => Datum::from(output_text(item, element, ctx)),
                })
                .collect();
            let named = ArrayValue { element: Text, dims: array.dims.clone(), items: names };
            datum::text::format(
                &Datum::Array(Arc::new(named)),
                &SqlType::array_of(Text),
                ctx.types,
                out,
            );
        }
        _ => datum::text::format(value, ty, ctx.types, out),
    }
}

fn parse_reg(ty: &SqlType, text: &str, ctx: &EvalContext<'_>) -> EvalResult {
    let name = text.trim();
    if name == "-" {
        return Ok(Datum::Oid(0));
    }
    if let Ok(oid) = name.parse::<u32>() {
        return Ok(Datum::Oid(oid));
    }
    let unquoted = || name.trim_matches('"').to_owned();
    let found = match ty {
        SqlType::Regclass => ctx.facts.relation_oid(name).ok_or_else(|| {
            ExprError::new("42P01", format!("relation \"{}\" does not exist", display_name(name)))
        }),
        SqlType::Regtype => type_oid(name, ctx)
            .ok_or_else(|| ExprError::new("42704", format!("type \"{name}\" does not exist"))),
        SqlType::Regproc => crate::registry::functions(
            name.trim_start_matches("pg_catalog.").to_ascii_lowercase().as_str(),
        )
        .first()
        .map(|def| def.oid)
        .ok_or_else(|| ExprError::new("42883", format!("function \"{name}\" does not exist"))),
        SqlType::Regnamespace => ctx.facts.namespace_oid(&unquoted()).ok_or_else(|| {
            ExprError::new("3F000", format!("schema \"{}\" does not exist", unquoted()))
        }),
        _ => ctx.facts.role_oid(&unquoted()).ok_or_else(|| {
            ExprError::new("42704", format!("role \"{}\" does not exist", unquoted()))
        }),
    };
    found.map(Datum::Oid)
}

/// `"A".b` as the message shows it: `A.b`.
fn display_name(name: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    for c in name.chars() {
        match c {
            '"' => quoted = !quoted,
            c if quoted => out.push(c),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}

pub(crate) fn type_oid(name: &str, ctx: &EvalContext<'_>) -> Option<u32> {
    let lower = name.trim().to_ascii_lowercase();
    let plain = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    // A modifier is allowed and ignored: 'numeric(10,2)'::regtype.
    let stripped = match (plain.find('('), plain.find(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", plain[..open].trim_end(), &plain[close + 1..])
        }
        _ => plain.to_owned(),
    };
    let unquoted =
        if stripped == "\"char\"" { stripped.as_str() } else { stripped.trim_matches('"') };
    SqlType::from_name(unquoted)
        .map(|ty| ty.oid())
        .or_else(|| pseudo_type_oid(unquoted))
        .or_else(|| ctx.facts.type_oid(name.trim()))
}

fn pseudo_type_oid(name: &str) -> Option<u32> {
    Some(match name {
        "any" => 2276,
        "anyarray" => 2277,
        "anyelement" => 2283,
        "trigger" => 2279,
        "cstring" => 2275,
        "internal" => 2281,
        _ => return None,
    })
}

pub(crate) fn reg_name(ty: &SqlType, oid: u32, ctx: &EvalContext<'_>) -> Option<String> {
    match ty {
        SqlType::Regclass => ctx.facts.relation_name(oid),
        SqlType::Regtype => {
            SqlType::from_oid(oid).map(|ty| ty.name()).or_else(|| ctx.facts.type_name(oid))
        }
        SqlType::Regproc => crate::registry::all_functions()
            .iter()
            .find(|def| def.oid == oid)
            .map(|def| def.name.to_owned()),
        SqlType::Regnamespace => ctx.facts.namespace_name(oid),
        SqlType::Regrole => ctx.facts.role_name(oid),
        _ => None,
    }
}

fn convert(value: Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    if let (Datum::Array(array), SqlType::Array(element)) = (&value, to) {
        return convert_array(array, from, element, ctx);
    }
    match to {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => to_integer(&value, from, to, ctx),
        SqlType::Float4 | SqlType::Float8 | SqlType::Numeric => to_real(&value, from, to, ctx),
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name | SqlType::Char => {
            to_string_type(value, from, to, ctx)
        }
        SqlType::Date
        | SqlType::Time
        | SqlType::Timetz
        | SqlType::Timestamp
        | SqlType::Timestamptz
        | SqlType::Interval => to_time(&value, from, to, ctx),
        SqlType::Bool => match value {
            Datum::Int4(v) => Ok(Datum::Bool(v != 0)),
            Datum::Jsonb(ref json) => match &**json {
                datum::Jsonb::Bool(v) => Ok(Datum::Bool(*v)),
                other => jsonb_mismatch(other, "boolean"),
            },
            value => read_text(&value, from, to, ctx),
        },
        SqlType::Json => match &value {
            Datum::Jsonb(json) => {
                let mut out = String::new();
                datum::json::format(json, &mut out);
                Ok(Datum::Json(out.into()))
            }
            value => read_text(value, from, to, ctx),
        },
        SqlType::Jsonb => match &value {
            Datum::Json(text) => Ok(Datum::Jsonb(Arc::new(datum::json::parse(text)?))),
            value => read_text(value, from, to, ctx),
        },
        to if to.is_oid_like() => match (&value, value.as_i64()) {
            (Datum::Oid(_), _) => Ok(value),
            // Negative int4 wrap around, as in PostgreSQL; int8 must fit.
            (Datum::Int2(v), _) => Ok(Datum::Oid(i32::from(*v) as u32)),
            (Datum::Int4(v), _) => Ok(Datum::Oid(*v as u32)),
            (_, Some(v)) => u32::try_from(v)
                .map(Datum::Oid)
                .map_err(|_| ExprError::new("22003", "OID out of range")),
            _ => read_text(&value, from, to, ctx),
        },
        to => read_text(&value, from, to, ctx),
    }
}

fn convert_array(
    array: &ArrayValue,
    from: &SqlType,
    element: &SqlType,
    ctx: &EvalContext<'_>,
) -> EvalResult {
    let from = from.element_type().unwrap_or(SqlType::Text);
    let items = array
        .items
        .iter()
        .map(|item| match item {
            Datum::Null => Ok(Datum::Null),
            item if from == *element => Ok(item.clone()),
            item => convert(item.clone(), &from, element, ctx),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Datum::Array(Arc::new(ArrayValue {
        element: element.clone(),
        dims: array.dims.clone(),
        items,
    })))
}

fn to_integer(value: &Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    let wide = match value {
        Datum::Bool(v) => i64::from(*v),
        Datum::Char(v) => i64::from(*v as i8),
        // oid to int4 keeps the bits.
        Datum::Oid(v) if *to == SqlType::Int4 => i64::from(*v as i32),
        Datum::Float4(v) => return round_float(f64::from(*v), to),
        Datum::Float8(v) => return round_float(*v, to),
        Datum::Numeric(v) => return numeric_to_integer(v, to),
        Datum::Jsonb(json) => match &**json {
            datum::Jsonb::Number(v) => return numeric_to_integer(v, to),
            other => return jsonb_mismatch(other, &to.name()),
        },
        value => match value.as_i64() {
            Some(v) => v,
            None => return read_text(value, from, to, ctx),
        },
    };
    integer(wide, to)
}

/// An integer in the width of `to`.
pub(crate) fn integer(wide: i64, to: &SqlType) -> EvalResult {
    match to {
        SqlType::Int2 => {
            i16::try_from(wide).map(Datum::Int2).map_err(|_| ExprError::out_of_range("smallint"))
        }
        SqlType::Int4 => {
            i32::try_from(wide).map(Datum::Int4).map_err(|_| ExprError::out_of_range("integer"))
        }
        _ => Ok(Datum::Int8(wide)),
    }
}

/// Half to even, as C's rint.
fn round_float(v: f64, to: &SqlType) -> EvalResult {
    let rounded = v.round_ties_even();
    let limit = match to {
        SqlType::Int2 => 32_768.0,
        SqlType::Int4 => 2_147_483_648.0,
        _ => 9_223_372_036_854_775_808.0,
    };
    if rounded.is_nan() || rounded < -limit || rounded >= limit {
        return Err(ExprError::out_of_range(&to.name()));
    }
    integer(rounded as i64, to)
}

fn numeric_to_integer(v: &Numeric, to: &SqlType) -> EvalResult {
    Ok(match to {
        SqlType::Int2 => Datum::Int2(v.to_i16()?),
        SqlType::Int4 => Datum::Int4(v.to_i32()?),
        _ => Datum::Int8(v.to_i64()?),
    })
}

fn to_real(value: &Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    if let Datum::Jsonb(json) = value {
        return match &**json {
            datum::Jsonb::Number(v) => to_real(&Datum::Numeric(v.clone()), from, to, ctx),
            other => jsonb_mismatch(other, &to.name()),
        };
    }
    Ok(match to {
        SqlType::Float4 => Datum::Float4(match value {
            Datum::Numeric(v) => v.to_f32()?,
            Datum::Float8(v) => narrow(*v)?,
            Datum::Float4(v) => *v,
            value => match value.as_i64() {
                Some(v) => v as f32,
                None => return read_text(value, from, to, ctx),
            },
        }),
        SqlType::Float8 => Datum::Float8(match value {
            Datum::Numeric(v) => v.to_f64()?,
            Datum::Float8(v) => *v,
            Datum::Float4(v) => f64::from(*v),
            value => match value.as_i64() {
                Some(v) => v as f64,
                None => return read_text(value, from, to, ctx),
            },
        }),
        _ => Datum::Numeric(match value {
            Datum::Numeric(v) => v.clone(),
            Datum::Float8(v) => Numeric::from_f64(*v),
            Datum::Float4(v) => Numeric::from_f32(*v),
            value => match value.as_i64() {
                Some(v) => Numeric::from(v),
                None => return read_text(value, from, to, ctx),
            },
        }),
    })
}

fn narrow(v: f64) -> Result<f32> {
    let narrow = v as f32;
    if narrow.is_infinite() && v.is_finite() {
        return Err(ExprError::new("22003", "value out of range: overflow"));
    }
    if narrow == 0.0 && v != 0.0 {
        return Err(ExprError::new("22003", "value out of range: underflow"));
    }
    Ok(narrow)
}

fn to_string_type(value: Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    let text: Arc<str> = match (value, from) {
        (Datum::Text(text), SqlType::Bpchar) if *to != SqlType::Bpchar => {
            Arc::from(text.trim_end_matches(' '))
        }
        (Datum::Text(text), _) => text,
        // The cast spells it out; the output function is one letter.
        (Datum::Bool(v), _) => Arc::from(if v { "true" } else { "false" }),
        (Datum::Int4(v), _) if *to == SqlType::Char => {
            return match i8::try_from(v) {
                Ok(v) => Ok(Datum::Char(v as u8)),
                Err(_) => Err(ExprError::new("22003", "\"char\" out of range")),
            };
        }
        (value, from) => output_text(&value, from, ctx).into(),
    };
    Ok(match to {
        SqlType::Char => Datum::Char(text.as_bytes().first().copied().unwrap_or(0)),
        SqlType::Name if text.len() > NAME_BYTES_MAX => {
            let mut end = NAME_BYTES_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Datum::text(&text[..end])
        }
        _ => Datum::Text(text),
    })
}

/// `NAMEDATALEN` less one.
const NAME_BYTES_MAX: usize = 63;

fn to_time(value: &Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    let zone = &ctx.types.timezone;
    Ok(match (value, to) {
        (Datum::Date(d), SqlType::Timestamp) => Datum::Timestamp(datetime::date_to_timestamp(*d)?),
        (Datum::Date(d), SqlType::Timestamptz) => {
            Datum::Timestamptz(local_to_utc(datetime::date_to_timestamp(*d)?, ctx))
        }
        (Datum::Timestamp(t), SqlType::Timestamptz) => Datum::Timestamptz(local_to_utc(*t, ctx)),
        (Datum::Timestamptz(t), SqlType::Timestamp) => Datum::Timestamp(utc_to_local(*t, ctx)),
        (Datum::Timestamp(t), SqlType::Date) => Datum::Date(datetime::timestamp_to_date(*t)),
        (Datum::Timestamptz(t), SqlType::Date) => {
            Datum::Date(datetime::timestamp_to_date(utc_to_local(*t, ctx)))
        }
        // The time of an infinite timestamp is null.
        (
            Datum::Timestamp(i64::MIN | i64::MAX) | Datum::Timestamptz(i64::MIN | i64::MAX),
            SqlType::Time | SqlType::Timetz,
        ) => Datum::Null,
        (Datum::Timestamp(t), SqlType::Time) => Datum::Time(t.rem_euclid(DAY)),
        (Datum::Timestamptz(t), SqlType::Time) => {
            Datum::Time(utc_to_local(*t, ctx).rem_euclid(DAY))
        }
        (Datum::Timestamptz(t), SqlType::Timetz) => Datum::Timetz {
            micros: utc_to_local(*t, ctx).rem_euclid(DAY),
            offset: zone.offset_at_utc(*t),
        },
        (Datum::Time(t), SqlType::Interval) => Datum::Interval(datum::Interval::new(0, 0, *t)),
        (Datum::Time(t), SqlType::Timetz) => {
            Datum::Timetz { micros: *t, offset: zone.offset_at_utc(ctx.transaction_timestamp()) }
        }
        (Datum::Timetz { micros, .. }, SqlType::Time) => Datum::Time(*micros),
        (Datum::Interval(i), SqlType::Time) => Datum::Time(i.micros.rem_euclid(DAY)),
        (value, to) => return read_text(value, from, to, ctx),
    })
}

pub(crate) fn is_infinite(timestamp: i64) -> bool {
    timestamp == i64::MIN || timestamp == i64::MAX
}

pub(crate) fn local_to_utc(local: i64, ctx: &EvalContext<'_>) -> i64 {
    if is_infinite(local) { local } else { ctx.types.timezone.to_utc(local) }
}

pub(crate) fn utc_to_local(utc: i64, ctx: &EvalContext<'_>) -> i64 {
    if is_infinite(utc) { utc } else { ctx.types.timezone.to_local(utc) }
}

fn read_text(value: &Datum, from: &SqlType, to: &SqlType, ctx: &EvalContext<'_>) -> EvalResult {
    let to = ColumnType::plain(to.clone());
    match value {
        Datum::Text(text) => parse_input(&to, text, ctx),
        value => parse_input(&to, &output_text(value, from, ctx), ctx),
    }
}

fn jsonb_mismatch(json: &datum::Jsonb, to: &str) -> EvalResult {
    let what = match json {
        datum::Jsonb::Null => "null",
        datum::Jsonb::Bool(_) => "boolean",
        datum::Jsonb::Number(_) => "numeric",
        datum::Jsonb::String(_) => "string",
        datum::Jsonb::Array(_) => "array",
        datum::Jsonb::Object(_) => "object",
    };
    Err(ExprError::invalid_parameter(format!("cannot cast jsonb {what} to type {to}")))
}
