//! PRIMARY KEY, UNIQUE and CHECK constraints.

use super::definition::{NewCheck, NewKeyConstraint};
use super::name::{free_name, joined};
use super::{CatalogChange, Validation};
use crate::error::CatalogError;
use crate::table::{
    CheckConstraint, ColumnId, ConstraintDescriptor, ConstraintKind, IndexColumn, IndexDescriptor,
    IndexState, ROWS_INDEX, TableDescriptor,
};
use crate::{Oid, Result};
use std::collections::HashSet;

/// What ADD PRIMARY KEY does about rows that are already there, keyed by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryKeyPlacement {
    /// There are no rows: just key them by it from now on.
    Empty,
    /// Copy the rows so that they are keyed by it: one look-up per point read ever after.
    Rewrite,
    /// Leave the rows where they are and keep the key as a unique index beside them.
    Beside,
}

impl CatalogChange {
    /// ALTER TABLE ... ADD PRIMARY KEY.
    pub fn add_primary_key(
        &mut self,
        table: Oid,
        key: NewKeyConstraint,
        placement: PrimaryKeyPlacement,
    ) -> Result<Oid> {
        self.attach_primary_key(table, key, placement)
    }

    pub(super) fn attach_primary_key(
        &mut self,
        table: Oid,
        new: NewKeyConstraint,
        placement: PrimaryKeyPlacement,
    ) -> Result<Oid> {
        let edited = self.edit_table(table)?;
        if edited.primary_index().is_some() {
            let what =
                format!("multiple primary keys for table \"{}\" are not allowed", edited.name);
            return Err(CatalogError::new("42P16", what));
        }
        let columns = key_columns(&edited, &new.columns, "primary key")?;
        let include = key_columns(&edited, &new.include, "primary key")?;
        let name = self.key_name(&edited, &new, "")?;
        let mut edited = edited;
        for id in &columns {
            let at = edited.ordinal(*id).expect("key_columns answers live columns");
            if !edited.columns[at].not_null {
                edited.columns[at].not_null = true;
                self.update.validations.push(Validation::NotNull { table, column: *id });
            }
        }
        if placement == PrimaryKeyPlacement::Rewrite {
            self.rewrite(&mut edited)?;
        }
        self.put_table(edited);
        let in_place = placement != PrimaryKeyPlacement::Beside;
        let index = key_index(&name, &columns, include, true, false);
        let index = IndexDescriptor { id: if in_place { ROWS_INDEX } else { 0 }, ..index };
        let (index, _) = self.attach_index(table, index)?;
        self.attach_constraint(
            table,
            name,
            ConstraintKind::PrimaryKey { index },
            true,
            new.deferrable,
            new.initially_deferred,
        )
    }

    pub fn add_unique(&mut self, table: Oid, new: NewKeyConstraint) -> Result<Oid> {
        let edited = self.edit_table(table)?;
        let columns = key_columns(&edited, &new.columns, "unique")?;
        let include = key_columns(&edited, &new.include, "unique")?;
        let parts = joined(new.columns.iter().chain(&new.include).map(String::as_str));
        let name = self.key_name(&edited, &new, &parts)?;
        let index = key_index(&name, &columns, include, false, new.nulls_not_distinct);
        let (index, _) = self.attach_index(table, index)?;
        self.attach_constraint(
            table,
            name,
            ConstraintKind::Unique { index },
            true,
            new.deferrable,
            new.initially_deferred,
        )
    }

    /// ADD CONSTRAINT name PRIMARY KEY | UNIQUE USING INDEX: the index takes the name.
    pub fn add_unique_using_index(
        &mut self,
        index: Oid,
        name: Option<String>,
        primary: bool,
    ) -> Result<Oid> {
        let found = self.catalog.index(index);
        let (table, found) = found.ok_or_else(|| CatalogError::no_relation(&index.to_string()))?;
        let (table, was) = (table.oid, found.name.clone());
        if !found.unique {
            let what = format!("\"{was}\" is not a unique index");
            return Err(CatalogError::new("42809", what));
        }
        let columns: Vec<ColumnId> = found.columns.iter().map(|c| c.column).collect();
        let name = name.unwrap_or_else(|| was.clone());
        if name != was {
            self.notice(format!(
                "ALTER TABLE / ADD CONSTRAINT USING INDEX will rename index \"{was}\" to \"{name}\""
            ));
            self.rename_relation(index, &name)?;
        }
        let kind = match primary {
            true => ConstraintKind::PrimaryKey { index },
            false => ConstraintKind::Unique { index },
        };
        if primary {
            let mut edited = self.edit_table(table)?;
            if edited.primary_index().is_some() {
                let what =
                    format!("multiple primary keys for table \"{}\" are not allowed", edited.name);
                return Err(CatalogError::new("42P16", what));
            }
            for index_of in edited.indexes.iter_mut().filter(|i| i.oid == index) {
                index_of.primary = true;
            }
            for id in columns {
                let at = edited.ordinal(id).expect("index columns are live");
                if !edited.columns[at].not_null {
                    edited.columns[at].not_null = true;
                    self.update.validations.push(Validation::NotNull { table, column: id });
                }
            }
            self.put_table(edited);
        }
        self.attach_constraint(table, name, kind, true, false, false)
    }

