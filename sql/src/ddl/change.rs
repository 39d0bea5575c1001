//! A DDL plan in the words of `catalog::CatalogChange`.

use super::role;
use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::table_locks::Hold;
use catalog::keys::SequenceState;
use catalog::{Catalog, CatalogChange, CommentKey, DropBehavior, PrimaryKeyPlacement, Relation};
use expr::Expr;
use planner::{
    AlterDatabase, AlterRelation, AlterSchema, AlterTable, CommentTarget, DdlPlan, NewConstraint,
    ObjectKind, SettingValue,
};
use std::collections::HashMap;

/// What the executor must know besides the catalog's own update.
#[derive(Default)]
pub(super) struct More {
    pub created_table: Option<u32>,
    pub altered_sequences: Vec<u32>,
    /// RESTART: values to store.
    pub sequence_values: Vec<(u32, SequenceState)>,
    /// ALTER COLUMN TYPE: table to (column name, value over the old row).
    pub conversions: HashMap<u32, Vec<(String, Expr)>>,
}

/// How existing tables must be held while the plan is carried out.
pub(super) fn tables_of(plan: &DdlPlan, catalog: &Catalog) -> Vec<(u32, Hold)> {
    let tables_behind = |oids: &[u32]| -> Vec<(u32, Hold)> {
        let table = |oid: &u32| match catalog.relation_by_oid(*oid) {
            Some(Relation::Table(table) | Relation::Index(table, _)) => {
                Some((table.oid, Hold::Alone))
            }
            Some(Relation::View(_) | Relation::Sequence(_) | Relation::Virtual(_)) | None => None,
        };
        oids.iter().filter_map(table).collect()
    };
    match plan {
        DdlPlan::AlterTable { table, actions } => {
            let mut hold = Hold::Still;
            let mut tables = Vec::new();
            for action in actions {
                match action {
                    AlterTable::AddConstraint(NewConstraint::ForeignKey(key)) => {
                        tables.push((key.referenced_table, Hold::Still));
                    }
                    _ => hold = Hold::Alone,
                }
            }
            tables.insert(0, (*table, hold));
            tables
        }
        DdlPlan::CreateTable { table, .. } => {
            let referenced = table.foreign_keys.iter().map(|key| key.referenced_table);
            referenced.filter(|oid| *oid != 0).map(|oid| (oid, Hold::Still)).collect()
        }
        DdlPlan::CreateIndex { index, .. } => vec![(index.table, Hold::Still)],
        DdlPlan::Truncate { tables, .. } => {
            tables.iter().map(|table| (*table, Hold::Alone)).collect()
        }
        DdlPlan::Drop { objects, .. } => tables_behind(objects),
        DdlPlan::AlterRelation { relation, .. } => tables_behind(&[*relation]),
        _ => Vec::new(),
    }
}

