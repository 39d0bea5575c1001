//! ALTER TABLE on one column.

use super::definition::{AutoIncrement, NewColumn};
use super::name::rename_in_sql;
use super::{CatalogChange, Validation};
use crate::error::CatalogError;
use crate::table::{ColumnDescriptor, ColumnId, ConstraintKind, Identity, TableDescriptor};
use crate::{Oid, Result};
use datum::{ColumnType, SqlType};

impl CatalogChange {
    /// ADD COLUMN. Existing rows are not touched if they read as NULL or as `new.missing`;
    /// otherwise (a volatile default, a sequence, a generated column) `rewrites` asks for a copy,
    /// in which the executor computes the column like for an INSERT.
    pub fn add_column(&mut self, table: Oid, new: NewColumn) -> Result<ColumnId> {
        let constant = new.missing.as_ref().is_some_and(|d| !d.is_null());
        let computed = new.auto.is_some()
            || new.generated.is_some()
            || (new.default.is_some() && new.missing.is_none());
        let not_null = new.not_null;
        let column = self.append_column(table, new)?;
        if computed {
            let mut edited = self.edit_table(table)?;
            self.rewrite(&mut edited)?;
            self.put_table(edited);
        } else if not_null && !constant {
            self.update.validations.push(Validation::NotNull { table, column });
        }
        Ok(column)
    }

    pub fn rename_column(&mut self, table: Oid, from: &str, to: &str) -> Result<()> {
        let mut edited = self.edit_table(table)?;
        let id = find(&edited, from)?.id;
        if edited.column_named(to).is_some() {
            let what = format!("column \"{to}\" of relation \"{}\" already exists", edited.name);
            return Err(CatalogError::new("42701", what));
        }
        let uses = |v: &std::sync::Arc<crate::ViewDescriptor>| {
            v.dependencies.iter().any(|d| d.relation == table && d.columns.contains(&id))
        };
        if let Some(view) = self.catalog.views.values().find(|v| uses(v)) {
            return Err(CatalogError::unsupported(format_args!(
                "renaming column \"{from}\", which view \"{}\" uses,",
                view.name
            )));
        }
        let name = edited.name.clone();
        for column in &mut edited.columns {
            if column.id == id {
                column.name = to.to_owned();
            }
            if let Some(generated) = &mut column.generated {
                generated.sql = rename_in_sql(&generated.sql, &name, from, to);
            }
        }
        for constraint in &mut edited.constraints {
            if let ConstraintKind::Check(check) = &mut constraint.kind {
                check.sql = rename_in_sql(&check.sql, &name, from, to);
            }
        }
        for index in &mut edited.indexes {
            if let Some(predicate) = &mut index.predicate {
                *predicate = rename_in_sql(predicate, &name, from, to);
            }
        }
        self.put_table(edited);
        Ok(())
    }

    /// SET DEFAULT (`Some`) or DROP DEFAULT.
    pub fn set_default(&mut self, table: Oid, column: &str, default: Option<&str>) -> Result<()> {
        let (default, sequences) = match default {
            Some(sql) => self.bind_default(sql),
            None => (None, Vec::new()),
        };
        self.edit_column(table, column, |column, relation| {
            if column.identity.is_some() {
                let what = format!(
                    "column \"{}\" of relation \"{relation}\" is an identity column",
                    column.name
                );
                let error = CatalogError::new("42601", what);
                let hint = "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.";
                return Err(if default.is_none() { error.hint(hint) } else { error });
            }
            if column.generated.is_some() {
                let what = format!(
                    "column \"{}\" of relation \"{relation}\" is a generated column",
                    column.name
                );
                return Err(CatalogError::new("42601", what));
            }
            column.default = default;
            column.default_sequences = sequences;
            Ok(())
        })
        .map(drop)
    }

    /// SET NOT NULL; existing rows are to be checked.
    pub fn set_not_null(&mut self, table: Oid, column: &str) -> Result<()> {
        let mut was = true;
        let id = self.edit_column(table, column, |column, _| {
            was = column.not_null;
            column.not_null = true;
            Ok(())
        })?;
        if !was {
            self.update.validations.push(Validation::NotNull { table, column: id });
        }
        Ok(())
    }

    pub fn drop_not_null(&mut self, table: Oid, column: &str) -> Result<()> {
        let edited = self.edit_table(table)?;
        let id = find(&edited, column)?.id;
        let primary = edited.primary_index();
        if primary.is_some_and(|i| i.columns.iter().any(|c| c.column == id)) {
            let what = format!("column \"{column}\" is in a primary key");
            return Err(CatalogError::new("42P16", what));
        }
        self.edit_column(table, column, |column, relation| {
            if column.identity.is_some() {
                let what = format!(
                    "column \"{}\" of relation \"{relation}\" is an identity column",
                    column.name
                );
                return Err(CatalogError::new("42601", what));
            }
            column.not_null = false;
            Ok(())
        })
        .map(drop)
    }

