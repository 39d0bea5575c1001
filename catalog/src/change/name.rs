//! Names that PostgreSQL chooses, and names inside stored SQL text.

use crate::Oid;
use crate::deparse::qualified;
use crate::snapshot::Catalog;
use datum::keywords::quote_identifier;

/// Bytes of an identifier, at most (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;

/// `name1_name2_label`, shortened from the longer of the two names until it fits: PostgreSQL's
/// makeObjectName.
pub(super) fn object_name(name1: &str, name2: &str, label: &str) -> String {
    let mut overhead = 0;
    if !name2.is_empty() {
        overhead += 1;
    }
    if !label.is_empty() {
        overhead += label.len() + 1;
    }
    let available = NAME_BYTES_MAX.saturating_sub(overhead);
    let (mut len1, mut len2) = (name1.len(), name2.len());
    while len1 + len2 > available {
        if len1 > len2 {
            len1 -= 1;
        } else {
            len2 -= 1;
        }
    }
    let mut name = clip(name1, len1).to_owned();
    for part in [clip(name2, len2), label] {
        if !part.is_empty() {
            name.push('_');
            name.push_str(part);
        }
    }
    name
}

fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The first of `name1_name2_label`, `..._label1`, `..._label2`, ... that is not `taken`.
pub(super) fn free_name(
    name1: &str,
    name2: &str,
    label: &str,
    taken: impl Fn(&str) -> bool,
) -> String {
    let mut name = object_name(name1, name2, label);
    let mut pass = 0;
    while taken(&name) {
        pass += 1;
        name = object_name(name1, name2, &format!("{label}{pass}"));
    }
    name
}

/// `a_b_c`, as far as it makes sense for a name.
pub(super) fn joined<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let mut name = String::new();
    for column in columns {
        if !name.is_empty() {
            name.push('_');
        }
        name.push_str(column);
        if name.len() >= NAME_BYTES_MAX {
            break;
        }
    }
    clip(&name, NAME_BYTES_MAX).to_owned()
}

/// Replaces the identifier `from` by `to` in SQL text over one table's columns: a CHECK or a
/// generation expression after RENAME COLUMN. Strings, function names and `x.from` with another
/// `x` than the table stay.
pub(super) fn rename_in_sql(sql: &str, table: &str, from: &str, to: &str) -> String {
    let tokens: Vec<Token<'_>> = Tokens { rest: sql }.collect();
    let significant = |at: usize| !matches!(tokens[at], Token::Space(_));
    let mut out = String::with_capacity(sql.len() + to.len());
    for (at, token) in tokens.iter().enumerate() {
        let before: Vec<usize> = (0..at).rev().filter(|&i| significant(i)).take(2).collect();
        let next = (at + 1..tokens.len()).find(|&i| significant(i));
        let is_call = next.is_some_and(|i| tokens[i].text() == "(");
        let qualifier = before.first().filter(|&&i| tokens[i].text() == ".").map(|_| {
            before.get(1).map_or(String::new(), |&i| tokens[i].identifier().unwrap_or_default())
        });
        let is_type = before.first().is_some_and(|&i| tokens[i].text() == ":");
        let ours = qualifier.is_none_or(|q| q == table) && !is_call && !is_type;
        match token.identifier() {
            Some(name) if name == from && ours => out.push_str(&quote_identifier(to)),
            Some(_) | None => out.push_str(token.text()),
        }
    }
    out
}

/// Finds `nextval('...')` in a default, resolves the names, and answers the text with qualified
/// names (so that it means the same under every search path) and the sequences' OIDs.
pub(super) fn bind_sequences(
    sql: &str,
    catalog: &Catalog,
    database: Oid,
    search_path: &[String],
) -> (String, Vec<Oid>) {
    let tokens: Vec<Token<'_>> = Tokens { rest: sql }.collect();
    let significant: Vec<usize> =
        (0..tokens.len()).filter(|&i| !matches!(tokens[i], Token::Space(_))).collect();
    let mut replaced: Vec<Option<String>> = vec![None; tokens.len()];
    let mut sequences = Vec::new();
    for window in significant.windows(3) {
        let [call, paren, argument] = [window[0], window[1], window[2]].map(|i| &tokens[i]);
        let is_nextval = call.identifier().as_deref() == Some("nextval") && paren.text() == "(";
        let Token::String(literal) = argument else { continue };
        if !is_nextval {
            continue;
        }
        let name = literal[1..literal.len() - 1].replace("''", "'");
        let Some(oid) = resolve_sequence(&name, catalog, database, search_path) else { continue };
        sequences.push(oid);
        let typed = sql[offset_after(&tokens, window[2])..].trim_start().starts_with("::");
        let cast = if typed { "" } else { "::regclass" };
        let literal = quoted_qualified(catalog, oid);
        replaced[window[2]] = Some(format!("{literal}{cast}"));
    }
    let text = tokens.iter().zip(replaced);
    let text = text.map(|(token, new)| new.unwrap_or_else(|| token.text().to_owned()));
    (text.collect(), sequences)
}

