//! Databases and schemas.

use super::CatalogChange;
use crate::bootstrap::{TEMPLATE0_DATABASE, TEMPLATE1_DATABASE};
use crate::database::{DatabaseDescriptor, SchemaDescriptor};
use crate::error::CatalogError;
use crate::persistence::ObjectKey;
use crate::virtual_tables::{SystemSchema, class};
use crate::{Oid, Result};
use core_domain::{Key, Span};
use std::sync::Arc;

impl CatalogChange {
    /// CREATE DATABASE: empty but for schema `public`, whatever the template was called.
    pub fn create_database(&mut self, name: &str, owner: Oid) -> Result<Oid> {
        self.expect_free_database(name)?;
        let oid = self.allocate_oid();
        let schema = self.allocate_oid();
        self.put_database(DatabaseDescriptor {
            oid,
            name: name.to_owned(),
            owner,
            group: oid,
            is_template: false,
            allow_connections: true,
            connection_limit: -1,
        });
        self.put_schema(SchemaDescriptor {
            oid: schema,
            database: oid,
            name: "public".to_owned(),
            owner,
        });
        self.update.new_groups.push(oid);
        Ok(oid)
    }

    /// DROP DATABASE and all that is in it. Whether others are connected is the caller's to check.
    pub fn drop_database(&mut self, oid: Oid) -> Result<()> {
        let database = self.catalog.database(oid);
        let database = database.ok_or_else(|| CatalogError::no_database(&oid.to_string()))?.clone();
        if database.is_template || oid == TEMPLATE0_DATABASE || oid == TEMPLATE1_DATABASE {
            return Err(CatalogError::new("42809", "cannot drop a template database"));
        }
        if oid == self.database {
            return Err(CatalogError::new("55006", "cannot drop the currently open database"));
        }
        let relations = (self.catalog.tables_of(oid).map(|t| t.oid))
            .chain(self.catalog.views_of(oid).map(|v| v.oid))
            .chain(self.catalog.sequences_of(oid).map(|s| s.oid));
        for relation in relations.collect::<Vec<Oid>>() {
            self.remove_relation(relation);
        }
        for schema in self.catalog.schemas_of(oid).map(|s| s.oid).collect::<Vec<Oid>>() {
            Arc::make_mut(&mut self.catalog.schemas).remove(&schema);
            self.touched.insert(ObjectKey::Schema(schema));
            self.drop_comments(class::NAMESPACE, schema, None);
        }
        let scopes = self.catalog.settings.keys().filter(|(database, _)| *database == oid);
        for scope in scopes.copied().collect::<Vec<_>>() {
            Arc::make_mut(&mut self.catalog.settings).remove(&scope);
            self.touched.insert(ObjectKey::Setting(scope));
        }
        Arc::make_mut(&mut self.catalog.databases).remove(&oid);
        self.touched.insert(ObjectKey::Database(oid));
        self.drop_comments(class::DATABASE, oid, None);
        // One span instead of one for each table.
        let group = Key::group_start(database.group);
        self.update.dropped_spans =
            vec![Span::new(group, Key::group_start(database.group.saturating_add(1)))];
        Ok(())
    }

    pub fn rename_database(&mut self, oid: Oid, to: &str) -> Result<()> {
        self.expect_free_database(to)?;
        if oid == self.database {
            return Err(CatalogError::new("0A000", "current database cannot be renamed"));
        }
        self.alter_database(oid, |database| database.name = to.to_owned())
    }

    pub fn set_database_owner(&mut self, oid: Oid, owner: Oid) -> Result<()> {
        self.alter_database(oid, |database| database.owner = owner)
    }

    /// Any other change of a database's own properties.
    pub fn alter_database(
        &mut self,
        oid: Oid,
        alter: impl FnOnce(&mut DatabaseDescriptor),
    ) -> Result<()> {
        let database = self.catalog.database(oid);
        let database = database.ok_or_else(|| CatalogError::no_database(&oid.to_string()))?;
        let mut database = DatabaseDescriptor::clone(database);
        alter(&mut database);
        self.put_database(database);
        Ok(())
    }

