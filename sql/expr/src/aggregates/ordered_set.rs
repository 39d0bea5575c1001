//! percentile_cont, percentile_disc, mode, and the hypothetical-set ranks' absence. Rows come sorted by WITHIN GROUP's
//! order; arguments are the direct ones, then the sort key.

use super::{Accumulator, same};
use crate::context::EvalContext;
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{FunctionKind, Registry};
use datum::{Datum, Interval, SqlType};

pub(super) fn register(r: &mut Registry) {
    for signature in [
        "percentile_cont(float8, float8) float8",
        "percentile_cont(float8, interval) interval",
        "percentile_cont(float8[], float8) float8[]",
        "percentile_cont(float8[], interval) interval[]",
    ] {
        ordered_set(
            r.aggregate(signature, |bound| Box::new(Sorted::new(bound, Kind::Continuous))),
            1,
        );
    }
    for signature in [
        "percentile_disc(float8, anyelement) anyelement",
        "percentile_disc(float8[], anyelement) anyarray",
    ] {
        ordered_set(
            r.aggregate(signature, |bound| Box::new(Sorted::new(bound, Kind::Discrete))),
            1,
        );
    }
    ordered_set(
        r.aggregate("mode(anyelement) anyelement", |bound| {
            Box::new(Sorted::new(bound, Kind::Mode))
        }),
        0,
    );
}

fn ordered_set(def: &mut crate::registry::FunctionDef, direct: usize) {
    if let FunctionKind::Aggregate(aggregate) = &mut def.kind {
        aggregate.ordered_set_direct = Some(direct);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Continuous,
    Discrete,
    Mode,
}

struct Sorted {
    kind: Kind,
    fraction: Datum,
    values: Vec<Datum>,
    result: SqlType,
}

impl Sorted {
    fn new(bound: &crate::BoundFunction, kind: Kind) -> Self {
        Self { kind, fraction: Datum::Null, values: Vec::new(), result: bound.ty.ty.clone() }
    }

    fn at(&self, fraction: f64) -> EvalResult {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(ExprError::new(
                "22003",
                format!("percentile value {fraction} is not between 0 and 1"),
            ));
        }
        let count = self.values.len();
        if self.kind == Kind::Discrete {
            let row = (fraction * count as f64).ceil() as usize;
            return Ok(self.values[row.max(1) - 1].clone());
        }
        let place = fraction * (count - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        if low == high {
            return Ok(self.values[low].clone());
        }
        between(&self.values[low], &self.values[high], place - place.floor())
    }

    /// The first of the most frequent values.
    fn mode(&self) -> Datum {
        let mut best: Option<(usize, &Datum)> = None;
        let mut start = 0;
        while start < self.values.len() {
            let value = &self.values[start];
            let run = self.values[start..].iter().take_while(|other| *other == value).count();
            if best.is_none_or(|(most, _)| run > most) {
                best = Some((run, value));
            }
            start += run;
        }
        best.map_or(Datum::Null, |(_, value)| value.clone())
    }
}

fn between(low: &Datum, high: &Datum, share: f64) -> EvalResult {
    match (low, high) {
        (Datum::Float8(low), Datum::Float8(high)) => Ok(Datum::Float8(low + share * (high - low))),
        (Datum::Interval(low), Datum::Interval(high)) => {
            let step: Interval = high.checked_sub(*low)?.checked_mul(share)?;
            Ok(Datum::Interval(low.checked_add(step)?))
        }
        _ => Err(ExprError::internal("percentile_cont over a type without distance")),
    }
}

impl Accumulator for Sorted {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let Some((value, direct)) = args.split_last() else { return Ok(()) };
        if let Some(fraction) = direct.first() {
            self.fraction = fraction.clone();
        }
        if !value.is_null() {
            self.values.push(value.clone());
        }
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        self.values.extend(same::<Self>(other)?.values);
        self.values.sort();
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        if self.kind == Kind::Mode {
            return Ok(self.mode());
        }
        match &self.fraction {
            Datum::Float8(fraction) => self.at(*fraction),
            Datum::Array(fractions) => {
                let items = fractions
                    .items
                    .iter()
                    .map(|fraction| match fraction {
                        Datum::Float8(fraction) => self.at(*fraction),
                        _ => Ok(Datum::Null),
                    })
                    .collect::<Result<_>>()?;
                let element = self.result.element_type().unwrap_or(SqlType::Float8);
                Ok(Datum::array(element, items))
            }
            _ => Ok(Datum::Null),
        }
    }

    fn size_bytes(&self) -> usize {
        64 + self.values.iter().map(Datum::size_bytes).sum::<usize>()
    }
}
