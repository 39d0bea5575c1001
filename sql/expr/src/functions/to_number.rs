//! `to_char` of numbers and `to_number`: one template language, printed and read.

use crate::args::{mismatch, text};
use crate::error::{EvalResult, ExprError, Result};
use crate::registry::{Invocation, Registry};
use datum::{Datum, Numeric};
use std::str::FromStr;

pub(super) fn register(r: &mut Registry) {
    for signature in [
        "to_char(int4, text) text",
        "to_char(int8, text) text",
        "to_char(numeric, text) text",
        "to_char(float4, text) text",
        "to_char(float8, text) text",
    ] {
        r.strict(signature, print);
    }
    r.strict("to_number(text, text) numeric", |args, _| read(text(args, 0)?, text(args, 1)?));
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// `9` or `0`.
    Digit {
        zero: bool,
    },
    Point,
    Group,
    Literal(String),
    /// `S`, `MI`, `PL`, `SG` where they stand.
    Sign(&'static str),
    Currency,
    Ordinal {
        upper: bool,
    },
}

#[derive(Default)]
struct Template {
    marks: Vec<Mark>,
    fill: bool,
    brackets: bool,
    roman: bool,
    scientific: bool,
    /// Digits of a factor of ten (`V`).
    shift: usize,
    integer_digits: usize,
    fraction_digits: usize,
}

fn parse(template: &str) -> Result<Template> {
    let mut parsed = Template { fill: true, ..Template::default() };
    let mut rest = template;
    let (mut after_point, mut after_shift) = (false, false);
    while !rest.is_empty() {
        let upper: String = rest.chars().take(4).collect::<String>().to_ascii_uppercase();
        let mut take;
        if upper.starts_with("FM") {
            parsed.fill = false;
            take = 2;
        } else if upper.starts_with("PR") {
            parsed.brackets = true;
            take = 2;
        } else if upper.starts_with("MI") || upper.starts_with("PL") || upper.starts_with("SG") {
            let sign = match &upper[..2] {
                "MI" => "MI",
                "PL" => "PL",
                _ => "SG",
            };
            parsed.marks.push(Mark::Sign(sign));
            take = 2;
        } else if upper.starts_with("TH") {
            parsed.marks.push(Mark::Ordinal { upper: rest.starts_with('T') });
            take = 2;
        } else if upper.starts_with("RN") {
            parsed.roman = true;
            take = 2;
        } else if upper.starts_with("EEEE") {
            parsed.scientific = true;
            take = 4;
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            take = c.len_utf8();
            match c {
                '9' | '0' => {
                    if after_shift {
                        parsed.shift += 1;
                        parsed.integer_digits += 1;
                    } else if after_point {
                        parsed.fraction_digits += 1;
                    } else {
                        parsed.integer_digits += 1;
                    }
                    parsed.marks.push(Mark::Digit { zero: c == '0' });
                }
                '.' | 'D' | 'd' => {
                    if after_point {
                        return Err(ExprError::new("42601", "multiple decimal points"));
                    }
                    after_point = true;
                    parsed.marks.push(Mark::Point);
                }
                ',' | 'G' | 'g' => parsed.marks.push(Mark::Group),
                'S' | 's' => parsed.marks.push(Mark::Sign("S")),
                'L' | 'l' => parsed.marks.push(Mark::Currency),
                'V' | 'v' => after_shift = true,
                '"' => {
                    let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
                    let inner = rest[1..end].trim_end_matches('"');
                    parsed.marks.push(Mark::Literal(inner.to_owned()));
                    take = end;
                }
                c => parsed.marks.push(Mark::Literal(c.to_string())),
            }
        }
        rest = &rest[take..];
    }
    Ok(parsed)
}

fn print(args: &[Datum], _: &Invocation<'_>) -> EvalResult {
    let template = parse(text(args, 1)?)?;
    let mut special = None;
    let value = match &args[0] {
        Datum::Numeric(value) => value.clone(),
        Datum::Float4(value) => Numeric::from_f32(*value),
        Datum::Float8(value) => Numeric::from_f64(*value),
        value => match value.as_i64() {
            Some(value) => Numeric::from(value),
            None => return mismatch(args),
        },
    };
    if !value.is_finite() {
        special = Some(value.to_string());
    }
    if template.roman {
        return Ok(roman(&value, template.fill).into());
    }
    if template.scientific {
        return Ok(scientific(&value, &template).into());
    }
    let mut value = value;
    if template.shift > 0 && value.is_finite() {
        let factor = Numeric::from_bigint(datum::numeric::pow10(template.shift as u32), 0);
        value = value.mul(&factor)?;
    }
    let rounded =
        if value.is_finite() { value.round(template.fraction_digits as i32) } else { value };
    let negative = rounded.is_negative();
    let digits = special.unwrap_or_else(|| rounded.abs().to_string());
    let (integer, fraction) = match digits.split_once('.') {
        Some((integer, fraction)) => (integer.to_owned(), fraction.to_owned()),
        None => (digits, String::new()),
    };
    Ok(lay_out(&template, negative, &integer, &fraction).into())
}

/// Puts the digits into their places: blanks before the first, `#` where they do not fit.
fn lay_out(template: &Template, negative: bool, integer: &str, fraction: &str) -> String {
    // A zero before the point shows only where a 0, or the last 9 of a template without fraction, is.
    let significant =
        if integer == "0" && template.fraction_digits > 0 && template.integer_digits > 0 {
            ""
        } else {
            integer
        };
    let overflow =
        significant.len() > template.integer_digits || !integer.chars().all(|c| c.is_ascii_digit());
    let first_zero = template
        .marks
        .iter()
        .take_while(|mark| **mark != Mark::Point)
        .filter(|mark| matches!(mark, Mark::Digit { .. }))
        .position(|mark| *mark == Mark::Digit { zero: true });
    let mut places: Vec<Option<char>> = vec![None; template.integer_digits];
    if !overflow {
        let offset = template.integer_digits - significant.len();
        for (index, c) in significant.chars().enumerate() {
            places[offset + index] = Some(c);
        }
        if let Some(first) = first_zero {
            for place in &mut places[first..] {
                place.get_or_insert('0');
            }
        }
        // "9.9" of 0.5 is " .5", but "9" of 0 is "0", and FM90.9 keeps its zero.
        if let Some(last) = places.last_mut()
            && template.fraction_digits == 0
        {
            last.get_or_insert('0');
        }
    }
    let explicit_sign = template.marks.iter().any(|mark| matches!(mark, Mark::Sign(_)));
    let anchored = template.marks.iter().position(|mark| *mark == Mark::Sign("S"));
    let leading_s = anchored.is_some_and(|at| {
        template.marks[at..].iter().any(|mark| matches!(mark, Mark::Digit { .. }))
    });
    let mut out = String::new();
    let mut body = String::new();
    let (mut place, mut fraction_at, mut in_fraction, mut started) = (0, 0, false, false);
    let fraction_digits: Vec<char> = fraction.chars().collect();
    let last_significant = fraction_digits.iter().rposition(|c| *c != '0').map_or(0, |at| at + 1);
    let mut fraction_marks = 0;
    for mark in &template.marks {
        match mark {
            Mark::Digit { zero } if in_fraction => {
                fraction_marks += 1;
                let c = fraction_digits.get(fraction_at).copied().unwrap_or('0');
                fraction_at += 1;
                // FM drops trailing zeros where the template has 9.
                if overflow {
                    body.push('#');
                } else if template.fill
                    || *zero
                    || fraction_marks <= last_significant
                    || later_zero(template, fraction_marks)
                {
                    body.push(c);
                }
            }
            Mark::Digit { .. } => {
                let c = if overflow { Some('#') } else { places[place] };
                place += 1;
                match c {
                    Some(c) => {
                        if !started {
                            started = true;
                            sign_before(template, negative, explicit_sign, leading_s, &mut body);
                        }
                        body.push(c);
                    }
                    None if template.fill => body.push(' '),
                    None => {}
                }
            }
            Mark::Point => {
                in_fraction = true;
                if !started {
                    started = true;
                    sign_before(template, negative, explicit_sign, leading_s, &mut body);
                }
                body.push('.');
            }
            Mark::Group => match started {
                true => body.push(','),
                false if template.fill => body.push(' '),
                false => {}
            },
            Mark::Literal(literal) => body.push_str(literal),
            Mark::Currency => body.push_str(if template.fill { " " } else { "" }),
            Mark::Sign("S") => {
                if !leading_s {
                    body.push(if negative { '-' } else { '+' });
                }
            }
            Mark::Sign("MI") => match negative {
                true => body.push('-'),
                false if template.fill => body.push(' '),
                false => {}
            },
            Mark::Sign("PL") => match negative {
                false => body.push('+'),
                true if template.fill => body.push(' '),
                true => {}
            },
            Mark::Sign(_) => body.push(if negative { '-' } else { '+' }),
            Mark::Ordinal { upper } => {
                if !negative && !in_fraction {
                    body.push_str(ordinal(integer, *upper));
                }
            }
        }
    }
    if !template.brackets && !explicit_sign && template.fill && !negative {
        out.push(' ');
    }
    if template.brackets && template.fill && !negative {
        out.push(' ');
    }
    out.push_str(&body);
    if template.brackets {
        out.push_str(match (negative, template.fill) {
            (true, _) => ">",
            (false, true) => " ",
            (false, false) => "",
        });
    }
    out
}

/// A 0 in the template further right keeps the zeros before it.
fn later_zero(template: &Template, mark: usize) -> bool {
    template
        .marks
        .iter()
        .skip_while(|own| **own != Mark::Point)
        .filter(|own| matches!(own, Mark::Digit { .. }))
        .skip(mark)
        .any(|own| *own == Mark::Digit { zero: true })
}

/// The sign that clings to the first digit.
fn sign_before(
    template: &Template,
    negative: bool,
    explicit: bool,
    leading_s: bool,
    body: &mut String,
) {
    let sign = match (template.brackets, leading_s, negative) {
        (true, _, true) => "<",
        (false, true, true) => "-",
        (false, true, false) => "+",
        (false, false, true) if !explicit => "-",
        _ => "",
    };
    body.push_str(sign);
}

fn ordinal(integer: &str, upper: bool) -> &'static str {
    let teens = integer.len() >= 2 && integer.as_bytes()[integer.len() - 2] == b'1';
    let suffix = match integer.as_bytes().last() {
        Some(b'1') if !teens => ("st", "ST"),
        Some(b'2') if !teens => ("nd", "ND"),
        Some(b'3') if !teens => ("rd", "RD"),
        _ => ("th", "TH"),
    };
    if upper { suffix.1 } else { suffix.0 }
}