    /// CREATE SCHEMA in the session's database.
    pub fn create_schema(&mut self, name: &str, owner: Oid) -> Result<Oid> {
        self.expect_free_schema(name)?;
        let oid = self.allocate_oid();
        let (database, name) = (self.database, name.to_owned());
        self.put_schema(SchemaDescriptor { oid, database, name, owner });
        Ok(oid)
    }

    pub fn rename_schema(&mut self, oid: Oid, to: &str) -> Result<()> {
        let schema = self.catalog.schema(oid);
        let schema = schema.ok_or_else(|| CatalogError::no_schema(&oid.to_string()))?;
        let mut schema = SchemaDescriptor::clone(schema);
        self.expect_free_schema(to)?;
        let viewed: Vec<Oid> = self.catalog.relations_in(oid).map(|r| r.oid()).collect();
        for relation in viewed {
            self.refuse_if_viewed(relation, &format!("renaming schema \"{}\"", schema.name))?;
        }
        let sequences = self.catalog.sequences.values().filter(|s| s.schema == oid);
        let sequences: Vec<Oid> = sequences.map(|s| s.oid).collect();
        let old: Vec<String> =
            sequences.iter().map(|s| super::name::quoted_qualified(&self.catalog, *s)).collect();
        schema.name = to.to_owned();
        self.put_schema(schema);
        for (sequence, old) in sequences.into_iter().zip(old) {
            self.respell_sequence(sequence, &old);
        }
        Ok(())
    }

    pub fn set_schema_owner(&mut self, oid: Oid, owner: Oid) -> Result<()> {
        let schema = self.catalog.schema(oid);
        let schema = schema.ok_or_else(|| CatalogError::no_schema(&oid.to_string()))?;
        let mut schema = SchemaDescriptor::clone(schema);
        schema.owner = owner;
        self.put_schema(schema);
        Ok(())
    }

    /// ALTER DATABASE/ROLE ... SET name = value; `None` resets. Zero stands for "any".
    pub fn set_setting(&mut self, database: Oid, role: Oid, name: &str, value: Option<String>) {
        let scope = (database, role);
        let settings = Arc::make_mut(&mut self.catalog.settings);
        let list = settings.entry(scope).or_default();
        list.retain(|(existing, _)| existing != name);
        list.extend(value.map(|value| (name.to_owned(), value)));
        if list.is_empty() {
            settings.remove(&scope);
        }
        self.touched.insert(ObjectKey::Setting(scope));
    }

    /// ALTER DATABASE/ROLE ... RESET ALL.
    pub fn reset_settings(&mut self, database: Oid, role: Oid) {
        Arc::make_mut(&mut self.catalog.settings).remove(&(database, role));
        self.touched.insert(ObjectKey::Setting((database, role)));
    }

    fn put_database(&mut self, database: DatabaseDescriptor) {
        self.touched.insert(ObjectKey::Database(database.oid));
        let databases = Arc::make_mut(&mut self.catalog.databases);
        databases.insert(database.oid, Arc::new(database));
    }

    fn put_schema(&mut self, schema: SchemaDescriptor) {
        self.touched.insert(ObjectKey::Schema(schema.oid));
        Arc::make_mut(&mut self.catalog.schemas).insert(schema.oid, Arc::new(schema));
    }

    fn expect_free_database(&self, name: &str) -> Result<()> {
        match self.catalog.database_named(name) {
            Some(_) => {
                let what = format!("database \"{name}\" already exists");
                Err(CatalogError::new("42P04", what))
            }
            None => Ok(()),
        }
    }

    fn expect_free_schema(&self, name: &str) -> Result<()> {
        if self.catalog.schema_oid(self.database, name).is_some() {
            let what = format!("schema \"{name}\" already exists");
            return Err(CatalogError::new("42P06", what));
        }
        if name.starts_with("pg_") && SystemSchema::named(name).is_none() {
            let what = format!("unacceptable schema name \"{name}\"");
            let detail = "The prefix \"pg_\" is reserved for system schemas.";
            return Err(CatalogError::new("42939", what).detail(detail));
        }
        Ok(())
    }
}
