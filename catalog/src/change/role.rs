//! Roles and their memberships.

use super::CatalogChange;
use crate::bootstrap::BOOTSTRAP_ROLE;
use crate::database::{RoleDescriptor, RoleMembership};
use crate::error::CatalogError;
use crate::persistence::ObjectKey;
use crate::virtual_tables::class;
use crate::{Oid, Result};
use std::sync::Arc;

impl CatalogChange {
    /// CREATE ROLE; `role.oid` is ignored.
    pub fn create_role(&mut self, mut role: RoleDescriptor) -> Result<Oid> {
        self.expect_free_role(&role.name)?;
        role.oid = self.allocate_oid();
        let oid = role.oid;
        self.put_role(role);
        Ok(oid)
    }

    pub fn alter_role(&mut self, oid: Oid, alter: impl FnOnce(&mut RoleDescriptor)) -> Result<()> {
        let role = self.catalog.role(oid);
        let role = role.ok_or_else(|| CatalogError::no_role(&oid.to_string()))?;
        let mut role = RoleDescriptor::clone(role);
        alter(&mut role);
        self.put_role(role);
        Ok(())
    }

    pub fn rename_role(&mut self, oid: Oid, to: &str) -> Result<()> {
        self.expect_free_role(to)?;
        self.alter_role(oid, |role| role.name = to.to_owned())
    }

    /// DROP ROLE.
    ///
    /// # Errors
    /// 2BP01 if it owns something, 55006 if it is the session's own.
    pub fn drop_role(&mut self, oid: Oid) -> Result<()> {
        let role = self.catalog.role(oid);
        let role = role.ok_or_else(|| CatalogError::no_role(&oid.to_string()))?;
        if oid == self.role {
            return Err(CatalogError::new("55006", "current user cannot be dropped"));
        }
        let owned = self.owned_by(oid);
        if oid == BOOTSTRAP_ROLE || !owned.is_empty() {
            let what = format!(
                "role \"{}\" cannot be dropped because some objects depend on it",
                role.name
            );
            let error = CatalogError::new("2BP01", what);
            return Err(if owned.is_empty() { error } else { error.detail(owned.join("\n")) });
        }
        let members = self.catalog.roles.values();
        let members = members.filter(|r| r.member_of.iter().any(|m| m.role == oid));
        for member in members.map(|r| r.oid).collect::<Vec<Oid>>() {
            self.alter_role(member, |role| role.member_of.retain(|m| m.role != oid))?;
        }
        let scopes = self.catalog.settings.keys().filter(|(_, role)| *role == oid);
        for scope in scopes.copied().collect::<Vec<_>>() {
            self.reset_settings(scope.0, scope.1);
        }
        Arc::make_mut(&mut self.catalog.roles).remove(&oid);
        self.touched.insert(ObjectKey::Role(oid));
        self.drop_comments(class::AUTHID, oid, None);
        Ok(())
    }

    /// GRANT role TO member.
    pub fn grant_role(&mut self, role: Oid, member: Oid, admin_option: bool) -> Result<()> {
        if role == member || self.is_member(role, member) {
            let name = |oid| self.catalog.role_name(oid);
            let (role, member) = (name(role), name(member));
            let what = format!("role \"{role}\" is a member of role \"{member}\"");
            return Err(CatalogError::new("0LP01", what));
        }
        let grantor = self.role;
        let mut was_member = false;
        self.alter_role(member, |descriptor| {
            match descriptor.member_of.iter_mut().find(|m| m.role == role) {
                Some(existing) => {
                    was_member = !admin_option || existing.admin_option;
                    existing.admin_option |= admin_option;
                }
                None => descriptor.member_of.push(RoleMembership { role, admin_option, grantor }),
            }
        })?;
        if was_member {
            let name = |oid| self.catalog.role_name(oid);
            let message =
                format!("role \"{}\" is already a member of role \"{}\"", name(member), name(role));
            self.notice(message);
        }
        Ok(())
    }

    /// REVOKE [ADMIN OPTION FOR] role FROM member.
    pub fn revoke_role(&mut self, role: Oid, member: Oid, admin_only: bool) -> Result<()> {
        self.alter_role(member, |descriptor| {
            if admin_only {
                for m in descriptor.member_of.iter_mut().filter(|m| m.role == role) {
                    m.admin_option = false;
                }
            } else {
                descriptor.member_of.retain(|m| m.role != role);
            }
        })
    }

    /// Whether `role` is a member of `of`, through others too.
    fn is_member(&self, role: Oid, of: Oid) -> bool {
        let mut todo = vec![role];
        let mut seen = Vec::new();
        while let Some(next) = todo.pop() {
            if next == of {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
                todo.extend(self.catalog.memberships(next).iter().map(|m| m.role));
            }
        }
        false
    }

    fn owned_by(&self, role: Oid) -> Vec<String> {
        let catalog = &self.catalog;
        let databases = catalog.databases.values().filter(|d| d.owner == role);
        let mut lines: Vec<String> =
            databases.map(|d| format!("owner of database {}", d.name)).collect();
        let here = self.database;
        let mut elsewhere = 0;
        let mut add = |database: Oid, what: String| {
            if database == here {
                lines.push(format!("owner of {what}"));
            } else {
                elsewhere += 1;
            }
        };
        for schema in catalog.schemas.values().filter(|s| s.owner == role) {
            add(schema.database, format!("schema {}", schema.name));
        }
        for table in catalog.tables.values().filter(|t| t.owner == role) {
            add(table.database, format!("table {}", self.shown(table.schema, &table.name)));
        }
        for view in catalog.views.values().filter(|v| v.owner == role) {
            add(view.database, format!("view {}", self.shown(view.schema, &view.name)));
        }
        for sequence in catalog.sequences.values().filter(|s| s.owner == role) {
            if sequence.owned_by.is_none() {
                let name = self.shown(sequence.schema, &sequence.name);
                add(sequence.database, format!("sequence {name}"));
            }
        }
        if elsewhere > 0 {
            lines.push(format!("{elsewhere} objects in other databases"));
        }
        lines
    }

    fn put_role(&mut self, role: RoleDescriptor) {
        self.touched.insert(ObjectKey::Role(role.oid));
        Arc::make_mut(&mut self.catalog.roles).insert(role.oid, Arc::new(role));
    }

    fn expect_free_role(&self, name: &str) -> Result<()> {
        if self.catalog.role_named(name).is_some() {
            let what = format!("role \"{name}\" already exists");
            return Err(CatalogError::new("42710", what));
        }
        if matches!(name, "public" | "none") || name.starts_with("pg_") {
            let what = format!("role name \"{name}\" is reserved");
            return Err(CatalogError::new("42939", what));
        }
        Ok(())
    }
}
