//! The readable listings: pg_tables, pg_views, pg_indexes, pg_sequences.

use super::row::Row;
use super::{Rows, SystemSchema, VirtualContext, VirtualTable};
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::deparse;
use crate::snapshot::Catalog;
use datum::Datum;

pub(super) fn rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "pg_tables" => pg_tables,
        "pg_views" => pg_views,
        "pg_indexes" => pg_indexes,
        "pg_sequences" => pg_sequences,
        _ => return None,
    })
}

fn pg_tables(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let row = |schema: &str, name: &str, owner: String, indexes: bool, triggers: bool| {
        Row::new(table)
            .put("schemaname", schema)
            .put("tablename", name)
            .put("tableowner", owner)
            .put("hasindexes", indexes)
            .put("hasrules", false)
            .put("hastriggers", triggers)
            .put("rowsecurity", false)
            .done()
    };
    let system = super::all().iter().filter(|t| !t.is_view);
    let system = system
        .map(|t| row(t.schema.name(), t.name, catalog.role_name(BOOTSTRAP_ROLE), false, false));
    let stored = catalog.tables_of(context.database).map(|t| {
        let schema = catalog.schema_name(t.schema).unwrap_or_default();
        // PostgreSQL enforces foreign keys by triggers, on both tables.
        let foreign =
            t.foreign_keys().next().is_some() || catalog.referenced_by(t.oid).next().is_some();
        row(schema, &t.name, catalog.role_name(t.owner), !t.indexes.is_empty(), foreign)
    });
    system.chain(stored).collect()
}

fn pg_views(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let system = super::all().iter().filter(|t| t.is_view);
    let system = system.filter(|t| t.schema != SystemSchema::PgToast).map(|t| {
        Row::new(table)
            .put("schemaname", t.schema.name())
            .put("viewname", t.name)
            .put("viewowner", catalog.role_name(BOOTSTRAP_ROLE))
            .done()
    });
    let stored = catalog.views_of(context.database).map(|v| {
        Row::new(table)
            .put("schemaname", catalog.schema_name(v.schema))
            .put("viewname", &v.name)
            .put("viewowner", catalog.role_name(v.owner))
            .put("definition", deparse::view_definition(catalog, v.oid))
            .done()
    });
    system.chain(stored).collect()
}

fn pg_indexes(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let mut rows = Vec::new();
    for of in catalog.tables_of(context.database) {
        for index in &of.indexes {
            let row = Row::new(table)
                .put("schemaname", catalog.schema_name(of.schema))
                .put("tablename", &of.name)
                .put("indexname", &index.name)
                .put("indexdef", deparse::index_definition(catalog, index.oid));
            rows.push(row.done());
        }
    }
    rows
}

fn pg_sequences(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let rows = catalog.sequences_of(context.database).map(|s| {
        let state = context.sequences.get(&s.oid).filter(|state| state.is_called);
        Row::new(table)
            .put("schemaname", catalog.schema_name(s.schema))
            .put("sequencename", &s.name)
            .put("sequenceowner", catalog.role_name(s.owner))
            .put("data_type", s.type_oid)
            .put("start_value", s.start)
            .put("min_value", s.min)
            .put("max_value", s.max)
            .put("increment_by", s.increment)
            .put("cycle", s.cycle)
            .put("cache_size", s.cache)
            .put("last_value", state.map(|state| state.last_value))
            .done()
    });
    rows.collect()
}
