//! Variance, deviation, correlation, regression: over numerics exactly, over floats by Youngs and Cramer.

use super::{Accumulator, first, same};
use crate::context::EvalContext;
use crate::error::{EvalResult, Result};
use crate::registry::Registry;
use datum::{Datum, Numeric};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
}

pub(super) fn register(r: &mut Registry) {
    macro_rules! spread {
        ($name:literal, $kind:ident) => {
            for signature in [
                concat!($name, "(int2) numeric"),
                concat!($name, "(int4) numeric"),
                concat!($name, "(int8) numeric"),
                concat!($name, "(numeric) numeric"),
            ] {
                r.aggregate(signature, |_| Box::new(Exact::new(Spread::$kind)));
            }
            for signature in [concat!($name, "(float4) float8"), concat!($name, "(float8) float8")]
            {
                r.aggregate(signature, |_| Box::new(Float::new(Spread::$kind)));
            }
        };
    }
    spread!("variance", VarSamp);
    spread!("var_samp", VarSamp);
    spread!("var_pop", VarPop);
    spread!("stddev", StddevSamp);
    spread!("stddev_samp", StddevSamp);
    spread!("stddev_pop", StddevPop);
    macro_rules! pairs {
        ($($name:literal => $result:expr),* $(,)?) => {
            $(r.aggregate(concat!($name, "(float8, float8) float8"), |_| {
                Box::new(Pairs { result: $result, ..Pairs::default() })
            });)*
        };
    }
    pairs! {
        "corr" => |s| {
            if s.sxx == 0.0 || s.syy == 0.0 { return None; }
            Some(s.sxy / (s.sxx * s.syy).sqrt())
        },
        "covar_pop" => |s| Some(s.sxy / s.n),
        "covar_samp" => |s| (s.n >= 2.0).then(|| s.sxy / (s.n - 1.0)),
        "regr_avgx" => |s| Some(s.mean_x),
        "regr_avgy" => |s| Some(s.mean_y),
        "regr_sxx" => |s| Some(s.sxx),
        "regr_syy" => |s| Some(s.syy),
        "regr_sxy" => |s| Some(s.sxy),
        "regr_slope" => |s| (s.sxx != 0.0).then(|| s.sxy / s.sxx),
        "regr_intercept" => |s| {
            (s.sxx != 0.0).then(|| s.mean_y - s.mean_x * s.sxy / s.sxx)
        },
        "regr_r2" => |s| {
            if s.sxx == 0.0 { return None; }
            if s.syy == 0.0 { return Some(1.0); }
            Some(s.sxy * s.sxy / (s.sxx * s.syy))
        },
    }
    r.aggregate("regr_count(float8, float8) int8", |_| Box::new(PairCount(0)));
}

/// Sums of values and of squares, exact.
struct Exact {
    kind: Spread,
    count: i64,
    sum: Numeric,
    squares: Numeric,
}

impl Exact {
    fn new(kind: Spread) -> Self {
        Self { kind, count: 0, sum: Numeric::ZERO, squares: Numeric::ZERO }
    }
}

impl Accumulator for Exact {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let value = match first(args) {
            Datum::Numeric(value) => value.clone(),
            other => match other.as_i64() {
                Some(value) => Numeric::from(value),
                None => return Ok(()),
            },
        };
        self.count += 1;
        self.squares = self.squares.add(&value.mul(&value)?);
        self.sum = self.sum.add(&value);
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        self.count += other.count;
        self.sum = self.sum.add(&other.sum);
        self.squares = self.squares.add(&other.squares);
        Ok(())
    }

    /// (N × Σx² − (Σx)²) / N², or / N × (N − 1).
    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        let sample = matches!(self.kind, Spread::VarSamp | Spread::StddevSamp);
        if self.count == 0 || (sample && self.count < 2) {
            return Ok(Datum::Null);
        }
        if !self.sum.is_finite() {
            return Ok(Datum::Numeric(Numeric::NAN));
        }
        let n = Numeric::from(self.count);
        let numerator = n.mul(&self.squares)?.sub(&self.sum.mul(&self.sum)?);
        if numerator.is_negative() || numerator.is_zero() {
            return Ok(Datum::Numeric(Numeric::ZERO));
        }
        let below = if sample { Numeric::from(self.count - 1) } else { n.clone() };
        let variance = numerator.div(&n.mul(&below)?)?;
        Ok(Datum::Numeric(match self.kind {
            Spread::VarPop | Spread::VarSamp => variance,
            Spread::StddevPop | Spread::StddevSamp => variance.sqrt()?,
        }))
    }
}