pub(super) fn apply(
    plan: &DdlPlan,
    change: &mut CatalogChange,
    ctx: &ExecContext,
) -> SqlResult<More> {
    let mut more = More::default();
    match plan {
        DdlPlan::Skip { notice } => change.notice(notice.clone()),
        DdlPlan::CreateDatabase {
            name,
            owner,
            connection_limit,
            is_template,
            allow_connections,
        } => {
            let owner = owner.unwrap_or(owner_of(ctx));
            let oid = change.create_database(name, owner)?;
            change.alter_database(oid, |database| {
                database.connection_limit = connection_limit.unwrap_or(-1);
                database.is_template = is_template.unwrap_or(false);
                database.allow_connections = allow_connections.unwrap_or(true);
            })?;
        }
        DdlPlan::DropDatabase { name, if_exists, force } => {
            drop_database(name, *if_exists, *force, change, ctx)?;
        }
        DdlPlan::AlterDatabase { database, action } => match action {
            AlterDatabase::Rename(to) => change.rename_database(*database, to)?,
            AlterDatabase::Owner(role) => change.set_database_owner(*database, *role)?,
            AlterDatabase::ConnectionLimit(limit) => {
                change.alter_database(*database, |d| d.connection_limit = *limit)?;
            }
            AlterDatabase::IsTemplate(is) => {
                change.alter_database(*database, |d| d.is_template = *is)?;
            }
            AlterDatabase::AllowConnections(allow) => {
                change.alter_database(*database, |d| d.allow_connections = *allow)?;
            }
        },
        DdlPlan::CreateSchema { name, if_not_exists, owner, .. } => {
            if ctx.catalog.schema_oid(ctx.database, name).is_some() && *if_not_exists {
                let message = format!("schema \"{name}\" already exists, skipping");
                change.notice(message);
            } else {
                change.create_schema(name, owner.unwrap_or(owner_of(ctx)))?;
            }
        }
        DdlPlan::AlterSchema { schema, action } => match action {
            AlterSchema::Rename(to) => change.rename_schema(*schema, to)?,
            AlterSchema::Owner(role) => change.set_schema_owner(*schema, *role)?,
        },
        DdlPlan::CreateTable { table, if_not_exists, temporary, .. } => {
            refuse_temporary(*temporary, "temporary tables")?;
            if !skip_existing(table.schema, &table.name, *if_not_exists, change) {
                refuse_deferred(table)?;
                more.created_table = Some(change.create_table(table.clone())?);
            }
        }
        DdlPlan::CreateTableAs { table, if_not_exists, temporary, .. } => {
            refuse_temporary(*temporary, "temporary tables")?;
            if !skip_existing(table.schema, &table.name, *if_not_exists, change) {
                more.created_table = Some(change.create_table(table.clone())?);
            }
        }
        DdlPlan::AlterTable { table, actions } => {
            for action in actions {
                alter_table(*table, action, change, &mut more)?;
            }
        }
        DdlPlan::CreateIndex { index, if_not_exists, .. } => {
            let schema = ctx.catalog.table(index.table).map_or(0, |table| table.schema);
            let name = index.name.as_deref().unwrap_or_default();
            if name.is_empty() || !skip_existing(schema, name, *if_not_exists, change) {
                change.create_index(index.clone())?;
            }
        }
        DdlPlan::CreateSequence { sequence, if_not_exists, temporary } => {
            refuse_temporary(*temporary, "temporary sequences")?;
            if !skip_existing(sequence.schema, &sequence.name, *if_not_exists, change) {
                change.create_sequence(sequence.clone())?;
            }
        }
        DdlPlan::AlterSequence { sequence, change: alter } => {
            if alter.no_min || alter.no_max {
                return Err(SqlError::unsupported("ALTER SEQUENCE ... NO MINVALUE/NO MAXVALUE"));
            }
            change.alter_sequence(*sequence, alter.ty.clone(), &alter.options)?;
            match &alter.owned_by {
                None => {}
                Some(None) => change.set_sequence_owner(*sequence, None)?,
                Some(Some((table, column))) => {
                    change.set_sequence_owner(*sequence, Some((*table, column)))?;
                }
            }
            if let Some(restart) = alter.restart {
                let start = change.catalog().sequence(*sequence).map_or(1, |s| s.start);
                let last_value = restart.unwrap_or(start);
                let state = SequenceState { last_value, is_called: false };
                more.sequence_values.push((*sequence, state));
            }
            more.altered_sequences.push(*sequence);
        }
        DdlPlan::CreateView { view, temporary } => {
            refuse_temporary(*temporary, "temporary views")?;
            change.create_view(view.clone())?;
        }
        DdlPlan::AlterRelation { relation, action } => match action {
            AlterRelation::Rename(to) => change.rename_relation(*relation, to)?,
            AlterRelation::RenameColumn { from, to } => {
                change.rename_column(*relation, from, to)?;
            }
            AlterRelation::SetSchema(schema) => change.set_schema(*relation, *schema)?,
            AlterRelation::Owner(role) => change.set_owner(*relation, *role)?,
        },
        DdlPlan::CreateRole { .. }
        | DdlPlan::AlterRole { .. }
        | DdlPlan::RenameRole { .. }
        | DdlPlan::DropRoles { .. }
        | DdlPlan::GrantRole { .. } => role::apply(plan, change, ctx)?,
        DdlPlan::AlterSettings { role, database, setting, value } => {
            alter_settings(*role, *database, setting.as_deref(), value, change, ctx)?;
        }
        // Accepting it without keeping it would be a promise that nobody holds.
        DdlPlan::Grant(_) => return Err(SqlError::unsupported("GRANT and REVOKE on objects")),
        DdlPlan::Drop { kind, objects, missing, cascade } => {
            for name in missing {
                let word = match kind {
                    ObjectKind::Table => "table",
                    ObjectKind::View => "view",
                    ObjectKind::Index => "index",
                    ObjectKind::Sequence => "sequence",
                    ObjectKind::Schema => "schema",
                };
                change.notice(format!("{word} \"{name}\" does not exist, skipping"));
            }
            let behavior = behavior(*cascade);
            match kind {
                ObjectKind::Schema => change.drop_schemas(objects, behavior)?,
                ObjectKind::Table | ObjectKind::View | ObjectKind::Index | ObjectKind::Sequence => {
                    change.drop_relations(objects, behavior)?
                }
            }
        }
        DdlPlan::Truncate { tables, restart_identity, cascade } => {
            change.truncate(tables, *restart_identity, *cascade)?;
        }
        DdlPlan::Comment { target, text } => {
            change.set_comment(comment_key(target), text.clone());
        }
    }
    Ok(more)
}

