//! JSON text: validation, parsing into [`Jsonb`], printing.
use crate::{DatumError, Jsonb, Result};

/// Checks that it is JSON, with PostgreSQL's messages.
pub fn validate(input: &str) -> Result<()> {
    parse(input).map(|_| ())
}

pub fn parse(input: &str) -> Result<Jsonb> {
    Err(DatumError::invalid_syntax("json", input))
}

/// jsonb's output: `{"a": 1, "b": [1, 2]}`.
pub fn format(value: &Jsonb, out: &mut String) {
    let _ = (value, out);
}

/// `jsonb_pretty`.
pub fn format_pretty(value: &Jsonb, out: &mut String) {
    let _ = (value, out);
}

/// Appends a JSON string literal with its quotes, escaped as PostgreSQL does.
pub fn escape(s: &str, out: &mut String) {
    let _ = (s, out);
}