struct Float {
    kind: Spread,
    n: f64,
    sum: f64,
    sxx: f64,
}

impl Float {
    fn new(kind: Spread) -> Self {
        Self { kind, n: 0.0, sum: 0.0, sxx: 0.0 }
    }
}

impl Accumulator for Float {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let Some(value) = first(args).as_f64() else { return Ok(()) };
        let before = self.n;
        self.n += 1.0;
        self.sum += value;
        if before > 0.0 {
            let difference = value * self.n - self.sum;
            self.sxx += difference * difference / (self.n * before);
        } else if !value.is_finite() {
            self.sxx = f64::NAN;
        }
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            (self.n, self.sum, self.sxx) = (other.n, other.sum, other.sxx);
            return Ok(());
        }
        let n = self.n + other.n;
        let difference = self.sum / self.n - other.sum / other.n;
        self.sxx += other.sxx + self.n * other.n * difference * difference / n;
        self.sum += other.sum;
        self.n = n;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        let sample = matches!(self.kind, Spread::VarSamp | Spread::StddevSamp);
        if self.n == 0.0 || (sample && self.n < 2.0) {
            return Ok(Datum::Null);
        }
        let variance = self.sxx / if sample { self.n - 1.0 } else { self.n };
        Ok(Datum::Float8(match self.kind {
            Spread::VarPop | Spread::VarSamp => variance,
            Spread::StddevPop | Spread::StddevSamp => variance.sqrt(),
        }))
    }
}

/// Running means and sums of squared deviations of (y, x).
#[derive(Clone)]
struct Pairs {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    sxx: f64,
    syy: f64,
    sxy: f64,
    result: fn(&Pairs) -> Option<f64>,
}

impl Default for Pairs {
    fn default() -> Self {
        Self { n: 0.0, mean_x: 0.0, mean_y: 0.0, sxx: 0.0, syy: 0.0, sxy: 0.0, result: |_| None }
    }
}

impl Accumulator for Pairs {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        let [Datum::Float8(y), Datum::Float8(x)] = args else { return Ok(()) };
        self.n += 1.0;
        let (dx, dy) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += dx / self.n;
        self.mean_y += dy / self.n;
        self.sxx += dx * (x - self.mean_x);
        self.syy += dy * (y - self.mean_y);
        self.sxy += dx * (y - self.mean_y);
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        let other = same::<Self>(other)?;
        if other.n == 0.0 {
            return Ok(());
        }
        let n = self.n + other.n;
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = self.n * other.n / n;
        self.sxx += other.sxx + dx * dx * weight;
        self.syy += other.syy + dy * dy * weight;
        self.sxy += other.sxy + dx * dy * weight;
        self.mean_x += dx * other.n / n;
        self.mean_y += dy * other.n / n;
        self.n = n;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        if self.n == 0.0 {
            return Ok(Datum::Null);
        }
        Ok((self.result)(self).map_or(Datum::Null, Datum::Float8))
    }
}

struct PairCount(i64);

impl Accumulator for PairCount {
    fn update(&mut self, args: &[Datum], _: &EvalContext<'_>) -> Result<()> {
        self.0 += i64::from(args.iter().all(|arg| !arg.is_null()));
        Ok(())
    }

    fn merge(&mut self, other: Box<dyn Accumulator>) -> Result<()> {
        self.0 += same::<Self>(other)?.0;
        Ok(())
    }

    fn finish(&self, _: &EvalContext<'_>) -> EvalResult {
        Ok(Datum::Int8(self.0))
    }
}
