//! Views.

use super::CatalogChange;
use super::definition::NewView;
use crate::error::CatalogError;
use crate::relation::ViewDescriptor;
use crate::{Oid, Relation, Result};

impl CatalogChange {
    /// CREATE [OR REPLACE] VIEW.
    pub fn create_view(&mut self, new: NewView) -> Result<Oid> {
        self.expect_schema(new.schema, &new.name)?;
        let existing = match self.catalog.relation(new.schema, &new.name) {
            None => None,
            Some(_) if !new.or_replace => {
                return Err(CatalogError::duplicate_relation(&new.name));
            }
            Some(Relation::View(view)) => Some(view.clone()),
            Some(other) => {
                let what = format!("\"{}\" is not a view", other.name());
                return Err(CatalogError::new("42809", what));
            }
        };
        let mut view = ViewDescriptor {
            oid: 0,
            database: self.database,
            schema: new.schema,
            name: new.name,
            owner: self.role,
            columns: new.columns,
            definition: new.definition,
            search_path: self.search_path.clone(),
            dependencies: new.dependencies,
            version: 0,
        };
        match existing {
            None => view.oid = self.allocate_oid(),
            Some(old) => {
                check_replacement(&old, &view)?;
                view.oid = old.oid;
                view.owner = old.owner;
                view.version = old.version + 1;
            }
        }
        let oid = view.oid;
        self.put_view(view);
        Ok(oid)
    }
}

fn check_replacement(old: &ViewDescriptor, new: &ViewDescriptor) -> Result<()> {
    if new.columns.len() < old.columns.len() {
        return Err(CatalogError::new("42P16", "cannot drop columns from view"));
    }
    for (was, is) in old.columns.iter().zip(&new.columns) {
        if was.name != is.name {
            let what =
                format!("cannot change name of view column \"{}\" to \"{}\"", was.name, is.name);
            let hint =
                "Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.";
            return Err(CatalogError::new("42P16", what).hint(hint));
        }
        if was.ty != is.ty {
            let what = format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                was.name,
                was.ty.name(),
                is.ty.name()
            );
            return Err(CatalogError::new("42P16", what));
        }
    }
    Ok(())
}