fn owner_of(ctx: &ExecContext) -> u32 {
    if ctx.role == 0 { catalog::bootstrap::BOOTSTRAP_ROLE } else { ctx.role }
}

fn behavior(cascade: bool) -> DropBehavior {
    if cascade { DropBehavior::Cascade } else { DropBehavior::Restrict }
}

fn refuse_temporary(temporary: bool, what: &str) -> SqlResult<()> {
    if temporary { Err(SqlError::unsupported(what)) } else { Ok(()) }
}

fn refuse_deferred(table: &catalog::NewTable) -> SqlResult<()> {
    let deferred = table.foreign_keys.iter().any(|key| key.initially_deferred)
        || table.uniques.iter().chain(&table.primary_key).any(|key| key.initially_deferred);
    if deferred { Err(SqlError::unsupported("INITIALLY DEFERRED")) } else { Ok(()) }
}

/// IF NOT EXISTS: whether the name is taken, with the notice.
fn skip_existing(schema: u32, name: &str, if_not_exists: bool, change: &mut CatalogChange) -> bool {
    let exists = if_not_exists && change.catalog().relation(schema, name).is_some();
    if exists {
        change.notice(format!("relation \"{name}\" already exists, skipping"));
    }
    exists
}

fn drop_database(
    name: &str,
    if_exists: bool,
    force: bool,
    change: &mut CatalogChange,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let Some(database) = ctx.catalog.database_named(name) else {
        if if_exists {
            change.notice(format!("database \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(SqlError::new("3D000", format!("database \"{name}\" does not exist")));
    };
    if database.oid == ctx.database {
        return Err(SqlError::new("55006", "cannot drop the currently open database"));
    }
    let others: Vec<_> = ctx.server.sessions().into_iter().filter(|s| s.database == name).collect();
    if !others.is_empty() && !force {
        let count = others.len();
        let detail = match count {
            1 => "There is 1 other session using the database.".to_owned(),
            _ => format!("There are {count} other sessions using the database."),
        };
        return Err(SqlError::new(
            "55006",
            format!("database \"{name}\" is being accessed by other users"),
        )
        .with_detail(detail));
    }
    for other in others {
        other.terminate();
    }
    Ok(change.drop_database(database.oid)?)
}

