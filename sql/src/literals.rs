//! Integer literals lifted out of a statement's text, so that texts that differ in them share a plan.
//!
//! ```text
//! SELECT v FROM t WHERE k = 12 AND w > -3 ORDER BY 1
//! SELECT v FROM t WHERE k = $1 AND w > -$2 ORDER BY 1      12, 3
//! ```
//!
//! A literal is lifted where it is an operand (after `=`, `<`, `>`, `+`, `-`, `*`, `/`, `%`) or a value
//! of an INSERT. There it means the same as a parameter of the type that it has by its size. Where a
//! number is syntax (LIMIT, ORDER BY, a type's length) it stays. Text that this scanner does not
//! understand for certain (comments, dollar quotes, escapes, several statements) is left alone: the
//! parser is the only judge of SQL.

use datum::{Datum, SqlType};

/// Longer texts are loads, not statements that come again.
const TEXT_BYTES_MAX: usize = 4 << 10;
const LITERALS_MAX: usize = 64;

#[derive(Debug, PartialEq)]
pub(crate) struct Lifted {
    /// With `$1`, `$2`, ... where the literals were.
    pub text: String,
    pub types: Vec<SqlType>,
    pub values: Vec<Datum>,
}

/// `None` if there is nothing to lift, or doubt.
pub(crate) fn lift(sql: &str) -> Option<Lifted> {
    let sql = sql.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    let bytes = sql.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX || !begins_well(bytes) {
        return None;
    }
    let mut lifted =
        Lifted { text: String::with_capacity(bytes.len() + 8), types: vec![], values: vec![] };
    // Up to where the text is copied, and the last byte that was not blank.
    let (mut copied, mut at, mut before) = (0, 0, b' ');
    let mut in_values = false;
    while at < bytes.len() {
        let start = at;
        let byte = bytes[at];
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'\'' | b'"' => at += bytes[at..].iter().position(|b| *b == byte)? + 1,
            b'$' | b'\\' | b';' => return None,
            b'-' | b'/' if bytes.get(at) == Some(&(if byte == b'-' { b'-' } else { b'*' })) => {
                return None;
            }
            b'0'..=b'9' => {
                while bytes.get(at).is_some_and(|b| continues_word(*b) || *b == b'.') {
                    at += 1;
                }
                let operand = b"=<>+-*/%".contains(&before);
                if (operand || (in_values && matches!(before, b'(' | b',')))
                    && let Ok(number) = sql[start..at].parse::<i64>()
                {
                    lifted.text.push_str(&sql[copied..start]);
                    lifted.push(number)?;
                    copied = at;
                }
            }
            _ if continues_word(byte) => {
                while bytes.get(at).is_some_and(|b| continues_word(*b)) {
                    at += 1;
                }
                // E'..', B'..', U&"..": not as other quotes.
                if matches!(bytes.get(at), Some(b'\'' | b'&')) {
                    return None;
                }
                in_values |= sql[start..at].eq_ignore_ascii_case("values");
            }
            _ => {}
        }
        before = bytes[at - 1];
    }
    lifted.text.push_str(&sql[copied..]);
    (!lifted.values.is_empty()).then_some(lifted)
}

impl Lifted {
    fn push(&mut self, number: i64) -> Option<()> {
        let (ty, value) = match i32::try_from(number) {
            Ok(number) => (SqlType::Int4, Datum::Int4(number)),
            Err(_) => (SqlType::Int8, Datum::Int8(number)),
        };
        self.types.push(ty);
        self.values.push(value);
        self.text.push('$');
        let index = self.values.len();
        if index >= 10 {
            self.text.push((b'0' + (index / 10) as u8) as char);
        }
        self.text.push((b'0' + (index % 10) as u8) as char);
        (index < LITERALS_MAX).then_some(())
    }
}

fn begins_well(bytes: &[u8]) -> bool {
    let first = bytes.iter().position(|b| b.is_ascii_alphabetic()).unwrap_or(bytes.len());
    let word = bytes.get(first..first + 6).unwrap_or_default();
    bytes[..first].iter().all(|b| b.is_ascii_whitespace())
        && [&b"select"[..], b"insert", b"update", b"delete"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(sql: &str) -> Option<(String, Vec<i64>)> {
        let lifted = lift(sql)?;
        assert_eq!(lifted.types.len(), lifted.values.len());
        Some((lifted.text, lifted.values.iter().filter_map(Datum::as_i64).collect()))
    }

    #[test]
    fn operands_and_inserted_values_are_lifted() {
        let cases = [
            (" SELECT v FROM t WHERE k = 12 ;\n", "SELECT v FROM t WHERE k = $1", vec![12]),
            (
                "UPDATE t SET a = a + -5 WHERE k=3000000000",
                "UPDATE t SET a = a + -$1 WHERE k=$2",
                vec![5, 3_000_000_000],
            ),
            (
                "insert into h (a, b) values (1, 22, now(), -3)",
                "insert into h (a, b) values ($1, $2, now(), -$3)",
                vec![1, 22, 3],
            ),
            (
                "select t1.a from t1 where 'k = 5' < \"x = 6\" and a = 7",
                "select t1.a from t1 where 'k = 5' < \"x = 6\" and a = $1",
                vec![7],
            ),
        ];
        for (sql, text, values) in cases {
            assert_eq!(lifted(sql), Some((text.to_owned(), values)), "{sql}");
        }
        assert_eq!(lift("select 1 where 2 = 3000000000").unwrap().types, [SqlType::Int8]);
    }

    #[test]
    fn what_is_syntax_or_unclear_stays() {
        for sql in [
            "select a from t order by 1 limit 5",
            "select a::numeric(5,2), t2.b from t2 fetch first 3 rows only",
            "select * from t where a = 1.5 or a = 1e5 or a = 0x1F or a = 99999999999999999999",
            "select a[1] from t",
            "select 1; select k = 2",
            "select a from t where a = 1 -- = 2",
            "select a from t where a = 1 /* = 2 */",
            "select a from t where a = $1 and b = 2",
            "select E'\\' = 1' from t",
            "select a from t where a = E'x' and b = 1",
            "select 'unclosed = 1",
            "create table t (a int default = 1)",
            "-- hello\nselect a = 1",
        ] {
            assert_eq!(lift(sql), None, "{sql}");
        }
    }
}
