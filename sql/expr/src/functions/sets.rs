//! Functions that yield rows: generate_series, generate_subscripts, unnest, string_to_table.

use super::arrays::string_parts;
use crate::args::{array, int4, interval, mismatch, numeric, timestamp, timestamptz};
use crate::error::{ExprError, Result};
use crate::registry::{Invocation, Registry, Volatility};
use datum::datetime;
use datum::{Datum, Interval, Numeric, SqlType};

type Rows = Result<Vec<Vec<Datum>>>;

/// Most rows of one call, since they are made at once.
const ROWS_MAX: usize = 10_000_000;

pub(super) fn register(r: &mut Registry) {
    for signature in [
        "generate_series(int4, int4) int4",
        "generate_series(int4, int4, int4) int4",
        "generate_series(int8, int8) int8",
        "generate_series(int8, int8, int8) int8",
    ] {
        r.set(signature, integers);
    }
    for signature in [
        "generate_series(numeric, numeric) numeric",
        "generate_series(numeric, numeric, numeric) numeric",
    ] {
        r.set(signature, numerics);
    }
    r.set("generate_series(timestamp, timestamp, interval) timestamp", |args, _| {
        let step = interval(args, 2)?;
        series(timestamp(args, 0)?, timestamp(args, 1)?, step, Datum::Timestamp, |t| {
            Ok(datetime::timestamp_add(t, step)?)
        })
    });
    r.volatility(Volatility::Stable);
    r.set("generate_series(timestamptz, timestamptz, interval) timestamptz", |args, call| {
        let (step, zone) = (interval(args, 2)?, &call.ctx.types.timezone);
        series(timestamptz(args, 0)?, timestamptz(args, 1)?, step, Datum::Timestamptz, |t| {
            Ok(datetime::timestamptz_add(t, step, zone)?)
        })
    });
    r.volatility(Volatility::Immutable);
    for signature in [
        "generate_subscripts(anyarray, int4) int4",
        "generate_subscripts(anyarray, int4, bool) int4",
    ] {
        r.set(signature, |args, _| {
            let value = array(args, 0)?;
            let at = usize::try_from(i64::from(int4(args, 1)?) - 1).ok();
            let Some(dim) = at.and_then(|at| value.dims.get(at)) else { return Ok(Vec::new()) };
            check_rows(dim.length as usize)?;
            let mut subscripts: Vec<i32> = (dim.lower..dim.lower + dim.length).collect();
            if args.get(2) == Some(&Datum::Bool(true)) {
                subscripts.reverse();
            }
            Ok(subscripts.into_iter().map(|at| vec![Datum::Int4(at)]).collect())
        });
    }
    r.set("unnest(anyarray) anyelement", |args, _| {
        one_column(array(args, 0)?.items.iter().cloned())
    });
    for signature in ["string_to_table(text, text) text", "string_to_table(text, text, text) text"]
    {
        r.set(signature, |args, _| {
            one_column(string_parts(args)?.unwrap_or_default().into_iter())
        })
        .strict = false;
    }
    r.set_of("_pg_expandarray(anyarray) record", "x anyelement, n int4", |args, _| {
        let value = array(args, 0)?;
        check_rows(value.len())?;
        let lower = value.dims.first().map_or(1, |dim| dim.lower);
        Ok(value
            .items
            .iter()
            .enumerate()
            .map(|(at, item)| vec![item.clone(), Datum::Int4(at as i32 + lower)])
            .collect())
    });
}

fn zero_step() -> ExprError {
    ExprError::invalid_parameter("step size cannot equal zero")
}

/// Rows of one value.
pub(super) fn one_column(items: impl ExactSizeIterator<Item = Datum>) -> Rows {
    check_rows(items.len())?;
    Ok(items.map(|item| vec![item]).collect())
}

/// # Errors
/// 54000 beyond [`ROWS_MAX`].
pub(super) fn check_rows(count: usize) -> Result<()> {
    if count > ROWS_MAX { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> ExprError {
    ExprError::new("54000", format!("a set of more than {ROWS_MAX} rows"))
}

fn integers(args: &[Datum], call: &Invocation<'_>) -> Rows {
    let mut rows = Vec::new();
    for value in Integers::new(args, call.result_type())? {
        rows.push(vec![value?]);
        if rows.len() > ROWS_MAX {
            return Err(too_many());
        }
    }
    Ok(rows)
}

/// The numbers of an integer `generate_series`, one at a time.
#[derive(Clone, Debug)]
pub struct Integers {
    next: Option<i64>,
    stop: i64,
    step: i64,
    ty: SqlType,
}

impl Integers {
    /// `args` as the function has them, none NULL; `ty`: its result type.
    ///
    /// # Errors
    /// 22023 if the step is zero.
    pub fn new(args: &[Datum], ty: &SqlType) -> Result<Self> {
        let step = match args.get(2) {
            Some(step) => step.as_i64(),
            None => Some(1),
        };
        let (Some(start), Some(stop), Some(step)) = (args[0].as_i64(), args[1].as_i64(), step)
        else {
            return mismatch(args);
        };
        if step == 0 {
            return Err(zero_step());
        }
        Ok(Self { next: Some(start), stop, step, ty: ty.clone() })
    }
}

impl Iterator for Integers {
    type Item = Result<Datum>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next?;
        if if self.step > 0 { at > self.stop } else { at < self.stop } {
            self.next = None;
            return None;
        }
        self.next = at.checked_add(self.step);
        Some(crate::cast::integer(at, &self.ty))
    }
}

fn numerics(args: &[Datum], _: &Invocation<'_>) -> Rows {
    let one = Numeric::ONE;
    let (start, stop) = (numeric(args, 0)?, numeric(args, 1)?);
    let step = if args.len() > 2 { numeric(args, 2)? } else { &one };
    for (value, what) in [(start, "start"), (stop, "stop"), (step, "step")] {
        if !value.is_finite() {
            let noun = if what == "step" { "step size" } else { what };
            let which = if value.is_nan() { "NaN" } else { "infinity" };
            let value = if what == "step" { noun.to_owned() } else { format!("{noun} value") };
            return Err(ExprError::invalid_parameter(format!("{value} cannot be {which}")));
        }
    }
    if step.is_zero() {
        return Err(zero_step());
    }
    let mut rows = Vec::new();
    let mut at = start.clone();
    while if step.is_negative() { at >= *stop } else { at <= *stop } {
        rows.push(vec![Datum::Numeric(at.clone())]);
        if rows.len() > ROWS_MAX {
            return Err(too_many());
        }
        at = at.add(step);
    }
    Ok(rows)
}

fn series(
    start: i64,
    stop: i64,
    step: Interval,
    wrap: fn(i64) -> Datum,
    next: impl Fn(i64) -> Result<i64>,
) -> Rows {
    let direction = step.span_micros().signum();
    if direction == 0 {
        return Err(zero_step());
    }
    let mut rows = Vec::new();
    let mut at = start;
    while if direction > 0 { at <= stop } else { at >= stop } {
        rows.push(vec![wrap(at)]);
        if rows.len() > ROWS_MAX {
            return Err(too_many());
        }
        if datetime::is_timestamp_infinite(at) {
            break;
        }
        at = next(at)?;
    }
    Ok(rows)
}
