//! information_schema: the standard's views.

use super::relations::constrained;
use super::row::Row;
use super::{Rows, SystemSchema, VirtualContext, VirtualTable, types};
use crate::Oid;
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::deparse;
use crate::relation::SequenceDescriptor;
use crate::snapshot::Catalog;
use crate::table::{
    ColumnDescriptor, ConstraintDescriptor, ConstraintKind, ForeignKeyMatch, TableDescriptor,
};
use datum::{ColumnType, Datum, SqlType};
use std::sync::Arc;

pub(super) fn rows_of(name: &str) -> Option<Rows> {
    Some(match name {
        "tables" => tables,
        "columns" => columns,
        "schemata" => schemata,
        "table_constraints" => table_constraints,
        "key_column_usage" => key_column_usage,
        "referential_constraints" => referential_constraints,
        "constraint_column_usage" => constraint_column_usage,
        "constraint_table_usage" => constraint_table_usage,
        "check_constraints" => check_constraints,
        "views" => views,
        "view_table_usage" => view_table_usage,
        "sequences" => sequences,
        "routines" => routines,
        "information_schema_catalog_name" => catalog_name,
        "character_sets" => character_sets,
        "enabled_roles" | "applicable_roles" => enabled_roles,
        "table_privileges" | "role_table_grants" => table_privileges,
        _ => return None,
    })
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}

fn database(catalog: &Catalog, context: &VirtualContext) -> String {
    catalog.database(context.database).map_or(String::new(), |d| d.name.clone())
}

fn schema(catalog: &Catalog, oid: Oid) -> &str {
    catalog.schema_name(oid).unwrap_or_default()
}

fn tables(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let row = |schema: &str, name: &str, is_view: bool, insertable: bool| {
        Row::new(table)
            .put("table_catalog", &database)
            .put("table_schema", schema)
            .put("table_name", name)
            .put("table_type", if is_view { "VIEW" } else { "BASE TABLE" })
            .put("is_insertable_into", yes_no(insertable))
            .put("is_typed", "NO")
            .done()
    };
    let system = super::all().iter().map(|t| row(t.schema.name(), t.name, t.is_view, false));
    let stored = catalog
        .tables_of(context.database)
        .map(|t| row(schema(catalog, t.schema), &t.name, false, true));
    let views = catalog
        .views_of(context.database)
        .map(|v| row(schema(catalog, v.schema), &v.name, true, false));
    system.chain(stored).chain(views).collect()
}

/// One column of one relation, as `columns` shows it.
struct Column<'a> {
    schema: &'a str,
    relation: &'a str,
    name: &'a str,
    position: i32,
    ty: &'a ColumnType,
    updatable: bool,
    /// Of a table's column.
    stored: Option<&'a ColumnDescriptor>,
}

fn columns(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for system in super::all() {
        for (at, c) in system.columns.iter().enumerate() {
            let column = Column {
                schema: system.schema.name(),
                relation: system.name,
                name: c.name,
                position: at as i32 + 1,
                ty: &ColumnType::plain(c.ty.clone()),
                updatable: false,
                stored: None,
            };
            rows.push(column_row(table, catalog, context, &database, &column));
        }
    }
    for stored in catalog.tables_of(context.database) {
        for c in &stored.columns {
            let column = Column {
                schema: schema(catalog, stored.schema),
                relation: &stored.name,
                name: &c.name,
                position: i32::from(c.id.0),
                ty: &c.ty,
                updatable: true,
                stored: Some(c),
            };
            rows.push(column_row(table, catalog, context, &database, &column));
        }
    }
    for view in catalog.views_of(context.database) {
        for (at, c) in view.columns.iter().enumerate() {
            let column = Column {
                schema: schema(catalog, view.schema),
                relation: &view.name,
                name: &c.name,
                position: at as i32 + 1,
                ty: &c.ty,
                updatable: false,
                stored: None,
            };
            rows.push(column_row(table, catalog, context, &database, &column));
        }
    }
    rows
}

