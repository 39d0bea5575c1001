//! PostgreSQL's advanced regular expressions on the `regex` crate: translated, compiled, and kept per thread.
//!
//! What differs: alternatives match in written order here, the longest there; back references and look-around do not
//! exist here and answer 0A000.

use crate::error::{ExprError, Result};
use regex::Regex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags {
    pub ignore_case: bool,
    /// `n`: `.` and classes stop at newlines, `^` and `$` match at them.
    pub newline: bool,
    /// `p`: only `.` and classes. `w`: only the anchors.
    pub newline_dot: bool,
    pub newline_anchor: bool,
    /// `x`: blanks and comments in the pattern do not count.
    pub expanded: bool,
    /// `q`: the pattern is a plain string.
    pub literal: bool,
    /// `g`, where a function allows it.
    pub global: bool,
}

impl Flags {
    /// The letters of a flags argument.
    pub fn parse(letters: &str) -> Result<Self> {
        let mut flags = Self::default();
        for letter in letters.chars() {
            flags.add(letter).map_err(|letter| {
                ExprError::invalid_parameter(format!(
                    "invalid regular expression option: \"{letter}\""
                ))
            })?;
        }
        Ok(flags)
    }

    fn add(&mut self, letter: char) -> Result<(), char> {
        match letter {
            'g' => self.global = true,
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'n' | 'm' => self.newline = true,
            's' => {
                self.newline = false;
                self.newline_dot = false;
                self.newline_anchor = false;
            }
            'p' => self.newline_dot = true,
            'w' => self.newline_anchor = true,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => {}
            other => return Err(other),
        }
        Ok(())
    }
}

/// Patterns kept compiled per thread.
const COMPILED_MAX: usize = 64;

thread_local! {
    static COMPILED: RefCell<HashMap<(String, Flags), Regex>> = RefCell::new(HashMap::new());
}

pub(crate) fn compile(pattern: &str, flags: Flags) -> Result<Regex> {
    let flags = Flags { global: false, ..flags };
    COMPILED.with_borrow_mut(|compiled| {
        // A lookup by parts would need a borrowed key; patterns are short.
        let key = (pattern.to_owned(), flags);
        if let Some(regex) = compiled.get(&key) {
            return Ok(regex.clone());
        }
        let regex = build(pattern, flags)?;
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(key, regex.clone());
        Ok(regex)
    })
}

fn build(pattern: &str, mut flags: Flags) -> Result<Regex> {
    let mut pattern = pattern;
    if let Some(rest) = pattern.strip_prefix("***=") {
        flags.literal = true;
        pattern = rest;
    } else if let Some(rest) = pattern.strip_prefix("***:") {
        pattern = rest;
    }
    let translated = if flags.literal {
        regex::escape(pattern)
    } else {
        pattern = embedded_options(pattern, &mut flags);
        translate(pattern)?
    };
    regex::RegexBuilder::new(&translated)
        .case_insensitive(flags.ignore_case)
        .dot_matches_new_line(!(flags.newline || flags.newline_dot))
        .multi_line(flags.newline || flags.newline_anchor)
        .ignore_whitespace(flags.expanded)
        .build()
        .map_err(|error| invalid(&reason(&error)))
}

fn invalid(reason: &str) -> ExprError {
    ExprError::new("2201B", format!("invalid regular expression: {reason}"))
}

/// PostgreSQL's words for the usual mistakes.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let known = [
        ("unclosed group", "parentheses () not balanced"),
        ("unopened group", "parentheses () not balanced"),
        ("unclosed character class", "brackets [] not balanced"),
        ("repetition operator missing expression", "quantifier operand invalid"),
        ("unclosed counted repetition", "braces {} not balanced"),
        ("invalid repetition count range", "invalid repetition count(s)"),
        ("invalid character class range", "invalid character range"),
        ("exceeds size limit", "regular expression is too complex"),
    ];
    match known.iter().find(|(ours, _)| text.contains(ours)) {
        Some((_, theirs)) => (*theirs).to_owned(),
        None => text.lines().last().unwrap_or("invalid").trim_start_matches("error: ").to_owned(),
    }
}

