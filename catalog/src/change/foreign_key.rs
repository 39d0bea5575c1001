//! FOREIGN KEY constraints.

use super::definition::NewForeignKey;
use super::name::{free_name, joined};
use super::{CatalogChange, Validation};
use crate::error::CatalogError;
use crate::table::{ColumnId, ConstraintKind, ForeignKey, IndexDescriptor, TableDescriptor};
use crate::{Oid, Relation, Result};
use datum::{Category, SqlType};

impl CatalogChange {
    pub fn add_foreign_key(&mut self, table: Oid, new: NewForeignKey) -> Result<Oid> {
        let holder = self.edit_table(table)?;
        let columns = referencing_columns(&holder, &new.columns)?;
        let referenced = match self.catalog.relation_by_oid(new.referenced_table) {
            Some(Relation::Table(table)) => table.clone(),
            Some(other) => {
                let what = format!("referenced relation \"{}\" is not a table", other.name());
                return Err(CatalogError::new("42809", what));
            }
            None => return Err(CatalogError::no_relation(&new.referenced_table.to_string())),
        };
        let referenced_columns = if new.referenced_columns.is_empty() {
            let primary = referenced.primary_index().ok_or_else(|| {
                let what =
                    format!("there is no primary key for referenced table \"{}\"", referenced.name);
                CatalogError::new("42704", what)
            })?;
            primary.columns.iter().map(|c| c.column).collect()
        } else {
            referencing_columns(&referenced, &new.referenced_columns)?
        };
        if columns.len() != referenced_columns.len() {
            let what = "number of referencing and referenced columns for foreign key disagree";
            return Err(CatalogError::new("42830", what));
        }
        let referenced_index = matching_index(&referenced, &referenced_columns)?.oid;
        let name = match new.name {
            Some(name) => name,
            None => {
                let parts = joined(new.columns.iter().map(String::as_str));
                let taken = |n: &str| holder.constraint_named(n).is_some();
                free_name(&holder.name, &parts, "fkey", taken)
            }
        };
        for (ours, theirs) in columns.iter().zip(&referenced_columns) {
            check_comparable(&name, &holder, *ours, &referenced, *theirs)?;
        }
        let key = ForeignKey {
            columns,
            referenced_table: referenced.oid,
            referenced_columns,
            referenced_index,
            on_delete: new.on_delete,
            on_update: new.on_update,
            match_type: new.match_type,
        };
        let oid = self.attach_constraint(
            table,
            name,
            ConstraintKind::ForeignKey(key),
            !new.not_valid,
            new.deferrable,
            new.initially_deferred,
        )?;
        if !new.not_valid {
            self.update.validations.push(Validation::Constraint { table, constraint: oid });
        }
        Ok(oid)
    }
}

fn referencing_columns(table: &TableDescriptor, names: &[String]) -> Result<Vec<ColumnId>> {
    let find = |name: &String| {
        table.column_named(name).map(|(_, c)| c.id).ok_or_else(|| {
            let what =
                format!("column \"{name}\" referenced in foreign key constraint does not exist");
            CatalogError::new("42703", what)
        })
    };
    names.iter().map(find).collect()
}

/// The unique index over exactly these columns, in any order; the primary key if it fits.
fn matching_index<'a>(
    table: &'a TableDescriptor,
    columns: &[ColumnId],
) -> Result<&'a IndexDescriptor> {
    let mut wanted = columns.to_vec();
    wanted.sort_unstable();
    let fits = |index: &&IndexDescriptor| {
        let mut has: Vec<ColumnId> = index.columns.iter().map(|c| c.column).collect();
        has.sort_unstable();
        has == wanted && index.predicate.is_none()
    };
    table.unique_indexes().find(fits).ok_or_else(|| {
        let what = format!(
            "there is no unique constraint matching given keys for referenced table \"{}\"",
            table.name
        );
        CatalogError::new("42830", what)
    })
}

fn check_comparable(
    name: &str,
    holder: &TableDescriptor,
    ours: ColumnId,
    referenced: &TableDescriptor,
    theirs: ColumnId,
) -> Result<()> {
    let (Some(ours), Some(theirs)) = (holder.column(ours), referenced.column(theirs)) else {
        return Ok(());
    };
    if comparable(&ours.ty.ty, &theirs.ty.ty) {
        return Ok(());
    }
    let what = format!("foreign key constraint \"{name}\" cannot be implemented");
    let detail = format!(
        "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
        ours.name,
        theirs.name,
        ours.ty.ty.name(),
        theirs.ty.ty.name()
    );
    Err(CatalogError::new("42804", what).detail(detail))
}

/// Whether `referencing = referenced` has a btree operator, implicit casts included.
fn comparable(ours: &SqlType, theirs: &SqlType) -> bool {
    let in_category = |ty: &SqlType| matches!(ty.category(), Category::Numeric | Category::String);
    let date =
        |ty: &SqlType| matches!(ty, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz);
    ours == theirs
        || (in_category(ours) && ours.category() == theirs.category())
        || (date(ours) && date(theirs))
}