fn column_row(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
    database: &str,
    column: &Column<'_>,
) -> Vec<Datum> {
    let (ty, stored) = (column.ty, column.stored);
    let data_type = if ty.ty.is_array() { "ARRAY".to_owned() } else { ty.ty.name() };
    let precision = numeric_precision(ty);
    let text = |sql: &String| deparse::expression(catalog, context.names(), sql);
    let identity = stored.and_then(|c| c.identity);
    let sequence = identity.and_then(|i| catalog.sequence(i.sequence));
    let of = |f: fn(&SequenceDescriptor) -> i64| sequence.map(|s| f(s).to_string());
    let row = Row::new(table)
        .put("table_catalog", database)
        .put("table_schema", column.schema)
        .put("table_name", column.relation)
        .put("column_name", column.name)
        .put("ordinal_position", column.position)
        .put("column_default", stored.and_then(|c| c.default.as_ref()).map(text))
        .put("is_nullable", yes_no(!stored.is_some_and(|c| c.not_null)))
        .put("data_type", data_type)
        .put(
            "character_maximum_length",
            ty.length().filter(|_| !ty.ty.is_array()).map(|n| n as i32),
        )
        .put("character_octet_length", octets(ty))
        .put("numeric_precision", precision.map(|(p, _, _)| p))
        .put("numeric_precision_radix", numeric_radix(ty))
        .put("numeric_scale", precision.map(|(_, _, s)| s))
        .put("datetime_precision", datetime_precision(ty));
    row.put("udt_catalog", database)
        .put("udt_schema", SystemSchema::PgCatalog.name())
        .put("udt_name", ty.ty.catalog_name())
        .put("dtd_identifier", column.position.to_string())
        .put("is_self_referencing", "NO")
        .put("is_identity", yes_no(identity.is_some()))
        .put(
            "identity_generation",
            identity.map(|i| if i.always { "ALWAYS" } else { "BY DEFAULT" }),
        )
        .put("identity_start", of(|s| s.start))
        .put("identity_increment", of(|s| s.increment))
        .put("identity_maximum", of(|s| s.max))
        .put("identity_minimum", of(|s| s.min))
        .put("identity_cycle", yes_no(sequence.is_some_and(|s| s.cycle)))
        .put(
            "is_generated",
            if stored.is_some_and(|c| c.generated.is_some()) { "ALWAYS" } else { "NEVER" },
        )
        .put(
            "generation_expression",
            stored.and_then(|c| c.generated.as_ref()).map(|g| format!("({})", g.sql)),
        )
        .put("is_updatable", yes_no(column.updatable))
        .done()
}

/// Four bytes for each character, or the largest value there is.
fn octets(ty: &ColumnType) -> Option<i32> {
    match (&ty.ty, ty.length()) {
        (SqlType::Varchar | SqlType::Bpchar, Some(n)) => Some((n as i32).saturating_mul(4)),
        (SqlType::Text | SqlType::Varchar | SqlType::Bpchar, None) => Some(1 << 30),
        _ => None,
    }
}

/// (precision, radix, scale).
fn numeric_precision(ty: &ColumnType) -> Option<(i32, i32, Option<i32>)> {
    match &ty.ty {
        SqlType::Int2 => Some((16, 2, Some(0))),
        SqlType::Int4 => Some((32, 2, Some(0))),
        SqlType::Int8 => Some((64, 2, Some(0))),
        SqlType::Float4 => Some((24, 2, None)),
        SqlType::Float8 => Some((53, 2, None)),
        SqlType::Numeric => ty.numeric_precision_scale().map(|(p, s)| (p, 10, Some(s))),
        _ => None,
    }
}

fn numeric_radix(ty: &ColumnType) -> Option<i32> {
    match ty.ty {
        SqlType::Numeric => Some(10),
        _ => numeric_precision(ty).map(|(_, radix, _)| radix),
    }
}

fn datetime_precision(ty: &ColumnType) -> Option<i32> {
    match ty.ty {
        SqlType::Date => Some(0),
        SqlType::Time
        | SqlType::Timetz
        | SqlType::Timestamp
        | SqlType::Timestamptz
        | SqlType::Interval => Some(ty.seconds_precision().map_or(6, |p| p as i32)),
        _ => None,
    }
}

fn schemata(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let system = SystemSchema::ALL.iter().map(|s| (s.name(), BOOTSTRAP_ROLE));
    let stored = catalog.schemas_of(context.database).map(|s| (s.name.as_str(), s.owner));
    let row = |(name, owner): (&str, Oid)| {
        Row::new(table)
            .put("catalog_name", &database)
            .put("schema_name", name)
            .put("schema_owner", catalog.role_name(owner))
            .done()
    };
    system.chain(stored).map(row).collect()
}