/// `(?i)` at the very start applies to the whole pattern.
fn embedded_options<'a>(pattern: &'a str, flags: &mut Flags) -> &'a str {
    let Some(rest) = pattern.strip_prefix("(?") else { return pattern };
    let Some(end) = rest.find(')') else { return pattern };
    let letters = &rest[..end];
    if letters.is_empty() || !letters.chars().all(|c| "bceimnpqstwx".contains(c)) {
        return pattern;
    }
    for letter in letters.chars() {
        // Only letters of the list above, all of which are known.
        let _ = flags.add(letter);
    }
    &rest[end + 1..]
}

fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out)?,
            '[' => class(&mut chars, &mut out)?,
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    let mut ahead = chars.clone();
                    ahead.next();
                    match ahead.next() {
                        Some('=' | '!' | '<') => {
                            return Err(ExprError::unsupported(
                                "look-around in regular expressions",
                            ));
                        }
                        Some('#') => {
                            // A comment.
                            out.pop();
                            for c in chars.by_ref() {
                                if c == ')' {
                                    break;
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            // A brace that begins no bound is itself.
            '{' if !chars.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '}' => {
                // Closes a bound only after digits or a comma.
                let closes = out.rfind('{').is_some_and(|at| {
                    !out[..at].ends_with('\\')
                        && out[at + 1..].chars().all(|c| c.is_ascii_digit() || c == ',')
                });
                out.push_str(if closes { "}" } else { "\\}" });
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<()> {
    let Some(c) = chars.next() else { return Err(invalid("invalid escape \\ sequence")) };
    match c {
        'm' => out.push_str("\\b{start}"),
        'M' => out.push_str("\\b{end}"),
        'y' => out.push_str("\\b"),
        'Y' => out.push_str("\\B"),
        'A' => out.push_str("\\A"),
        'Z' => out.push_str("\\z"),
        'B' => out.push_str("\\\\"),
        'e' => out.push_str("\\x1B"),
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
            out.push('\\');
            out.push(c);
        }
        'b' => out.push_str("\\x08"),
        '0' => out.push_str("\\x00"),
        'u' => code_point(chars, 4, out)?,
        'U' => code_point(chars, 8, out)?,
        'x' => {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_hexdigit) {
                digits.push(digit);
            }
            out.push_str(&format!("\\x{{{digits}}}"));
        }
        c if c.is_ascii_digit() => {
            return Err(ExprError::unsupported("back references in regular expressions"));
        }
        c if c.is_alphabetic() => return Err(invalid("invalid escape \\ sequence")),
        c => out.push_str(&regex::escape(&c.to_string())),
    }
    Ok(())
}

fn code_point(chars: &mut Peekable<Chars<'_>>, count: usize, out: &mut String) -> Result<()> {
    let digits: String = chars.by_ref().take(count).collect();
    if digits.len() != count || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(invalid("invalid escape \\ sequence"));
    }
    out.push_str(&format!("\\x{{{digits}}}"));
    Ok(())
}

/// A bracket expression: only `[:class:]`, ranges and escapes mean something inside.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<()> {
    // `[[:<:]]` and `[[:>:]]` are word boundaries.
    let ahead: String = chars.clone().take(6).collect();
    for (symbol, boundary) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
        if ahead == symbol {
            for _ in 0..6 {
                chars.next();
            }
            out.push_str(boundary);
            return Ok(());
        }
    }
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' if matches!(chars.peek(), Some('.' | '=')) => {
                // [.x.] and [=x=] for single characters.
                let delimiter = chars.next();
                if let Some(c) = chars.next() {
                    out.push_str(&regex::escape(&c.to_string()));
                }
                while let Some(c) = chars.next() {
                    if Some(c) == delimiter && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                }
            }
            '\\' => escape(chars, out)?,
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '-' if first || chars.peek() == Some(&']') => out.push_str("\\-"),
            c => out.push(c),
        }
        first = false;
    }
    Err(invalid("brackets [] not balanced"))
}