/// `'schema.name'`: how stored defaults spell a sequence.
pub(crate) fn quoted_qualified(catalog: &Catalog, sequence: Oid) -> String {
    let Some(sequence) = catalog.sequence(sequence) else { return "''".to_owned() };
    let name = qualified(catalog, sequence.schema, &sequence.name);
    format!("'{}'", name.replace('\'', "''"))
}

/// Rewrites the literals in `'...'::regclass` for which `spell` has something better.
pub(crate) fn spelled_sequences(sql: &str, spell: impl Fn(&str) -> Option<String>) -> String {
    let tokens: Vec<Token<'_>> = Tokens { rest: sql }.collect();
    let mut out = String::with_capacity(sql.len());
    for (at, token) in tokens.iter().enumerate() {
        let cast = tokens[at + 1..].iter().take(3).map(Token::text).collect::<String>();
        let spelled = match token {
            Token::String(literal) if cast == "::regclass" => spell(literal),
            Token::Word(_)
            | Token::Quoted(_)
            | Token::String(_)
            | Token::Space(_)
            | Token::Other(_) => None,
        };
        out.push_str(spelled.as_deref().unwrap_or(token.text()));
    }
    out
}

fn resolve_sequence(
    name: &str,
    catalog: &Catalog,
    database: Oid,
    search_path: &[String],
) -> Option<Oid> {
    let parts: Vec<String> = Tokens { rest: name }.filter_map(|t| t.identifier()).collect();
    let relation = match parts.as_slice() {
        [name] => catalog.resolve(database, search_path, None, name),
        [schema, name] => catalog.resolve(database, search_path, Some(schema), name),
        _ => None,
    };
    relation.map(|r| r.oid()).filter(|oid| catalog.sequence(*oid).is_some())
}

fn offset_after(tokens: &[Token<'_>], at: usize) -> usize {
    tokens[..=at].iter().map(|t| t.text().len()).sum()
}

/// Just enough of SQL's lexis to tell identifiers from strings.
enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    String(&'a str),
    Space(&'a str),
    Other(&'a str),
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Token::Word(t)
            | Token::Quoted(t)
            | Token::String(t)
            | Token::Space(t)
            | Token::Other(t) => t,
        }
    }

    fn identifier(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.to_lowercase()),
            Token::Quoted(quoted) => Some(quoted[1..quoted.len() - 1].replace("\"\"", "\"")),
            Token::String(_) | Token::Space(_) | Token::Other(_) => None,
        }
    }
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.rest.chars().next()?;
        let run = |accept: &dyn Fn(char) -> bool| {
            self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len())
        };
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (len, kind): (usize, fn(&'a str) -> Token<'a>) = match first {
            '\'' => (quoted_len(self.rest, '\''), Token::String),
            '"' => (quoted_len(self.rest, '"'), Token::Quoted),
            c if c.is_whitespace() => (run(&char::is_whitespace), Token::Space),
            c if c.is_alphabetic() || c == '_' => (run(&is_word), Token::Word),
            // Digits with what sticks to them, so that the e of 1e5 is no identifier.
            c if c.is_ascii_digit() => (run(&is_word), Token::Other),
            c => (c.len_utf8(), Token::Other),
        };
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        // An unterminated quote has no inside to take.
        let whole = token.len() >= 2 && token.ends_with(first);
        let quoted = first == '\'' || first == '"';
        Some(if quoted && !whole { Token::Other(token) } else { kind(token) })
    }
}

fn quoted_len(text: &str, quote: char) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] == quote as u8 {
            if bytes.get(at + 1) == Some(&(quote as u8)) {
                at += 1;
            } else {
                return at + 1;
            }
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_as_postgresql_does() {
        assert_eq!(object_name("album", "artist_id", "fkey"), "album_artist_id_fkey");
        assert_eq!(object_name("t", "", "pkey"), "t_pkey");
        let long = object_name(&"t".repeat(60), &"c".repeat(60), "idx");
        assert_eq!(long.len(), 63);
        assert_eq!(long, format!("{}_{}_idx", "t".repeat(29), "c".repeat(29)));
        assert_eq!(free_name("t", "a", "idx", |n| n == "t_a_idx"), "t_a_idx1");
    }

    #[test]
    fn a_renamed_column_is_renamed_in_stored_sql_and_nowhere_else() {
        let rename = |sql| rename_in_sql(sql, "t", "a", "b c");
        assert_eq!(rename("a > 0 AND 'a' <> \"a\""), "\"b c\" > 0 AND 'a' <> \"b c\"");
        assert_eq!(rename("t.a + s.a + a (1) + 1e5"), "t.\"b c\" + s.a + a (1) + 1e5");
        assert_eq!(rename("x::a"), "x::a");
    }
}