/// A database's constraints with their tables.
fn constraints<'a>(
    catalog: &'a Catalog,
    context: &VirtualContext,
) -> impl Iterator<Item = (&'a Arc<TableDescriptor>, &'a ConstraintDescriptor)> {
    let tables = catalog.tables_of(context.database);
    tables.flat_map(|t| t.constraints.iter().map(move |c| (t, c)))
}

/// The standard sees NOT NULL as a check; PostgreSQL 15 names it so.
fn not_null_name(table: &TableDescriptor, column: &ColumnDescriptor) -> String {
    format!("{}_{}_{}_not_null", table.schema, table.oid, column.id.0)
}

fn table_constraints(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let row = |of: &TableDescriptor, name: &str, word: &str| {
        Row::new(table)
            .put("constraint_catalog", &database)
            .put("constraint_schema", schema(catalog, of.schema))
            .put("constraint_name", name)
            .put("table_catalog", &database)
            .put("table_schema", schema(catalog, of.schema))
            .put("table_name", &of.name)
            .put("constraint_type", word)
    };
    let mut rows = Vec::new();
    for (of, c) in constraints(catalog, context) {
        let (word, distinct) = match &c.kind {
            ConstraintKind::PrimaryKey { .. } => ("PRIMARY KEY", None),
            ConstraintKind::Unique { index } => {
                let not_distinct = of.index(*index).is_some_and(|i| i.nulls_not_distinct);
                ("UNIQUE", Some(yes_no(!not_distinct)))
            }
            ConstraintKind::Check(_) => ("CHECK", None),
            ConstraintKind::ForeignKey(_) => ("FOREIGN KEY", None),
        };
        let row = row(of, &c.name, word)
            .put("is_deferrable", yes_no(c.deferrable))
            .put("initially_deferred", yes_no(c.initially_deferred))
            .put("enforced", "YES")
            .put("nulls_distinct", distinct);
        rows.push(row.done());
    }
    for of in catalog.tables_of(context.database) {
        for column in of.columns.iter().filter(|c| c.not_null) {
            let row = row(of, &not_null_name(of, column), "CHECK")
                .put("is_deferrable", "NO")
                .put("initially_deferred", "NO")
                .put("enforced", "YES");
            rows.push(row.done());
        }
    }
    rows
}

fn check_constraints(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let row = |of: &TableDescriptor, name: &str, clause: String| {
        Row::new(table)
            .put("constraint_catalog", &database)
            .put("constraint_schema", schema(catalog, of.schema))
            .put("constraint_name", name)
            .put("check_clause", clause)
            .done()
    };
    let mut rows = Vec::new();
    for of in catalog.tables_of(context.database) {
        for (constraint, check) in of.checks() {
            rows.push(row(of, &constraint.name, format!("(({}))", check.sql)));
        }
        for column in of.columns.iter().filter(|c| c.not_null) {
            let clause = format!("{} IS NOT NULL", column.name);
            rows.push(row(of, &not_null_name(of, column), clause));
        }
    }
    rows
}

fn key_column_usage(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for (of, constraint) in constraints(catalog, context) {
        let key = match &constraint.kind {
            ConstraintKind::Check(_) => continue,
            ConstraintKind::ForeignKey(key) => Some(key),
            ConstraintKind::PrimaryKey { .. } | ConstraintKind::Unique { .. } => None,
        };
        for (at, id) in constrained(of, constraint).into_iter().enumerate() {
            let position = key.and_then(|key| {
                let (_, index) = catalog.index(key.referenced_index)?;
                let theirs = key.referenced_columns.get(at)?;
                index.columns.iter().position(|c| c.column == *theirs)
            });
            let row = Row::new(table)
                .put("constraint_catalog", &database)
                .put("constraint_schema", schema(catalog, of.schema))
                .put("constraint_name", &constraint.name)
                .put("table_catalog", &database)
                .put("table_schema", schema(catalog, of.schema))
                .put("table_name", &of.name)
                .put("column_name", of.column(id).map(|c| c.name.as_str()))
                .put("ordinal_position", at as i32 + 1)
                .put("position_in_unique_constraint", position.map(|p| p as i32 + 1));
            rows.push(row.done());
        }
    }
    rows
}