fn alter_table(
    table: u32,
    action: &AlterTable,
    change: &mut CatalogChange,
    more: &mut More,
) -> SqlResult<()> {
    match action {
        AlterTable::AddColumn { column, constraints, if_not_exists } => {
            let existing = change.catalog().table(table);
            if *if_not_exists
                && let Some(existing) = existing
                && existing.column_named(&column.name).is_some()
            {
                let message = format!(
                    "column \"{}\" of relation \"{}\" already exists, skipping",
                    column.name, existing.name
                );
                change.notice(message);
                return Ok(());
            }
            change.add_column(table, column.clone())?;
            for constraint in constraints {
                add_constraint(table, constraint, change)?;
            }
        }
        AlterTable::DropColumn { column, if_exists, cascade } => {
            change.drop_column(table, column, *if_exists, behavior(*cascade))?;
        }
        AlterTable::AddConstraint(constraint) => add_constraint(table, constraint, change)?,
        AlterTable::DropConstraint { name, if_exists, cascade } => {
            change.drop_constraint(table, name, *if_exists, behavior(*cascade))?;
        }
        AlterTable::ValidateConstraint(name) => change.validate_constraint(table, name)?,
        AlterTable::RenameConstraint { from, to } => {
            change.rename_constraint(table, from, to)?;
        }
        AlterTable::SetDefault { column, default } => {
            change.set_default(table, column, default.as_deref())?;
        }
        AlterTable::SetNotNull { column, not_null: true } => {
            change.set_not_null(table, column)?;
        }
        AlterTable::SetNotNull { column, not_null: false } => {
            change.drop_not_null(table, column)?;
        }
        AlterTable::SetType { column, ty, using, .. } => {
            let found = change.catalog().table(table);
            let default = found
                .and_then(|table| table.column_named(column))
                .and_then(|(_, column)| column.default.clone());
            change.set_type(table, column, ty.clone(), default)?;
            let conversions = more.conversions.entry(table).or_default();
            conversions.push((column.clone(), using.clone()));
        }
        AlterTable::AddIdentity { column, auto } => {
            change.add_identity(table, column, auto.clone())?;
        }
        AlterTable::SetIdentityAlways { column, always } => {
            change.set_identity_always(table, column, *always)?;
        }
        AlterTable::DropIdentity { column, if_exists } => {
            change.drop_identity(table, column, *if_exists)?;
        }
        AlterTable::DropExpression { column } => change.drop_expression(table, column)?,
        AlterTable::SetOptions(options) => change.set_options(table, options)?,
        AlterTable::Owner(role) => change.set_owner(table, *role)?,
    }
    Ok(())
}

fn add_constraint(
    table: u32,
    constraint: &NewConstraint,
    change: &mut CatalogChange,
) -> SqlResult<()> {
    let deferred = match constraint {
        NewConstraint::PrimaryKey(key) | NewConstraint::Unique(key) => key.initially_deferred,
        NewConstraint::ForeignKey(key) => key.initially_deferred,
        NewConstraint::UsingIndex { .. } | NewConstraint::Check(_) => false,
    };
    if deferred {
        return Err(SqlError::unsupported("INITIALLY DEFERRED"));
    }
    match constraint {
        NewConstraint::PrimaryKey(key) => {
            change.add_primary_key(table, key.clone(), PrimaryKeyPlacement::Rewrite)?;
        }
        NewConstraint::Unique(key) => {
            change.add_unique(table, key.clone())?;
        }
        NewConstraint::UsingIndex { name, index, primary } => {
            change.add_unique_using_index(*index, name.clone(), *primary)?;
        }
        NewConstraint::Check(check) => {
            change.add_check(table, check.clone())?;
        }
        NewConstraint::ForeignKey(key) => {
            change.add_foreign_key(table, key.clone())?;
        }
    }
    Ok(())
}

fn alter_settings(
    role: u32,
    database: u32,
    setting: Option<&str>,
    value: &SettingValue,
    change: &mut CatalogChange,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let Some(name) = setting else {
        change.reset_settings(database, role);
        return Ok(());
    };
    let value = match value {
        SettingValue::Default => None,
        SettingValue::Values(values) => {
            let text = values.join(", ");
            if crate::settings::is_causal_token(name) {
                return Err(SqlError::new("55P02", "parameter \"causal_token\" cannot be stored"));
            }
            let (_, text) = ctx.session.settings.lock().check(name, &text)?;
            Some(text)
        }
    };
    let name = crate::settings::Settings::canonical_name(name);
    change.set_setting(database, role, &name, value);
    Ok(())
}

/// Class OIDs of PostgreSQL's catalogs.
fn comment_key(target: &CommentTarget) -> CommentKey {
    let (class, object, sub) = match target {
        CommentTarget::Relation(oid) => (1259, *oid, 0),
        CommentTarget::Column { relation, attnum } => (1259, *relation, i32::from(*attnum)),
        CommentTarget::Database(oid) => (1262, *oid, 0),
        CommentTarget::Schema(oid) => (2615, *oid, 0),
        CommentTarget::Constraint(oid) => (2606, *oid, 0),
        CommentTarget::Role(oid) => (1260, *oid, 0),
    };
    CommentKey { class, object, sub }
}