    /// ALTER COLUMN TYPE. `default` is the default converted to the new type, if there is one.
    /// Answers whether rows must be converted; then `rewrites` has the table.
    pub fn set_type(
        &mut self,
        table: Oid,
        column: &str,
        ty: ColumnType,
        default: Option<String>,
    ) -> Result<bool> {
        let edited = self.edit_table(table)?;
        let found = find(&edited, column)?;
        let (id, old) = (found.id, found.ty.clone());
        for view in self.catalog.views.values() {
            if view.dependencies.iter().any(|d| d.relation == table && d.columns.contains(&id)) {
                let what = "cannot alter type of a column used by a view or rule";
                let detail =
                    format!("rule _RETURN on view {} depends on column \"{column}\"", view.name);
                return Err(CatalogError::new("0A000", what).detail(detail));
            }
        }
        let convert = !reads_as(&old, &ty);
        self.edit_column(table, column, |column, _| {
            column.ty = ty;
            if column.default.is_some() && default.is_some() {
                column.default = default;
            }
            if convert {
                column.missing = None;
            }
            Ok(())
        })?;
        if convert {
            let mut edited = self.edit_table(table)?;
            self.rewrite(&mut edited)?;
            self.put_table(edited);
        }
        Ok(convert)
    }

    /// ADD GENERATED ... AS IDENTITY.
    pub fn add_identity(&mut self, table: Oid, column: &str, auto: AutoIncrement) -> Result<()> {
        let AutoIncrement::Identity { always, options } = auto else {
            return Err(CatalogError::unsupported("ALTER COLUMN ... ADD SERIAL"));
        };
        let edited = self.edit_table(table)?;
        let found = find(&edited, column)?;
        let relation = &edited.name;
        if found.identity.is_some() {
            let what = format!(
                "column \"{column}\" of relation \"{relation}\" is already an identity column"
            );
            return Err(CatalogError::new("55000", what));
        }
        if found.default.is_some() {
            let what = format!(
                "column \"{column}\" of relation \"{relation}\" already has a default value"
            );
            return Err(CatalogError::new("55000", what));
        }
        if !found.not_null {
            let what = format!(
                "column \"{column}\" of relation \"{relation}\" must be declared NOT NULL before identity can be added"
            );
            return Err(CatalogError::new("55000", what));
        }
        let sequence = self.owned_sequence(table, column, found.ty.ty.clone(), options)?;
        self.edit_column(table, column, |column, _| {
            column.identity = Some(Identity { always, sequence });
            Ok(())
        })
        .map(drop)
    }

    /// DROP IDENTITY [IF EXISTS], and SET GENERATED.
    pub fn drop_identity(&mut self, table: Oid, column: &str, if_exists: bool) -> Result<()> {
        let mut sequence = None;
        let name = self.edit_table(table)?.name;
        self.edit_column(table, column, |column, _| {
            sequence = column.identity.take().map(|i| i.sequence);
            Ok(())
        })?;
        match sequence {
            Some(sequence) => {
                self.remove_relation(sequence);
                Ok(())
            }
            None => {
                let what =
                    format!("column \"{column}\" of relation \"{name}\" is not an identity column");
                if !if_exists {
                    return Err(CatalogError::new("55000", what));
                }
                self.notice(format!("{what}, skipping"));
                Ok(())
            }
        }
    }

    pub fn set_identity_always(&mut self, table: Oid, column: &str, always: bool) -> Result<()> {
        self.edit_column(table, column, |column, relation| match &mut column.identity {
            Some(identity) => {
                identity.always = always;
                Ok(())
            }
            None => Err(CatalogError::new(
                "55000",
                format!(
                    "column \"{}\" of relation \"{relation}\" is not an identity column",
                    column.name
                ),
            )),
        })
        .map(drop)
    }

    /// DROP EXPRESSION: the column keeps its values.
    pub fn drop_expression(&mut self, table: Oid, column: &str) -> Result<()> {
        self.edit_column(table, column, |column, relation| {
            if column.generated.take().is_none() {
                let what = format!(
                    "column \"{}\" of relation \"{relation}\" is not a stored generated column",
                    column.name
                );
                return Err(CatalogError::new("55000", what));
            }
            Ok(())
        })
        .map(drop)
    }

    pub(super) fn edit_column(
        &mut self,
        table: Oid,
        column: &str,
        edit: impl FnOnce(&mut ColumnDescriptor, &str) -> Result<()>,
    ) -> Result<ColumnId> {
        let mut edited = self.edit_table(table)?;
        let id = find(&edited, column)?.id;
        let relation = edited.name.clone();
        let at = edited.ordinal(id).expect("the column was found in this table");
        edit(&mut edited.columns[at], &relation)?;
        self.put_table(edited);
        Ok(id)
    }
}

fn find<'a>(table: &'a TableDescriptor, column: &str) -> Result<&'a ColumnDescriptor> {
    let found = table.column_named(column).map(|(_, c)| c);
    found.ok_or_else(|| CatalogError::no_column(column, &table.name))
}

/// Whether every stored value of `old` is, byte for byte, a valid value of `new`.
fn reads_as(old: &ColumnType, new: &ColumnType) -> bool {
    let text = |ty: &SqlType| matches!(ty, SqlType::Text | SqlType::Varchar);
    if old == new {
        return true;
    }
    let widened = new.typmod == -1 || (old.typmod >= 0 && new.typmod >= old.typmod);
    if text(&old.ty) && text(&new.ty) {
        return widened;
    }
    match (&old.ty, &new.ty) {
        (SqlType::Numeric, SqlType::Numeric) => new.typmod == -1,
        _ => false,
    }
}
