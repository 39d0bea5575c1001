//! Broken constraints in PostgreSQL's words, with the fields that drivers read.

use crate::error::SqlError;
use crate::table_code::{IndexCode, TableCode};
use catalog::{ForeignKey, TableDescriptor};
use datum::{Datum, TypeContext};

/// Characters of one value that "Failing row contains" shows.
const VALUE_CHARS_MAX: usize = 64;

fn text(value: &Datum, table: &TableDescriptor, ordinal: usize, types: &TypeContext) -> String {
    match value {
        Datum::Null => "null".to_owned(),
        value => datum::text::to_string(value, &table.columns[ordinal].ty.ty, types),
    }
}

fn failing_row(code: &TableCode, row: &[Datum], types: &TypeContext) -> String {
    let values: Vec<String> = row
        .iter()
        .enumerate()
        .map(|(ordinal, value)| {
            let text = text(value, &code.table, ordinal, types);
            match text.char_indices().nth(VALUE_CHARS_MAX) {
                Some((at, _)) => format!("{}...", &text[..at]),
                None => text,
            }
        })
        .collect();
    format!("Failing row contains ({}).", values.join(", "))
}

fn key_text(
    table: &TableDescriptor,
    ordinals: &[usize],
    row: &[Datum],
    types: &TypeContext,
) -> String {
    let names: Vec<&str> = ordinals.iter().map(|o| table.columns[*o].name.as_str()).collect();
    let values: Vec<String> = ordinals.iter().map(|o| text(&row[*o], table, *o, types)).collect();
    format!("Key ({})=({})", names.join(", "), values.join(", "))
}

pub(super) fn not_null(
    code: &TableCode,
    ordinal: usize,
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    let column = &code.table.columns[ordinal].name;
    SqlError::new(
        "23502",
        format!(
            "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
            code.table.name
        ),
    )
    .with_detail(failing_row(code, row, types))
    .with_table(&code.schema_name, &code.table.name)
    .with_column(column)
}

pub(super) fn check(code: &TableCode, name: &str, row: &[Datum], types: &TypeContext) -> SqlError {
    SqlError::new(
        "23514",
        format!(
            "new row for relation \"{}\" violates check constraint \"{name}\"",
            code.table.name
        ),
    )
    .with_detail(failing_row(code, row, types))
    .with_table(&code.schema_name, &code.table.name)
    .with_constraint(name)
}

pub(super) fn duplicate_row_key(code: &TableCode, row: &[Datum], types: &TypeContext) -> SqlError {
    let ordinals = code.table.row_key_ordinals();
    let name = match code.table.row_key() {
        catalog::RowKey::PrimaryKey(index) => code.constraint_name(index).to_owned(),
        catalog::RowKey::Hidden => "hidden row id".to_owned(),
    };
    duplicate(code, &name, &ordinals, row, types)
}

pub(super) fn duplicate_entry(
    code: &TableCode,
    index: &IndexCode,
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    duplicate(code, code.constraint_name(&index.index), &index.ordinals, row, types)
}

/// A duplicate met while an index is built.
pub(crate) fn duplicate_in_new_index(
    code: &TableCode,
    index: &IndexCode,
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    let name = code.constraint_name(&index.index);
    SqlError::new("23505", format!("could not create unique index \"{name}\""))
        .with_detail(format!(
            "{} is duplicated.",
            key_text(&code.table, &index.ordinals, row, types)
        ))
        .with_table(&code.schema_name, &code.table.name)
        .with_constraint(name)
}

/// A duplicate met while rows are keyed anew.
pub(crate) fn duplicate_in_new_key(
    code: &TableCode,
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    let name = match code.table.row_key() {
        catalog::RowKey::PrimaryKey(index) => code.constraint_name(index).to_owned(),
        catalog::RowKey::Hidden => "hidden row id".to_owned(),
    };
    SqlError::new("23505", format!("could not create unique index \"{name}\""))
        .with_detail(format!(
            "{} is duplicated.",
            key_text(&code.table, &code.table.row_key_ordinals(), row, types)
        ))
        .with_table(&code.schema_name, &code.table.name)
        .with_constraint(&name)
}

fn duplicate(
    code: &TableCode,
    name: &str,
    ordinals: &[usize],
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    SqlError::new("23505", format!("duplicate key value violates unique constraint \"{name}\""))
        .with_detail(format!("{} already exists.", key_text(&code.table, ordinals, row, types)))
        .with_table(&code.schema_name, &code.table.name)
        .with_constraint(name)
}

/// A row without its parent.
pub(crate) fn no_parent(
    child: &TableCode,
    constraint: &str,
    key: &ForeignKey,
    parent: &TableDescriptor,
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    let ordinals = child.table.ordinals(key.columns.iter().copied());
    foreign_key_error(child, constraint).with_detail(format!(
        "{} is not present in table \"{}\".",
        key_text(&child.table, &ordinals, row, types),
        parent.name
    ))
}

pub(super) fn partial_null_match(child: &TableCode, constraint: &str) -> SqlError {
    foreign_key_error(child, constraint)
        .with_detail("MATCH FULL does not allow mixing of null and nonnull key values.")
}

fn foreign_key_error(child: &TableCode, constraint: &str) -> SqlError {
    SqlError::new(
        "23503",
        format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{constraint}\"",
            child.table.name
        ),
    )
    .with_table(&child.schema_name, &child.table.name)
    .with_constraint(constraint)
}

/// A parent that still has children.
pub(super) fn still_referenced(
    parent: &TableCode,
    child: &TableCode,
    constraint: &str,
    ordinals: &[usize],
    row: &[Datum],
    types: &TypeContext,
) -> SqlError {
    SqlError::new(
        "23503",
        format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{constraint}\" on table \"{}\"",
            parent.table.name, child.table.name
        ),
    )
    .with_detail(format!(
        "{} is still referenced from table \"{}\".",
        key_text(&parent.table, ordinals, row, types),
        child.table.name
    ))
    .with_table(&child.schema_name, &child.table.name)
    .with_constraint(constraint)
}
