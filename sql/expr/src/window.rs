//! Window functions over one partition whose rows are sorted already. Aggregates in windows are the executor's: it
//! feeds an `Accumulator` with the rows of each frame.

use crate::context::EvalContext;
use crate::error::{ExprError, Result};
use crate::registry::Registry;
use datum::Datum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    FirstValue,
    LastValue,
    NthValue,
}

/// Rows `start..end` of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub start: usize,
    pub end: usize,
}

/// One partition.
pub struct WindowInput<'a> {
    pub rows: usize,
    /// `args[i][row]`: the values of argument i.
    pub args: &'a [Vec<Datum>],
    /// For each row, the rows equal to it in the window's order (itself included).
    pub peers: &'a [Frame],
    /// For each row, its frame after exclusion of nothing; only first, last and nth value look at it.
    pub frames: &'a [Frame],
}

impl WindowFunction {
    /// Whether the frame clause matters.
    pub fn uses_frame(self) -> bool {
        match self {
            Self::FirstValue | Self::LastValue | Self::NthValue => true,
            Self::RowNumber
            | Self::Rank
            | Self::DenseRank
            | Self::PercentRank
            | Self::CumeDist
            | Self::Ntile
            | Self::Lag
            | Self::Lead => false,
        }
    }

    /// One value per row of the partition.
    ///
    /// # Errors
    /// 22014 for a bad argument of ntile, 22016 for one of nth_value.
    pub fn evaluate(self, input: &WindowInput<'_>, _ctx: &EvalContext<'_>) -> Result<Vec<Datum>> {
        let rows = input.rows;
        match self {
            Self::RowNumber => Ok((1..=rows as i64).map(Datum::Int8).collect()),
            Self::Rank => Ok(input.peers.iter().map(|p| Datum::Int8(p.start as i64 + 1)).collect()),
            Self::DenseRank => Ok(dense_rank(input)),
            Self::PercentRank => Ok(input
                .peers
                .iter()
                .map(|p| if rows < 2 { 0.0 } else { p.start as f64 / (rows - 1) as f64 })
                .map(Datum::Float8)
                .collect()),
            Self::CumeDist => {
                Ok(input.peers.iter().map(|p| Datum::Float8(p.end as f64 / rows as f64)).collect())
            }
            Self::Ntile => ntile(input),
            Self::Lag => Ok(shifted(input, -1)),
            Self::Lead => Ok(shifted(input, 1)),
            Self::FirstValue => Ok(framed(input, |frame| Some(frame.start))),
            Self::LastValue => Ok(framed(input, |frame| frame.end.checked_sub(1))),
            Self::NthValue => nth_value(input),
        }
    }
}

fn dense_rank(input: &WindowInput<'_>) -> Vec<Datum> {
    let mut rank = 0;
    let mut last = None;
    input
        .peers
        .iter()
        .map(|peers| {
            if last != Some(peers.start) {
                rank += 1;
                last = Some(peers.start);
            }
            Datum::Int8(rank)
        })
        .collect()
}

/// The first `rows % buckets` buckets have one row more.
fn ntile(input: &WindowInput<'_>) -> Result<Vec<Datum>> {
    let Some(buckets) = argument(input, 0, 0).as_i64() else {
        return Ok(vec![Datum::Null; input.rows]);
    };
    if buckets <= 0 {
        return Err(ExprError::new("22014", "argument of ntile must be greater than zero"));
    }
    let (rows, buckets) = (input.rows as i64, buckets);
    let (size, larger) = (rows / buckets, rows % buckets);
    Ok((0..rows)
        .map(|row| {
            let boundary = larger * (size + 1);
            let bucket = if row < boundary {
                row / (size + 1)
            } else {
                larger + (row - boundary) / size.max(1)
            };
            Datum::Int4(bucket as i32 + 1)
        })
        .collect())
}

fn shifted(input: &WindowInput<'_>, direction: i64) -> Vec<Datum> {
    (0..input.rows)
        .map(|row| {
            let offset = match input.args.get(1) {
                None => Some(1),
                Some(offsets) => offsets[row].as_i64(),
            };
            let Some(offset) = offset else { return Datum::Null };
            let at = row as i64 + direction * offset;
            match usize::try_from(at).ok().and_then(|at| input.args[0].get(at)) {
                Some(value) => value.clone(),
                None => input.args.get(2).map_or(Datum::Null, |defaults| defaults[row].clone()),
            }
        })
        .collect()
}

fn framed(input: &WindowInput<'_>, pick: impl Fn(&Frame) -> Option<usize>) -> Vec<Datum> {
    input
        .frames
        .iter()
        .map(|frame| {
            let at = if frame.start < frame.end { pick(frame) } else { None };
            at.map_or(Datum::Null, |at| argument(input, 0, at))
        })
        .collect()
}

fn nth_value(input: &WindowInput<'_>) -> Result<Vec<Datum>> {
    (0..input.rows)
        .map(|row| {
            let Some(n) = argument(input, 1, row).as_i64() else { return Ok(Datum::Null) };
            if n <= 0 {
                return Err(ExprError::new(
                    "22016",
                    "argument of nth_value must be greater than zero",
                ));
            }
            let frame = input.frames[row];
            let at = frame.start + n as usize - 1;
            Ok(if at < frame.end { argument(input, 0, at) } else { Datum::Null })
        })
        .collect()
}

fn argument(input: &WindowInput<'_>, index: usize, row: usize) -> Datum {
    input.args.get(index).and_then(|values| values.get(row)).cloned().unwrap_or_default()
}

pub(crate) fn register(r: &mut Registry) {
    r.window("row_number() int8", WindowFunction::RowNumber);
    r.window("rank() int8", WindowFunction::Rank);
    r.window("dense_rank() int8", WindowFunction::DenseRank);
    r.window("percent_rank() float8", WindowFunction::PercentRank);
    r.window("cume_dist() float8", WindowFunction::CumeDist);
    r.window("ntile(int4) int4", WindowFunction::Ntile);
    for signature in [
        "lag(anyelement) anyelement",
        "lag(anyelement, int4) anyelement",
        "lag(anycompatible, int4, anycompatible) anycompatible",
    ] {
        r.window(signature, WindowFunction::Lag);
    }
    for signature in [
        "lead(anyelement) anyelement",
        "lead(anyelement, int4) anyelement",
        "lead(anycompatible, int4, anycompatible) anycompatible",
    ] {
        r.window(signature, WindowFunction::Lead);
    }
    r.window("first_value(anyelement) anyelement", WindowFunction::FirstValue);
    r.window("last_value(anyelement) anyelement", WindowFunction::LastValue);
    r.window("nth_value(anyelement, int4) anyelement", WindowFunction::NthValue);
}
