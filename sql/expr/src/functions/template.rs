//! Templates of dates and times, cut into fields and literals: what `to_char` prints by and
//! `to_timestamp` reads by.
//!
//! `FMDD. Mon "of" YYYY` is `DD` without fill, `. `, `Mon`, ` `, `of `, `YYYY`.

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Field { key: &'static str, fill: bool, ordinal: Option<bool> },
    Literal(String),
}

/// Longest first where one is a prefix of another.
const KEYS: &[&str] = &[
    "SSSSS", "SSSS", "Y,YYY", "IYYY", "YYYY", "MONTH", "Month", "month", "HH24", "HH12", "A.D.",
    "B.C.", "a.d.", "b.c.", "A.M.", "P.M.", "a.m.", "p.m.", "DAY", "Day", "day", "MON", "Mon",
    "mon", "YYY", "IYY", "IDDD", "DDD", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "TZH", "TZM",
    "AD", "BC", "ad", "bc", "AM", "PM", "am", "pm", "CC", "DD", "DY", "Dy", "dy", "HH", "ID", "IW",
    "IY", "MI", "MM", "MS", "OF", "RM", "rm", "SS", "TZ", "tz", "US", "WW", "YY", "D", "I", "J",
    "Q", "W", "Y",
];

/// Cuts a template: `FM` and `TH` belong to the field beside them, quoted text is literal.
pub(super) fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = template;
    let mut fill = true;
    'next: while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = rest
            .strip_prefix("FX")
            .or_else(|| rest.strip_prefix("fx"))
            .or_else(|| rest.strip_prefix("TM"))
            .or_else(|| rest.strip_prefix("tm").filter(|_| rest.len() > 2))
        {
            rest = after;
            continue;
        }
        for key in KEYS {
            let matches = rest.get(..key.len()).is_some_and(|head| {
                head == *key || (!is_name(key) && head.eq_ignore_ascii_case(key))
            });
            if !matches {
                continue;
            }
            rest = &rest[key.len()..];
            let mut ordinal = None;
            if let Some(after) = rest.strip_prefix("TH") {
                ordinal = Some(true);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("th") {
                ordinal = Some(false);
                rest = after;
            }
            pieces.push(Piece::Field { key, fill, ordinal });
            fill = true;
            continue 'next;
        }
        if first == '"' {
            let mut literal = String::new();
            let mut chars = rest[1..].char_indices();
            let mut end = rest.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => literal.extend(chars.next().map(|(_, c)| c)),
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    c => literal.push(c),
                }
            }
            pieces.push(Piece::Literal(literal));
            rest = &rest[end..];
            continue;
        }
        let escaped = first == '\\' && rest[1..].starts_with('"');
        let c = if escaped { '"' } else { first };
        rest = &rest[if escaped { 2 } else { first.len_utf8() }..];
        match pieces.last_mut() {
            Some(Piece::Literal(literal)) => literal.push(c),
            _ => pieces.push(Piece::Literal(c.to_string())),
        }
    }
    pieces
}

/// Whether a field holds words: their spelling, and that of AM and BC, follows the template's; keys of
/// numbers mean the same in any case.
pub(super) fn is_name(key: &str) -> bool {
    matches!(
        key.to_ascii_uppercase().as_str(),
        "MONTH"
            | "MON"
            | "DAY"
            | "DY"
            | "AD"
            | "BC"
            | "AM"
            | "PM"
            | "A.D."
            | "B.C."
            | "A.M."
            | "P.M."
            | "RM"
            | "TZ"
    )
}