fn scientific(value: &Numeric, template: &Template) -> String {
    let digits = template.fraction_digits;
    let text = format!("{:.digits$e}", value.to_f64_lossy());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let blank = if value.is_negative() || !template.fill { "" } else { " " };
    format!("{blank}{mantissa}e{sign}{:02}", exponent.abs())
}

fn roman(value: &Numeric, fill: bool) -> String {
    let Ok(mut n) = value.round(0).to_i32() else { return "#".repeat(15) };
    if !(1..=3999).contains(&n) {
        return "#".repeat(15);
    }
    let table = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut out = String::new();
    for (worth, letters) in table {
        while n >= worth {
            out.push_str(letters);
            n -= worth;
        }
    }
    if fill { format!("{out:>15}") } else { out }
}

/// Takes the digits, the point and the sign out of the text; the template only says where the point may be.
fn read(input: &str, template: &str) -> EvalResult {
    let template = parse(template)?;
    let mut digits = String::new();
    let mut negative = false;
    let (mut integer, mut point) = (0, false);
    for c in input.chars() {
        match c {
            '0'..='9' if point => digits.push(c),
            '0'..='9' if integer < template.integer_digits.max(1) => {
                integer += 1;
                digits.push(c);
            }
            '.' if template.fraction_digits > 0 && !point => {
                point = true;
                digits.push('.');
            }
            '-' => negative = true,
            '<' if template.brackets => negative = true,
            _ => {}
        }
    }
    if digits.trim_end_matches('.').is_empty() {
        return Err(ExprError::new(
            "22P02",
            format!(
                "invalid input syntax for type numeric: \"{}\"",
                input.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
            ),
        ));
    }
    let mut value = Numeric::from_str(digits.trim_end_matches('.'))?;
    if template.shift > 0 {
        let factor = Numeric::from_bigint(datum::numeric::pow10(template.shift as u32), 0);
        value = value.div(&factor)?;
    }
    Ok(Datum::Numeric(if negative { value.neg() } else { value }))
}