fn referential_constraints(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for of in catalog.tables_of(context.database) {
        for (constraint, key) in of.foreign_keys() {
            let referenced = catalog.table(key.referenced_table);
            let unique = referenced.and_then(|t| t.constraint_of_index(key.referenced_index));
            let matches = match key.match_type {
                ForeignKeyMatch::Simple => "NONE",
                ForeignKeyMatch::Full => "FULL",
            };
            let row = Row::new(table)
                .put("constraint_catalog", &database)
                .put("constraint_schema", schema(catalog, of.schema))
                .put("constraint_name", &constraint.name)
                .put("unique_constraint_catalog", unique.map(|_| database.as_str()))
                .put(
                    "unique_constraint_schema",
                    referenced.filter(|_| unique.is_some()).map(|t| schema(catalog, t.schema)),
                )
                .put("unique_constraint_name", unique.map(|c| c.name.as_str()))
                .put("match_option", matches)
                .put("update_rule", key.on_update.sql())
                .put("delete_rule", key.on_delete.sql());
            rows.push(row.done());
        }
    }
    rows
}

/// The table and columns that a constraint uses: of a foreign key, the referenced ones.
fn used<'a>(
    catalog: &'a Catalog,
    of: &'a Arc<TableDescriptor>,
    constraint: &ConstraintDescriptor,
) -> Option<(&'a Arc<TableDescriptor>, Vec<crate::ColumnId>)> {
    match &constraint.kind {
        ConstraintKind::ForeignKey(key) => {
            Some((catalog.table(key.referenced_table)?, key.referenced_columns.clone()))
        }
        ConstraintKind::PrimaryKey { .. }
        | ConstraintKind::Unique { .. }
        | ConstraintKind::Check(_) => Some((of, constrained(of, constraint))),
    }
}

fn constraint_column_usage(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for (of, constraint) in constraints(catalog, context) {
        let Some((used_table, columns)) = used(catalog, of, constraint) else { continue };
        for column in columns.into_iter().filter_map(|id| used_table.column(id)) {
            let row = Row::new(table)
                .put("table_catalog", &database)
                .put("table_schema", schema(catalog, used_table.schema))
                .put("table_name", &used_table.name)
                .put("column_name", &column.name)
                .put("constraint_catalog", &database)
                .put("constraint_schema", schema(catalog, of.schema))
                .put("constraint_name", &constraint.name);
            rows.push(row.done());
        }
    }
    rows
}

fn constraint_table_usage(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for (of, constraint) in constraints(catalog, context) {
        let Some((used_table, _)) = used(catalog, of, constraint) else { continue };
        let row = Row::new(table)
            .put("table_catalog", &database)
            .put("table_schema", schema(catalog, used_table.schema))
            .put("table_name", &used_table.name)
            .put("constraint_catalog", &database)
            .put("constraint_schema", schema(catalog, of.schema))
            .put("constraint_name", &constraint.name);
        rows.push(row.done());
    }
    rows
}

fn views(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let updates = ["is_updatable", "is_insertable_into"];
    let triggers = ["is_trigger_updatable", "is_trigger_deletable", "is_trigger_insertable_into"];
    let rows = catalog.views_of(context.database).map(|v| {
        Row::new(table)
            .put("table_catalog", &database)
            .put("table_schema", schema(catalog, v.schema))
            .put("table_name", &v.name)
            .put("view_definition", deparse::view_definition(catalog, v.oid))
            .put("check_option", "NONE")
            .all(&updates, "NO")
            .all(&triggers, "NO")
            .done()
    });
    rows.collect()
}

fn view_table_usage(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let mut rows = Vec::new();
    for view in catalog.views_of(context.database) {
        for dependency in &view.dependencies {
            let Some(used) = catalog.relation_by_oid(dependency.relation) else { continue };
            let row = Row::new(table)
                .put("view_catalog", &database)
                .put("view_schema", schema(catalog, view.schema))
                .put("view_name", &view.name)
                .put("table_catalog", &database)
                .put("table_schema", schema(catalog, used.schema()))
                .put("table_name", used.name());
            rows.push(row.done());
        }
    }
    rows
}

