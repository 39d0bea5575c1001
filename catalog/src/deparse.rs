//! Catalog objects as SQL text: what pg_get_indexdef and its kin answer.
//!
//! Pure functions of a catalog and of [`Names`], which says from where names are seen: a relation
//! that the search path finds is written without its schema, as PostgreSQL does.
//!
//! What this does not do: parse. CHECK conditions, defaults and view bodies come back as the text
//! that was stored, not in PostgreSQL's canonical spelling.

use crate::Oid;
use crate::change::name::{quoted_qualified, spelled_sequences};
use crate::snapshot::Catalog;
use crate::table::{
    ConstraintDescriptor, ConstraintKind, ForeignKey, ForeignKeyAction, ForeignKeyMatch,
    IndexColumn, IndexDescriptor, TableDescriptor,
};
use crate::virtual_tables::types;
use datum::keywords::quote_identifier;
use datum::{ColumnType, SqlType};
use std::borrow::Cow;

/// Where a session stands.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub database: Oid,
    pub search_path: &'a [String],
}

impl Names<'_> {
    /// The relation's name, qualified unless the search path finds it. `regclass` output.
    pub fn relation(&self, catalog: &Catalog, oid: Oid) -> Option<String> {
        let relation = catalog.relation_by_oid(oid)?;
        let name = quote_identifier(relation.name());
        if catalog.is_visible(self.database, self.search_path, oid) {
            return Some(name.into_owned());
        }
        let schema = catalog.schema_name(relation.schema())?;
        Some(format!("{}.{name}", quote_identifier(schema)))
    }
}

/// A relation's name with its schema.
pub fn qualified(catalog: &Catalog, schema: Oid, name: &str) -> String {
    let schema = catalog.schema_name(schema).unwrap_or_default();
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// pg_get_indexdef(oid): `CREATE UNIQUE INDEX i ON public.t USING btree (a, b DESC)`.
pub fn index_definition(catalog: &Catalog, oid: Oid) -> Option<String> {
    let (table, index) = catalog.index(oid)?;
    let unique = if index.unique { "UNIQUE " } else { "" };
    let mut text = format!(
        "CREATE {unique}INDEX {} ON {} USING {} ({})",
        quote_identifier(&index.name),
        qualified(catalog, table.schema, &table.name),
        index.method,
        index_columns(table, index)
    );
    if !index.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", column_list(table, &index.include)));
    }
    if index.nulls_not_distinct {
        text.push_str(" NULLS NOT DISTINCT");
    }
    if let Some(predicate) = &index.predicate {
        text.push_str(&format!(" WHERE {}", parenthesised(predicate)));
    }
    Some(text)
}

/// pg_get_indexdef(oid, n, pretty): the n-th column, counted from one.
pub fn index_column_definition(catalog: &Catalog, oid: Oid, n: usize) -> Option<String> {
    let (table, index) = catalog.index(oid)?;
    let columns = index.columns.iter().map(|c| c.column).chain(index.include.iter().copied());
    let column = columns.into_iter().nth(n.checked_sub(1)?)?;
    Some(quote_identifier(&table.column(column)?.name).into_owned())
}

fn index_columns(table: &TableDescriptor, index: &IndexDescriptor) -> String {
    let one = |column: &IndexColumn| {
        let name = table.column(column.column).map_or("", |c| c.name.as_str());
        let direction = match (column.descending, column.nulls_first) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        };
        format!("{}{direction}", quote_identifier(name))
    };
    index.columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn column_list(table: &TableDescriptor, columns: &[crate::ColumnId]) -> String {
    let name = |id: &crate::ColumnId| {
        table.column(*id).map_or(String::new(), |c| quote_identifier(&c.name).into_owned())
    };
    columns.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// pg_get_constraintdef(oid, pretty).
pub fn constraint_definition(
    catalog: &Catalog,
    names: Names<'_>,
    oid: Oid,
    pretty: bool,
) -> Option<String> {
    let (table, constraint) = catalog.constraint(oid)?;
    constraint_text(catalog, names, table, constraint, pretty)
}

pub(crate) fn constraint_text(
    catalog: &Catalog,
    names: Names<'_>,
    table: &TableDescriptor,
    constraint: &ConstraintDescriptor,
    pretty: bool,
) -> Option<String> {
    let mut text = match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => {
            key_text("PRIMARY KEY", table, table.index(*index)?)
        }
        ConstraintKind::Unique { index } => {
            let index = table.index(*index)?;
            let word =
                if index.nulls_not_distinct { "UNIQUE NULLS NOT DISTINCT" } else { "UNIQUE" };
            key_text(word, table, index)
        }
        ConstraintKind::Check(check) if pretty => format!("CHECK ({})", unwrapped(&check.sql)),
        ConstraintKind::Check(check) => format!("CHECK ({})", parenthesised(&check.sql)),
        ConstraintKind::ForeignKey(key) => foreign_key_text(catalog, names, table, key)?,
    };
    if constraint.deferrable {
        text.push_str(" DEFERRABLE");
    }
    if constraint.initially_deferred {
        text.push_str(" INITIALLY DEFERRED");
    }
    if !constraint.validated {
        text.push_str(" NOT VALID");
    }
    Some(text)
}

