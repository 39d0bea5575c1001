//! Which words may not stand for a name (PostgreSQL's manual, appendix C), and how a name is written
//! that is one of them: what the parser, `quote_ident` and the catalog's deparsing must agree on.

use std::borrow::Cow;

/// Reserved: neither a column, nor a table, nor a function.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Reserved, but may name a function or a type.
const FUNCTION_OR_TYPE: &[&str] = &[
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

/// Not reserved, but cannot name a function or a type.
const COLUMN_NAME: &[&str] = &[
    "between",
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "coalesce",
    "dec",
    "decimal",
    "exists",
    "extract",
    "float",
    "greatest",
    "grouping",
    "inout",
    "int",
    "integer",
    "interval",
    "least",
    "national",
    "nchar",
    "none",
    "normalize",
    "nullif",
    "numeric",
    "out",
    "overlay",
    "position",
    "precision",
    "real",
    "row",
    "setof",
    "smallint",
    "substring",
    "time",
    "timestamp",
    "treat",
    "trim",
    "values",
    "varchar",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// Not reserved, yet only `AS` makes them a column label.
const AS_LABEL: &[&str] = &[
    "array",
    "as",
    "char",
    "character",
    "create",
    "day",
    "except",
    "fetch",
    "filter",
    "for",
    "from",
    "grant",
    "group",
    "having",
    "hour",
    "intersect",
    "into",
    "isnull",
    "limit",
    "minute",
    "month",
    "notnull",
    "offset",
    "on",
    "order",
    "over",
    "overlaps",
    "precision",
    "returning",
    "second",
    "to",
    "union",
    "varying",
    "where",
    "window",
    "with",
    "within",
    "without",
    "year",
];

pub fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// May be the name of a column, table, schema, alias.
pub fn may_be_name(word: &str) -> bool {
    !is_reserved(word) && FUNCTION_OR_TYPE.binary_search(&word).is_err()
}

/// May be the name of a function.
pub fn may_be_function(word: &str) -> bool {
    !is_reserved(word) && COLUMN_NAME.binary_search(&word).is_err()
}

/// May be a column label without AS.
pub fn may_be_bare_label(word: &str) -> bool {
    AS_LABEL.binary_search(&word).is_err()
}

/// As `quote_ident` writes it: in double quotes where folding or a keyword would change the meaning.
pub fn quote_identifier(name: &str) -> Cow<'_, str> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if starts && plain && may_be_name(name) && may_be_function(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_for_binary_search() {
        for list in [RESERVED, FUNCTION_OR_TYPE, COLUMN_NAME, AS_LABEL] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn names_are_quoted_where_they_would_not_read_back() {
        for plain in ["fish", "_x1", "value", "year"] {
            assert_eq!(quote_identifier(plain), plain);
        }
        // Reserved, reserved but for functions, reserved only as functions; folding; no name at all.
        for quoted in ["select", "left", "between", "Fish", "ä", "1st", "a b", ""] {
            assert_eq!(quote_identifier(quoted), format!("\"{quoted}\""));
        }
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
    }
}