    pub fn add_check(&mut self, table: Oid, new: NewCheck) -> Result<Oid> {
        let edited = self.edit_table(table)?;
        let mut columns = super::table::column_ids(&edited, &new.columns)?;
        columns.sort_unstable();
        columns.dedup();
        let name = match new.name {
            Some(name) => name,
            None => {
                let part = match columns.as_slice() {
                    [only] => edited.column(*only).map_or("", |c| c.name.as_str()),
                    _ => "",
                };
                free_name(&edited.name, part, "check", |n| edited.constraint_named(n).is_some())
            }
        };
        let kind = ConstraintKind::Check(CheckConstraint { sql: new.sql, columns });
        let oid = self.attach_constraint(table, name, kind, !new.not_valid, false, false)?;
        if !new.not_valid {
            self.update.validations.push(Validation::Constraint { table, constraint: oid });
        }
        Ok(oid)
    }

    /// VALIDATE CONSTRAINT: the constraint counts as valid and its rows are to be checked.
    pub fn validate_constraint(&mut self, table: Oid, name: &str) -> Result<()> {
        let mut edited = self.edit_table(table)?;
        let relation = edited.name.clone();
        let constraint = edited.constraints.iter_mut().find(|c| c.name == name);
        let constraint = constraint.ok_or_else(|| CatalogError::no_constraint(name, &relation))?;
        if !constraint.validated {
            constraint.validated = true;
            let constraint = constraint.oid;
            self.put_table(edited);
            self.update.validations.push(Validation::Constraint { table, constraint });
        }
        Ok(())
    }

    pub fn rename_constraint(&mut self, table: Oid, from: &str, to: &str) -> Result<()> {
        let mut edited = self.edit_table(table)?;
        let found = edited.constraint_named(from);
        let found = found.ok_or_else(|| {
            let what =
                format!("constraint \"{from}\" for table \"{}\" does not exist", edited.name);
            CatalogError::new("42704", what)
        })?;
        if let Some(index) = found.index() {
            return self.rename_relation(index, to);
        }
        expect_free_constraint(&edited, to)?;
        if let Some(constraint) = edited.constraints.iter_mut().find(|c| c.name == from) {
            constraint.name = to.to_owned();
        }
        self.put_table(edited);
        Ok(())
    }

    pub(super) fn attach_constraint(
        &mut self,
        table: Oid,
        name: String,
        kind: ConstraintKind,
        validated: bool,
        deferrable: bool,
        initially_deferred: bool,
    ) -> Result<Oid> {
        let mut table = self.edit_table(table)?;
        expect_free_constraint(&table, &name)?;
        let oid = self.allocate_oid();
        table.constraints.push(ConstraintDescriptor {
            oid,
            name,
            kind,
            validated,
            deferrable,
            initially_deferred,
        });
        self.put_table(table);
        Ok(oid)
    }

    /// The name of a key's constraint and index: given, or chosen. Empty `parts`: a primary key.
    fn key_name(
        &self,
        table: &TableDescriptor,
        new: &NewKeyConstraint,
        parts: &str,
    ) -> Result<String> {
        match &new.name {
            Some(name) => {
                expect_free_constraint(table, name)?;
                self.expect_free_name(table.schema, name)?;
                Ok(name.clone())
            }
            None => {
                let label = if parts.is_empty() { "pkey" } else { "key" };
                Ok(self.free_relation_name(table.schema, &table.name, parts, label))
            }
        }
    }
}

fn expect_free_constraint(table: &TableDescriptor, name: &str) -> Result<()> {
    match table.constraint_named(name) {
        Some(_) => {
            let what =
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
            Err(CatalogError::new("42710", what))
        }
        None => Ok(()),
    }
}

fn key_columns(table: &TableDescriptor, names: &[String], kind: &str) -> Result<Vec<ColumnId>> {
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let found = table.column_named(name).map(|(_, c)| c.id);
        ids.push(found.ok_or_else(|| CatalogError::no_key_column(name))?);
        if !seen.insert(name) {
            let what = format!("column \"{name}\" appears twice in {kind} constraint");
            return Err(CatalogError::new("42701", what));
        }
    }
    Ok(ids)
}

fn key_index(
    name: &str,
    columns: &[ColumnId],
    include: Vec<ColumnId>,
    primary: bool,
    nulls_not_distinct: bool,
) -> IndexDescriptor {
    let ascending =
        |column: &ColumnId| IndexColumn { column: *column, descending: false, nulls_first: false };
    IndexDescriptor {
        oid: 0,
        id: 0,
        name: name.to_owned(),
        unique: true,
        primary,
        nulls_not_distinct,
        columns: columns.iter().map(ascending).collect(),
        include,
        predicate: None,
        method: "btree".to_owned(),
        state: IndexState::Public,
    }
}