fn key_text(word: &str, table: &TableDescriptor, index: &IndexDescriptor) -> String {
    let columns: Vec<_> = index.columns.iter().map(|c| c.column).collect();
    let mut text = format!("{word} ({})", column_list(table, &columns));
    if !index.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", column_list(table, &index.include)));
    }
    text
}

fn foreign_key_text(
    catalog: &Catalog,
    names: Names<'_>,
    table: &TableDescriptor,
    key: &ForeignKey,
) -> Option<String> {
    let referenced = catalog.table(key.referenced_table)?;
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {}({})",
        column_list(table, &key.columns),
        names.relation(catalog, referenced.oid)?,
        column_list(referenced, &key.referenced_columns)
    );
    if key.match_type == ForeignKeyMatch::Full {
        text.push_str(" MATCH FULL");
    }
    for (word, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
        if action != ForeignKeyAction::NoAction {
            text.push_str(&format!(" ON {word} {}", action.sql()));
        }
    }
    Some(text)
}

/// pg_get_expr on a stored default, check or generation expression: sequences that the search path
/// finds lose their schema.
pub fn expression(catalog: &Catalog, names: Names<'_>, sql: &str) -> String {
    if !sql.contains("regclass") {
        return sql.to_owned();
    }
    spelled_sequences(sql, |literal| {
        let oid = catalog
            .sequences_of(names.database)
            .map(|s| s.oid)
            .find(|oid| quoted_qualified(catalog, *oid) == literal)?;
        let name = names.relation(catalog, oid)?;
        Some(format!("'{}'", name.replace('\'', "''")))
    })
}

/// pg_get_viewdef.
pub fn view_definition(catalog: &Catalog, oid: Oid) -> Option<String> {
    let view = catalog.view(oid)?;
    Some(format!(" {};", view.definition.trim().trim_end_matches(';')))
}

/// pg_get_serial_sequence: the sequence that a column owns, with its schema.
pub fn serial_sequence(catalog: &Catalog, table: Oid, column: &str) -> Option<String> {
    let (_, found) = catalog.table(table)?.column_named(column)?;
    let owner = Some((table, found.id));
    let sequence = catalog.sequences_owned_by(table).find(|s| s.owned_by == owner)?;
    Some(qualified(catalog, sequence.schema, &sequence.name))
}

/// format_type(oid, typmod): `character varying(10)`; `None` for a NULL typmod.
pub fn format_type(oid: Oid, typmod: Option<i32>) -> String {
    match SqlType::from_oid(oid) {
        // Without any modifier in sight, char(n) is spelled out.
        Some(SqlType::Bpchar) if typmod.is_none() => "character".to_owned(),
        Some(ty) => ColumnType { ty, typmod: typmod.unwrap_or(-1) }.name(),
        None if oid == 0 => "-".to_owned(),
        None => types::by_oid(oid)
            .map_or_else(|| "???".to_owned(), |t| quote_identifier(t.name).into_owned()),
    }
}

/// `(sql)`, unless it is in parentheses as a whole already.
fn parenthesised(sql: &str) -> Cow<'_, str> {
    let sql = sql.trim();
    if is_wrapped(sql) { Cow::Borrowed(sql) } else { Cow::Owned(format!("({sql})")) }
}

fn unwrapped(sql: &str) -> &str {
    let sql = sql.trim();
    if is_wrapped(sql) { sql[1..sql.len() - 1].trim() } else { sql }
}

fn is_wrapped(sql: &str) -> bool {
    if !sql.starts_with('(') || !sql.ends_with(')') {
        return false;
    }
    let (mut depth, mut quote) = (0, None);
    for (at, c) in sql.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 && at + 1 < sql.len() {
                    return false;
                }
            }
            (None, _) => {}
        }
    }
    depth == 0
}
