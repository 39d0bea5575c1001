//! A date or time literal cut into tokens by shape alone: `Jan 8, 1999 04:05 PST` is word, number, number, time, word.

use super::literal::bad_format;
use crate::Result;

#[derive(Debug)]
pub(super) enum Token<'a> {
    /// Digits, perhaps with one point.
    Number(&'a str),
    /// Digits with colons.
    Time(&'a str),
    /// Fields joined by `-`, `/` or `.`.
    Date(&'a str),
    Word(&'a str),
    /// A sign and digits.
    Offset(&'a str),
    /// A sign and a word: `-infinity`.
    SignedWord(&'a str),
}

pub(super) fn tokens<'a>(input: &'a str, type_name: &str) -> Result<Vec<Token<'a>>> {
    let b = input.as_bytes();
    let error = || bad_format(type_name, input);
    let run = |mut at: usize, accept: &dyn Fn(u8) -> bool| {
        while at < b.len() && accept(b[at]) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < b.len() {
        let start = at;
        match b[at] {
            c if c.is_ascii_digit() => {
                at = run(at, &|c| c.is_ascii_digit());
                match b.get(at) {
                    Some(b':') => {
                        at = run(at, &|c| c.is_ascii_digit() || c == b':' || c == b'.');
                        found.push(Token::Time(&input[start..at]));
                    }
                    Some(&delimiter @ (b'-' | b'/' | b'.')) => {
                        let next = run(at + 1, &|c| c.is_ascii_digit());
                        if next > at + 1 && b.get(next) != Some(&delimiter) {
                            at = next;
                            found.push(if delimiter == b'.' {
                                Token::Number(&input[start..at])
                            } else {
                                Token::Date(&input[start..at])
                            });
                        } else if next > at + 1 {
                            at = run(next, &|c| c.is_ascii_digit() || c == delimiter);
                            found.push(Token::Date(&input[start..at]));
                        } else if b.get(at + 1).is_some_and(u8::is_ascii_alphabetic) {
                            at = run(at + 1, &|c| c.is_ascii_alphanumeric() || c == delimiter);
                            found.push(Token::Date(&input[start..at]));
                        } else {
                            at += 1;
                            found.push(Token::Number(&input[start..at - 1]));
                        }
                    }
                    _ => found.push(Token::Number(&input[start..at])),
                }
            }
            c if c.is_ascii_alphabetic() => {
                at = run(at, &|c| c.is_ascii_alphabetic());
                let word = &input[start..at];
                match b.get(at) {
                    Some(&delimiter @ (b'-' | b'/' | b'.')) if month_number(word).is_some() => {
                        at = run(at, &|c| c.is_ascii_alphanumeric() || c == delimiter);
                        found.push(Token::Date(&input[start..at]));
                    }
                    Some(b'/' | b'_') => {
                        at = run(at, &|c| c.is_ascii_alphanumeric() || b"/_+-".contains(&c));
                        found.push(Token::Word(&input[start..at]));
                    }
                    // EST5EDT
                    Some(c)
                        if c.is_ascii_digit()
                            && word.len() >= 3
                            && month_number(word).is_none() =>
                    {
                        at = run(at, &|c| c.is_ascii_alphanumeric());
                        found.push(Token::Word(&input[start..at]));
                    }
                    _ => found.push(Token::Word(word)),
                }
            }
            b'+' | b'-' => {
                at = run(at + 1, &|c| c.is_ascii_whitespace());
                match b.get(at) {
                    Some(c) if c.is_ascii_digit() => {
                        at = run(at, &|c| c.is_ascii_digit() || c == b':' || c == b'.');
                        found.push(Token::Offset(&input[start..at]));
                    }
                    Some(c) if c.is_ascii_alphabetic() => {
                        at = run(at, &|c| c.is_ascii_alphabetic());
                        found.push(Token::SignedWord(&input[start..at]));
                    }
                    _ => return Err(error()),
                }
            }
            c if c.is_ascii_whitespace() || c.is_ascii_punctuation() => at += 1,
            _ => return Err(error()),
        }
    }
    if found.is_empty() { Err(error()) } else { Ok(found) }
}

/// `1` for `jan` and `January`.
pub(super) fn month_number(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let lower = word.to_ascii_lowercase();
    if lower == "sept" {
        return Some(9);
    }
    let fits = |name: &&str| lower == **name || (lower.len() == 3 && name.starts_with(&lower));
    NAMES.iter().position(fits).map(|at| at as u32 + 1)
}

pub(super) fn is_weekday(lower: &str) -> bool {
    matches!(
        lower,
        "sun"
            | "sunday"
            | "mon"
            | "monday"
            | "tue"
            | "tues"
            | "tuesday"
            | "wed"
            | "weds"
            | "wednesday"
            | "thu"
            | "thur"
            | "thurs"
            | "thursday"
            | "fri"
            | "friday"
            | "sat"
            | "saturday"
    )
}