fn sequences(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    // An identity column's sequence is not listed: it is part of the column.
    let is_identity = |s: &SequenceDescriptor| {
        let owner = s.owned_by.and_then(|(t, c)| catalog.table(t)?.column(c)?.identity);
        owner.is_some_and(|i| i.sequence == s.oid)
    };
    let rows = catalog.sequences_of(context.database).filter(|s| !is_identity(s)).map(|s| {
        let ty = ColumnType::plain(s.ty());
        Row::new(table)
            .put("sequence_catalog", &database)
            .put("sequence_schema", schema(catalog, s.schema))
            .put("sequence_name", &s.name)
            .put("data_type", ty.ty.name())
            .put("numeric_precision", numeric_precision(&ty).map(|(p, ..)| p))
            .put("numeric_precision_radix", 2i32)
            .put("numeric_scale", 0i32)
            .put("start_value", s.start.to_string())
            .put("minimum_value", s.min.to_string())
            .put("maximum_value", s.max.to_string())
            .put("increment", s.increment.to_string())
            .put("cycle_option", yes_no(s.cycle))
            .done()
    });
    rows.collect()
}

fn routines(table: &VirtualTable, catalog: &Catalog, context: &VirtualContext) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let pg_catalog = SystemSchema::PgCatalog.name();
    let rows = context.functions.iter().filter(|f| matches!(f.kind, b'f' | b'p' | 0)).map(|f| {
        let ty = types::by_oid(f.returns);
        Row::new(table)
            .put("specific_catalog", &database)
            .put("specific_schema", pg_catalog)
            .put("specific_name", format!("{}_{}", f.name, f.oid))
            .put("routine_catalog", &database)
            .put("routine_schema", pg_catalog)
            .put("routine_name", &f.name)
            .put("routine_type", if f.kind == b'p' { "PROCEDURE" } else { "FUNCTION" })
            .put("data_type", deparse::format_type(f.returns, Some(-1)))
            .put("type_udt_catalog", &database)
            .put("type_udt_schema", pg_catalog)
            .put("type_udt_name", ty.map(|t| t.name))
            .put("dtd_identifier", "0")
            .put("routine_body", "EXTERNAL")
            .put("routine_definition", &f.name)
            .put("external_language", "INTERNAL")
            .put("parameter_style", "GENERAL")
            .put("is_deterministic", yes_no(f.volatility == b'i'))
            .put("sql_data_access", "MODIFIES")
            .put("is_null_call", yes_no(f.strict))
            .put("schema_level_routine", "YES")
            .put("max_dynamic_result_sets", 0i32)
            .put("security_type", "INVOKER")
            .put("as_locator", "NO")
            .put("is_udt_dependent", "NO")
            .done()
    });
    rows.collect()
}

fn catalog_name(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    vec![Row::new(table).put("catalog_name", database(catalog, context)).done()]
}

fn character_sets(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let row = Row::new(table)
        .put("character_set_name", "UTF8")
        .put("character_repertoire", "UCS")
        .put("form_of_use", "UTF8")
        .put("default_collate_catalog", database(catalog, context));
    vec![row.done()]
}

fn enabled_roles(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    if table.name == "applicable_roles" {
        let mut rows = Vec::new();
        for membership in catalog.memberships(context.role) {
            let row = Row::new(table)
                .put("grantee", catalog.role_name(context.role))
                .put("role_name", catalog.role_name(membership.role))
                .put("is_grantable", yes_no(membership.admin_option));
            rows.push(row.done());
        }
        return rows;
    }
    catalog.roles().map(|r| Row::new(table).put("role_name", &r.name).done()).collect()
}

/// Owners have every privilege; nothing else can be granted yet.
fn table_privileges(
    table: &VirtualTable,
    catalog: &Catalog,
    context: &VirtualContext,
) -> Vec<Vec<Datum>> {
    let database = database(catalog, context);
    let words = ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
    let tables = catalog.tables_of(context.database).map(|t| (t.schema, &t.name, t.owner));
    let views = catalog.views_of(context.database).map(|v| (v.schema, &v.name, v.owner));
    let mut rows = Vec::new();
    for (of, name, owner) in tables.chain(views) {
        for word in words {
            let row = Row::new(table)
                .put("grantor", catalog.role_name(owner))
                .put("grantee", catalog.role_name(owner))
                .put("table_catalog", &database)
                .put("table_schema", schema(catalog, of))
                .put("table_name", name)
                .put("privilege_type", word)
                .put("is_grantable", "YES")
                .put("with_hierarchy", yes_no(word == "SELECT"));
            rows.push(row.done());
        }
    }
    rows
}
